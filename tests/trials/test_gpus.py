"""GPUs that the driver lists and PyTorch cannot use; what PyTorch says of them is scripted."""

import pytest
import torch

from trials.gpus import find_gpus
from trials.training.errors import TrainingError
from trials.training.settings import TrainSettings
from trials.training.train import uses_gpu

_BUILT = ["sm_75", "sm_80", "sm_86", "sm_90a", "compute_120"]


def _script(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capabilities[index])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: _BUILT)


@pytest.mark.parametrize(
    ("capability", "is_usable"),
    [
        ((6, 1), False),  # Pascal, which CUDA 13 dropped
        ((7, 5), True),
        ((8, 7), True),  # binaries run on later ones of their generation
        ((9, 0), True),
        ((9, 1), False),  # those of an `a` run on that one alone
        ((10, 0), False),
        ((12, 1), True),  # PTX is compiled for all later ones
    ],
)
def test_a_gpu_without_kernels_is_not_usable(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], is_usable: bool
) -> None:
    _script(monkeypatch, (8, 0), capability)
    assert find_gpus().usable == ((0, 1) if is_usable else (0,))
    assert find_gpus().fault == (
        "" if is_usable else "it has no kernels for card 1 (install a PyTorch for an earlier CUDA)"
    )
    _script(monkeypatch, capability)
    if is_usable:
        assert uses_gpu(TrainSettings())
    else:  # it was given to the training: no other one takes its place
        with pytest.raises(TrainingError, match="cannot use the GPU: it has no kernels for card 0"):
            uses_gpu(TrainSettings())
    assert not uses_gpu(TrainSettings(accelerator="cpu"))


@pytest.mark.parametrize("built", [[], ["gfx90a", "gfx942"]])
def test_a_build_that_tells_nothing_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch, built: list[str]) -> None:
    _script(monkeypatch, (9, 4))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
    assert find_gpus() == ((0,), "")


def test_a_driver_that_is_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_old() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 12020).\nPlease update")

    _script(monkeypatch, (8, 0))
    monkeypatch.setattr(torch.cuda, "init", too_old)
    fault = "The NVIDIA driver on your system is too old (found version 12020). (update the driver)"
    assert find_gpus() == ((), fault)
    with pytest.raises(TrainingError, match="CUDA_VISIBLE_DEVICES= hides it"):
        uses_gpu(TrainSettings())


def test_without_a_gpu_there_is_no_fault() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert find_gpus() == ((), "")
