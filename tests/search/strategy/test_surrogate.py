from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal, norm

from search.strategy.surrogate import (
    Inputs,
    Surrogate,
    SurrogateSettings,
    _covariance,
    _Posterior,
    fit_surrogate,
)


def grid(num_categories: int = 3) -> Inputs:
    a, b, c = np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 4), np.arange(num_categories), indexing="ij")
    return Inputs(ordered=np.column_stack((a.ravel(), b.ravel())), categories=c.ravel()[:, None])


def truth(inputs: Inputs) -> np.ndarray:
    return 0.3 + 0.2 * inputs.ordered[:, 0] + 0.1 * inputs.ordered[:, 1] ** 2 + 0.03 * inputs.categories[:, 0]


def some(inputs: Inputs, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(inputs), count, replace=False)


def test_the_gradient_of_the_posterior_is_its_finite_difference() -> None:
    inputs = grid().take(some(grid(), 15))
    objective = _Posterior(inputs, truth(inputs), np.full(15, 0.01), SurrogateSettings())
    for shift in (0.0, 0.7, -1.1):
        theta = objective.prior_mean + shift
        numeric = approx_fprime(theta, lambda point: objective.loss_and_gradient(point)[0], 1e-6)
        assert objective.loss_and_gradient(theta)[1] == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_one_observation_of_a_constant_predicts_it_and_doubts() -> None:
    inputs = grid()
    mean, std = fit_surrogate(inputs.take(np.array([0])), np.array([0.4])).predict(inputs)
    assert mean == pytest.approx(np.full(len(inputs), 0.4))
    assert std[0] < 0.2 * std.max()


def test_it_passes_through_observations_without_noise_and_is_sure_there() -> None:
    inputs, chosen = grid(), some(grid(), 20)
    mean, std = fit_surrogate(inputs.take(chosen), truth(inputs)[chosen]).predict(inputs)
    assert mean[chosen] == pytest.approx(truth(inputs)[chosen], abs=3e-3)
    assert std[chosen].mean() < 0.5 * np.delete(std, chosen).mean()
    assert np.sqrt(np.mean((mean - truth(inputs)) ** 2)) < 0.01


def test_the_noise_is_learnt() -> None:
    inputs, random = grid(), np.random.default_rng(1)
    noisy = truth(inputs) + 0.02 * random.standard_normal(len(inputs))
    assert fit_surrogate(inputs, noisy).noise_std == pytest.approx(0.02, rel=0.4)


def test_an_observation_known_to_be_poor_moves_the_mean_less() -> None:
    inputs, chosen = grid(), some(grid(), 12)
    targets = truth(inputs)[chosen]
    targets[0] += 0.2
    off = [
        abs(fit_surrogate(inputs.take(chosen), targets, noise_std=noise).predict(inputs)[0][chosen[0]] - targets[0])
        for noise in (np.zeros(12), np.array([0.3] + [0.0] * 11))
    ]
    assert off[1] > 2 * off[0]


@pytest.mark.parametrize(("num_ordered", "num_categories"), [(0, 2), (3, 0), (0, 0)])
def test_either_kind_of_column_may_be_missing(num_ordered: int, num_categories: int) -> None:
    random = np.random.default_rng(0)
    inputs = Inputs(ordered=random.random((9, num_ordered)), categories=random.integers(0, 2, (9, num_categories)))
    mean, std = fit_surrogate(inputs, random.random(9)).predict(inputs)
    assert np.isfinite(mean).all()
    assert (std > 0).all()


def test_many_observations_are_fitted_on_some_and_predicted_with_all() -> None:
    inputs, settings = grid(), SurrogateSettings(max_fit_points=10)
    mean, _ = fit_surrogate(inputs, truth(inputs), settings=settings).predict(inputs)
    assert mean == pytest.approx(truth(inputs), abs=5e-3)


def test_the_same_seed_gives_the_same_prediction() -> None:
    inputs, chosen = grid(), some(grid(), 10)
    first, second = (fit_surrogate(inputs.take(chosen), truth(inputs)[chosen], seed=5).predict(inputs) for _ in "ab")
    assert np.array_equal(first, second)


def test_expected_slopes_rank_what_no_observation_tells_apart_and_are_corrected_by_many() -> None:
    inputs = replace(grid(), slopes=np.array([1.0, -1.0]))
    middle = int(np.argmin(np.abs(inputs.ordered - 0.5).sum(axis=1)))
    few, _ = fit_surrogate(inputs.take(np.array([middle])), np.array([0.4])).predict(inputs)
    assert np.corrcoef(few, inputs.ordered @ [1.0, -1.0])[0, 1] > 0.95
    chosen = some(inputs, 30)  # the second slope is wrong: the truth rises there too
    many, _ = fit_surrogate(inputs.take(chosen), truth(inputs)[chosen]).predict(inputs)
    assert many == pytest.approx(truth(inputs), abs=0.02)


def test_slopes_of_other_columns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"slopes have shape \(3,\); they must be \(2,\)"):
        replace(grid(), slopes=np.ones(3))


def test_targets_that_teach_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        fit_surrogate(grid().take(np.array([], dtype=np.int64)), np.zeros(0))
    with pytest.raises(ValueError, match="finite values"):
        fit_surrogate(grid().take(np.array([0])), np.array([np.nan]))
    with pytest.raises(ValueError, match=r"\(N, P\) and \(N, Q\)"):
        Inputs(ordered=np.zeros((2, 1)), categories=np.zeros((3, 1), dtype=np.int64))


@pytest.mark.parametrize("name", ["length_median", "category_median", "noise_median", "num_starts", "max_fit_points"])
def test_settings_without_meaning_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0"):
        SurrogateSettings(**{name: 0})


def test_predictions_follow_the_targets_units() -> None:
    inputs, chosen = grid(), some(grid(), 15)
    targets = truth(inputs)[chosen] + 0.01 * np.random.default_rng(0).standard_normal(15)
    known = np.full(15, 0.01)
    mean, std = fit_surrogate(inputs.take(chosen), targets, noise_std=known).predict(inputs)
    moved = fit_surrogate(inputs.take(chosen), 7 + 100 * targets, noise_std=100 * known).predict(inputs)
    assert moved[0] == pytest.approx(7 + 100 * mean, rel=1e-3)
    assert moved[1] == pytest.approx(100 * std, rel=1e-2)


def test_more_iterations_change_the_fit() -> None:
    inputs, chosen = grid(), some(grid(), 15)
    short, long = (
        fit_surrogate(inputs.take(chosen), truth(inputs)[chosen], settings=SurrogateSettings(max_iterations=count))
        for count in (1, 40)
    )
    assert np.abs(short.predict(inputs)[1] - long.predict(inputs)[1]).max() > 1e-4


def test_categories_alone_are_learnt_to_certainty() -> None:
    categories = np.array([[a, b] for a in range(3) for b in range(2)]).repeat(3, axis=0)
    inputs = Inputs(ordered=np.zeros((18, 0)), categories=categories)
    targets = 0.1 * categories[:, 0] + 0.05 * categories[:, 1]
    mean, std = fit_surrogate(inputs, targets).predict(inputs)
    assert mean == pytest.approx(targets, abs=5e-3)
    assert std.max() < 0.1 * targets.std()


SETTINGS = SurrogateSettings(trend_variance=0.5, category_variance=0.2)
THETA = np.log([0.7, 1.5, 0.4, 0.8, 0.03])  # two lengths, one category's rate, the variance, the noise variance


def plain_covariance(left: Inputs, right: Inputs) -> np.ndarray:
    """The module's formula, pair by pair."""
    lengths, rate, variance = np.exp(THETA[:2]), np.exp(THETA[2]), np.exp(THETA[3])
    found = np.empty((len(left), len(right)))
    for row, (x, c) in enumerate(zip(left.ordered, left.categories, strict=True)):
        for column, (y, d) in enumerate(zip(right.ordered, right.categories, strict=True)):
            distance = np.sqrt(5) * np.linalg.norm((x - y) / lengths)
            matern = variance * (1 + distance + distance**2 / 3) * np.exp(-distance - rate * (c != d).sum())
            found[row, column] = matern + 0.5 * (x - 0.5) @ (y - 0.5) + 0.2 * (c == d).sum() + 4
    return found


def some_observations() -> tuple[Inputs, np.ndarray, np.ndarray]:
    inputs = replace(grid(), slopes=np.array([1.0, -0.5])).take(some(grid(), 12))
    return inputs, truth(inputs), np.linspace(0, 0.03, 12)


def test_predictions_are_those_of_the_textbook() -> None:
    inputs, targets, noise_std = some_observations()
    other = replace(grid(), slopes=np.array([1.0, -0.5]))
    mean, std = Surrogate(inputs, targets, noise_std=noise_std, theta=THETA, settings=SETTINGS).predict(other)
    scale = targets.std()
    noisy = plain_covariance(inputs, inputs) + np.diag(np.exp(THETA[-1]) + 1e-6 + (noise_std / scale) ** 2)
    across = plain_covariance(other, inputs)
    beyond = (targets - targets.mean()) / scale - (inputs.ordered - 0.5) @ [1.0, -0.5]
    expected = across @ np.linalg.solve(noisy, beyond) + (other.ordered - 0.5) @ [1.0, -0.5]
    variance = np.diag(plain_covariance(other, other) - across @ np.linalg.solve(noisy, across.T))
    assert mean == pytest.approx(expected * scale + targets.mean(), rel=1e-6)
    assert std == pytest.approx(np.sqrt(variance) * scale, rel=1e-6)


def test_the_posterior_is_likelihood_times_priors() -> None:
    inputs, targets, noise_std = some_observations()
    objective = _Posterior(inputs, targets, noise_std, SETTINGS)
    scale = targets.std()
    beyond = (targets - targets.mean()) / scale - (inputs.ordered - 0.5) @ [1.0, -0.5]
    noisy = plain_covariance(inputs, inputs) + np.diag(np.exp(THETA[-1]) + 1e-6 + (noise_std / scale) ** 2)
    likelihood = multivariate_normal.logpdf(beyond, cov=noisy)
    priors = norm.logpdf(THETA, objective.prior_mean, objective.prior_std).sum()
    constants = -0.5 * np.log(2 * np.pi) * (12 + 5) - np.log(objective.prior_std).sum()
    assert objective.loss_and_gradient(THETA)[0] == pytest.approx(-(likelihood + priors - constants), rel=1e-6)


def test_a_belief_is_followed_until_observations_contradict_it() -> None:
    believed = grid()
    wrong = -(truth(believed) - truth(believed).mean()) / truth(believed).std()
    inputs = replace(believed, beliefs=wrong[:, None])
    one = fit_surrogate(inputs.take(np.array([0])), truth(inputs)[:1]).predict(inputs)[0]
    assert np.corrcoef(one, wrong)[0, 1] > 0.9
    chosen = some(inputs, 12)
    model = fit_surrogate(inputs.take(chosen), truth(inputs)[chosen])
    assert np.corrcoef(model.predict(inputs)[0], truth(inputs))[0, 1] > 0.95


def test_beliefs_are_main_effects_whose_coefficients_are_integrated_out() -> None:
    """Against the same process written as a draw of coefficients: its covariance, and the mean that they expect."""
    inputs = replace(grid(), beliefs=np.random.default_rng(3).standard_normal((len(grid()), 2)))
    settings = SurrogateSettings(belief_variance=0.5)
    without = replace(inputs, beliefs=None)
    theta = np.zeros(5)
    added = _covariance(inputs, inputs, theta, settings) - _covariance(without, without, theta, settings)
    coefficients = np.sqrt(0.5 / 2) * np.random.default_rng(4).standard_normal((20_000, 2))
    assert added == pytest.approx(np.cov((coefficients @ inputs.beliefs.T).T), abs=0.06)
    assert inputs.expected() == pytest.approx(inputs.beliefs @ [0.5, 0.5])


def test_the_posterior_with_beliefs_is_that_of_its_covariance() -> None:
    inputs = replace(grid(), beliefs=np.random.default_rng(3).standard_normal((len(grid()), 2)))
    seen, settings, theta = some(inputs, 9), SurrogateSettings(), np.zeros(5)
    targets = truth(inputs)[seen]
    model = Surrogate(inputs.take(seen), targets, noise_std=np.zeros(9), theta=theta, settings=settings)
    covariance = _covariance(inputs, inputs, theta, settings)
    noisy = covariance[np.ix_(seen, seen)] + (1.0 + 1e-6) * np.eye(9)
    gain = np.linalg.solve(noisy, covariance[seen]).T
    standardised = (targets - targets.mean()) / targets.std()
    expected = inputs.expected() + gain @ (standardised - inputs.expected()[seen])
    variance = np.diag(covariance - gain @ covariance[seen])
    mean, std = model.predict(inputs)
    assert mean == pytest.approx(expected * targets.std() + targets.mean())
    assert std == pytest.approx(np.sqrt(variance) * targets.std())


def test_beliefs_of_another_number_of_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match=r"beliefs have shape \(3, 1\)"):
        replace(grid(), beliefs=np.zeros((3, 1)))
