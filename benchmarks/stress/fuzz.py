"""Hands broken input of every kind from outside to the project, and counts what is no answer.

    python -m benchmarks.stress.fuzz [--target voc coco ...] [--inputs 1000000] [--seconds 3600] [--seed 0]

An answer is a result or one of the project's own errors, within 5 s of the processor's time and with at most 1 GiB of memory
more than before. All else is a fault: another exception, a dead process, an input that takes longer or needs more. Each is
printed once, with its traceback and the command that makes it again; the exit code is 1 then.

Inputs are valid ones broken by `benchmarks.stress.fuzzing.mutations`. Input n of a target follows from seed, target and n
alone. Each target runs in a process of its own, which is replaced when it dies.
"""

import argparse
import gc
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from benchmarks.stress.fuzzing import datasets, images, networks, records, texts
from benchmarks.stress.fuzzing.target import ANSWERS, Target

LIMIT_S = 5.0
LIMIT_MIB = 1024
_HANGS_S = 30 * LIMIT_S
"""On the clock: a native library does not notice the alarm, and its process is killed."""
_REPORT_S = 2.0

TARGETS = {
    target.name: target
    for target in (
        Target(name="voc", prepare=datasets.voc, weight=4),
        Target(name="coco", prepare=datasets.coco, weight=4),
        Target(name="yolo", prepare=datasets.yolo, weight=4),
        Target(name="foreign", prepare=datasets.foreign, weight=6),
        Target(name="parquet", prepare=datasets.parquet, weight=1),
        Target(name="images", prepare=images.images, weight=6),
        Target(name="spaces", prepare=texts.spaces, weight=2),
        Target(name="projects", prepare=texts.projects, weight=2),
        Target(name="architectures", prepare=texts.tables, weight=4),
        Target(name="hosts", prepare=texts.hosts, weight=30),
        Target(name="trtexec", prepare=texts.trtexec, weight=20),
        Target(name="boards", prepare=texts.boards, weight=10),
        Target(name="exports", prepare=networks.exports, weight=2),
        Target(name="checkpoints", prepare=networks.checkpoints, weight=1),
        Target(name="weights", prepare=networks.weights, weight=1),
        Target(name="results", prepare=records.results, weight=6),
        Target(name="databases", prepare=records.databases, weight=1),
        Target(name="mlflow", prepare=records.mlflow_answers, weight=2),
    )
}


class TooLongError(Exception):
    """An input took more than `LIMIT_S` of the processor's time: the machine may be shared."""


@dataclass
class Tally:
    """What a target's inputs came to."""

    inputs: int = 0
    results: int = 0
    errors: int = 0
    slowest_s: float = 0.0
    most_mib: float = 0.0
    """Peak of the process's memory above what it had before the first input."""
    faults: Counter[str] = field(default_factory=Counter)
    """By where they come from."""
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The first input of each, and its traceback."""

    def add_fault(self, number: int, where: str, text: str) -> None:
        """Count a fault."""
        self.faults[where] += 1
        self.first.setdefault(where, (number, text))

    def add(self, other: "Tally") -> None:
        """Add another process's."""
        self.inputs += other.inputs
        self.results += other.results
        self.errors += other.errors
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.most_mib = max(self.most_mib, other.most_mib)
        self.faults += other.faults
        self.first = {**other.first, **self.first}


def main() -> None:
    """Run the targets and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--inputs", type=int, default=10**6, help="of all targets together (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=3600, help="the longest run, of all targets together (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each target (%(default)s)")
    given = parser.parse_args()
    weight = sum(TARGETS[name].weight for name in given.target)
    whole, began = Tally(), time.monotonic()
    print(
        f"{'target':14} {'inputs':>9} {'results':>9} {'errors':>9} {'faults':>7} {'a second':>9} {'slowest s':>9} {'MiB':>6}"
    )
    for place, name in enumerate(given.target):
        share = TARGETS[name].weight / weight
        count = round(given.inputs * share) if len(given.target) > 1 else given.inputs
        left_s = given.seconds - (time.monotonic() - began)
        seconds = left_s / (len(given.target) - place)  # what a target leaves is for those after it
        started = time.monotonic()
        tally = run_target(TARGETS[name], seed=given.seed, first=given.first, count=count, seconds=seconds)
        _print_line(name, tally, time.monotonic() - started)
        for where, (number, text) in tally.first.items():
            again = f"python -m benchmarks.stress.fuzz --target {name} --seed {given.seed} --first {number} --inputs 1"
            print(f"  {tally.faults[where]} × {where}\n  again: {again}\n{text}", flush=True)
        whole.add(tally)
    _print_line("all", whole, time.monotonic() - began)
    sys.exit(1 if whole.faults else 0)


def run_target(target: Target, *, seed: int, first: int, count: int, seconds: float) -> Tally:
    """Run a target's inputs in processes of their own.

    Args:
        target: What is tried.
        seed: Of all inputs.
        first: Number of the first input.
        count: Of inputs.
        seconds: The longest time.
    """
    context = multiprocessing.get_context("fork")
    whole, until, number = Tally(), time.monotonic() + seconds, first
    while number < first + count and time.monotonic() < until:
        ours, theirs = context.Pipe(duplex=False)
        at = context.Array("q", [number, 0, 0], lock=False)
        process = context.Process(target=_work, args=(target, seed, number, first + count, until, at, theirs))
        process.start()
        theirs.close()
        tally, reason = _follow(process, ours, at)
        if reason:  # what it had counted since its last word is in the shared numbers
            tally.inputs, tally.results, tally.errors = at[0] - number + 1, at[1], at[2]
            tally.add_fault(at[0], reason, "")
        whole.add(tally)
        number = at[0] + bool(reason)
    return whole


def _follow(process: multiprocessing.process.BaseProcess, ours: Connection, at: Sequence[int]) -> tuple[Tally, str]:
    """Return what a process has told last, and why it ended early; empty if it did not."""
    tally, last, since, is_over = Tally(), -1, time.monotonic(), False
    while True:
        if ours.poll(0.2):
            try:
                tally, is_over = ours.recv()
            except EOFError:
                break
        if at[0] != last:
            last, since = at[0], time.monotonic()
        elif time.monotonic() - since > _HANGS_S:
            process.kill()
            process.join()
            return tally, f"hangs for more than {_HANGS_S:.0f} s"
    process.join()
    return tally, "" if is_over else f"the process ended with {process.exitcode}"


def _work(
    target: Target, seed: int, first: int, end: int, until: float, at: MutableSequence[int], theirs: Connection
) -> None:
    """Try inputs until the end, and tell the tally now and then."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # native libraries complain there
    warnings.simplefilter("ignore")
    tally, told, num_told = Tally(), time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        os.environ["YOLORET_NAS_DATA"] = f"{folder}/home"
        inside = Path(folder) / "inputs"
        inside.mkdir()
        os.chdir(inside)
        attempt = target.prepare(inside)
        gc.collect()
        base_mib = _memory_mib("VmRSS")
        with _limited_memory():
            for number in range(first, end):
                at[0] = number
                if time.monotonic() > until:
                    break
                began = time.process_time()
                try:
                    with _alarm():
                        attempt(Random(f"{seed} {target.name} {number}"))
                    tally.results = at[1] = tally.results + 1
                except ANSWERS:
                    tally.errors = at[2] = tally.errors + 1
                except BaseException as error:
                    tally.add_fault(number, _where(error), "".join(traceback.format_exception(error, limit=-6))[-4000:])
                tally.inputs += 1
                tally.slowest_s = max(tally.slowest_s, time.process_time() - began)
                num_faults = tally.faults.total()
                if time.monotonic() - told > _REPORT_S or num_faults > num_told:
                    num_told = num_faults
                    tally.most_mib, told = _memory_mib("VmHWM") - base_mib, time.monotonic()
                    theirs.send((tally, False))
            else:
                at[0] = end
        tally.most_mib = _memory_mib("VmHWM") - base_mib
        theirs.send((tally, True))
    os._exit(0)  # threads of libraries may wait for ever


def _where(error: BaseException) -> str:
    """Return an error's kind and the last line of the project that it passed, which tells faults apart."""
    frames = traceback.extract_tb(error.__traceback__)
    root = str(Path(__file__).resolve().parents[2])
    ours = [frame for frame in frames if frame.filename.startswith(root) and "benchmarks" not in frame.filename]
    last = (ours or frames)[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno} in {last.name}"


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLongError(f"longer than {LIMIT_S:g} s")

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@contextmanager
def _limited_memory() -> Iterator[None]:
    """Let this process have `LIMIT_MIB` of address space more than now; what asks for more gets a MemoryError."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int((_memory_mib("VmSize") + LIMIT_MIB) * 2**20), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _memory_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024


def _print_line(name: str, tally: Tally, seconds: float) -> None:
    print(
        f"{name:14} {tally.inputs:9} {tally.results:9} {tally.errors:9} {sum(tally.faults.values()):7} "
        f"{tally.inputs / max(seconds, 1e-9):9.0f} {tally.slowest_s:9.2f} {tally.most_mib:6.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
