"""What an executor of a cluster makes of faults, without a cluster."""

import errno
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from search.cluster.connection import ClusterError, Resources
from search.cluster.devices import ClusterDevices
from search.cluster.ray_executor import RayExecutor, Stage, _Measuring, _Slot
from search.cluster.slot import Slot
from search.driver.executor import Finished, Lost, Progressed
from spaces import YoloRetError
from tests.search.driver.scripted import FEW, IDENTITY
from trials.latency import Latency
from trials.training import TrainSettings
from trials.trial_result import Measured, TrialRequest, TrialResult

REQUEST = TrialRequest(
    study_id="a study",
    number=3,
    architecture=FEW.skeletons[0],
    dataset="data",
    skip_broken=False,
    device="cpu",
    max_latency_ms=None,
    train=TrainSettings(),
    work_dir=Path("nowhere"),
    latency_cache=Path("latency.db"),
)


def make_executor(notes: list[str], slots: list[_Slot]) -> RayExecutor:
    executor = object.__new__(RayExecutor)  # without the cluster that its constructor asks for slots
    executor._notice, executor._slots, executor._grown = notes.append, slots, 0.0
    executor._waiting, executor._measuring = deque(), {}
    executor._stillborn, executor._fault, executor._barred, executor._unopened = 0, None, {}, Counter()
    return executor


def test_slots_that_end_while_they_start_are_told_once_and_refused_in_the_end() -> None:
    notes: list[str] = []
    executor = make_executor(notes, [])
    for number in range(1, 6):
        slot = _Slot(actor=None, stage="placing", reference=None)
        executor._slots.append(slot)
        error = ray.exceptions.RayActorError()
        error.args = ("The actor died.\nOSError: No space left on device",)
        if number < 5:
            assert executor._on_loss(slot, error) == []
            continue
        with pytest.raises(ClusterError, match="5 slots in a row ended while they started, the last one: "):
            executor._on_loss(slot, error)
    beside = _Slot(actor=None, stage="running", reference=None)
    healthy = make_executor([], [beside])
    for _ in range(9):  # a node with a full disk ends no run that trains on others
        slot = _Slot(actor=None, stage="placing", reference=None)
        healthy._slots.append(slot)
        assert healthy._on_loss(slot, error) == []
        assert healthy._grown == 0.0  # nor is another slot asked for at once
    barred = make_executor([], [_Slot(actor=None, stage="idle", reference=None, node="id of full")])
    barred._barred["id of full"] = "node full: No space left on device: /x"
    barred._stillborn = 4
    barred._slots.append(_Slot(actor=None, stage="placing", reference=None))
    with pytest.raises(ClusterError, match="5 slots in a row ended while they started"):
        barred._on_loss(barred._slots[-1], error)
    assert len(notes) == 1
    assert "a slot ended while it started, another one is tried" in notes[0]


def test_a_trial_whose_slot_opens_or_receives_the_data_gives_signs_of_life() -> None:
    """A copy of 100 GB takes longer than the driver allows a trial to be silent."""
    stages: tuple[Stage, ...] = ("starting", "receiving", "running")
    requests: list[Any] = [SimpleNamespace(number=number) for number in range(3)]
    slots = [
        _Slot(actor=None, stage=stage, reference=None, request=request, opened_at_s=time.monotonic())
        for stage, request in zip(stages, requests, strict=True)
    ]
    executor = make_executor([], [*slots, _Slot(actor=None, stage="idle", reference=None)])
    executor._lived = float("-inf")
    numbers = [event.number for event in executor._signs_of_life() if isinstance(event, Progressed)]
    assert numbers == [0, 1]  # what runs reports by itself
    assert executor._signs_of_life() == []  # not at every look
    executor._lived, slots[0].opened_at_s = float("-inf"), time.monotonic() - 13 * 3600  # it hangs: the driver ends it
    numbers = [event.number for event in executor._signs_of_life() if isinstance(event, Progressed)]
    assert numbers == [1]


def test_a_fault_comes_after_the_trials_that_ended_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = [_Slot(actor=None, stage="running", reference=name) for name in ("ended", "broken")]
    executor = make_executor([], slots)
    ended = Finished(number=3, result=TrialResult(state="complete", ap=0.5))

    def hear(slot: _Slot) -> list[Any]:
        if slot.reference == "broken":
            raise ClusterError("node b: it cannot")
        return [ended]

    for name in ("_grow", "_fill_slots"):
        monkeypatch.setattr(executor, name, lambda: None)
    monkeypatch.setattr(executor, "_signs_of_life", list[Lost])
    monkeypatch.setattr(executor, "_hear", hear)
    monkeypatch.setattr("ray.wait", lambda pending, **_: (pending, []))
    assert executor.events(timeout_s=0.0) == [ended]
    with pytest.raises(ClusterError, match="node b: it cannot"):
        executor.events(timeout_s=0.0)


def test_a_lost_connection_ends_the_run_and_its_end_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object, **__: object) -> None:
        raise ConnectionError("Client is shutting down.")

    request: Any = SimpleNamespace(
        number=3, device="cpu", also_measure=(), architecture=None, latency_cache=None, num_classes=1, scales={}
    )
    actor = SimpleNamespace(**{name: SimpleNamespace(remote=lose) for name in ("answer", "close")})
    running = _Slot(actor=actor, stage="running", reference="its answer", host="far", node="id of far", request=request)
    executor: Any = make_executor([], [running])
    executor._is_closed, executor._devices = False, SimpleNamespace(ask=lose)
    monkeypatch.setattr("ray.nodes", lose)
    ways: list[Callable[[], object]] = [
        lambda: executor.events(timeout_s=0.0),
        lambda: executor.capacity,
        lambda: executor.answer(3, go_on=True),
        lambda: executor.start(request),
    ]
    for way in ways:
        executor._grown = 0.0  # it looks at the cluster again, however short the last look is ago
        with pytest.raises(ClusterError, match=r"^the connection to the cluster is lost: Client is shutting down"):
            way()
    assert executor.close() == []
    assert executor.close() == []


def test_the_copy_of_a_parent_goes_with_its_trial(tmp_path: Path) -> None:
    slot = object.__new__(Slot)  # without the executor that its constructor starts
    slot._folder = tmp_path
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "result.json").write_text("{}")
    for name in ("parent-3", "parent-4"):
        (tmp_path / name).write_bytes(b"weights")
    assert slot.fetch(3) == {"result.json": b"{}"}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["parent-4"]


def test_a_node_with_a_full_disk_is_used_no_more_and_the_last_one_ends_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request: Any = SimpleNamespace(number=3, train=TrainSettings())
    slots = [
        _Slot(actor=None, stage="running", reference=None, host=host, node=f"id of {host}", request=request)
        for host in ("full", "full", "other")
    ]
    executor = make_executor([], slots)
    executor._is_closed = True  # so that it asks no cluster for slots
    monkeypatch.setattr(executor, "_fetch", lambda slot: None)
    full = Finished(
        number=3, result=TrialResult(state="failed", reason="No space left on device: /x", is_outside_fault=True)
    )
    reason = "node full: No space left on device: /x; it takes no further trial in this run"
    assert executor._hear_trial(slots[0], [full]) == [Lost(number=3, reason=reason)]
    assert executor.capacity == 2  # the slot on the other node, and one more
    executor._waiting.append(request)
    executor._fill_slots()
    assert (slots[0].stage, len(executor._waiting)) == ("idle", 1)
    (event,) = executor._hear_trial(slots[2], [full])
    assert isinstance(event, Finished)
    assert event.result.is_outside_fault
    assert event.result.reason == "node other: No space left on device: /x"


@pytest.mark.parametrize("stage", ["starting", "receiving", "running"])
def test_a_node_without_room_for_what_a_slot_writes_is_used_no_more_and_the_last_one_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    def refuse(reference: object) -> None:
        cause = (
            ValueError("by chance") if reference == "a fault of the program" else OSError(errno.ENOSPC, "No space left")
        )
        raise ray.exceptions.RayTaskError("start", f"Traceback …\n{type(cause).__name__}: {cause}", cause)

    monkeypatch.setattr("ray.get", refuse)
    notes: list[str] = []
    request: Any = SimpleNamespace(number=3)
    slots = [
        _Slot(actor=None, stage=stage, reference="its answer", host=host, node=f"id of {host}", request=request)
        for host in ("full", "full", "other")
    ]
    executor = make_executor(notes, slots)
    fault = "node full: OSError: [Errno 28] No space left"
    reason = f"{fault}; it takes no further trial in this run"
    if stage == "running":
        assert executor._hear(slots[0]) == [Lost(number=3, reason=reason)]
        assert (list(executor._waiting), notes) == ([], [])
    else:
        assert executor._hear(slots[0]) == []
        assert (list(executor._waiting), notes) == ([request], [f"{reason}, trial 3 waits for another one"])
    assert executor._barred == {"id of full": fault}
    assert (slots[0].stage, slots[0].request, slots[0].reference) == ("idle", None, None)
    slots[1].reference = "a fault of the program"
    with pytest.raises(ClusterError, match=r"^node full: ValueError: by chance"):
        executor._hear(slots[1])
    with pytest.raises(ClusterError, match=r"^node other: OSError: .* No space left"):
        executor._hear(slots[2])


@pytest.mark.parametrize(
    ("dataset", "has_copy", "cause"),
    [
        ("data", True, "node other-data cannot read dataset 'data' as this machine does"),
        ("voc", False, "node other-data: dataset 'voc' is not the same on every node of the cluster, and no folder to"),
    ],
)
def test_a_node_that_cannot_have_the_data_is_used_no_more_and_the_last_one_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, has_copy: bool, cause: str
) -> None:
    monkeypatch.chdir(tmp_path)  # nothing there is named as the dataset
    monkeypatch.setattr("ray.get", lambda reference: False)  # a slot's answer: it lacks the data
    notes: list[str] = []
    request: Any = SimpleNamespace(number=3, dataset=dataset, fingerprint="abc")
    lacks, other = (
        _Slot(actor=None, stage="starting", reference="its answer", host=host, node=f"id of {host}", has_copy=has_copy)
        for host in ("other-data", "other")
    )
    executor: Any = make_executor(notes, [lacks, other])
    executor._packed = {}
    lacks.request = request
    assert executor._hear(lacks) == []
    assert list(executor._waiting) == [request]
    assert (lacks.stage, lacks.request, list(executor._barred)) == ("idle", None, ["id of other-data"])
    (note,) = notes
    assert note.startswith(cause)
    assert note.endswith("; it takes no further trial in this run, trial 3 waits for another one")
    other.request = request
    with pytest.raises(ClusterError, match=cause.replace("other-data", "other")):
        executor._hear(other)


def make_growing(
    monkeypatch: pytest.MonkeyPatch, notes: list[str], hosts: Sequence[str], *, workers: int | None
) -> tuple[RayExecutor, set[str]]:
    """Make an executor with an idle slot on each of these hosts; it may ask for others. Return the living nodes, too."""
    slots = [_Slot(actor=None, stage="idle", reference=None, host=host, node=f"id of {host}") for host in hosts]
    alive = {slot.node for slot in slots}
    executor: Any = make_executor(notes, slots)
    executor._nodes = {slot.node: slot.host for slot in slots}
    executor._barred["id of full"] = "node full: No space left on device: /x"
    executor._workers, executor._each = workers, Resources(cpus=1, gpus=0)
    executor._is_closed, executor._away, executor._only_barred = False, None, None
    executor._devices = SimpleNamespace(missing_host=lambda: None)
    actor = SimpleNamespace(place=SimpleNamespace(remote=lambda: "its place"))
    made = SimpleNamespace(remote=lambda **_: actor)
    monkeypatch.setattr("ray.remote", lambda kind: SimpleNamespace(options=lambda **_: made))
    monkeypatch.setattr("ray.nodes", lambda: [{"NodeID": node, "Alive": True} for node in alive])
    return executor, alive


def look(executor: RayExecutor) -> int:
    """Return the capacity, after a look at the nodes."""
    executor._grown = float("-inf")
    return executor.capacity


@pytest.mark.parametrize("gpus", [0.0, 0.25])
def test_a_slot_is_told_whether_its_trials_have_a_gpu(monkeypatch: pytest.MonkeyPatch, gpus: float) -> None:
    executor: Any
    executor, _ = make_growing(monkeypatch, [], ["other"], workers=3)
    executor._each = Resources(cpus=1, gpus=gpus)
    told: list[bool] = []
    actor = SimpleNamespace(place=SimpleNamespace(remote=lambda: "its place"))

    def make(*, has_gpu: bool) -> SimpleNamespace:
        told.append(has_gpu)
        return actor

    made = SimpleNamespace(remote=make)
    monkeypatch.setattr("ray.remote", lambda kind: SimpleNamespace(options=lambda **_: made))
    look(executor)
    assert told == [gpus > 0] * 2


def test_so_many_workers_train_on_nodes_without_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, alive = make_growing(monkeypatch, [], ["full", "full", "other"], workers=3)
    for _ in range(2):
        assert look(executor) == 2  # the slot on the other node, and one more
        assert [slot.stage for slot in executor._slots] == ["idle"] * 3 + ["placing"] * 2
    alive.remove("id of full")
    look(executor)
    assert [slot.stage for slot in executor._slots] == ["idle", "placing", "placing"]


def test_as_many_slots_as_fit_include_those_on_a_living_node_with_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, alive = make_growing(monkeypatch, [], ["full", "full", "other"], workers=None)
    monkeypatch.setattr(
        "search.cluster.ray_executor.whole_cluster",
        lambda: Resources(cpus=1 + 2 * len(alive - {"id of other"}), gpus=0),
    )
    look(executor)
    assert [slot.stage for slot in executor._slots] == ["idle"] * 3 + ["placing"]
    alive.remove("id of full")
    alive.add("id of new")
    look(executor)
    assert [slot.stage for slot in executor._slots] == ["idle"] + ["placing"] * 3


def test_a_run_left_with_nodes_that_have_a_fault_waits_a_while_and_ends_with_the_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes: list[str] = []
    executor, alive = make_growing(monkeypatch, notes, ["full", "full", "other"], workers=3)
    request: Any = SimpleNamespace(number=3)
    executor._slots[1].request = request
    look(executor)
    alive.remove("id of other")
    assert look(executor) == 0
    assert notes == ["node other is gone, 0 take trials"]  # a trial still runs on the node with the fault
    executor._slots[1].request = None
    assert [look(executor), look(executor)] == [0, 0]
    waits = "only nodes with a fault are left, the search waits for another one: node full: No space left on device: /x"
    assert notes[1:] == [waits]
    executor._nodes["id of new"] = "new"
    alive.add("id of new")
    look(executor)
    assert executor._only_barred is None
    alive.remove("id of new")
    look(executor)
    assert notes[2:] == ["node new is gone, 0 take trials", waits]
    monkeypatch.setattr("search.cluster.ray_executor._AWAY_S", -1.0)
    with pytest.raises(ClusterError, match="node full: No space left on device: /x; no other node has come for "):
        look(executor)


def test_an_interrupted_training_goes_on_after_its_last_whole_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def giving(answer: object) -> SimpleNamespace:
        return SimpleNamespace(remote=lambda *arguments: answer)

    monkeypatch.setattr("ray.get", lambda reference, timeout=None: reference)
    actor: Any = SimpleNamespace(fetch=giving({"last.ckpt": b"three epochs"}), clean=giving(None))
    actor.start = SimpleNamespace(remote=lambda *arguments: arguments)
    request: Any = SimpleNamespace(number=3, parent=None, work_dir=tmp_path, train=TrainSettings(is_resumable=True))
    first, again = (_Slot(actor=actor, stage="running", reference=None, request=request) for _ in range(2))
    executor = make_executor([], [])
    assert executor._close(first, []) == []
    executor._start_in(again, request)
    assert again.reference == (request, None, b"three epochs")
    actor.fetch = giving({"result.json": b"{}"})
    ended = Finished(number=3, result=TrialResult(state="complete", ap=0.5))
    assert executor._hear_trial(again, [ended]) == [ended]
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_driver_s_checkpoint_stays_until_the_result_is_on_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_no_room(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    files = {"checkpoint.pt": b"weights", "result.json": b"{}"}
    monkeypatch.setattr("ray.get", lambda reference, timeout: reference)
    actor: Any = SimpleNamespace(fetch=SimpleNamespace(remote=lambda number: files))
    request: Any = SimpleNamespace(number=3, work_dir=tmp_path)
    slot = _Slot(actor=actor, stage="running", reference=None, request=request)
    (tmp_path / "last.ckpt").write_bytes(b"three epochs")
    executor = make_executor([], [slot])
    with monkeypatch.context() as full:
        full.setattr("search.cluster.ray_executor.whole_file", find_no_room)
        with pytest.raises(OSError, match="No space left"):
            executor._fetch(slot)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    executor._fetch(slot)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "result.json"}
    files["last.ckpt"] = b"four epochs"  # the training has failed since
    executor._fetch(slot)
    assert (tmp_path / "last.ckpt").read_bytes() == b"four epochs"


def test_what_has_no_slot_yet_can_be_withdrawn() -> None:
    requests: list[Any] = [SimpleNamespace(number=number) for number in range(3)]
    executor = make_executor([], [_Slot(actor=None, stage="running", reference=None, request=requests[0])])
    executor._waiting.append(requests[1])
    executor._measuring[2] = _Measuring(request=requests[2], references={})
    assert sorted(executor.withdraw()) == [1, 2]
    assert executor.withdraw() == []
    assert [slot.request for slot in executor._slots] == requests[:1]


def test_slots_that_end_while_they_open_the_data_are_told_once_and_lose_the_trial_in_the_end() -> None:
    notes: list[str] = []
    executor = make_executor(notes, [])
    request: Any = SimpleNamespace(number=3)
    events: list[Any] = []
    stages: tuple[Stage, ...] = ("starting", "receiving", "starting")
    for stage in stages:
        slot = _Slot(actor=None, stage=stage, reference=None, host="small", request=request)
        executor._slots.append(slot)
        executor._waiting.clear()
        events += executor._on_loss(slot, ray.exceptions.RayActorError(error_msg="The actor died.\nout of memory"))
        assert list(executor._waiting) == ([] if events else [request])
    reason = "3 slots ended while they opened its data, the last one on node small: out of memory"
    assert events == [Lost(number=3, reason=reason)]
    assert notes == ["a slot ended while it opened the data, trial 3 waits for another one: node small: out of memory"]


def test_slots_that_end_while_they_open_the_data_count_anew_after_a_loss_and_once_the_trial_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The training of shared weights keeps its number."""
    monkeypatch.setattr("ray.get", lambda reference: reference)
    executor = make_executor([], [])
    request: Any = SimpleNamespace(number=3)
    actor = SimpleNamespace(events=SimpleNamespace(remote=lambda wait_s: "its events"))

    def end_slot() -> list[Any]:
        slot = _Slot(actor=actor, stage="starting", reference=None, host="small", request=request)
        executor._slots.append(slot)
        return executor._on_loss(slot, ray.exceptions.RayActorError(error_msg="out of memory"))

    assert [len(end_slot()) for _ in range(6)] == [0, 0, 1, 0, 0, 1]
    assert [end_slot(), end_slot()] == [[], []]
    opened = _Slot(actor=actor, stage="starting", reference=True, request=request)
    assert executor._hear(opened) == []
    assert opened.stage == "running"
    assert [len(end_slot()) for _ in range(3)] == [0, 0, 1]


class Meters:
    """Devices whose measurements never end."""

    num_made, is_there = 0, False

    def ask(self, device: str, network: str, cache: Path, *, num_classes: int, scale: object) -> str:
        self.num_made += not self.is_there
        self.is_there = True
        return f"{network} by meter {self.num_made}"

    def end_meter(self, device: str) -> None:
        self.is_there = False


def test_a_measurement_that_hangs_is_silent_and_ends_with_its_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.wait", lambda references, **_: ([], references))
    executor: Any = make_executor([], [])
    executor._devices = Meters()

    def heard() -> list[int]:
        executor._lived = float("-inf")
        return [event.number for event in executor._signs_of_life()]

    for number in range(3):
        more = {"device": "nano", "also_measure": (), "latency_cache": Path("x.db"), "num_classes": 3, "scales": {}}
        executor.start(SimpleNamespace(number=number, architecture=f"network {number}", **more))
    assert heard() == [0, 1, 2]
    assert heard() == [1, 2]  # the first one is measured
    executor.kill(0)
    assert [one.references["nano"] for one in executor._measuring.values()] == [
        "network 1 by meter 2",
        "network 2 by meter 2",
    ]
    assert heard() == [2]
    executor.kill(2)  # it only waited
    assert executor._measuring[1].references["nano"] == "network 1 by meter 2"


def test_the_first_network_of_a_process_that_ended_is_lost_and_those_behind_it_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = Measured(latency=Latency(samples_ms=(1.0,), device=IDENTITY), opset=13, is_cached=False)

    def get(reference: str) -> Measured:
        if reference in ("network 0 by meter 1", "network 1 by meter 2"):
            return measured
        raise ray.exceptions.RayActorError(error_msg="The actor died.\nSIGSEGV")

    monkeypatch.setattr("ray.wait", lambda references, **_: (references, []))
    monkeypatch.setattr("ray.get", get)
    executor: Any = make_executor([], [])
    executor._is_closed, executor._devices = True, Meters()
    for number in (0, 2, 1):
        architecture: Any = f"network {number}"  # which the stand-ins take for one
        executor.start(replace(REQUEST, number=number, architecture=architecture, device="nano"))
    monkeypatch.setattr(executor, "_signs_of_life", list[Lost])
    reason = "the process that measured it on nano ended: SIGSEGV"
    assert executor.events(timeout_s=0.0) == [Lost(number=2, reason=reason)]
    assert [request.number for request in executor._waiting] == [0]
    assert executor.events(timeout_s=0.0) == []
    assert [(request.number, dict(request.measured)) for request in executor._waiting] == [
        (0, {"nano": measured}),
        (1, {"nano": measured}),
    ]


def test_a_fault_of_the_device_s_own_host_ends_the_run_with_its_name_and_bars_no_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    def get(reference: str) -> object:
        if "of a further device" in reference:
            return YoloRetError("it is away")
        raise ray.exceptions.RayTaskError("measure", f"Traceback …\nOSError: {full}", full)

    monkeypatch.setattr("ray.wait", lambda references, **_: (references, []))
    monkeypatch.setattr("ray.get", get)
    request: Any = SimpleNamespace(number=3, device="nano")
    idle = _Slot(actor=None, stage="idle", reference=None, host="innocent", node="id of innocent")
    executor: Any = make_executor([], [idle])
    executor._is_closed, executor._devices = True, ClusterDevices("bench", {})
    executor._measuring[3] = _Measuring(request=request, references={"cpu": "of a further device", "nano": "a network"})
    monkeypatch.setattr(executor, "_signs_of_life", list[Lost])
    assert executor.events(timeout_s=0.0) == []
    assert (list(executor._waiting), executor._barred) == ([], {})
    fault = r"(?m)^the host of device nano \(bench\) cannot measure: \[Errno 28\] No space left on device$"
    with pytest.raises(ClusterError, match=fault) as ended:
        executor.events(timeout_s=0.0)
    assert ended.value.hint == "remove the cause on that host, then run the same command again: it resumes"


def test_a_fault_of_the_host_is_a_note_for_a_further_device(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Measured(latency=Latency(samples_ms=(1.0,), device=IDENTITY), opset=13, is_cached=False)

    def get(reference: str) -> Measured:
        if reference == "a network":
            return measured
        raise ray.exceptions.RayTaskError("measure", "Traceback …\nOSError: no", OSError("no room"))

    monkeypatch.setattr("ray.get", get)
    executor: Any = make_executor([], [])
    executor._devices = ClusterDevices("bench", {})
    request = replace(REQUEST, device="nano", also_measure=("cpu",))
    references = {"nano": "a network", "cpu": "of a further device"}
    executor._measuring[3] = _Measuring(request=request, references=references)
    assert executor._hear_devices(3, list(references.values())) == []
    (waiting,) = executor._waiting
    assert waiting.measured["nano"] == measured
    assert str(waiting.measured["cpu"]) == "the host of device cpu (bench) cannot measure: no room"
    assert executor._fault is None


def test_a_slot_that_gives_no_file_hangs_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(reference: object, timeout: float | None = None) -> object:
        if timeout is not None:
            raise ray.exceptions.GetTimeoutError
        return [Finished(number=3, result=TrialResult(state="complete", ap=0.5))]

    killed: list[object] = []
    monkeypatch.setattr("ray.get", get)
    monkeypatch.setattr("ray.kill", killed.append)
    actor: Any = SimpleNamespace(fetch=SimpleNamespace(remote=lambda number: "its files"))
    request: Any = SimpleNamespace(number=3)
    slot = _Slot(actor=actor, stage="running", reference="its answer", host="far", node="id of far", request=request)
    executor = make_executor([], [slot])
    assert executor._hear(slot) == [Lost(number=3, reason="its node far, or its worker there, is gone")]
    assert (killed, executor._slots) == ([actor], [])


def test_the_end_of_a_hung_meter_does_not_wait_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver hears of no trial meanwhile; where the device's host is gone, the next one waits for it."""

    def wait_for_ever(reference: Any, timeout: float | None = None) -> None:
        raise AssertionError("it waits")

    next_meter = SimpleNamespace(measure=SimpleNamespace(remote=lambda network, *_, **__: f"{network} again"))
    monkeypatch.setattr("ray.wait", lambda references, **_: ([], references))
    monkeypatch.setattr("ray.get", wait_for_ever)
    killed: list[Any] = []
    monkeypatch.setattr("ray.kill", killed.append)
    monkeypatch.setattr("ray.cluster_resources", dict[str, float])  # the host is gone
    made = SimpleNamespace(remote=lambda device: next_meter)
    monkeypatch.setattr("ray.remote", lambda kind: SimpleNamespace(options=lambda **_: made))
    executor: Any = make_executor([], [])
    executor._devices = ClusterDevices("bench", {}, {"nano": "a meter that hangs"})
    for number in range(2):
        more = {"latency_cache": Path("latency.db"), "num_classes": 3, "scales": {}}
        request = SimpleNamespace(architecture=f"network {number}", **more)
        executor._measuring[number] = _Measuring(request=request, references={"nano": f"network {number}"})
    executor.kill(0)
    assert killed == ["a meter that hangs"]
    assert {number: one.references for number, one in executor._measuring.items()} == {1: {"nano": "network 1 again"}}
