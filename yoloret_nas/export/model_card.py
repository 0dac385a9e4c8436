"""The figures of an export: ``metrics.json`` for programs, ``README.md`` for people."""

import dataclasses
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.front.estimate import Estimate
from search.front.record import TrialRecord
from spaces.counted import counted
from spaces.weights import describe_origin
from trials.data.images.letterbox import PAD_RGB
from trials.detections import Decoding
from trials.latency import Latency
from trials.onnx.suppressed import Suppression
from trials.training import CHECKPOINT_FILE
from trials.trial_result import ONNX_FILE, write_json
from yoloret_nas.export.bundle import EFFICIENT_NMS_FILE, NMS_FILE, RAW_FILE, one_line
from yoloret_nas.export.engine_proof import EngineProof
from yoloret_nas.export.precisions import PRECISIONS
from yoloret_nas.export.proof import Proof
from yoloret_nas.export.target import Target

METRICS_FILE = "metrics.json"
README_FILE = "README.md"
FRONT_FILE = "front.png"
EXAMPLES_FOLDER = "examples"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of an export."""

    study: str
    dataset: str
    """As the user typed it."""
    record: TrialRecord
    """The trial."""
    retrains: tuple[str, int] | None = None
    """Study and number of the trial whose architecture was trained again; None where the trial is the search's own."""
    estimate: Estimate | None
    """Of its AP; None where the study has none."""
    decoding: Decoding
    files: tuple[str, ...]
    """Its files with boxes and scores, FP32 first."""
    suppression: Suppression | None
    """Thresholds of its file with non-maximum suppression; None where there is none."""
    proofs: Mapping[str, Proof]
    """File to how it was tried on images; empty where none was."""
    other_data: str | None = None
    """The data that it was tried on and calibrated with, where it is not what the trial was scored on; None where it is."""
    num_calibration: int
    """Training images that the INT8 file was calibrated with; 0 where there is none."""
    latencies: Mapping[str, Latency | str]
    """File to its latency on the target, measured anew, or to the reason why it was not."""
    target: Target
    """The device it is meant for."""
    engines: tuple[str, ...]
    """Its TensorRT engines, built on the target."""
    engine_proofs: Mapping[str, EngineProof | str]
    """Engine to how well its boxes agreed with ONNX Runtime's on the target, or to the reason why they were not compared."""

    @property
    def title(self) -> str:
        """The trial by its study and number; of one that was trained again those of the search."""
        study, number = self.retrains or (self.study, self.record.number)
        again = f", trained again for {counted(self.record.result.epochs, 'epoch(s)')}" if self.retrains else ""
        return f"{study}, trial {number}{again}"

    @property
    def tags(self) -> dict[str, str]:
        """The figures that tell versions of a model apart."""
        result, latency = self.record.result, self.record.result.latency
        assert latency is not None
        return {
            "study": self.study,
            "trial": str(self.record.number),
            "ap": f"{result.ap:.4f}",
            "latency_ms": f"{latency.median_ms:.3f}",
            "device": str(latency.device),
            "precision": ", ".join(self.files),
        }

    @property
    def of_other_data(self) -> str:
        """Words behind a split that name the data where the trial was scored on another; empty where it was not."""
        return f" of {self.other_data}" if self.other_data else ""

    @property
    def all_files(self) -> tuple[str, ...]:
        """The files that compute, in the order of tables."""
        suppressed = (NMS_FILE,) if self.target.suppressed_file == NMS_FILE else ()
        return (RAW_FILE, *self.files, *suppressed, *self.engines)

    def found_by(self, name: str) -> str:
        """Return in words what a file was seen to find on images."""
        if proof := self.proofs.get(name):
            return f"AP {proof.ap:.4f}, AP50 {proof.ap50:.4f}"
        if (agreed := self.engine_proofs.get(name)) is not None:
            return f"not compared: {agreed}" if isinstance(agreed, str) else _agreement(agreed)
        return "the boxes that `run.py` keeps" if name == NMS_FILE and self.proofs else "not tried"

    def best_within(self, max_latency_ms: float) -> str:
        """Return the file with the highest AP among those within a latency; empty where none was tried and measured."""
        fast = [
            (proof.ap, name)
            for name, proof in self.proofs.items()
            if isinstance(measured := self.latencies.get(name), Latency) and measured.median_ms <= max_latency_ms
        ]
        return max(fast, default=(0.0, ""))[1]


def write_card(folder: Path, card: Card) -> None:
    """Write both files into an export."""
    record = card.record
    result, latency = record.result, record.result.latency
    assert latency is not None
    anew = {name: one if isinstance(one, str) else _percentiles(one) for name, one in card.latencies.items()}
    metrics = {
        "study": card.study,
        "trial": record.number,
        "retrains": dict(zip(("study", "trial"), card.retrains, strict=True)) if card.retrains else None,
        "architecture": record.architecture.key,
        "ap": result.ap,
        "ap_estimate": card.estimate.ap if card.estimate else None,
        "ap_std": card.estimate.std if card.estimate else None,
        "ap50": result.ap50,
        "per_class_ap": dict(result.per_class_ap),
        "epochs": result.epochs,
        "macs": result.macs,
        "params": result.params,
        "latency_ms": _percentiles(latency),
        "latency_notes": list(latency.notes),
        "device": dataclasses.asdict(latency.device),
        "target": {
            "device": card.target.device,
            "opset": card.target.opset,
            **dataclasses.asdict(card.target.identity),
        },
        "latency_of_files_ms": anew,
        "int8_calibration_images": card.num_calibration,
        "other_data": card.other_data,
        "proofs": {name: dataclasses.asdict(proof) for name, proof in card.proofs.items()},
        "engine_proofs": {
            name: proof if isinstance(proof, str) else dataclasses.asdict(proof)
            for name, proof in card.engine_proofs.items()
        },
    }
    write_json(folder / METRICS_FILE, metrics)
    (folder / README_FILE).write_text(_readme(folder, card, latency), encoding="utf-8")


def _agreement(proof: EngineProof) -> str:
    boxes = (
        f"{proof.num_same} of {counted(proof.num_boxes, 'box(es)')} as in ONNX Runtime on "
        f"{counted(proof.num_images, 'image(s)')}"
    )
    if proof.num_same == 0:
        return boxes
    return f"{boxes}, within {short_number(proof.box_difference_px)} px and {short_number(proof.score_difference)} of score"


def _percentiles(latency: Latency) -> dict[str, float]:
    return {
        "median": latency.median_ms,
        "p90": latency.p90_ms,
        "p99": latency.p99_ms,
        "spread": latency.spread,
    }


def _readme(folder: Path, card: Card, latency: Latency) -> str:
    height, width = card.decoding.input_hw
    parts = [
        f"# {card.title}",
        f"A detector of {', '.join(map(_as_text, card.decoding.class_names))}, found and exported by yoloret-nas.",
        _figures(card, latency),
        _pictures(folder, card),
        _USE.format(height=height, width=width, opset=card.target.opset, colour=PAD_RGB, engine=_engine_words(card)),
        _files(folder),
        f"## Origin\nTrained on `{card.dataset}` for {counted(card.record.result.epochs, 'epoch(s)')}, as trial "
        f"{card.record.number} of `{card.study}`. {describe_start(card.record)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(card: Card, latency: Latency) -> str:
    result = card.record.result
    assert result.ap is not None
    assert result.ap50 is not None
    expected = f"; expected over seeds {card.estimate}" if card.estimate else ""
    rows = [
        ("AP@[.5:.95], AP50", f"{result.ap:.4f}, {result.ap50:.4f} on the validation split{expected}"),
        ("AP of each class", ", ".join(f"{_as_text(name)} {ap:.3f}" for name, ap in result.per_class_ap.items())),
        ("latency of the trial", f"{latency.median_ms:.3f} ms (p99 {latency.p99_ms:.3f}) on {latency.device}"),
        ("size", f"{(result.params or 0) / 1e6:.2f} M parameters, {(result.macs or 0) / 1e9:.3f} G multiply-adds"),
    ]
    table = "\n".join(f"| {name} | {text} |" for name, text in rows)
    return f"| figure | value |\n|---|---|\n{table}\n\n{_files_table(card)}"


def _as_text(name: str) -> str:
    """Return a class's name as Markdown shows it in a cell of a table, whatever it holds."""
    return html.escape(one_line(name), quote=False).replace("|", "&#124;")


def _files_table(card: Card) -> str:
    """Return what each file was seen to do."""
    rows = []
    for name in card.all_files:
        tried, found = card.proofs.get(name), card.found_by(name)
        apart = f"{short_number(tried.box_difference_px)} px, {short_number(tried.score_difference)}" if tried else ""
        rows.append(f"| `{name}` | {found} | {apart} | {_words(card.latencies.get(name, 'not asked for'))} |")
    where = next(((one.num_images, one.split) for one in card.proofs.values()), None)
    calibrated = (
        f" INT8 was calibrated with {counted(card.num_calibration, 'training image(s)')}{card.of_other_data}."
        if card.num_calibration
        else ""
    )
    images = (
        f" AP is of {counted(where[0], 'image(s)')} of {where[1]}{card.of_other_data}, by `run.py`." if where else ""
    )
    images += " The trial's AP above is of other images." if where and card.other_data else ""
    return "\n".join(
        [
            f"| file | found | boxes and scores differ from PyTorch by | latency on {card.target.identity} |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Latency is a forward pass at batch 1.{images}{calibrated} {suppression_words(card)}".rstrip(),
        ]
    )


def suppression_words(card: Card) -> str:
    """Return in words what an export's file or engine with suppression keeps, and by which form; empty where it has none."""
    if card.suppression is None:
        return ""
    score, iou = card.suppression.score_threshold, card.suppression.iou_threshold
    name, form = card.target.suppressed_file, "ONNX's operator NonMaxSuppression"
    if name == EFFICIENT_NMS_FILE:
        name, form = str(Path(name).with_suffix(".engine")), "TensorRT's plugin EfficientNMS_TRT"
    return (
        f"`{name}` keeps scores above {score:g} and drops a box that overlaps a better one by more than {iou:g}, "
        f"by {form}."
    )


def _engine_words(card: Card) -> str:
    if not card.engines:
        return "the engine is built on the first run and kept"
    built_on = card.target.identity
    there = f"{built_on.backend} on {built_on.board}"
    return f"`{Path(ONNX_FILE).with_suffix('.engine')}` was built by {there}; elsewhere one is built on the first run"


def short_number(value: float) -> str:
    """Return a number with one digit that is not 0, and no exponent."""
    return f"{float(f'{value:.1g}'):f}".rstrip("0").rstrip(".")


def _words(latency: Latency | str) -> str:
    if isinstance(latency, str):
        return f"not measured: {latency}"
    return f"{latency.median_ms:.3f} ms (p99 {latency.p99_ms:.3f})"


def _pictures(folder: Path, card: Card) -> str:
    lines = []
    if (folder / FRONT_FILE).is_file():
        lines.append(
            f"![The front of {card.study}; the ring around #{card.record.number} is this detector]({FRONT_FILE})"
        )
    examples = sorted(path.name for path in (folder / EXAMPLES_FOLDER).glob("*.png"))
    lines += [f"![Detections]({EXAMPLES_FOLDER}/{name})" for name in examples]
    return "\n\n".join(lines)


def describe_start(record: TrialRecord) -> str:
    """Return what a trial's weights were before it was trained."""
    architecture, inherited = record.architecture, record.result.inherited
    if record.result.is_from_shared:
        return "The values began with this network's slice of the study's shared weights (`--one-shot`)."
    own = f"{inherited:.0%} of the values began with the weights of another trial of the study. " if inherited else ""
    if architecture.transfer == 0:
        return f"{own}The {'others' if own else 'weights'} began at random."
    return (
        f"{own}The first {architecture.transfer} of {architecture.truncation} blocks of the backbone began with ImageNet "
        f"weights: {describe_origin(architecture.backbone)}, unless another file lay in `--weights-dir`."
    )


_FILES = {
    ONNX_FILE: "image in, boxes and scores out. Its metadata and `detector.json` describe both.",
    RAW_FILE: "the network alone, whose latency the search measured; its outputs are raw maps (`detector.json`).",
    PRECISIONS["fp16"].file: "the same with the network in FP16 (`run.py --file …`).",
    PRECISIONS["int8"].file: "the same with the network in INT8 (`run.py --file …`).",
    "*.xml": "with `.bin`: the same for OpenVINO (`run.py --backend openvino`).",
    NMS_FILE: "the best boxes of each class alone, by non-maximum suppression in the file.",
    EFFICIENT_NMS_FILE: "what the engine of this name was built from: the same with TensorRT's plugin EfficientNMS_TRT, "
    "which TensorRT alone runs (`run.py --file …`).",
    "*.engine": "the same for TensorRT, on the board or GPU that built it alone.",
    "run.py": "runs the detector.",
    "classes.txt": "class names.",
    CHECKPOINT_FILE: "with `architecture.json`: the same network for PyTorch.",
}
"""Files that an export may have, as patterns, and what they are."""


def _files(folder: Path) -> str:
    lines = [
        f"- {', '.join(f'`{path.name}`' for path in sorted(folder.glob(pattern)))}: {what}"
        for pattern, what in _FILES.items()
        if any(folder.glob(pattern))
    ]
    return "\n".join(["## Files", *lines, "- `metrics.json`: these figures."])


_USE = """## Run it
With numpy, OpenCV or Pillow, and ONNX Runtime:
```
python3 run.py image.jpg FOLDER video.mp4 camera:0
```
From Python, in this folder:
```python
from run import Detector, read_image
detector = Detector(".")
boxes, scores, labels = detector.detect(read_image("image.jpg"))
print([(detector.class_names[label], score, box) for box, score, label in zip(boxes, scores, labels)])
```
With an ONNX Runtime session of your own; the boxes are in pixels of its input:
```python
import numpy, onnxruntime, run
boxed, place = run.letterbox(run.read_image("image.jpg"), ({height}, {width}), {colour})
images = boxed.transpose(2, 0, 1)[None].astype(numpy.float32)
boxes, scores = onnxruntime.InferenceSession("model.onnx").run(["boxes", "scores"], {{"images": images}})
```
On a Jetson, with its TensorRT ({engine}):
```
python3 run.py image.jpg --backend tensorrt
```
With OpenCV's DNN module:
```python
import cv2, run
network = cv2.dnn.readNetFromONNX("model.onnx")
boxed, place = run.letterbox(run.read_image("image.jpg"), ({height}, {width}), {colour})
network.setInput(cv2.dnn.blobFromImage(boxed))
boxes, scores = network.forward(["boxes", "scores"])
```
`model.onnx` takes 1×3×{height}×{width} RGB values from 0 to 255 (opset {opset}). Non-maximum suppression is not part of it:
`run.select(boxes[0], scores[0], 0.25, 0.5, 100, 1000)` does it, and `run.unletterbox` maps boxes back to the image."""
