"""The prior that comes with the tool."""

import tomllib
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

import search.strategy.accuracy
from search.strategy.accuracy.belief import Belief, says_nothing
from search.strategy.accuracy.built_in_prior import FILE, built_in_prior
from search.strategy.candidates import Encoder, draw_pool
from search.study.prior import BUILT_IN
from spaces.named_spaces import SPACES, open_space
from spaces.networks import count_cost


def test_it_knows_networks_of_the_space_that_a_cpu_searches() -> None:
    prior = built_in_prior()
    assert prior.study == BUILT_IN
    assert not says_nothing(prior)
    networks = [one.architecture for one in prior.trials]
    assert len({one.key for one in networks}) == len(networks) >= 50
    assert all(one in open_space("tiny") for one in networks)
    assert len({one.ap for one in prior.trials}) > 40
    macs = [count_cost(one, num_classes=6).macs for one in networks]
    assert kendalltau(macs, [one.latency_ms for one in prior.trials]).statistic > 0.6


def test_it_expects_more_of_the_head_that_is_better_on_every_dataset_and_of_larger_inputs() -> None:
    for name in SPACES:
        pool = draw_pool(open_space(name), 0)
        expected = Belief(built_in_prior(), Encoder(num_classes=3), seed=0).of(pool)
        assert np.isfinite(expected).all()
        sizes = np.array([one.input_size for one in pool])
        small, large = expected[sizes == sizes.min()].mean(), expected[sizes == sizes.max()].mean()
        assert large > small
        decoupled = np.array([one.head == "decoupled" for one in pool])
        if len(set(decoupled)) == 2:  # space lite has that head alone
            for size in set(sizes):
                assert expected[decoupled & (sizes == size)].mean() > expected[~decoupled & (sizes == size)].mean()


def test_it_is_in_a_wheel() -> None:
    folder = Path(search.strategy.accuracy.__file__).parent
    with (folder.parents[2] / "pyproject.toml").open("rb") as file:
        packed = tomllib.load(file)["tool"]["setuptools"]["package-data"]["search.strategy.accuracy"]
    assert packed == [FILE]
    assert (folder / FILE).is_file()
