"""The league of strategies: what it plays, and what its table says."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import league
from benchmarks.league import CELLS, SPENT, Cell, Played, missing, play, read_results, write_table

COLUMNS = ("pi4_ort", "nano_gpu", "ov", "vim3", "pi4_tflite_fp32", "pi4_tflite_int8")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A made-up table of the benchmark's form: 48 networks, each slower and more accurate than a smaller one."""
    path = tmp_path / "table.csv"
    lines = ["model_name,mAP_0.5,mAP_0.5:0.95," + ",".join(f"{one}_latency" for one in COLUMNS)]
    for version in (3, 4):
        for depth, deep in enumerate(("33", "67", "1")):
            for width, wide in enumerate(("25", "5", "75", "1")):
                for resolution in (160, 192):
                    size = (1 + depth) * (1 + width) * (resolution / 160) ** 2
                    ap = 0.3 + 0.1 * np.log(size) + 0.01 * (version == 4)
                    figures = [f"{0.001 * (place + 1) * size:.6f}" for place in range(len(COLUMNS))]
                    lines.append(
                        f"yolo{version}d{deep}w{wide}_{resolution},{ap + 0.2:.4f},{ap:.4f},{','.join(figures)}"
                    )
    path.write_text("\n".join(lines))
    return path


def test_a_limit_admits_its_share_of_the_candidates_and_bounds_what_counts(table: Path) -> None:
    problem = Cell(device="VIM3", limit=0.3).problem(table)
    assert np.mean([problem.is_feasible(one) for one in range(len(problem.ap))]) == pytest.approx(0.3, abs=0.05)
    assert problem.reference.latency_ms == problem.max_latency_ms
    assert Cell(device="VIM3", noise=0.01).problem(table).noise == 0.01


@pytest.mark.parametrize(("strategy", "limit"), [("random", None), ("ours", 0.5)])
def test_a_strategy_is_scored_by_the_share_of_the_front_that_its_trainings_find(
    table: Path, strategy: str, limit: float | None
) -> None:
    cell = Cell(device="Nano", limit=limit)
    played = play(table, cell, strategy, 0, None)
    assert len(played.shares) == len(SPENT)
    assert 0 < played.shares[0] <= played.shares[-1] <= 100
    assert (played.cell, played.strategy, played.seed) == (cell.name, strategy, 0)


def test_what_was_played_before_is_not_played_again_and_all_cells_come_before_another_seed() -> None:
    played = [Played(cell=CELLS[0].name, strategy="ours", seed=0, shares=(1.0, 2.0, 3.0), seconds=1.0)]
    jobs = [(cell.name, strategy, seed) for cell, strategy, seed in missing(played, ("ours", "tpe"), 2)]
    assert len(jobs) == len(set(jobs)) == 4 * len(CELLS) - 1
    assert (CELLS[0].name, "ours", 0) not in jobs
    assert [seed for *_, seed in jobs] == sorted(seed for *_, seed in jobs)


def test_the_table_has_the_best_of_each_cell_in_bold_and_counts_where_ours_is_first(tmp_path: Path) -> None:
    one = Played(cell=CELLS[0].name, strategy="ours", seed=0, shares=(80.0, 90.0, 95.0), seconds=1.0)
    others = [replace(one, seed=1, shares=(70.0, 80.0, 97.0)), replace(one, strategy="tpe", shares=(90.0, 91.0, 92.0))]
    lines: list[str] = []
    write_table([one, *others], 30, lines.append)
    assert f"| {CELLS[0].name} | **96.0** ± 1.0 | 92.0 | 1 to 2 |" in lines
    assert lines[-1].strip() == "ours is first in 1 of 1 cells"
    lines.clear()
    write_table([one, *others], 10, lines.append)
    assert f"| {CELLS[0].name} | 75.0 ± 5.0 | **90.0** | 1 to 2 |" in lines
    assert lines[-1].strip() == "ours is first in 0 of 1 cells"
    assert read_results(tmp_path / "none.jsonl") == []


def test_the_python_of_another_environment_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pythons: set[str | None] = set()

    def note(table: Path, cell: Cell, strategy: str, seed: int, python: str | None) -> Played:
        pythons.add(python)
        return Played(cell=cell.name, strategy=strategy, seed=seed, shares=(1.0, 2.0, 3.0), seconds=1.0)

    link = tmp_path / "other" / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    monkeypatch.setattr(league, "play", note)
    monkeypatch.setattr(league, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.chdir(tmp_path)
    words = ["--table", "none.csv", "--strategies", "moasha", "--seeds", "1", "--results", "results.jsonl"]
    monkeypatch.setattr(sys, "argv", ["league", "--python", "other/python", *words])
    league.main()
    assert pythons == {str(link)}
