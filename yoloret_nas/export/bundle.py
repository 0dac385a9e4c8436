"""An export's folder: a detector that runs without this project, and the origin of its figures."""

import errno
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spaces import Architecture, YoloRetError
from spaces.networks import YoloReT
from trials.data.letterbox import PAD_RGB
from trials.detections import Decoding
from trials.onnx import run
from trials.onnx.decoded import BOXES, INPUT, SCORES, export_decoded
from trials.training import CHECKPOINT_FILE, load_trained, read_checkpoint
from trials.trial_result import ARCHITECTURE_FILE, ONNX_FILE, write_json

DETECTOR_FILE = "detector.json"
CLASSES_FILE = "classes.txt"
RAW_FILE = "raw.onnx"
RUN_FILE = "run.py"


class BundleError(YoloRetError, ValueError):
    """A folder is not an export, or cannot become one."""


@contextmanager
def new_bundle(folder: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a folder to fill, which becomes the export at the block's end; an error in the block leaves none.

    Args:
        folder: The export; must not exist unless `replace`.
        replace: Whether an existing export is replaced.

    Raises:
        BundleError: the folder exists.
    """
    if folder.exists() and not (replace and (folder / DETECTOR_FILE).is_file()):
        raise BundleError(f"{folder} exists already", hint="choose another --out, or --force to replace an export")
    folder = folder.resolve()  # of a link, the folder behind it is replaced
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    partial, former = (folder.with_name(f".{folder.name}-{mark}-{state}") for state in ("partial", "former"))
    partial.mkdir()
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
        "input_size": decoding.input_size,
        "letterbox_rgb": PAD_RGB,
        "model.onnx": {"input": INPUT, "boxes": BOXES, "scores": SCORES, "opset": opset},
        "raw.onnx": {
            "outputs": [f"s{stride}" for stride in network.output_strides],
            "strides": network.output_strides,
            "anchors": decoding.anchors,
            "coding": decoding.coding,
        },
    }
    write_json(folder / DETECTOR_FILE, detector)
    return network, decoding


def open_bundle(folder: Path) -> run.Detector:
    """Open an export.

    Raises:
        BundleError: the folder is not an export.
    """
    path = folder / DETECTOR_FILE
    if not path.is_file() or not (folder / ONNX_FILE).is_file():
        raise BundleError(f"{folder} is not an export", hint="write one with: yoloret-nas export --study NAME")
    if "model.onnx" not in json.loads(path.read_text(encoding="utf-8")):
        raise BundleError(f"{folder} was exported by an earlier version", hint="export it again")
    return run.Detector(str(folder), "onnxruntime")


def add_sources(folder: Path, architecture: Architecture, trial_folder: Path) -> None:
    """Add the file whose latency was measured, the program that runs the detector, and what it takes to train it on.

    Args:
        folder: With a detector in it.
        architecture: The trial's.
        trial_folder: With the trial's files.
    """
    for source, name in ((trial_folder / ONNX_FILE, RAW_FILE), (Path(run.__file__), RUN_FILE)):
        shutil.copyfile(source, folder / name)
    shutil.copyfile(trial_folder / CHECKPOINT_FILE, folder / CHECKPOINT_FILE)
    write_json(folder / ARCHITECTURE_FILE, architecture.to_dict())
    class_names = read_checkpoint(trial_folder / CHECKPOINT_FILE).decoding.class_names
    (folder / CLASSES_FILE).write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")


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
