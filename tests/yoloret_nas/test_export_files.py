"""What `export` writes beside the file for the study's own device, and what `predict` and `eval` make of its files."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import onnx
import optuna
import pytest
import torch
from PIL import Image

from search.study.database.storage import open_storage
from search.study.experiment import read_experiment
from search.study.kept_weights import WEIGHTS
from search.study.read_study import read_study
from search.study.settings import fixed_training
from spaces.weights import WEIGHTS_DIR
from tests.trials.latency.board.loopback import LoopbackBoard
from tests.yoloret_nas.conftest import SHAPES, Call, InlineExecutor, RealStudy
from trials.data import DatasetError, open_dataset
from trials.latency import DeviceIdentity, Latency
from trials.latency.cpu import CpuDevice
from trials.latency.measurement_lock import MeasurementLock
from trials.onnx import run
from trials.onnx.export import export_for_timing, read_opset
from trials.onnx.openvino_model import write_openvino
from trials.onnx.suppressed import Suppression, add_suppression
from yoloret_nas.api.measure import measure
from yoloret_nas.api.study import open_study
from yoloret_nas.export import precisions, proof
from yoloret_nas.export.bundle import BundleError
from yoloret_nas.export.export_options import ExportOptions
from yoloret_nas.export.export_trial import _open_images
from yoloret_nas.export.target import Target, build_and_measure, choose_suppression
from yoloret_nas.options.values import OptionError
from yoloret_nas.predictions import _name_pictures, new_folder, predict_all

QUICK = ("--no-measure", "--no-check")


class _Timer:
    """A device that times every file at once."""

    opset = 13

    def __init__(self, kind: str) -> None:
        self.name, self._identity = kind, DeviceIdentity(kind=kind, board="b", backend="r 1.0", precision="fp32")

    def identity(self) -> DeviceIdentity:
        return self._identity

    def measure(self, onnx_path: Path) -> Latency:
        return Latency(samples_ms=(1.0,), device=self._identity)

    def close(self) -> None: ...


@pytest.mark.usefixtures("own_locks")
@pytest.mark.parametrize("kind", ["cpu", "ssh"])
def test_a_machine_that_another_process_keeps_is_no_reason_to_write_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    device = _Timer(kind)
    monkeypatch.setattr("yoloret_nas.export.target.open_device", lambda spec, **_: device)
    monkeypatch.setattr("trials.latency.measure.MeasurementLock", partial(MeasurementLock, patience_s=0.1))
    files = ("raw.onnx", "model.onnx")
    for name in files:
        (tmp_path / name).write_bytes(name.encode())
    with MeasurementLock().shared() as lock, lock.exclusive():
        found = build_and_measure(
            tmp_path,
            Target(device=kind, identity=device.identity(), opset=13, has_engines=False),
            files,
            precisions=("fp32",),
            network=cast(Any, None),
            decoding=cast(Any, None),
            searched=device.measure(tmp_path),
            is_measured=True,
        )
    assert tuple(found) == files
    for one in found.values():
        if kind == "ssh":
            assert isinstance(one, Latency)
        else:
            assert isinstance(one, str)
            assert one.startswith("this machine is not free: another process measures on it")


@pytest.fixture
def base(real_study: RealStudy) -> tuple[object, ...]:
    return ("export", "--study", "real", "--dir", real_study.root)


def test_an_export_for_a_board_has_its_engine_and_its_latencies(
    call: Call, base: tuple[object, ...], board: LoopbackBoard
) -> None:
    board.set(version="7.1.3")
    called = call(*base, "--for", board.spec, "--no-check", "--out", "nano")
    assert called.code == 0, called.said
    assert re.search(
        r"files for ssh://board \(NVIDIA Jetson Nano Developer Kit · TensorRT 7\.1\.3 .*\), opset 11", called.out
    )
    assert {read_opset(Path("nano") / name) for name in ("model.onnx", "raw.onnx")} == {11}
    detector = json.loads(Path("nano/detector.json").read_text(encoding="utf-8"))
    assert detector["model.engine"] == {"tensorrt": "TensorRT 7.1.3", "board": "NVIDIA Jetson Nano Developer Kit"}
    metrics = json.loads(Path("nano/metrics.json").read_text(encoding="utf-8"))
    assert (metrics["target"]["device"], metrics["target"]["opset"]) == (board.spec, 11)
    assert metrics["device"]["kind"] == "cpu"  # the search's
    latencies = metrics["latency_of_files_ms"]
    assert latencies["raw.onnx"]["median"] > 0
    assert latencies["model.engine"] == latencies["model.onnx"]  # one build, timed once
    engine = Path("nano/model.engine").read_bytes()
    assert engine in [path.read_bytes() for path in board.cache.glob("*/*.engine")]
    words = "`model.engine` was built by TensorRT 7.1.3 on NVIDIA Jetson Nano Developer Kit"
    assert words in Path("nano/README.md").read_text(encoding="utf-8")


def test_the_latencies_of_an_export_are_on_the_scale_of_the_search(
    call: Call, base: tuple[object, ...], real_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = [record.result.latency for record in read_study(real_study.root, "real").summary.records]
    first = next(one for one in searched if one is not None)
    assert first.reference_ms is not None
    scale_ms = first.reference_ms / first.slowdown
    slower = replace(first, samples_ms=(14.0,), reference_ms=1.4 * scale_ms, slowdown=1.0, notes=())
    monkeypatch.setattr(CpuDevice, "measure", lambda device, path: slower)
    called = call(*base, "--no-check", "--out", "files")
    assert called.code == 0, called.said
    metrics = json.loads(Path("files/metrics.json").read_text(encoding="utf-8"))
    assert metrics["latency_of_files_ms"]["model.onnx"]["median"] == pytest.approx(10.0)


def test_what_a_board_lacks_is_refused_before_anything_is_built(
    call: Call, base: tuple[object, ...], board: LoopbackBoard
) -> None:
    for words, message in ((("--precision", "int8"), "NVIDIA Jetson Nano Developer Kit has no INT8"),):
        called = call(*base, "--for", board.spec, *words, *QUICK, "--out", "gone")
        assert (called.code, len(re.findall(message, called.said))) == (2, 1), called.said
    called = call(*base, "--for", "cpu", "--format", "engine", "--out", "gone")
    assert called.code == 2
    assert "device cpu has no TensorRT, so no engine can be built there" in called.said
    board.stop()
    called = call(*base, "--for", board.spec, "--out", "gone")
    assert called.code == 1
    assert "board cannot be reached" in called.said
    assert board.calls() == []
    assert not Path("gone").exists()


def test_suppression_is_refused_where_tensorrt_has_neither_layer_nor_plugin(
    call: Call, base: tuple[object, ...], board: LoopbackBoard
) -> None:
    board.set(version="8.0.1")
    called = call(*base, "--for", board.spec, "--nms", *QUICK, "--out", "gone")
    assert called.code == 2
    assert re.search(
        r"TensorRT 8\.0\.1 has no non-maximum suppression \(TensorRT has a layer from 8\.5\.0 on", called.said
    )
    assert "leave out --nms: run.py does it in numpy" in called.said
    assert board.calls() == []
    assert not Path("gone").exists()


@pytest.mark.parametrize(
    ("backend", "has_engines", "expected"),
    [
        ("ONNX Runtime 1.23", False, "model-nms.onnx"),
        ("TensorRT 8.5.0", False, "model-nms.onnx"),
        ("TensorRT 8.5.2", True, "model-efficientnms.onnx"),
        ("TensorRT 10.3.0", True, "model-efficientnms.onnx"),
        ("TensorRT 11.0.0", True, "model-nms.onnx"),
        ("TensorRT 8.4.3", True, "model-efficientnms.onnx"),
        ("TensorRT 8.2.1", True, "model-efficientnms.onnx"),
        ("TensorRT 8.2.1", False, "only an engine runs; add --format engine"),
        ("TensorRT 8.0.1", True, "the plugin EfficientNMS_TRT that we write for from 8.2.0 on"),
        ("TensorRT for RTX 1.7.1", True, "has no non-maximum suppression"),
    ],
)
def test_the_form_of_suppression_is_the_one_that_the_version_has(
    backend: str, has_engines: bool, expected: str
) -> None:
    identity = DeviceIdentity(kind="ssh", board="a board", backend=backend, precision="fp16")
    if expected.endswith(".onnx"):
        assert choose_suppression(identity, has_engines=has_engines) == expected
        return
    with pytest.raises(BundleError, match=re.escape(backend)) as raised:
        choose_suppression(identity, has_engines=has_engines)
    assert expected in " ".join((f"{raised.value.message}; {raised.value.hint}").split())


def test_on_tensorrt_8_2_suppression_is_an_engine_with_the_plugin(
    call: Call, base: tuple[object, ...], board: LoopbackBoard
) -> None:
    board.install_tensorrt()
    called = call(*base, "--for", board.spec, "--nms", "0.01,0.4", "--no-measure", "--out", "nano")
    assert called.code == 0, called.said
    names = {path.name for path in Path("nano").glob("model*")}
    assert names == {"model.onnx", "model.engine", "model-efficientnms.onnx", "model-efficientnms.engine"}
    detector = json.loads(Path("nano/detector.json").read_text(encoding="utf-8"))
    assert detector["model-efficientnms.engine"] == detector["model.engine"]
    metrics = json.loads(Path("nano/metrics.json").read_text(encoding="utf-8"))
    for engine in ("model.engine", "model-efficientnms.engine"):  # the stand-in computes in FP32
        proof = metrics["engine_proofs"][engine]
        assert isinstance(proof, dict), proof
        assert proof["num_same"] == proof["num_boxes"] > 0
        assert proof["box_difference_px"] <= 0.11  # run.py prints one digit
        assert proof["score_difference"] < 0.001
    text = Path("nano/README.md").read_text(encoding="utf-8")
    assert "`model-efficientnms.engine` keeps scores above 0.01" in text
    assert "by TensorRT's plugin EfficientNMS_TRT" in text
    assert re.search(
        r"^model-efficientnms\.engine keeps .* by TensorRT's plugin EfficientNMS_TRT", called.out, re.MULTILINE
    )
    assert re.search(
        r"\| `model-efficientnms\.engine` \| \d+ of \d+ box(?:es)? as in ONNX Runtime on 8 images, within", text
    )
    assert re.search(r"model-efficientnms\.engine: \d+ of \d+ box(?:es)? as in ONNX Runtime", called.out)
    Image.new("RGB", (8, 8)).save("a.png")
    for words in (("predict", "nano/model-efficientnms.onnx", "a.png"), ("predict", "nano", "a.png")):
        refused = words[1] != "nano"
        called = call(*words)
        assert (called.code != 0, "TensorRT alone runs" in called.said) == (refused, refused)
    called = call("eval", "nano/model-efficientnms.onnx", "--data", SHAPES)
    assert (called.code, "cannot be scored" in called.said) == (2, True)


def test_a_board_that_builds_no_engine_leaves_no_export(
    call: Call, base: tuple[object, ...], board: LoopbackBoard
) -> None:
    board.fail(build=["operator!"])
    called = call(*base, "--for", board.spec, *QUICK, "--out", "gone")
    assert called.code == 1
    assert "Frobnicate" in called.said
    assert not list(Path().glob("*gone*"))


@pytest.mark.openvino
def test_openvino_files_are_tried_and_measured_like_the_others(call: Call, base: tuple[object, ...]) -> None:
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    called = call(*base, "--format", "openvino", "--max-latency", "900ms", "--out", "intel")
    assert called.code == 0, called.said
    metrics = json.loads(Path("intel/metrics.json").read_text(encoding="utf-8"))
    best = max(metrics["proofs"], key=lambda name: (metrics["proofs"][name]["ap"], name))
    assert f"the most accurate file within 900 ms: {best}" in called.out
    assert metrics["proofs"]["model.xml"]["ap"] == pytest.approx(metrics["ap"], abs=0.002)
    assert metrics["proofs"]["model.xml"]["box_difference_px"] < 0.1
    assert metrics["latency_of_files_ms"]["model.xml"]["median"] > 0
    Image.effect_noise((80, 60), 90).convert("RGB").save("noise.png")
    found = [
        json.loads(call("predict", f"intel/{name}", "noise.png", "--score", "0.01", "--json").out)[0]["detections"]
        for name in ("model.xml", "model.onnx")
    ]
    assert len(found[0]) > 0
    assert [row["class"] for row in found[0]] == [row["class"] for row in found[1]]


def test_a_file_with_suppression_has_the_thresholds_asked_for(
    call: Call, base: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = call(*base, "--nms", "0.01,0.4", "--no-measure", "--out", "with")
    assert called.code == 0, called.said
    about = {entry.key: entry.value for entry in onnx.load("with/model-nms.onnx").metadata_props}
    assert (about["score_threshold"], about["iou_threshold"]) == ("0.01", "0.4")
    text = Path("with/README.md").read_text(encoding="utf-8")
    assert "| `model-nms.onnx` | the boxes that `run.py` keeps |" in text
    assert "keeps scores above 0.01 and drops a box that overlaps a better one by more than 0.4" in text
    assert "by ONNX's operator NonMaxSuppression" in text
    called = call(*base, "--nms", *QUICK, "--out", "default")
    assert called.code == 0, called.said
    about = {entry.key: entry.value for entry in onnx.load("default/model-nms.onnx").metadata_props}
    assert (about["score_threshold"], about["iou_threshold"]) == ("0.25", "0.5")
    called = call(*base, "--nms", "0.4", "--out", "gone")
    assert called.code == 2
    assert "'0.4' is not two numbers from 0 to 1" in called.said
    select = run.select
    monkeypatch.setattr(proof.run, "select", lambda boxes, *rest: select(boxes + 1, *rest))
    called = call(*base, "--nms", "0.01,0.4", "--data", SHAPES, "--no-measure", "--out", "gone")
    assert called.code == 1
    assert re.search(r"model-nms\.onnx finds \d+ boxes on image 0 of val, run\.py other ones", called.said)
    assert not Path("gone").exists()


def test_the_command_takes_the_knee_the_best_or_the_best_within_a_latency(call: Call, bent_study: Path) -> None:
    for words, number in (
        ((), 1),
        (("--best",), 3),
        (("--max-latency", "10ms"), 0),
        (("--max-latency", "50ms"), 2),
        (("--best", "--max-latency", "50ms"), 2),
    ):
        called = call("export", "--study", "bent", "--dir", bent_study, *words, *QUICK)
        assert called.code == 2, called.said
        assert f"the weights of trial {number} of bent are not kept" in called.said, words
    assert "bent:1 has no trained weights" in call("eval", "bent", "--dir", bent_study, "--data", SHAPES).said


def test_a_class_s_name_does_not_break_the_list_of_classes(call: Call, copied_study: RealStudy) -> None:
    folder = copied_study.root / "real" / "trials" / "0000"
    strange = "x\ny"
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    checkpoint["class_names"] = (strange, *checkpoint["class_names"][1:])
    torch.save(checkpoint, folder / "checkpoint.pt")
    words = ("--study", "real", "--trial", "0", "--dir", copied_study.root)
    called = call("export", *words, *QUICK, "--out", "strange")
    assert called.code == 0, called.said
    classes = Path("strange/classes.txt").read_text(encoding="utf-8").splitlines()
    assert classes == ["x y", *checkpoint["class_names"][1:]]
    assert json.loads(Path("strange/detector.json").read_text(encoding="utf-8"))["class_names"][0] == strange


# --- predict and eval -------------------------------------------------------------------------------------------------


@pytest.fixture
def exported(call: Call, base: tuple[object, ...]) -> Iterator[Path]:
    called = call(*base, *QUICK, "--out", "detector")
    assert called.code == 0, called.said
    return Path("detector").resolve()


def test_predict_draws_videos_and_saves_lines_and_crops(call: Call, exported: Path) -> None:
    writer = cv2.VideoWriter("film.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (96, 64))
    noise = np.random.default_rng(0).integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    for frame in noise:
        writer.write(frame)
    writer.release()
    Image.effect_noise((100, 70), 90).convert("RGB").save("photo.jpg")
    words = ("--score", "0.01", "--save-json", "found.jsonl", "--save-crops")
    called = call("predict", exported, "photo.jpg", "film.avi", *words)
    assert called.code == 0, called.said
    assert re.search(r"^film\.avi: 3 frames, [1-9]\d* \w+.* → predictions/film\.mp4$", called.out, re.MULTILINE)
    assert called.out.splitlines()[-1] == "wrote found.jsonl, predictions/crops"
    lines = [json.loads(line) for line in Path("found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["image"] for line in lines] == ["photo.jpg", *(f"film.avi#{number}" for number in range(3))]
    assert "film.avi: detecting in 3 frames" in called.err
    drawn = run.open_stream("predictions/film.mp4")
    assert len(list(run.frames("film", drawn))) == 3
    drawn.release()
    crops = {str(path.relative_to("predictions/crops")) for path in Path("predictions/crops").rglob("*.png")}
    assert crops == {
        f"{row['class']}/{line['image'].replace('.jpg', '').replace('.avi#', '-frame')}-{number}.png"
        for line in lines
        for number, row in enumerate(line["detections"], start=1)
    }
    assert crops
    row = lines[0]["detections"][0]
    x1, y1, x2, y2 = row["box_xyxy"]
    with Image.open(f"predictions/crops/{row['class']}/photo-1.png") as crop:
        assert crop.width == pytest.approx(x2 - x1, abs=2)
        assert crop.height == pytest.approx(y2 - y1, abs=2)


def test_many_images_are_named_at_once() -> None:
    """None is compared with all before it, which takes minutes of twenty thousand; nor are those of one name."""
    out, began = Path("out"), time.monotonic()
    assert len(set(_name_pictures([Path(f"photos/{number}.jpg") for number in range(20_000)], out).values())) == 20_000
    named = _name_pictures([Path(f"{number}/a.jpg") for number in range(20_000)], out)
    assert time.monotonic() - began < 10
    assert list(named.values())[:3] == [out / "a.jpg.png", out / "a.jpg-2.png", out / "a.jpg-3.png"]
    assert len(set(named.values())) == 20_000
    taken = _name_pictures([Path(name) for name in ("x/a-2.png", "x/a.png", "y/a.png", "a.png.png")], out)
    assert [path.name for path in taken.values()] == ["a-2.png", "a.png.png", "a.png-2.png", "a.png-3.png"]


def test_an_image_with_a_long_name_is_drawn_too(call: Call, exported: Path) -> None:
    """Its picture's name, with a number, and of what is not whole yet, would be longer than file systems take."""
    name = "字" * 83
    Path("photos").mkdir()
    for suffix in (".jpg", ".png"):
        Image.effect_noise((100, 70), 90).convert("RGB").save(f"photos/{name}{suffix}")
    called = call("predict", exported, "photos", "--score", "0.01", "--save-crops")
    assert called.code == 0, called.said
    pictures = sorted(path.name for path in Path("predictions").glob("*.png"))
    assert pictures == [f"{name[:66]}-2.png", f"{name[:66]}.png"]
    assert list(Path("predictions/crops").glob(f"*/{name[:66]}-2-1.png"))


def test_a_video_that_cannot_be_read_leaves_nothing(call: Call, exported: Path) -> None:
    Path("broken.mp4").write_text("no video")
    called = call("predict", exported, "broken.mp4")
    assert (called.code, "broken.mp4 cannot be opened" in called.said) == (1, True)
    assert list(Path("predictions").iterdir()) == []


def test_what_cannot_be_read_is_named_and_the_others_are_drawn(call: Call, exported: Path) -> None:
    Path("photos").mkdir()
    for name in ("a.png", "c.png"):
        Image.new("RGB", (8, 8)).save(f"photos/{name}")
    Path("photos/b.png").write_text("no image")
    Path("photos/d.MP4").write_text("no video")
    called = call("predict", exported, "photos", "--save-json", "found.jsonl", "--json")
    assert called.code == 1
    assert re.findall(r"error: photos/(\S+)", called.err) == ["b.png:", "d.MP4"]
    lines = Path("found.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["photos/a.png", "photos/c.png"]
    assert [one["picture"] for one in json.loads(called.out)] == ["predictions/a.png", "predictions/c.png"]
    assert {path.name for path in Path("predictions").iterdir()} == {"a.png", "c.png"}


def test_an_interrupt_keeps_what_was_found_so_far(call: Call, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = cv2.VideoWriter("film.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (96, 64))
    for _ in range(5):
        writer.write(np.zeros((64, 96, 3), np.uint8))
    writer.release()
    Image.new("RGB", (64, 64)).save("photo.png")
    drawn: list[object] = []
    draw = run.draw

    def interrupt(*given: Any) -> Any:
        drawn.append(given)
        if len(drawn) == 4:
            raise KeyboardInterrupt
        return draw(*given)

    monkeypatch.setattr(run, "draw", interrupt)
    called = call("predict", exported, "photo.png", "film.avi", "--save-json", "found.jsonl")
    assert called.code == 130
    lines = [json.loads(line) for line in Path("found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["image"] for line in lines] == ["photo.png", "film.avi#0", "film.avi#1"]
    assert "film.avi: 2 frames, " in called.out
    assert called.out.splitlines()[-1] == "wrote found.jsonl"
    film = run.open_stream("predictions/film.mp4")
    assert len(list(run.frames("film", film))) == 2
    film.release()
    assert {path.name for path in Path("predictions").iterdir()} == {"photo.png", "film.mp4"}
    drawn.clear()
    called = call("predict", exported, "film.avi", "photo.png", "--json", "--out", "others")
    assert (called.code, len(json.loads(called.out))) == (130, 3)
    drawn[:] = [None] * 3
    assert call("predict", exported, "film.avi", "--save-json", "none.jsonl", "--out", "none").code == 130
    assert list(Path("none").iterdir()) == []
    assert not Path("none.jsonl").exists()


def test_a_file_of_openvino_says_what_to_install(call: Call, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    (exported / "model.xml").touch()
    Image.new("RGB", (8, 8)).save("a.png")
    for words in (("predict", exported / "model.xml", "a.png"), ("eval", exported / "model.xml", "--data", SHAPES)):
        called = call(*words)
        assert called.code == 1
        assert 'error: OpenVINO is not installed hint: pip install "yoloret-nas[openvino]"' in called.said


def test_an_engine_is_no_network_here(call: Call, exported: Path) -> None:
    engine = exported / "model.engine"
    engine.write_bytes(b"\xff\xfe plan")
    Image.new("RGB", (8, 8)).save("a.png")
    for words in (("predict", engine, "a.png"), ("eval", engine, "--data", SHAPES), ("latency", engine)):
        called = call(*words)
        assert called.code == 2
        assert f"{engine} is an engine of TensorRT, which runs on the device that built it alone" in called.said
        assert f"python3 {exported / 'run.py'} IMAGE.jpg --backend tensorrt" in called.said
        assert f"give the file that it was built from, such as {exported / 'model.onnx'}" in called.said


def test_lines_that_could_not_be_written_are_refused_before_the_work(call: Call, exported: Path) -> None:
    Image.new("RGB", (8, 8)).save("a.png")
    before = Path("a.png").read_bytes()
    Path("link.png").symlink_to("a.png")
    for path, message in (
        ("no/such/f.jsonl", "there is no folder no/such"),
        ("/proc/f.jsonl", "--save-json /proc/f.jsonl cannot be written: "),
        (exported, "detector is not a file"),
        ("a.png", "a.png is one of the inputs"),
        ("link.png", "link.png is one of the inputs"),
    ):
        called = call("predict", exported, "a.png", "--save-json", path)
        assert (called.code, message in called.said) == (2, True), called.said
    assert Path("a.png").read_bytes() == before
    assert not Path("predictions").exists()
    called = call("predict", exported, "a.png", "--save-json", "drawn/f.jsonl", "--out", "drawn")
    assert called.code == 0, called.said
    assert {path.name for path in Path("drawn").iterdir()} == {"a.png", "f.jsonl"}


class FindsEachClass:
    """A detector that finds a box of each class in every image."""

    path = "model.onnx"

    def __init__(self, *class_names: str) -> None:
        self.class_names = list(class_names)

    def detect(self, image: object, score: float) -> tuple[np.ndarray, ...]:
        count = len(self.class_names)
        return np.tile(np.float32([1, 1, 6, 6]), (count, 1)), np.ones(count, np.float32), np.arange(count)


def crops_of(detector: FindsEachClass, sources: list[Path], folder: Path) -> set[str]:
    made = predict_all(
        cast(run.Detector, detector), sources, folder, score=0.1, saves_crops=True, report_broken=pytest.fail
    )
    assert len(list(made)) >= len(sources)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_each_class_has_a_folder_of_crops_whatever_its_name(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    detector = FindsEachClass("..", "", ".", "a/b", "a_b", "A_b", "x" * 300, "字" * 300, "white cell", "a_b-2")
    found = crops_of(detector, [tmp_path / "a.png"], new_folder(tmp_path / "out"))
    folders = ["class", "class-2", "class-3", "a_b", "a_b-2", "A_b-3", "x" * 60, "字" * 60, "white cell", "a_b-2-2"]
    assert found == {"a.png", *(f"crops/{folder}/a-{number}.png" for number, folder in enumerate(folders, start=1))}


def test_no_crop_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("a-1.png", "a-frame1.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (16, 16))
    for _ in range(2):
        writer.write(np.zeros((16, 16, 3), np.uint8))
    writer.release()
    sources = [tmp_path / name for name in ("a-1.png", "a-frame1.png", "a.avi")]
    assert crops_of(FindsEachClass("cell"), sources, new_folder(tmp_path / "out")) == {
        "a-1.png",
        "a-frame1.png",
        "a.mp4",
        "crops/cell/a-1-1.png",
        "crops/cell/a-frame0-1.png",
        "crops/cell/a-frame1-1.png",
        "crops/cell/a-frame1-1-2.png",
    }


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    assert new_folder(tmp_path / "drawn") == tmp_path / "drawn"
    assert new_folder(tmp_path / "drawn") == tmp_path / "drawn-2"  # though it is empty: another call may just begin
    assert new_folder(tmp_path / "drawn", is_named=True) == tmp_path / "drawn"
    (tmp_path / "drawn" / "a.png").touch()
    (tmp_path / "drawn-3").write_text("a file")
    assert new_folder(tmp_path / "drawn", is_named=True) == tmp_path / "drawn-4"


def test_calls_at_once_draw_in_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(new_folder, [tmp_path / "drawn"] * 40))
    assert len(set(folders)) == 40


def test_an_empty_mount_point_is_drawn_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    assert new_folder(tmp_path) == tmp_path
    (tmp_path / "a.png").touch()
    assert new_folder(tmp_path) == tmp_path.with_name(f"{tmp_path.name}-2")


def test_a_folder_named_by_dots_is_the_folder_that_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here/below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here/below")
    assert new_folder(Path()) == tmp_path / "here/below-2"
    assert new_folder(Path("..")) == tmp_path / "here-2"


def test_eval_scores_an_exported_file_as_it_scores_its_network(call: Call, exported: Path) -> None:
    words = ("--data", SHAPES, "--json")
    scored = [json.loads(call("eval", network, *words).out) for network in (exported, exported / "raw.onnx")]
    assert [one["network"] for one in scored] == ["detector", "detector/raw.onnx"]
    assert scored[0]["ap"] == pytest.approx(scored[1]["ap"], abs=0.002)
    called = call("eval", exported / "model.onnx", "--data", "shapes:train=2,val=2,size=64,classes=4")
    assert called.code == 2
    assert "detector/model.onnx does not know 1 class of" in called.said
    (exported / "detector.json").unlink()
    called = call("eval", exported / "model.onnx", *words)
    assert called.code == 2
    assert "there is no detector.json beside it" in called.said


def test_eval_refuses_the_file_that_leaves_boxes_out(call: Call, exported: Path) -> None:
    add_suppression(exported / "model.onnx", exported / "model-nms.onnx", Suppression())
    called = call("eval", exported / "model-nms.onnx", "--data", SHAPES)
    assert called.code == 2
    assert "detector/model-nms.onnx cannot be scored" in called.said
    assert f"score {exported / 'model.onnx'}" in called.said


@pytest.mark.openvino
def test_files_of_openvino_are_timed_in_openvino_on_the_cpu_alone(call: Call, exported: Path) -> None:
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    file = exported / "model.xml"
    write_openvino(exported / "model.onnx", file)
    (row,) = json.loads(call("latency", file, "--json").out)
    assert row["latency"]["device"]["backend"].startswith("OpenVINO")
    (row,) = json.loads(call("compare", file, "--json").out)
    assert row["ms on cpu"] > 0
    called = call("latency", file, "--device", "ssh://nowhere.invalid")
    assert called.code == 1
    assert "OpenVINO is measured on device cpu alone, not on ssh://nowhere.invalid" in called.err


def test_a_trained_network_is_timed_with_its_own_classes(
    call: Call, exported: Path, copied_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []

    def export(*words: Any, num_classes: int, **options: Any) -> None:
        built.append(num_classes)
        export_for_timing(*words, num_classes=num_classes, **options)

    monkeypatch.setattr("trials.latency.comparison.export_for_timing", export)
    for name in WEIGHTS:
        (copied_study.root / "real/trials/0001" / name).unlink()
    called = call("latency", "real:0", "real:1", exported, exported / "architecture.json", "--dir", copied_study.root)
    assert called.code == 0, called.said
    measure("real:0", dir=copied_study.root)
    assert built == [3, 3, 3, 20, 3]


def test_what_was_measured_before_an_interrupt_is_shown(
    call: Call, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Path] = []

    def interrupt(device: CpuDevice, path: Path) -> Latency:
        measured.append(path)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return time_on_cpu(device, path)

    time_on_cpu = CpuDevice.measure
    monkeypatch.setattr(CpuDevice, "measure", interrupt)
    files = [exported / name for name in ("model.onnx", "raw.onnx")]
    for command in ("latency", "compare"):
        measured.clear()
        called = call(command, *files, "--json", *(["--out", "t.csv"] if command == "compare" else []))
        rows = json.loads(called.out)
        assert called.code == 130
        if command == "latency":
            assert [row["model"] for row in rows] == [str(files[0])]
        else:
            assert [row["ms on cpu"] is None for row in rows] == [False, True]
            assert Path("t.csv").is_file()


def test_int8_is_calibrated_with_images_from_all_over_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(precisions, "quantise", lambda source, target, samples, input_hw: taken.extend(samples))
    words: Any = {"decoding": SimpleNamespace(input_hw=(64, 64)), "calibration": range(1000)}
    precisions.write_precision("int8", Path(), network=cast(Any, None), opset=13, **words)
    assert (len(taken), taken[0], taken[-1]) == (128, 0, 999)


def test_other_images_may_have_their_classes_in_another_order() -> None:
    """As `eval` and `compare` take them: by name."""
    dataset = open_dataset(SHAPES)
    opened, options = cast(Any, SimpleNamespace(dataset=SHAPES, skip_broken=False)), ExportOptions(data=SHAPES)
    turned = ("one more", *reversed(dataset.class_names))
    other = _open_images(opened, options, cast(Any, SimpleNamespace(class_names=turned)), known=())
    for mine, theirs in zip(other.splits["val"], dataset.splits["val"], strict=True):
        assert [turned[label] for label in mine.labels] == [dataset.class_names[label] for label in theirs.labels]
    with pytest.raises(DatasetError, match=r"(?s)the detector does not know 1 class of .*; or name them .*--data"):
        _open_images(opened, options, cast(Any, SimpleNamespace(class_names=turned[:-1])), known=())


def test_other_images_without_an_object_to_find_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """AP of them is NaN, which no JSON holds."""
    dataset = open_dataset(SHAPES)
    bare = tuple(replace(sample, ignored=np.ones(len(sample.labels), np.bool_)) for sample in dataset.splits["val"])
    monkeypatch.setattr(
        "yoloret_nas.export.export_trial.open_dataset",
        lambda *given, **named: replace(dataset, splits={**dataset.splits, "val": bare}),
    )
    opened, decoding = (
        SimpleNamespace(dataset=SHAPES, skip_broken=False),
        SimpleNamespace(class_names=dataset.class_names),
    )
    with pytest.raises(DatasetError, match=r"its val split has \d+ images and no object to find"):
        _open_images(cast(Any, opened), ExportOptions(data=SHAPES), cast(Any, decoding), known=())
    calibration = ExportOptions(data=SHAPES, precisions=("int8",), is_checked=False)
    assert _open_images(cast(Any, opened), calibration, cast(Any, decoding), known=()).splits["val"] == bare


def test_a_table_that_could_not_be_written_is_refused_before_anything_is_measured(call: Call, exported: Path) -> None:
    called = call("compare", exported, "--out", "missing/t.csv")
    assert (called.code, called.out) == (2, "")
    assert "--out missing/t.csv: there is no folder missing" in called.err
    called = call("compare", exported, "--out", "/proc/t.csv")
    assert (called.code, called.out) == (2, "")
    assert "--out /proc/t.csv cannot be written: " in called.err


def test_an_unknown_command_is_told_the_nearest(call: Call) -> None:
    assert "No such command 'evaluate'. Did you mean 'eval'?" in call("evaluate").said
    assert call("zzz").said.endswith("No such command 'zzz'.")


def test_a_trial_is_trained_in_full_on_the_data_of_its_study_alone(call: Call, copied_study: RealStudy) -> None:
    """As a search is resumed on them alone: its labels may have been edited, or the path be another folder's from here."""
    study = optuna.load_study(study_name="real", storage=open_storage(copied_study.root))
    study.set_user_attr("dataset_fingerprint", "of other images")
    called = call("export", "--study", "real", "--refit", "1", *QUICK, "--dir", copied_study.root)
    assert called.code == 2
    assert "are not what its study was trained on" in called.said
    assert "run the search again with --accept-changed-data, and then this" in called.said
    assert not list(copied_study.root.glob("real-trial-*/*.json"))


def test_a_full_training_before_an_export_takes_imagenet_weights_from_a_folder(
    call: Call, copied_study: RealStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str | None] = []
    skips: list[bool] = []

    def train_trial(opened: Any, record: Any, *, skip_broken: bool, **options: Any) -> tuple[Any, Any]:
        found.append(os.environ.get(WEIGHTS_DIR))
        skips.append(skip_broken)
        return opened, record

    monkeypatch.delenv(WEIGHTS_DIR, raising=False)
    monkeypatch.setattr("yoloret_nas.api.write_export.train_trial", train_trial)
    base = ("export", "--study", "real", *QUICK, "--dir", copied_study.root)
    called = call(*base, "--refit", "1", "--weights-dir", tmp_path)
    assert called.code == 0, called.said
    assert (found, os.environ.get(WEIGHTS_DIR)) == ([str(tmp_path)], None)
    refused = call(*base, "--weights-dir", tmp_path)
    assert (refused.code, "add --refit EPOCHS" in refused.said) == (2, True)
    Path("yoloret-nas.yaml").write_text(f"weights_dir: {tmp_path}\n", encoding="utf-8")
    found.clear()
    for options in ((), ("--refit", "1", "--skip-broken")):
        assert call(*base, *options, "--force").code == 0
    assert (found, skips) == ([str(tmp_path)], [False, True])
    Path("yoloret-nas.yaml").write_text("weights_dir: unplugged\n", encoding="utf-8")
    assert call(*base, "--force").code == 0
    refused = call(*base, "--force", "--refit", "1")
    assert (refused.code, "--weights-dir 'unplugged' is no folder" in refused.said) == (2, True)
    assert len(found) == 1
    trial = open_study("real", dir=copied_study.root).best()
    with pytest.raises(OptionError, match="add refit=EPOCHS"):
        trial.export(weights_dir=tmp_path)
    with pytest.raises(OptionError, match=r"weights_dir '.*gone' is no folder"):
        trial.export(weights_dir=tmp_path / "gone", refit=1)


def test_a_trial_is_trained_in_full_before_it_is_exported(
    call: Call, copied_study: RealStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoloret_nas.workers.LocalExecutor", lambda **options: InlineExecutor())
    for name in WEIGHTS:  # as of a trial that is not on the front
        (copied_study.root / "real/trials/0001" / name).unlink()
    where = ("--dir", copied_study.root)
    refused = call("export", "--study", "real", "--trial", "1", *where)
    assert (refused.code, "the weights of trial 1 of real are not kept" in refused.said) == (2, True)
    assert "train it again, with the same command and --refit EPOCHS" in refused.said
    assert "train it: yoloret-nas train real:1 --data …" in call("eval", "real:1", "--data", SHAPES, *where).said
    words = ("export", "--study", "real", "--trial", "1", "--refit", "2", *QUICK, *where)
    refused = call(*words, "--register", "a/b")
    assert refused.code == 2
    Path("exports/real-trial-1-full-2").mkdir(parents=True)
    refused = call(*words)
    assert (refused.code, "exists already" in refused.said) == (2, True)
    Path("exports/real-trial-1-full-2").rmdir()
    assert read_experiment(copied_study.root, "real-trial-1-full-2") is None  # nothing was trained before the refusals

    called = call(*words)
    assert called.code == 0, called.said
    assert "training trial 1 of real for 2 epochs before its export" in called.said
    study, trained = read_study(copied_study.root, "real"), read_experiment(copied_study.root, "real-trial-1-full-2")
    assert trained is not None
    assert study.train is not None
    (record,) = trained.summary.records
    assert (record.result.epochs, record.architecture) == (2, study.summary.records[1].architecture)
    book = json.loads((copied_study.root / "real-trial-1-full-2" / "experiment.json").read_text(encoding="utf-8"))
    assert book["variants"][0]["seed"] == study.train.seed + 1
    same = {"recipe", "batch_size", "learning_rate", "loss", "augmentation"}
    recorded = json.loads(json.dumps(fixed_training(study.train)))
    assert {name: book["settings"]["train"][name] for name in same} == {name: recorded[name] for name in same}
    folder = Path("exports/real-trial-1-full-2")
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["ap"] == record.result.ap
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# real, trial 1, trained again for 2 epochs\n")
    assert f"Trained on `{SHAPES}` for 2 epochs, as trial 0 of `real-trial-1-full-2`." in card
    assert "trial 1, trained again for 2 epochs: " in called.out
    assert "front" not in card  # of one network
    assert not (folder / "front.png").exists()
    weights = (folder / "checkpoint.pt").read_bytes()
    assert weights == (trained.trial_folder(0) / "checkpoint.pt").read_bytes()

    called = call(*words, "--force")  # what was trained is found again
    assert called.code == 0, called.said
    assert (folder / "checkpoint.pt").read_bytes() == weights
    result = copied_study.root / "real-trial-1-full-2/trials/0000/result.json"
    values = json.loads(result.read_text(encoding="utf-8"))
    result.write_text(json.dumps({**values, "fingerprint": "of other images"}), encoding="utf-8")
    called = call(*words, "--force")
    assert called.code == 2
    assert "'real-trial-1-full-2' was trained on the data of real before they changed" in called.said
    called = call("export", "--study", "real-trial-1-full-2", "--refit", "3", *QUICK, "--dir", copied_study.root)
    assert called.code == 2
    assert "real-trial-1-full-2 holds full trainings already" in called.said
