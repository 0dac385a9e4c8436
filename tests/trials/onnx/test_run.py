"""The program that an export contains: the same detections as ours, and nothing needed but what it says."""

import ast
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from spaces.normalisation import IMAGENET_MEAN, IMAGENET_STD
from tests.trials.onnx import tensorrt_stand_in as stand_in
from tests.trials.onnx.detector import CLASSES, make_decoding, make_network, write_folder
from tests.trials.onnx.tensorrt_stand_in import Memory, tensorrt_stand_in
from trials.data.images.letterbox import PAD_RGB, letterbox, normalise
from trials.detections import DetectionSettings, select_detections
from trials.detections.decoding import anchors_tensor, decode_maps
from trials.detections.nms import unletterbox_detections
from trials.onnx import run
from trials.onnx.decoded import export_decoded
from trials.onnx.export import export_onnx
from trials.onnx.suppressed import Suppression, add_suppression
from trials.trial_result import write_json

SETTINGS = DetectionSettings(score_threshold=0.2, nms_iou=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("export")
    write_folder(found)
    (found / "run.py").write_bytes(Path(run.__file__).read_bytes())
    return found


def image_of(height: int, width: int) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(height).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def write_photos(folder: Path) -> None:
    folder.mkdir()
    for name, size in (("a.png", (64, 64)), ("b.jpg", (120, 80))):
        cv2.imwrite(str(folder / name), image_of(*size))


@pytest.fixture(scope="module", params=[(64, 64), (32, 96), (96, 64)])
def folder_of_any_shape(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("export")
    write_folder(found, input_hw=request.param)
    return found


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 200), (333, 100), (8, 8), (1, 900)])
def test_it_finds_what_the_network_finds_in_pixels_of_the_image(
    folder_of_any_shape: Path, height: int, width: int
) -> None:
    image, decoding = image_of(height, width), make_decoding()
    detector = run.Detector(str(folder_of_any_shape))
    boxes, scores, labels = detector.detect(image, SETTINGS.score_threshold, SETTINGS.nms_iou)
    boxed, place = letterbox(image, detector.input_hw)
    with torch.no_grad():
        maps = make_network()(normalise(torch.from_numpy(boxed).permute(2, 0, 1)[None]))
    anchors = anchors_tensor(decoding.anchors)
    predictions = decode_maps(maps, anchors, strides=(8, 16, 32), coding=decoding.coding, num_classes=2)
    expected = unletterbox_detections(select_detections(predictions, SETTINGS)[0], place, size_hw=(height, width))
    assert len(boxes) > 0
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    ours, theirs = (  # in an order of their own: equal scores may come in any
        np.array(sorted(np.column_stack((labels, boxes.round(1), scores)).tolist()))
        for boxes, scores, labels in (
            (boxes, scores, labels),
            (expected.boxes.numpy(), expected.scores.numpy(), expected.labels.numpy()),
        )
    )
    np.testing.assert_allclose(ours, theirs, atol=0.11)
    np.testing.assert_allclose(scores, expected.scores.numpy(), atol=1e-4, rtol=1e-3)
    assert (boxes >= 0).all()
    assert (boxes.max(axis=0) <= [width, height, width, height]).all()


@pytest.mark.parametrize("input_hw", [(160, 160), (96, 160), (160, 96)])
@pytest.mark.parametrize("shape", [(64, 64), (48, 200), (333, 100), (1, 900), (1280, 961)])
def test_its_letterbox_is_the_one_of_training(shape: tuple[int, int], input_hw: tuple[int, int]) -> None:
    image = image_of(*shape)
    boxed, place = run.letterbox(image, input_hw, (124, 116, 104))
    expected, expected_place = letterbox(image, input_hw)
    np.testing.assert_array_equal(boxed, expected)
    assert place == tuple(expected_place)


def test_the_best_boxes_of_each_class_are_kept_up_to_the_bounds() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    scores = np.array([[0.9, 0.0], [0.8, 0.3], [0.0, 0.7], [0.4, 0.2]], np.float32)
    found = run.select(boxes, scores, 0.25, 0.5, 100, 1000)
    assert found[1].tolist() == pytest.approx([0.9, 0.7, 0.4])
    assert found[2].tolist() == [0, 1, 0]
    assert run.select(boxes, scores, 0.25, 0.99, 100, 1000)[1].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.4, 0.3])
    assert run.select(boxes, scores, 0.25, 0.5, 2, 1000)[1].tolist() == pytest.approx([0.9, 0.7])
    assert run.select(boxes, scores, 0.25, 0.5, 100, 1)[1].tolist() == pytest.approx([0.9])
    nothing = run.select(boxes, scores, 1.0, 0.5, 100, 1000)
    assert (nothing[0].shape, nothing[1].shape, nothing[2].shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("coding", ["bounded", "exponential", "distances"])
def test_raw_maps_are_decoded_to_the_same_boxes(tmp_path: Path, coding: str) -> None:
    network, decoding = make_network(coding), make_decoding(coding, input_hw=(64, 96))
    export_decoded(network, decoding, tmp_path / "model.onnx", opset=13)
    export_onnx(network, tmp_path / "raw.onnx", input_hw=(64, 96))
    raw = {
        "strides": [8, 16, 32],
        "anchors": decoding.anchors,
        "coding": coding,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
    }
    settings = {"class_names": CLASSES, "input_hw": [64, 96], "letterbox_rgb": PAD_RGB, "raw.onnx": raw}
    write_json(tmp_path / "detector.json", settings)
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96)).astype(np.float32)
    ours, expected = (run.Detector(str(tmp_path), file=name).network(images) for name in ("raw.onnx", "model.onnx"))
    for one, other in zip(ours, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-4)


def test_a_file_with_suppression_is_run_as_it_is(folder: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "detector.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    add_suppression(tmp_path / "model.onnx", tmp_path / "model-nms.onnx", Suppression(score_threshold=0.1))
    detector, image = run.Detector(str(tmp_path), file="model-nms.onnx"), image_of(48, 200)
    for threshold in (0.0, 0.3):
        expected = run.Detector(str(tmp_path)).detect(image, max(threshold, 0.1))
        found = detector.detect(image, threshold)
        assert len(found[0]) > 0
        assert found[1].tolist() == pytest.approx(expected[1].tolist())
        assert found[2].dtype == np.int64
    assert len(detector.detect(image, 0.0, max_detections=2)[0]) == 2
    add_suppression(tmp_path / "model.onnx", tmp_path / "model-nms.onnx", Suppression(score_threshold=0.3))
    detector = run.Detector(str(tmp_path), file="model-nms.onnx")
    below, above = (detector.detect(image, threshold, max_detections=300) for threshold in (-0.1, 0.0))
    assert below[2].tolist() == above[2].tolist()  # what pads the file is no detection at any threshold
    assert 0 < len(above[2]) < 300


def test_two_programs_that_keep_an_engine_at_once_write_a_file_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "model.engine", run.os.rename
    killed, writing = tmp_path / "model.engine.abc.partial", tmp_path / "model.engine.def.partial"
    for left, age_s in ((killed, 7200), (writing, 5)):
        left.write_bytes(b"half")
        os.utime(left, (time.time() - age_s,) * 2)

    def rename_beside_another(source: str, target: str) -> None:
        monkeypatch.setattr(run.os, "rename", rename)
        run.keep_engine(str(path), b"the other's")  # from its beginning to its end while this one writes
        rename(source, target)

    monkeypatch.setattr(run.os, "rename", rename_beside_another)
    run.keep_engine(str(path), b"this one's")
    assert path.read_bytes() == b"this one's"
    other = tmp_path / "other"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode
    other.unlink()
    assert [left.exists() for left in (killed, writing)] == [False, True]
    assert sorted(tmp_path.iterdir()) == [path, writing]
    run.keep_engine(str(tmp_path / "gone" / "model.engine"), b"x")  # says so, and goes on


def test_a_tensorrt_that_does_not_start_is_told_in_words(tmp_path: Path) -> None:
    """A stand-in: without a GPU the real one's bindings raise this."""
    no_gpu = TypeError("pybind11::init(): factory function returned nullptr")
    tensorrt = SimpleNamespace(Builder=Mock(side_effect=no_gpu))
    with pytest.raises(RuntimeError, match="TensorRT does not start: no GPU answers"):
        run.build_engine(tensorrt, None, str(tmp_path / "model.onnx"))


def test_a_backend_that_there_is_not_is_refused_before_anything_is_built(folder: Path) -> None:
    with pytest.raises(ValueError, match="backend 'cuda' is none of onnxruntime, openvino, tensorrt"):
        run.Detector(str(folder), "cuda")


def test_it_is_written_for_python_3_6() -> None:
    source = Path(run.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    plain = {"argparse", "ctypes", "glob", "hashlib", "json", "os", "sys", "tempfile", "time"}
    assert imported == plain | {"numpy", "cv2", "PIL", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.NamedExpr)]


_REFUSING = """
import runpy, sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused!r}:
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Refusing())
sys.argv = ["run.py", *{arguments!r}]
runpy.run_path({program!r}, run_name="__main__")
"""


@pytest.mark.parametrize("library", ["cv2", "PIL"])
def test_numpy_onnx_runtime_and_one_image_library_suffice(folder: Path, tmp_path: Path, library: str) -> None:
    write_photos(tmp_path / "photos")
    other = ({"cv2", "PIL"} - {library}).pop()
    refused = (other, "torch", "torchvision", "trials", "spaces", "search", "yoloret_nas", "onnx", "tensorrt", "pandas")
    arguments = ["photos", "--score", "0.1", "--out", "drawn"]
    script = _REFUSING.format(refused=refused, arguments=arguments, program=str(folder / "run.py"))
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [Path(line["image"]).name for line in lines] == ["a.png", "b.jpg"]
    assert lines[0]["detections"]
    assert set(lines[0]["detections"][0]) == {"class", "score", "box_xyxy"}
    assert lines[0]["detections"][0]["class"] in CLASSES
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.png", "b.png"]
    drawn = cv2.imread(str(tmp_path / "drawn" / "b.png"))
    assert drawn.shape == cv2.imread(str(tmp_path / "photos" / "b.jpg")).shape
    assert "2 images: before" in ended.stderr


def test_a_video_becomes_a_video_in_its_colours_and_at_its_rate(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (96, 64))
    for _ in range(5):
        writer.write(np.full((64, 96, 3), (200, 60, 20), np.uint8))  # blue, in OpenCV's order
    writer.release()
    words = [str(tmp_path / "film.avi"), "--model", str(folder), "--out", str(tmp_path / "out"), "--score", "0.99"]
    assert run.main([*words, "--limit", "3"]) == 0
    names = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert names == [f"{tmp_path / 'film.avi'}#{number}" for number in range(3)]
    capture = run.open_stream(str(tmp_path / "out" / "film.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    seen = [frame for _, frame in run.frames("film", capture)]
    capture.release()
    assert [frame.shape for frame in seen] == [(64, 96, 3)] * 3
    assert all(np.abs(frame.reshape(-1, 3).mean(axis=0) - (20, 60, 200)).max() < 12 for frame in seen)


def test_a_film_takes_the_rate_of_any_camera(tmp_path: Path) -> None:
    film = run.Film(str(tmp_path / "slow.mp4"), 211.222)  # a phone's; MPEG-4 has no such number of ticks a second
    for _ in range(3):
        film.add(np.zeros((64, 96, 3), np.uint8))
    film.close()
    capture = run.open_stream(str(tmp_path / "slow.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(211.22)
    assert len(list(run.frames("film", capture))) == 3
    capture.release()
    with pytest.raises(ValueError, match=r"nowhere/x\.mp4: OpenCV writes no video of 96x64 at 25\.0 frames a second"):
        run.Film(str(tmp_path / "nowhere" / "x.mp4"), 0.0).add(np.zeros((64, 96, 3), np.uint8))


class _Camera:
    """Stands in for a camera that gives some frames."""

    def __init__(self, count: int) -> None:
        self.left = count

    def read(self) -> tuple[bool, npt.NDArray[np.uint8] | None]:
        self.left -= 1
        return (True, np.zeros((8, 8, 3), np.uint8)) if self.left >= 0 else (False, None)

    def get(self, _: int) -> float:
        return 25.0

    def release(self) -> None: ...


@pytest.mark.parametrize(
    ("source", "count", "limit", "said"),
    [
        ("camera:0", 0, 0, "camera:0 gives no frame that can be read"),
        ("camera:0", 2, 0, "camera:0 gives no more frames"),
        ("camera:0", 2, 3, "camera:0 gives no more frames"),
        ("camera:0", 3, 3, ""),
        ("film.mp4", 0, 0, "film.mp4 gives no frame that can be read"),
        ("film.mp4", 2, 3, ""),
        ("rtsp://me:p@ss@host:554/a/b?token=x", 2, 0, "rtsp://host:554/a/b gives no more frames"),
        ("http://host/film.mp4?token=x", 2, 0, ""),
        ("http://host/film.mp4", 2, 0, ""),
    ],
)
def test_a_stream_that_ends_too_soon_is_an_error(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    source: str,
    count: int,
    limit: int,
    said: str,
) -> None:
    monkeypatch.setattr(run, "open_stream", lambda source: _Camera(count))
    assert run.main([source, "--model", str(folder), "--out", "", "--limit", str(limit)]) == bool(said)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "done"), [(1, 1), (2, 1), (3, 2), (0, 2)])
def test_broken_images_count_as_images(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: int, done: int
) -> None:
    for name in ("a.png", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "b.png").write_text("no image")
    assert run.main([str(tmp_path), "--model", str(folder), "--out", "", "--limit", str(limit)]) == (limit != 1)
    assert len(capsys.readouterr().out.splitlines()) == done


@pytest.mark.parametrize("library", ["OpenCV", "Pillow"])
def test_a_label_at_the_right_border_is_whole(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    if library == "Pillow":
        monkeypatch.setattr(run, "cv2", None)
    image, boxes = np.zeros((480, 640, 3), np.uint8), np.array([[600, 200, 630, 240], [20, 200, 50, 240]], np.float32)
    picture = run.draw(image, boxes, np.array([0.5, 0.5]), np.array([0, 0]), ["platelet"])
    above = (picture[185:199] == run.colour_of(0)).all(axis=2).any(axis=0)  # columns of a label
    (left,), (right,) = (
        np.flatnonzero(np.diff(above[half].astype(int)) == 1) for half in (slice(320), slice(320, 640))
    )
    assert abs(left - 20) <= 1
    assert right + 320 < 600
    widths = [int(above[half].sum()) for half in (slice(320), slice(320, 640))]
    assert abs(widths[0] - widths[1]) <= 4


def test_a_name_that_the_font_of_an_old_pillow_lacks_is_drawn_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def text(self: object, place: object, words: str, **_: object) -> None:
        words.encode("latin-1")  # as Pillow before 10.1 does
        drawn.append(words)

    monkeypatch.setattr(run, "cv2", None)
    monkeypatch.setattr("PIL.ImageDraw.ImageDraw.text", text)
    boxes = np.array([[1, 1, 9, 9]], np.float32)
    run.draw(np.zeros((16, 16, 3), np.uint8), boxes, np.array([0.5]), np.array([0]), ["złom"])
    assert drawn == ["z?om 0.50"]


@pytest.mark.parametrize("library", ["OpenCV", "Pillow"])
def test_images_are_read_in_their_colours_and_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    if library == "Pillow":
        monkeypatch.setattr(run, "cv2", None)
    red = np.full((8, 16, 3), (250, 10, 20), np.uint8)
    Image.fromarray(red).save(tmp_path / "red.png")
    assert run.read_image(str(tmp_path / "red.png")).tolist() == red.tolist()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(red).save(tmp_path / "turned.jpg", exif=turned)
    assert run.read_image(str(tmp_path / "turned.jpg")).shape == (16, 8, 3)
    Image.fromarray(np.full((4, 4), 77, np.uint8)).save(tmp_path / "grey.png")
    assert run.read_image(str(tmp_path / "grey.png")).tolist() == np.full((4, 4, 3), 77).tolist()
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 4), 77 * 256, np.uint16))
    assert run.read_image(str(tmp_path / "deep.png")).tolist() == np.full((4, 4, 3), 77).tolist()
    if library == "Pillow":
        Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
        with pytest.raises(ValueError, match=r"float\.tif cannot be read: its pixels are floating-point numbers"):
            run.read_image(str(tmp_path / "float.tif"))


def test_pictures_take_no_other_file_s_place(folder: Path, tmp_path: Path) -> None:
    for part in ("one", "two"):
        write_photos(tmp_path / part)
    before = {path: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    words = ["--model", str(folder), "--out", str(tmp_path / "one")]
    for _ in range(2):
        assert run.main([str(tmp_path / "two" / "a.png"), *words]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"a.png", "b.jpg", "a-2.png", "a-3.png"}


@pytest.mark.parametrize("letter", ["x", "字", "\udcff"])
def test_names_that_are_too_long_are_cut(tmp_path: Path, letter: str) -> None:
    """They leave room for a number and a suffix; others stay as they are."""
    assert run.cut(letter * 20, 60) == letter * 20
    assert run.cut(letter * 20, 19) == letter * (19 // len(os.fsencode(letter)))
    for _ in range(2):
        Path(run.free_path(str(tmp_path), letter * (250 // len(os.fsencode(letter))), ".png")).touch()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_reader_of_its_lines_may_go(folder: Path, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos")
    words = [sys.executable, str(folder / "run.py"), str(tmp_path / "photos"), "--out", ""]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "error" not in process.stderr.read().lower()
    assert process.returncode == 1


def test_one_broken_image_does_not_end_a_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_photos(tmp_path / "photos")
    (tmp_path / "photos" / "ab.jpg").write_text("no image")
    assert run.main([str(tmp_path / "photos"), "--model", str(folder), "--out", ""]) == 1
    captured = capsys.readouterr()
    assert [Path(json.loads(line)["image"]).name for line in captured.out.splitlines()] == ["a.png", "b.jpg"]
    assert "ab.jpg is not an image that OpenCV reads" in captured.err
    assert "2 images: before" in captured.err


def test_an_interrupt_tells_the_speed_so_far(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "photos")
    read = run.read_image

    def read_one(path: str) -> npt.NDArray[np.uint8]:
        if path.endswith("b.jpg"):
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(run, "read_image", read_one)
    assert run.main([str(tmp_path / "photos"), "--model", str(folder), "--out", ""]) == 130
    assert "1 image, with what a first one takes: before" in capsys.readouterr().err


def test_what_cannot_be_read_is_one_message(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no image")
    for source, message in (
        ("empty", "there is no image in"),
        ("text.jpg", "is not an image that OpenCV reads"),
        ("gone.mp4", "cannot be opened"),
        ("gone.jpg", "does not exist"),
    ):
        words = [str(tmp_path / source), "--model", str(folder), "--out", ""]
        assert run.main(words) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.splitlines()[-1].startswith("error: ")
        assert message in captured.err
    assert run.main(["x.jpg", "--model", str(tmp_path / "gone")]) == 1
    capsys.readouterr()
    assert run.main(["x.jpg", "--model", str(folder), "--file", "model-int8.onnx"]) == 1
    assert "has no model-int8.onnx; there are model.onnx" in capsys.readouterr().err
    monkeypatch.setattr(run, "cv2", None)
    assert run.main(["camera:0", "--model", str(folder), "--out", ""]) == 1
    assert "need OpenCV" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("x.jpg --score nan", "--score and --iou are from 0 to 1"),
        ("x.jpg --score 7", "--score and --iou are from 0 to 1"),
        ("x.jpg --iou -1", "--score and --iou are from 0 to 1"),
        ("x.jpg --limit -1", "--limit is 0 or more"),
        ("camera:x", "camera:x: a camera is named by its number, as in camera:0"),
        ("x.jpg --out {file}", "is a file, no folder"),
    ],
)
def test_wrong_options_are_refused(folder: Path, capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main([*words.format(file=folder / "detector.json").split(), "--model", str(folder)])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


# --- TensorRT, of which only a stand-in is here ---------------------------------------------------------------------


@pytest.mark.parametrize("is_new", [True, False])
def test_tensorrt_builds_an_engine_once_and_keeps_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    for name in ("model.onnx", "detector.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    memory, says = Memory(), list[str]()
    monkeypatch.setattr(run, "Cuda", lambda: memory)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in(memory, is_new=is_new, says=says))
    for _ in range(2):
        boxes, scores, labels = run.Detector(str(tmp_path), "tensorrt").detect(np.full((128, 128, 3), 255, np.uint8))
        assert scores.tolist() == pytest.approx([0.5, 0.3])
        assert boxes.tolist() == [[0, 0, 64, 64], [64, 64, 128, 128]]
        assert labels.tolist() == [0, 1]
    assert says == ["network 1", "flag fp16", *([] if is_new else ["workspace 256 MiB"])]
    assert isinstance(run.Detector(str(tmp_path)).network, run.TensorRT)  # where its engine lies there
    assert isinstance(run.Detector(str(tmp_path), "onnxruntime").network, run.OnnxRuntime)
    (engine,) = tmp_path.glob("*.engine")
    engine.write_bytes(b"of another board")
    with pytest.raises(RuntimeError, match="of another TensorRT or GPU, or no GPU answers"):
        run.Detector(str(tmp_path), "tensorrt")
    write_folder(tmp_path, opset=11)  # another file of the same name
    assert isinstance(run.Detector(str(tmp_path)).network, run.OnnxRuntime)
    says.clear()
    (tmp_path / "model-int8.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    assert isinstance(run.Detector(str(tmp_path), "tensorrt", "model-int8.onnx").network, run.TensorRT)
    assert says[:3] == ["network 1", "flag fp16", "flag int8"]


def _no_gpu(logger: object) -> object:
    raise TypeError("pybind11::init(): factory function returned nullptr")


@pytest.mark.parametrize("lacks", ["TensorRT", "CUDA", "GPU", "same GPU"])
def test_an_engine_that_another_machine_built_is_left_aside(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lacks: str
) -> None:
    """As in a folder that was copied back from a board, or lies where several machines see it."""
    for name in ("model.onnx", "detector.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    Path(run.engine_path(str(tmp_path / "model.onnx"))).write_bytes(b"of a board")
    tensorrt = tensorrt_stand_in(Memory(), is_new=True, says=[])
    if lacks == "GPU":
        tensorrt.Runtime = _no_gpu
    monkeypatch.setitem(sys.modules, "tensorrt", None if lacks == "TensorRT" else tensorrt)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    if lacks == "CUDA":
        monkeypatch.setattr(run, "cuda_libraries", lambda: [])
    else:
        monkeypatch.setattr(run, "Cuda", Memory)
    assert isinstance(run.Detector(str(tmp_path)).network, run.OnnxRuntime)
    (note,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"note: in ONNX Runtime, since the engine beside .*model\.onnx cannot be loaded: .+", note)
    message = "tensorrt|libcudart.so is not found|of another TensorRT or GPU"
    with pytest.raises((ImportError, RuntimeError), match=message):
        run.Detector(str(tmp_path), "tensorrt")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as on a board: then the engine is what is wrong
    with pytest.raises((ImportError, RuntimeError), match=message):
        run.Detector(str(tmp_path))


def test_where_tensorrt_does_not_convert_the_fp16_file_is_built(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("model.onnx", "detector.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    memory, says = Memory(), list[str]()
    monkeypatch.setattr(run, "Cuda", lambda: memory)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in(memory, is_new=True, says=says, converts=False))
    assert isinstance(run.Detector(str(tmp_path), "tensorrt").network, run.TensorRT)
    assert "note: the engine is in FP32" in capsys.readouterr().err
    (tmp_path / "model-fp16.onnx").write_bytes(b"refused")
    with pytest.raises(RuntimeError, match=r"refuses .*model-fp16\.onnx"):
        run.Detector(str(tmp_path), "tensorrt")
    assert "note:" not in capsys.readouterr().err
    assert says == ["network 1"] * 2


def test_an_engine_that_cannot_be_kept_runs_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.keep_engine(str(tmp_path / "away" / "model.engine"), b"plan")
    assert "note: the engine is built anew next time: " in capsys.readouterr().err
    monkeypatch.setattr("os.rename", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    run.keep_engine(str(tmp_path / "model.engine"), b"plan")
    assert "the disk is full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_cuda_is_found_in_the_packages_of_nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "site [1]" / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site [1]")])
    assert str(library) in run.cuda_libraries()
    assert run.cuda_libraries()[0] == "libcudart.so"


@pytest.mark.parametrize(
    ("tensorrt", "board", "fits"),
    [
        ("TensorRT 10.3.0", "NVIDIA Jetson Orin Nano", True),
        ("TensorRT 10.3.1", "NVIDIA Jetson Orin Nano", False),
        ("TensorRT for RTX 10.3.0", "NVIDIA Jetson Orin Nano", False),
        ("TensorRT 10.3.0", "NVIDIA Jetson Orin NX", False),
    ],
)
def test_the_engine_of_the_export_is_used_where_it_was_built(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorrt: str, board: str, fits: bool
) -> None:
    (tmp_path / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    settings = json.loads((folder / "detector.json").read_text(encoding="utf-8"))
    settings["model.engine"] = {"tensorrt": tensorrt, "board": board}
    (tmp_path / "detector.json").write_text(json.dumps(settings))
    (tmp_path / "model.engine").write_bytes(b"plan")
    (tmp_path / "board").write_bytes(b"NVIDIA Jetson Orin Nano\0")
    memory, says = Memory(), list[str]()
    monkeypatch.setattr(run, "BOARD_FILE", str(tmp_path / "board"))
    monkeypatch.setattr(run, "Cuda", lambda: memory)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert isinstance(run.Detector(str(tmp_path)).network, run.OnnxRuntime)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in(memory, is_new=True, says=says))
    assert isinstance(run.Detector(str(tmp_path)).network, run.TensorRT if fits else run.OnnxRuntime)
    run.Detector(str(tmp_path), "tensorrt").detect(np.zeros((64, 64, 3), np.uint8))
    assert (says == []) == fits  # elsewhere it builds its own


def test_a_file_with_the_plugin_is_for_tensorrt_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_bytes((folder / "detector.json").read_bytes())
    (tmp_path / run.PLUGIN_FILE).write_bytes(b"network")
    assert run.choose_backend(str(tmp_path / run.PLUGIN_FILE), {}) == "tensorrt"
    with pytest.raises(ValueError, match=r"model-efficientnms\.onnx has a plugin that TensorRT alone runs"):
        run.Detector(str(tmp_path), "onnxruntime", run.PLUGIN_FILE)


def test_a_file_with_the_operator_is_not_for_tensorrt(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_bytes((folder / "detector.json").read_bytes())
    (tmp_path / run.NMS_FILE).write_bytes((folder / "model.onnx").read_bytes())
    Path(run.engine_path(str(tmp_path / run.NMS_FILE))).write_bytes(b"plan")  # of a former version
    assert run.choose_backend(str(tmp_path / run.NMS_FILE), {}) == "onnxruntime"
    with pytest.raises(ValueError, match=r"model-nms\.onnx is not run in TensorRT here"):
        run.Detector(str(tmp_path), "tensorrt", run.NMS_FILE)


def test_labels_behind_the_last_detection_of_the_plugin_are_none(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plugin writes there has a score of 0 and class 0."""
    (tmp_path / "detector.json").write_bytes((folder / "detector.json").read_bytes())
    (tmp_path / run.PLUGIN_FILE).write_bytes(b"network")
    memory, loaded = Memory(), list[str]()
    shapes = {"images": (1, 3, 64, 64), "number": (1, 1), "boxes": (1, 4, 4), "scores": (1, 4), "labels": (1, 4)}
    monkeypatch.setattr(stand_in, "SHAPES", shapes)

    def compute(memory: Memory, addresses: dict[str, int]) -> bool:
        for name, values in (("number", [2]), ("labels", [1, 0, 0, 0])):
            memory.held[addresses[name]].view(np.int32)[:] = values
        memory.held[addresses["boxes"]].view(np.float32)[:8] = [0, 0, 32, 32, 32, 32, 64, 64]
        memory.held[addresses["boxes"]].view(np.float32)[8:] = np.nan
        memory.held[addresses["scores"]].view(np.float32)[:] = [0.75, 0.5, np.inf, np.nan]
        return True

    monkeypatch.setattr(stand_in, "_compute", compute)
    monkeypatch.setattr(run, "Cuda", lambda: memory)
    tensorrt = tensorrt_stand_in(memory, is_new=False, says=[])
    tensorrt.init_libnvinfer_plugins = lambda logger, namespace: loaded.append(namespace)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    found = run.Detector(str(tmp_path), file=run.PLUGIN_FILE).detect(np.zeros((64, 64, 3), np.uint8), -0.5)
    assert loaded == [""]  # before the engine is loaded: TensorRT looks its plugins up then
    assert found[0].tolist() == [[0, 0, 32, 32], [32, 32, 64, 64]]
    assert (found[1].tolist(), found[2].tolist(), found[2].dtype) == ([0.75, 0.5], [1, 0], np.int64)


def test_a_refusal_of_tensorrt_is_passed_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "detector.json").write_bytes((folder / "detector.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"refused")
    monkeypatch.setattr(run, "Cuda", Memory)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_stand_in(Memory(), is_new=True, says=[]))
    with pytest.raises(RuntimeError, match=r"refuses .*model\.onnx: no such operator"):
        run.Detector(str(tmp_path), "tensorrt")
    (tmp_path / "model.onnx").write_bytes(b"taken")
    monkeypatch.setattr(run, "build_engine", lambda *given: b"for another GPU")  # as on a machine without one
    with pytest.raises(RuntimeError, match="cannot load the engine it built"):
        run.Detector(str(tmp_path), "tensorrt")
    assert not list(tmp_path.glob("*.engine*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": "ab"}, "class_names"),
        ({"class_names": [1]}, "class_names"),
        ({"class_names": []}, "class_names"),
        ({"input_hw": [64, 10**6]}, "input_hw"),
        ({"input_hw": ["64", 64]}, "input_hw"),
        ({"input_hw": [0, 64]}, "input_hw"),
        ({"input_hw": [64]}, "input_hw"),
        ({"input_hw": 64}, "input_hw"),
        ({"input_hw": None}, "input_hw"),
        ({"letterbox_rgb": [1, 2]}, "letterbox_rgb"),
        ({"letterbox_rgb": [1, 2, 999]}, "letterbox_rgb"),
    ],
)
def test_settings_that_describe_no_detector_are_refused(tmp_path: Path, folder: Path, change, message: str) -> None:
    settings = json.loads((folder / "detector.json").read_text())
    (tmp_path / "detector.json").write_text(json.dumps(settings | change))
    with pytest.raises(ValueError, match=f"{message} in detector.json"):
        run.Detector(str(tmp_path))
    (tmp_path / "detector.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        run.Detector(str(tmp_path))


def test_a_file_that_is_no_network_is_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "detector.json").write_text((folder / "detector.json").read_text())
    (tmp_path / "model.onnx").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"ONNX Runtime cannot run .*model\.onnx"):
        run.Detector(str(tmp_path))


def test_outputs_that_are_no_boxes_are_refused() -> None:
    boxes, scores = np.zeros((1, 5, 4), np.float32), np.zeros((1, 5, 2), np.float32)
    assert [one.shape for one in run.check_outputs([boxes, scores], 2)] == [(5, 4), (5, 2)]
    labels = np.array([[-1, 0, 1, 0, 0]])
    assert len(run.check_outputs([boxes, scores[..., 0], labels], 2)) == 3
    for outputs in (
        [boxes],
        [boxes, scores[:, :4]],
        [boxes, scores[..., :1]],
        [scores, boxes],
        [boxes[0], scores[0]],
        [boxes, scores[..., 0], labels + 1],
        [],
    ):
        with pytest.raises(ValueError, match="are no boxes and scores of 2 classes"):
            run.check_outputs(outputs, 2)
    with pytest.raises(ValueError, match="NaN or infinite"):
        run.check_outputs([boxes * np.nan, scores], 2)
