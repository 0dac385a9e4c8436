from types import SimpleNamespace

import pytest
import torch

from yoloret_nas import machine


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
    properties = SimpleNamespace(multi_processor_count=multiprocessors, total_memory=gib * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    assert machine.trials_at_once(tuple(map(str, range(gpus))), batch_size=batch_size) == expected


def test_the_smallest_gpu_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [SimpleNamespace(multi_processor_count=count, total_memory=80 * 2**30) for count in (132, 40)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: sizes[index])
    monkeypatch.setattr(machine, "usable_cores", lambda: 64)
    assert machine.trials_at_once(("0", "1"), batch_size=16) == 2
