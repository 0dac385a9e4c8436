"""Builds TensorRT engines on a board and times them."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spaces import YoloRetError
from trials.latency.board.session import BoardRun, BoardSession
from trials.latency.board.settings import SshSettings
from trials.latency.board.trtexec_command import Trtexec
from trials.latency.board.trtexec_failure import Failure, find_failure
from trials.latency.board.trtexec_log import TrtexecLog, parse_log, parse_times
from trials.latency.device import GRAPH_REFUSED, DeviceError
from trials.onnx import UnsupportedNetworkError
from trials.onnx.number_format import find_number_format

_GARBLED = ("garbage", "truncated")
_MEMORY = ("out_of_memory", "killed", "no_implementation")
_REFUSED = ("refused", "unsupported_operator", "wrong_shape")
_TRIES = 3
"""Attempts at a run whose output is garbled."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A network built for a board."""

    file: str
    """Its file name, which identifies the network, the workspace and the build."""
    build_s: float | None
    """Duration of the build; None for a kept engine."""
    notes: tuple[str, ...] = ()
    """What was unusual about its build."""


@dataclass(frozen=True, kw_only=True)
class TimedRun:
    """A successful timed run."""

    samples_ms: tuple[float, ...]
    throughput_per_s: float | None
    run: BoardRun
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EngineBench:
    """Builds and times engines in a session on the board."""

    session: BoardSession
    trtexec: Trtexec
    settings: SshSettings
    workspace_mib: int
    """Scratch memory for the builder."""

    def find_or_build(self, onnx_path: Path, *, shape: tuple[int, ...]) -> Engine:
        """Return a network's engine; build it if none is kept.

        Args:
            onnx_path: The network in a form that this board's TensorRT takes.
            shape: Shape of its input.

        Raises:
            DeviceAwayError: the connection broke.
            UnsupportedNetworkError: TensorRT refuses it, with the reason.
            DeviceError: it could not be built, with the reason.
        """
        content = hashlib.sha256(onnx_path.read_bytes() + f"workspace {self.workspace_mib}".encode()).hexdigest()[:16]
        kept = [name for name in self.session.engines if name.startswith(f"{content}-")]
        return Engine(file=kept[-1], build_s=None) if kept else self._build(onnx_path, content, shape)

    def time(self, engine: Engine, *, shape: tuple[int, ...]) -> TimedRun:
        """Load an engine and time it.

        Raises:
            DeviceAwayError: the connection broke.
            DeviceError: it cannot be timed, with the reason.
        """
        timing, times = self.settings.timing, f"{self.session.work}/times.json"
        path = f"../{self.session.folder}/{engine.file}"  # relative to the session's temporary folder
        command = self.trtexec.time_command(engine=path, times=times, timing=timing)
        limit_s = self.settings.run_limit_s

        def attempt() -> BoardRun:
            return self.session.run(command, what="timing", limit_s=limit_s, times=times, engine=path)

        run, log, failure = _run_until_readable(attempt, shape=shape, is_timed=True, limit_s=limit_s)
        if failure:
            raise refusal(failure, during="timing")
        assert log.median_ms is not None
        samples = parse_times(run.times, warm_up_ms=timing.warm_up_ms)
        notes = [] if samples else ["no times file: only trtexec's own median is known"]
        if log.ignores_graph:
            notes.append(GRAPH_REFUSED)
        if log.variation is not None:
            notes.append(f"trtexec warns of an unstable GPU compute time ({log.variation:.1%})")
        return TimedRun(
            samples_ms=samples or (log.median_ms,), throughput_per_s=log.throughput_per_s, run=run, notes=tuple(notes)
        )

    def _build(self, onnx_path: Path, content: str, shape: tuple[int, ...]) -> Engine:
        model = self.session.upload(onnx_path, "model.onnx")
        engine = f"{content}-{secrets.token_hex(4)}.engine"
        notes = []
        is_int8 = find_number_format(onnx_path) == "int8"
        run, log, failure = self._run_builder(model, engine, shape, self.workspace_mib, is_int8=is_int8)
        if failure and failure.kind in _MEMORY:
            smaller = max(64, self.workspace_mib // 2)
            notes.append(f"built with {smaller} MiB of workspace after {failure.message}")
            run, log, failure = self._run_builder(model, engine, shape, smaller, is_int8=is_int8)
        if failure and failure.kind == "disk_full":
            raise self.session.disk_full()
        if failure:
            raise refusal(failure, during="building")
        if log.num_skipped_tactics:
            notes.append(
                f"{log.num_skipped_tactics} tactics were skipped for lack of memory: the engine may be slower than necessary"
            )
        self.session.keep(engine)
        return Engine(file=engine, build_s=log.build_s or run.seconds, notes=tuple(notes))

    def _run_builder(
        self, model: str, engine: str, shape: tuple[int, ...], workspace_mib: int, *, is_int8: bool
    ) -> tuple[BoardRun, TrtexecLog, Failure | None]:
        work = self.session.work
        command = self.trtexec.build_command(
            onnx=model,
            engine=f"{work}/{engine}",
            timing_cache=f"{work}/timing.cache",
            workspace_mib=workspace_mib,
            is_int8=is_int8,
        )

        def attempt() -> BoardRun:
            return self.session.run(command, what="building an engine", limit_s=self.settings.build_limit_s)

        return _run_until_readable(attempt, shape=shape, is_timed=False, limit_s=self.settings.build_limit_s)


def refusal(failure: Failure, *, during: str) -> YoloRetError:
    """Return the error for a run that failed for good: the network's own where TensorRT refuses to build it."""
    is_refused = during == "building" and failure.kind in _REFUSED
    kind = UnsupportedNetworkError if is_refused else DeviceError
    return kind(f"{during} the engine: {failure.message}", hint=failure.hint)


def _run_until_readable(
    attempt: Callable[[], BoardRun], *, shape: tuple[int, ...], is_timed: bool, limit_s: float
) -> tuple[BoardRun, TrtexecLog, Failure | None]:
    """Repeat a run with garbled output, three attempts in all."""
    for _ in range(_TRIES):
        run = attempt()
        log = parse_log(run.log)
        failure = find_failure(log, exit_status=run.exit_status, is_timed=is_timed, shape=shape, limit_s=limit_s)
        if failure is None or failure.kind not in _GARBLED:
            break
    return run, log, failure
