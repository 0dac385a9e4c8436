"""An export's folder: a detector that runs without this project, and the origin of its figures."""

import errno
import glob
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spaces import Architecture, YoloRetError
from spaces.documents import parse_json
from spaces.networks import YoloReT
from spaces.normalisation import IMAGENET_MEAN, IMAGENET_STD
from trials.data.images.letterbox import PAD_RGB
from trials.detections import Decoding
from trials.latency import DeviceIdentity
from trials.onnx import run
from trials.onnx.decoded import BOXES, INPUT, SCORES, export_decoded
from trials.onnx.export import export_onnx, read_opset
from trials.onnx.openvino_model import import_openvino
from trials.scratch import is_left_behind, scratch_prefix
from trials.training import CHECKPOINT_FILE, load_trained, read_checkpoint
from trials.trial_result import ARCHITECTURE_FILE, ONNX_FILE, write_json

DETECTOR_FILE = "detector.json"
CLASSES_FILE = "classes.txt"
RAW_FILE = "raw.onnx"
NMS_FILE = "model-nms.onnx"
EFFICIENT_NMS_FILE: str = run.PLUGIN_FILE
RUN_FILE = "run.py"


class BundleError(YoloRetError, ValueError):
    """A folder is not an export, or cannot become one."""


def check_free(folder: Path, *, replace: bool) -> None:
    """Refuse a folder that exists, unless it is an export to be replaced.

    Raises:
        BundleError: it exists.
    """
    if folder.exists() and not (replace and (folder / DETECTOR_FILE).is_file()):
        raise BundleError(f"{folder} exists already", hint="choose another --out, or --force to replace an export")


def clear_up(folder: Path) -> None:
    """Delete what killed exports to a folder left half done; put back the export that one of them had moved aside."""
    folder = folder.resolve()
    for state in ("former", "partial"):
        for path in folder.parent.glob(f".{glob.escape(folder.name)}-*-{state}"):
            mark = path.name.removeprefix(f".{folder.name}-").removesuffix(f"-{state}")
            if not is_left_behind(mark):
                continue
            if state == "former" and not folder.exists():
                with suppress(FileNotFoundError):  # another export to it was first
                    path.rename(folder)
            else:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def new_bundle(folder: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a folder to fill, which becomes the export at the block's end; an error in the block leaves none.

    Args:
        folder: The export; must not exist unless `replace`.
        replace: Whether an existing export is replaced.

    Raises:
        BundleError: the folder exists, or cannot be made.
    """
    clear_up(folder)
    check_free(folder, replace=replace)
    folder = folder.resolve()  # of a link, the folder behind it is replaced
    mark = f"{scratch_prefix()}{uuid.uuid4().hex[:8]}"  # tells the next export whether this process is alive
    partial, former = (folder.with_name(f".{folder.name}-{mark}-{state}") for state in ("partial", "former"))
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise BundleError(
            f"an export cannot be written to {folder}: {error.strerror}", hint="choose another folder with --out"
        ) from error
    try:
        yield partial
        if replace:
            _put_in_place(partial, folder, former)
        else:
            _put_in_new_place(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_detector(
    folder: Path, architecture: Architecture, checkpoint_path: Path, *, opset: int
) -> tuple[YoloReT, Decoding]:
    """Write what `trials.onnx.run.Detector` needs: ``model.onnx`` and ``detector.json``.

    Args:
        folder: An existing folder.
        architecture: The checkpoint's.
        checkpoint_path: The trained weights, and how the maps are decoded.
        opset: Of the ONNX file.

    Returns:
        The network on the CPU, and its decoding.

    Raises:
        ExportError: the file cannot be written.
    """
    checkpoint = read_checkpoint(checkpoint_path)
    network, decoding = load_trained(architecture, checkpoint), checkpoint.decoding
    export_decoded(network, decoding, folder / ONNX_FILE, opset=opset)
    detector = {
        "class_names": decoding.class_names,
        "input_hw": decoding.input_hw,
        "letterbox_rgb": PAD_RGB,
        "model.onnx": {"input": INPUT, "boxes": BOXES, "scores": SCORES, "opset": opset},
        "raw.onnx": {
            "outputs": [f"s{stride}" for stride in network.output_strides],
            "strides": network.output_strides,
            "anchors": decoding.anchors,
            "coding": decoding.coding,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        },
    }
    write_json(folder / DETECTOR_FILE, detector)
    return network, decoding


def open_bundle(folder: Path, file: str = ONNX_FILE) -> run.Detector:
    """Open an export.

    Args:
        folder: The export.
        file: Which of its files runs, in ONNX Runtime, or in OpenVINO for its own.

    Raises:
        BundleError: the folder is not an export, or has no such file.
        ExportError: it is a file of OpenVINO, which is not installed.
    """
    path = folder / DETECTOR_FILE
    if not path.is_file() or not (folder / ONNX_FILE).is_file():
        raise BundleError(f"{folder} is not an export", hint="write one with: yoloret-nas export --study NAME")
    settings = _read_settings(path)
    raw = settings.get(RAW_FILE)
    if ONNX_FILE not in settings:
        raise BundleError(f"{path} does not describe {ONNX_FILE}", hint="export it again")
    if file == RAW_FILE and not (isinstance(raw, dict) and "mean" in raw):
        raise BundleError(f"{path} does not describe {RAW_FILE}", hint="export it again")
    if file.endswith(".xml"):
        import_openvino()  # says what to install, which the runner does not
    with naming_file(folder / file):
        return run.Detector(str(folder), "openvino" if file.endswith(".xml") else "onnxruntime", file)


def count_classes(folder: Path) -> int | None:
    """Return the classes of an export; None where its description names none.

    Raises:
        BundleError: the description is no JSON.
    """
    names = _read_settings(folder / DETECTOR_FILE).get("class_names")
    return len(names) if isinstance(names, list) else None


@contextmanager
def naming_file(path: Path | str) -> Iterator[None]:
    """Turn what the runner raises for a file that is no detector into an error that names it.

    Raises:
        BundleError: the file cannot be run, or its outputs are no boxes.
    """
    try:
        yield
    except YoloRetError:
        raise
    except (ValueError, TypeError, LookupError, RuntimeError) as error:
        raise BundleError(f"{path} cannot be run: {error}", hint="export it again") from error


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = parse_json(path.read_bytes(), unique_keys=True)
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}", hint="export it again") from error
    return settings if isinstance(settings, dict) else {}


def add_engine(folder: Path, name: str, built_on: DeviceIdentity) -> None:
    """Note in an export where one of its engines runs: `run.py` takes it there, and builds one of its own elsewhere."""
    settings = _read_settings(folder / DETECTOR_FILE)
    settings[name] = {"tensorrt": built_on.backend, "board": built_on.board}
    write_json(folder / DETECTOR_FILE, settings)


def add_sources(folder: Path, architecture: Architecture, trial_folder: Path, *, network: YoloReT, opset: int) -> None:
    """Add the network alone, the program that runs the detector, and what it takes to train it on.

    Args:
        folder: With a detector in it.
        architecture: The trial's.
        trial_folder: With the trial's files; the network alone is the one whose latency was measured, if its opset fits.
        network: With its weights.
        opset: Of the export's files.
    """
    if read_opset(trial_folder / ONNX_FILE) == opset:
        shutil.copyfile(trial_folder / ONNX_FILE, folder / RAW_FILE)
    else:
        export_onnx(network, folder / RAW_FILE, input_hw=architecture.input_hw, opset=opset)
    shutil.copyfile(run.__file__, folder / RUN_FILE)
    shutil.copyfile(trial_folder / CHECKPOINT_FILE, folder / CHECKPOINT_FILE)
    write_json(folder / ARCHITECTURE_FILE, architecture.to_dict())
    class_names = read_checkpoint(trial_folder / CHECKPOINT_FILE).decoding.class_names
    (folder / CLASSES_FILE).write_text("".join(f"{one_line(name)}\n" for name in class_names), encoding="utf-8")


def one_line(text: str) -> str:
    """Return a text with spaces in place of its line breaks."""
    return " ".join(text.splitlines())


def _put_in_new_place(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise BundleError(f"{folder} was written by another export meanwhile", hint="choose another --out") from error


def _put_in_place(partial: Path, folder: Path, former: Path) -> None:
    """Rename `partial` to `folder`; where that exists, move it aside first, and back if the renaming fails.

    No file system renames over a folder with files in it, so for an instant between two renamings there is none.
    """
    try:
        if folder.exists():
            folder.rename(former)
        partial.rename(folder)
    except BaseException:  # an interrupt too
        if former.exists() and not folder.exists():
            former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)
