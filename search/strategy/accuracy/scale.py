"""The scale on which accuracy is modelled: AP, or a power or the logarithm of it, whichever the scores are most likely on.

A better head multiplies AP where AP is low, and the luck of a seed grows with AP: there a model of AP itself learns little
about large networks from small ones, and takes what is known of small ones for uncertain. Near the best AP that the data
allow, differences shrink. So the scale is a Box-Cox transform whose power the scores decide, as in HEBO.

Source:
    Box and Cox, "An Analysis of Transformations", 1964; Cowen-Rivers et al., "HEBO: Pushing the Limits of Sample-Efficient
    Hyperparameter Optimisation", 2022, section 4.2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from search.front.pareto import FloatArray
from search.strategy.hypervolume_improvement import expected_improvement

_SHIFT = 0.05
"""Added to AP, so that the logarithm of 0 is finite and networks that learnt nothing are not infinitely far apart."""
_NODES, _WEIGHTS = hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_KNOTS = np.linspace(_SHIFT**0.5, (1 + _SHIFT) ** 0.5, 65) ** 2 - _SHIFT
"""AP, between whose values it is taken to be a line on a scale: on each of them the error is below 0.0001 AP."""


@dataclass(frozen=True, kw_only=True)
class ApScale:
    """A Box-Cox transform of AP."""

    power: float
    """0 for the logarithm, 1 for AP itself."""

    def of(self, ap: FloatArray) -> FloatArray:
        """Return AP in [0, 1] on this scale."""
        raised = np.log(ap + _SHIFT) if self.power == 0 else (ap + _SHIFT) ** self.power / self.power
        return np.asarray(raised)

    def slope(self, ap: FloatArray) -> FloatArray:
        """Return by how much the scale rises for each unit of AP there."""
        return np.asarray((ap + _SHIFT) ** (self.power - 1))

    def back(self, mean: FloatArray, std: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return median and standard deviation of AP where it is normally distributed on this scale, cut to [0, 1].

        The median, since the mean depends on the doubt: on the logarithm it falls as a candidate's training begins, which
        takes doubt away and tells nothing.
        """
        ap = self._inverse(mean[:, None] + std[:, None] * _NODES)
        off = ap - (ap @ _WEIGHTS)[:, None]
        return self._inverse(mean), np.sqrt(np.maximum(off**2 @ _WEIGHTS, 1e-12))

    def expected_improvement(self, mean: FloatArray, std: FloatArray, levels: FloatArray) -> FloatArray:
        """Return E[max(0, AP - level)] where AP is normally distributed on this scale, (N, M).

        On the logarithm much of it is in the long upper tail, on the square in the lower one: a normal distribution of AP
        with the same median and standard deviation would have another.

        Args:
            mean: (N,) on this scale.
            std: (N,) likewise, at least 0.
            levels: (M,) AP in [0, 1].
        """
        if self.power == 1:
            return expected_improvement(mean[:, None], std[:, None], self.of(levels))
        # A sum of ramps, one from each knot to the next, each of which has a closed form.
        knots = np.unique(self.of(np.concatenate((levels, _KNOTS))))  # (K,)
        rises = np.diff(self._inverse(knots)) / np.diff(knots)  # (K - 1,)
        beyond = expected_improvement(mean[:, None], std[:, None], knots)  # (N, K)
        ramps = rises * np.maximum(beyond[:, :-1] - beyond[:, 1:], 0.0)  # (N, K - 1)
        above = np.cumsum(ramps[:, ::-1], axis=1)[:, ::-1]  # (N, K - 1), of all knots but the last, which is AP 1
        return np.asarray(np.pad(above, ((0, 0), (0, 1)))[:, np.searchsorted(knots, self.of(levels))])

    def _inverse(self, values: FloatArray) -> FloatArray:
        if self.power == 0:
            raised = np.exp(np.minimum(values, np.log(1 + _SHIFT)))
        else:
            raised = np.maximum(self.power * values, 0.0) ** (1 / self.power)
        return np.asarray(np.clip(raised - _SHIFT, 0.0, 1.0))


SCALES = tuple(ApScale(power=power) for power in (0.5, 0.0, 1.0, 2.0))
"""The scales to choose from; the first, in the middle of the others, is used where observations are few."""
