"""MLflow's own server, and PostgreSQL's, started for a test on this machine."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_STARTING_S = 120.0
"""A machine that is busy with other tests takes long."""


class TrackingServer:
    """A ``mlflow server`` that can be killed and started again; its files stay.

    Args:
        folder: Of its artifacts and its log.
        store: URI of its database.
        options: Of its command line, besides.
        environment: Variables besides those of this process.
    """

    def __init__(
        self, folder: Path, store: str, *, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = folder / "server.log"
        host, port = self.address.split(":")
        self._command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1"]
        self._command += ["--artifacts-destination", str(folder / "artifacts"), *options]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            "MLFLOW_BACKEND_STORE_URI": store,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """What MLFLOW_TRACKING_URI is, without user and password."""
        return f"http://{self.address}"

    def is_up(self) -> bool:
        """Tell whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + _STARTING_S
        while not self.is_up():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill it with all its processes, as a machine that loses its power does."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@contextmanager
def tracking_server(
    folder: Path, store: str, *, options: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[TrackingServer]:
    """Start a `TrackingServer`, and kill it at the end."""
    folder.mkdir(exist_ok=True)
    server = TrackingServer(folder, store, options=options, environment=environment)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def find_postgresql() -> Path | None:
    """Find the folder of PostgreSQL's server; Debian's is not on the path."""
    found = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"), default=None)
    return None if found is None else Path(found).resolve().parent


class PostgreSQL:
    """PostgreSQL on a new cluster, behind a socket in a folder of its own; it can be killed and started again.

    It refuses to run as root, and then runs as nobody.

    Args:
        programs: Its programs' folder.
        folder: Of its files and its socket.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.uri = f"postgresql://mlflow@/postgres?host={folder}"
        self._programs, self._folder = programs, folder
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user)
        kind = ("--auth", "trust", "--locale", "C", "--encoding", "UTF8", "--no-sync")
        self._call("initdb", "--pgdata", str(folder / "data"), "--username", "mlflow", *kind)

    def create_database(self, name: str) -> str:
        """Create a database; return its URI for psycopg: Optuna and MLflow each have a table of the name alembic_version."""
        self._call("createdb", "--host", str(self._folder), "--username", "mlflow", name)
        return f"postgresql+psycopg://mlflow@/{name}?host={self._folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log, options = self._folder / "log", f"-F -k {self._folder} -c listen_addresses="
        self._call("pg_ctl", "start", "--pgdata", str(self._folder / "data"), "--log", str(log), "--options", options)

    def stop(self) -> None:
        """Stop it at once; it recovers at the next start."""
        self._call("pg_ctl", "stop", "--pgdata", str(self._folder / "data"), "--mode", "immediate")

    def kill(self) -> None:
        """Kill its first process, whose others then end by themselves, and wait for them."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        others = [Path("/proc") / child for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        os.kill(pid, signal.SIGKILL)
        while any(other.exists() for other in others):
            time.sleep(0.05)

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, check=True, user=self._user, cwd="/", stdout=subprocess.DEVNULL)


@contextmanager
def postgresql(programs: Path) -> Iterator[PostgreSQL]:
    """Start PostgreSQL, and stop it at the end; arguments as for `PostgreSQL`."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:  # not pytest's, which only its owner may enter
        server = PostgreSQL(programs, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
