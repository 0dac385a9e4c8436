"""What happens to one architecture: written, measured, gated, trained, scored.

Latency does not depend on the weights, so it comes first: a network that misses the limit is never trained.
A trial ends *complete*, *pruned*, *infeasible* or *failed*, with its reason; a failure is never a number.
"""

import time
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import torch

from spaces import YoloRetError
from spaces.networks.macs import count_macs, count_params
from spaces.networks.network import build_network
from spaces.weights.imagenet import load_pretrained
from trials.data.open_dataset import open_dataset
from trials.detections.anchors import fit_anchors
from trials.latency.cache import LatencyCache
from trials.latency.device import Device, DeviceAwayError, DeviceError, Latency
from trials.latency.measure import measure_quietly
from trials.latency.measurement_lock import QuietMachine
from trials.latency.open_device import open_device
from trials.onnx.export import export_for_timing, fill_weights
from trials.progress import Progress, Report
from trials.training.checkpoint import read_checkpoint
from trials.training.inheritance import inherit_weights
from trials.training.train import TrainResult, train_network
from trials.trial_result import (
    ARCHITECTURE_FILE,
    ONNX_FILE,
    RESULT_FILE,
    State,
    TrialRequest,
    TrialResult,
    write_json,
)


def run_trial(request: TrialRequest, report: Report) -> TrialResult:
    """Run one trial to its end, whatever that is, and write its result into its folder.

    Only an interrupt, or a bug's own exception after it was written down as the reason, leaves by another way.

    Args:
        request: What to try, and on what.
        report: Told how it goes; False at a score prunes the trial.
    """
    if request.train.num_threads:
        torch.set_num_threads(request.train.num_threads)
        cv2.setNumThreads(request.train.num_threads)
    trial = _Trial(request, report)
    try:
        result = trial.run()
    except (
        DeviceAwayError
    ) as error:  # nothing about the architecture: no result is left, so that nobody takes it for one
        return replace(trial.end("failed", reason=_in_words(error)), is_device_away=True)
    except YoloRetError as error:
        result = trial.end("failed", reason=_in_words(error))
    except Exception as error:  # the one place that turns what nobody foresaw into a state; the traceback is kept
        (request.work_dir / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        result = trial.end("failed", reason=f"{type(error).__name__}: {error} (see traceback.txt in its folder)")
    write_json(request.work_dir / RESULT_FILE, result.to_dict())
    return result


def _in_words(error: YoloRetError) -> str:
    return f"{error.message}{f' ({error.hint})' if error.hint else ''}"


class _Trial:
    """What is known of a running trial, so that any end can report it."""

    def __init__(self, request: TrialRequest, report: Report) -> None:
        self._request = request
        self._driver = report
        self._machine = QuietMachine(request.latency_cache.parent)
        self._known: dict[str, Any] = {}
        self._seconds = {"build": 0.0, "measure": 0.0, "train": 0.0, "score": 0.0, "aside": 0.0}
        request.work_dir.mkdir(parents=True, exist_ok=True)

    def run(self) -> TrialResult:
        began = time.perf_counter()
        with self._machine:
            self._seconds["aside"] += time.perf_counter() - began
            return self._run()

    def _run(self) -> TrialResult:
        request = self._request
        write_json(request.work_dir / ARCHITECTURE_FILE, request.architecture.to_dict())
        self._report(Progress(phase="build"))
        dataset = self._timed(
            "build",
            lambda: open_dataset(request.dataset, on_broken="skip" if request.skip_broken else "stop"),
        )
        self._measure(num_classes=len(dataset.class_names))
        if reason := self._over_limit():
            return self.end("infeasible", reason=reason)
        self._measure_elsewhere(num_classes=len(dataset.class_names))
        trained = self._train(dataset)
        if trained.state == "pruned":
            return self.end("pruned", reason=f"stopped after epoch {trained.epochs} of {request.train.epochs}")
        return self.end("complete")

    def _report(self, progress: Progress) -> bool:
        """Report; where the driver answers, wait outside: it may be measuring, and measures alone."""
        if progress.ap is None:
            return self._driver(progress)
        with self._machine.outside():
            return self._driver(progress)

    def end(self, state: State, *, reason: str = "") -> TrialResult:
        return TrialResult(state=state, reason=reason, seconds=dict(self._seconds), **self._known)

    def _measure(self, *, num_classes: int) -> None:
        request, architecture = self._request, self._request.architecture
        network = self._timed("build", lambda: build_network(architecture, num_classes=num_classes))
        self._known["macs"] = count_macs(network, input_size=architecture.input_size)
        self._known["params"] = count_params(network)
        device = open_device(request.device)
        onnx_path = request.work_dir / ONNX_FILE
        self._report(Progress(phase="measure"))
        try:
            self._timed(
                "measure",
                lambda: export_for_timing(architecture, onnx_path, num_classes=num_classes, opset=device.opset),
            )
            self._known["latency"], self._known["is_latency_cached"] = self._timed(
                "measure", lambda: self._time(device, onnx_path)
            )
        finally:
            device.close()
        if request.device_key and self._known["latency"].device.key != request.device_key:
            now = self._known.pop("latency").device
            raise DeviceError(
                f"device {request.device} has changed since the study began, it is now {now}",
                hint="set it back, or begin another study",
            )
        self._report(Progress(phase="measure", latency_ms=self._known["latency"].median_ms))

    def _measure_elsewhere(self, *, num_classes: int) -> None:
        """Record the further devices' latencies; one that cannot measure is a note, since it is no objective."""
        request, measured, notes = self._request, {}, []
        for spec in request.also_measure:
            path = request.work_dir / "elsewhere.onnx"
            try:
                with closing(open_device(spec)) as device:
                    export_for_timing(request.architecture, path, num_classes=num_classes, opset=device.opset)
                    measured[spec], _ = self._timed("measure", lambda: self._time(device, path))  # noqa: B023
            except DeviceError as error:
                notes.append(f"{spec}: {error.message}")
            path.unlink(missing_ok=True)
        self._known.update(also=measured, notes=tuple(notes))

    def _time(self, device: Device, onnx_path: Path) -> tuple[Latency, bool]:
        return measure_quietly(onnx_path, device, LatencyCache(self._request.latency_cache), machine=self._machine)

    def _over_limit(self) -> str:
        limit, latency = self._request.max_latency_ms, self._known["latency"]
        if limit is None or latency.median_ms <= limit:
            return ""
        return f"{latency.median_ms:.2f} ms is over the limit of {limit:g} ms"

    def _train(self, dataset: Any) -> TrainResult:
        request, architecture, began = self._request, self._request.architecture, time.perf_counter()
        torch.manual_seed(request.train.seed)
        network = build_network(architecture, num_classes=len(dataset.class_names))
        load_pretrained(network, architecture)
        if request.parent is not None:
            self._known["inherited"] = inherit_weights(network, read_checkpoint(request.parent).weights)
        anchors = fit_anchors(
            dataset.splits["train"], input_size=architecture.input_size, output_strides=network.output_strides
        )
        trained = train_network(
            network,
            dataset=dataset,
            anchors=anchors,
            input_size=architecture.input_size,
            settings=request.train,
            report=self._report,
            work_dir=request.work_dir,
            resume=request.train.is_resumable,
            is_trained=request.parent is not None,
            between_steps=self._machine.step_aside,
        )
        self._known.update(
            ap=trained.ap,
            ap50=trained.ap50,
            per_class_ap=trained.per_class_ap,
            epochs=trained.epochs,
            history=trained.history,
        )
        network.cpu()
        fill_weights(request.work_dir / ONNX_FILE, network)
        whole_s = time.perf_counter() - began
        self._seconds["score"] += trained.seconds_score
        self._seconds["aside"] += trained.seconds_aside
        self._seconds["train"] += whole_s - trained.seconds_score - trained.seconds_aside
        return trained

    def _timed(self, phase: str, work: Callable[[], Any]) -> Any:
        before = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds[phase] += time.perf_counter() - before
