"""An export's folder: all that it takes to run a detector, and the origin of its figures."""

import dataclasses
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.study.estimate import Estimate
from search.study.record import TrialRecord
from spaces import YoloRetError
from spaces.networks import build_network
from spaces.normalisation import IMAGENET_MEAN, IMAGENET_STD
from trials.data.letterbox import PAD_RGB
from trials.detections import Decoding
from trials.onnx.export import check_agreement, export_for_timing, fill_weights, read_opset
from trials.training import CHECKPOINT_FILE, read_checkpoint
from trials.trial_result import ARCHITECTURE_FILE, ONNX_FILE

DETECTOR_FILE = "detector.json"
METRICS_FILE = "metrics.json"
CLASSES_FILE = "classes.txt"
README_FILE = "README.md"


class BundleError(YoloRetError, ValueError):
    """A folder is not an export, or cannot become one."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened export."""

    onnx_path: Path
    decoding: Decoding
    strides: tuple[int, ...]


def write_bundle(
    record: TrialRecord,
    folder: Path,
    *,
    trial_folder: Path,
    study: str,
    estimate: Estimate | None,
    opset: int,
    replace: bool = False,
) -> float:
    """Write an export, whole or not at all.

    Args:
        record: The trial.
        folder: To write; must not exist unless `replace`.
        trial_folder: Folder of the trial's checkpoint.
        study: The study's name, for the record.
        estimate: Of the trial's AP, for the record; None where the study has none.
        opset: Of the ONNX file, as the trial's device requires.
        replace: Whether an existing export is replaced.

    Returns:
        The largest difference between PyTorch's and ONNX Runtime's outputs on a random image.

    Raises:
        BundleError: the folder exists, or the trial's checkpoint is gone.
        ExportError: ONNX Runtime and PyTorch disagree.
    """
    if folder.exists() and not (replace and (folder / DETECTOR_FILE).is_file()):
        raise BundleError(f"{folder} exists already", hint="choose another --out, or --force to replace an export")
    checkpoint_path = trial_folder / CHECKPOINT_FILE
    if not checkpoint_path.is_file():
        raise BundleError(f"the weights of trial {record.number} are gone: {checkpoint_path} does not exist")
    folder = folder.resolve()  # of a link, the folder behind it is replaced
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    partial, former = (folder.with_name(f".{folder.name}-{mark}-{state}") for state in ("partial", "former"))
    partial.mkdir()
    try:
        difference = _fill(partial, record, checkpoint_path, study=study, estimate=estimate, opset=opset)
        _put_in_place(partial, folder, former)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return difference


def open_bundle(folder: Path) -> Bundle:
    """Open an export.

    Raises:
        BundleError: the folder is not an export.
    """
    path = folder / DETECTOR_FILE
    if not path.is_file() or not (folder / ONNX_FILE).is_file():
        raise BundleError(f"{folder} is not an export", hint="write one with: yoloret-nas export --study NAME")
    values = json.loads(path.read_text(encoding="utf-8"))
    anchors = tuple(tuple((w, h) for w, h in scale) for scale in values["anchors"])
    return Bundle(
        onnx_path=folder / ONNX_FILE,
        decoding=Decoding(
            anchors=anchors,
            coding=values["coding"],
            class_names=tuple(values["class_names"]),
            input_size=values["input_size"],
        ),
        strides=tuple(values["strides"]),
    )


def _put_in_place(partial: Path, folder: Path, former: Path) -> None:
    """Rename `partial` to `folder`; where that exists, move it aside first, and back if the renaming fails.

    No file system renames over a folder with files in it, so for an instant between two renamings there is none.
    """
    if not folder.exists():
        partial.rename(folder)
        return
    folder.rename(former)
    try:
        partial.rename(folder)
    except BaseException:  # an interrupt too
        former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _fill(
    folder: Path, record: TrialRecord, checkpoint_path: Path, *, study: str, estimate: Estimate | None, opset: int
) -> float:
    architecture, checkpoint = record.architecture, read_checkpoint(checkpoint_path)
    decoding = checkpoint.decoding
    network = build_network(architecture, num_classes=len(decoding.class_names))
    network.load_state_dict(dict(checkpoint.weights))
    export_for_timing(architecture, folder / ONNX_FILE, num_classes=len(decoding.class_names), opset=opset)
    fill_weights(folder / ONNX_FILE, network)
    difference = check_agreement(network, folder / ONNX_FILE, input_size=architecture.input_size)
    shutil.copyfile(checkpoint_path, folder / CHECKPOINT_FILE)
    _write(folder / ARCHITECTURE_FILE, architecture.to_dict())
    (folder / CLASSES_FILE).write_text("".join(f"{name}\n" for name in decoding.class_names), encoding="utf-8")
    detector = {
        **dataclasses.asdict(decoding),
        "strides": network.output_strides,
        "input": {"name": "images", "shape": [1, 3, architecture.input_size, architecture.input_size], "order": "RGB"},
        "normalisation": {"scale": 1 / 255, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
        "letterbox_rgb": PAD_RGB,
        "outputs": [f"s{stride}" for stride in network.output_strides],
        "opset": read_opset(folder / ONNX_FILE),
    }
    _write(folder / DETECTOR_FILE, detector)
    _write(folder / METRICS_FILE, _metrics(record, study=study, estimate=estimate, difference=difference))
    (folder / README_FILE).write_text(_readme(record, decoding, study=study, estimate=estimate), encoding="utf-8")
    return difference


def _metrics(record: TrialRecord, *, study: str, estimate: Estimate | None, difference: float) -> dict[str, Any]:
    result, latency = record.result, record.result.latency
    assert latency is not None
    return {
        "study": study,
        "trial": record.number,
        "architecture": record.architecture.key,
        "ap": result.ap,
        "ap_estimate": estimate.ap if estimate else None,
        "ap_std": estimate.std if estimate else None,
        "ap50": result.ap50,
        "per_class_ap": dict(result.per_class_ap),
        "epochs": result.epochs,
        "macs": result.macs,
        "params": result.params,
        "latency_ms": {
            "median": latency.median_ms,
            "p90": latency.p90_ms,
            "p99": latency.p99_ms,
            "spread": latency.spread,
        },
        "latency_notes": list(latency.notes),
        "device": dataclasses.asdict(latency.device),
        "onnx_max_difference": difference,
    }


def _readme(record: TrialRecord, decoding: Decoding, *, study: str, estimate: Estimate | None) -> str:
    result, latency = record.result, record.result.latency
    assert latency is not None
    assert result.ap is not None
    expected = f" (estimated over seeds: {estimate})" if estimate else ""
    return f"""# Detector of trial {record.number}, study {study}

AP@[.5:.95] {result.ap:.4f}{expected} on the validation split; {latency.median_ms:.3f} ms median on {latency.device}
(forward pass at batch 1, without pre-processing and NMS).

- `model.onnx`: from `images` (1, 3, {decoding.input_size}, {decoding.input_size}) float32 RGB to raw maps, fine to coarse.
- `detector.json`: how to prepare an image and to read the maps: letterbox, normalisation, anchors, box coding.
- `checkpoint.pt`, `architecture.json`: the same network for PyTorch. `classes.txt`, `metrics.json`: names and figures.

Try it: `yoloret-nas predict THIS_FOLDER image.jpg`
"""


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
