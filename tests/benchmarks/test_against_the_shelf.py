"""What the comparison with the shelf compares: the same seeds, the same days, networks found on the same data."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.against_the_shelf import (
    OURS,
    Job,
    Results,
    Timed,
    Trained,
    draw,
    hw_options,
    main,
    named_hw,
    our_jobs,
    shelf_names,
    table,
    train_for,
)
from spaces import Architecture
from spaces.aspect import in_words

OWN = next(iter(OURS))
EQUAL = "as long as yolov8n 160 px"


@pytest.fixture
def kept(tmp_path: Path) -> Results:
    kept = Results(tmp_path / "results.jsonl")
    for network, boxes_ms in ((OWN, 2.0), ("yolov8n 160 px", 3.0), ("yolov8n 320 px", 9.0)):
        kept.add("timed", asdict(Timed(network=network, raw_ms=1.0, boxes_ms=boxes_ms)))
    return kept


def train(kept: Results, network: str, seed: int, ap: float, **others: Any) -> None:
    defaults: dict[str, Any] = {"setting": "batches of 8", "ap50": ap, "cpu_s": 100.0, "epochs": 30}
    row = Trained(**defaults | {"data": "d", "network": network, "seed": seed, "ap": ap} | others)
    kept.add("trained", asdict(row))


def row_of(kept: Results, network: str) -> dict[str, str]:
    return rows_of(kept, network)[0]


def rows_of(kept: Results, network: str) -> list[dict[str, str]]:
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in table(kept, "d") if line.startswith("|")]
    titles = lines[0]
    own = titles.index("ours")
    names = [*titles[: own + 1], *(title if title.startswith("+") else f"our {title}" for title in titles[own + 1 :])]
    return [dict(zip(names, cells, strict=True)) for cells in lines if cells[0] == network]


def test_ours_may_take_as_long_as_any_slower_network_of_the_same_seed(kept: Results) -> None:
    train(kept, "yolov8n 160 px", 0, 0.5, cpu_s=150.0)
    assert kept.limits("d", OWN, 0) is None  # 320 px is slower still, and has no training of this seed
    train(kept, "yolov8n 320 px", 0, 0.5, cpu_s=400.0)
    train(kept, "yolov8n 320 px", 0, 0.6, cpu_s=300.0, setting="as it comes")
    assert kept.limits("d", OWN, 0) == {"yolov8n 160 px": 150.0, "yolov8n 320 px": 300.0}
    assert kept.limits("d", OWN, 1) is None
    assert kept.limits("other", OWN, 0) is None


def test_a_seed_that_only_one_side_has_is_no_part_of_a_difference(kept: Results) -> None:
    train(kept, "yolov8n 160 px", 0, 0.7)
    train(kept, "yolov8n 160 px", 1, 0.5)
    train(kept, OWN, 0, 0.7, setting=EQUAL)
    assert row_of(kept, "yolov8n 160 px")["+AP"] == "+0.000"
    train(kept, OWN, 1, 0.6, setting=EQUAL)
    assert row_of(kept, "yolov8n 160 px")["+AP"] == "+0.050"


def test_a_training_that_took_longer_is_not_compared(kept: Results) -> None:
    train(kept, "yolov8n 160 px", 0, 0.5)
    train(kept, OWN, 0, 0.9, cpu_s=103.0, setting=EQUAL)
    assert row_of(kept, "yolov8n 160 px")["ours"] == "none"


def test_a_training_in_the_time_of_a_slow_network_is_compared_with_that_one_alone(kept: Results) -> None:
    kept.add("timed", asdict(Timed(network="yolo11n 320 px", raw_ms=1.0, boxes_ms=10.0)))
    for seed in (0, 1):
        train(kept, "yolov8n 160 px", seed, 0.5)
        train(kept, "yolov8n 320 px", seed, 0.6, cpu_s=400.0)
        train(kept, "yolo11n 320 px", seed, 0.6, cpu_s=500.0)
        train(kept, OWN, seed, 0.7, setting=EQUAL)
    train(kept, OWN, 1, 0.9, cpu_s=390.0, setting="the time of yolov8n 320 px")  # of fewer seeds, and shown still
    (row,) = rows_of(kept, "yolov8n 160 px")
    assert (row["ours"], row["our AP"], row["our ms to boxes"], row["+AP"]) == (OWN, "0.700 ± 0.000", "2.0", "+0.200")
    assert [(row["ours"], row["+AP"]) for row in rows_of(kept, "yolov8n 320 px")] == [
        (OWN, "+0.100"),
        (f"{OWN}, as long as it", "+0.300"),
    ]
    assert [row["ours"] for row in rows_of(kept, "yolo11n 320 px")] == [OWN]
    assert [row.ap for row in kept.best("d", OWN)] == [0.7, 0.7]  # what the picture shows


def test_ours_are_given_the_time_of_one_network_once_a_seed(kept: Results) -> None:
    train(kept, "yolov8n 320 px", 0, 0.6, cpu_s=400.0)
    assert kept.limits("d", OWN, 0) is None
    assert kept.limits("d", OWN, 0, only="yolov8n 320 px") == {"yolov8n 320 px": 400.0}
    asked = argparse.Namespace(data=["d"], first_seed=0, seeds=2, time_of=None, own=[OWN])
    train(kept, OWN, 0, 0.8, setting="the time of yolov8n 320 px")
    assert [(job.setting, job.seed) for job in our_jobs(asked, kept)] == [("equal time", 0), ("equal time", 1)]
    asked.time_of = "yolov8n 320 px"
    assert [(job.setting, job.seed) for job in our_jobs(asked, kept)] == [("the time of yolov8n 320 px", 1)]
    asked.own = [f"another {OWN}"]
    assert not list(our_jobs(asked, kept))


def test_a_setting_with_more_seeds_counts_before_a_lucky_single_one(kept: Results) -> None:
    train(kept, "yolov8n 160 px", 0, 0.5)
    train(kept, "yolov8n 160 px", 1, 0.4)
    train(kept, "yolov8n 160 px", 0, 0.48, setting="as it comes")
    assert [one.setting for one in kept.best("d", "yolov8n 160 px")] == ["batches of 8"] * 2


def test_of_what_a_search_found_the_best_within_each_latency_is_trained_on_its_data_alone(
    kept: Results, tmp_path: Path
) -> None:
    found: dict[str, Architecture] = {}
    for number, (boxes_ms, ap) in enumerate(((1.0, 0.3), (2.5, 0.4), (2.9, 0.35), (8.0, 0.6), (12.0, 0.9))):
        name, one = f"study:{number} 64 px", OURS[OWN].replace(input_size=32 * (number + 2))
        found[name] = one
        timed = Timed(
            network=name, raw_ms=1.0, boxes_ms=boxes_ms, architecture=one.to_dict(), found_ap=ap, found_on="d"
        )
        kept.add("timed", asdict(timed))
    again = Results(tmp_path / "results.jsonl")  # read from the file
    assert [name for name in again.wanted("d") if name not in OURS] == ["study:1 64 px", "study:3 64 px"]
    assert set(again.wanted("other")) == set(OURS)
    assert again.ours["study:1 64 px"] == found["study:1 64 px"]
    assert again.shelf() == ["yolov8n 160 px", "yolov8n 320 px"]
    assert json.loads((tmp_path / "results.jsonl").read_text().splitlines()[-1])["found_on"] == "d"


def test_what_a_search_would_give_stands_beside_the_shelf_whatever_it_turned_out_to_be(kept: Results) -> None:
    for number, (boxes_ms, ap) in enumerate(((1.0, 0.3), (2.5, 0.4))):
        one = OURS[OWN].replace(input_size=32 * (number + 2)).to_dict()
        found = {"architecture": one, "found_ap": ap, "found_on": "d"}
        kept.add("timed", asdict(Timed(network=f"a:b:{number} 64 px", raw_ms=1.0, boxes_ms=boxes_ms, **found)))
    train(kept, "yolov8n 160 px", 0, 0.5)
    train(kept, OWN, 0, 0.6, setting=EQUAL)
    train(kept, "a:b:0 64 px", 0, 0.9, setting=EQUAL)  # luckier than the choice
    train(kept, "a:b:1 64 px", 0, 0.4, setting=EQUAL)
    assert [(row["ours"], row["+AP"]) for row in rows_of(kept, "yolov8n 160 px")] == [
        (OWN, "+0.100"),
        ("a:b:1 64 px", "-0.100"),
    ]
    train(kept, "a:b:1 64 px", 0, 0.7, setting="the time of yolov8n 160 px")
    assert [(row["ours"], row["+AP"]) for row in rows_of(kept, "yolov8n 160 px")] == [
        (OWN, "+0.100"),
        ("a:b:1 64 px", "-0.100"),
        ("a:b:1 64 px, as long as it", "+0.200"),
    ]


def test_the_picture_shows_the_fastest_and_the_slowest_network(kept: Results) -> None:
    for network, boxes_ms in (("fast:1 64 px", 0.3), ("yolov8n 640 px", 40.0)):
        kept.add("timed", asdict(Timed(network=network, raw_ms=1.0, boxes_ms=boxes_ms)))
    kept.ours["fast:1 64 px"] = OURS[OWN]
    train(kept, "fast:1 64 px", 0, 0.5, setting=EQUAL)
    train(kept, "yolov8n 640 px", 0, 0.5)
    axes, without = draw(kept, ["d", "no trainings"]).axes
    low, high = axes.get_xlim()
    assert low < 0.3 < 40.0 < high
    assert not without.lines


def test_the_test_images_are_compared_where_both_sides_have_them(kept: Results) -> None:
    train(kept, "yolov8n 160 px", 0, 0.5, test_ap=0.4)
    train(kept, OWN, 0, 0.6, setting=EQUAL, test_ap=0.45)
    row = row_of(kept, "yolov8n 160 px")
    assert (row["test AP"], row["our test AP"], row["+test AP"]) == ("0.400", "0.450", "+0.050")
    train(kept, "yolov8n 160 px", 1, 0.5)  # of an earlier version, which did not keep it
    train(kept, OWN, 1, 0.6, setting=EQUAL, test_ap=0.45)
    assert row_of(kept, "yolov8n 160 px")["+test AP"] == ""


def test_trainings_of_different_days_are_named(kept: Results) -> None:
    def named() -> list[str]:
        return [line for line in table(kept, "d") if line.startswith("Trained on different days")]

    train(kept, "yolov8n 160 px", 0, 0.5, at="2026-11-27T23:00:00")
    train(kept, OWN, 0, 0.6, setting=EQUAL, at="2026-11-28T01:00:00")
    assert not named()
    train(kept, "yolov8n 160 px", 1, 0.5, at="2026-11-27T23:00:00")
    train(kept, OWN, 1, 0.6, setting=EQUAL, at="2026-11-28T12:00:00")
    assert [line.rpartition(": ")[2] for line in named()] == [f"yolov8n 160 px and {OWN}"]


def test_a_training_of_ours_that_took_longer_than_allowed_is_repeated_with_fewer_epochs(
    kept: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    for network in ("yolov8n 160 px", "yolov8n 320 px"):
        train(kept, network, 0, 0.5, cpu_s=100.0)
    asked = list[int]()
    epoch_s = iter((9.0, 12.0, 11.0))  # after a first one of 19 s; then of a slower machine

    def run(kept: Results, job: Job, core: int, *, epochs: int) -> dict[str, float]:
        asked.append(epochs)
        one_s = next(epoch_s)
        return {"ap": 0.5, "ap50": 0.5, "cpu_s": 19.0 + (epochs - 1) * one_s, "last_epoch_s": one_s}

    monkeypatch.setattr("benchmarks.against_the_shelf._run_ours", run)
    job = Job(data="d", network=OWN, setting="equal time", seed=0)
    done = train_for(argparse.Namespace(time_of=None), kept, job, core=0)
    assert (asked, done.epochs, done.cpu_s) == ([2, 10, 7], 7, 85.0)


def test_what_is_trained_needs_the_environment_that_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["against_the_shelf", "--data", "d", "--found", "runs", "bccd"])
    with pytest.raises(SystemExit):
        main()
    assert "--python is needed" in capsys.readouterr().err


def test_a_network_that_would_not_be_trained_is_refused(
    kept: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    slower = {
        "architecture": OURS[OWN].to_dict(),
        "found_ap": 0.9,
        "found_on": "d",
    }  # than all of the shelf's: no choice
    kept.add("timed", asdict(Timed(network="study:1 64 px", raw_ms=1.0, boxes_ms=99.0, **slower)))
    monkeypatch.setattr("benchmarks.against_the_shelf.time_networks", lambda given, kept: None)
    monkeypatch.setattr("benchmarks.against_the_shelf.train_all", lambda given, kept, ends: None)
    words = ["--data", "d", "--python", "python", "--results", str(tmp_path / "results.jsonl"), "--own"]
    for name in ("study:1 64 px", "yolov8n 160 px"):
        monkeypatch.setattr("sys.argv", ["against_the_shelf", *words, name])
        with pytest.raises(SystemExit):
            main()
        assert f"--own {name}: it is not trained; of ours are {OWN}" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["against_the_shelf", *words, OWN])
    main()


def test_names_say_the_shape_of_the_input(tmp_path: Path) -> None:
    assert [named_hw(name) for name in ("yolov8n 320 px", "s:7 320×256 px")] == [(320, 320), (256, 320)]
    asked = argparse.Namespace(shelf=["yolov8n"], sizes=[160, 320], aspect="4:3")
    assert shelf_names(asked) == ["yolov8n 160×128 px", "yolov8n 320×256 px"]
    assert hw_options("yolov8n 320×256 px") == ["--height", "256", "--width", "320"]
    kept = Results(tmp_path / "results.jsonl", aspect="4:3")
    assert {in_words(one.input_hw) in name for name, one in kept.presets.items()} == {True}
    assert not set(kept.presets) & set(OURS)
    for network in ("M0.75, decoupled 160×128 px", "yolov8n 160×128 px"):
        kept.add("timed", asdict(Timed(network=network, raw_ms=1.0, boxes_ms=2.0)))
    assert kept.shelf() == ["yolov8n 160×128 px"]


def test_latencies_of_two_days_are_compared_on_one_scale(kept: Results, tmp_path: Path) -> None:
    assert not [line for line in table(kept, "d") if line.startswith("Latencies of")]  # all without a reference
    kept.add("timed", asdict(Timed(network="yolo11n 160 px", raw_ms=2.0, boxes_ms=3.0, reference_ms=0.5)))
    kept.add("timed", asdict(Timed(network="yolo26n 160 px", raw_ms=2.0, boxes_ms=3.0, reference_ms=0.75)))
    again = Results(tmp_path / "results.jsonl")  # read from the file, which keeps them as timed
    for one in (kept, again):
        assert (one.timed["yolo11n 160 px"].boxes_ms, one.timed["yolo26n 160 px"].boxes_ms) == (3.0, 2.0)
    (note,) = (line for line in table(kept, "d") if line.startswith("Latencies of"))
    assert note.startswith(f"Latencies of {OWN}, yolov8n 160 px, yolov8n 320 px were kept without")
