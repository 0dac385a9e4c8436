"""An `Executor` on a Ray cluster: slots on the nodes that train, a device's host that measures ahead of them.

A trial goes through three stages here: it is measured (by the device's `Meter`), it waits for a slot, it runs in a `Slot`
with its latency known. So the device measures the next networks while others train, and one more trial than there are slots
is started for that.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Literal

from search.cluster.connection import ClusterError, Resources, last_line, named_losses, whole_cluster
from search.cluster.devices import ClusterDevices
from search.cluster.node_data import pack
from search.cluster.slot import Files, Place, Slot
from search.driver.executor import Event, Finished, Lost, Progressed
from search.driver.watchdog import MIN_SILENCE_S
from spaces import YoloRetError
from trials.data import DatasetError
from trials.latency.open_device import without_limits
from trials.progress import Progress
from trials.training.settings import LAST_FILE
from trials.trial_result import RESULT_FILE, Measured, TrialRequest
from trials.whole_file import whole_file

_POLL_S = 2.0
"""How long a slot waits for an event before it is asked again."""
_GROW_EVERY_S = 5.0
_PLACING_S = 20.0
_LONGEST_OPENING_S = 12 * 3600.0
"""Opening the data, or a copy of them, may take so long; a slot that is silent for longer hangs."""
_SIGN_OF_LIFE_S = 60.0
"""Trials that wait for the device or for a slot are not silent, for the driver; one that the device measures is."""
_AWAY_S = 900.0
"""How long the device's host may be gone, or all nodes without a fault: a machine starts again meanwhile."""
_CLOSING_S = 15.0
_MOST_STILLBORN = 5
"""Slots in a row that end while they start, and so end a run that has no other slot: what ends one, a full disk for
example, ends the next."""
_MOST_UNOPENED = 3
"""Slots that end while they open the data for one trial before it counts as lost: they may run out of memory each time."""

Notice = Callable[[str], None]


Stage = Literal["placing", "idle", "starting", "receiving", "running"]
"""Of a slot: until a node has room for it, without a trial, opening the data, taking a copy of them, with a trial."""


@dataclass(kw_only=True)
class _Slot:
    actor: Any
    stage: Stage
    reference: Any
    """What it will answer next; None if it is idle."""
    host: str = ""
    node: str = ""
    """Ray's id of it."""
    has_copy: bool = False
    """Whether it was sent a copy of the dataset."""
    request: TrialRequest | None = None
    """The trial that it starts or runs."""
    opened_at_s: float = 0.0
    """When it was given the trial."""


@dataclass(kw_only=True)
class _Measuring:
    request: TrialRequest
    references: dict[str, Any]
    """Device to the measurement under way."""
    measured: dict[str, Measured | YoloRetError] = field(default_factory=dict)
    """Device to what it has answered."""
    is_told: bool = False
    """Whether the driver knows that it is at its measurement."""


class RayExecutor:
    """Runs trials in slots on the nodes of a cluster, to which this process is connected.

    Args:
        devices: Where latency is measured.
        each: What a trial takes of a node.
        workers: Trials at once; None for as many as the cluster has room for, nodes that join later included.
        notice: Called with notes for the user: nodes that join, leave, or take a copy of the data.
    """

    def __init__(
        self,
        *,
        devices: ClusterDevices,
        each: Resources,
        workers: int | None = None,
        notice: Notice = lambda note: None,
    ) -> None:
        self._devices, self._each, self._workers, self._notice = devices, each, workers, notice
        self._slots: list[_Slot] = []
        self._measuring: dict[int, _Measuring] = {}
        self._waiting: deque[TrialRequest] = deque()
        self._packed: dict[str, tuple[str, list[Any]]] = {}
        """Fingerprint to a dataset's place in its folder, and references to the chunks of its archive."""
        self._nodes: dict[str, str] = {}
        """Ray's id of each node that takes trials to its name."""
        self._barred: dict[str, str] = {}
        """Ray's id of each node that takes no further trial to its fault, which ended one."""
        self._only_barred: float | None = None
        """Since when no other node is left, of `time.monotonic`."""
        self._away: float | None = None
        """When the device's host was first missed, of `time.monotonic`."""
        self._grown = self._lived = float("-inf")
        self._stillborn = 0
        """Slots in a row that ended while they started."""
        self._unopened: Counter[int] = Counter()
        """Trial to slots that ended while they opened the data for it."""
        self._fault: ClusterError | None = None
        """Found beside events that come first: the driver must hear of trials that have ended."""
        self._is_closed = False
        with named_losses():
            self._await_slots()

    @property
    @named_losses()
    def capacity(self) -> int:
        """Slots on nodes that take trials, and one more trial, which is measured meanwhile."""
        self._grow()
        placed = sum(map(self._is_usable, self._slots))
        return placed + 1 if placed else 0

    @named_losses()
    def start(self, request: TrialRequest) -> None:
        """Have a trial measured; it gets a slot afterwards."""
        references = {device: self._measure(request, device) for device in (request.device, *request.also_measure)}
        self._measuring[request.number] = _Measuring(request=request, references=references)

    @named_losses()
    def events(self, *, timeout_s: float) -> Sequence[Event]:
        """Wait for measurements and slots.

        Raises:
            ClusterError: a node cannot run trials of this run, or the connection is lost.
        """
        import ray

        if self._fault is not None:
            raise self._fault
        self._grow()
        self._fill_slots()
        events = self._signs_of_life()
        by_reference = {slot.reference: slot for slot in self._slots if slot.reference is not None}
        measuring = [reference for one in self._measuring.values() for reference in one.references.values()]
        if not (pending := [*by_reference, *measuring]):
            time.sleep(timeout_s)
            return events
        ray.wait(pending, num_returns=1, timeout=timeout_s, fetch_local=False)
        ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=False)
        for reference in ready:
            if reference in by_reference:
                events += self._hear_or_note(by_reference[reference])
        for number in list(self._measuring):
            events += self._hear_devices(number, ready)
        self._fill_slots()
        return events

    @named_losses()
    def answer(self, number: int, *, go_on: bool) -> None:
        """Answer a score; a slot that was lost meanwhile shows in the next events."""
        for slot in self._slots_of(number):
            slot.actor.answer.remote(number, go_on)
            slot.reference = slot.actor.events.remote(_POLL_S)

    def withdraw(self) -> Sequence[int]:
        """Forget the trials that are only measured, or wait for a slot."""
        numbers = [*self._measuring, *(request.number for request in self._waiting)]
        self._measuring.clear()
        self._waiting.clear()
        return numbers

    @named_losses()
    def kill(self, number: int) -> None:
        """Forget a trial, and end the slot or the actor of a device that it keeps; another one takes its place."""
        import ray

        hung = [device for device, head in self._heads(self._unanswered()).items() if head == number]
        self._measuring.pop(number, None)
        for device in hung:
            self._measure_anew(device)
        self._waiting = deque(one for one in self._waiting if one.number != number)
        for slot in self._slots_of(number):
            ray.kill(slot.actor)
            self._drop(slot)

    def close(self) -> Sequence[Finished]:
        """End all slots; return the trials that had ended; none where the connection is lost, since the cluster ends all."""
        slots, self._slots, self._is_closed = self._slots, [], True
        try:
            with named_losses():
                return self._close_all(slots)
        except ClusterError:
            return []

    def _close_all(self, slots: Sequence[_Slot]) -> list[Finished]:
        import ray

        closing = {slot.actor.close.remote(): slot for slot in slots if slot.stage != "placing"}
        ready, _ = ray.wait(list(closing), num_returns=len(closing), timeout=_CLOSING_S) if closing else ([], [])
        ended = [event for reference in ready for event in self._close(closing[reference], reference)]
        for slot in slots:
            ray.kill(slot.actor)
        return ended

    def _grow(self) -> None:
        """Ask for the slots that are missing; those without a node yet wait, which also tells Ray's autoscaler."""
        import ray

        if self._is_closed or time.monotonic() - self._grown < _GROW_EVERY_S:
            return
        self._grown = time.monotonic()
        self._look_around()
        # The slots on barred nodes stay: they hold the room there, so that no other one comes to be in it.
        num_barred = sum(slot.node in self._barred for slot in self._slots)
        # One more than fit: as long as it waits, Ray's autoscaler looks for another node.
        wanted = self._workers + num_barred if self._workers else self._each.fit_into(whole_cluster()) + 1
        options = {"num_cpus": self._each.cpus, "num_gpus": self._each.gpus, "scheduling_strategy": "SPREAD"}
        while len(self._slots) < wanted:
            actor = ray.remote(Slot).options(**options).remote(has_gpu=self._each.gpus > 0)
            self._slots.append(_Slot(actor=actor, stage="placing", reference=actor.place.remote()))

    def _look_around(self) -> None:
        """Say which nodes are gone.

        Raises:
            ClusterError: the device's host is gone for too long, or all nodes but those with a fault are.
        """
        import ray

        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        for node in [node for node in self._nodes if node not in alive]:
            host = self._nodes.pop(node)
            # Of an idle slot on a barred node nothing is asked, so its end would never be heard.
            self._slots = [slot for slot in self._slots if slot.node != node or slot.stage != "idle"]
            self._notice(f"node {host} is gone, {sum(one not in self._barred for one in self._nodes)} take trials")
        self._check_barred()
        resource = self._devices.missing_host()
        if resource is None:
            if self._away is not None:
                self._notice("the host of the device is back")
            self._away = None
            return
        if self._away is None:
            self._away = time.monotonic()
            self._notice(f"the host of the device is gone, measurements wait: no node has the resource {resource!r}")
        if time.monotonic() - self._away > _AWAY_S:
            raise ClusterError(
                f"the host of the device is gone for {_AWAY_S / 60:.0f} minutes: no node has the resource {resource!r}",
                hint="bring it back, then run the same command again: it resumes",
            )

    def _check_barred(self) -> None:
        """Where only nodes with a fault are left, wait a while for another one: the autoscaler may start it.

        Raises:
            ClusterError: none has come.
        """
        is_used = any(node not in self._barred for node in self._nodes) or any(slot.request for slot in self._slots)
        if is_used or not self._nodes:
            self._only_barred = None
            return
        fault = next(self._barred[node] for node in self._nodes)
        if self._only_barred is None:
            self._only_barred = time.monotonic()
            self._notice(f"only nodes with a fault are left, the search waits for another one: {fault}")
        if time.monotonic() - self._only_barred > _AWAY_S:
            raise ClusterError(
                f"{fault}; no other node has come for {_AWAY_S / 60:.0f} minutes",
                hint="remove the cause, then run the same command again: it resumes",
            )

    def _await_slots(self) -> None:
        """Ask for slots, and wait a moment for those that have room; others may come later."""
        import ray

        self._grow()
        fit_now = min(len(self._slots), self._each.fit_into(whole_cluster()))
        if fit_now:
            ray.wait([slot.reference for slot in self._slots], num_returns=fit_now, timeout=_PLACING_S)
        for slot in list(self._slots):
            if ray.wait([slot.reference], timeout=0)[0]:
                self._hear(slot)
        if not self.capacity:
            need = f"CPUs: {self._each.cpus:g}, GPUs: {self._each.gpus:g}"
            self._notice(f"no slot of the cluster is ready yet; waiting for one, or for a node with room ({need})")

    def _fill_slots(self) -> None:
        for slot in self._slots:
            if slot.stage == "idle" and self._is_usable(slot) and self._waiting:
                self._start_in(slot, self._waiting.popleft())

    def _start_in(self, slot: _Slot, request: TrialRequest) -> None:
        parent = request.parent.read_bytes() if request.parent is not None else None
        last = request.work_dir / LAST_FILE
        begun = last.read_bytes() if request.train.is_resumable and last.is_file() else None
        slot.request, slot.stage, slot.opened_at_s = request, "starting", time.monotonic()
        slot.reference = slot.actor.start.remote(request, parent, begun)

    def _hear_or_note(self, slot: _Slot) -> list[Event]:
        """Take a slot's answer; a fault is raised by the next call of `events`."""
        try:
            return self._hear(slot)
        except ClusterError as error:
            self._fault = error
            return []

    def _hear(self, slot: _Slot) -> list[Event]:
        """Take a slot's answer, and ask it for the next one."""
        import ray

        try:
            answer = ray.get(slot.reference)
            if slot.stage == "running":
                return self._hear_trial(slot, answer)
            if slot.stage == "placing":
                self._take_in(slot, answer)
            elif slot.stage == "starting" and answer:
                assert slot.request is not None
                del self._unopened[slot.request.number]
                slot.stage, slot.reference = "running", slot.actor.events.remote(_POLL_S)
            elif slot.stage == "starting":
                return self._send_data(slot)
            else:
                assert slot.request is not None
                self._start_in(slot, slot.request)
        except ray.exceptions.RayTaskError as error:
            return self._on_refusal(slot, error)
        except ray.exceptions.RayError as error:  # the slot is gone, or its node before its answer was read
            return self._on_loss(slot, error)
        return []

    def _hear_trial(self, slot: _Slot, events: list[Event]) -> list[Event]:
        last = events[-1] if events else None
        if last is not None and not isinstance(last, Progressed):
            if isinstance(last, Finished) or _is_resumable(slot):
                self._fetch(slot)
            if isinstance(last, Finished) and last.result.is_outside_fault:
                events = [*events[:-1], self._bar(slot, last)]
            slot.request, slot.stage, slot.reference = None, "idle", None
        elif isinstance(last, Progressed) and last.progress.ap is not None:
            slot.reference = None  # it waits for the driver's answer
        else:
            slot.reference = slot.actor.events.remote(_POLL_S)
        return events

    def _bar(self, slot: _Slot, event: Finished) -> Event:
        """Give no further trial to a node whose own fault ended one, such as a full disk, if another node takes trials."""
        reason = f"node {slot.host}: {event.result.reason}"
        if not self._has_other_node(slot):
            return replace(event, result=replace(event.result, reason=reason))
        self._barred[slot.node] = reason
        return Lost(number=event.number, reason=f"{reason}; it takes no further trial in this run")

    def _on_refusal(self, slot: _Slot, error: Any) -> list[Event]:
        """Give no further trial to a node whose system refused its slot something, such as disk space, as `_bar` does.

        Raises:
            ClusterError: no other node takes trials, or the error is none of the operating system.
        """
        fault = ClusterError(f"node {slot.host}: {last_line(error)}")
        if not isinstance(error.cause, OSError):
            raise fault from error
        return self._give_up(slot, fault)

    def _give_up(self, slot: _Slot, fault: ClusterError) -> list[Event]:
        """Give no further trial to a node that cannot have one; a trial that had not begun waits for another slot.

        Raises:
            ClusterError: no other node takes trials.
        """
        request, is_begun = slot.request, slot.stage == "running"
        if request is None or not self._has_other_node(slot):
            raise fault
        self._barred[slot.node] = fault.message
        slot.request, slot.stage, slot.reference = None, "idle", None
        reason = f"{fault.message}; it takes no further trial in this run"
        if is_begun:
            return [Lost(number=request.number, reason=reason)]
        self._notice(f"{reason}, trial {request.number} waits for another one")
        self._waiting.appendleft(request)
        return []

    def _has_other_node(self, slot: _Slot) -> bool:
        """Return whether a node other than a slot's takes trials."""
        return any(self._is_usable(other) and other.node != slot.node for other in self._slots)

    def _is_usable(self, slot: _Slot) -> bool:
        return slot.stage != "placing" and slot.node not in self._barred

    def _take_in(self, slot: _Slot, place: Place) -> None:
        """Use a slot that has found a node."""
        if place.version != version("yoloret-nas"):
            raise ClusterError(
                f"node {place.host} has yoloret-nas {place.version}, the driver {version('yoloret-nas')}",
                hint="install the same version on every node",
            )
        self._stillborn = 0
        slot.host, slot.node, slot.stage, slot.reference = place.host, place.node, "idle", None
        if place.node not in self._nodes:
            self._nodes[place.node] = place.host
            self._notice(f"node {place.host} takes trials")

    def _send_data(self, slot: _Slot) -> list[Event]:
        """Send a copy of the dataset; of several slots on one node, the first takes it."""
        import ray

        request = slot.request
        assert request is not None
        if slot.has_copy:
            cannot = f"node {slot.host} cannot read dataset {request.dataset!r} as this machine does"
            hint = "put the data at the same path on every node, with all files that its lists name"
            return self._give_up(slot, ClusterError(cannot, hint=hint))
        if request.fingerprint not in self._packed:
            try:
                place, chunks = pack(request.dataset)
            except DatasetError as error:
                return self._give_up(slot, ClusterError(f"node {slot.host}: {error.message}", hint=error.hint))
            self._notice(f"nodes without {request.dataset} take a copy of it")
            self._packed[request.fingerprint] = place, [ray.put(chunk) for chunk in chunks]
        slot.stage, slot.has_copy = "receiving", True
        slot.reference = slot.actor.receive.remote(request.fingerprint, *self._packed[request.fingerprint])
        return []

    def _on_loss(self, slot: _Slot, error: Exception) -> list[Event]:
        """Give a slot up whose process or node is gone; its trial waits for another if it had not begun."""
        self._drop(slot)
        if slot.stage == "placing" and "ModuleNotFoundError" in str(error):
            raise ClusterError(
                f"a node of the cluster cannot import yoloret-nas: {last_line(error)}",
                hint="install the same version on every node",
            ) from error
        if slot.stage == "placing":
            self._note_stillborn(error)
        if slot.request is None:
            return []
        if slot.stage != "running":
            return self._on_unopened(slot, slot.request, error)
        return [Lost(number=slot.request.number, reason=f"its node {slot.host}, or its worker there, is gone")]

    def _on_unopened(self, slot: _Slot, request: TrialRequest, error: Exception) -> list[Event]:
        """Let a trial wait for another slot that opens its data; count it as lost where that goes on."""
        self._unopened[request.number] += 1
        count, how = self._unopened[request.number], f"node {slot.host}: {last_line(error)}"
        if count >= _MOST_UNOPENED:
            del self._unopened[request.number]
            reason = f"{count} slots ended while they opened its data, the last one on {how}"
            return [Lost(number=request.number, reason=reason)]
        if count == 1:
            self._notice(f"a slot ended while it opened the data, trial {request.number} waits for another one: {how}")
        self._waiting.appendleft(request)
        return []

    def _note_stillborn(self, error: Exception) -> None:
        """Say why a slot ended while it started; refuse where that goes on and no other slot runs or takes trials."""
        self._stillborn += 1
        has_others = any(slot.request is not None or self._is_usable(slot) for slot in self._slots)
        if self._stillborn >= _MOST_STILLBORN and not has_others:
            raise ClusterError(
                f"{self._stillborn} slots in a row ended while they started, the last one: {last_line(error)}",
                hint="remove the cause on the nodes, then run the same command again: it resumes",
            ) from error
        if self._stillborn == 1:
            self._notice(f"a slot ended while it started, another one is tried: {last_line(error)}")

    def _drop(self, slot: _Slot) -> None:
        self._slots.remove(slot)
        if slot.stage != "placing":  # what ended while it started would most likely end so again at once
            self._grown = float("-inf")

    def _slots_of(self, number: int) -> list[_Slot]:
        return [slot for slot in self._slots if slot.request is not None and slot.request.number == number]

    def _hear_devices(self, number: int, ready: Sequence[Any]) -> list[Event]:
        """Take the answers of the devices that measure a trial; it waits for a slot once it has all.

        Where the process that measured it has ended, its network may be the cause: it is lost, and those behind it, which
        were not begun, are asked for again. A fault of the device's own host ends the run; with a further device it is a
        note of the trial.
        """
        import ray

        one = self._measuring[number]
        for device, reference in list(one.references.items()):
            if reference not in ready:
                continue
            try:
                one.measured[device] = ray.get(reference)
            except ray.exceptions.RayActorError as error:
                del self._measuring[number]
                self._measure_anew(device)
                ended = f"the process that measured it on {device} ended: {last_line(error)}"
                return [Lost(number=number, reason=ended)]
            except ray.exceptions.RayError as error:
                fault = self._devices.own_fault(device, error)
                if fault is not None and device == one.request.device:
                    self._fault = fault
                    return []
                one.measured[device] = fault or ClusterError(f"the host of device {device} failed: {last_line(error)}")
            del one.references[device]
        if not one.references:
            del self._measuring[number]
            self._waiting.append(replace(one.request, measured=one.measured))
        return []

    def _measure_anew(self, device: str) -> None:
        """End the actor that measures on a device; ask another one for what it was asked for."""
        self._devices.end_meter(device)
        for one in self._measuring.values():
            if device in one.references:
                one.references[device] = self._measure(one.request, device)

    def _fetch(self, slot: _Slot) -> None:
        """Bring the files of a trial that has ended into its folder, its result last."""
        import ray

        assert slot.request is not None
        try:
            files: Files = ray.get(slot.actor.fetch.remote(slot.request.number), timeout=MIN_SILENCE_S)
        except ray.exceptions.GetTimeoutError:
            ray.kill(slot.actor)  # it would keep the room on its node
            raise
        for name, content in files.items():
            path = slot.request.work_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                partial.write_bytes(content)
        # Not before all is on the disk: where that is full, the training goes on from what is here.
        if RESULT_FILE in files and LAST_FILE not in files:
            (slot.request.work_dir / LAST_FILE).unlink(missing_ok=True)

    def _close(self, slot: _Slot, reference: Any) -> list[Finished]:
        import ray

        try:
            ended: list[Finished] = ray.get(reference)
            if ended or _is_resumable(slot):
                self._fetch(slot)
            ray.get(slot.actor.clean.remote(), timeout=_CLOSING_S)
        except ray.exceptions.RayError:
            return []  # the driver puts back what it does not hear of
        return ended

    def _measure(self, request: TrialRequest, device: str) -> Any:
        return self._devices.ask(
            device,
            request.architecture,
            request.latency_cache,
            num_classes=request.num_classes,
            scale=request.scales.get(without_limits(device)),
        )

    def _unanswered(self) -> set[Any]:
        """Return the references of measurements that have not ended."""
        import ray

        references = [reference for one in self._measuring.values() for reference in one.references.values()]
        if not references:
            return set()
        return set(ray.wait(references, num_returns=len(references), timeout=0, fetch_local=False)[1])

    def _heads(self, unanswered: set[Any]) -> dict[str, int]:
        """Return the trial that each device measures now: it takes them in the order in which they were started."""
        heads: dict[str, int] = {}
        for number, one in self._measuring.items():
            for device, reference in one.references.items():
                if reference in unanswered:
                    heads.setdefault(device, number)
        return heads

    def _signs_of_life(self) -> list[Event]:
        """Return a message for each trial that waits for a device or a slot, or whose slot opens the data, now and then.

        One that is measured is silent, as it is on one machine: the driver ends it if that takes too long.
        """
        if time.monotonic() - self._lived < _SIGN_OF_LIFE_S:
            return []
        self._lived = time.monotonic()
        opening = [
            slot.request
            for slot in self._slots
            if slot.request
            and slot.stage in ("starting", "receiving")
            and time.monotonic() - slot.opened_at_s < _LONGEST_OPENING_S
        ]
        heads = self._heads(self._unanswered()).values()
        queued = [number for number, one in self._measuring.items() if number not in heads or not one.is_told]
        for number in queued:
            self._measuring[number].is_told = True
        numbers = (*queued, *(request.number for request in (*self._waiting, *opening)))
        return [Progressed(number=number, progress=Progress(phase="measure")) for number in numbers]


def _is_resumable(slot: _Slot) -> bool:
    """Return whether the training of a slot may go on elsewhere from its last whole epoch."""
    return slot.request is not None and slot.request.train.is_resumable
