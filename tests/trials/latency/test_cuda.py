"""The device on a local GPU, as far as that needs none."""

import sys
from pathlib import Path

import pytest

from trials.latency import UnknownDeviceError
from trials.latency.open_device import open_device


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UnknownDeviceError, match="device cuda needs the Python package tensorrt") as caught:
        open_device("cuda")
    assert 'pip install "yoloret-nas[tensorrt]"' in caught.value.hint


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setitem(sys.modules, "tensorrt", object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnknownDeviceError, match="PyTorch sees no NVIDIA GPU"):
        open_device("cuda")


def test_an_old_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class _Old:
        __version__ = "8.6.1"

    monkeypatch.setitem(sys.modules, "tensorrt", _Old())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UnknownDeviceError, match=r"needs TensorRT 10 or later, found 8.6.1"):
        _ = open_device("cuda").opset


@pytest.mark.gpu
def test_a_measurement(tmp_path: Path) -> None:
    from trials.latency.reference_network import write_reference

    device = open_device("cuda")
    write_reference(tmp_path / "reference.onnx", opset=device.opset)
    latency = device.measure(tmp_path / "reference.onnx")
    assert latency.median_ms > 0
