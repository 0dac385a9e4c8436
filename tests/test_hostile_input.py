"""What a hostile file, archive or host name could do, and does not."""

import ast
import contextlib
import io
import os
import pickle
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest
import torch

from search.cluster.node_data import NodeData
from search.tracking.store import experiment_pages
from spaces import YoloRetError
from spaces.weights.tensor_file import read_tensors
from trials.data import DatasetError
from trials.data.known_datasets import _unpack
from trials.latency.device import UnknownDeviceError
from trials.latency.open_device import open_device
from trials.training import TrainingError, read_checkpoint

PACKAGES = ("spaces", "trials", "search", "yoloret_nas")
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
READS_CODE = {
    *((module, name) for module in ("pickle", "marshal", "dill") for name in ("load", "loads", "Unpickler")),
    *(("yaml", name) for name in ("load", "load_all", "full_load", "unsafe_load")),
    *{("shelve", "open"), ("joblib", "load"), ("pd", "read_pickle"), ("os", "system"), ("os", "popen")},
}


def calls() -> list[tuple[Path, ast.Call]]:
    root = Path(__file__).parents[1]
    files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    assert len(files) > 200
    return [
        (path, node) for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    ]


def test_no_module_reads_a_format_that_runs_code() -> None:
    num_loads = 0
    for path, call in calls():
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if isinstance(call.func, ast.Name):
            assert call.func.id not in RUNS_CODE, f"{path}:{call.lineno}"
        elif isinstance(call.func, ast.Attribute):
            place = (ast.unparse(call.func.value), call.func.attr)
            assert place not in READS_CODE, f"{path}:{call.lineno}"
            if place == ("torch", "load") or (call.func.attr == "fit" and "ckpt_path" in options):
                num_loads += 1
                assert options.get("weights_only") == "True", f"{path}:{call.lineno}"
            if call.func.attr == "load" and place[0] in ("np", "numpy"):
                assert "allow_pickle" not in options, f"{path}:{call.lineno}"
        assert options.get("shell", "False") == "False", f"{path}:{call.lineno}"
    assert num_loads == 3


class Exploit:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, kind: str) -> None:
    proof, path = tmp_path / "proof", tmp_path / "checkpoint.pt"
    values = {"format": 1, "state_dict": Exploit(proof)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(values, protocol=2))
    else:
        torch.save(values, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt cannot be read as a checkpoint"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match=r".+"):
        read_tensors(path)
    assert not proof.exists()


def test_a_checkpoint_that_states_a_length_of_gigabytes_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    text = b"\x80\x02X" + (2**32 - 16).to_bytes(4, "little") + b"abc"  # a pickled text, most of which is missing
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2) + text)
    script = (
        "import resource; from pathlib import Path; from spaces.weights.tensor_file import read_tensors\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))\n"
        f"try:\n    read_tensors(Path({str(path)!r}))\nexcept ValueError as error:\n    print(error)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout == "MemoryError\n", done.stderr


def hostile_tar(path: Path, kind: str, *, folder: Path) -> None:
    """Write an archive for the folder it is unpacked into; what it aims at lies in `outside_of`."""
    outside = outside_of(path.parent)
    away = os.path.relpath(outside, folder)
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo({"up": f"{away}/x", "absolute": str(outside / "x")}.get(kind, "link"))
        if kind == "symlink":
            entry.type, entry.linkname = tarfile.SYMTYPE, away
            tar.addfile(entry)
            entry = tarfile.TarInfo("link/x")
        if kind == "hardlink":
            entry.type, entry.linkname = tarfile.LNKTYPE, f"{away}/victim"
            tar.addfile(entry)
            entry = tarfile.TarInfo("link")  # written into the file that the link names
        if kind == "device":
            entry.type, entry.devmajor, entry.devminor = tarfile.CHRTYPE, 1, 3
        content = b"" if kind == "device" else b"hostile"
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))


KINDS = ("up", "absolute", "symlink", "hardlink", "device")


def outside_of(root: Path) -> Path:
    """Give a folder beside that of the data, with a file that nobody may change."""
    outside = root / "outside"
    if not outside.is_dir():
        outside.mkdir()
        (outside / "victim").write_text("kept")
    return outside


def assert_nothing_hostile(root: Path) -> None:
    """Look for what an archive wrote outside of the folders ``data``, and for anything but plain files and folders."""
    assert [path.name for path in outside_of(root).iterdir()] == ["victim"]
    assert (outside_of(root) / "victim").read_text() == "kept"
    for path in root.rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or (stat.S_ISREG(path.stat().st_mode) and path.stat().st_nlink == 1)
        assert path.name not in ("x", "link") or "data" in path.relative_to(root).parts


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_of_a_dataset_cannot_write_outside(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    hostile_tar(tmp_path / "a.tar", kind, folder=folder)
    with contextlib.suppress(DatasetError):  # an absolute name is made a relative one
        _unpack(tmp_path / "a.tar", folder)
    assert_nothing_hostile(tmp_path)


def test_a_zip_of_a_dataset_cannot_write_outside(tmp_path: Path) -> None:
    outside, folder = outside_of(tmp_path), tmp_path / "data"
    folder.mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../outside/x", str(outside / "x"), "a/../../outside/x"):
            archive.writestr(name, "hostile")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../outside")
        archive.writestr("link2/x", "plain")
    _unpack(tmp_path / "a.zip", folder)
    assert_nothing_hostile(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_for_a_node_cannot_write_outside(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda chunk: chunk)
    monkeypatch.setenv("YOLORET_NAS_DATA", str(tmp_path / "home"))
    hostile_tar(tmp_path / "a.tar", kind, folder=tmp_path / "home/cluster/receiving-abc-x/whole/data")
    with contextlib.suppress(tarfile.TarError, KeyError):
        NodeData().receive("abc", ".", [(tmp_path / "a.tar").read_bytes()])
    assert_nothing_hostile(tmp_path)


@pytest.mark.parametrize(
    "spec",
    [
        "ssh://-oProxyCommand=id", "ssh://me@-oProxyCommand=id", "ssh://-l@host", "ssh://host -oProxyCommand=id", "ssh://ho\nst",
        "ssh://host%20-v", "ssh://%68ost", "ssh://host;id", "ssh://$(id)", "ssh://host?trtexec=-x", "ssh://host?trtexec=/a%0Ab",
        "ssh://host?ProxyCommand=id", "ssh://[-v]", "ssh://host\0",
    ],
)  # fmt: skip
def test_no_host_name_is_an_option_of_ssh(spec: str) -> None:
    with pytest.raises(UnknownDeviceError, match="is not a board's address"):
        open_device(spec)


def test_no_error_holds_the_password_of_a_device_or_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownDeviceError, match=r"ssh://me:\*\*\*@nano") as caught:
        open_device("ssh://me:hunter2@nano")
    assert "hunter2" not in str(caught.value) + caught.value.hint
    error = YoloRetError("a\x1b[2Jb\ud800", hint="")
    assert str(error) == "a\\x1b[2Jb\\ud800"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9/?token=hunter2")
    with pytest.raises(YoloRetError, match=r"http://\*\*\*@127") as refused:
        experiment_pages(tmp_path)
    assert "hunter2" not in refused.value.message + refused.value.hint


def descendants(process: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [process]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def listening(processes: list[int]) -> list[str]:
    """Return the addresses, in hexadecimal, on which these processes listen."""
    sockets = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").glob("*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:"):
                sockets.add(target[8:-1])
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets]


@pytest.mark.slow
def test_the_ui_listens_on_loopback_alone_and_shows_no_secret_to_other_users(
    tmp_path: Path, empty_stores: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = "98765.4321"  # SQLite takes a number only
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{empty_stores / 'mlflow.db'}?timeout={secret}"}
    command = [sys.executable, "-m", "yoloret_nas", "ui", "--port", str(port)]
    out = tmp_path / "out"
    with out.open("w") as file:
        ui = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=file, stderr=file, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert ui.poll() is None, out.read_text()
                assert time.monotonic() < until, out.read_text()
                time.sleep(0.5)
        ours = descendants(ui.pid)
        found = listening(ours)
        assert found
        assert set(found) == {"0100007F"}  # 127.0.0.1
        shown = [Path(f"/proc/{process}/cmdline").read_bytes() for process in ours]
        assert len(shown) > 1
        assert not any(secret.encode() in words for words in shown)
        assert secret not in out.read_text()
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.wait(30)
