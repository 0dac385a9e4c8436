"""A board over ssh as a device: TensorRT's GPU compute time at batch 1, measured by the board's trtexec."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from trials.latency.board.address import parse_address
from trials.latency.board.engine import Engine, EngineBench, TimedRun
from trials.latency.board.probe import Board, identity_of, probe_board
from trials.latency.board.session import BoardRun, BoardSession, DiskFullError, Reference, open_session
from trials.latency.board.settings import SshSettings
from trials.latency.board.ssh import SshHost
from trials.latency.board.trtexec_command import workspace_mib
from trials.latency.device import DeviceError, DeviceIdentity, Latency, UnstableError, UnusableDeviceError
from trials.latency.reference_network import write_reference
from trials.latency.retry import retry_while_away
from trials.latency.steadiness import Verdict, grade_repeats, has_moved, judge_run
from trials.onnx import check_onnx
from trials.onnx.half_precision import write_half
from trials.onnx.number_format import find_number_format
from trials.onnx.requirements import has_other_files, write_whole
from trials.scratch import temporary_folder

Result = TypeVar("Result")
_THROTTLES = "throttles"
"""In the faults of a clock that fell (`judge_run`)."""


@dataclass(frozen=True, kw_only=True)
class SshDevice:
    """A Jetson, or another machine with trtexec, reached by the system's ssh."""

    name: str
    """The device as the user typed it: ``ssh://[user@]host[:port]``."""
    settings: SshSettings = field(default_factory=SshSettings)
    """Durations and bounds."""
    config: Path | None = None
    """A file instead of the user's ssh_config."""
    clock: Callable[[], float] = time.monotonic
    """Returns seconds; tests pass their own."""

    def __post_init__(self) -> None:
        parse_address(self.name)  # refused before anything is contacted

    @property
    def opset(self) -> int:
        """The operator set that this board's TensorRT reads.

        Raises:
            UnusableDeviceError: the board cannot be probed.
        """
        return self.board.trtexec.version.opset

    @cached_property
    def board(self) -> Board:
        """The board's facts, probed once.

        Raises:
            DeviceAwayError: it cannot be reached.
            UnusableDeviceError: it has no usable trtexec.
        """
        return self._retry(lambda: probe_board(self._host))

    def identity(self) -> DeviceIdentity:
        """Return board, L4T, TensorRT, precision, power mode and clock.

        Raises:
            UnusableDeviceError: the board cannot be probed.
        """
        return identity_of(self.board, self.board.state)

    def measure(self, onnx_path: Path) -> Latency:
        """Build a network's engine on the board unless it is kept there, and time it.

        Raises:
            DeviceAwayError: the board could not be reached, or others held it, for all the time allowed.
            DeviceError: the board cannot run the network.
            UnusableDeviceError: its identity changed, or its disk is full.
            UnsupportedNetworkError: its TensorRT cannot take the network.
            UnstableError: no run was steady.
        """
        started = self.clock()
        version = self.board.trtexec.version
        shape = check_onnx(onnx_path, version=version)
        with self._prepared(onnx_path) as path, self._reference_file() as reference:
            work = _Measurement(device=self, onnx_path=path, shape=shape, reference_path=reference, started=started)
            return self._in_session(work.measure)

    @property
    def converts_to_fp16(self) -> bool:
        """Whether its TensorRT makes FP16 of an FP32 file by itself.

        Raises:
            UnusableDeviceError: the board cannot be probed.
        """
        return self.board.trtexec.takes_fp16

    def build_engine(self, onnx_path: Path, target: Path) -> None:
        """Build a network's engine on the board unless it is kept there, and fetch it.

        Raises:
            DeviceAwayError: the board could not be reached, or others held it, for all the time allowed.
            DeviceError: the board cannot build the network, or cannot send the engine.
            UnsupportedNetworkError: its TensorRT cannot take the network.
        """
        shape = check_onnx(onnx_path, version=self.board.trtexec.version)
        with self._prepared(onnx_path) as path:

            def work(session: BoardSession) -> None:
                session.fetch(self.bench(session).find_or_build(path, shape=shape).file, target)

            self._in_session(work)

    def run_export(self, folder: Path, options: Sequence[str]) -> str:
        """Run the program of an export on the images in its folder, by the board's own python3.

        Raises:
            DeviceAwayError: the board could not be reached, or others held it, for all the time allowed.
            DeviceError: the program did not run to its end, with the reason.
        """

        def work(session: BoardSession) -> BoardRun:
            for path in sorted(folder.iterdir()):
                session.upload(path, path.name)
            command = ["python3", "run.py", ".", *options]  # in the session's temporary folder
            return session.run(command, what="running run.py", limit_s=self.settings.run_limit_s)

        ended = self._in_session(work)
        if ended.exit_status == 0:
            return ended.log
        if missing := re.search(r"No module named '?(\w+)", ended.log):
            raise DeviceError(f"the board's python3 has no {missing[1]}")
        if ended.exit_status == 124:
            raise DeviceError(f"run.py took longer than {self.settings.run_limit_s:g} s on the board")
        lines = (ended.log.strip() or "no reason given").splitlines()
        words = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1])
        raise DeviceError(f"run.py ended with status {ended.exit_status} on the board: {words}")

    def time_reference(self, times: int) -> tuple[list[TimedRun], bool]:
        """Time the reference network several times; runs without a fault (`judge`) that agree give its new first figure.

        Returns:
            The runs, and whether there is a new first figure.

        Raises:
            DeviceError: the board cannot be reached, or cannot run the network.
        """
        with self._reference_file() as path:
            shape = check_onnx(path, version=self.board.trtexec.version)

            def work(session: BoardSession) -> tuple[list[TimedRun], bool]:
                bench = self.bench(session)
                engine = bench.find_or_build(path, shape=shape)
                runs = [bench.time(engine, shape=shape) for _ in range(times)]
                medians = [float(np.median(run.samples_ms)) for run in runs if not judge(run).faults]
                is_first = len(medians) > 1 and grade_repeats(medians) != "unsteady"
                if is_first:
                    middle = float(np.median(medians))
                    session.set_reference(Reference(engine=engine.file, first_ms=middle, last_ms=middle))
                return runs, is_first

            return self._in_session(work)

    def close(self) -> None:
        """Close the connection."""
        self._host.close()

    def bench(self, session: BoardSession) -> EngineBench:
        """Return what builds and times engines in a session."""
        return EngineBench(
            session=session,
            trtexec=self.board.trtexec,
            settings=self.settings,
            workspace_mib=workspace_mib(self.board.state.memory_mib or 0),
        )

    def pause(self, seconds: float) -> None:
        """Wait while holding the board."""
        self._host.pause(seconds)

    @cached_property
    def _host(self) -> SshHost:
        return SshHost(parse_address(self.name), config=self.config, clock=self.clock)

    def _retry(self, work: Callable[[], Result]) -> Result:
        return retry_while_away(work, patience_s=self.settings.patience_s, reset=self._host.close, clock=self.clock)

    def _in_session(self, work: Callable[[BoardSession], Result]) -> Result:
        """Call a function in a session on the board; if the disk is full, delete the engines and call it again.

        All attempts together wait in the queue until `queue_limit_s` is over, so that retries do not multiply it; those that
        follow within `patience_s` find it free or leave at once.
        """
        queue_end = self.clock() + self.settings.queue_limit_s

        def attempt() -> Result:
            limit_s = max(0.0, queue_end - self.clock())
            folder, mib = self.identity().key, self.settings.cache_mib
            with open_session(self._host, folder, queue_limit_s=limit_s, cache_mib=mib) as session:
                try:
                    return work(session)
                except DiskFullError:
                    session.drop_engines()
                    return work(session)

        return self._retry(attempt)

    @contextmanager
    def _prepared(self, onnx_path: Path) -> Iterator[Path]:
        """Yield one file that this board's TensorRT takes: FP32 is converted to FP16 unless trtexec does that."""
        is_ready = self.board.trtexec.takes_fp16 or find_number_format(onnx_path) != "fp32"
        if is_ready and not has_other_files(onnx_path):
            yield onnx_path
            return
        with temporary_folder() as folder:
            prepared = Path(folder) / "prepared.onnx"
            if is_ready:
                write_whole(onnx_path, prepared)
            else:
                write_half(onnx_path, prepared)
            yield prepared

    @contextmanager
    def _reference_file(self) -> Iterator[Path]:
        with temporary_folder() as folder:
            path = Path(folder) / "reference.onnx"
            write_reference(path, opset=self.opset)
            with self._prepared(path) as prepared:
                yield prepared


@dataclass(frozen=True, kw_only=True)
class _Measurement:
    """The measurement of one network, repeated until it is steady."""

    device: SshDevice
    onnx_path: Path
    shape: tuple[int, ...]
    reference_path: Path
    started: float

    def measure(self, session: BoardSession) -> Latency:
        settings = self.device.settings
        bench = self.device.bench(session)
        reference = bench.find_or_build(self.reference_path, shape=_REFERENCE_SHAPE)
        engine = bench.find_or_build(self.onnx_path, shape=self.shape)
        repeats: list[str] = []
        for attempt in range(settings.num_attempts):
            self.device.pause(settings.cooling_s * attempt)
            is_due = bool(attempt) or session.num_since_reference >= settings.reference_every
            reference, moved = self._check_reference(bench, reference, is_due=is_due)
            engine, timed = self._time(bench, engine, self.onnx_path, shape=self.shape)
            self._check_identity(timed)
            verdict = judge(timed)
            faults = [*moved, *verdict.faults]
            if not faults:
                return self._latency(session, engine, timed, [*repeats, *verdict.notes])
            repeats.append(f"measured again, since {'; '.join(faults)}")
        raise self._unsteady(faults, timed)

    def _check_reference(self, bench: EngineBench, engine: Engine, *, is_due: bool) -> tuple[Engine, list[str]]:
        """Time the reference if it is due, or had moved the last time; return its engine, and a fault if it has moved."""
        session = bench.session
        known = _find_reference(session, engine)
        if known is not None and not is_due and not has_moved(known.last_ms, first_ms=known.first_ms):
            return engine, []
        engine, timed = self._time(bench, engine, self.reference_path, shape=_REFERENCE_SHAPE)
        again = _find_reference(session, engine)
        if again is None and known is not None and has_moved(known.last_ms, first_ms=known.first_ms):
            again = known  # rebuilt while it was away from its first figure, which would else be forgotten
        if again is None and judge(timed).faults:  # no figure to compare later ones with
            engine, timed = self._time(
                bench, engine, self.reference_path, shape=_REFERENCE_SHAPE
            )  # the clock is up now
        if again is None and (faults := judge(timed).faults):
            told = [f"of the reference network, {fault}" for fault in faults]
            note = f"no first figure of the reference: {'; '.join(faults)}"
            session.notes += [] if note in session.notes else [note]
            return engine, [fault for fault in told if _THROTTLES in fault]
        median = float(np.median(timed.samples_ms))
        first = again.first_ms if again else median
        session.set_reference(Reference(engine=engine.file, first_ms=first, last_ms=median))
        if not has_moved(median, first_ms=first):
            return engine, []
        return engine, [f"the reference network takes {median:.3f} ms on this board, at first it took {first:.3f} ms"]

    def _time(
        self, bench: EngineBench, engine: Engine, onnx_path: Path, *, shape: tuple[int, ...]
    ) -> tuple[Engine, TimedRun]:
        """Time an engine; rebuild a kept one that no longer runs."""
        try:
            return engine, bench.time(engine, shape=shape)
        except DeviceError as error:  # of the engine, where it is no error of another class
            if engine.build_s is not None or type(error) is not DeviceError:
                raise
            bench.session.remove_engine(engine.file)
            again = bench.find_or_build(onnx_path, shape=shape)
            return again, bench.time(again, shape=shape)

    def _check_identity(self, timed: TimedRun) -> None:
        was, now = self.device.identity(), identity_of(self.device.board, timed.run.after)
        if was != now:
            raise UnusableDeviceError(
                f"{self.device.name} changed while it was in use: {'; '.join(now.differences(was))}",
                hint="set it back, or start a study with another name",
            )

    def _latency(self, session: BoardSession, engine: Engine, timed: TimedRun, notes: list[str]) -> Latency:
        return Latency(
            samples_ms=timed.samples_ms,
            device=self.device.identity(),
            reference_ms=session.reference.last_ms if session.reference else None,
            notes=tuple([*session.notes, *engine.notes, *timed.notes, *notes]),
            seconds=self.device.clock() - self.started,
            throughput_per_s=timed.throughput_per_s,
            engine=engine.file.removesuffix(".engine"),
            build_s=engine.build_s,
            before=timed.run.before.figures(),
            after=timed.run.after.figures(),
        )

    def _unsteady(self, faults: list[str], timed: TimedRun) -> UnstableError:
        state = timed.run.after
        if state.is_clock_locked is False:
            hint = "lock the clocks on the board (sudo jetson_clocks), then run the same command again"
        elif any(_THROTTLES in fault for fault in faults):
            hint = "cool the board, or choose a lower power mode (sudo nvpmodel -m …), then run the same command again"
        else:
            hint = f"stop other work on the board; `yoloret-nas device {self.device.name}` gives more advice"
        times = self.device.settings.num_attempts
        return UnstableError(
            f"{self.device.name} gave no steady figure in {times} runs: {'; '.join(faults)}", hint=hint
        )


def _find_reference(session: BoardSession, engine: Engine) -> Reference | None:
    """Return the figures of the reference's engine; another build of it may differ by the builder's choices."""
    known = session.reference
    return known if known is not None and known.engine == engine.file else None


def judge(timed: TimedRun) -> Verdict:
    """Judge a run by its passes, and by the GPU's clock before and after it."""
    before, after = timed.run.before, timed.run.after
    return judge_run(
        timed.samples_ms,
        is_clock_locked=before.is_clock_locked,
        locked_mhz=before.gpu_max_mhz,
        end_mhz=after.gpu_mhz,
        end_temperature_c=after.temperature_c,
    )


_REFERENCE_SHAPE = (1, 3, 96, 96)
