"""One architecture from its ONNX to its score, and every way that can end."""

import dataclasses
import errno
import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image

from spaces import Architecture
from spaces.networks import build_network, count_macs, count_params
from spaces.weights import WEIGHTS_DIR, load_pretrained
from tests.trials.latency.locked import is_measuring, may_measure
from trials.data import Dataset, DatasetError, open_dataset
from trials.detections import Decoding
from trials.latency import (
    DeviceAwayError,
    DeviceError,
    DeviceIdentity,
    Latency,
    UnknownDeviceError,
    UnusableDeviceError,
)
from trials.latency.cache import LatencyCache, LatencyCacheError
from trials.latency.measurement_lock import MeasurementLock, machine_folder
from trials.onnx import UnsupportedNetworkError
from trials.onnx.export import ExportError, check_agreement
from trials.progress import Progress, ignore_progress
from trials.training import CHECKPOINT_FILE, TrainSettings, read_checkpoint
from trials.training.checkpoint import write_checkpoint
from trials.training.settings import LAST_FILE
from trials.trial import run_trial
from trials.trial_result import (
    ARCHITECTURE_FILE,
    DETECTIONS_FILE,
    ONNX_FILE,
    RESULT_FILE,
    TRACEBACK_FILE,
    DamagedFileError,
    Measured,
    TrialRequest,
    TrialResult,
    read_result,
    write_json,
    write_result,
)

ARCHITECTURE = Architecture(backbone="mobilenetv3_small_050", truncation=11, head="plain", head_width=32, input_size=64)
TRAIN = TrainSettings(epochs=1, batch_size=8, accelerator="cpu", num_threads=1, cache_mib=16)
IDENTITY = DeviceIdentity(kind="cpu", board="stand-in", backend="none", precision="fp32")

DECODING = Decoding(anchors=((((1.0, 1.0),),)), coding="yolov4", class_names=("cat",), input_hw=(64, 64))

MakeRequest = Callable[..., TrialRequest]


@dataclasses.dataclass
class StandInDevice:
    """A `Device` of 10 ms for every network."""

    name: str = "cpu"
    opset: int = 13
    known: DeviceIdentity = IDENTITY
    num_measured: int = 0
    num_closed: int = 0

    def identity(self) -> DeviceIdentity:
        return self.known

    def measure(self, onnx_path: Path) -> Latency:
        assert onnx_path.is_file()
        self.num_measured += 1
        return Latency(samples_ms=(9.0, 10.0, 12.0), device=self.known)

    def close(self) -> None:
        self.num_closed += 1


@pytest.fixture
def make_request(tmp_path: Path) -> MakeRequest:
    def make(**changes: Any) -> TrialRequest:
        values: dict[str, Any] = {
            "study_id": "a study",
            "number": 0,
            "architecture": ARCHITECTURE,
            "dataset": "shapes:train=16,val=8,size=64",
            "skip_broken": False,
            "device": "cpu",
            "max_latency_ms": None,
            "train": TRAIN,
            "work_dir": tmp_path / "trials" / "0000",
            "latency_cache": tmp_path / "latency.db",
        }
        return TrialRequest(**{**values, **changes})

    return make


def written(request: TrialRequest) -> TrialResult | None:
    """The result in the folder of a trial."""
    return read_result(request.work_dir, study_id=request.study_id, architecture=request.architecture)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> StandInDevice:
    """The device the test's trials measure on."""
    found = StandInDevice()
    monkeypatch.setattr("trials.trial.open_device", lambda spec, **options: found)
    return found


def test_a_trial_whose_folder_cannot_be_written_is_heard_of(make_request: MakeRequest, tmp_path: Path) -> None:
    (tmp_path / "trials").touch()
    result = run_trial(make_request(), ignore_progress)
    assert result.state == "failed"
    assert result.reason.endswith("trials/0000 cannot be written: Not a directory")


def test_what_was_measured_before_is_not_measured_again(make_request: MakeRequest, device: StandInDevice) -> None:
    known = Latency(samples_ms=(4.0, 5.0, 6.0), device=IDENTITY)
    away = DeviceError("it is away")
    result = run_trial(
        make_request(
            measured={"cpu": Measured(latency=known, opset=13, is_cached=True), "ssh://nano": away},
            also_measure=("ssh://nano",),
        ),
        ignore_progress,
    )
    assert (result.state, result.latency, result.is_latency_cached) == ("complete", known, True)
    assert result.notes == ("ssh://nano: it is away",)
    assert device.num_measured == 0


@pytest.mark.parametrize("kind", [DeviceAwayError, UnusableDeviceError, UnknownDeviceError])
def test_a_device_that_no_network_can_be_measured_on_is_no_trial_s_end(
    make_request: MakeRequest, device: StandInDevice, kind: type[DeviceError]
) -> None:
    request = make_request(measured={"cpu": kind("the board is away", hint="bring it back")})
    result = run_trial(request, ignore_progress)
    assert (result.state, result.reason, result.is_device_away) == ("failed", "the board is away (bring it back)", True)
    assert device.num_measured == 0
    assert written(request) is None  # it says nothing about the architecture, and is tried again


def test_other_data_than_the_run_s_are_an_outside_fault(make_request: MakeRequest, device: StandInDevice) -> None:
    right = open_dataset("shapes:train=16,val=8,size=64").fingerprint
    assert run_trial(make_request(fingerprint=right), ignore_progress).state == "complete"
    result = run_trial(make_request(fingerprint="another", number=1), ignore_progress)
    assert (result.state, result.is_outside_fault, result.ap) == ("failed", True, None)
    assert f"fingerprint {right}, was another" in result.reason


def test_a_trial_is_measured_on_the_cpu_trained_scored_and_written_down(make_request: MakeRequest) -> None:
    request, heard = make_request(), []

    def report(progress: Progress) -> bool:
        heard.append(progress)
        return True

    result = run_trial(request, report)
    assert (result.state, result.reason) == ("complete", "")
    assert result == written(request)
    network = build_network(ARCHITECTURE, num_classes=3)
    assert result.macs == count_macs(network, input_hw=(64, 64))
    assert result.params == count_params(network)
    assert result.latency is not None
    assert result.latency.device.kind == "cpu"
    assert result.ap is not None
    assert 0 <= result.ap <= 1
    assert [row[0] for row in result.history] == [1]
    assert all(result.seconds[phase] > 0 for phase in ("build", "measure", "train", "score"))
    assert not result.is_latency_cached

    phases = list(dict.fromkeys(progress.phase for progress in heard))
    assert phases[:3] == ["build", "measure", "train"]
    assert [one.latency_ms for one in heard if one.latency_ms is not None] == [result.latency.median_ms]
    assert [one.ap for one in heard if one.ap is not None] == [result.ap]

    names = {path.name for path in request.work_dir.iterdir()}
    assert names == {ARCHITECTURE_FILE, ONNX_FILE, CHECKPOINT_FILE, RESULT_FILE, DETECTIONS_FILE}
    with Image.open(request.work_dir / DETECTIONS_FILE) as picture:
        assert picture.format == "JPEG"
    stored = json.loads((request.work_dir / ARCHITECTURE_FILE).read_text(encoding="utf-8"))
    assert Architecture.from_dict(stored) == ARCHITECTURE
    # The very file whose latency was measured holds the weights that were scored.
    checkpoint = read_checkpoint(request.work_dir / CHECKPOINT_FILE)
    network.load_state_dict(dict(checkpoint.weights))
    check_agreement(network, request.work_dir / ONNX_FILE, input_hw=(64, 64))


def test_a_repeat_takes_the_latency_from_the_cache_and_comes_to_the_same(
    make_request: MakeRequest, device: StandInDevice, tmp_path: Path
) -> None:
    first = run_trial(make_request(), ignore_progress)
    again = run_trial(make_request(work_dir=tmp_path / "trials" / "0001"), ignore_progress)
    assert device.num_measured == 1
    assert device.num_closed == 2
    assert (first.is_latency_cached, again.is_latency_cached) == (False, True)
    assert again.latency == first.latency
    assert (again.ap, again.history) == (first.ap, first.history)


def test_what_misses_the_limit_is_never_trained(make_request: MakeRequest, device: StandInDevice) -> None:
    request = make_request(max_latency_ms=9.9)
    result = run_trial(request, ignore_progress)
    assert (result.state, result.reason) == ("infeasible", "10.00 ms is over the limit of 9.9 ms")
    assert result.latency is not None
    assert (result.ap, result.ap50, result.epochs, result.history) == (None, None, 0, ())
    assert result.macs
    assert result.seconds["train"] == 0
    assert not (request.work_dir / CHECKPOINT_FILE).exists()
    assert written(request) == result


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (DeviceError, "it is on fire"),
        (UnsupportedNetworkError, "it is on fire"),
        (ExportError, "it is on fire"),
        (RuntimeError, "RuntimeError: it is on fire (see traceback-elsewhere.txt in its folder)"),
        (OSError, "OSError: it is on fire (see traceback-elsewhere.txt in its folder)"),
    ],
)
def test_further_devices_are_measured_beside_it_and_one_that_cannot_is_a_note(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, error: type[Exception], note: str
) -> None:
    class Broken(StandInDevice):
        def measure(self, onnx_path: Path) -> Latency:
            raise error("it is on fire")

    other = dataclasses.replace(IDENTITY, board="other")
    devices = {"cpu": StandInDevice(), "cuda": StandInDevice(known=other), "ssh://board": Broken(known=other)}
    monkeypatch.setattr("trials.trial.open_device", lambda spec, **options: devices[spec])
    request = make_request(also_measure=("ssh://board", "cuda"))
    heard: list[Progress] = []

    def hear(progress: Progress) -> bool:
        heard.append(progress)
        return True

    result = run_trial(request, hear)
    assert result.state == "complete"
    assert [progress.phase for progress in heard].count("measure") == 4  # a sign of life before and after each device
    assert {spec: measured.device for spec, measured in result.also.items()} == {"cuda": other}
    assert result.notes == (f"ssh://board: {note}",)
    traceback = request.work_dir / "traceback-elsewhere.txt"
    assert traceback.exists() == ("traceback" in note)
    assert not traceback.exists() or "in measure" in traceback.read_text()
    assert result.latency is not None
    assert result.latency.device == IDENTITY
    assert [device.num_closed for device in devices.values()] == [1, 1, 1]
    assert {path.name for path in request.work_dir.glob("*.onnx")} == {ONNX_FILE}
    assert written(request) == result


def test_a_device_that_became_another_one_fails_the_trial(make_request: MakeRequest, device: StandInDevice) -> None:
    assert run_trial(make_request(device_key=IDENTITY.key, max_latency_ms=1.0), ignore_progress).state == "infeasible"
    device.known = dataclasses.replace(IDENTITY, settings={"power_mode": "5W"})
    request = make_request(device_key=IDENTITY.key, number=1)
    result = run_trial(request, ignore_progress)
    assert (result.state, result.is_device_away) == ("failed", True)
    assert (
        "device cpu has changed since the study began, it is now stand-in · none · fp32, power_mode 5W" in result.reason
    )
    assert result.latency is None  # it holds for another device than the study's


@pytest.mark.parametrize("is_measured_before", [False, True])
def test_a_further_device_that_became_another_one_is_a_note(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, is_measured_before: bool
) -> None:
    """On a cluster its host has measured before the trial begins."""
    first = dataclasses.replace(IDENTITY, board="other")
    devices = {"cpu": StandInDevice(), "cuda": StandInDevice(known=first)}
    monkeypatch.setattr("trials.trial.open_device", lambda spec, **options: devices[spec])
    also = {"also_measure": ("cuda",), "also_keys": {"cuda": first.key}}
    assert run_trial(make_request(**also), ignore_progress).also["cuda"].device == first
    now = dataclasses.replace(first, settings={"clock": "at most 1410 MHz"})
    devices["cuda"].known = now
    if is_measured_before:
        latency = Latency(samples_ms=(4.0,), device=now)
        also["measured"] = {"cuda": Measured(latency=latency, opset=13, is_cached=False)}
    result = run_trial(make_request(number=1, **also), ignore_progress)
    assert (result.state, result.also) == ("complete", {})
    assert result.notes == (
        "cuda: device cuda has changed since the study began, it is now other · none · fp32, clock at most 1410 MHz",
    )


def test_a_further_device_is_recorded_without_its_time_limits(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may change within a study, and make it no other device."""
    limited = "ssh://nano?build_limit_s=4800"
    known = dataclasses.replace(IDENTITY, board="nano")
    devices = {"cpu": StandInDevice(), limited: StandInDevice(known=known)}
    monkeypatch.setattr("trials.trial.open_device", lambda spec, **options: devices[spec])
    also = {"also_measure": (limited,), "also_keys": {"ssh://nano": known.key}}
    result = run_trial(make_request(**also), ignore_progress)
    assert {spec: latency.device for spec, latency in result.also.items()} == {"ssh://nano": known}
    also["also_keys"] = {"ssh://nano": IDENTITY.key}
    assert run_trial(make_request(number=1, **also), ignore_progress).also == {}


@pytest.mark.usefixtures("own_locks")
@pytest.mark.parametrize("lets_go", [True, False])
def test_no_training_begins_without_the_measurement_lock_that_a_further_device_s_measurement_lost(
    make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, lets_go: bool
) -> None:
    """Another process measures for longer than this one waits for it, and ends afterwards, or not."""
    asking = ExitStack()

    class Elsewhere(StandInDevice):
        def close(self) -> None:
            if lets_go:
                asking.close()

    def open_device(spec: str, **options: object) -> StandInDevice:
        if spec == "cpu":
            return StandInDevice()
        other = asking.enter_context((machine_folder() / "yoloret-nas-measurement-request.lock").open())
        fcntl.flock(other, fcntl.LOCK_EX)
        return Elsewhere(known=dataclasses.replace(IDENTITY, board="other"))

    monkeypatch.setattr("trials.trial.open_device", open_device)
    monkeypatch.setattr("trials.trial.MeasurementLock", partial(MeasurementLock, patience_s=0.1))
    held: list[bool] = []

    def hear(progress: Progress) -> bool:
        if progress.phase == "train" and progress.ap is None:
            held.append(not may_measure())
        return True

    with asking:
        request = make_request(also_measure=("cuda",))
        result = run_trial(request, hear)
    (note,) = result.notes
    assert note.startswith("cuda: this machine is not free: another process measures on it")
    assert (result.state, result.is_device_away) == (("complete", False) if lets_go else ("failed", True))
    assert written(request) == (result if lets_go else None)
    assert all(held)
    assert bool(held) == lets_go


@pytest.mark.usefixtures("own_locks")
def test_a_trial_measures_alone_on_the_machine(make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only among the trials of its folder."""

    class Watchful(StandInDevice):
        def measure(self, onnx_path: Path) -> Latency:
            assert is_measuring()
            return super().measure(onnx_path)

    monkeypatch.setattr("trials.trial.open_device", lambda spec, **options: Watchful())
    result = run_trial(make_request(max_latency_ms=1.0), ignore_progress)
    assert (result.state, result.reason) == ("infeasible", "10.00 ms is over the limit of 1 ms")


@pytest.mark.usefixtures("own_locks")
def test_a_training_pauses_at_its_next_step_for_a_measurement_once_its_gpu_has_finished(
    make_request: MakeRequest, device: StandInDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr("trials.trial._finish_on_gpu", lambda: order.append("finished on GPU"))
    begun, asks = threading.Event(), threading.Event()

    def measure() -> None:
        begun.wait(60.0)
        with MeasurementLock().shared() as lock:
            asks.set()
            with lock.exclusive():
                order.append("measured")

    def hear(progress: Progress) -> bool:
        if progress.phase == "train" and progress.step == 1:
            order.append("step 1")
            begun.set()
            asks.wait(60.0)
            time.sleep(0.1)  # in which it asks: the trial's next step is to see it
        elif progress.ap is not None:
            order.append("scored")
        return True

    monkeypatch.setattr("trials.training.epoch_reports.REPORT_EVERY_S", 0.0)
    measuring = threading.Thread(target=measure, daemon=True)
    measuring.start()
    result = run_trial(make_request(), hear)  # two steps, after which it is scored
    measuring.join(60.0)
    at_pause, before_report = "finished on GPU", "finished on GPU"  # of a score it waits without the lock
    assert order[order.index("step 1") : order.index("scored")] == ["step 1", at_pause, "measured", before_report]
    assert result.seconds["aside"] > 0


@pytest.mark.usefixtures("own_locks")
def test_an_answer_is_awaited_without_the_measurement_lock(make_request: MakeRequest, device: StandInDevice) -> None:
    def answer(progress: Progress) -> bool:
        if progress.ap is not None:  # the driver measures a candidate before it answers
            with MeasurementLock().shared() as driver, driver.exclusive():
                pass
        return True

    ended: list[TrialResult] = []
    trial = threading.Thread(target=lambda: ended.append(run_trial(make_request(), answer)), daemon=True)
    trial.start()
    trial.join(60.0)
    assert [result.state for result in ended] == ["complete"], "the trial and its driver wait for each other"


def test_what_just_meets_the_limit_is_trained(make_request: MakeRequest, device: StandInDevice) -> None:
    assert run_trial(make_request(max_latency_ms=10.0), ignore_progress).state == "complete"


def test_an_answer_of_no_prunes(make_request: MakeRequest, device: StandInDevice) -> None:
    request = make_request(train=dataclasses.replace(TRAIN, epochs=3))
    result = run_trial(request, lambda progress: progress.ap is None)
    assert (result.state, result.reason) == ("pruned", "stopped after epoch 1 of 3")
    assert result.epochs == 1
    assert result.trained_on.startswith("CPU, ")
    assert result.ap is not None
    assert result.latency is not None


def test_a_loss_that_is_no_number_fails_with_the_reason(make_request: MakeRequest, device: StandInDevice) -> None:
    train = dataclasses.replace(TRAIN, epochs=9, learning_rate=1e30, warmup_epochs=0.0, clip_norm=0.0)
    request = make_request(train=dataclasses.replace(train, is_resumable=True))
    result = run_trial(request, ignore_progress)
    assert result.state == "failed"
    assert result.reason.startswith("the loss is ")
    assert "lower the learning rate" in result.reason
    assert (result.ap, result.latency is not None) == (None, True)  # what is known is kept
    assert not (request.work_dir / CHECKPOINT_FILE).exists()
    assert not (request.work_dir / LAST_FILE).exists()  # from there it would diverge again
    assert not (request.work_dir / TRACEBACK_FILE).exists()
    assert written(request) == result


def test_the_last_checkpoint_stays_until_a_training_is_complete(
    make_request: MakeRequest, device: StandInDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request(train=dataclasses.replace(TRAIN, epochs=3, is_resumable=True))

    def run_out(progress: Progress) -> bool:
        if progress.epoch == 2 and progress.ap is not None:
            raise RuntimeError("no memory")
        return True

    assert run_trial(request, run_out).state == "failed"
    assert (request.work_dir / LAST_FILE).is_file()
    seen: list[int] = []

    def look_on(progress: Progress) -> bool:
        seen.append(progress.epoch)
        return True

    resumed = run_trial(request, look_on)
    assert (resumed.state, min(epoch for epoch in seen if epoch)) == ("complete", 2)
    assert not (request.work_dir / LAST_FILE).exists()


def test_an_error_of_ours_is_a_failed_trial_with_its_words(make_request: MakeRequest) -> None:
    request = make_request(architecture=ARCHITECTURE.replace(truncation=10_000))
    result = run_trial(request, ignore_progress)
    assert (result.state, result.is_device_away) == ("failed", False)
    assert "is too large" in result.reason
    assert result.latency is None
    assert not (request.work_dir / "traceback.txt").exists()
    assert written(request) == result


def raising(error: Exception) -> Callable[..., Any]:
    """Give a function that raises this."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    return fail


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.onnx")


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("open_dataset", DatasetError("a.png: the image cannot be read", hint="repair it"), "a.png: .* (repair it)"),
        ("choose_anchors", DatasetError("a.png: the image cannot be read"), "a.png: the image cannot be read"),
        ("measure_architecture", FULL, "No space left on device: model.onnx"),
        ("measure_architecture", LatencyCacheError("latency.db cannot be used"), "latency.db cannot be used"),
        ("write_result", FULL, ".* cannot be written: No space left on device"),
    ],
)
def test_a_fault_of_data_or_machine_is_no_trial_s_end(
    make_request: MakeRequest,
    device: StandInDevice,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: Exception,
    reason: str,
) -> None:
    monkeypatch.setattr(f"trials.trial.{name}", raising(error))
    request = make_request()
    result = run_trial(request, ignore_progress)
    assert (result.state, result.is_outside_fault) == ("failed", True)
    assert re.fullmatch(reason.replace("(", r"\(").replace(")", r"\)"), result.reason)
    assert written(request) is None


def test_a_disk_that_is_full_of_weights_is_an_error_of_the_system(tmp_path: Path) -> None:
    """Written by torch itself, it would be a RuntimeError of an internal check."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    (tmp_path / "checkpoint.partial.pt").symlink_to("/dev/full")
    network = build_network(ARCHITECTURE, num_classes=1)
    with pytest.raises(OSError, match="No space left on device"):
        write_checkpoint(tmp_path / "checkpoint.pt", network, DECODING)


def test_samples_that_do_not_decode_are_left_out(make_request: MakeRequest, device: StandInDevice) -> None:
    seen: list[int] = []

    def count(network: Any, *, dataset: Dataset, **_: object) -> None:
        seen.extend(len(samples) for samples in dataset.splits.values())
        raise DatasetError("that is all")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trials.trial.train_network", count)
        run_trial(make_request(broken_images=("shapes/train/0", "shapes/val/3")), ignore_progress)
    assert seen == [15, 7]


@pytest.mark.parametrize("skip_broken", [True, False])
def test_a_broken_annotation_is_left_out_where_it_may_be(
    make_request: MakeRequest, device: StandInDevice, write_voc: Callable[..., Path], skip_broken: bool
) -> None:
    names = [f"{split}{index}" for split in ("train", "val") for index in range(3)]
    splits = {split: [name for name in names if name.startswith(split)] for split in ("train", "val")}
    folder = write_voc({name: [("cat", 5, 5, 40, 40)] for name in names}, splits=splits)
    (folder / "Annotations" / "train1.xml").write_text("<annotation>")
    result = run_trial(make_request(dataset=str(folder), skip_broken=skip_broken), ignore_progress)
    assert (result.state, result.is_outside_fault) == (("complete", False) if skip_broken else ("failed", True))
    assert ("train1.xml" in result.reason) != skip_broken


def test_out_of_memory_is_a_failed_trial_with_its_reason(
    make_request: MakeRequest, device: StandInDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_memory(*args: object, **kwargs: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr("trials.training.losses.anchored_loss.DetectionLoss.forward", fill_memory)
    result = run_trial(make_request(), ignore_progress)
    assert result.state == "failed"
    assert "memory" in result.reason
    assert "DefaultCPUAllocator" not in result.reason


def test_what_nobody_foresaw_is_a_failed_trial_with_its_traceback(
    make_request: MakeRequest, device: StandInDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trials.trial.choose_anchors", lambda *args, **kwargs: 1 / 0)
    request = make_request()
    result = run_trial(request, ignore_progress)
    assert result.state == "failed"
    assert result.reason == "ZeroDivisionError: division by zero (see traceback.txt in its folder)"
    assert "choose_anchors" in (request.work_dir / "traceback.txt").read_text(encoding="utf-8")


def test_an_interrupt_passes_through_and_leaves_no_result(make_request: MakeRequest, device: StandInDevice) -> None:
    def interrupt(progress: Progress) -> bool:
        raise KeyboardInterrupt

    request = make_request()
    with pytest.raises(KeyboardInterrupt):
        run_trial(request, interrupt)
    assert written(request) is None


def test_the_onnx_of_a_pruned_trial_holds_its_weights_too(make_request: MakeRequest, device: StandInDevice) -> None:
    request = make_request(train=dataclasses.replace(TRAIN, epochs=2))
    run_trial(request, lambda progress: progress.ap is None)
    assert not (request.work_dir / DETECTIONS_FILE).exists()
    network = build_network(ARCHITECTURE, num_classes=3).eval()
    network.load_state_dict(dict(read_checkpoint(request.work_dir / CHECKPOINT_FILE).weights))
    image = torch.rand(1, 3, 64, 64)
    session = onnxruntime.InferenceSession(str(request.work_dir / ONNX_FILE), providers=["CPUExecutionProvider"])
    theirs = session.run(["s8"], {"images": image.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(network(image)[0].numpy(), theirs, atol=1e-3)


def test_the_cache_is_where_the_request_says(make_request: MakeRequest, device: StandInDevice, tmp_path: Path) -> None:
    request = make_request(max_latency_ms=1.0)
    run_trial(request, ignore_progress)
    assert LatencyCache(tmp_path / "latency.db").get(request.work_dir / ONNX_FILE, IDENTITY) is not None


def test_a_latency_is_brought_to_the_scale_in_the_request(make_request: MakeRequest, device: StandInDevice) -> None:
    device.known = dataclasses.replace(IDENTITY, settings={"threads": "1"})
    timed = {"device": device.known, "is_reference_in_turn": True}
    device.measure = lambda path: Latency(samples_ms=(13.0,), reference_ms=13.0, **timed)
    first = Latency(samples_ms=(4.0,), reference_ms=12.0, slowdown=1.2, **timed)
    result = run_trial(make_request(max_latency_ms=1.0, scales={"cpu": first}), ignore_progress)
    assert result.latency is not None
    assert result.latency.median_ms == pytest.approx(10.0)
    assert result.reason == "10.00 ms is over the limit of 1 ms"


# --- results ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [
        TrialResult(state="failed", reason="ü"),
        TrialResult(
            state="complete",
            latency=Latency(samples_ms=(1.0, 2.0), device=IDENTITY, notes=("odd",), before={"gpu_mhz": 9.0}),
            ap=0.25,
            ap50=0.5,
            per_class_ap={"circle": 0.25},
            macs=5,
            params=6,
            epochs=2,
            history=((1, 0.5, None, None), (2, 0.25, 0.25, 0.5)),
            seconds={"train": 1.5},
            is_latency_cached=True,
        ),
    ],
    ids=lambda result: result.state,
)
def test_results_round_trip_through_their_file(tmp_path: Path, result: TrialResult) -> None:
    assert read_result(tmp_path, study_id="1", architecture=ARCHITECTURE) is None
    write_result(tmp_path, result, study_id="1", architecture=ARCHITECTURE)
    assert read_result(tmp_path, study_id="1", architecture=ARCHITECTURE) == result
    assert [path.name for path in tmp_path.iterdir()] == [RESULT_FILE]


def test_a_further_device_s_time_limits_are_no_part_of_its_name_in_results_of_earlier_versions() -> None:
    limited = TrialResult(
        state="complete", also={"ssh://orin?run_limit_s=60&trtexec=/opt/t": Latency(samples_ms=(1.0,), device=IDENTITY)}
    )
    assert list(TrialResult.from_dict(limited.to_dict()).also) == ["ssh://orin?trtexec=/opt/t"]


def test_a_result_of_another_study_or_architecture_is_not_read(tmp_path: Path) -> None:
    write_result(tmp_path, TrialResult(state="complete", ap=0.9), study_id="1", architecture=ARCHITECTURE)
    assert read_result(tmp_path, study_id="2", architecture=ARCHITECTURE) is None
    assert read_result(tmp_path, study_id="1", architecture=ARCHITECTURE.replace(head_width=48)) is None
    write_json(tmp_path / RESULT_FILE, TrialResult(state="complete", ap=0.9).to_dict())  # of no study
    assert read_result(tmp_path, study_id="1", architecture=ARCHITECTURE) is None


def test_what_starts_from_imagenet_weights_learns_at_its_own_rate(
    make_request: MakeRequest, device: StandInDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(timm.create_model(ARCHITECTURE.backbone).state_dict(), tmp_path / f"{ARCHITECTURE.backbone}.pth")
    monkeypatch.setenv(WEIGHTS_DIR, str(tmp_path))
    steps = []
    train = dataclasses.replace(TRAIN, learning_rate=1e-2, transfer_rate=1e-9, warmup_epochs=0.0, ema_decay=0.0)
    for transfer in (0, 4):
        torch.manual_seed(train.seed)
        before = build_network(ARCHITECTURE, num_classes=3)
        architecture = ARCHITECTURE.replace(transfer=transfer)
        load_pretrained(before, architecture)
        request = make_request(architecture=architecture, train=train, work_dir=tmp_path / str(transfer))
        run_trial(request, report=ignore_progress)
        after = read_checkpoint(request.work_dir / CHECKPOINT_FILE).weights
        change = {name: (after[name] - value).abs().max() for name, value in before.named_parameters()}
        steps.append([change[f"backbone.blocks.{index}.bn1.weight"] for index in range(6)])
    assert min(steps[0]) > 1e-4
    assert max(steps[1][:4]) < 1e-6
    assert min(steps[1][4:]) > 1e-4
    parent = tmp_path / "4" / CHECKPOINT_FILE
    request = make_request(architecture=architecture, train=train, work_dir=tmp_path / "heir", parent=parent)
    run_trial(request, report=ignore_progress)
    given, after = (read_checkpoint(one).weights for one in (parent, request.work_dir / CHECKPOINT_FILE))
    names = [f"backbone.blocks.{index}.bn1.weight" for index in range(6)]
    steps.append([(after[name] - given[name]).abs().max() for name in names])
    assert max(steps[2][:4]) < 1e-6  # inherited, it came from ImageNet all the same
    assert min(steps[2][4:]) > 1e-4


def test_a_trial_starts_from_the_weights_of_its_parent(make_request: MakeRequest, device: StandInDevice) -> None:
    first = make_request()
    assert run_trial(first, ignore_progress).inherited == 0.0
    longer = ARCHITECTURE.replace(head_width=48)
    still = dataclasses.replace(TRAIN, learning_rate=1e-12, ema_decay=0.0)  # it stays where it begins
    second = make_request(
        number=1,
        architecture=longer,
        parent=first.work_dir / CHECKPOINT_FILE,
        train=still,
        work_dir=first.work_dir.with_name("0001"),
    )
    result = run_trial(second, ignore_progress)
    assert 0.3 < result.inherited < 1
    assert written(second) == result
    given, taken = (read_checkpoint(one.work_dir / CHECKPOINT_FILE).weights for one in (first, second))
    stem = "backbone.stem.0.weight"
    assert stem in given
    assert torch.allclose(given[stem], taken[stem], atol=1e-9)


@pytest.mark.parametrize("content", ['{"state": "comp', "[]"], ids=["cut off", "no mapping"])
def test_a_damaged_result_is_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / RESULT_FILE).write_text(content)
    with pytest.raises(DamagedFileError, match=r"result\.json is damaged") as refused:
        read_result(tmp_path, study_id="one", architecture=ARCHITECTURE)
    assert f"rm {tmp_path / RESULT_FILE}" in refused.value.hint
