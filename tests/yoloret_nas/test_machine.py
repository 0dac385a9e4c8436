from types import SimpleNamespace

import pytest
import torch

from trials.training.gpus import Gpus
from yoloret_nas import machine
from yoloret_nas.options.search import ClusterOptions
from yoloret_nas.workers import choose_workers


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
    assert machine.trials_at_once(tuple(map(str, range(gpus))), batch_size=batch_size) == expected


def test_the_smallest_gpu_and_the_fullest_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 64)
    _script(monkeypatch, [(132, 80), (40, 80)])
    assert machine.trials_at_once(("0", "1"), batch_size=16) == 2
    _script(monkeypatch, [(132, 80), (132, 5)])  # another program holds the rest
    assert machine.trials_at_once(("0", "1"), batch_size=16) == 2


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
    monkeypatch.setattr("trials.training.gpus.find_gpus", lambda: Gpus(usable, ""))
    assert machine.visible_gpus() == expected


def test_a_gpu_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("trials.training.gpus.find_gpus", lambda: Gpus((), "the driver is too old"))
    workers = choose_workers(ClusterOptions(), at_once=None, batch_size=8)
    assert not workers.has_gpus
    assert (
        "cannot use every GPU that the driver lists: the driver is too old; trials train on the CPU"
        in capsys.readouterr().err
    )


def _script(monkeypatch: pytest.MonkeyPatch, gpus: list[tuple[int, int]]) -> None:
    """Stand in for GPUs with so many multiprocessors and so much free memory in GiB."""
    properties = [SimpleNamespace(multi_processor_count=count) for count, _ in gpus]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties[index])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (gpus[index][1] * 2**30, 999 * 2**30))
    monkeypatch.setattr("trials.training.gpus.find_gpus", lambda: Gpus(tuple(range(len(gpus))), ""))
