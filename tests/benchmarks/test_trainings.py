"""Benchmarks that train: which seed, which network, and what a failed training leaves."""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import inheritance, one_shot, recipe_ablation, training_step, transfer_recipe
from spaces import Architecture, YoloRetError


def test_the_full_ranking_shares_no_seed_with_a_short_one_and_each_line_is_printed_at_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds: dict[str, set[int]] = {}

    def train(job: inheritance.Job, given: argparse.Namespace, root: Path) -> tuple[float, float, float]:
        if root.name == "halfheir":
            raise KeyboardInterrupt
        seeds.setdefault(root.name, set()).add(job.seed)
        return 0.1 * job.index, 1.0, 0.0

    monkeypatch.setattr(inheritance, "train", train)
    monkeypatch.setattr(inheritance, "best_parent", lambda *_, **__: Path())
    monkeypatch.setattr(inheritance, "one_process_a_core", lambda: ThreadPoolExecutor(1))
    monkeypatch.setattr(sys, "argv", ["inheritance", "--count", "4"])
    with pytest.raises(KeyboardInterrupt):
        inheritance.main()
    assert not seeds["full"] & (seeds["scratch"] | seeds["seed"] | seeds["half"] | seeds["heir"])
    assert "| inherited | 1.00 |" in capsys.readouterr().out


def test_lightning_is_timed_with_the_backbone_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Architecture] = []

    def train_alone(architecture: Architecture, *_: object) -> Any:
        trained.append(architecture)
        return SimpleNamespace(seconds_train=1.0)

    monkeypatch.setattr(training_step, "train_alone", train_alone)
    given = argparse.Namespace(network="yoloret-m0.75", backbone="mobilenetv3_small_050", size=64, batch=2)
    training_step.VARIANT_TIMES["lightning"](given)
    assert {one.backbone for one in trained} == {"mobilenetv3_small_050"}


def test_a_failed_training_leaves_the_others_of_an_ablation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(name: str, given: argparse.Namespace, *, seed: int) -> tuple[float, float]:
        if name == "no warm-up":
            raise YoloRetError("memory ran out")
        return (0.3, 0.6) if name == recipe_ablation.WHOLE else (0.4, 0.7)

    monkeypatch.setattr(recipe_ablation, "train", train)
    monkeypatch.setattr(recipe_ablation, "one_process_a_core", lambda: ThreadPoolExecutor(1))
    monkeypatch.setattr(sys, "argv", ["recipe_ablation", "--data", "d", "--only", "no warm-up", "no average"])
    with pytest.raises(SystemExit, match="1"):
        recipe_ablation.main()
    said = capsys.readouterr()
    assert "no warm-up failed: memory ran out" in said.err
    assert "| no average of the weights | 0.700 | 0.400 | +0.100 |" in said.out.splitlines()


def test_a_failed_training_leaves_the_others_of_the_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(job: dict[str, Any]) -> dict[str, Any]:
        if job["seed"] == 0:
            raise YoloRetError("memory ran out")
        return {"data": "d", **job, "ap": 0.4, "ap50": 0.7, "history": []}

    monkeypatch.setattr(transfer_recipe, "train", train)
    monkeypatch.setattr(transfer_recipe, "one_process_a_core", lambda: ThreadPoolExecutor(1))
    words = ["--data", "d", "--ways", transfer_recipe.SCRATCH, "--epochs", "10", "--seeds", "2"]
    results = ["--results", str(tmp_path / "kept.jsonl")]
    monkeypatch.setattr(sys, "argv", ["transfer_recipe", *words, *results])
    with pytest.raises(SystemExit, match="1"):
        transfer_recipe.main()
    said = capsys.readouterr()
    assert "a training failed: memory ran out" in said.err
    assert "| from random weights | 10 | 0.400 | 0.700 | 1 |" in said.out.splitlines()


def test_trainings_that_are_not_kept_have_no_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "d", "--only-print", "--by-epoch", "--results", str(tmp_path / "none.jsonl")]
    monkeypatch.setattr(sys, "argv", ["transfer_recipe", *words])
    with pytest.raises(SystemExit, match="0"):
        transfer_recipe.main()
    assert "has no trainings of d at 128 px" in capsys.readouterr().out


def test_the_time_of_an_interrupted_search_counts_and_a_finished_one_is_not_run_again(tmp_path: Path) -> None:
    clock, tried = tmp_path / "clock.json", tmp_path / "tried"
    code = (
        f"import pathlib, sys; p = pathlib.Path({str(tried)!r}); sys.exit(0 if p.exists() else p.write_text('') or 3)"
    )
    command = [sys.executable, "-c", code]
    with pytest.raises(one_shot.subprocess.CalledProcessError, match="3"):
        one_shot.run_timed(command, clock)
    first_s = json.loads(clock.read_text())["seconds"]
    both_s = one_shot.run_timed(command, clock)
    assert both_s > first_s > 0
    assert one_shot.run_timed(command, clock) == both_s
