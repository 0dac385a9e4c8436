"""Addresses, quoting, errors and time limits of ssh, against OpenSSH's own server on loopback."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import PutUpBoard
from tests.trials.latency.board.loopback import LoopbackBoard
from trials.latency import DeviceAwayError, DeviceError, UnknownDeviceError, UnusableDeviceError
from trials.latency.board import SshDevice, parse_address
from trials.latency.board.address import SshAddress
from trials.latency.board.remote_process import RemoteEndError, explain_loss
from trials.latency.board.scripts import PRELUDE
from trials.latency.board.ssh import SshHost
from trials.latency.open_device import open_device


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("ssh://nano", SshAddress(host="nano")),
        ("ssh://me@nano", SshAddress(host="nano", user="me")),
        ("ssh://me@nano.local:2222", SshAddress(host="nano.local", user="me", port=2222)),
        ("ssh://10.0.0.5/", SshAddress(host="10.0.0.5")),
        ("ssh://me@[fe80::1%eth0]:22", SshAddress(host="fe80::1%eth0", user="me", port=22)),
        ("ssh://nano?trtexec=/opt/my trt/trtexec", SshAddress(host="nano", trtexec="/opt/my trt/trtexec")),
        ("ssh://nano?trtexec=/opt/%24x/trtexec", SshAddress(host="nano", trtexec="/opt/$x/trtexec")),
        (
            "ssh://nano?trtexec=/t&build_limit_s=3600&patience_s=0",
            SshAddress(host="nano", trtexec="/t", times=(("build_limit_s", 3600.0), ("patience_s", 0.0))),
        ),
    ],
)
def test_addresses(spec: str, address: SshAddress) -> None:
    assert parse_address(spec) == address
    assert open_device(spec).name == spec
    # What messages and hints call it is what the user would type, port and all.
    assert parse_address(f"ssh://{address}") == dataclasses.replace(address, trtexec="", times=())


@pytest.mark.parametrize(
    "spec",
    [
        "ssh://",
        "ssh://-oProxyCommand=touch /tmp/pwned",
        "ssh://-oProxyCommand=x@nano",
        "ssh://-l@nano",
        "ssh://me@-nano",
        "ssh://$(touch x)",
        "ssh://na`id`no",
        "ssh://nano;id",
        "ssh://nano nano",
        "ssh://nano\n",
        "ssh://nano\nHost x",
        "ssh://me@you@nano",
        "ssh://me:password@nano",
        "ssh://nano:0",
        "ssh://nano:65536",
        "ssh://nano:22x",
        "ssh://nano/path",
        "ssh://nano?trtexec=relative/trtexec",
        "ssh://nano?trtexec=/a%0Ab",
        "ssh://nano?other=1",
        "ssh://nano?",
        "ssh://nano?&",
        "ssh://nano?num_attempts=1",
        "ssh://nano?patience_s=-1",
        "ssh://nano?patience_s=1e9",
        "ssh://nano?patience_s=nan",
        "ssh://nano?patience_s=",
        "ssh://nano?trtexec=/t&build_limit_s=$(id)",
        "ssh://nänö",
        "ssh://'nano'",
    ],
)
def test_hostile_addresses_are_refused(spec: str) -> None:
    with pytest.raises(UnknownDeviceError, match="is not a board's address"):
        open_device(spec)


def test_times_given_with_the_address_are_the_measurement_s() -> None:
    device = open_device("ssh://nano?build_limit_s=3600&patience_s=9")
    assert isinstance(device, SshDevice)
    assert (device.settings.build_limit_s, device.settings.patience_s) == (3600.0, 9.0)
    hurried = open_device("ssh://nano?patience_s=9", patience_s=1.0)
    assert isinstance(hurried, SshDevice)
    assert hurried.settings.patience_s == 1.0
    with pytest.raises(UnknownDeviceError, match=r"limits.*are at least 1"):
        open_device("ssh://nano?run_limit_s=0")


def test_the_host_comes_last_and_after_two_dashes() -> None:
    assert SshAddress(host="nano", user="me", port=22).arguments == ["-l", "me", "-p", "22", "--", "nano"]


@pytest.fixture
def host(board: LoopbackBoard) -> Iterator[SshHost]:
    with closing(SshHost(parse_address(board.spec))) as opened:
        yield opened


def run_true(spec: str) -> None:
    with closing(SshHost(parse_address(spec))) as host:
        host.run("true", what="x", limit_s=10)


def test_a_command_leaves_one_record(host: SshHost) -> None:
    result = host.run('echo "$1"; echo no >&2; exit 3', "yes", what="asking", limit_s=10)
    assert (result.host, result.command, result.exit_status) == ("board", "asking", 3)
    assert (result.stdout, result.stderr) == ("yes\n", "no\n")
    assert result.seconds > 0
    host.close()


_WORDS = (
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "a'b",
    'a"b',
    "a\nb",
    "-rf",
    "*",
    "$HOME",
    "\\",
    "; touch pwned",
    "",
    "ä €",
)


def test_words_arrive_as_they_are(host: SshHost, board: LoopbackBoard) -> None:
    for word in _WORDS:
        assert host.run('printf "%s" "$1"', word, what="x", limit_s=10).stdout == word
    host.close()
    assert not list(board.folder.rglob("pwned"))


def test_one_connection_serves_all_commands(host: SshHost, board: LoopbackBoard) -> None:
    numbers = {host.run("echo $PPID $SSH_CONNECTION", what="x", limit_s=10).stdout.split()[2] for _ in range(3)}
    assert len(numbers) == 1  # the client's port
    host.close()
    assert board.wait_until_quiet() == []
    assert not host.is_connected


def test_a_file_is_fed_in(host: SshHost, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(range(256)) * 1000)
    assert host.run("wc -c", what="x", limit_s=10, data=tmp_path / "data").stdout.strip() == "256000"
    host.close()


def test_an_unknown_host_key_is_refused(board: LoopbackBoard) -> None:
    (board.folder / "known_hosts").write_text("")
    with pytest.raises(DeviceError, match="Host key verification failed") as caught:
        run_true(board.spec)
    assert not isinstance(caught.value, DeviceAwayError)
    assert "accept the board's host key once" in caught.value.hint


def test_a_changed_host_key_is_refused(board: LoopbackBoard) -> None:
    key = (board.folder / "user_key.pub").read_text()
    (board.folder / "known_hosts").write_text(f"[127.0.0.1]:{board.port} {key}")
    with pytest.raises(DeviceError, match="Host key verification failed") as caught:
        run_true(board.spec)
    assert not isinstance(caught.value, DeviceAwayError)


@pytest.mark.parametrize("level", ["INFO", "QUIET"])  # a quiet ssh says nothing of why
def test_a_key_that_is_not_let_in(board: LoopbackBoard, level: str) -> None:
    (board.folder / "authorized_keys").write_text("")
    board.config.write_text(f"{board.config.read_text()}\n    LogLevel {level}\n")
    with pytest.raises(DeviceError, match="Permission denied") as caught:
        run_true(board.spec)
    assert "ssh-copy-id" in caught.value.hint


def test_a_board_that_is_off(board: LoopbackBoard) -> None:
    board.stop()
    with pytest.raises(DeviceAwayError, match=r"board cannot be reached, after .*Connection refused"):
        run_true(board.spec)


def test_a_bad_ssh_config(board: LoopbackBoard) -> None:
    board.config.write_text("Frobnicate yes\n")
    with pytest.raises(DeviceError, match="Bad configuration option") as caught:
        run_true(board.spec)
    assert not isinstance(caught.value, DeviceAwayError)


def test_no_ssh_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DeviceError, match="this machine has no ssh"):
        run_true("ssh://nano")


def test_a_connection_that_breaks_in_the_middle(host: SshHost, board: LoopbackBoard) -> None:
    with host.start("echo up; sleep 60", what="napping") as process:
        process.wait_for(("up",), 10)
        board.stop()
        with pytest.raises(DeviceAwayError, match="cannot be reached during napping"):
            process.wait(30)
    board.start()
    assert host.run("echo back", what="x", limit_s=10).stdout == "back\n"
    host.close()


def test_a_command_that_does_not_end_is_left(host: SshHost) -> None:
    assert host.run("exec sleep 60", what="x", limit_s=0.5).exit_status is None  # it would be 0 at its end
    host.close()


def test_waiting_for_a_word_that_does_not_come(host: SshHost) -> None:
    with host.start("echo other", what="x") as process, pytest.raises(RemoteEndError) as caught:
        process.wait_for(("word",), 10)
    assert caught.value.result.stdout == "other\n"
    host.close()


def test_what_runs_on_the_board_ends_with_its_input(host: SshHost, board: LoopbackBoard) -> None:
    script = PRELUDE + "exec 3<&0; echo up; guard 60 sleep 60"
    with host.start(script, what="x") as process:
        process.wait_for(("up",), 10)
        assert any("sleep 60" in line for line in board.processes())
    host.close()
    assert board.wait_until_quiet(5) == []


def test_what_runs_on_the_board_ends_after_its_time(host: SshHost, board: LoopbackBoard) -> None:
    result = host.run(PRELUDE + "exec 3<&0; guard 1 sleep 60; echo $?", what="x", limit_s=20)
    assert result.stdout == "124\n"
    host.close()
    assert board.wait_until_quiet(5) == []


@pytest.mark.parametrize("end", ["", "kill"])
def test_a_board_without_timeout_ends_it_too(host: SshHost, board: LoopbackBoard, end: str) -> None:
    script = PRELUDE + "bounded=; exec 3<&0; echo up; guard 1 sleep 60; echo ended"
    with host.start(script, what="x") as process:
        if end:
            process.wait_for(("up",), 10)
        else:
            assert process.wait(20).stdout == "up\nended\n"
    host.close()
    assert board.wait_until_quiet(14) == []


def test_a_killed_client_leaves_nothing_behind(board: LoopbackBoard) -> None:
    program = (
        "from trials.latency.board.ssh import SshHost; from trials.latency.board.address import parse_address\n"
        "from trials.latency.board.scripts import PRELUDE\n"
        f"h = SshHost(parse_address({board.spec!r}))\n"
        "with h.start(PRELUDE + 'exec 3<&0; echo up; guard 600 sleep 600', what='x') as p:\n"
        "    p.wait_for(('up',), 10); print('up', flush=True); p.wait(600)\n"
    )
    root = str(Path(__file__).parents[4])
    client = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"up\n"
    client.kill()
    client.wait()
    client.stdout.close()
    assert board.wait_until_quiet(10) == []


def test_two_boards_have_two_connections(put_up_board: PutUpBoard) -> None:
    boards = [put_up_board("one"), put_up_board("two")]
    hosts = [SshHost(parse_address(board.spec), config=board.config) for board in boards]
    ports = {host.run("echo $SSH_CONNECTION", what="x", limit_s=10).stdout.split()[3] for host in hosts}
    assert ports == {str(board.port) for board in boards}
    for host in hosts:
        host.close()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("ssh: Could not resolve hostname nano: Temporary failure in name resolution", DeviceAwayError),
        ("client_loop: send disconnect: Broken pipe", DeviceAwayError),
        ("kex_exchange_identification: Connection closed by remote host", DeviceAwayError),
        ("", DeviceAwayError),
        ("me@nano: Permission denied (publickey,password).", UnusableDeviceError),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @", UnusableDeviceError),
    ],
)
def test_what_ssh_says(said: str, kind: type) -> None:
    assert type(explain_loss("nano", said, seconds=1.0)) is kind
