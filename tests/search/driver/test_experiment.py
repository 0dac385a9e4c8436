"""Named trainings, played rather than run."""

import errno
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from types import MappingProxyType
from typing import Any

import pytest

from search.driver.driver import RunResult
from search.driver.executor import Event, Finished, Progressed
from search.driver.experiment import run_experiment
from search.driver.interruption import StopRequest
from search.driver.repeated_failure import RepeatedFailureError
from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.reports.experiment import draw_curve, draw_steps, to_rows, write_rows
from search.strategy.repeats import Repeats
from search.study.errors import StorageError, StudyError
from search.study.experiment import ExperimentSettings, Variant, read_experiment
from search.study.read_study import EXPERIMENT_FILE
from spaces import Architecture
from tests.search.conftest import DATASET
from tests.search.driver.scripted import (
    IDENTITY,
    RecordingView,
    Runs,
    Script,
    ScriptedExecutor,
    StandInDevice,
    fail_with,
    find_device_away,
    latency,
    lose_with,
    measure_also,
    play_trial,
    write_yolo,
)
from tests.search.records import record
from trials.data import open_dataset
from trials.latency import DeviceIdentity, Latency
from trials.progress import Progress
from trials.training import TrainSettings
from trials.training.settings import LAST_FILE
from trials.trial_result import RESULT_FILE, TRACEBACK_FILE, TrialRequest, write_json, write_result

BASE = Architecture(backbone="mobilenetv2_035", truncation=16, input_size=64)
VARIANTS = [
    Variant(label=label, architecture=architecture, seed=seed)
    for label, architecture in (("small", BASE), ("large", BASE.replace(input_size=128)))
    for seed in (0, 1)
]
Run = Callable[..., tuple[list[TrialRecord], ScriptedExecutor]]


def writing(script: Script) -> Script:
    """Give the script of a trial that leaves its result in its folder, as a real one does."""

    def play_and_write(request: TrialRequest) -> Generator[Event, bool | None, None]:
        play = script(request)
        event = next(play)
        while True:
            if isinstance(event, Finished):
                request.work_dir.mkdir(parents=True, exist_ok=True)
                write_result(
                    request.work_dir, event.result, study_id=request.study_id, architecture=request.architecture
                )
                yield event
                return
            event = play.send((yield event))

    return play_and_write


play_and_write = writing(play_trial)


@pytest.fixture
def run(root: Path, device: StandInDevice, tracking: Runs) -> Run:
    def start(
        variants: list[Variant] = VARIANTS,
        *,
        repeats: int | None = None,
        results: list[RunResult] | None = None,
        executors: list[ScriptedExecutor] | None = None,
        scripts: dict[int, Script] | None = None,
        capacity: int = 1,
        name: str = "few",
        spec: str = "cpu",
        epochs: int = 2,
        dataset: str = DATASET,
        scales: Mapping[str, Latency] = MappingProxyType({}),
        stop_requested: Callable[[], StopRequest] = lambda: "no",
    ) -> tuple[list[TrialRecord], ScriptedExecutor]:
        settings = ExperimentSettings(
            name=name, dataset=dataset, device=spec, train=TrainSettings(epochs=epochs), scales=scales, root=root
        )
        every: dict[int, Script] = dict.fromkeys(range(50), play_and_write) | (scripts or {})
        executor = ScriptedExecutor(scripts=every, capacity=capacity)
        if executors is not None:
            executors.append(executor)
        result, records = run_experiment(
            settings,
            variants,
            repeats=None if repeats is None else Repeats(count=repeats, max_latency_ms=90.0),
            executor=executor,
            view=RecordingView(),
            stop_requested=stop_requested,
        )
        assert executor.is_closed
        if results is not None:
            results.append(result)
        return records, executor

    return start


def test_every_variant_is_trained_once_with_its_own_seed_and_resumable(run: Run) -> None:
    records, executor = run(capacity=2)
    assert [record.label for record in records] == [variant.label for variant in VARIANTS]
    assert [record.architecture for record in records] == [variant.architecture for variant in VARIANTS]
    assert executor.most_at_once == 2
    assert [request.train.seed for request in executor.started] == [0, 1, 0, 1]
    assert all(request.train.is_resumable for request in executor.started)
    _, again = run()
    assert again.started == []


def test_a_device_that_changed_is_no_longer_the_experiment_s(
    run: Run, device: StandInDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(VARIANTS[:1], scripts={0: fail_with("the board's clock is free")})
    device.known = replace(device.known, backend="none", board="locked")  # as its hint said; nothing is mixed
    run(VARIANTS[:2])
    device.known = replace(device.known, backend="another")
    _, executor = run(VARIANTS[:2])  # nothing is measured any more
    assert executor.started == []
    with pytest.raises(
        StudyError, match="the device of trainings 'few' is not the one it began on: backend: none → another"
    ):
        run(VARIANTS)


def test_a_further_device_stays_the_one_of_its_first_latency(run: Run) -> None:
    first, other = (replace(IDENTITY, board=board) for board in ("first", "other"))

    def also(identity: DeviceIdentity) -> Script:
        return writing(measure_also("cuda", identity))

    _, executor = run(VARIANTS[:2], scripts={0: also(first), 1: also(other)})
    _, resumed = run(VARIANTS[:3])
    assert [one.also_keys for one in (*executor.started, *resumed.started)] == [{}, *[{"cuda": first.key}] * 2]


def test_trainings_keep_the_scale_of_their_first_latency_else_that_of_their_study(run: Run) -> None:
    of_study = {"cpu": latency(1.0), "cuda": latency(2.0)}
    (first,), executor = run(VARIANTS[:1], scales=of_study)
    _, resumed = run(VARIANTS[:2], scales=of_study)
    assert [request.scales for request in executor.started] == [of_study]
    assert [request.scales for request in resumed.started] == [{**of_study, "cpu": first.result.latency}]


def test_all_trainings_use_the_number_format_of_the_first(run: Run) -> None:
    _, executor = run(VARIANTS[:2])
    assert [request.train.precision for request in executor.started] == ["auto", "bf16"]
    _, executor = run(VARIANTS)
    assert [request.train.precision for request in executor.started] == ["bf16", "bf16"]


def test_a_variant_given_twice_is_trained_once(run: Run) -> None:
    records, executor = run([VARIANTS[0], VARIANTS[0], VARIANTS[1]], capacity=3)
    assert [request.number for request in executor.started] == [0, 1]
    assert [record.number for record in records] == [0, 0, 1]


def test_further_variants_join_and_failed_ones_are_run_again(run: Run, tracking: Runs) -> None:
    results, _ = run(VARIANTS[:2], scripts={1: fail_with("out of memory")})
    assert [record.result.state for record in results] == ["complete", "failed"]
    results, executor = run(VARIANTS)
    assert [request.number for request in executor.started] == [1, 2, 3]
    assert {record.result.state for record in results} == {"complete"}


def fail_and_write(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a training that fails and leaves its result in its folder."""
    (event,) = fail_with("out of memory")(request)
    assert isinstance(event, Finished)
    request.work_dir.mkdir(parents=True, exist_ok=True)
    write_result(request.work_dir, event.result, study_id=request.study_id, architecture=request.architecture)
    yield event


def test_failed_variants_come_after_the_others_and_do_not_end_the_experiment(run: Run) -> None:
    with pytest.raises(RepeatedFailureError, match="3 trials in a row failed with one cause: out of memory"):
        run(scripts=dict.fromkeys(range(4), fail_and_write))
    results, executor = run(scripts=dict.fromkeys(range(3), fail_and_write))
    assert [request.number for request in executor.started] == [3, 0, 1, 2]
    assert [record.result.state for record in results] == ["failed"] * 3 + ["complete"]


def test_losses_of_one_seed_do_not_fail_another(run: Run) -> None:
    left = {0: 2, 1: 2}

    def lose_twice(request: TrialRequest) -> Generator[Event, bool | None, None]:
        left[request.number] -= 1
        yield from (lose_with("its node is gone") if left[request.number] >= 0 else play_and_write)(request)

    records, _ = run(VARIANTS[:2], scripts={0: lose_twice, 1: lose_twice})
    assert [record.result.state for record in records] == ["complete", "complete"]


def test_a_failed_training_goes_on_from_its_last_checkpoint(run: Run, root: Path) -> None:
    folder = root / "few" / "trials" / "0000"
    run(VARIANTS[:1], scripts={0: fail_and_write})
    for name in (LAST_FILE, TRACEBACK_FILE):
        (folder / name).write_text("of the training that failed")
    run(VARIANTS[1:2])  # not asked for again
    assert {path.name for path in folder.iterdir()} == {LAST_FILE, TRACEBACK_FILE, RESULT_FILE}
    _, executor = run(VARIANTS[:1], scripts={0: look_into(folder)})
    assert [request.number for request in executor.started] == [0]


def look_into(folder: Path) -> Script:
    """Give a script that looks at what is left as its training begins."""

    def play(request: TrialRequest) -> Generator[Event, bool | None, None]:
        assert [path.name for path in folder.iterdir()] == [LAST_FILE]
        yield from play_and_write(request)

    return play


def test_data_that_made_a_training_fail_may_be_repaired(run: Run, root: Path) -> None:
    data = str(write_yolo(root / "data", num_train=3))
    run(VARIANTS[:1], dataset=data, scripts={0: fail_and_write})
    (root / "few" / "trials" / "0000" / LAST_FILE).touch()
    write_yolo(root / "data", num_train=4)
    _, executor = run(VARIANTS[:1], dataset=data)
    assert [request.number for request in executor.started] == [0]


def reach(ap: float, latency_ms: float) -> Script:
    """Give a script of a training that ends with these figures, and leaves its result in its folder."""

    def play(request: TrialRequest) -> Generator[Event, bool | None, None]:
        done = record(0, ap, latency_ms).result
        request.work_dir.mkdir(parents=True, exist_ok=True)
        write_result(request.work_dir, done, study_id=request.study_id, architecture=request.architecture)
        yield Finished(number=request.number, result=done)

    return play


FINALISTS = [
    Variant(label=f"trial {size}", architecture=BASE.replace(input_size=size), seed=7) for size in (64, 96, 128)
]
SCORES: dict[int, Script] = {0: reach(0.2, 10.0), 1: reach(0.40, 20.0), 2: reach(0.405, 30.0)}
"""Of `FINALISTS`: the second and the third cannot be told apart."""


def labels_and_seeds(executor: ScriptedExecutor) -> list[tuple[int, int]]:
    return [(request.architecture.input_size, request.train.seed) for request in executor.started]


@pytest.mark.parametrize("capacity", [1, 2, 8])
def test_repeats_go_to_what_cannot_be_told_apart(run: Run, capacity: int) -> None:
    """With eight workers none has a score when the last listed one begins: a repeat has to wait until two have one."""
    again = {3: reach(0.41, 20.0), 4: reach(0.395, 30.0), 5: reach(0.39, 30.0)}
    records, executor = run(FINALISTS, repeats=2, scripts=SCORES | again, capacity=capacity)
    assert labels_and_seeds(executor)[:3] == [(64, 7), (96, 7), (128, 7)]
    assert sorted(labels_and_seeds(executor)[3:]) == [(96, 8), (128, 8)]
    assert [one.label for one in records[:3]] == ["trial 64", "trial 96", "trial 128"]
    assert len(records) == 5
    # What is finished counts, and more can be asked for, or fewer.
    records, executor = run(FINALISTS, repeats=3, scripts=SCORES | again)
    assert [request.number for request in executor.started] == [5]
    assert len(records) == 6
    records, executor = run(FINALISTS, repeats=0)
    assert executor.started == []
    assert len(records) == 6
    records, _ = run(FINALISTS)  # only the listed ones
    assert len(records) == 3


def test_a_failed_repeat_leaves_no_result_that_could_be_taken_for_its_next_one(run: Run, root: Path) -> None:
    run(FINALISTS, repeats=1, scripts=SCORES | {3: fail_and_write})
    folder = root / "few" / "trials" / "0003"
    assert (folder / RESULT_FILE).is_file()
    _, executor = run(FINALISTS, repeats=1, scripts={3: look_for_no_result(folder)})
    assert [request.number for request in executor.started] == [3]


def look_for_no_result(folder: Path) -> Script:
    """Give a script that finds no result in its folder as its training begins."""

    def play(request: TrialRequest) -> Generator[Event, bool | None, None]:
        assert not (folder / RESULT_FILE).exists()
        yield from play_and_write(request)

    return play


def test_repeats_are_those_of_the_listed_trainings_under_their_labels(run: Run, root: Path) -> None:
    """A deleted study may have left trainings of the same label, and of the same network under another label."""
    alien = Variant(label="trial 96", architecture=BASE.replace(input_size=160), seed=7)
    renamed = Variant(label="trial 901", architecture=BASE.replace(input_size=128), seed=8)
    run([alien, renamed], scripts={0: reach(0.9, 5.0), 1: reach(0.9, 30.0)})
    scripts = {
        2: reach(0.2, 10.0),
        3: reach(0.40, 20.0),
        4: reach(0.405, 30.0),
        5: reach(0.4, 20.0),
        6: reach(0.4, 30.0),
    }
    records, executor = run(FINALISTS, repeats=2, scripts=scripts)
    assert [one.label for one in records] == ["trial 64", "trial 96", "trial 128", "trial 96", "trial 128"]
    # Not the seed that a network was trained with under another label.
    assert labels_and_seeds(executor)[3:] == [(96, 8), (128, 9)]
    again, executor = run(FINALISTS, repeats=2)
    assert executor.started == []
    assert again == records


def test_no_repeat_is_trained_where_it_would_change_nothing(run: Run) -> None:
    apart: dict[int, Script] = {0: reach(0.2, 10.0), 1: reach(0.4, 20.0), 2: reach(0.6, 30.0)}
    results: list[RunResult] = []
    records, executor = run(FINALISTS, repeats=5, scripts=apart, capacity=2, results=results)
    assert len(executor.started) == len(records) == 3
    assert [(one.ending, one.budget) for one in results] == [("done", 3)]
    run(FINALISTS, repeats=5, results=results)
    assert [(one.ending, one.budget) for one in results] == [("done", 3)] * 2


@pytest.mark.parametrize("capacity", [1, 2, 8])
def test_finalists_that_all_fail_are_not_repeated(run: Run, capacity: int) -> None:
    results: list[RunResult] = []
    failing = dict.fromkeys(range(3), fail_and_write)
    records, executor = run(FINALISTS, repeats=4, scripts=failing, capacity=capacity, results=results)
    assert len(executor.started) == len(records) == 3
    assert results[0].budget == 3


def test_a_run_without_workers_at_the_end_does_not_wait_for_one_to_learn_that_nothing_is_left(
    run: Run,
) -> None:
    apart = {0: reach(0.2, 10.0), 1: reach(0.4, 20.0)}
    stops: Iterator[StopRequest] = iter(["no"] * 40)

    def last(request: TrialRequest) -> Generator[Event, bool | None, None]:
        executors[-1].capacity = 0
        yield from reach(0.6, 30.0)(request)

    executors: list[ScriptedExecutor] = []
    results: list[RunResult] = []
    run(
        FINALISTS,
        repeats=5,
        scripts=apart | {2: last},
        results=results,
        executors=executors,
        stop_requested=lambda: next(stops, "now"),
    )
    assert results[0].ending == "done"


def test_a_repeat_is_chosen_again_when_a_training_ends(run: Run) -> None:
    """Three workers and two finalists: the third worker has nothing to do until both have scores."""
    close = {0: reach(0.400, 10.0), 1: reach(0.405, 20.0), 2: reach(0.4, 10.0), 3: reach(0.4, 20.0)}
    records, executor = run(FINALISTS[:2], repeats=2, scripts=close, capacity=3)
    assert len(records) == 4
    assert executor.most_at_once == 2


def test_a_training_that_is_put_back_while_repeats_wait_for_it_is_tried_again(run: Run) -> None:
    times = 0

    def be_away_once(request: TrialRequest) -> Generator[Event, bool | None, None]:
        nonlocal times
        times += 1
        if times == 1:
            yield Progressed(number=request.number, progress=Progress(phase="build"))
            yield Progressed(number=request.number, progress=Progress(phase="build"))
            yield from find_device_away(request)
        else:
            yield from reach(0.405, 20.0)(request)

    close: dict[int, Script] = {0: reach(0.4, 10.0), 1: be_away_once, 2: reach(0.4, 10.0)}
    records, executor = run(FINALISTS[:2], repeats=1, scripts=close, capacity=2)
    assert [request.number for request in executor.started] == [0, 1, 1, 2]
    assert len(records) == 3


def test_repeats_that_were_interrupted_go_on(run: Run, root: Path) -> None:
    """A repeat that had begun is the first of the next run, and no further one takes its place."""
    run(FINALISTS, scripts=SCORES)
    begun = replace(FINALISTS[1], seed=8)
    book = json.loads((root / "few" / EXPERIMENT_FILE).read_text())
    write_json(root / "few" / EXPERIMENT_FILE, {**book, "variants": [*book["variants"], begun.to_dict()]})
    _, executor = run(FINALISTS, repeats=0)
    assert executor.started == []
    assert not interruption(root)  # nobody asks for the repeat any more
    records, executor = run(FINALISTS, repeats=1, scripts={3: reach(0.3, 20.0)})
    assert labels_and_seeds(executor) == [(96, 8)]
    assert len(records) == 4


def test_a_full_disk_when_a_repeat_is_chosen_ends_the_run_with_what_is_finished(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0

    def write_once(path: Path, values: dict[str, Any]) -> None:
        nonlocal writes
        writes += 1
        if writes > 3:  # the variants, the device and the budget
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_json(path, values)

    with monkeypatch.context() as patched:
        patched.setattr("search.study.experiment.write_json", write_once)
        with pytest.raises(StorageError, match="cannot be written: No space left on device"):
            run(FINALISTS, repeats=1, scripts=SCORES)
    records, executor = run(FINALISTS, repeats=1, scripts=SCORES | {3: reach(0.3, 20.0)})
    assert labels_and_seeds(executor) == [(96, 8)]
    assert len(records) == 4


def test_a_network_whose_repeats_fail_is_not_repeated_for_ever(run: Run) -> None:
    failing = dict.fromkeys(range(3, 9), fail_and_write)
    with pytest.raises(RepeatedFailureError, match="3 trials in a row failed"):
        run(FINALISTS, repeats=9, scripts=SCORES | failing)
    again = {number: reach(0.4, 20.0 if number % 2 else 30.0) for number in range(3, 9)}
    records, executor = run(FINALISTS, repeats=3, scripts=SCORES | again)
    assert [request.number for request in executor.started] == [3, 4, 5]
    assert {one.result.state for one in records} == {"complete"}


def interruption(root: Path) -> str:
    read = read_experiment(root, "few")
    assert read is not None
    return read.interruption


def test_an_interrupted_experiment_goes_on(run: Run, root: Path, tracking: Runs) -> None:
    requests: Iterator[StopRequest] = iter(["no"] * 6)
    results, _ = run(stop_requested=lambda: next(requests, "now"))
    assert len(results) < len(VARIANTS)
    assert tracking.status[-1] == "KILLED"
    assert interruption(root) == f"interrupted at {len(results)} of {len(VARIANTS)}"
    results, _ = run()
    assert len(results) == len(VARIANTS)
    assert not interruption(root)
    assert tracking.status[-1] == "FINISHED"


def test_a_training_whose_device_is_away_is_tried_again(run: Run, tracking: Runs) -> None:
    times = iter([find_device_away])
    results, executor = run(scripts={1: lambda request: next(times, play_and_write)(request)})
    assert [request.number for request in executor.started] == [0, 1, 1, 2, 3]
    assert {record.result.state for record in results} == {"complete"}
    assert tracking.interrupted == [1]


def test_other_settings_and_a_search_of_the_name_are_refused(run: Run, root: Path) -> None:
    run(VARIANTS[:1])
    with pytest.raises(StudyError, match=r"'few' exists with other settings: train\.epochs was 2, is 3"):
        run(VARIANTS[:1], epochs=3)
    (root / "studied" / "trials").mkdir(parents=True)
    with pytest.raises(StudyError, match="belongs to a search"):
        run(name="studied")


def test_a_board_with_other_time_limits_is_the_same_device(run: Run, root: Path) -> None:
    run(VARIANTS[:1], spec="ssh://nano")
    assert len(run(VARIANTS[:2], spec="ssh://nano?build_limit_s=4800")[0]) == 2
    opened = read_experiment(root, "few")
    assert opened is not None
    assert opened.device == "ssh://nano?build_limit_s=4800"  # an export builds within it
    with pytest.raises(StudyError, match="'few' exists with other settings: device was ssh://nano, is ssh://orin"):
        run(VARIANTS[:2], spec="ssh://orin")


@pytest.mark.parametrize("is_finished", [True, False])
def test_an_experiment_does_not_go_on_with_data_that_changed(run: Run, root: Path, is_finished: bool) -> None:
    data = str(write_yolo(root / "data", num_train=3))
    run(VARIANTS[:1], dataset=data)
    if not is_finished:
        folder = root / "few" / "trials" / "0000"
        (folder / RESULT_FILE).unlink()
        (folder / LAST_FILE).touch()
    write_yolo(root / "data", num_train=4)
    with pytest.raises(StudyError, match=r"the data of 'few' changed since it began .*: 1 of train new"):
        run(VARIANTS[:2], dataset=data)


def test_an_experiment_reads_like_a_study(run: Run, root: Path) -> None:
    run(VARIANTS[:2])
    opened = read_experiment(root, "few")
    assert opened is not None
    assert [record.label for record in opened.summary.records] == ["small", "small"]
    assert opened.trial_folder(1) == root / "few" / "trials" / "0001"
    assert opened.fingerprint == open_dataset(DATASET).fingerprint
    assert read_experiment(root, "none") is None
    assert opened.summary.reference == Reference(ap=0.0, latency_ms=opened.summary.reference.latency_ms)


def test_rows_keep_the_order_of_the_labels_where_the_first_training_of_one_failed() -> None:
    trained = [record(0, None, None, state="failed"), record(1, 0.5, 4.0), record(2, 0.3, 2.0)]
    labelled = [replace(one, label=label) for one, label in zip(trained, ("cut", "whole", "cut"), strict=True)]
    assert [row.label for row in to_rows(labelled)] == ["cut", "whole"]
    assert [row.label for row in to_rows(labelled[:2])] == ["whole"]


def test_seeds_of_a_label_make_one_row(tmp_path: Path) -> None:
    records = [record(0, 0.30, 2.0), record(1, 0.34, 2.0), record(2, 0.5, 4.0), record(3, None, None, state="failed")]
    rows = to_rows([replace(one, label=v.label) for v, one in zip(VARIANTS, records, strict=True)])
    assert [(row.label, row.mean_ap, row.latency_ms) for row in rows] == [
        ("small", pytest.approx(0.32), 2.0),
        ("large", 0.5, 4.0),
    ]
    assert rows[0].spread_ap == pytest.approx(stdev([0.30, 0.34]))
    assert rows[1].spread_ap is None
    write_rows(rows, tmp_path / "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0].startswith("label,ap,ap_std,ap50,seeds,latency_ms")
    assert lines[1].startswith("small,0.3200,0.0283,")
    draw_steps(rows, tmp_path / "steps.png", title="steps")
    draw_curve(rows, tmp_path / "curve.png", title="curve", axis="blocks")
    assert (tmp_path / "steps.png").read_bytes()[:4] == (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
