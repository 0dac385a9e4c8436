"""Compares an export's engines with ONNX Runtime on real images, box by box, on the device that built them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from spaces import YoloRetError
from spaces.counted import counted
from trials.data import Sample
from trials.data.dataset import spread
from trials.latency.device import EngineBuilder
from trials.latency.measure import alone_on
from trials.latency.open_device import open_device
from trials.onnx import run
from trials.onnx.export import ExportError
from trials.onnx.suppressed import Suppression
from trials.scratch import temporary_folder
from trials.trial_result import ONNX_FILE
from yoloret_nas.export.bundle import DETECTOR_FILE, EFFICIENT_NMS_FILE, RUN_FILE
from yoloret_nas.export.precisions import PRECISIONS

_NUM_COMPARED = 8
_SAME_IOU = 0.5
"""Two boxes of a class are the same from here on: FP16 may keep the neighbour of a box."""
_SURE = 1.4
"""A box must be found by both where its score is so many times the threshold, at most half-way from there to 1; nearer,
FP16 may decide otherwise."""
_MIN_SHARE = 0.9
"""Fewer common boxes of an FP16 engine are a fault."""

_Row = Mapping[str, Any]
"""A box as `run.rows_of` returns it."""


@dataclass(frozen=True, kw_only=True)
class EngineProof:
    """How well an engine's boxes agreed with those of ONNX Runtime."""

    num_images: int
    num_boxes: int
    """Boxes that one of both finds, with a sure score, or both."""
    num_same: int
    """Boxes that both find: of one class, with an IoU of 0.5 or more."""
    box_difference_px: float
    """Largest difference of a corner of these, pixels of the network's input."""
    score_difference: float
    """Largest difference of their scores."""


def prove_engines(
    folder: Path, device: str, samples: Sequence[Sample], suppression: Suppression
) -> dict[str, EngineProof | str]:
    """Run an export's engines on the device that built them, by the export's own program.

    Args:
        folder: The export.
        device: The device as the user types it.
        samples: Images; eight from all over are taken.
        suppression: Thresholds of the comparison.

    Returns:
        Engine to how well it agreed, or to the reason why it was not compared, for example that the board lacks Python
        packages.

    Raises:
        ExportError: an FP16 engine finds other boxes.
    """
    proofs: dict[str, EngineProof | str] = {}
    with closing(open_device(device, patience_s=0)) as opened:
        assert isinstance(opened, EngineBuilder)  # it built them
        for engine in sorted(folder.glob("*.engine")):
            click.echo(f"comparing {engine.name} on {device} with ONNX Runtime", err=True)
            try:
                proof = _compare(
                    folder, engine.with_suffix(".onnx").name, opened, spread(samples, _NUM_COMPARED), suppression
                )
            except ExportError:
                raise
            except YoloRetError as error:
                proofs[engine.name] = error.message
                continue
            if not proof.num_boxes:
                proofs[engine.name] = "neither found a box, so none was compared"
                continue
            is_bound = engine.stem != Path(PRECISIONS["int8"].file).stem
            if is_bound and proof.num_same < _MIN_SHARE * proof.num_boxes:
                raise ExportError(
                    f"{engine.name} on {device} has {proof.num_same} of {counted(proof.num_boxes, 'box(es)')} in common "
                    f"with ONNX Runtime on {counted(proof.num_images, 'image(s)')}",
                    hint="leave out --nms if it is the engine of the plugin; --no-check compares nothing",
                )
            proofs[engine.name] = proof
    return proofs


def _compare(
    folder: Path, file: str, device: EngineBuilder, samples: Sequence[Sample], suppression: Suppression
) -> EngineProof:
    score, iou = suppression.score_threshold, suppression.iou_threshold
    has_plugin = file == EFFICIENT_NMS_FILE
    reference = run.Detector(str(folder), "onnxruntime", ONNX_FILE if has_plugin else file, providers=run.CPU)
    with temporary_folder() as name:
        there = Path(name)
        for needed in (RUN_FILE, DETECTOR_FILE, file):
            shutil.copyfile(folder / needed, there / needed)
        engine = run.engine_path(str(there / file))  # the one that run.py takes on any board
        shutil.copyfile((folder / file).with_suffix(".engine"), engine)
        inputs = []
        for number, sample in enumerate(samples):  # of the input's own size, so that no library's scaling takes part
            boxed, _ = run.letterbox(sample.load(), reference.input_hw, reference.settings["letterbox_rgb"])
            run.write_image(str(there / f"{number}.png"), boxed)
            inputs.append(boxed)
        if not has_plugin:  # whose thresholds are fixed; a weak detector finds nothing at the usual one
            best = max(float(max(reference.detect(one, 0.0, iou)[1], default=0.0)) for one in inputs)
            score = min(score, best / 2)
        expected = [run.rows_of(reference.detect(one, score, iou), reference.class_names) for one in inputs]
        options = ["--backend", "tensorrt", "--file", file, "--score", str(score), "--iou", str(iou), "--out", ""]
        with alone_on(device):  # nothing is measured beside it
            said = device.run_export(there, options)
    found = [json.loads(line)["detections"] for line in said.splitlines() if line.startswith('{"image"')]
    if len(found) != len(expected):
        raise YoloRetError(
            f"{RUN_FILE} gave {counted(len(found), 'line(s)')} for {counted(len(expected), 'image(s)')} on {device.name}"
        )
    pairs, num_lonely = [], 0
    for ours, theirs in zip(expected, found, strict=True):
        both, lonely = _pair(ours, theirs, sure=min(_SURE * score, (1 + score) / 2))
        pairs += both
        num_lonely += lonely
    return EngineProof(
        num_images=len(expected),
        num_boxes=len(pairs) + num_lonely,
        num_same=len(pairs),
        box_difference_px=max((float(np.abs(_box(a) - _box(b)).max()) for a, b in pairs), default=0.0),
        score_difference=max((abs(a["score"] - b["score"]) for a, b in pairs), default=0.0),
    )


def _pair(ours: Sequence[_Row], theirs: Sequence[_Row], *, sure: float) -> tuple[list[tuple[_Row, _Row]], int]:
    """Return the boxes of an image that both found, and the number of those with a sure score that one of both found."""
    left, pairs, num_lonely = list(theirs), [], 0
    for row in ours:
        overlaps = [run.overlaps(_box(row), _box(other)[None])[0] * (row["class"] == other["class"]) for other in left]
        if overlaps and max(overlaps) >= _SAME_IOU:
            pairs.append((row, left.pop(int(np.argmax(overlaps)))))
        else:
            num_lonely += row["score"] >= sure
    return pairs, num_lonely + sum(row["score"] >= sure for row in left)


def _box(row: _Row) -> Any:
    return np.array(row["box_xyxy"], np.float32)
