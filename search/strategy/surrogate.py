"""A Gaussian process over architectures: ordered choices, categories, and a number to predict.

Letters: N observations, M candidates, P ordered inputs, Q categories, K earlier studies, H = P + Q + 2 hyperparameters.

The covariance of two architectures x, x' is

    s² · matern52(|(x - x') / lengths|) · exp(-Σ_q θ_q [c_q ≠ c'_q])  +  t (x - ½)·(x' - ½)  +  u Σ_q [c_q = c'_q]
        +  v b·b' / K  +  4

The other terms are main effects, integrated out: a linear trend over the ordered inputs, an offset for each category, the
beliefs b of K earlier studies (`search.strategy.accuracy.belief`), and a constant. Accuracy and log latency grow along
nearly every ordered choice, and a head that is better on one backbone is better on all; with ten observations little more
can be learnt. `Inputs.slopes` is the prior mean of the trend, 1 / K that of each belief's coefficient. Targets are
standardised; ordered inputs must be scaled to [0, 1] over the candidates.

Hyperparameters maximise marginal likelihood times log-normal priors. Averaging over samples of a slice sampler from the
same posterior gained nothing on the benchmark and took eight times as long.

Source:
    Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, equations 2.25, 4.17, 5.8 and 5.9.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from search.front.pareto import FloatArray, IntArray

_CONSTANT_VARIANCE = 4.0
_JITTER = 1e-6
_SQRT5 = float(np.sqrt(5.0))


@dataclass(frozen=True, kw_only=True)
class SurrogateSettings:
    """Priors of the hyperparameters, and the effort of their fit."""

    length_median: float = 0.5
    """Prior median of the Matérn length of each ordered input, in units of its range; more than 0."""
    category_median: float = 0.8
    """Prior median of θ: two categories correlate by exp(-θ); more than 0."""
    noise_median: float = 1e-2
    """Prior median of the noise variance, as a share of the targets' variance; more than 0."""
    noise_spread: float = 1.5
    """Prior standard deviation of the log of the noise variance; more than 0, and small where the noise is known."""
    trend_variance: float = 0.3
    """t, the prior variance of an ordered input's slope over its range; more than 0."""
    category_variance: float = 0.1
    """u, the prior variance of a category's main effect; more than 0."""
    belief_variance: float = 0.5
    """v, the prior variance of the coefficient of an earlier study's expectation, whose mean is 1; more than 0. It lets a
    study that contradicts be left after few trainings."""
    num_starts: int = 2
    """Starting points of the likelihood's maximisation, at least 1."""
    max_iterations: int = 40
    """Iterations from each start, at least 1; a count rather than seconds, so that a repeat gives the same result."""
    max_fit_points: int = 120
    """The hyperparameters are fitted to at most so many observations, evenly spread over their order; predictions use
    all. It bounds the time: one likelihood costs N³."""

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        medians = ("length_median", "category_median", "noise_median", "noise_spread")
        for name in (*medians, "trend_variance", "category_variance", "belief_variance"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("num_starts", "max_iterations", "max_fit_points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Encoded architectures."""

    ordered: FloatArray
    """(N, P), each column scaled to [0, 1]; P may be 0."""
    categories: IntArray
    """(N, Q) category numbers; only equality counts; Q may be 0."""
    beliefs: FloatArray | None = None
    """(N, K) what K earlier studies expect of the targets, in their standard deviations; None for no studies."""
    slopes: FloatArray | None = None
    """(P,) expected change of the targets over each ordered column's range, in their standard deviations; None for 0."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not describe the same architectures."""
        if self.ordered.ndim != 2 or self.categories.ndim != 2 or len(self.ordered) != len(self.categories):
            raise ValueError(
                f"ordered has shape {self.ordered.shape}, categories {self.categories.shape}; "
                "they must be (N, P) and (N, Q)"
            )
        if self.beliefs is not None and (self.beliefs.ndim != 2 or len(self.beliefs) != len(self.ordered)):
            raise ValueError(f"beliefs have shape {self.beliefs.shape}; they must be ({len(self.ordered)}, K)")
        if self.slopes is not None and self.slopes.shape != self.ordered.shape[1:]:
            raise ValueError(f"slopes have shape {self.slopes.shape}; they must be {self.ordered.shape[1:]}")

    def __len__(self) -> int:
        return len(self.ordered)

    def take(self, indices: IntArray) -> "Inputs":
        """Return the architectures at `indices`, in that order."""
        beliefs = None if self.beliefs is None else self.beliefs[indices]
        return replace(self, ordered=self.ordered[indices], categories=self.categories[indices], beliefs=beliefs)

    def expected(self) -> FloatArray:
        """Return the prior mean of the standardised targets, (N,): of the trend, 0 in the middle, and of the beliefs."""
        trend = np.zeros(len(self)) if self.slopes is None else (self.ordered - 0.5) @ self.slopes
        return np.asarray(trend if self.beliefs is None else trend + self.beliefs.mean(axis=1))


class Surrogate:
    """A Gaussian process fitted by :func:`fit_surrogate`."""

    def __init__(
        self,
        inputs: Inputs,
        targets: FloatArray,
        *,
        noise_std: FloatArray,
        theta: FloatArray,
        settings: SurrogateSettings,
        log_evidence: float = 0.0,
        centre_and_scale: tuple[float, float] | None = None,
    ) -> None:
        self.log_evidence = log_evidence
        """Log of the likelihood of the targets that the hyperparameters were fitted to, times the priors of these, up to a
        constant for as many targets."""
        self._inputs = inputs
        self._theta = theta
        self._settings = settings
        self._centre, self._scale = centre_and_scale or _centre_and_scale(targets)
        covariance = _covariance(inputs, inputs, theta, settings)
        covariance[np.diag_indices(len(inputs))] += np.exp(theta[-1]) + _JITTER + (noise_std / self._scale) ** 2
        self._cholesky = np.linalg.cholesky(covariance)
        self._weights = cho_solve((self._cholesky, True), (targets - self._centre) / self._scale - inputs.expected())

    @property
    def noise_std(self) -> float:
        """The learnt noise of one observation, in units of the targets."""
        return float(np.exp(0.5 * self._theta[-1]) * self._scale)

    def given(self, inputs: Inputs, targets: FloatArray, *, noise_std: FloatArray) -> "Surrogate":
        """Return the process with other observations; its hyperparameters are those of the same standardisation."""
        return Surrogate(
            inputs,
            targets,
            noise_std=noise_std,
            theta=self._theta,
            settings=self._settings,
            centre_and_scale=(self._centre, self._scale),
        )

    def predict(self, inputs: Inputs) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the noise-free targets, (M,) each."""
        covariance = _covariance(inputs, self._inputs, self._theta, self._settings)  # (M, N)
        explained = solve_triangular(self._cholesky, covariance.T, lower=True)  # (N, M)
        trend = self._settings.trend_variance * ((inputs.ordered - 0.5) ** 2).sum(axis=1)
        alike = self._settings.category_variance * inputs.categories.shape[1]
        variance = np.exp(self._theta[-2]) + trend + alike + _CONSTANT_VARIANCE - (explained**2).sum(axis=0)
        if inputs.beliefs is not None:
            variance += self._settings.belief_variance * (inputs.beliefs**2).mean(axis=1)
        mean = covariance @ self._weights + inputs.expected()
        return mean * self._scale + self._centre, np.sqrt(np.maximum(variance, 1e-10)) * self._scale


def fit_surrogate(
    inputs: Inputs,
    targets: FloatArray,
    *,
    noise_std: FloatArray | None = None,
    settings: SurrogateSettings | None = None,
    seed: int = 0,
) -> Surrogate:
    """Fit a Gaussian process.

    Args:
        inputs: N architectures, N at least 1.
        targets: (N,) finite values.
        noise_std: (N,) known noise of each observation in units of the targets, added to the learnt noise; None for 0.
        settings: Priors and effort.
        seed: Seed of the random starts.

    Raises:
        ValueError: There is no observation, or one is not finite.
    """
    settings = settings or SurrogateSettings()
    targets = np.asarray(targets, dtype=np.float64)
    if targets.shape != (len(inputs),) or len(targets) == 0 or not np.isfinite(targets).all():
        raise ValueError(f"targets must be {len(inputs)} finite values, at least one; received {targets!r}")
    noise_std = np.zeros(len(targets)) if noise_std is None else np.asarray(noise_std, dtype=np.float64)
    fitted = evenly(len(targets), settings.max_fit_points)
    objective = _Posterior(inputs.take(fitted), targets[fitted], noise_std[fitted], settings)
    theta, loss = _maximise(objective, settings, seed)
    log_evidence = -loss - len(fitted) * float(np.log(_centre_and_scale(targets[fitted])[1]))
    return Surrogate(inputs, targets, noise_std=noise_std, theta=theta, settings=settings, log_evidence=log_evidence)


def evenly(length: int, most: int) -> IntArray:
    """Return indices into `length` values: all, or `most` that are evenly spread."""
    return np.linspace(0, length - 1, min(length, most)).round().astype(np.int64)


def _centre_and_scale(targets: FloatArray) -> tuple[float, float]:
    spread = float(targets.std())
    return float(targets.mean()), spread if spread > 1e-9 else 1.0


def _maximise(objective: "_Posterior", settings: SurrogateSettings, seed: int) -> tuple[FloatArray, float]:
    random = np.random.default_rng(seed)
    bounds = list(
        zip(objective.prior_mean - 4 * objective.prior_std, objective.prior_mean + 4 * objective.prior_std, strict=True)
    )
    best_theta, best_loss = objective.prior_mean, np.inf
    for start in range(settings.num_starts):
        offset = 0.7 * random.standard_normal(len(best_theta)) * objective.prior_std if start else 0.0
        result = minimize(
            objective.loss_and_gradient,
            objective.prior_mean + offset,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": settings.max_iterations, "maxfun": 2 * settings.max_iterations},
        )
        if result.fun < best_loss:
            best_theta, best_loss = result.x, float(result.fun)
    return np.asarray(best_theta, dtype=np.float64), best_loss


def _covariance(left: Inputs, right: Inputs, theta: FloatArray, settings: SurrogateSettings) -> FloatArray:
    """Return the covariances of M architectures with N others, (M, N), without an array for each column."""
    num_ordered = left.ordered.shape[1]
    lengths = np.exp(theta[:num_ordered])
    distance = _SQRT5 * cdist(left.ordered / lengths, right.ordered / lengths) if num_ordered else 0.0
    log_variance = np.full((len(left), len(right)), theta[-2])
    for column, rate in enumerate(np.exp(theta[num_ordered:-2])):
        log_variance -= rate * (left.categories[:, None, column] != right.categories[None, :, column])
    return (1 + distance + distance**2 / 3) * np.exp(log_variance - distance) + _main_effects(left, right, settings)


def _main_effects(left: Inputs, right: Inputs, settings: SurrogateSettings) -> FloatArray:
    linear = settings.trend_variance * (left.ordered - 0.5) @ (right.ordered - 0.5).T
    alike = (left.categories[:, None] == right.categories[None]).sum(axis=2)  # (M, N)
    effects = linear + settings.category_variance * alike + _CONSTANT_VARIANCE
    if left.beliefs is not None and right.beliefs is not None:
        effects += settings.belief_variance * left.beliefs @ right.beliefs.T / left.beliefs.shape[1]
    return np.asarray(effects)


class _Posterior:
    """Negative log of marginal likelihood times priors, over log (lengths, θ, s², noise variance)."""

    def __init__(self, inputs: Inputs, targets: FloatArray, noise_std: FloatArray, settings: SurrogateSettings) -> None:
        centre, scale = _centre_and_scale(targets)
        self._targets = (targets - centre) / scale - inputs.expected()
        self._known_noise = (noise_std / scale) ** 2 + _JITTER
        difference = inputs.ordered[:, None] - inputs.ordered[None]
        self._squares = np.ascontiguousarray(np.moveaxis(difference**2, 2, 0))  # (P, N, N)
        differs = inputs.categories[:, None] != inputs.categories[None]
        self._differs = np.ascontiguousarray(np.moveaxis(differs.astype(np.float64), 2, 0))  # (Q, N, N)
        self._main_effects = _main_effects(inputs, inputs, settings)
        num_ordered, num_categories = inputs.ordered.shape[1], inputs.categories.shape[1]
        medians = [settings.length_median] * num_ordered + [settings.category_median] * num_categories
        self.prior_mean = np.log(np.array([*medians, 1.0, settings.noise_median]))
        self.prior_std = np.array([0.8] * num_ordered + [1.0] * num_categories + [1.0, settings.noise_spread])

    def loss_and_gradient(self, theta: FloatArray) -> tuple[float, FloatArray]:
        count, num_ordered = len(self._targets), len(self._squares)
        distance = _SQRT5 * np.sqrt(np.tensordot(np.exp(-2 * theta[:num_ordered]), self._squares, axes=1))
        log_variance = theta[-2] - np.tensordot(np.exp(theta[num_ordered:-2]), self._differs, axes=1)
        decay = np.exp(log_variance - distance)
        matern = (1 + distance + distance**2 / 3) * decay
        covariance = matern + self._main_effects
        noise = np.exp(theta[-1])
        covariance[np.diag_indices(count)] += noise + self._known_noise
        try:
            cholesky = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(theta)
        inverse_root = solve_triangular(cholesky, np.eye(count), lower=True)
        inverse = inverse_root.T @ inverse_root
        weights = inverse @ self._targets
        loss = 0.5 * self._targets @ weights + np.log(np.diag(cholesky)).sum()
        residual = np.outer(weights, weights) - inverse  # -2 d loss / d covariance
        offset = (theta - self.prior_mean) / self.prior_std
        gradient = self._gradient(theta, residual, (1 + distance) * decay * (5 / 3), matern)
        gradient[-1] = -0.5 * np.trace(residual) * noise
        return float(loss + 0.5 * offset @ offset), gradient + offset / self.prior_std

    def _gradient(
        self, theta: FloatArray, residual: FloatArray, by_square: FloatArray, matern: FloatArray
    ) -> FloatArray:
        num_ordered = len(self._squares)
        gradient = np.zeros_like(theta)
        by_length = np.tensordot(self._squares, residual * by_square, axes=2)  # (P,)
        gradient[:num_ordered] = -0.5 * by_length * np.exp(-2 * theta[:num_ordered])
        by_category = np.tensordot(self._differs, residual * matern, axes=2)  # (Q,)
        gradient[num_ordered:-2] = 0.5 * by_category * np.exp(theta[num_ordered:-2])
        gradient[-2] = -0.5 * np.sum(residual * matern)
        return gradient
