"""Main effects of categories on a figure: a linear model that learns its variances too, and its posterior.

Letters: N trials, J values of all axes together.

    y_n = mean + Σ_j x_nj β_j + ε_n,    β_j ~ N(0, τ²) with one τ for each axis,    ε_n ~ N(0, σ²)

τ has a half-Cauchy prior of scale 1, σ² a scaled inverse chi-squared one, both in units of the standard deviation of y. An
axis that matters little is so shrunk towards 0, and one that matters much is not. ε holds the noise and the interactions of
axes. The posterior is sampled, not maximised: with a dozen trials and thirty effects, many τ and σ explain the trials, and
the best ones alone would give ranges that are too narrow.

Source:
    Gelman, "Prior distributions for variance parameters in hierarchical models", 2006, for the priors; Makalic and Schmidt,
    "A simple sampler for the horseshoe estimator", 2016, for the half-Cauchy as a mixture of inverse gammas.
"""

import numpy as np
from scipy.linalg import solve_triangular

from search.front.pareto import FloatArray, IntArray

_NUM_WARM_UP = 200
_NUM_DRAWS = 1000
_NOISE_PRIOR = (2.0, 0.3)
"""Degrees of freedom and scale of the prior of σ. Without a scale, 28 trials leave thirty effects free to explain all, and
ranges of 90 % covered 85 %."""
_VARIANCE_BOUNDS = (1e-6, 1e2)
"""Of τ²; they keep the matrices regular."""


def sample_main_effects(design: FloatArray, targets: FloatArray, axes: IntArray, *, seed: int) -> FloatArray:
    """Draw effects from their posterior, by Gibbs sampling.

    Args:
        design: (N, J) of 0 and 1, whether a trial has a value; N at least 2.
        targets: (N,) finite figures.
        axes: (J,) number of each value's axis, from 0 without gaps.
        seed: Of the draws.

    Returns:
        (draws, J) effects in units of the targets, relative to the mean of the trials: within each axis, weighted by the
        trials that have the values, they sum to 0.
    """
    random = np.random.default_rng(seed)
    centred, spread = design - design.mean(axis=0), float(targets.std())
    standard = (targets - targets.mean()) / max(spread, 1e-9)
    gram, products = centred.T @ centred, centred.T @ standard
    sizes, (freedom, noise_scale) = np.bincount(axes), _NOISE_PRIOR
    variance, mixing, noise = np.full(len(sizes), 0.1), np.ones(len(sizes)), noise_scale**2
    draws = np.empty((_NUM_WARM_UP + _NUM_DRAWS, len(axes)))
    for draw in draws:
        root = np.linalg.cholesky(gram / noise + np.diag(1 / variance[axes]))
        whitened = solve_triangular(root, products / noise, lower=True) + random.standard_normal(len(axes))
        draw[:] = solve_triangular(root, whitened, lower=True, trans="T")
        squares = np.bincount(axes, weights=draw**2)
        variance = (1 / mixing + squares / 2) / random.standard_gamma((sizes + 1) / 2)
        variance = np.clip(variance, *_VARIANCE_BOUNDS)
        mixing = (1 + 1 / variance) / random.standard_gamma(1.0, size=len(sizes))
        residual = standard - centred @ draw
        noise = (
            (freedom * noise_scale**2 + residual @ residual) / 2 / random.standard_gamma((len(targets) + freedom) / 2)
        )
    kept, is_of = draws[_NUM_WARM_UP:], axes[:, None] == np.arange(len(sizes))  # (J, axes)
    weights = design.sum(axis=0)[:, None] * is_of
    return np.asarray(spread * (kept - (kept @ (weights / weights.sum(axis=0)))[:, axes]))
