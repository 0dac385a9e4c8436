"""Trials in real processes: how they talk, and all the ways they can end."""

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest

from search.driver import local_executor
from search.driver.executor import Died, Event, Finished, Lost, Progressed
from search.driver.local_executor import LocalExecutor
from tests.search.driver.bombs import Exits, Kills, KillsInMidMessage, Raises, Waits, WaitsAtStart
from tests.search.driver.scripted import FEW
from trials.processes import identify
from trials.progress import Progress
from trials.scratch import scratch_folder, scratch_prefix, socket_folder
from trials.training import TrainSettings
from trials.trial_result import RESULT_FILE, TrialRequest, TrialResult, read_result, write_result

PATIENCE_S = 120.0
TRAIN = TrainSettings(epochs=2, batch_size=8, accelerator="cpu", num_threads=1, cache_mib=16)
MakeRequest = Callable[..., TrialRequest]


@pytest.fixture
def request_for(tmp_path: Path) -> MakeRequest:
    def make(dataset: str, *, number: int = 0, max_latency_ms: float | None = None) -> TrialRequest:
        return TrialRequest(
            study_id="a study",
            number=number,
            architecture=next(iter(FEW)),
            dataset=dataset,
            skip_broken=False,
            device="cpu",
            max_latency_ms=max_latency_ms,
            train=TRAIN,
            work_dir=tmp_path / f"{number:04d}",
            latency_cache=tmp_path / "latency.db",
        )

    return make


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    with closing(LocalExecutor(workers=2)) as found:
        yield found


def last_event(executor: LocalExecutor) -> tuple[list[Progressed], Event]:
    """Say "stop" to the first score, and give what was heard before the end, and the end."""
    heard: list[Progressed] = []
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        for event in executor.events(timeout_s=1.0):
            if not isinstance(event, Progressed):
                return heard, event
            heard.append(event)
            if event.progress.ap is not None:
                executor.answer(event.number, go_on=False)
    pytest.fail("the trial did not end")


def wait_for(path: Path) -> str:
    until = time.monotonic() + PATIENCE_S
    while not path.is_file():
        assert time.monotonic() < until, f"{path} did not come"
        time.sleep(0.02)
    return path.read_text(encoding="utf-8")


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that is over and only not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pid: int, *, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while is_alive(pid):
        assert time.monotonic() < until, f"process {pid} is still there after {seconds} s"
        time.sleep(0.02)


def test_a_trial_reports_and_heeds_the_answer(executor: LocalExecutor, request_for: MakeRequest) -> None:
    request = request_for("shapes:train=8,val=4,size=64")
    executor.start(request)
    heard, end = last_event(executor)
    assert isinstance(end, Finished)
    assert end.result.state == "pruned"
    assert end.result.epochs == 1
    assert end.result == read_result(request.work_dir, study_id=request.study_id, architecture=request.architecture)
    phases = [event.progress.phase for event in heard]
    assert phases[0] == "build"
    assert phases.index("measure") < phases.index("train")
    assert [event.progress.latency_ms for event in heard if event.progress.latency_ms] == [
        end.result.latency.median_ms if end.result.latency else None
    ]
    assert executor.events(timeout_s=0.0) == ()


def test_a_trial_goes_on_while_the_driver_reads_nothing() -> None:
    """The driver may wait for the measurement lock, which a trial that scores holds."""
    driver, trial = multiprocessing.Pipe()
    answers: queue.Queue[bool] = queue.Queue()
    is_over = threading.Event()

    def score() -> None:
        for step in range(2000):
            local_executor._report(trial, answers, Progress(phase="score", step=step))
        is_over.set()

    threading.Thread(target=score, daemon=True).start()
    assert is_over.wait(20.0)
    while driver.poll():
        driver.recv()
    answers.put(False)
    assert not local_executor._report(trial, answers, Progress(phase="train", ap=0.5))
    assert driver.recv() == Progress(phase="train", ap=0.5)


@pytest.mark.parametrize(
    ("bomb", "kind", "reason"),
    [
        (Exits, Died, "its process ended by exit code 7 without a result"),
        (Kills, Lost, "its process was ended from outside by signal SIGKILL"),
        (KillsInMidMessage, Lost, "its process was ended from outside by signal SIGKILL"),
    ],
)
def test_a_process_that_is_gone_is_buried_with_the_reason(
    executor: LocalExecutor, request_for: MakeRequest, bomb: type[str], kind: type[Died | Lost], reason: str
) -> None:
    executor.start(request_for(bomb("x"), number=3))
    assert last_event(executor)[1] == kind(number=3, reason=reason)
    executor.start(request_for(bomb("x"), number=4))  # its seat is free again
    assert last_event(executor)[1] == kind(number=4, reason=reason)


def test_a_process_that_the_kernel_killed_for_memory_is_dead_not_lost(
    executor: LocalExecutor, request_for: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("nr_free_pages 7\noom_kill 3\n")
    monkeypatch.setattr(local_executor, "_KERNEL_COUNTERS", counters)
    executor.start(request_for(Kills("x"), number=3))
    counters.write_text("nr_free_pages 7\noom_kill 4\n")
    reason = "its process was killed by the kernel for lack of memory (SIGKILL)"
    assert last_event(executor)[1] == Died(number=3, reason=reason)


def kill_fork_server() -> int:
    """Kill the process that trials are forked from; give its number."""
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    return int(pid)


def test_trials_go_on_and_start_where_the_server_that_forks_them_was_killed(
    executor: LocalExecutor, request_for: MakeRequest, tmp_path: Path
) -> None:
    executor.start(request_for(Waits(str(tmp_path / "pid")), number=1))
    running = int(wait_for(tmp_path / "pid"))
    killed = kill_fork_server()
    (tmp_path / "a file").touch()  # one that needs the measurement lock might wait for the first trial
    executor.start(replace(request_for("x", number=2), work_dir=tmp_path / "a file" / "0002"))
    end = last_event(executor)[1]
    assert isinstance(end, Finished)
    assert "cannot be written" in end.result.reason
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    assert server != killed
    assert b"PYTHONSAFEPATH=1" in Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    assert is_alive(running)
    os.kill(running, signal.SIGKILL)
    end = last_event(executor)[1]
    assert isinstance(end, Lost)
    assert "how is unknown: its server was killed before" in end.reason


def test_a_trial_starts_though_the_server_is_killed_while_it_forks_it(
    executor: LocalExecutor, request_for: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    forks = forkserver.connect_to_new_process
    starts: list[list[int]] = []

    def kill_once(fds: list[int]) -> object:
        starts.append(fds)
        if len(starts) == 1:
            os.waitid(os.P_PID, kill_fork_server(), os.WEXITED | os.WNOWAIT)
            raise EOFError
        if len(starts) < 5:  # it is not seen to be dead yet
            raise ConnectionRefusedError
        return forks(fds)

    monkeypatch.setattr(forkserver, "connect_to_new_process", kill_once)
    executor.start(request_for(Exits("x"), number=2))
    assert isinstance(last_event(executor)[1], Died)
    assert len(starts) == 5


def test_a_trial_s_temporary_files_end_with_it(executor: LocalExecutor, request_for: MakeRequest) -> None:
    request = request_for(Raises("x"), number=5)
    executor.start(request)
    folder = scratch_folder() / "trial-5"
    assert folder.is_dir()
    last_event(executor)
    assert not folder.exists()


def test_what_a_killed_search_left_goes_though_no_trial_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / f"{scratch_prefix().replace(str(identify(os.getpid())), '1-0')}abcdefgh"
    left.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch_folder.cache_clear()
    LocalExecutor()
    assert not left.exists()
    scratch_folder.cache_clear()  # the others' is elsewhere


def test_a_process_that_died_after_its_result_was_written_is_finished(
    executor: LocalExecutor, request_for: MakeRequest
) -> None:
    request = request_for(Raises("x"))
    executor.start(request)
    result = last_event(executor)[1]
    again = request_for(Exits("x"))
    assert (again.work_dir / RESULT_FILE).is_file()
    executor.start(again)
    assert last_event(executor)[1] == result


def test_a_trial_that_ended_unheard_is_handed_over_at_the_close(
    executor: LocalExecutor, request_for: MakeRequest
) -> None:
    request = request_for(Raises("x"))
    executor.start(request)
    wait_for(request.work_dir / RESULT_FILE)
    executor.start(request_for(Waits(request.work_dir / "waits"), number=1))
    (ended,) = executor.close()
    assert (ended.number, ended.result.state) == (0, "failed")
    assert executor.close() == []


def test_a_process_that_died_over_the_result_of_another_study_has_none(
    executor: LocalExecutor, request_for: MakeRequest
) -> None:
    other = request_for(Exits("x"))
    left = TrialResult(state="complete", ap=0.9)
    other.work_dir.mkdir()
    write_result(other.work_dir, left, study_id="deleted", architecture=other.architecture)
    executor.start(other)
    assert isinstance(last_event(executor)[1], Died)


def test_an_exception_nobody_foresaw_is_a_failed_trial_with_its_traceback(
    executor: LocalExecutor, request_for: MakeRequest
) -> None:
    request = request_for(Raises("x"))
    executor.start(request)
    _, end = last_event(executor)
    assert isinstance(end, Finished)
    assert end.result.state == "failed"
    assert end.result.reason == "ZeroDivisionError: nobody foresaw this (see traceback.txt in its folder)"
    assert "bombs.py" in (request.work_dir / "traceback.txt").read_text(encoding="utf-8")


def test_closing_ends_what_runs_at_once_and_may_be_repeated(
    executor: LocalExecutor, request_for: MakeRequest, tmp_path: Path
) -> None:
    for number in range(2):
        folder = WaitsAtStart(tmp_path / f"trial-{number}")
        executor.start(replace(request_for("shapes", number=number), work_dir=folder))
    pids = [int(wait_for(tmp_path / f"trial-{number}.pid")) for number in range(2)]
    assert all(is_alive(pid) for pid in pids)
    executor.close()
    assert not any(is_alive(pid) for pid in pids)
    executor.close()
    executor.answer(0, go_on=True)  # too late, and harmless


def test_a_trial_does_not_hear_the_terminal_s_interrupt(
    executor: LocalExecutor, request_for: MakeRequest, tmp_path: Path
) -> None:
    executor.start(request_for(Waits(str(tmp_path / "pid"))))
    pid = int(wait_for(tmp_path / "pid"))
    os.kill(pid, signal.SIGINT)
    heard = [*executor.events(timeout_s=0.2), *executor.events(timeout_s=0.2)]
    assert [type(event) for event in heard] == [Progressed]
    assert is_alive(pid)


class EndedError(BaseException):
    """Raised in place of the process's end."""


def test_a_trial_whose_driver_died_ends_without_a_result(
    request_for: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's end is not the architecture's fault: the resumed study tries it again."""

    def end(code: int) -> None:
        raise EndedError

    monkeypatch.setattr(local_executor, "_listen", lambda *args: None)  # a report may notice the end first
    monkeypatch.setattr(local_executor.os, "_exit", end)
    monkeypatch.setattr(local_executor.signal, "signal", lambda *args: None)
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    request = request_for("shapes:train=8,val=4,size=64")
    with pytest.raises(EndedError):
        local_executor._serve(theirs, request, dict(os.environ))
    theirs.close()
    assert read_result(request.work_dir, study_id=request.study_id, architecture=request.architecture) is None


DRIVER = """
import sys
from pathlib import Path
from search.driver.local_executor import LocalExecutor
from spaces import Architecture
from trials.training.settings import TrainSettings
from trials.trial_result import TrialRequest

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    executor = LocalExecutor(workers=1)
    executor.start(
        TrialRequest(
            study_id="a study",
            number=0,
            architecture=Architecture(backbone="mobilenetv3_small_050", truncation=11, input_size=64),
            dataset="nowhere",
            skip_broken=False,
            device="cpu",
            max_latency_ms=None,
            train=TrainSettings(),
            work_dir=folder / "0000",
            latency_cache=folder / "latency.db",
        )
    )
    for _ in range(60):
        for event in executor.events(timeout_s=1.0):
            print(event)
            if type(event).__name__ != "Progressed":
                raise SystemExit
"""


def test_files_in_the_current_folder_take_no_module_s_place(tmp_path: Path) -> None:
    """The command itself does not import from there, and neither do its trials."""
    folder, script = tmp_path / "current", tmp_path / "elsewhere" / "driver.py"
    (folder / "search").mkdir(parents=True)
    for name in ("spaces.py", "trials.py", "random.py", "socket.py", "torch.py", "search/__init__.py"):
        (folder / name).write_text("raise SystemExit(1)")
    script.parent.mkdir()
    script.write_text(DRIVER, encoding="utf-8")
    root = str(Path(__file__).parents[3])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"} | {"PYTHONPATH": root}
    driver = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert "dataset 'nowhere' does not exist" in driver.stdout, driver.stdout + driver.stderr


ON_TOP_LEVEL = """
import os
import sys
from pathlib import Path
from search.driver.local_executor import LocalExecutor
from spaces import Architecture
from tests.search.driver.bombs import TellsVariable
from trials.training.settings import TrainSettings
from trials.trial_result import TrialRequest

folder = Path(sys.argv[1])
with (folder / "runs.txt").open("a") as file:
    file.write("a run\\n")
executor = LocalExecutor(workers=1)
for number, weights in enumerate(("first", "second", None)):
    os.environ.pop("A_VARIABLE", None)
    if weights:
        os.environ["A_VARIABLE"] = weights
    executor.start(
        TrialRequest(
            study_id="a study",
            number=number,
            architecture=Architecture(backbone="mobilenetv3_small_050", truncation=11, input_size=64),
            dataset=TellsVariable(folder / str(number)),
            skip_broken=False,
            device="cpu",
            max_latency_ms=None,
            train=TrainSettings(),
            work_dir=folder / f"trial {number}",
            latency_cache=folder / "latency.db",
        )
    )
    for _ in range(60):
        if any(type(event).__name__ != "Progressed" for event in executor.events(timeout_s=1.0)):
            break
"""


def test_a_program_on_its_top_level_runs_once_and_its_trials_have_its_environment(tmp_path: Path) -> None:
    """Python would run it again in each trial, where it would search again."""
    script = tmp_path / "on_top_level.py"
    script.write_text(ON_TOP_LEVEL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs.txt").read_text() == "a run\n"
    assert [(tmp_path / str(number)).read_text() for number in range(3)] == ["first", "second", "none"]


def test_starts_in_two_threads_leave_the_program_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    program = sys.modules["__main__"]
    monkeypatch.setitem(sys.modules, "__main__", program)  # whatever this test finds, the others have it
    entered, leave, has_left, entered_too = (threading.Event() for _ in range(4))

    def start_slowly() -> None:
        with local_executor._without_program():
            entered.set()
            leave.wait(PATIENCE_S)
        has_left.set()

    def start_too() -> None:
        with local_executor._without_program():
            entered_too.set()
            has_left.wait(PATIENCE_S)

    first, second = threading.Thread(target=start_slowly), threading.Thread(target=start_too)
    first.start()
    assert entered.wait(PATIENCE_S)
    second.start()
    was_in_both = entered_too.wait(0.2)
    leave.set()
    for thread in (first, second):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert not was_in_both
    assert entered_too.is_set()
    assert sys.modules["__main__"] is program


def test_a_server_starts_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the main thread may set a signal's handler."""
    monkeypatch.setattr(local_executor.forkserver, "ensure_running", lambda: None)
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    thread = threading.Thread(target=local_executor._start_forkserver)
    thread.start()
    thread.join()
    assert failures == []


def test_a_server_s_start_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    folders: set[str | None] = set()

    def start() -> None:
        seen.append(os.environ.get("PYTHONSAFEPATH"))
        folders.add(tempfile.tempdir)

    monkeypatch.setattr(local_executor.forkserver, "ensure_running", start)
    for before in (None, "yes"):
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
        if before is not None:
            monkeypatch.setenv("PYTHONSAFEPATH", before)
        local_executor._start_forkserver()
        assert os.environ.get("PYTHONSAFEPATH") == before
        assert "YOLORET_NAS_DRIVER" not in os.environ
    assert seen == ["1", "1"]
    assert folders == {str(socket_folder())}


def test_the_server_is_deaf_to_ctrl_c_from_its_first_import(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole process group, also while the server imports what trials need."""
    code = (
        "import os, signal, time\n"
        "from multiprocessing import forkserver\n"
        "from search.driver.local_executor import LocalExecutor\n"
        "before = signal.getsignal(signal.SIGINT)\n"
        "executor = LocalExecutor(workers=1)\n"
        "os.kill(forkserver._forkserver._forkserver_pid, signal.SIGINT)\n"
        "time.sleep(0.5)\n"
        "print(open(f'/proc/{forkserver._forkserver._forkserver_pid}/stat').read().split()[2])\n"
        "assert signal.getsignal(signal.SIGINT) is before\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("R", "S", "D")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("workers", [0, -1])
def test_no_worker_cannot_run_a_trial(workers: int) -> None:
    with pytest.raises(ValueError, match=f"{workers} workers cannot run a trial"):
        LocalExecutor(workers=workers)


@pytest.mark.parametrize(
    ("gpus", "visible"), [(("0", "1"), ["0,1", "1,0", "0,1"]), (("",), [""] * 3)], ids=["of two", "hidden"]
)
def test_each_worker_sees_its_own_gpu_first_and_the_others_too(
    request_for: MakeRequest, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], visible: list[str]
) -> None:
    seen: list[str] = []

    class Stub:
        exitcode = 0

        def __init__(self, *, target: object, args: tuple[object, TrialRequest, dict[str, str]], name: str) -> None:
            seen.append(args[2]["CUDA_VISIBLE_DEVICES"])

        def start(self) -> None: ...

        def terminate(self) -> None: ...

        def join(self, timeout: float | None = None) -> None: ...

        def is_alive(self) -> bool:
            return False

    with closing(LocalExecutor(workers=3, gpus=gpus)) as executor:
        monkeypatch.setattr(executor._context, "Process", Stub)
        for number in range(3):
            executor.start(request_for("shapes", number=number))
    assert seen == visible
