"""A campaign of kills: what a search loses when its processes are killed at random moments.

    python -m benchmarks.stress.kill_campaign --kills 200 --seed 0
    python -m benchmarks.stress.kill_campaign --kills 10 --seed 0 --data PATH --epochs 2 --budget 4

It starts `yoloret-nas search` as a user would, kills with SIGKILL, and starts the same command again until the budget is
reached; then it compares the study with MLflow and reads every file (`benchmarks.stress.study_check`). Then the next study
begins, in the same folder of studies. A quarter of the kills is made with MLflow's server on SQLite, a quarter with that and
the study on PostgreSQL (if it is there), the rest with the SQLite files that need no server.

Without --data trials are as quick as they can be: generated images, one epoch, latencies that the cache holds already. What
is killed is drawn at random, and so is the moment: from the start of the command on, or around a running trial. Prints the
kills by kind, and each violation; exits with 1 if there was one.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.stress.study_check import violations
from search.study.database.storage import STORAGE_VARIABLE
from spaces.space_file import read_space
from tests.search.tracking.servers import PostgreSQL, TrackingServer, find_postgresql, postgresql, tracking_server
from trials.data import open_dataset
from trials.latency import Latency
from trials.latency.cache import LatencyCache
from trials.latency.cpu import CpuDevice
from trials.onnx.export import export_for_timing
from trials.trial_result import RESULT_FILE

Server = TrackingServer | PostgreSQL

QUICK_SPACE = """\
name: sixteen
description: Sixteen architectures that train in a second.
backbones:
  mobilenetv3_small_050: {truncation: [9, 10], transfer: [0]}
scale_set: [none]
shortcut: [none]
rfcr_width: [16]
rfcr_channels: [32]
rfcr_kernel: [3]
head: [plain, decoupled]
head_width: [16, 24, 32, 48]
input_size: [64]
"""
QUICK_DATA = "shapes:train=8,val=4,size=64"
"""Data of a quick trial."""
_MARK = "YOLORET_NAS_CAMPAIGN"
"""Variable that every process of a start has, the driver's descendants too."""
_ANYWHERE = 1 / 3
_AROUND_S = 2.0
"""A quick trial takes a second, on a quiet core."""
_GONE_S = 2.0
"""How long processes may outlive their driver."""
_ENDING_S = 600.0
_MOST_REFUSED = 10
"""Starts without a kill of a server that a search may refuse after one."""
_POLL_S = 0.05


def main() -> None:
    """Run the campaign; print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", help="train on these images, and measure latencies")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--budget", type=int, default=12, help="of each study")
    given = parser.parse_args()
    campaign = Campaign(rng=random.Random(given.seed), data=given.data, epochs=given.epochs, budget=given.budget)
    quarter = given.kills // 4
    for store, kills in {"postgresql": quarter, "server": quarter, "file": given.kills - 2 * quarter}.items():
        campaign.kill(kills, store=store)
    print(campaign.table())
    sys.exit(bool(campaign.violations))


class Campaign:
    """Counts kills and violations.

    Args:
        rng: Draws what is killed, and when.
        data: Images to train on; None for quick trials.
        epochs: Of a trial.
        budget: Of a study.
    """

    def __init__(self, *, rng: random.Random, data: str | None, epochs: int, budget: int) -> None:
        self._rng, self._data, self._epochs, self._budget = rng, data, epochs, budget
        self._kills: Counter[str] = Counter()
        self._num_starts = self._num_studies = 0
        self._drivers: list[int] = []
        self._gone_s: list[float] = []
        self._paces = [10.0]
        self.violations: list[str] = []

    def kill(self, kills: int, *, store: str) -> None:
        """Make some kills, in as many studies as it takes, which all come to their end.

        Args:
            kills: How many.
            store: MLflow's: ``file``, ``server`` or ``postgresql``.
        """
        with TemporaryDirectory(prefix="kills-") as folder, ExitStack() as stack:
            place = Path(folder)
            (place / "space.yaml").write_text(QUICK_SPACE)
            (place / "temporary").mkdir()
            servers: dict[str, Server] = {}
            database, environment = (
                f"sqlite:///{place / 'server.db'}",
                {"MLFLOW_TRACKING_URI": "", STORAGE_VARIABLE: ""},
            )
            if store == "postgresql":
                programs = find_postgresql()
                if programs is None:
                    print(
                        "PostgreSQL is not there (Debian: postgresql): MLflow's server is on SQLite, the study in a file"
                    )
                else:
                    servers["PostgreSQL"] = both = stack.enter_context(postgresql(programs))
                    database, environment[STORAGE_VARIABLE] = both.uri, both.create_database("optuna")
            if store != "file":
                servers["MLflow's server"] = server = stack.enter_context(tracking_server(place / "server", database))
                environment["MLFLOW_TRACKING_URI"] = server.uri
            while kills:
                self._num_studies += 1
                kills = self._play_study(place, f"study-{self._num_studies}", kills, servers, environment)

    def table(self) -> str:
        """Return the campaign's figures."""
        lines = [f"{kind:20} {count:5}" for kind, count in sorted(self._kills.items())]
        slowest = f"the last process of a killed driver was gone after {max(self._gone_s, default=0.0):.2f} s at most"
        summary = f"{self._kills.total()} kills in {self._num_studies} studies of {self._budget} trials; {slowest}"
        return "\n".join([*lines, summary, f"violations: {len(self.violations)}", *self.violations])

    def _play_study(
        self, place: Path, name: str, left: int, servers: Mapping[str, Server], environment: Mapping[str, str]
    ) -> int:
        """Search to the end of a study with up to `left` kills; return how many are left.

        None are left where the search ends with an error before one was made: so would the next study's.
        """
        root = place / "runs"
        command = [sys.executable, "-m", "yoloret_nas", "search", "--study", name, "--dir", str(root)]
        command += ["--space", str(place / "space.yaml"), "--budget", str(self._budget), "--epochs", str(self._epochs)]
        command += ["--refit", "0", "--workers", str(self._rng.choice((1, 2))), "--data", self._data or QUICK_DATA]
        if not self._data:
            fill_cache(place / "space.yaml", root / "latency.db")
        num_before, num_refused, former = left, 0, None
        while True:
            self._num_starts += 1
            mark = f"{os.getpid()}-{self._num_starts}"
            start = Start(command, place, mark=mark, environment=environment, folder=root / name / "trials")
            if former:
                self._check_gone(former)
            was_server_killed, former = num_refused > 0, None
            self._drivers.append(start.driver.pid)
            while left and not start.died and self._await_moment(start):
                kind = self._rng.choice((*PROCESSES, *servers))
                if kind in servers:
                    self._kill_server(servers[kind])
                    was_server_killed = True
                elif not PROCESSES[kind](start):
                    continue  # what it kills is not there now
                self._kills[kind] += 1
                left -= 1
                print(f"{self._kills.total():4} {kind}, {start.age_s:.1f} s after the start", flush=True)
            if start.died:
                if self._rng.random() < 0.5:  # else the next start meets what is left of this one
                    self._check_gone(start)
                else:
                    former = start
                continue
            code, said = start.finish()
            self._paces += [start.pace_s] if start.pace_s else []
            if code == 0:
                break
            num_refused += 1  # without MLflow's server a search cannot start
            if num_refused > _MOST_REFUSED or not ("cannot be used" in said and was_server_killed):
                self._blame("search", f"{name} ended with {code}: {said[-1500:]}")
                return left if left < num_before else 0
        self._check_study(place, name, environment)
        return left

    def _await_moment(self, start: "Start") -> bool:
        """Wait for a moment drawn at random; return whether the search still runs then.

        A third of the moments lies anywhere, the start included; the others lie around a running trial.
        """
        if self._rng.random() < _ANYWHERE:
            return start.wait(self._rng.uniform(0.0, median(self._paces[-9:])))
        while not start.trials() and start.wait(_POLL_S):
            pass
        return start.wait(self._rng.uniform(0.0, _AROUND_S))

    def _kill_server(self, server: Server) -> None:
        server.kill()
        time.sleep(self._rng.uniform(0.0, 6.0))
        server.start()

    def _check_gone(self, start: "Start") -> None:
        """Wait until nothing of a killed driver is left."""
        while alive := start.processes():
            if time.monotonic() - start.died > _GONE_S:
                self._blame("processes", f"{len(alive)} are left {_GONE_S:g} s after the driver's death: {alive}")
                for process in alive:
                    process.kill()
            time.sleep(_POLL_S)
        self._gone_s.append(time.monotonic() - start.died)

    def _check_study(self, place: Path, name: str, environment: Mapping[str, str]) -> None:
        with variables(environment):
            for violation in violations(place / "runs", name, budget=self._budget):
                self._blame("record", f"{name}: {violation}")
        theirs = [path for pid in self._drivers for path in Path("/tmp").glob(f"yoloret-nas-{pid}-*")]  # their sockets
        if left := [str(path) for path in (*(place / "temporary").iterdir(), *theirs)]:
            self._blame("temporary files", f"{name} left {left}")

    def _blame(self, kind: str, violation: str) -> None:
        print(f"VIOLATION {kind}: {violation}", flush=True)
        self.violations.append(f"{kind}: {violation}")


@dataclass(frozen=True)
class Process:
    """A process of a start, which another one may not be taken for."""

    pid: int
    parent: int
    command: str

    def kill(self) -> None:
        """Kill it, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Start:
    """One start of the search's command, in a process group of its own.

    Args:
        command: The search's.
        place: Folder of the campaign.
        mark: Distinguishes its processes from all others.
        environment: Variables besides those of this process.
        folder: Of the study's trials.
    """

    def __init__(
        self, command: Sequence[str], place: Path, *, mark: str, environment: Mapping[str, str], folder: Path
    ) -> None:
        self.died = 0.0
        """When its driver was killed, of `time.monotonic`; 0 before."""
        self.pace_s = 0.0
        self._mark = f"{_MARK}={mark}".encode()
        self._folder, self._num_before = folder, count_results(folder)
        self._num_at_loss = -1
        self._log = place / "search.log"
        own = {_MARK: mark, "TMPDIR": str(place / "temporary")}
        self._began = time.monotonic()
        with self._log.open("w") as log:
            self.driver = subprocess.Popen(
                command, env={**os.environ, **environment, **own}, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def wait(self, seconds: float) -> bool:
        """Wait; return whether the search still runs then."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.driver.poll() is None:
            if not self.pace_s and count_results(self._folder) > self._num_before:
                self.pace_s = self.age_s
            time.sleep(_POLL_S)
        return self.driver.poll() is None

    def finish(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said."""
        self.wait(_ENDING_S)
        if self.driver.poll() is None:
            os.killpg(self.driver.pid, signal.SIGKILL)
        return self.driver.wait(), self._log.read_text()

    def processes(self) -> list[Process]:
        """Return its processes; one that is over and only not waited for is none."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and self._mark in (entry / "environ").read_bytes().split(b"\0"):
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if state != "Z":
                        found.append(Process(int(entry.name), int(parent), command))
        return found

    def kill_driver(self) -> bool:
        """Kill the driver."""
        self.driver.kill()
        self.driver.wait()
        self.died = time.monotonic()
        return True

    def kill_group(self) -> bool:
        """Kill the driver and its descendants, all at once."""
        os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()
        self.died = time.monotonic()
        return True

    def kill_trial(self) -> bool:
        """Kill the process of one trial, but not two in a row: the third loss of one architecture is its failure."""
        num_now, trials = count_results(self._folder), self.trials()
        if not trials or num_now == self._num_at_loss:
            return False
        self._num_at_loss = num_now
        trials[0].kill()
        return True

    def kill_trial_and_driver(self) -> bool:
        """Kill the process of one trial, then the driver."""
        return self.kill_trial() and self.kill_driver()

    def kill_fork_server(self) -> bool:
        """Kill the process that trials are forked from."""
        servers = self._fork_servers()
        for process in servers:
            process.kill()
        return bool(servers)

    def trials(self) -> list[Process]:
        """Return the processes of trials: forked, so that they show their server's command.

        Another child of a server is a program that an import runs, such as ``ldconfig``.
        """
        servers = {process.pid: process.command for process in self._fork_servers()}
        return [process for process in self.processes() if servers.get(process.parent) == process.command]

    def _fork_servers(self) -> list[Process]:
        return [one for one in self.processes() if one.parent == self.driver.pid and "forkserver" in one.command]


PROCESSES: Mapping[str, Callable[[Start], bool]] = {
    "driver": Start.kill_driver,
    "process group": Start.kill_group,
    "trial": Start.kill_trial,
    "trial, then driver": Start.kill_trial_and_driver,
    "fork server": Start.kill_fork_server,
}


def count_results(trials: Path) -> int:
    """Return how many trials of a study's folder of trials have a result."""
    return len(list(trials.glob(f"*/{RESULT_FILE}")))


def fill_cache(space: Path, cache: Path) -> None:
    """Make up the latencies of a space's architectures: a busy machine then refuses none."""
    if cache.exists():
        return
    num_classes = len(open_dataset(QUICK_DATA).class_names)
    device = CpuDevice()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for number, architecture in enumerate(read_space(space)):
            export_for_timing(architecture, path, num_classes=num_classes, opset=device.opset)
            LatencyCache(cache).put(path, Latency(samples_ms=(1.0 + number / 10,), device=device.identity()))


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


if __name__ == "__main__":
    main()
