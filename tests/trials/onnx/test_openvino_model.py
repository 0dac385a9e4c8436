"""OpenVINO's form of an export computes what the ONNX file computes."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trials.onnx.detector import write_folder
from trials.data.shapes import ShapesSettings, make_shapes
from trials.latency import DeviceError
from trials.latency.cpu import CpuDevice
from trials.onnx import run
from trials.onnx.export import ExportError
from trials.onnx.openvino_model import write_openvino
from trials.onnx.quantised import quantise


@pytest.mark.openvino
def test_it_computes_the_same_and_is_timed(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    write_folder(tmp_path)
    samples = make_shapes(ShapesSettings(num_train=4, num_val=1, size=64)).splits["train"]
    quantise(tmp_path / "model.onnx", tmp_path / "model-int8.onnx", samples, input_hw=(64, 64))
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64)).astype(np.float32)
    for name, px, score in (("model", 1e-3, 1e-5), ("model-int8", 2.0, 0.05)):
        write_openvino(tmp_path / f"{name}.onnx", tmp_path / f"{name}.xml")
        ours = run.Detector(str(tmp_path), "onnxruntime", f"{name}.onnx").network(images)
        theirs = run.Detector(str(tmp_path), "openvino", f"{name}.onnx")
        assert isinstance(theirs.network, run.OpenVino)
        for one, other, apart in zip(ours, theirs.network(images), (px, score), strict=True):
            np.testing.assert_allclose(one, other, atol=apart)
    assert isinstance(run.Detector(str(tmp_path), file="model.xml").network, run.OpenVino)
    device = CpuDevice(runs_openvino=True)
    assert device.identity().backend.startswith("OpenVINO 20")
    (tmp_path / "broken.xml").write_text("no network")
    with pytest.raises(DeviceError, match=r"OpenVINO cannot run broken\.xml"):
        device.measure(tmp_path / "broken.xml")
    text = (tmp_path / "model.xml").read_text(encoding="utf-8")
    (tmp_path / "model.bin").rename(tmp_path / "dynamic.bin")
    dynamic = re.sub(r'(<data )shape="1,3,64,64"', r'\1shape="?,3,64,64"', text)
    assert dynamic != text
    (tmp_path / "dynamic.xml").write_text(dynamic, encoding="utf-8")
    with pytest.raises(DeviceError, match=r"dynamic\.xml|only static shapes can be timed"):
        device.measure(tmp_path / "dynamic.xml")
    (tmp_path / "broken.onnx").write_text("no network")
    with pytest.raises(ExportError, match=r"OpenVINO cannot convert broken\.onnx"):
        write_openvino(tmp_path / "broken.onnx", tmp_path / "gone.xml")


def test_without_the_package_the_message_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match="OpenVINO is not installed") as raised:
        write_openvino(tmp_path / "model.onnx", tmp_path / "model.xml")
    assert raised.value.hint == 'pip install "yoloret-nas[openvino]"'
