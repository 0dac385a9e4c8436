"""How many processes prepare images beside a GPU."""

import os

import pytest

from trials.training import TrainSettings
from trials.training.data_module import choose_num_workers


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (4, 3), (16, 8)])
def test_a_training_s_share_of_the_cores_bounds_them(cores: int, workers: int) -> None:
    assert choose_num_workers(TrainSettings(num_threads=cores), is_gpu=True) == workers


def test_without_a_share_the_usable_cores_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(3)))
    assert choose_num_workers(TrainSettings(), is_gpu=True) == 2
    assert choose_num_workers(TrainSettings(), is_gpu=False) == 0
