"""A long search of quick trials: what grows with their number.

    python -m benchmarks.stress.soak --trials 500

It runs `yoloret-nas search` on generated images (one epoch, 64 px, latencies that the cache holds already) and looks every
few seconds at the driver's memory, its open files and its threads, at the temporary files, and at the disk. Prints them at
the first tenth, in the middle and at the end, the time of a trial in the first fifth and in the last, and what the driver
itself takes of it.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.stress.kill_campaign import QUICK_DATA, count_results, fill_cache

_SPACE = """\
name: widths
description: As many architectures as the search needs, which train in a second.
backbones:
  mobilenetv3_small_050: {{truncation: [9, 10], transfer: [0]}}
scale_set: [none]
shortcut: [none]
rfcr_width: [16]
rfcr_channels: [32]
rfcr_kernel: [3]
head: [plain, decoupled]
head_width: {widths}
input_size: [64]
"""
_EVERY_S = 2.0
_FEWEST = 50
"""Trials of which a fifth takes several looks."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a search takes at a moment."""

    seconds: float
    trials: int
    """Finished."""
    memory_mb: float
    """Of the driver, resident."""
    files: int
    """Its open files."""
    threads: int
    temporary: int
    """Files and folders in the temporary folder."""
    study_mb: float
    """Disk of the study's folder."""
    stores_mb: float
    """Disk of both databases, the latency cache and MLflow's artifacts."""
    cpu_s: float
    """CPU time of the driver."""


def main() -> None:
    """Run the search; print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--keep", choices=("front", "all"), default="front")
    given = parser.parse_args()
    if given.trials < _FEWEST:
        parser.error(f"--trials is at least {_FEWEST}, of which the first and the last fifth are compared")
    with TemporaryDirectory(prefix="soak-") as folder:
        looks = _search(Path(folder), given.trials, keep=given.keep)
    print("| trials | driver MB | open files | threads | temporary files | study MB | stores MB | driver's CPU s |")
    for share in (0.1, 0.5, 1.0):
        look = next(one for one in looks if one.trials >= share * given.trials)
        disk = f"{look.study_mb:.1f} | {look.stores_mb:.1f}"
        counts = f"{look.files} | {look.threads} | {look.temporary}"
        print(f"| {look.trials} | {look.memory_mb:.0f} | {counts} | {disk} | {look.cpu_s:.0f} |")
    fifth = given.trials // 5
    early, late = ([one for one in looks if low <= one.trials <= low + fifth] for low in (1, given.trials - fifth))
    for name, part in (("first", early), ("last", late)):
        count = part[-1].trials - part[0].trials
        took, cpu = part[-1].seconds - part[0].seconds, part[-1].cpu_s - part[0].cpu_s
        print(f"{name} {count} trials: {took / count:.2f} s each, {cpu / count:.2f} s of it the driver's CPU time")


def _search(place: Path, trials: int, *, keep: str) -> list[Look]:
    space, root, temporary = place / "space.yaml", place / "runs", place / "temporary"
    space.write_text(_SPACE.format(widths=list(range(16, 24 + trials // 2, 2))))  # 4 architectures of each
    temporary.mkdir()
    fill_cache(space, root / "latency.db")
    command = [sys.executable, "-m", "yoloret_nas", "search", "--study", "soak", "--dir", str(root), "--keep", keep]
    command += ["--space", str(space), "--data", QUICK_DATA, "--budget", str(trials), "--epochs", "1", "--refit", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (place / "search.log").open("w") as log:
        driver = subprocess.Popen(
            [*command, "--workers", "1"], env={**environment, "TMPDIR": str(temporary)}, stdout=log, stderr=log
        )
        began = time.monotonic()
        looks: list[Look] = []
        while driver.poll() is None:
            time.sleep(_EVERY_S)
            looks.append(_look(driver.pid, root, temporary, seconds=time.monotonic() - began, former=looks))
    if driver.returncode:
        sys.exit((place / "search.log").read_text())
    return looks


def _look(pid: int, root: Path, temporary: Path, *, seconds: float, former: Sequence[Look]) -> Look:
    """Look at a search; at one that has just ended, the driver is what it was."""
    trials = count_results(root / "soak" / "trials")
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        memory_mb, threads = int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"])
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        cpu_s = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    except (FileNotFoundError, ProcessLookupError, KeyError):
        last = former[-1]
        memory_mb, threads, files, cpu_s = last.memory_mb, last.threads, last.files, last.cpu_s
    return Look(
        seconds=seconds,
        trials=trials,
        memory_mb=memory_mb,
        files=files,
        threads=threads,
        temporary=len(list(temporary.rglob("*"))),
        study_mb=_size_mb(root / "soak"),
        stores_mb=sum(_size_mb(path) for path in root.iterdir() if path.name != "soak"),
        cpu_s=cpu_s,
    )


def _size_mb(path: Path) -> float:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # it was replaced meanwhile
            continue
    return total / 1e6


if __name__ == "__main__":
    main()
