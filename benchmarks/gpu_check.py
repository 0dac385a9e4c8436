"""What a GPU does in this project: training, data, memory, latency, sharing, an export, a search; one table and a JSON file.

    python -m benchmarks.gpu_check [--minutes 6.5] [--parts step,data,…] [--json gpu_check.json]
    python -m benchmarks.gpu_check --accelerator cpu     # the same parts at a tiny size, to try the script

Parts run in the order of the table of `PARTS` until the minutes are used up; a part that fails has its reason in the table.
The dataset is generated. Only `agreement`, `boxes` and `search` take a CPU's time; the others ask the GPU.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.training import train_alone
from spaces import Architecture
from spaces.named_spaces import open_space
from spaces.networks import build_network
from spaces.presets import PRESETS
from trials.data import Dataset, open_dataset
from trials.data.batches import Batch
from trials.data.images.letterbox import normalise
from trials.detections import Decoding, choose_anchors
from trials.latency import DeviceError
from trials.latency.open_device import open_device
from trials.onnx.export import export_for_timing
from trials.progress import Progress, ignore_progress
from trials.scoring import DetectionScorer
from trials.training import Precision
from trials.training.data_module import DetectionData
from trials.training.detection_module import DetectionModule, split_targets
from trials.training.losses.choose import choose_coding, choose_loss
from trials.training.optimiser import OptimiserFactory
from trials.training.recipes import modern_recipe, quick_recipe
from trials.training.recorded_passes import record_passes
from trials.training.settings import Accelerator
from trials.trial import run_trial
from trials.trial_result import TrialRequest

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the check is."""

    accelerator: Accelerator
    """As in `TrainSettings`."""
    size: int
    """Side of the input, pixels."""
    images: int
    """Training images of `training`."""
    batches: tuple[int, ...]
    """Batch sizes."""
    workers: tuple[int, ...]
    """Processes that prepare images."""
    steps: int
    """Timed steps."""
    epochs: int
    """Epochs of `agreement`."""
    seeds: int
    """Seeds of `agreement`."""
    processes: tuple[int, ...]
    """Trainings at once of `sharing`."""
    at_once: tuple[int, ...]
    """Trainings at once of `trials`."""
    budget: int
    """Trials of `search`."""

    @property
    def is_gpu(self) -> bool:
        """Whether a GPU is checked."""
        return self.accelerator != "cpu"

    @property
    def form(self) -> str:
        """The number format that `auto` chooses."""
        return "bf16" if self.is_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"

    @property
    def device(self) -> torch.device:
        """Where the steps run."""
        return torch.device("cuda" if self.is_gpu else "cpu")

    def step(self, form: str = "", *, is_recorded: bool = False) -> "Step":
        """Return a step as trainings run it, but for number format and recording."""
        return Step(form=form or self.form, is_recorded=is_recorded, layout=torch.channels_last)


FULL = Scale(
    accelerator="auto",
    size=416,
    images=2000,
    batches=(16, 64),
    workers=(8, 1),
    steps=20,
    epochs=6,
    seeds=3,
    processes=(1, 2, 4, 8),
    at_once=(1, 3, 6),
    budget=6,
)
TINY = Scale(
    accelerator="cpu",
    size=64,
    images=16,
    batches=(4,),
    workers=(0,),
    steps=2,
    epochs=1,
    seeds=1,
    processes=(1,),
    at_once=(1,),
    budget=1,
)

_COMMAND_S = 240
"""A command that takes longer is ended, and has that as its reason."""

Row = tuple[str, str]
"""What was measured, and its figure with unit."""
Part = Callable[[Scale], Iterator[Row]]


def main() -> None:
    """Run the parts, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accelerator", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated, of " + ", ".join(PARTS))
    parser.add_argument(
        "--minutes", type=float, default=6.5, help="no part starts later; the last one may take 2.5 more"
    )
    parser.add_argument("--json", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--child", help=argparse.SUPPRESS)  # used by this script for its own subprocesses
    given = parser.parse_args()
    scale = FULL if given.accelerator == "gpu" else TINY
    if scale is TINY:
        torch.set_num_threads(1)
    if given.child:
        name, *arguments = given.child.split(":")
        CHILDREN[name](scale, *arguments)
        return
    began, results = time.monotonic(), {}
    for name in given.parts.split(","):
        used = time.monotonic() - began
        results[name] = _run(name, scale) if used < given.minutes * 60 else {"rows": [], "reason": "no time left"}
        given.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(_table(results))


def _run(name: str, scale: Scale) -> dict[str, Any]:
    """Run one part; every error becomes its reason, so that the other parts still run."""
    began, rows, reason = time.monotonic(), [], ""
    print(f"— {name}", flush=True)
    try:
        for row in PARTS[name](scale):
            rows.append(row)
            print(f"  {row[0]:66} {row[1]}", flush=True)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    return {"rows": rows, "reason": reason, "seconds": round(time.monotonic() - began, 1)}


def _table(results: dict[str, dict[str, Any]]) -> str:
    lines = ["| part | what | result |", "|---|---|---|"]
    for name, part in results.items():
        lines += [f"| {name} | {what} | {figure} |" for what, figure in part["rows"]]
        lines += [f"| {name} | failed | {part['reason']} |"] if part["reason"] else []
        lines.append(f"| {name} | seconds of this part | {part.get('seconds', 0)} |")
    return "\n".join(lines)


# --- what is checked -----------------------------------------------------------------------------------------------------


def machine(scale: Scale) -> Iterator[Row]:
    """Tell what is here."""
    yield "Python, PyTorch", f"{platform.python_version()}, {torch.__version__}"
    yield "cores, threads of PyTorch", f"{len(os.sched_getaffinity(0))}, {torch.get_num_threads()}"
    if scale.is_gpu:
        from trials.latency.cuda.gpu import read_gpus

        gpus, unread = read_gpus()
        yield from ((f"GPU {index}", why) for index, why in unread.items())
        for gpu in gpus:
            state, limits = gpu.read_state(), f"{gpu.power_limit}, clock {gpu.clock}"
            yield f"GPU {gpu.index}", f"{gpu.name}, memory {gpu.memory}, driver {gpu.driver}, {limits}"
            figures = ((state.clock_mhz, "MHz"), (state.temperature_c, "°C"), (state.power_w, "W"))
            told = [f"{value:.0f} {unit}" for value, unit in figures if value is not None]
            yield f"GPU {gpu.index} at rest", ", ".join(told) or "the driver tells nothing"


def step(scale: Scale) -> Iterator[Row]:
    """Time a training step on one batch that is already on the GPU, by number format, recording, layout and batch."""
    formats = ("bf16", "tf32", "fp32") if scale.is_gpu else ("fp32",)
    for count, (name, architecture) in enumerate(_networks(scale).items()):
        for batch in scale.batches:
            for form in formats if count == 0 else formats[:1]:
                for is_recorded in (False, True) if scale.is_gpu else (False,):
                    step = scale.step(form, is_recorded=is_recorded)
                    milliseconds = time_step(architecture, scale, step, batch_size=batch)
                    yield f"{name}, batch {batch}, {step}", _per_image(milliseconds, batch)
    yield from _phases(scale)
    if scale.is_gpu:
        yield "weights and statistics after 5 steps, recorded against launched singly, fp32", _disagreement(scale)
        for form in formats:
            yield f"GPU time in such a step, {form}", _gpu_time(scale, scale.step(form))


def data(scale: Scale) -> Iterator[Row]:
    """Time the loader alone: the first epoch draws the images, later ones find them in the cache."""
    dataset = _shapes(scale, images=scale.steps * 24 if scale.is_gpu else scale.images)
    for workers in scale.workers:
        loader = _data(dataset, scale, batch_size=scale.batches[0], workers=workers).train_dataloader()
        for epoch in (1, 2, 3):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            began = time.perf_counter()
            count = sum(len(batch.images) for batch in loader)
            yield (
                f"loader alone, {workers} worker(s), epoch {epoch}",
                f"{count / (time.perf_counter() - began):.0f} images/s",
            )


def loop(scale: Scale) -> Iterator[Row]:
    """Train with the loader: images a second, and the share of the time that the GPU waits for data."""
    name, architecture = _first(scale)
    for batch in scale.batches:
        dataset = _shapes(scale, images=max(scale.images // 4, batch * 12))
        for workers in scale.workers:
            for is_pinned in (True, False) if scale.is_gpu and workers == scale.workers[0] else (scale.is_gpu,):
                rates = _train_loop(
                    architecture, dataset, scale, batch_size=batch, workers=workers, is_pinned=is_pinned
                )
                for epoch, (rate, waiting) in enumerate(rates, start=1):
                    what = f"{name}, batch {batch}, {workers} worker(s){', pinned' if is_pinned else ''}, epoch {epoch}"
                    yield what, f"{rate:.0f} images/s, waits {waiting:.0%} of the time"


def training(scale: Scale) -> Iterator[Row]:
    """Train by the project's own function with its own choices."""
    dataset = _shapes(scale, images=scale.images)
    for name, architecture in _networks(scale).items():
        settings = replace(modern_recipe(), epochs=2, batch_size=scale.batches[0], accelerator=scale.accelerator)
        ends: list[float] = []

        def note(progress: Progress, ends: list[float] = ends) -> bool:
            if progress.ap is not None:
                ends.append(time.perf_counter())
            return True

        began = time.perf_counter()
        result = train_alone(architecture.replace(input_size=scale.size), dataset, settings, report=note)
        what = f"{name}, {scale.size} px, {len(dataset.splits['train'])} images, batch {scale.batches[0]}, 2 epochs"
        yield what, f"{time.perf_counter() - began:.1f} s, AP {result.ap:.3f}"
        yield f"{name}, until the first epoch ends", f"{ends[0] - began:.1f} s"
        yield f"{name}, second epoch with its scoring", f"{ends[1] - ends[0]:.1f} s"
        yield f"{name}, steps and scoring", f"{result.seconds_train:.1f} s and {result.seconds_score:.1f} s"


def memory(scale: Scale) -> Iterator[Row]:
    """Run a trial with too little memory, which must end as failed, then the next one, which must complete."""
    with tempfile.TemporaryDirectory() as folder:
        for name, room_mib in (("trial with 300 MiB left", 300), ("the next trial", None)):
            if room_mib is not None and not scale.is_gpu:
                continue
            with _little_memory(room_mib) if room_mib else nullcontext():
                result = run_trial(_request(scale, Path(folder) / name.replace(" ", "-")), ignore_progress)
            yield name, f"{result.state}{': ' if result.reason else ''}{result.reason}"


def latency(scale: Scale) -> Iterator[Row]:
    """Time five networks by the device `cuda`, and by PyTorch in the same CUDA graphs: between runs and between builds."""
    networks = _five(scale)
    try:
        device = open_device("cuda" if scale.is_gpu else "cpu")
    except DeviceError as error:
        yield "device cuda", f"{error.message} ({error.hint})"
    else:
        with closing(device), tempfile.TemporaryDirectory() as folder:
            for name, architecture in networks.items():
                path = Path(folder) / "network.onnx"
                export_for_timing(architecture, path, num_classes=4, opset=device.opset)
                medians = [device.measure(path).median_ms for _ in range(3 if scale.is_gpu else 1)]
                yield f"{name} by device {device.name}, {len(medians)} builds", _spread(medians)
    if scale.is_gpu:
        for name, architecture in networks.items():
            builds = [_graph_medians(architecture) for _ in range(3)]
            runs = ", ".join("/".join(f"{median:.4f}" for median in build) for build in builds)
            yield f"{name} by PyTorch, FP16, CUDA graph, 3 builds × 2 runs", f"{runs} ms"
            yield f"{name} by PyTorch, FP16, launched singly", f"{_eager_median(architecture):.4f} ms"


def sharing(scale: Scale) -> Iterator[Row]:
    """Train several networks at once on one GPU, each in a process of its own; and time a network beside them."""
    most = max(scale.processes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        children = [_start_child("train", str(index), name, scale=scale) for index in range(most)]
        try:
            _wait_for(folder, [f"ready-{index}" for index in range(most)])
            runner = _graph(_first(scale)[1]) if scale.is_gpu else None
            for count in scale.processes:
                (folder / f"start-{count}").touch()
                beside = []
                if runner is not None:
                    time.sleep(1)
                    beside = runner.run_for(1.0)
                _wait_for(folder, [f"done-{count}-{index}" for index in range(count)])
                rates = [float((folder / f"done-{count}-{index}").read_text()) for index in range(count)]
                words = f"{sum(rates):.0f} images/s together, {min(rates):.0f} to {max(rates):.0f} each"
                yield f"{count} training(s) at once, batch {scale.batches[0]}, data on the GPU", words
                if beside:
                    yield f"M0.75's graph for inference beside {count} training(s)", _quartiles(beside)
            if runner is not None:
                yield "M0.75's graph for inference alone", _quartiles(runner.run_for(1.0))
        finally:
            for child in children:
                child.terminate()


def first(scale: Scale) -> Iterator[Row]:
    """Time what a process needs before its first steps, stage by stage, in processes that are new: each trial is one.

    The first process of a machine also reads the libraries from its disk.
    """
    names = list(_networks(scale))
    cases = [(name, layout) for name in names for layout in LAYOUTS]
    with tempfile.TemporaryDirectory() as folder:
        for count, (name, layout) in enumerate(cases):
            if _start_child("first", name, str(time.time()), layout, folder, scale=scale).wait() != 0:
                raise RuntimeError(f"the training of {name} failed")
            stages = json.loads((Path(folder) / "first.json").read_text())
            words = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages["seconds"].items())
            yield f"{name} in a new process, {'first of all' if count == 0 else 'later'}, {layout}", f"{words} s"
            yield "its slowest operations on the CPU, first step", ", ".join(stages["slowest"])
            yield "its steps when all is warm", ", ".join(stages["steps"])


def trials(scale: Scale) -> Iterator[Row]:
    """Train several networks at once, each in a new process by the project's own function: trainings an hour."""
    for count in scale.at_once:
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            children = [_start_child("trial", str(index), folder, scale=scale) for index in range(count)]
            if any(child.wait() for child in children):
                raise RuntimeError("a training failed")
            spent = time.monotonic() - began
            used = [json.loads((Path(folder) / f"trial-{index}").read_text()) for index in range(count)]
            steps = ", ".join(f"{one['seconds']:.0f}" for one in used)
            words = f"{spent:.1f} s, {count / spent * 3600:.0f} an hour; steps and scoring of each {steps} s"
            if scale.is_gpu:
                words += f"; at most {max(one['mib'] for one in used):.0f} MiB of GPU memory each"
            yield f"{count} whole training(s) at once, {scale.images // 4} images, 2 epochs", words


def agreement(scale: Scale) -> Iterator[Row]:
    """Compare the AP of the same training by seed on the CPU and on the GPU; all run at once."""
    kinds = ("cpu:fp32", "gpu:fp32", "gpu:bf16") if scale.is_gpu else ("cpu:fp32",)
    with tempfile.TemporaryDirectory() as name:
        children = [_start_child("ap", kind, name, scale=scale) for kind in kinds]
        for kind, child in zip(kinds, children, strict=True):
            if child.wait() != 0:
                raise RuntimeError(f"the training on {kind} failed")
            scores = json.loads((Path(name) / kind.replace(":", "-")).read_text())
            yield f"AP after {scale.epochs} epochs, {kind}, by seed", ", ".join(f"{score:.4f}" for score in scores)


def boxes(scale: Scale) -> Iterator[Row]:
    """Train a network and export it for the device `cuda`: PyTorch, ONNX Runtime and the engine on the same images."""
    data = f"shapes:train={scale.images},val={max(8, scale.images // 10)},size={scale.size}"
    device = ["--for", "cuda"] if scale.is_gpu else []
    with tempfile.TemporaryDirectory() as folder:
        network = _first(scale)[1].replace(input_size=scale.size, transfer=0)
        (Path(folder) / "net.yaml").write_text(json.dumps(network.to_dict()))
        _command(folder, "train", "net.yaml", "--data", data, "--epochs", str(scale.epochs), "--name", "check")
        _command(folder, "export", "--study", "check", *device, "--out", "check")
        metrics = json.loads((Path(folder) / "check" / "metrics.json").read_text())
    for name, one in metrics["proofs"].items():
        differences = f"{one['box_difference_px']:.2g} px and {one['score_difference']:.2g} of score from PyTorch"
        yield f"{name} in ONNX Runtime, {one['num_images']} images", f"AP {one['ap']:.4f}, {differences}"
    for name, one in metrics["engine_proofs"].items():
        if isinstance(one, str) or one["num_boxes"] == 0:
            raise RuntimeError(f"{name} was not compared: {one}")
        differences = f"within {one['box_difference_px']:.2g} px and {one['score_difference']:.2g} of score"
        words = f"{one['num_same']} of {one['num_boxes']} boxes are those of ONNX Runtime, {differences}"
        yield f"{name} in TensorRT, {one['num_images']} images", words


def search(scale: Scale) -> Iterator[Row]:
    """Run a search with no flag but the budget."""
    words = [] if scale.is_gpu else ["--epochs", "1", "--data", "shapes:train=8,val=4,size=64"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        lines = _command(folder, "search", "--budget", str(scale.budget), *words)
    print("\n".join(f"    {line}" for line in lines[-25:]))
    yield f"search --budget {scale.budget}", f"{time.monotonic() - began:.1f} s"
    yield "where the time went", next(line for line in lines if line.startswith("took "))


PARTS: dict[str, Part] = {
    "machine": machine,
    "step": step,
    "data": data,
    "loop": loop,
    "memory": memory,
    "latency": latency,
    "first": first,
    "trials": trials,
    "sharing": sharing,
    "training": training,
    "agreement": agreement,
    "boxes": boxes,
    "search": search,
}
"""Name to part, the most wanted first; only the last two need Optuna, MLflow, click and rich."""


# --- a training step -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Step:
    """How a step is computed."""

    form: str
    """``bf16``, ``tf32`` or ``fp32``."""
    is_recorded: bool
    """Whether forward and backward pass are CUDA graphs."""
    layout: torch.memory_format
    """Of weights and images."""

    def __str__(self) -> str:
        return f"{self.form}, {'recorded' if self.is_recorded else 'launched singly'}"

    @property
    def is_bf16(self) -> bool:
        """Whether passes run in bfloat16 autocast."""
        return self.form == "bf16"

    def as_input(self, images: Tensor) -> Tensor:
        """Normalise a batch's images in this layout."""
        return normalise(images.contiguous(memory_format=self.layout))

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Set PyTorch's switches within the block."""
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        before = cudnn.allow_tf32, matmul.allow_tf32
        cudnn.allow_tf32 = matmul.allow_tf32 = self.form == "tf32"
        try:
            yield
        finally:
            cudnn.allow_tf32, matmul.allow_tf32 = before


LAYOUTS = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}


def _command(folder: str, *words: str) -> list[str]:
    """Run `yoloret-nas` in a folder; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.getenv("PYTHONPATH")])])}
    command = [sys.executable, "-m", "yoloret_nas", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_COMMAND_S)
    lines = (done.stdout + done.stderr).splitlines()
    if done.returncode:
        raise RuntimeError("\n".join(lines[-15:]))
    return lines


def _networks(scale: Scale) -> dict[str, Architecture]:
    """Return the networks to train by name, the first one for what one shows."""
    if not scale.is_gpu:
        return {"tiny": open_space("tiny").sample(random.Random(3))}
    return {"M0.75": PRESETS["yoloret-m0.75"], "nano": open_space("nano").sample(random.Random(0))}


def _first(scale: Scale) -> tuple[str, Architecture]:
    return next(iter(_networks(scale).items()))


def time_step(architecture: Architecture, scale: Scale, step: Step, *, batch_size: int) -> float:
    """Return the median time of a training step in milliseconds."""
    with step.settings():
        one = _make_step(architecture, scale, step, batch_size=batch_size)
        for _ in range(3):
            one()
        return _median_ms(one, scale, count=scale.steps // 2)


def _make_step(architecture: Architecture, scale: Scale, step: Step, *, batch_size: int) -> Callable[[], None]:
    batch = _one_batch(scale, batch_size)
    update = _make_update(architecture, scale, step, batch)
    return lambda: update(batch)


def _disagreement(scale: Scale) -> str:
    """Return how far recorded training is from that of single launches, and that from its own repetition."""
    states = []
    for is_recorded in (False, False, True):
        batch = _one_batch(scale, scale.batches[0])
        step = scale.step("fp32", is_recorded=is_recorded)
        detector, optimiser = _make_detector(_first(scale)[1], scale)
        with step.settings():  # of the recording, too: a graph keeps its kernels
            if is_recorded:
                record_passes(detector.network, step.as_input(batch.images), is_bf16=False)
            update = _updater(detector, optimiser, step)
            for _ in range(5):
                update(batch)
        values = detector.network.state_dict().values()
        states.append(torch.cat([value.double().flatten() for value in values]))
    first, again, recorded = states
    return f"{_apart(recorded, first):.1e} of their norm; a repetition {_apart(again, first):.1e}"


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def _make_update(architecture: Architecture, scale: Scale, step: Step, batch: Batch) -> Callable[[Batch], None]:
    """Return a function that trains on a batch of the same size as this one."""
    detector, optimiser = _make_detector(architecture, scale, layout=step.layout)
    if step.is_recorded:
        record_passes(detector.network, step.as_input(batch.images), is_bf16=step.is_bf16)
    return _updater(detector, optimiser, step)


def _updater(detector: DetectionModule, optimiser: torch.optim.Optimizer, step: Step) -> Callable[[Batch], None]:
    def update(batch: Batch) -> None:
        total = _loss(detector, batch, _forward(detector, batch, step))
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimiser.step()
        optimiser.zero_grad()

    return update


def _forward(detector: DetectionModule, batch: Batch, step: Step) -> list[Tensor]:
    with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=step.is_bf16):
        maps: list[Tensor] = detector.network(step.as_input(batch.images))
    return maps


def _loss(detector: DetectionModule, batch: Batch, maps: list[Tensor]) -> Tensor:
    total: Tensor = detector.loss([one.float() for one in maps], *split_targets(batch)).total
    return total


def _phases(scale: Scale) -> Iterator[Row]:
    """Time the phases of a step, waiting for the GPU after each."""
    detector, optimiser = _make_detector(_first(scale)[1], scale)
    batch = _one_batch(scale, scale.batches[0])
    step = scale.step()
    seconds: dict[str, list[float]] = {}
    for _ in range(3 + scale.steps // 2):
        marks = [_now(scale)]
        maps = _forward(detector, batch, step)
        marks.append(_now(scale))
        total = _loss(detector, batch, maps)
        marks.append(_now(scale))
        total.backward()  # type: ignore[no-untyped-call]
        marks.append(_now(scale))
        nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        marks.append(_now(scale))
        optimiser.step()
        optimiser.zero_grad()
        marks.append(_now(scale))
        for name, begin, end in zip(
            ("forward", "loss", "backward", "clip", "optimiser"), marks, marks[1:], strict=False
        ):
            seconds.setdefault(name, []).append(end - begin)
    words = ", ".join(f"{name} {statistics.median(part) * 1e3:.1f}" for name, part in seconds.items())
    yield (
        f"phases of a step of {_first(scale)[0]}, batch {scale.batches[0]}, {scale.form}, launched singly",
        f"{words} ms",
    )


def _gpu_time(scale: Scale, step: Step) -> str:
    """Return how long the GPU computes in a step of the first network, and how many kernels it runs."""
    from torch.profiler import ProfilerActivity, profile

    one = _make_step(_first(scale)[1], scale, step, batch_size=scale.batches[0])
    with step.settings():
        for _ in range(3):
            one()
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            one()
            torch.cuda.synchronize()
    kernels = [event for event in profiler.key_averages() if event.device_type.name == "CUDA"]
    busy_us = sum(event.self_device_time_total for event in kernels)
    return f"{busy_us / 1e3:.1f} ms in {sum(event.count for event in kernels)} kernels"


def _make_detector(
    architecture: Architecture, scale: Scale, *, layout: torch.memory_format = torch.channels_last
) -> tuple[DetectionModule, torch.optim.Optimizer]:
    torch.manual_seed(0)
    dataset = _shapes(scale, images=16)
    network = build_network(architecture.replace(input_size=scale.size), num_classes=4)
    network.to(memory_format=layout)
    anchors = choose_anchors(network, dataset.splits["train"], input_hw=(scale.size, scale.size))
    names, recipe = dataset.class_names, modern_recipe()
    coding = choose_coding(network, recipe.loss)
    decoding = Decoding(anchors=anchors, coding=coding, class_names=names, input_hw=(scale.size, scale.size))
    detector = DetectionModule(
        network,
        choose_loss(decoding, network.output_strides, anchored=recipe.loss, aligned=recipe.aligned_loss),
        scorer=DetectionScorer(dataset.splits["val"], decoding, strides=network.output_strides),
        make_optimiser=OptimiserFactory(settings=recipe, steps_per_epoch=1000),
    ).to(scale.device)
    detector.train()
    configured: Any = detector.configure_optimizers()
    return detector, configured["optimizer"]


def _one_batch(scale: Scale, batch_size: int) -> Batch:
    dataset = _shapes(scale, images=batch_size)
    return _to(next(iter(_data(dataset, scale, batch_size=batch_size, workers=0).train_dataloader())), scale)


def _to(batch: Batch, scale: Scale) -> Batch:
    return Batch(*(part.to(scale.device, non_blocking=True) for part in batch))


def _train_loop(
    architecture: Architecture, dataset: Dataset, scale: Scale, *, batch_size: int, workers: int, is_pinned: bool
) -> Iterator[tuple[float, float]]:
    """Train two epochs after a warm-up; yield images a second and the share of waiting of each."""
    loader = _data(dataset, scale, batch_size=batch_size, workers=workers).train_dataloader()
    loader.pin_memory = is_pinned
    warm = _one_batch(scale, batch_size)
    one = _make_update(architecture, scale, scale.step(is_recorded=scale.is_gpu), warm)
    for _ in range(3):
        one(warm)
    for epoch in (1, 2):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches, count, waiting = iter(loader), 0, 0.0
        one(_to(next(batches), scale))  # the workers start
        began = _now(scale)
        while True:
            asked = time.perf_counter()
            if (batch := next(batches, None)) is None:
                break
            waiting += time.perf_counter() - asked
            one(_to(batch, scale))
            count += len(batch.images)
            _now(scale)
        whole = _now(scale) - began
        yield count / whole, waiting / whole


def _shapes(scale: Scale, *, images: int) -> Dataset:
    return open_dataset(f"shapes:train={images},val={max(4, images // 10)},size={scale.size},classes=4")


def _data(dataset: Dataset, scale: Scale, *, batch_size: int, workers: int) -> DetectionData:
    settings = replace(modern_recipe(), batch_size=batch_size)
    return DetectionData(dataset, (scale.size, scale.size), settings=settings, num_workers=workers)


# --- memory, latency, children -------------------------------------------------------------------------------------------


@contextmanager
def _little_memory(room_mib: int) -> Iterator[None]:
    """Hold all of the GPU's memory but some MiB within the block."""
    torch.zeros(1, device="cuda")
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(free - room_mib * 2**20, dtype=torch.uint8, device="cuda")
    try:
        yield
    finally:
        del held
        torch.cuda.empty_cache()


def _request(scale: Scale, work_dir: Path) -> TrialRequest:
    train = replace(quick_recipe(), epochs=1, batch_size=max(scale.batches), accelerator=scale.accelerator)
    return TrialRequest(
        number=0,
        study_id="gpu-check",
        architecture=_first(scale)[1].replace(input_size=scale.size, transfer=0),
        dataset=f"shapes:train={2 * max(scale.batches)},val=8,size={scale.size}",
        skip_broken=False,
        device="cpu",
        max_latency_ms=None,
        train=train,
        work_dir=work_dir,
        latency_cache=work_dir.parent / "latency.db",
    )


def _five(scale: Scale) -> dict[str, Architecture]:
    if not scale.is_gpu:
        return _networks(scale)
    rng, space = random.Random(1), open_space("nano")
    return dict([_first(scale), *((f"nano {letter}", space.sample(rng)) for letter in "ABCD")])


def _half(architecture: Architecture) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    network = build_network(architecture, num_classes=4).eval().half().cuda().to(memory_format=torch.channels_last)
    images = torch.randn(1, 3, *architecture.input_hw, device="cuda").half()
    return network, images.to(memory_format=torch.channels_last)


def _graph(architecture: Architecture) -> Any:
    """Return a network in PyTorch as the device times TensorRT's: captured, on a stream of its own."""
    from trials.latency.cuda.passes import Passes

    network, images = _half(architecture)

    def enqueue(stream: int) -> None:
        with torch.no_grad(), torch.cuda.stream(torch.cuda.ExternalStream(stream)):  # type: ignore[no-untyped-call]
            network(images)

    passes = Passes(enqueue, gpu=torch.device("cuda", 0))
    if not passes.is_graph:
        raise RuntimeError("PyTorch's network could not be captured")
    if not passes.warm_up():
        raise RuntimeError("the figures never settled")
    return passes


def _graph_medians(architecture: Architecture) -> list[float]:
    passes = _graph(architecture)
    return [statistics.median(passes.run_for(0.5)) for _ in range(2)]


def _eager_median(architecture: Architecture) -> float:
    network, images = _half(architecture)
    with torch.no_grad():
        for _ in range(5):
            network(images)
        return _median_ms(lambda: network(images), FULL, count=20)


def _start_child(name: str, *arguments: str, scale: Scale) -> "subprocess.Popen[bytes]":
    script = [sys.executable, "-m", "benchmarks.gpu_check", "--accelerator", "cpu" if scale is TINY else "gpu"]
    return subprocess.Popen([*script, "--child", ":".join([name, *(one.replace(":", "@") for one in arguments)])])


def _wait_for(folder: Path, names: list[str], *, limit_s: float = 120) -> None:
    until = time.monotonic() + limit_s
    while not all((folder / name).exists() for name in names):
        if time.monotonic() > until:
            raise TimeoutError(f"no {', '.join(name for name in names if not (folder / name).exists())}")
        time.sleep(0.02)


def _train_child(scale: Scale, index: str, folder: str) -> None:
    """Train for three seconds whenever asked to, as one of several processes."""
    step = scale.step(is_recorded=scale.is_gpu)
    one = _make_step(_first(scale)[1], scale, step, batch_size=scale.batches[0])
    for _ in range(3):
        one()
    (Path(folder) / f"ready-{index}").touch()
    for count in scale.processes:
        _wait_for(Path(folder), [f"start-{count}"], limit_s=600)
        if int(index) >= count:
            continue
        steps, began = 0, _now(scale)
        while _now(scale) - began < (3.0 if scale.is_gpu else 0.1):
            one()
            steps += 1
        partial = Path(folder) / f"partial-{index}"
        partial.write_text(str(steps * scale.batches[0] / (_now(scale) - began)))
        partial.rename(Path(folder) / f"done-{count}-{index}")


def _first_child(scale: Scale, name: str, began: str, layout: str, folder: str) -> None:
    """Time the stages of a process's first steps and write them, with the slowest operations of the first step."""
    from torch.profiler import ProfilerActivity, profile

    marks = {"Python and imports": time.time() - float(began)}
    last = time.perf_counter()

    def mark(stage: str) -> None:
        nonlocal last
        now = _now(scale)
        marks[stage] = now - last
        last = now

    if scale.is_gpu:
        torch.zeros(1, device="cuda")
    mark("CUDA")
    architecture, step = _networks(scale)[name], Step(form=scale.form, is_recorded=False, layout=LAYOUTS[layout])
    detector, optimiser = _make_detector(architecture, scale, layout=step.layout)
    mark("network")
    batch = _one_batch(scale, scale.batches[0])
    mark("batch")
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        maps = _forward(detector, batch, step)
        mark("forward")
        total = _loss(detector, batch, maps)
        mark("loss")
        total.backward()  # type: ignore[no-untyped-call]
        mark("backward")
        optimiser.step()
        optimiser.zero_grad()
        mark("optimiser")
    del maps, total
    update = _updater(detector, optimiser, step)
    update(batch)
    mark("second step")
    steps = []
    for batch_size in scale.batches:
        for is_recorded in (False, True) if scale.is_gpu else (False,):
            again = replace(step, is_recorded=is_recorded)
            milliseconds = time_step(architecture, scale, again, batch_size=batch_size)
            steps.append(f"batch {batch_size} {again}: {milliseconds:.1f} ms")
    if scale.is_gpu:
        steps.append(f"on the GPU, batch {scale.batches[0]}: {_gpu_time(scale, step)}")
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)[:6]
    slowest = [f"{event.key} {event.self_cpu_time_total / 1e6:.2f} s ({event.count})" for event in events]
    (Path(folder) / "first.json").write_text(json.dumps({"seconds": marks, "slowest": slowest, "steps": steps}))


def _trial_child(scale: Scale, index: str, folder: str) -> None:
    """Train by the project's own function and write its time and memory."""
    settings = replace(modern_recipe(), epochs=2, batch_size=scale.batches[0], accelerator=scale.accelerator)
    name, architecture = list(_networks(scale).items())[int(index) % len(_networks(scale))]
    dataset = _shapes(scale, images=scale.images // 4)
    result = train_alone(architecture.replace(input_size=scale.size), dataset, settings)
    mib = torch.cuda.max_memory_reserved() / 2**20 if scale.is_gpu else 0.0
    used = {"name": name, "seconds": result.seconds_train + result.seconds_score, "mib": mib}
    (Path(folder) / f"trial-{index}").write_text(json.dumps(used))


PRECISIONS: dict[str, Precision] = {"fp32": "fp32", "bf16": "bf16"}


def _ap_child(scale: Scale, kind: str, folder: str) -> None:
    """Train with each seed and write the scores."""
    processor, precision = kind.split("@")
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 3))  # three run at once
    dataset = open_dataset("shapes" if scale.is_gpu else "shapes:train=8,val=4,size=64")
    scores = []
    for seed in range(scale.seeds):
        settings = replace(
            quick_recipe(),
            epochs=scale.epochs,
            accelerator="cpu" if processor == "cpu" else "auto",
            precision=PRECISIONS[precision],
            seed=seed,
            num_workers=0,
        )
        architecture = open_space("tiny").sample(random.Random(3))
        scores.append(train_alone(architecture.replace(input_size=128), dataset, settings).ap)
    (Path(folder) / kind.replace("@", "-")).write_text(json.dumps(scores))


CHILDREN: dict[str, Callable[..., None]] = {
    "train": _train_child,
    "first": _first_child,
    "trial": _trial_child,
    "ap": _ap_child,
}


def _now(scale: Scale) -> float:
    """Return the time once the GPU is done, in seconds."""
    if scale.is_gpu:
        torch.cuda.synchronize()
    return time.perf_counter()


def _median_ms(run: Callable[[], object], scale: Scale, *, count: int) -> float:
    times = []
    for _ in range(max(1, count)):
        began = _now(scale)
        run()
        times.append(_now(scale) - began)
    return statistics.median(times) * 1e3


def _per_image(milliseconds: float, batch: int) -> str:
    return f"{milliseconds:.1f} ms a step, {batch / milliseconds * 1e3:.0f} images/s"


def _spread(medians: list[float]) -> str:
    return f"{', '.join(f'{median:.4f}' for median in medians)} ms ({max(medians) / min(medians) - 1:.2%} apart)"


def _quartiles(samples: list[float]) -> str:
    low, middle, high = np.percentile(samples, [10, 50, 90])
    return f"{middle:.4f} ms, 10th to 90th percentile {low:.4f} to {high:.4f} ms"


if __name__ == "__main__":
    main()
