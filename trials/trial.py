"""One trial: an architecture is built, exported, measured, trained and scored.

Latency does not depend on the weights, so it is measured first: a network over the limit
(`--max-latency`) is never trained.
A trial ends *complete*, *pruned*, *infeasible* or *failed*, with its reason; a failure is never a number.
"""

import errno
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import torch
from torch import Tensor

from spaces import YoloRetError
from spaces.networks import build_network, count_macs, count_params
from spaces.weights import load_pretrained
from trials.data import Dataset, DatasetError, open_dataset
from trials.data.image_check import leave_out
from trials.detections import choose_anchors
from trials.detections.decoding import OutputError
from trials.latency import DeviceAwayError, Latency, UnusableDeviceError
from trials.latency.cache import LatencyCache, LatencyCacheError
from trials.latency.measure import measure_architecture
from trials.latency.measurement_lock import MeasurementLock
from trials.latency.open_device import open_device, without_limits
from trials.one_shot.training import starting_weights, train_and_score
from trials.onnx.export import export_for_timing, fill_weights
from trials.progress import Progress, Report
from trials.scoring.detections_picture import draw_detections
from trials.training import read_checkpoint
from trials.training.errors import DivergedError, UnusableCheckpointError
from trials.training.settings import LAST_FILE
from trials.training.train import TrainResult, train_network
from trials.trial_result import (
    ARCHITECTURE_FILE,
    DETECTIONS_FILE,
    ONNX_FILE,
    TRACEBACK_ELSEWHERE_FILE,
    TRACEBACK_FILE,
    OneShotTask,
    State,
    TrialRequest,
    TrialResult,
    write_json,
    write_result,
)

_MACHINE_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENFILE})
"""Errors of the operating system that no architecture causes."""


_NOT_FROM_THERE = (DivergedError, OutputError, UnusableCheckpointError)
"""Errors that a training resumed from its last checkpoint would meet again."""


def run_trial(request: TrialRequest, report: Report) -> TrialResult:
    """Run one trial to its end, and write its result into its folder.

    Every error becomes a failed result, except an interrupt, which is raised again.

    Args:
        request: Architecture, data, device and training.
        report: Called with the progress; False at a score prunes the trial.
    """
    if request.train.num_threads:
        torch.set_num_threads(request.train.num_threads)
        cv2.setNumThreads(request.train.num_threads)
    trial = _Trial(request, report)
    try:
        request.work_dir.mkdir(parents=True, exist_ok=True)
        result = _run_to_result(trial, request)
        # The others say nothing about the architecture: a resumed study tries it again.
        if not result.is_device_away and not result.is_outside_fault:
            write_result(request.work_dir, result, study_id=request.study_id, architecture=request.architecture)
        if result.state == "complete":  # of other ends a resumable training goes on
            (request.work_dir / LAST_FILE).unlink(missing_ok=True)
    except OSError as error:  # a full disk, for example; the caller hears of it all the same
        return _outside_fault(trial, f"{request.work_dir} cannot be written: {error.strerror}")
    return result


def _run_to_result(trial: "_Trial", request: TrialRequest) -> TrialResult:
    """Run a trial; turn any error into a failed result."""
    try:
        return trial.run()
    except (DeviceAwayError, UnusableDeviceError) as error:
        return replace(trial.end("failed", reason=_in_words(error)), is_device_away=True)
    except (DatasetError, LatencyCacheError) as error:
        return _outside_fault(trial, _in_words(error))
    except YoloRetError as error:
        if isinstance(error, _NOT_FROM_THERE):
            (request.work_dir / LAST_FILE).unlink(missing_ok=True)
        return trial.end("failed", reason=_in_words(error))
    except Exception as error:  # the one place that turns an unexpected error into a state; its traceback is kept
        if isinstance(error, OSError) and error.errno in _MACHINE_FAULTS:
            where = error.filename or request.work_dir
            return _outside_fault(trial, f"{error.strerror}: {where}")
        (request.work_dir / TRACEBACK_FILE).write_text(traceback.format_exc(), encoding="utf-8")
        return trial.end("failed", reason=f"{type(error).__name__}: {error} (see {TRACEBACK_FILE} in its folder)")


def _outside_fault(trial: "_Trial", reason: str) -> TrialResult:
    return replace(trial.end("failed", reason=reason), is_outside_fault=True)


def _in_words(error: YoloRetError) -> str:
    return f"{error.message}{f' ({error.hint})' if error.hint else ''}"


def _check_same(dataset: Dataset, request: TrialRequest) -> None:
    if request.fingerprint and dataset.fingerprint != request.fingerprint:
        raise DatasetError(
            f"dataset {request.dataset!r} is not the one that the run began with: fingerprint {dataset.fingerprint}, "
            f"was {request.fingerprint}",
            hint="restore its files, or begin anew under another name (--study; --name for trainings)",
        )


def _check_device(spec: str, latency: Latency, *, key: str) -> None:
    """Refuse a latency of another device than the one with a key of its identity; an empty key is any device's."""
    if key and latency.device.key != key:
        raise UnusableDeviceError(
            f"device {spec} has changed since the study began, it is now {latency.device}",
            hint="restore its settings, or start another study",
        )


def _finish_on_gpu() -> None:
    """Wait until the GPU has done what this process queued."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


class _Clock:
    """Seconds spent by phase; `aside` is the time spent waiting for another trial's measurement."""

    def __init__(self) -> None:
        self.seconds = {"build": 0.0, "measure": 0.0, "train": 0.0, "score": 0.0, "aside": 0.0}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - began


class _Trial:
    """A running trial; `_result` holds what it has found so far, so that any end can report it."""

    def __init__(self, request: TrialRequest, report: Report) -> None:
        self._request = request
        self._driver = report
        self._lock = MeasurementLock(finish=_finish_on_gpu)
        self._clock = _Clock()
        self._result = TrialResult(state="failed")

    def run(self) -> TrialResult:
        began = time.perf_counter()
        with self._lock.shared():
            self._clock.seconds["aside"] += time.perf_counter() - began
            return self._run()

    def end(self, state: State, *, reason: str = "") -> TrialResult:
        return replace(self._result, state=state, reason=reason, seconds=dict(self._clock.seconds))

    def _run(self) -> TrialResult:
        request = self._request
        write_json(request.work_dir / ARCHITECTURE_FILE, request.architecture.to_dict())
        self._report(Progress(phase="build"))
        with self._clock("build"):
            dataset = open_dataset(request.dataset, on_broken="skip" if request.skip_broken else "stop")
            if request.broken_images:
                dataset = leave_out(dataset, frozenset(request.broken_images))
            _check_same(dataset, request)
        if request.one_shot is not None:
            return self._train_shared(request.one_shot, dataset)
        latency = self._measure(num_classes=len(dataset.class_names))
        if request.max_latency_ms is not None and latency.median_ms > request.max_latency_ms:
            reason = f"{latency.median_ms:.2f} ms is over the limit of {request.max_latency_ms:g} ms"
            return self.end("infeasible", reason=reason)
        self._measure_elsewhere(num_classes=len(dataset.class_names))
        trained = self._train(dataset)
        if trained.state == "pruned":
            return self.end("pruned", reason=f"stopped after epoch {trained.epochs} of {request.train.epochs}")
        return self.end("complete")

    def _train_shared(self, task: OneShotTask, dataset: Dataset) -> TrialResult:
        """Train the shared weights of a space instead of one network."""
        trained = train_and_score(self._request, task, dataset, self._driver, self._lock)
        seconds = {phase: own + trained.seconds.get(phase, 0.0) for phase, own in self._clock.seconds.items()}
        return replace(trained, seconds=seconds)

    def _report(self, progress: Progress) -> bool:
        """Report; release the measurement lock while the driver answers, since it may be measuring."""
        if progress.ap is None:
            return self._driver(progress)
        with self._lock.released():
            return self._driver(progress)

    def _measure(self, *, num_classes: int) -> Latency:
        """Export the network and measure its latency."""
        request, architecture = self._request, self._request.architecture
        with self._clock("build"):
            network = build_network(architecture, num_classes=num_classes)
        macs = count_macs(network, input_hw=architecture.input_hw)
        self._result = replace(self._result, macs=macs, params=count_params(network))
        onnx_path = request.work_dir / ONNX_FILE
        self._report(Progress(phase="measure"))
        latency, is_cached = self._latency_on(request.device, onnx_path, num_classes=num_classes)
        _check_device(request.device, latency, key=request.device_key)
        self._result = replace(self._result, latency=latency, is_latency_cached=is_cached)
        self._report(Progress(phase="measure", latency_ms=latency.median_ms))
        return latency

    def _measure_elsewhere(self, *, num_classes: int) -> None:
        """Record the further devices' latencies; any failure becomes a note, since they are no objective."""
        request = self._request
        measured: dict[str, Latency] = {}
        notes: list[str] = []
        for spec in request.also_measure:
            device, path = without_limits(spec), request.work_dir / "elsewhere.onnx"
            self._report(Progress(phase="measure"))  # each may wait for hours in its board's queue
            try:
                latency, _ = self._latency_on(spec, path, num_classes=num_classes)
                _check_device(spec, latency, key=request.also_keys.get(device, ""))
                measured[device] = latency
            except YoloRetError as error:
                notes.append(f"{spec}: {error.message}")
            except Exception as error:  # of a runtime, a driver or a full disk; its traceback is kept
                with (request.work_dir / TRACEBACK_ELSEWHERE_FILE).open("a", encoding="utf-8") as file:
                    file.write(f"{spec}: {traceback.format_exc()}")
                notes.append(f"{spec}: {type(error).__name__}: {error} (see {TRACEBACK_ELSEWHERE_FILE} in its folder)")
            path.unlink(missing_ok=True)
        self._result = replace(self._result, also=measured, notes=tuple(notes))
        if notes:  # of the measurement lock, too, which is then no longer held
            with self._clock("aside"):
                self._lock.regain()

    def _latency_on(self, spec: str, onnx_path: Path, *, num_classes: int) -> tuple[Latency, bool]:
        """Write the file that a device times; return its latency, and whether that was measured before."""
        request = self._request
        known = request.measured.get(spec)
        if isinstance(known, YoloRetError):
            raise known
        with self._clock("measure"):
            if known is not None:
                export_for_timing(request.architecture, onnx_path, num_classes=num_classes, opset=known.opset)
                return known.latency, known.is_cached
            with closing(open_device(spec)) as device:
                return measure_architecture(
                    request.architecture,
                    device,
                    LatencyCache(request.latency_cache, scale=request.scales.get(without_limits(spec))),
                    lock=self._lock,
                    num_classes=num_classes,
                    onnx_path=onnx_path,
                )

    def _train(self, dataset: Dataset) -> TrainResult:
        """Train and score the network, write its weights into the ONNX file that was measured, and draw what it finds."""
        request, input_hw, began = self._request, self._request.architecture.input_hw, time.perf_counter()
        torch.manual_seed(request.train.seed)
        network = build_network(request.architecture, num_classes=len(dataset.class_names))
        pretrained = load_pretrained(network, request.architecture)
        trained = train_network(
            network,
            dataset=dataset,
            anchors=choose_anchors(network, dataset.splits["train"], input_hw=input_hw),
            input_hw=input_hw,
            settings=request.train,
            report=self._report,
            work_dir=request.work_dir,
            resume=request.train.is_resumable,
            parent=self._read_parent(dataset),
            pretrained=() if request.is_shared else pretrained,  # shared weights learn at a rate of their own
            between_steps=self._lock.yield_to_measurement,
        )
        self._result = replace(
            self._result,
            ap=trained.ap,
            ap50=trained.ap50,
            per_class_ap=trained.per_class_ap,
            epochs=trained.epochs,
            fingerprint=dataset.fingerprint,
            precision=trained.precision,
            trained_on=trained.trained_on,
            inherited=0.0 if request.is_shared else trained.inherited,
            is_from_shared=request.is_shared,
            history=trained.history,
        )
        network.cpu()
        fill_weights(request.work_dir / ONNX_FILE, network)
        seconds = self._clock.seconds
        seconds["score"] += trained.seconds_score
        seconds["aside"] += trained.seconds_aside
        whole_s = trained.seconds_before + time.perf_counter() - began
        seconds["train"] += whole_s - trained.seconds_score - trained.seconds_aside
        if trained.state == "complete":
            with self._clock("score"):
                draw_detections(request.work_dir / DETECTIONS_FILE, network, dataset, decoding=trained.decoding)
        return trained

    def _read_parent(self, dataset: Dataset) -> Mapping[str, Tensor] | None:
        """Return the weights that the training begins with; None for the network's own."""
        request = self._request
        if request.parent is None:
            return None
        if request.is_shared:
            return starting_weights(request.parent, request.architecture, dataset, request.train)
        return read_checkpoint(request.parent).weights
