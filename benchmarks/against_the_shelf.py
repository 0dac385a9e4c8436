"""Front against front: our detectors and Ultralytics' smallest, from random weights, on the same images, at equal time.

    python -m venv other && other/bin/pip install ultralytics onnx     # AGPL: an environment of its own
    python -m benchmarks.against_the_shelf --python other/bin/python --data DATA… --minutes 120

Each call does what is missing for up to `--minutes` and keeps it in `--results`, where a new file measures everything anew;
the last lines are the table, the picture is written beside the results. First, while nothing else runs, the latencies of all
networks by our `cpu` device: the file that ends at the raw maps, and the file that ends at boxes and scores. Then the
trainings, one on each core, each on one thread and bound to its core.

The shelf: YOLOv8n, YOLO11n and YOLO26n at three sizes, each in its best of three settings: as it comes (batches of 16
accumulated to 64 images), batches of 16, batches of 8, the latter two with a step after each batch. Ours:
`own_networks`, and with `--found FOLDER STUDY` what a search on one of the datasets found: for each of the shelf's the
network of its front with the best estimate of AP that is no slower, which is what `export --max-latency` takes; its row
stands whatever its AP turns out to be. Each starts from random weights and is trained for no more CPU time than any of
the shelf's networks that are as slow or slower; with `--time-of "yolov8n 320 px"` those that are no slower than this
one are given its time, for the comparison with it alone. Time is that of the process on its core, without validation.
Ours train in the number format that the recipe takes here, bfloat16 where the CPU has AVX512-BF16; the shelf's trainer
has float32 alone on a CPU. Both keep decoded images in memory. All are scored by our scorer (COCO's AP) on their own
detections in the validation images, which our search and our recipe were chosen on, and in the test images, which
nothing was chosen on.

With `--aspect 4:3` all have inputs of that shape, whose longer sides are the sizes: the shelf's, which train on squares, are
exported for it and detect in it.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from benchmarks.training import train_alone
from search.strategy.accuracy.estimates import with_estimates
from search.study.read_study import read_study
from spaces import Architecture
from spaces.aspect import SQUARE, in_words, shape_of_input
from spaces.networks import build_network, count_cost
from spaces.presets import PRESETS
from trials.data import Dataset, open_dataset
from trials.detections import Decoding, Detections
from trials.detections.anchors import cell_anchors
from trials.latency.cpu import CpuDevice
from trials.latency.device import Latency, UnstableError
from trials.onnx.decoded import export_decoded
from trials.onnx.export import export_for_timing
from trials.scoring import Scores, score_detections, score_network
from trials.training import CHECKPOINT_FILE, read_checkpoint
from trials.training.recipes import modern_recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHELF = ("yolov8n", "yolo11n", "yolo26n")
SIZES = (160, 224, 320)
SETTINGS = {
    "batches of 8": {"batch": 8, "nbs": 8, "warmup-epochs": 1},
    "batches of 16": {"batch": 16, "nbs": 16, "warmup-epochs": 1},
    "as it comes": {"batch": 16, "nbs": 64, "warmup-epochs": 3},
}
"""Name to Ultralytics' arguments, the one that was best before first."""
EQUAL_TIME = "equal time"
"""The setting of ours that take no longer than any of the shelf's that are as slow or slower."""
_AS_LONG_AS = "as long as "
_TIME_OF = "the time of "
_EPOCHS = 30
_SLACK = 1.02
"""Of a limit of time; a last epoch is not cut in two."""
_SAME_DAY = timedelta(hours=12)
_DECOUPLED = PRESETS["yoloret-m0.75"].replace(head="decoupled", head_width=96, prediction_bias=True)
_STRIDE = 32
"""Coarsest of all networks here."""


def named_hw(network: str) -> tuple[int, int]:
    """Return height and width of the input of a network by its name, which ends with them, as ``yolov8n 320×256 px``."""
    width, _, height = network.split()[-2].partition("×")
    return int(height or width), int(width)


def own_networks(aspect: str) -> dict[str, Architecture]:
    """Return ours that no search found, name to architecture, with inputs of an aspect."""
    networks = [_DECOUPLED.replace(input_size=size, aspect=aspect) for size in (160, 192, 224, 256, 320)]
    return {f"M0.75, decoupled {in_words(one.input_hw)} px": one for one in networks}


OURS = own_networks(SQUARE)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """The latencies of a network."""

    network: str
    """With its size, as in `Trained`."""
    raw_ms: float
    """Median to the raw maps."""
    boxes_ms: float
    """Median to boxes and scores."""
    reference_ms: float | None = None
    """Time of the reference network meanwhile, which both latencies are for; None where it was not kept."""
    macs: int | None = None
    """Multiply-adds; None for the shelf's."""
    architecture: Mapping[str, Any] | None = None
    """Of a network that a search found."""
    found_ap: float | None = None
    """That search's estimate of its AP."""
    found_on: str = ""
    """The data of that search."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One training."""

    data: str
    network: str
    """Name and size, ``yolov8n 320 px``."""
    setting: str
    """Of `SETTINGS`; for ours ``as long as yolov8n 160 px``, which set the time, or ``the time of …`` where it was named."""
    seed: int
    ap: float
    ap50: float
    cpu_s: float
    """Of its steps."""
    epochs: int
    test_ap: float | None = None
    """In the test images; None where there are none, or it was not kept."""
    test_ap50: float | None = None
    """Likewise."""
    at: str = ""
    """When it ended, ISO 8601; empty where it was not kept."""


def main() -> None:
    """Do what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--python", help="of the environment that has ultralytics; none: only what is kept")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0, help="of what is trained in this call")
    parser.add_argument("--minutes", type=float, default=60.0, help="no training begins later")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--shelf", nargs="+", default=list(SHELF), choices=SHELF)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--aspect", default=SQUARE, help="width to height of all inputs, such as 4:3")
    parser.add_argument("--found", nargs=2, metavar=("FOLDER", "STUDY"), help="networks that a search found")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("against_the_shelf.jsonl"))
    parser.add_argument("--own", nargs="+", metavar="NETWORK", help="those of ours that are trained in this call")
    parser.add_argument("--time-of", metavar="NETWORK", help="one of the shelf's, whose time ours are given")
    parser.add_argument("--ours", help=argparse.SUPPRESS)  # how this script trains ours in a process of its own
    given = parser.parse_args()
    if given.ours:
        train_ours(json.loads(given.ours))
        return
    if not given.python and (given.found or given.time_of or given.own):
        parser.error("--found, --time-of and --own say what is timed and trained, for which --python is needed")
    kept = Results(given.results, aspect=given.aspect)
    known = {*kept.shelf(), *shelf_names(given)}
    if given.time_of and given.time_of not in known:
        parser.error(f"--time-of {given.time_of}: it is none of the shelf's; there are {', '.join(sorted(known))}")
    if not given.python and not kept.trained:
        parser.error(f"{given.results} holds no trainings: say --python, of an environment that has ultralytics")
    if given.python:
        ends = time.monotonic() + 60 * given.minutes
        time_networks(given, kept)
        wanted = dict.fromkeys(name for data in given.data for name in kept.wanted(data_name(data)))
        if unknown := set(given.own or ()) - wanted.keys():
            parser.error(f"--own {', '.join(sorted(unknown))}: it is not trained; of ours are {', '.join(wanted)}")
        train_all(given, kept, ends=ends)
    for data in given.data:
        print("\n".join(table(kept, data_name(data))))
    picture = draw(kept, [data_name(data) for data in given.data])
    picture.savefig(given.results.with_suffix(".png"), dpi=120)


def shelf_names(given: argparse.Namespace) -> list[str]:
    """Return the shelf's networks that are asked for, each with its size."""
    hws = [shape_of_input(size, given.aspect, stride=_STRIDE) for size in given.sizes]
    return [f"{one} {in_words(input_hw)} px" for one in given.shelf for input_hw in hws]


class Results:
    """The kept rows, a line of JSON each.

    Args:
        path: Made at the first row.
        aspect: Of the inputs of `presets`.
    """

    def __init__(self, path: Path, *, aspect: str = SQUARE) -> None:
        self._path = path
        self.presets = own_networks(aspect)
        """Ours that no search found."""
        self.timed: dict[str, Timed] = {}
        """By network; those that have the reference network's time, on the scale of the first of them."""
        self.ours = dict(self.presets)
        """Name to architecture, of those that searches found, too."""
        self.trained: list[Trained] = []
        self.epochs_s: dict[tuple[str, str], tuple[float, float]] = {}
        """CPU time of the first epoch of ours, which decodes the images, and of another one, by data and network; not kept,
        since a machine is not as fast another day."""
        for line in path.read_text().splitlines() if path.exists() else ():
            self._take(json.loads(line))

    def _take(self, row: dict[str, Any]) -> None:
        kind = row.pop("kind")
        if kind == "timed":
            timed = self.timed[row["network"]] = self._to_scale(Timed(**row))
            if timed.architecture is not None:
                self.ours[timed.network] = Architecture.from_dict(timed.architecture)
        else:
            self.trained.append(Trained(**row))

    def _to_scale(self, timed: Timed) -> Timed:
        first = next((one for one in self.timed.values() if one.reference_ms is not None), timed)
        if timed.reference_ms is None or first.reference_ms is None:
            return timed
        ratio = first.reference_ms / timed.reference_ms
        return replace(
            timed,
            raw_ms=timed.raw_ms * ratio,
            boxes_ms=timed.boxes_ms * ratio,
            reference_ms=first.reference_ms,
        )

    def add(self, kind: str, row: Mapping[str, Any]) -> None:
        """Keep a row."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **row}) + "\n")
        self._take({"kind": kind, **row})

    def find(self, data: str, network: str) -> dict[str, list[Trained]]:
        """Return the trainings of a network by setting; those of ours at equal time together, whichever network set it."""
        found: dict[str, list[Trained]] = {}
        for one in self.trained:
            if (one.data, one.network) == (data, network):
                setting = EQUAL_TIME if one.setting.startswith(_AS_LONG_AS) else one.setting
                found.setdefault(setting, []).append(one)
        return found

    def shelf(self) -> list[str]:
        """Return the shelf's networks that have a latency, fastest first."""
        theirs = (one for one in self.timed if one.split()[0] in SHELF)
        return sorted(theirs, key=lambda one: self.timed[one].boxes_ms)

    def choices(self, data: str, latency_ms: float) -> list[str]:
        """Return what a user would take within a latency of each search on these data: the best by the search's estimate."""
        searches: dict[str, list[Timed]] = {}
        for timed in self.timed.values():
            if timed.found_ap is not None and timed.found_on == data and timed.boxes_ms <= latency_ms:
                searches.setdefault(study_of(timed.network), []).append(timed)
        return [max(found, key=lambda one: one.found_ap or 0.0).network for found in searches.values()]

    def wanted(self, data: str) -> list[str]:
        """Return ours that are trained: the `choices` within the latency of each of the shelf's, and `presets`."""
        chosen = [name for one in self.shelf() for name in self.choices(data, self.timed[one].boxes_ms)]
        return list(dict.fromkeys((*chosen, *self.presets)))

    def best(self, data: str, network: str) -> list[Trained]:
        """Return the trainings of a network's best setting, of those with the most seeds; empty if there is none.

        Of ours those at equal time.
        """
        found = self.find(data, network)
        return max(
            [found.get(EQUAL_TIME, [])] if network in self.ours else found.values(),
            key=lambda ones: (len(ones), statistics.mean([one.ap for one in ones] or [0.0])),
            default=[],
        )

    def limits(self, data: str, network: str, seed: int, *, only: str | None = None) -> dict[str, float] | None:
        """Return the CPU seconds of the shelf's networks that are as slow as one of ours or slower, by name.

        Each counts in its best setting of this seed. None where one has none yet, or none is as slow. `only` names one that
        alone counts.
        """
        slower = [
            one
            for one in self.shelf()
            if only in (None, one) and self.timed[one].boxes_ms >= self.timed[network].boxes_ms
        ]
        found: dict[str, float] = {}
        for one in slower:
            rows = [row for rows in self.find(data, one).values() for row in rows if row.seed == seed]
            if not rows:
                return None
            found[one] = max(rows, key=lambda row: row.ap).cpu_s
        return found or None


def data_name(data: str) -> str:
    """Return a dataset's name in the table."""
    return Path(data).name


def study_of(network: str) -> str:
    """Return the study that found a network, ``STUDY:NUMBER SIZE px``."""
    return network.rpartition(":")[0]


# --- latency -------------------------------------------------------------------------------------------------------------


def time_networks(given: argparse.Namespace, kept: Results) -> None:
    """Time what has no latency yet; three classes, since their number hardly matters."""
    device = CpuDevice()
    with closing(device), TemporaryDirectory() as name:
        folder = Path(name)
        for network in shelf_names(given):
            if network not in kept.timed:
                command = ["export", network.split()[0], str(folder), "--classes", "3", *hw_options(network)]
                run([given.python, str(Path(__file__).with_name("shelf_run.py")), *command])
                kept.add("timed", asdict(_time(device, folder, network)))
        found_now = list(_found(given))
        old = {
            name for name in kept.ours if name not in kept.presets and given.found and study_of(name) == given.found[1]
        }
        if gone := old - {network for network, _, _ in found_now}:
            raise ValueError(
                f"{', '.join(sorted(gone))} in {given.results} is of another search: name the study otherwise"
            )
        for network, architecture, found in [*((*one, None) for one in kept.presets.items()), *found_now]:
            if kept.ours.get(network, architecture) != architecture:
                raise ValueError(f"{network} is another network in {given.results}: name the study otherwise")
            if network not in kept.timed:
                export_for_timing(architecture, folder / "raw.onnx", num_classes=3, opset=13)
                _export_boxes(architecture, folder / "boxes.onnx")
                timed = replace(_time(device, folder, network), macs=count_cost(architecture, num_classes=3).macs)
                if found is not None:
                    timed = replace(timed, architecture=architecture.to_dict(), found_ap=found[0], found_on=found[1])
                kept.add("timed", asdict(timed))


def _found(given: argparse.Namespace) -> Iterator[tuple[str, Architecture, tuple[float, str]]]:
    """Yield the front of a study: names, architectures, the estimates of their AP and its data."""
    if given.found:
        folder, name = given.found
        study = read_study(Path(folder), name)
        summary = with_estimates(study.summary)
        for record in summary.front:
            size, found = (
                in_words(record.architecture.input_hw),
                (summary.expected_ap(record), data_name(study.dataset)),
            )
            yield f"{name}:{record.number} {size} px", record.architecture.replace(transfer=0), found


def _time(device: CpuDevice, folder: Path, network: str) -> Timed:
    raw, boxes = (_measure(device, folder / f"{name}.onnx") for name in ("raw", "boxes"))
    assert raw.reference_ms is not None
    assert boxes.reference_ms is not None
    raw_ms, boxes_ms = raw.median_ms * boxes.reference_ms / raw.reference_ms, boxes.median_ms
    print(f"{network:30} {raw_ms:8.2f} ms to the maps, {boxes_ms:8.2f} ms to boxes", flush=True)
    return Timed(network=network, raw_ms=raw_ms, boxes_ms=boxes_ms, reference_ms=boxes.reference_ms)


def _measure(device: CpuDevice, path: Path) -> Latency:
    """Measure; while the machine is unsteady, wait and measure again."""
    for _ in range(20):
        try:
            return device.measure(path)
        except UnstableError as error:
            print(error.message, file=sys.stderr, flush=True)
            time.sleep(15)
    raise UnstableError("this machine has other work to do", hint="measure when it is quiet")


def _export_boxes(architecture: Architecture, path: Path) -> None:
    network = build_network(architecture, num_classes=3).eval()
    strides = network.output_strides
    anchors = tuple(((8.0, 8.0),) * 3 for _ in strides) if network.has_anchors else cell_anchors(strides)
    decoding = Decoding(
        anchors=anchors,
        coding="bounded" if network.has_anchors else "distances",
        class_names=("a", "b", "c"),
        input_hw=architecture.input_hw,
    )
    export_decoded(network, decoding, path, opset=13)


# --- training ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that is missing."""

    data: str
    network: str
    setting: str
    seed: int


def train_all(given: argparse.Namespace, kept: Results, *, ends: float) -> None:
    """Train what is missing: the shelf's first, since they set the time of ours."""
    cores: Queue[int] = Queue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)

    def work(job: Job) -> None:
        if time.monotonic() > ends:
            return
        if job.setting not in SETTINGS and _time_of_ours(given, kept, job) is None:
            print(f"{job.network}, seed {job.seed}, waits for the shelf's networks that are as slow", flush=True)
            return
        core = cores.get()
        try:
            began = time.monotonic()
            row = train_shelf(given, job, core) if job.setting in SETTINGS else train_for(given, kept, job, core)
            kept.add("trained", asdict(row))
            print(
                f"{row.data} {row.network}, {row.setting}, seed {row.seed}: AP {row.ap:.4f}, AP50 {row.ap50:.4f}, ",
                end="",
            )
            print(f"{row.epochs} epochs, {row.cpu_s:.0f} s (whole {time.monotonic() - began:.0f} s)", flush=True)
        finally:
            cores.put(core)

    for jobs in (list(_shelf_jobs(given, kept)), list(our_jobs(given, kept))):
        with ThreadPoolExecutor(cores.qsize()) as pool:
            list(pool.map(work, jobs))


def _shelf_jobs(given: argparse.Namespace, kept: Results) -> Iterator[Job]:
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for setting in given.settings:
            for data in given.data:
                for network in shelf_names(given):
                    found = kept.find(data_name(data), network).get(setting, [])
                    if seed not in [one.seed for one in found]:
                        yield Job(data=data, network=network, setting=setting, seed=seed)


def our_jobs(given: argparse.Namespace, kept: Results) -> Iterator[Job]:
    """Yield the trainings of ours that are missing: `EQUAL_TIME`, or those of `--time-of`."""
    setting = f"{_TIME_OF}{given.time_of}" if given.time_of else EQUAL_TIME
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for data in given.data:
            for network in kept.wanted(data_name(data)):
                if given.own and network not in given.own:
                    continue
                if given.time_of and kept.timed[network].boxes_ms > kept.timed[given.time_of].boxes_ms:
                    continue
                done = [one.seed for one in kept.find(data_name(data), network).get(setting, [])]
                if seed not in done:
                    yield Job(data=data, network=network, setting=setting, seed=seed)


def _time_of_ours(given: argparse.Namespace, kept: Results, job: Job) -> tuple[str, float] | None:
    """Return the setting and the CPU seconds of a training of ours; None while the shelf's are missing."""
    times = kept.limits(data_name(job.data), job.network, job.seed, only=given.time_of)
    if times is None:
        return None
    shortest = min(times, key=times.__getitem__)
    return (job.setting if given.time_of else f"{_AS_LONG_AS}{shortest}"), times[shortest]


def train_shelf(given: argparse.Namespace, job: Job, core: int) -> Trained:
    """Train one of the shelf's in its own environment."""
    dataset, name = open_dataset(job.data, on_broken="skip"), job.network.split()[0]
    with TemporaryDirectory() as folder:
        data, out = write_yolo(dataset, Path(folder) / "data"), Path(folder) / "out.json"
        options = {"epochs": _EPOCHS, "seed": job.seed, **SETTINGS[job.setting]}
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        words += hw_options(job.network)
        script = str(Path(__file__).with_name("shelf_run.py"))
        run([given.python, script, "train", name, str(data), str(out), *words], core=core)
        told = json.loads(out.read_text())
    scores = {
        split: score_detections(
            [as_detections(one) for one in told["found"][split]],
            dataset.splits[split],
            class_names=dataset.class_names,
        )
        for split in ("val", "test")
        if split in dataset.splits
    }
    return Trained(
        data=data_name(job.data),
        network=job.network,
        setting=job.setting,
        seed=job.seed,
        cpu_s=sum(told["epoch_s"]),
        epochs=len(told["epoch_s"]),
        **as_row(scores),
    )


def hw_options(network: str) -> list[str]:
    """Return the options of `shelf_run.py` that say the input of a network."""
    height, width = named_hw(network)
    return ["--height", str(height), "--width", str(width)]


def as_row(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Return the fields of `Trained` that say how well a network detects, from its scores by split, and when this was."""
    test = scores.get("test")
    return {
        "ap": scores["val"].ap,
        "ap50": scores["val"].ap50,
        "test_ap": test and test.ap,
        "test_ap50": test and test.ap50,
        "at": datetime.now().isoformat(timespec="seconds"),
    }


def train_for(given: argparse.Namespace, kept: Results, job: Job, core: int) -> Trained:
    """Train one of ours for as long as `_time_of_ours` says; one that took longer is trained again, for fewer epochs."""
    data, time_of_ours = data_name(job.data), _time_of_ours(given, kept, job)
    assert time_of_ours is not None
    setting, seconds = time_of_ours
    if (data, job.network) not in kept.epochs_s:
        told = _run_ours(kept, job, core, epochs=2)
        kept.epochs_s[data, job.network] = told["cpu_s"] - told["last_epoch_s"], told["last_epoch_s"]
    while True:
        first_s, other_s = kept.epochs_s[data, job.network]
        epochs = max(3, 1 + int((seconds - first_s) / other_s))
        told = _run_ours(kept, job, core, epochs=epochs)
        del told["last_epoch_s"]
        kept.epochs_s[data, job.network] = first_s, (told["cpu_s"] - first_s) / (epochs - 1)
        if epochs == 3 or told["cpu_s"] <= _SLACK * seconds:
            return Trained(data=data, network=job.network, setting=setting, seed=job.seed, epochs=epochs, **told)
        print(f"{data} {job.network}, seed {job.seed}: {told['cpu_s']:.0f} s of {seconds:.0f} s, again", flush=True)


def _run_ours(kept: Results, job: Job, core: int, *, epochs: int) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        architecture = kept.ours[job.network].to_dict()
        wish = {"data": job.data, "architecture": architecture, "seed": job.seed, "epochs": epochs, "folder": folder}
        run(
            [sys.executable, "-m", "benchmarks.against_the_shelf", "--data", job.data, "--ours", json.dumps(wish)],
            core=core,
        )
        told: dict[str, Any] = json.loads((Path(folder) / "ours.json").read_text())
        return told


def train_ours(wish: Mapping[str, Any]) -> None:
    """Train one of ours in this process, and write its figures."""
    begins: list[float] = []

    def begin() -> None:
        begins.append(time.process_time())

    settings = replace(modern_recipe(), epochs=wish["epochs"], score_every=wish["epochs"], seed=wish["seed"])
    architecture, folder = Architecture.from_dict(wish["architecture"]), Path(wish["folder"])
    dataset = open_dataset(wish["data"], on_broken="skip")
    result = train_alone(architecture, dataset, settings, work_dir=folder, between_steps=begin, num_threads=1)
    scores = {"val": Scores(ap=result.ap, ap50=result.ap50, per_class_ap=result.per_class_ap)}
    if test := dataset.splits.get("test"):
        network = build_network(architecture, num_classes=len(dataset.class_names))
        network.load_state_dict(read_checkpoint(folder / CHECKPOINT_FILE).weights)
        scores["test"] = score_network(network, test, decoding=result.decoding)
    step_s = (begins[-1] - begins[0]) / (len(begins) - 1)
    cpu_s = begins[-1] - begins[0] + step_s  # scoring comes after the last step
    last_epoch_s = begins[-1] - begins[-(len(begins) // wish["epochs"])] + step_s
    (folder / "ours.json").write_text(json.dumps({"cpu_s": cpu_s, "last_epoch_s": last_epoch_s, **as_row(scores)}))


def run(command: Sequence[str], *, core: int | None = None) -> None:
    """Run a command, on one core if it is given; its output is shown where it fails."""
    pinned = [*([] if core is None else ["taskset", "--cpu-list", str(core)]), *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(pinned, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} …: {(done.stdout + done.stderr)[-1500:]}")


def as_detections(one: Mapping[str, Any]) -> Detections:
    """Read the shelf's detections in an image."""
    return Detections(
        boxes=torch.tensor(one["boxes"], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(one["scores"], dtype=torch.float32),
        labels=torch.tensor(one["labels"], dtype=torch.int64),
    )


def write_yolo(dataset: Dataset, folder: Path) -> Path:
    """Write a dataset in YOLO format, with lossless images named by their index."""
    for split, samples in dataset.splits.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for number, sample in enumerate(samples):
            Image.fromarray(sample.load()).save(folder / "images" / split / f"{number:05d}.png")
            height, width = sample.size_hw
            boxes = sample.boxes[~sample.ignored] / np.array([width, height, width, height], dtype=np.float32)
            lines = [
                f"{label} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}"
                for label, (x1, y1, x2, y2) in zip(sample.labels[~sample.ignored], boxes, strict=True)
            ]
            (folder / "labels" / split / f"{number:05d}.txt").write_text("\n".join(lines))
    path = folder / "data.yaml"
    names = json.dumps(list(dataset.class_names))
    path.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: {names}\n")
    return path


# --- table and picture ---------------------------------------------------------------------------------------------------


def table(kept: Results, data: str) -> Iterator[str]:
    """Yield a dataset's table: each of the shelf's beside ours at or under its latency and time.

    Of ours that no search found that is the best, of what a search found its choice.
    """
    presets = ", ".join(kept.presets)
    yield f"\n{data}: AP with its standard error over seeds; of {presets} the best mean, so a little too high"
    without = [name for name, timed in kept.timed.items() if timed.reference_ms is None]
    if 0 < len(without) < len(kept.timed):
        yield (
            f"Latencies of {', '.join(without)} were kept without the reference network's time: where the machine was "
            "faster or slower that day, they are not comparable with the others"
        )
    own_columns, columns = "AP50 | AP | test AP | ms to boxes", "the shelf's | setting | seeds"
    yield f"| {columns} | {own_columns} | ours | {own_columns} | +AP | +test AP |"
    yield "|---" * 14 + "|"
    apart: list[str] = []
    for network in kept.shelf():
        theirs = kept.best(data, network)
        if not theirs:
            continue
        latency = kept.timed[network].boxes_ms
        left = f"| {network} | {theirs[0].setting} | {len(theirs)} | {_cells(theirs)} | {latency:.1f} |"
        within = [name for name in kept.presets if name in kept.timed and kept.timed[name].boxes_ms <= latency]
        chosen = kept.choices(data, latency)
        settings = (EQUAL_TIME, f"{_TIME_OF}{network}")
        asked = [(names, setting) for names in (within, *([one] for one in chosen)) for setting in settings]
        found = [
            (pair, setting) for names, setting in asked if (pair := _best_of_ours(kept, data, names, theirs, setting))
        ]
        for (own, others), setting in found:
            name = own[0].network
            label = name if setting == EQUAL_TIME else f"{name}, as long as it"
            gains = " | ".join(_gain(own, others, field) for field in ("ap", "test_ap"))
            yield f"{left} {label} | {_cells(own)} | {kept.timed[name].boxes_ms:.1f} | {gains} |"
            apart += [f"{network} and {name}"] if _are_of_other_days(own, others) else []
        if not found:
            yield f"{left} none{' |' * 7}"
    if apart:
        yield f"Trained on different days, on a machine that may have been faster or slower: {'; '.join(apart)}"


def _best_of_ours(
    kept: Results, data: str, names: Sequence[str], theirs: Sequence[Trained], setting: str
) -> tuple[list[Trained], list[Trained]] | None:
    """Return the trainings of the best of ours in a setting, of those with the most seeds, and the shelf's of these seeds.

    None where none took no longer.
    """
    found = [
        shared
        for name in names
        if (shared := _shared(kept.find(data, name).get(setting, []), theirs)) and _took_no_longer(*shared)
    ]
    return max(found, key=lambda pair: (len(pair[0]), statistics.mean(one.ap for one in pair[0])), default=None)


def _shared(ours: Sequence[Trained], theirs: Sequence[Trained]) -> tuple[list[Trained], list[Trained]] | None:
    """Return the trainings of the seeds that both have, None without one."""
    seeds = {one.seed for one in ours} & {one.seed for one in theirs}
    own, others = ([one for one in ones if one.seed in seeds] for ones in (ours, theirs))
    return (own, others) if seeds else None


def _took_no_longer(ours: Sequence[Trained], theirs: Sequence[Trained]) -> bool:
    own, limit = (statistics.mean(one.cpu_s for one in ones) for ones in (ours, theirs))
    return own <= limit * _SLACK


def _are_of_other_days(ours: Sequence[Trained], theirs: Sequence[Trained]) -> bool:
    """Return whether trainings of one seed are more than half a day apart, as far as it was kept when they were."""
    return any(
        abs(datetime.fromisoformat(own.at) - datetime.fromisoformat(other.at)) > _SAME_DAY
        for own in ours
        for other in theirs
        if own.seed == other.seed and own.at and other.at
    )


def _gain(ours: Sequence[Trained], theirs: Sequence[Trained], field: str) -> str:
    own, other = ([getattr(one, field) for one in ones] for ones in (ours, theirs))
    return "" if None in (*own, *other) else f"{statistics.mean(own) - statistics.mean(other):+.3f}"


def _cells(ones: Sequence[Trained]) -> str:
    return " | ".join(_with_error([getattr(one, name) for one in ones]) for name in ("ap50", "ap", "test_ap"))


def _with_error(kept: Sequence[float | None]) -> str:
    values = [value for value in kept if value is not None]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}"


def draw(kept: Results, names: Sequence[str]) -> "Figure":
    """Return a picture of AP over latency, a panel for each dataset."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * len(names), 4), layout="constrained")
    for axes, data in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        drawn_ms: list[float] = []
        for label, colour, networks in (
            ("Ultralytics", "tab:red", kept.shelf()),
            ("yoloret-m0.75, decoupled", "tab:blue", list(kept.presets)),
            ("found by a search", "tab:green", [one for one in kept.ours if one not in kept.presets]),
        ):
            points = {one: [row.ap for row in kept.best(data, one)] for one in networks if kept.best(data, one)}
            if not points:
                continue
            latencies, means = (
                [kept.timed[one].boxes_ms for one in points],
                [statistics.mean(aps) for aps in points.values()],
            )
            drawn_ms += latencies
            ends = np.array([(min(aps), max(aps)) for aps in points.values()]).T
            axes.errorbar(latencies, means, yerr=np.abs(ends - np.array(means)), fmt="o", color=colour, label=label)
            for name, x, y in zip(points, latencies, means, strict=True):
                short = " ".join(name.split()[-2:]) if name in kept.ours else name
                place = {"xytext": (-3, 4), "ha": "right"} if short.startswith("yolo11n") else {"xytext": (3, -9)}
                axes.annotate(short, (x, y), textcoords="offset points", fontsize=6, **place)
        axes.set(
            xscale="log",
            xlim=(0.8 * min(drawn_ms), 1.8 * max(drawn_ms)) if drawn_ms else None,
            xlabel="ms to boxes, ONNX Runtime, one thread",
            ylabel="AP",
            title=data,
        )
        for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            axis("{x:g}")
        if drawn_ms:
            axes.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    main()
