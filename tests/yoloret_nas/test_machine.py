import os
from types import SimpleNamespace

import pytest
import torch

from search.cluster import Resources
from trials.gpus import Gpus
from yoloret_nas import machine
from yoloret_nas.options.search import ClusterOptions
from yoloret_nas.workers import ClusterWorkers, choose_workers


@pytest.mark.parametrize(
    ("multiprocessors", "gib", "cores", "gpus", "batch_size", "expected"),
    [
        (132, 140, 16, 1, 8, 4),  # a large GPU takes four
        (132, 140, 64, 2, 16, 8),
        (132, 140, 16, 8, 16, 8),  # two cores for each training
        (84, 24, 16, 1, 16, 2),
        (28, 12, 16, 1, 16, 1),  # a small one is busy with one
        (132, 8, 16, 1, 16, 2),  # 4 GiB for each training
        (84, 24, 16, 1, 64, 1),  # 16 GiB with four times the images
        (16, 2, 1, 1, 16, 1),  # never none
        (0, 0, 6, 0, 16, 6),  # without a GPU one a core
    ],
)
def test_how_many_trials_train_at_once(
    multiprocessors: int,
    gib: int,
    cores: int,
    gpus: int,
    batch_size: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The GPU's properties are a stand-in."""
    _script(monkeypatch, [(multiprocessors, gib)] * gpus)
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    names = tuple(map(str, range(gpus)))
    assert machine.trials_at_once(names, batch_size=batch_size, is_gpu_timed=False) == expected


@pytest.mark.parametrize(
    ("gib", "gpus", "expected"),
    [(8, 1, 2), (8, 2, 2), (16, 2, 6), (16, 8, 16), (140, 8, 32)],
)
def test_a_gpu_that_is_timed_keeps_room_for_the_trials_of_the_others(
    gib: int, gpus: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 32 trials at once would keep half a GiB on one of eight GPUs, which train four each without that."""
    _script(monkeypatch, [(132, gib)] * gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "usable_cores", lambda: 64)
    names = tuple(map(str, range(gpus)))
    assert machine.trials_at_once(names, batch_size=16, is_gpu_timed=True) == expected
    workers = choose_workers(ClusterOptions(), at_once=None, batch_size=16, devices=("cpu", "cuda:1"))
    assert workers.at_once == expected


def test_the_smallest_gpu_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 64)
    _script(monkeypatch, [(132, 80), (40, 80)])
    assert machine.trials_at_once(("0", "1"), batch_size=16, is_gpu_timed=False) == 2
    _script(monkeypatch, [(132, 80), (132, 5)])
    assert machine.trials_at_once(("0", "1"), batch_size=16, is_gpu_timed=False) == 2


@pytest.mark.parametrize(
    ("named", "usable", "expected"),
    [
        (None, (0, 2), ("0", "2")),
        ("3,GPU-ab, 5", (0, 2), ("3", "5")),
        ("3", (0,), ("3",)),
        ("", (), ()),
    ],
)
def test_only_gpus_that_pytorch_can_use_train(
    monkeypatch: pytest.MonkeyPatch, named: str | None, usable: tuple[int, ...], expected: tuple[str, ...]
) -> None:
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr("trials.gpus.find_gpus", lambda: Gpus(usable, ""))
    assert machine.visible_gpus() == expected


def test_a_gpu_that_cannot_be_used_is_told_and_hidden_from_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning would ask the driver, which lists it, and fail in every trial."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("trials.gpus.find_gpus", lambda: Gpus((), "the driver is too old"))
    workers, said = choose_workers(ClusterOptions(), at_once=1, batch_size=8, devices=("cpu",)), list[str]()
    assert not workers.has_gpus
    executor, _ = workers.open(said.append)
    executor.close()
    assert said == ["PyTorch cannot use a GPU that the driver lists: the driver is too old; trials train on the CPU"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_the_usable_ones_beside_it_still_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    _script(monkeypatch, [(132, 80)])
    monkeypatch.setattr("trials.gpus.find_gpus", lambda: Gpus((1,), "no kernels for the first"))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(multi_processor_count=32, total_memory=2**34)
    )
    workers, said = choose_workers(ClusterOptions(), at_once=None, batch_size=8, devices=("cpu",)), list[str]()
    assert workers.where == "1 GPU"
    executor, _ = workers.open(said.append)
    executor.close()
    assert said == [
        "PyTorch cannot use a GPU that the driver lists: no kernels for the first; trials train on 1 other GPU"
    ]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,5"


@pytest.mark.parametrize(("at_once", "expected"), [(None, 9), (4, 4), (16, 9)])
def test_trainings_use_nodes_that_join_a_cluster_later(at_once: int | None, expected: int) -> None:
    each = Resources(cpus=1, gpus=0)
    workers = ClusterWorkers(each=each, fit_now=2, at_once=at_once, device_host=None)
    assert workers.at_most(9).at_once == expected  # though two fit now


def _script(monkeypatch: pytest.MonkeyPatch, gpus: list[tuple[int, int]]) -> None:
    """Stand in for GPUs with so many multiprocessors and so much memory in GiB."""
    properties = [SimpleNamespace(multi_processor_count=count, total_memory=gib * 2**30) for count, gib in gpus]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties[index])
    monkeypatch.setattr("trials.gpus.find_gpus", lambda: Gpus(tuple(range(len(gpus))), ""))
