"""A board on loopback for tests: OpenSSH's own server on a free port, with keys and configuration of its own.

Nothing of the user's ~/.ssh is read or written. What stands behind the server is a stand-in, and called one.
"""

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def missing() -> str:
    """Tell why no board can be put up here; empty where one can."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return "there is no OpenSSH client here"
    if not Path(_SSHD).exists():
        return "there is no sshd here (Debian: openssh-server)"
    return ""


class LoopbackBoard:
    """A running sshd and the stand-in board behind it.

    Args:
        folder: Where all of it lives.
        version: Of the TensorRT it stands in for.
        settings: Of board.json: ``noise``, ``slowdown``.
    """

    def __init__(self, folder: Path, *, version: str = "8.2.1", **settings: Any) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.home = folder / "home"
        self.config = folder / "ssh_config"
        self.port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        for path in (self.home, self.root / "bin", self.root / "tmp"):
            path.mkdir(parents=True, exist_ok=True)
        self._furnish()
        self.set(version=version, **settings)
        self._make_keys()

    @property
    def spec(self) -> str:
        """What to give to --device."""
        return "ssh://board"

    @property
    def cache(self) -> Path:
        """Where the device keeps its files on the board."""
        return self.home / ".cache/yoloret-nas"

    def set(self, **settings: Any) -> None:
        """Change board.json."""
        path = self.folder / "board.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, **settings}))

    def fail(self, **faults: Sequence[str] | float) -> None:
        """Set the faults to come; see the stand-in."""
        (self.folder / "faults.json").write_text(json.dumps(faults))

    def calls(self) -> list[dict[str, Any]]:
        """Give the calls of the stand-in that came to an end by themselves."""
        path = self.folder / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def clock(self, mhz: float, *, low: float | None = None, high: float | None = None) -> None:
        """Set the GPU's clock, locked unless bounds are given."""
        gpu = self.root / "sys/class/devfreq/57000000.gpu"
        gpu.mkdir(parents=True, exist_ok=True)
        for name, value in (("cur", mhz), ("min", low or mhz), ("max", high or mhz)):
            (gpu / f"{name}_freq").write_text(f"{round(value * 1e6)}\n")

    def power(self, mode: str) -> None:
        """Set the power mode."""
        self._program("nvpmodel", f"echo 'NV Power Mode: {mode}'; echo 0")

    def install_tensorrt(self) -> None:
        """Give its python3 packages, which it lacks at first; that of TensorRT is a stand-in for the stand-in's engines."""
        self.set(holds_network=True)
        path = f"{HERE / 'python_packages'}:{HERE.parents[1] / 'onnx'}"
        self._program("python3", f'PYTHONPATH={path} exec {sys.executable} "$@"')

    def processes(self) -> list[str]:
        """List what runs on the board: processes of its sessions, sshd's own left out."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if f"YOLORET_NAS_BOARD_ROOT={self.root}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:8000])
        return found

    def wait_until_quiet(self, seconds: float = 15.0) -> list[str]:
        """Wait until nothing runs on the board; give what still does."""
        until = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.1)
        return left

    def files(self) -> list[str]:
        """List the files left in the board's home, relative to the caches."""
        return sorted(str(path.relative_to(self.cache)) for path in self.home.rglob("*") if path.is_file())

    def start(self) -> None:
        """Start the server."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [_SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with (self.folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise TimeoutError((self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        """Stop the server with all its connections, as a board that loses power."""
        if self._server is not None:
            for child in _children(self._server.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, 9)
            self._server.kill()
            self._server.wait()
            self._server = None

    def _furnish(self) -> None:
        tree = self.root / "proc/device-tree"
        tree.mkdir(parents=True)
        (tree / "model").write_bytes(b"NVIDIA Jetson Nano Developer Kit\0")
        (self.root / "proc/loadavg").write_text("0.10 0.20 0.30 1/300 4242\n")
        (self.root / "proc/meminfo").write_text("MemTotal: 4059416 kB\nMemFree: 1059416 kB\nMemAvailable: 2859416 kB\n")
        (self.root / "etc").mkdir()
        (self.root / "etc/nv_tegra_release").write_text("# R32 (release), REVISION: 7.4, GCID: 1, BOARD: t210ref\n")
        zones = {"AO-therm": 45000, "CPU-therm": 38500, "GPU-therm": 37000, "PMIC-Die": 100000, "off": -1}
        for number, (name, value) in enumerate(zones.items()):
            zone = self.root / f"sys/devices/virtual/thermal/thermal_zone{number}"
            zone.mkdir(parents=True)
            (zone / "type").write_text(f"{name}\n")
            (zone / "temp").write_text(f"{value}\n")
        self.clock(921.6)
        self.power("MAXN")
        self._program("python3", f'exec {sys.executable} -S "$@"')  # without packages
        self._program("dpkg-query", "echo 'install ok installed 7.1.3-1+cuda10.2'")
        (self.folder / "session.sh").write_text(
            f"export YOLORET_NAS_BOARD_ROOT={self.root} ORT_DISABLE_TELEMETRY=1\n"
            f"export PATH={self.root}/bin:$PATH\nunset XDG_CACHE_HOME\ncd\n"
            f"if [ -e {self.folder}/faults.json ]; then exec {sys.executable} {HERE}/failing_session.py {self.folder}; fi\n"
            'exec sh -c "${SSH_ORIGINAL_COMMAND:-true}"\n'
        )
        trtexec = self.root / "usr/src/tensorrt/bin/trtexec"
        trtexec.parent.mkdir(parents=True)
        self._program("trtexec", f'exec {sys.executable} {HERE / "trtexec_stand_in.py"} "$@"', path=trtexec)

    def _program(self, name: str, script: str, *, path: Path | None = None) -> None:
        path = path or self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def _make_keys(self) -> None:
        for name in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.folder / name)]
            subprocess.run(command, check=True)
        (self.folder / "authorized_keys").write_text((self.folder / "user_key.pub").read_text())
        host_key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nPermitRootLogin yes\n"
            f"PasswordAuthentication no\nMaxSessions 20\nMaxStartups 100\nLogLevel ERROR\n"
            f"SetEnv HOME={self.home}\nForceCommand sh {self.folder}/session.sh\n"
        )
        self.config.write_text(
            f"Host board\n  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f"Host *\n  IdentityFile {self.folder}/user_key\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
        )


@contextlib.contextmanager
def loopback_board(folder: Path, **settings: Any) -> Iterator[LoopbackBoard]:
    """Put up a board while the block runs."""
    board = LoopbackBoard(folder, **settings)
    board.start()
    try:
        yield board
    finally:
        board.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found += [int(entry.name), *_children(int(entry.name))]
    return found
