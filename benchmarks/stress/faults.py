"""Faults other than kills: a full disk, a board that is cut off in the middle of a measurement, a clock that jumps.

    python -m benchmarks.stress.faults --seed 0

The disk is a small tmpfs (which only root may mount). It is full at another moment each time; the search ends, the disk gets
larger, and the same command goes on. The board is the tests' stand-in behind a real SSH server, which is stopped while
something runs there, and started again some seconds later. The clock is libfaketime's (Debian's package faketime); it jumps
by up to a day, forwards and back, while the search runs and between two starts. All end with the check of
`benchmarks.stress.study_check`. Exits with 1 if anything was lost.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.stress.kill_campaign import QUICK_DATA, QUICK_SPACE, Start, fill_cache, variables
from benchmarks.stress.study_check import violations
from tests.trials.latency.board.loopback import loopback_board, missing
from trials.whole_file import whole_file

_BUDGET = 4
_ROOMS_KIB = (600, 1400, 2600, 4200)
"""The stores take 1 MB, a trial as much."""
_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
_JUMP_S = 86400
_KILLED_AT_JUMP = 3


def main() -> None:
    """Let the faults happen; print what they did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    rng = random.Random(parser.parse_args().seed)
    found = []
    if os.geteuid() == 0:
        for room_kib in _ROOMS_KIB:
            found += _fill_disk(room_kib)
    else:
        print("disk full: skipped, only root may mount a tmpfs")
    if reason := missing():
        print(f"board cut off: skipped, {reason}")
    else:
        found += _cut_board_off(rng)
    if library := next(iter(_FAKETIME), None):
        found += _let_clock_jump(rng, library)
    else:
        print("clock: skipped, libfaketime is not installed (apt-get install faketime)")
    print("\n".join([f"violations: {len(found)}", *found]))
    sys.exit(bool(found))


def _fill_disk(room_kib: int) -> list[str]:
    with _place() as place, _small_disk(place / "runs", room_kib):
        code, said = _start(place, "cpu").finish()
        found = (
            [] if code == 1 and "this is a bug" not in said else [f"{room_kib} KiB: ended with {code}: {said[-800:]}"]
        )
        print(f"disk of {room_kib} KiB: exit code {code}, {said.rpartition('error: ')[2].splitlines()[0]}")
        subprocess.run(["mount", "-o", "remount,size=1g", str(place / "runs")], check=True)
        return found + _end(place, _start(place, "cpu"))


def _cut_board_off(rng: random.Random) -> list[str]:
    with (
        _place() as place,
        loopback_board(place / "board") as board,
        variables({"YOLORET_NAS_SSH_CONFIG": str(board.config)}),
    ):
        start, cuts = _start(place, board.spec), 0
        while start.wait(rng.uniform(0.5, 3.0)):
            if board.processes():
                board.stop()
                cuts += 1
                start.wait(rng.uniform(1.0, 5.0))
                board.start()
                start.wait(20.0)  # a build has to come to its end now and then
        print(f"board: cut off {cuts} times, exit code {start.finish()[0]}")
        return _end(place, start) + [f"on the board there is still {one}" for one in board.wait_until_quiet()]


def _let_clock_jump(rng: random.Random, library: Path) -> list[str]:
    with _place() as place:
        clock, jumps = place / "clock", 0
        fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock)}
        fake |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        _set(clock, 0)
        fill_cache(place / "space.yaml", place / "runs/latency.db")
        start = _start(place, "cpu", fake)
        while start.wait(rng.uniform(0.5, 3.0)):
            jumps += 1
            _set(clock, rng.randint(-_JUMP_S, _JUMP_S))
            if jumps == _KILLED_AT_JUMP:
                start.kill_driver()
                _set(clock, -2 * _JUMP_S)  # before everything that is recorded
                start = _start(place, "cpu", fake)
        print(f"clock: jumped {jumps} times, exit code {start.finish()[0]}")
        return _end(place, start)


def _set(clock: Path, offset_s: int) -> None:
    with whole_file(clock) as partial:  # it is read all the time
        partial.write_text(f"{offset_s:+d}")


@contextmanager
def _place() -> Iterator[Path]:
    with TemporaryDirectory(prefix="faults-") as folder:
        place = Path(folder)
        (place / "space.yaml").write_text(QUICK_SPACE)
        for name in ("temporary", "runs", "board"):
            (place / name).mkdir()
        yield place


@contextmanager
def _small_disk(folder: Path, room_kib: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room_kib}k", "tmpfs", str(folder)], check=True)
    try:
        fill_cache(folder.parent / "space.yaml", folder / "latency.db")
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the check may have its databases open


def _start(place: Path, device: str, environment: Mapping[str, str] | None = None) -> Start:
    command = [sys.executable, "-m", "yoloret_nas", "search", "--study", "faults", "--dir", str(place / "runs")]
    command += ["--space", str(place / "space.yaml"), "--data", QUICK_DATA, "--budget", str(_BUDGET), "--epochs", "1"]
    command += ["--device", device, "--refit", "0", "--workers", "1"]
    return Start(
        command,
        place,
        mark=f"{os.getpid()}-{time.monotonic()}",
        environment=environment or {},
        folder=place / "runs/faults/trials",
    )


def _end(place: Path, start: Start) -> list[str]:
    code, said = start.finish()
    if code:
        return [f"ended with {code}: {said[-800:]}"]
    return violations(place / "runs", "faults", budget=_BUDGET)


if __name__ == "__main__":
    main()
