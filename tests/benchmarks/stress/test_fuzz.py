"""Each target of `benchmarks.stress.fuzz` on a few inputs; the long run is that program's."""

import contextlib
import os
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.stress import fuzz
from benchmarks.stress.fuzz import TARGETS, Tally, run_target
from benchmarks.stress.fuzzing.mutations import mutate_bytes, mutate_json, mutate_text, mutate_xml, mutate_yaml
from benchmarks.stress.fuzzing.target import ANSWERS, Attempt, Target
from spaces import YoloRetError

NUM_INPUTS = {
    **{"weights": 5, "databases": 4, "mlflow": 8, "checkpoints": 20, "parquet": 50, "exports": 40, "projects": 50},
    **{"yolo": 60, "voc": 80, "architectures": 80, "spaces": 80},
}
"""Of the targets whose inputs take longer than 10 ms."""


@pytest.mark.filterwarnings("ignore")  # of libraries, at what they read
@pytest.mark.parametrize("name", TARGETS)
def test_every_input_gets_an_answer(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    attempt, results = TARGETS[name].prepare(tmp_path), 0

    @settings(
        max_examples=NUM_INPUTS.get(name, 200),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 10**6))
    def try_one(number: int) -> None:
        nonlocal results
        with contextlib.suppress(*ANSWERS):
            attempt(Random(f"0 {name} {number}"))
            results += 1

    try_one()
    assert results  # were all refused, nothing behind the first check would be tried


def _crash(folder: Path) -> Attempt:
    def attempt(rng: Random) -> None:
        kind = rng.randrange(4)
        if kind == 0:
            os._exit(3)
        if kind == 1:
            raise KeyError("a fault")
        if kind == 2:
            raise YoloRetError("an answer")

    return attempt


def test_faults_are_told_from_answers_and_a_dead_process_is_replaced() -> None:
    target = Target(name="crash", prepare=_crash)
    tally = run_target(target, seed=0, first=0, count=16, seconds=60)
    kinds = [Random(f"0 crash {number}").randrange(4) for number in range(16)]
    dead, faults, errors, results = (kinds.count(kind) for kind in range(4))
    assert tally.inputs == 16
    assert (tally.results, tally.errors) == (results, errors)
    assert sorted(tally.faults.values()) == sorted([dead, faults])
    assert tally.first["the process ended with 3"][0] == kinds.index(0)


def test_too_much_memory_and_time_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "LIMIT_S", 0.05)

    def prepare(folder: Path) -> Attempt:
        def attempt(rng: Random) -> None:
            if rng.randrange(2):
                bytearray(2**31)
            while True:
                rng.random()

        return attempt

    tally: Tally = run_target(Target(name="greedy", prepare=prepare), seed=0, first=0, count=6, seconds=60)
    assert {where.split()[0] for where in tally.faults} == {"MemoryError", "TooLongError"}
    assert tally.inputs == 6


def test_the_first_input_may_not_hang_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "_HANGS_S", 1.0)

    def prepare(folder: Path) -> Attempt:
        return lambda rng: time.sleep(10)  # no processor's time, which is limited too

    tally = run_target(Target(name="hanging", prepare=prepare), seed=0, first=0, count=1, seconds=60)
    assert list(tally.faults) == ["hangs for more than 1 s"]


@given(st.randoms(use_true_random=False))
def test_a_seed_gives_the_same_input_again(rng: Random) -> None:
    seed = rng.random()
    tree = {"a": [1, 2, {"b": None}], "c": "text"}
    for mutate in (
        lambda one: mutate_json(tree, one),
        lambda one: mutate_text("a: 1\nb: [2, 3]\n", one),
        lambda one: mutate_yaml("a: 1\nb: [2, 3]\n", one),
        lambda one: mutate_xml("<a><b>1</b></a>", one),
        lambda one: mutate_bytes(b"some bytes", one),
    ):
        assert mutate(Random(seed)) == mutate(Random(seed))
