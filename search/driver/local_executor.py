"""Trials on this machine, each in a process of its own.

A fresh process frees its memory at the end, and a crash or the kernel's out-of-memory killer ends one trial instead of the
search. The processes are forked from a server that has imported what a trial needs: 0.03 s a trial instead of 5 s. When
the driver dies, its trials notice the closed pipe and end themselves.

A trial imports nothing of the program that searches. So a script may search on its top level, without Python's usual
``if __name__ == "__main__":``, and so may a notebook and a program that came from a pipe.
"""

import multiprocessing
import os
import queue
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType

from search.driver.executor import Died, Event, Finished, Lost, Progressed
from trials.progress import Progress
from trials.scratch import scratch_folder, socket_folder, temporary_files_in
from trials.server_imports import DRIVER_VARIABLE
from trials.trial_result import TrialRequest, TrialResult, read_result

_GRACE_S = 5.0
_SAFE_PATH = "PYTHONSAFEPATH"
"""Set to anything, it keeps the current folder off Python's path."""
_MAX_STARTS = 50
"""Of one trial, where the server that forks it is killed at that moment."""
_START_PAUSE_S = 0.2
"""Before the next start: a killed server refuses connections before it is seen to be dead."""
_UNKNOWN_EXIT = 255
"""What `multiprocessing` takes for the exit code of a process whose server was killed, which runs on."""
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP)
"""Exit codes by signals that a process does not send itself."""
_KERNEL_COUNTERS = Path("/proc/vmstat")
_STARTING = threading.RLock()
"""Held while a process is started: for that moment the program's own module and environment are others."""


@dataclass(frozen=True, kw_only=True)
class _Running:
    process: ForkServerProcess
    connection: Connection
    slot: int
    request: TrialRequest
    temporary: Path
    """Folder of its temporary files."""
    oom_kills: int
    """Of this machine when it began."""


class LocalExecutor:
    """An `Executor` of local processes.

    Args:
        workers: Trials at once.
        gpus: The GPUs to train on, as CUDA_VISIBLE_DEVICES names them. Workers take them in turn: each worker's own is its
            first, and the others stay visible for measuring latency. Empty leaves the variable as it is; one empty name
            hides all GPUs.
    """

    def __init__(self, *, workers: int = 1, gpus: Sequence[str] = ()) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers cannot run a trial")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["trials.server_imports"])
        _start_forkserver()
        scratch_folder()  # deletes what killed searches left, also where no trial will start
        self._workers = workers
        self._gpus = tuple(gpus)
        self._running: dict[int, _Running] = {}

    @property
    def capacity(self) -> int:
        """How many trials may run at once."""
        return self._workers

    def start(self, request: TrialRequest) -> None:
        """Start a trial in a process of its own."""
        slot = min(set(range(self._workers)) - {running.slot for running in self._running.values()})
        own = slot % len(self._gpus) if self._gpus else 0
        # The server has the environment of when it was started, maybe for another search of this process.
        environment = {_SAFE_PATH: "1", **os.environ}
        temporary = scratch_folder() / f"trial-{request.number}"
        temporary.mkdir(exist_ok=True)
        environment["TMPDIR"] = str(temporary)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join((*self._gpus[own:], *self._gpus[:own]))
        ours, theirs = self._context.Pipe()
        process = self._start((theirs, request, environment), name=f"trial-{request.number}")
        theirs.close()
        self._running[request.number] = _Running(
            process=process,
            connection=ours,
            slot=slot,
            request=request,
            temporary=temporary,
            oom_kills=_count_oom_kills(),
        )

    def events(self, *, timeout_s: float) -> Sequence[Event]:
        """Wait for messages of the running trials."""
        by_connection = {running.connection: number for number, running in self._running.items()}
        if not by_connection:
            return ()
        ready = wait(list(by_connection), timeout=timeout_s)
        return [self._receive(by_connection[connection]) for connection in ready if isinstance(connection, Connection)]

    def answer(self, number: int, *, go_on: bool) -> None:
        """Tell a waiting trial whether to continue; one that died meanwhile shows in the next events."""
        if running := self._running.get(number):
            try:
                running.connection.send(go_on)
            except ConnectionError:
                return

    def withdraw(self) -> Sequence[int]:
        """Return none: a trial here begins when it is started."""
        return ()

    def kill(self, number: int) -> None:
        """Kill a trial's process."""
        self._running[number].process.terminate()
        self._end(number)

    def close(self) -> Sequence[Finished]:
        """Kill the running trials and their child processes; return those whose result was written before."""
        for running in self._running.values():
            running.process.terminate()
        ended = [self._as_dead(number) for number in list(self._running)]
        return [event for event in ended if isinstance(event, Finished)]

    def _start(self, arguments: tuple[Connection, TrialRequest, Mapping[str, str]], *, name: str) -> ForkServerProcess:
        """Fork a process, from a new server where the former one was killed."""
        for attempt in range(1, _MAX_STARTS + 1):
            process = self._context.Process(target=_serve, args=arguments, name=name)
            _start_forkserver()
            try:
                with _without_program():
                    process.start()
            except (EOFError, ConnectionError):
                if attempt == _MAX_STARTS:
                    raise
                time.sleep(_START_PAUSE_S)
            else:
                break
        return process

    def _receive(self, number: int) -> Event:
        running = self._running[number]
        try:
            message = running.connection.recv()
        except (EOFError, OSError):  # OSError where it was killed in the middle of a message
            return self._as_dead(number)
        if isinstance(message, TrialResult):
            self._end(number)
            return Finished(number=number, result=message)
        return Progressed(number=number, progress=message)

    def _as_dead(self, number: int) -> Event:
        """Return why a trial's process ended, or its result where it was written before."""
        running = self._running[number]
        self._end(number)
        request = running.request
        if result := read_result(request.work_dir, study_id=request.study_id, architecture=request.architecture):
            return Finished(number=number, result=result)
        code = running.process.exitcode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL and _count_oom_kills() > running.oom_kills:
            return Died(number=number, reason="its process was killed by the kernel for lack of memory (SIGKILL)")
        if code == _UNKNOWN_EXIT:
            return Lost(number=number, reason="its process ended, and how is unknown: its server was killed before")
        if code in _FROM_OUTSIDE:
            return Lost(number=number, reason=f"its process was ended from outside by {how}")
        return Died(number=number, reason=f"its process ended by {how} without a result")

    def _end(self, number: int) -> None:
        running = self._running.pop(number)
        running.process.join(_GRACE_S)
        if running.process.is_alive():
            running.process.kill()
            running.process.join()
        running.connection.close()
        shutil.rmtree(running.temporary, ignore_errors=True)  # a process whose server was killed may still write there


def _count_oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory since it started, in any container."""
    counters = dict(line.split() for line in _KERNEL_COUNTERS.read_text().splitlines())
    return int(counters.get("oom_kill", 0))  # counted since Linux 4.13


def _start_forkserver() -> None:
    """Start the server, which imports while the driver opens the study, deaf to Ctrl-C, which reaches the whole group.

    Python starts it by ``-c``, which would put the current folder before all others that it imports from: a user's
    ``random.py`` or ``spaces.py`` there would take the place of Python's module or of our package.
    """
    # What it imports makes folders of its own, such as PyTorch's compiler: where they do not outlive this process.
    ours = {_SAFE_PATH: "1", DRIVER_VARIABLE: str(os.getpid()), "TMPDIR": str(scratch_folder())}
    with _STARTING:
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        try:
            resource_tracker.ensure_running()  # the server's start would start it, which unblocks the signal
            # Inherited through exec, as the variable is. It is this thread's own; only the main thread could set a handler.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
            try:
                # `multiprocessing` makes a folder for the server's socket: where it does not outlive this process.
                with _without_program(), temporary_files_in(socket_folder()):
                    forkserver.ensure_running()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def _without_program() -> Iterator[None]:
    """Keep `multiprocessing` from running the user's program again in a process that it starts in this block.

    It would do so to find what the program defines, of which a trial needs nothing. A program that searches on its top level
    would search again in each trial, and one from a pipe cannot be found.
    """
    with _STARTING:
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = program


def _serve(connection: Connection, request: TrialRequest, environment: Mapping[str, str]) -> None:
    """Run one trial in this process and report to the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver decides what it means
    os.environ.clear()
    os.environ.update(environment)
    answers: queue.Queue[bool] = queue.Queue()
    threading.Thread(target=_listen, args=(connection, answers), daemon=True).start()

    from trials.trial import run_trial  # imported here, since the driver does not need what training needs

    result = run_trial(request, lambda progress: _report(connection, answers, progress))
    _send(connection, result)


def _report(connection: Connection, answers: "queue.Queue[bool]", progress: Progress) -> bool:
    """Send a progress; return the driver's answer to a score, else True.

    A driver that measures reads nothing, for minutes or hours. Progress that then finds no room is left out: sending it
    would block the trial, perhaps with the measurement lock that the driver waits for.
    """
    is_needed = progress.ap is not None or progress.latency_ms is not None
    if is_needed or _has_room(connection):
        _send(connection, progress)
    return answers.get() if progress.ap is not None else True


def _has_room(connection: Connection) -> bool:
    """Return whether a short message can be sent without waiting."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(0))


def _send(connection: Connection, message: Progress | TrialResult) -> None:
    """Send a message to the driver.

    Without a driver the process ends here: an error raised into the trial would be recorded as the trial's failure.
    """
    try:
        connection.send(message)
    except OSError:
        os._exit(1)


def _listen(connection: Connection, answers: "queue.Queue[bool]") -> None:
    """Pass the driver's answers on; end this process when the driver is gone."""
    try:
        while True:
            answers.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)
