"""What boards say of themselves."""

import subprocess
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import PutUpBoard
from tests.trials.latency.board.loopback import LoopbackBoard
from tests.trials.latency.board.versions import FLAGS
from trials.latency import DeviceError, UnusableDeviceError
from trials.latency.board import parse_address
from trials.latency.board.probe import Board, BoardState, identity_of, probe_board, read_state, split_parts
from trials.latency.board.scripts import PRELUDE
from trials.latency.board.ssh import SshHost

ORIN = """\
devfreq 15340000.vic 115200000 115200000 729600000
devfreq 17000000.gpu 306000000 306000000 1020000000
thermal cpu-thermal 48500
thermal gpu-thermal 46218
thermal cv0-thermal -256000
thermal PMIC-Die 50000
memory MemTotal 7802880
memory MemFree 1000000
memory MemAvailable 5242880
power 15W
disk 52428800
"""


def probe(spec: str) -> Board:
    with closing(SshHost(parse_address(spec))) as host:
        return probe_board(host)


def test_the_state_of_a_board() -> None:
    state = read_state(ORIN)
    assert (state.gpu_mhz, state.gpu_min_mhz, state.gpu_max_mhz) == (306, 306, 1020)
    assert state.is_clock_locked is False
    assert state.temperatures_c == {"cpu-thermal": 48.5, "gpu-thermal": 46.218}
    assert (state.temperature_c, state.power_mode) == (46.218, "15W")
    assert (state.memory_mib, state.free_memory_mib, state.free_disk_mib) == (7620, 5120, 51200)


def test_a_desktop_with_a_card() -> None:
    state = read_state(
        "visible 0\nnvidia-smi 0, GPU-ab12, NVIDIA GeForce RTX 3060, 1777, 2100, 41, 12288, 11000\nmemory MemTotal 99\n"
    )
    assert (state.gpu, state.gpu_mhz, state.gpu_max_mhz, state.is_clock_locked) == (
        "NVIDIA GeForce RTX 3060", 1777, 2100, None,
    )  # fmt: skip
    assert (state.temperature_c, state.memory_mib, state.free_memory_mib) == (41, 12288, 11000)


@pytest.mark.parametrize(
    "text", ["", "devfreq x 1 2\nthermal hot\nnvidia-smi\ndisk many\n", "visible 0\nnvidia-smi No devices were found\n"]
)
def test_a_board_that_tells_little(text: str) -> None:
    state = read_state(text)
    assert (state.gpu_mhz, state.temperature_c, state.free_disk_mib, state.is_clock_locked) == (None,) * 4


def test_only_marks_with_the_nonce_count() -> None:
    text = "motd\n@abc board\nmodel X\n@zzz end\n@abc end\n0 1\n"
    assert split_parts(text, "abc") == {"board": "model X\n@zzz end\n", "end": "0 1\n"}


@pytest.mark.parametrize(
    "version", [v if v in ("7.1.3", "10.13.3") else pytest.param(v, marks=pytest.mark.slow) for v in FLAGS]
)
def test_each_version_is_read_from_the_board(put_up_board: PutUpBoard, version: str) -> None:
    stand_in = put_up_board(version=version)
    host = SshHost(parse_address(stand_in.spec), config=stand_in.config)
    board = probe_board(host)
    assert str(board.trtexec.version) == version
    assert board.model == "NVIDIA Jetson Nano Developer Kit"
    assert (board.l4t, board.has_flock, board.has_timeout, board.load) == ("32.7.4", True, True, 0.1)
    host.close()


def test_the_identity_of_a_board(board: LoopbackBoard) -> None:
    host = SshHost(parse_address(board.spec))
    found = probe_board(host)
    host.close()
    identity = identity_of(found, found.state)
    assert str(identity) == (
        "NVIDIA Jetson Nano Developer Kit · TensorRT 8.2.1 · fp16, L4T 32.7.4, power mode MAXN, "
        "GPU clock locked at 922 MHz, launch CUDA graph"
    )
    slower = BoardState(gpu_mhz=76.8, gpu_min_mhz=76.8, gpu_max_mhz=921.6, power_mode="5W", temperatures_c={})
    assert identity_of(found, slower).differences(identity) == [
        "power mode: MAXN → 5W",
        "GPU clock: locked at 922 MHz → free up to 922 MHz",
    ]


def test_a_board_without_trtexec(board: LoopbackBoard) -> None:
    (board.root / "usr/src/tensorrt/bin/trtexec").unlink()
    with pytest.raises(UnusableDeviceError, match="board has no trtexec") as caught:
        probe(board.spec)
    assert "?trtexec=" in caught.value.hint


def test_a_trtexec_of_another_place(board: LoopbackBoard) -> None:
    (board.root / "my own").mkdir()
    (board.root / "usr/src/tensorrt/bin/trtexec").rename(board.root / "my own/trtexec $(id)")
    spec = f"ssh://board?trtexec={board.root}/my own/trtexec %24(id)"
    assert probe(spec).trtexec.path.endswith("/my own/trtexec $(id)")


def test_a_trtexec_that_does_not_run(board: LoopbackBoard) -> None:
    (board.root / "usr/src/tensorrt/bin/trtexec").write_text("#!/bin/sh\necho libnvinfer.so.8: cannot open\nexit 127\n")
    with pytest.raises(DeviceError, match=r"prints no help: libnvinfer.so.8: cannot open"):
        probe(board.spec)


def test_a_login_shell_that_refuses(board: LoopbackBoard) -> None:
    (board.folder / "session.sh").write_text("echo This account is not available; exit 1\n")
    with pytest.raises(DeviceError, match="cannot be reached"):
        probe(board.spec)


def test_a_login_shell_that_talks(board: LoopbackBoard) -> None:
    session = (board.folder / "session.sh").read_text()
    (board.folder / "session.sh").write_text("echo 'Welcome! work /etc'; echo error 1\n" + session)
    assert probe(board.spec).trtexec.version == (8, 2, 1)


def test_figures_of_thousands_of_digits_are_unknown() -> None:
    state = read_state(
        f"devfreq x.gpu {'9' * 5000} 1 2\nthermal GPU {'9' * 5000}\nmemory MemTotal {'9' * 5000}\ndisk {'9' * 5000}\n"
        "visible 0\nnvidia-smi 0, GPU-ab, Card, nan, inf, 1e999, [N/A], x\n"
    )
    assert (state.gpu_mhz, state.gpu_max_mhz, state.temperature_c) == (None, None, None)
    assert (state.memory_mib, state.free_memory_mib, state.free_disk_mib) == (None, None, None)


@pytest.mark.parametrize("missing", ["board", "help", "end"])
def test_an_answer_without_one_of_its_parts_is_told(missing: str) -> None:
    class Host:
        address = parse_address("ssh://nano")

        def run(self, script: str, nonce: str, *words: str, **_: object) -> SimpleNamespace:
            out = "".join(f"@{nonce} {name}\n\n" for name in ("board", "help", "end") if name != missing)
            return SimpleNamespace(host="nano", exit_status=0, stdout=out, stderr="")

    with pytest.raises(DeviceError, match="probing nano failed"):
        probe_board(Host())  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["/nonexistent/home", "nowhere", ""])
def test_a_home_that_is_not_there_is_no_endless_loop(board: LoopbackBoard, place: str) -> None:
    profile = board.folder / "profile"
    profile.write_text(f"XDG_CACHE_HOME={place} HOME=/nonexistent; export XDG_CACHE_HOME HOME\n")
    done = subprocess.run(
        ["sh", "-c", f". {profile}\n{PRELUDE}\nstate"],
        env={"PATH": "/usr/bin:/bin", "YOLORET_NAS_BOARD_ROOT": str(board.root)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert "disk " in done.stdout


@pytest.mark.parametrize(
    ("visible", "name"),
    [
        ("", "GT 1030"),
        ("1", "RTX 4090"),
        (" 1,0", "RTX 4090"),
        ("GPU-cd,GPU-ab12", "RTX 4090"),
        ("GPU-ab12", "GT 1030"),
    ],
)
def test_of_several_gpus_the_state_is_of_the_one_that_trtexec_uses(tmp_path: Path, visible: str, name: str) -> None:
    state, said = _state_of_two_cards(tmp_path, visible)
    assert (state.gpu, state.hidden) == (name, "")
    assert f"by PCI_BUS_ID, trtexec sees {visible or '0'}\n" in said


@pytest.mark.parametrize("visible", ["-1", "7", "NoDevFiles", "MIG-ab12", "all"])
def test_gpus_that_the_account_hides_are_no_card_of_another_name(tmp_path: Path, visible: str) -> None:
    state, _ = _state_of_two_cards(tmp_path, visible)
    assert (state.gpu, state.gpu_mhz, state.hidden) == ("", None, visible)


def _state_of_two_cards(folder: Path, visible: str) -> tuple[BoardState, str]:
    """Run the script's ``state`` where a stand-in of nvidia-smi tells of two cards."""
    smi = folder / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text(
        "#!/bin/sh\n"
        "echo '0, GPU-ab12, GT 1030, 1000, 1500, 40, 2048, 2000'\n"
        "echo '1, GPU-cd34, RTX 4090, 2500, 3000, 50, 24000, 23000'\n"
        'echo "by $CUDA_DEVICE_ORDER, trtexec sees $CUDA_VISIBLE_DEVICES"\n'
    )
    smi.chmod(0o755)
    environment = {"PATH": f"{smi.parent}:/usr/bin:/bin", "YOLORET_NAS_BOARD_ROOT": str(folder), "HOME": str(folder)}
    environment |= {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    done = subprocess.run(
        ["sh", "-c", f"{PRELUDE}\nstate"], env=environment, capture_output=True, text=True, timeout=20, check=True
    )
    return read_state(done.stdout), done.stdout
