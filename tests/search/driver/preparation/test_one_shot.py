"""A one-shot search: what comes before its first trial, and what ends it."""

import random
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search.driver.driver import RunResult
from search.driver.executor import Event, Finished, Progressed
from search.driver.search import run_search
from search.reports.report import make_report
from search.study.errors import OneShotError, StudyError
from search.study.one_shot import shared_training, trial_training
from search.study.prior import SHARED_WEIGHTS
from search.study.read_study import read_study
from search.study.settings import StudySettings
from spaces.space import SpaceError
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import (
    SPACE,
    DriverKilledError,
    RecordingView,
    Runs,
    Script,
    ScriptedExecutor,
    StandInDevice,
    fail_with,
    fake_ap,
    hang,
    kill_driver,
    lose_with,
    write_yolo,
)
from trials.one_shot.training import SCORES_FILE, SHARED_FILE
from trials.progress import Progress
from trials.training import TrainSettings
from trials.training.settings import LAST_FILE
from trials.trial_result import RESULT_FILE, TrialRequest, TrialResult, write_json, write_result

ONE_BACKBONE = replace(SPACE, backbones={"mobilenetv2_035": SPACE.backbones["mobilenetv2_035"]})
FULL = TrainSettings(epochs=16)


def write_shared_files(request: TrialRequest) -> TrialResult:
    """Do what a training of shared weights leaves behind; the weights themselves are a stand-in."""
    assert request.one_shot is not None
    request.work_dir.mkdir(parents=True, exist_ok=True)
    (request.work_dir / SHARED_FILE).write_bytes(b"weights")
    drawn = request.one_shot.space.sample_distinct(20, random.Random("0/scored"))
    scores = [[one.to_dict(), fake_ap(one)] for one in drawn]
    write_json(request.work_dir / SCORES_FILE, {"scores": scores})
    history = tuple((epoch, 9.0 / epoch, None, None) for epoch in range(1, request.train.epochs + 1))
    return TrialResult(state="complete", epochs=request.train.epochs, history=history, seconds={"train": 5.0})


def play_shared(request: TrialRequest) -> Generator[Event, bool | None, None]:
    """Play a training of shared weights that goes well."""
    yield Progressed(number=-1, progress=Progress(phase="build"))
    progress = Progress(phase="train", epoch=1, num_epochs=32, step=3, num_steps=3, loss=9.0)
    yield Progressed(number=-1, progress=progress)
    yield Progressed(number=-1, progress=Progress(phase="score", step=1, num_steps=20))
    yield Finished(number=-1, result=write_shared_files(request))


def search(
    settings: StudySettings, *, shared: Script = play_shared, scripts: dict[int, Script] | None = None, **arguments: Any
) -> tuple[RunResult, ScriptedExecutor, RecordingView]:
    executor, view = ScriptedExecutor(scripts={-1: shared, **(scripts or {})}, capacity=2), RecordingView()
    result = run_search(settings, executor=executor, view=view, **arguments)
    return result, executor, view


@pytest.fixture
def one_shot(settings: MakeSettings) -> MakeSettings:
    def make(**changes: Any) -> StudySettings:
        given = {"space": ONE_BACKBONE, "one_shot": True, "sampler": "ehvi", "train": FULL, **changes}
        return settings(**given)

    return make


def test_shared_weights_are_trained_before_all_trials_which_begin_with_them(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    result, executor, view = search(one_shot())
    first, *trials = executor.started
    assert [one.number for one in executor.started] == [-1, 0, 1, 2, 3]
    folder = one_shot().folder / "one-shot"
    assert first.one_shot is not None
    assert (first.work_dir, first.parent, first.train) == (folder, None, shared_training(FULL))
    assert all((one.parent, one.is_shared, one.one_shot) == (folder / SHARED_FILE, True, None) for one in trials)
    assert all(replace(one.train, precision="auto") == trial_training(FULL) for one in trials)
    assert len(result.summary.records) == 4
    assert view.given_up == [-1]
    assert tracking.started == [0, 1, 2, 3]
    assert tracking.prepared[0] == (1, 9.0)
    assert [epoch for epoch, _ in tracking.prepared[1:]] == list(range(1, 33))
    assert any("training shared weights first, 32 epochs" in one for one in view.notices)
    assert any("of 20 networks taken out untrained the best has AP 0." in one for one in view.notices)


def test_the_sampler_learns_from_what_networks_score_before_they_are_trained(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    _, executor, _ = search(one_shot())
    (prior,) = read_study(one_shot().root, "study").priors
    assert (prior.study, len(prior.trials)) == (SHARED_WEIGHTS, 20)
    assert all(one.ap == fake_ap(one.architecture) for one in prior.trials)
    assert read_study(one_shot().root, "study").seconds_shared == 5.0
    _, alone, _ = search(one_shot(name="alone", one_shot=False))
    assert [one.number for one in alone.started] == [0, 1, 2, 3]
    assert [one.architecture for one in alone.started] != [one.architecture for one in executor.started[1:]]


def test_a_resumed_search_trains_no_shared_weights_again(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(one_shot(budget=2))
    _, executor, _ = search(one_shot(budget=3))
    assert [one.number for one in executor.started] == [2]
    assert executor.started[0].is_shared


def test_the_curve_of_the_shared_weights_is_the_study_s_and_can_be_written_again(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(one_shot(budget=2))
    whole = tracking.prepared[1:]  # all that was heard of while they were trained is one epoch
    tracking.prepared.clear()
    search(one_shot(budget=3))
    assert [epoch for epoch, _ in whole] == list(range(1, 33))
    assert tracking.prepared == whole


def test_a_search_that_was_killed_while_shared_weights_were_trained_trains_them_on(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    with pytest.raises(DriverKilledError):
        search(one_shot(), shared=kill_driver)
    _, executor, _ = search(one_shot())
    assert [one.number for one in executor.started] == [-1, 0, 1, 2, 3]
    assert executor.started[0].train.is_resumable


def test_what_a_deleted_study_of_the_name_left_is_not_resumed(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    left = one_shot().folder / "one-shot" / "last.ckpt"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of another space")
    with pytest.raises(DriverKilledError):
        search(one_shot(), shared=kill_driver)
    assert not left.exists()
    left.write_bytes(b"its own")
    with pytest.raises(DriverKilledError):
        search(one_shot(), shared=kill_driver)
    assert left.read_bytes() == b"its own"


def test_a_search_that_was_killed_before_it_heard_of_the_end_reads_what_was_written(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def end_unheard(request: TrialRequest) -> Generator[Event, bool | None, None]:
        result = write_shared_files(request)
        write_result(request.work_dir, result, study_id=request.study_id, architecture=request.architecture)
        raise DriverKilledError
        yield

    with pytest.raises(DriverKilledError):
        search(one_shot(), shared=end_unheard)
    _, executor, _ = search(one_shot())
    assert [one.number for one in executor.started] == [0, 1, 2, 3]


def test_what_was_written_without_its_weights_is_trained_again(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def end_unheard(request: TrialRequest) -> Generator[Event, bool | None, None]:
        result = write_shared_files(request)
        write_result(request.work_dir, result, study_id=request.study_id, architecture=request.architecture)
        (request.work_dir / SHARED_FILE).unlink()
        raise DriverKilledError
        yield

    with pytest.raises(DriverKilledError):
        search(one_shot(), shared=end_unheard)
    _, executor, _ = search(one_shot())
    assert [one.number for one in executor.started] == [-1, 0, 1, 2, 3]


def test_the_reason_of_an_earlier_failure_is_not_that_of_the_next(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def fail(request: TrialRequest) -> Generator[Event, bool | None, None]:
        failed = TrialResult(state="failed", reason="memory ran out")
        request.work_dir.mkdir(parents=True, exist_ok=True)
        write_result(request.work_dir, failed, study_id=request.study_id, architecture=request.architecture)
        yield Finished(number=-1, result=failed)

    def see_nothing(request: TrialRequest) -> Generator[Event, bool | None, None]:
        assert not (request.work_dir / RESULT_FILE).exists()
        yield from play_shared(request)

    with pytest.raises(OneShotError, match="memory ran out"):
        search(one_shot(), shared=fail)
    assert search(one_shot(), shared=see_nothing)[0].ending == "done"


@pytest.mark.parametrize("state", ["trained", "untold", "half", "failed"])
def test_shared_weights_of_other_data_are_refused_unless_their_training_failed(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs, root: Path, state: str
) -> None:
    def end(request: TrialRequest) -> Generator[Event, bool | None, None]:
        request.work_dir.mkdir(parents=True, exist_ok=True)
        if state == "untold":
            found = write_shared_files(request)
            write_result(request.work_dir, found, study_id=request.study_id, architecture=request.architecture)
            raise DriverKilledError
        (request.work_dir / LAST_FILE).write_bytes(b"half")
        if state == "half":
            raise DriverKilledError
        failed = TrialResult(state="failed", reason="a box of no size")
        write_result(request.work_dir, failed, study_id=request.study_id, architecture=request.architecture)
        yield Finished(number=-1, result=failed)

    chosen = one_shot(dataset=str(write_yolo(root / "data", num_train=3)))
    with pytest.raises((DriverKilledError, OneShotError)):
        search(chosen, shared=play_shared if state == "trained" else end, scripts={0: kill_driver, 1: kill_driver})
    write_yolo(root / "data", num_train=4)
    if state == "failed":
        assert search(chosen)[0].ending == "done"
    else:
        with pytest.raises(StudyError, match="the data of 'study' changed since it began"):
            search(chosen)


def test_networks_that_all_score_alike_teach_the_sampler_nothing(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    def all_score_nothing(request: TrialRequest) -> Generator[Event, bool | None, None]:
        result = write_shared_files(request)
        scores = [[one.to_dict(), 0.0] for one in ONE_BACKBONE.sample_distinct(20, random.Random("0/scored"))]
        write_json(request.work_dir / SCORES_FILE, {"scores": scores})
        yield Finished(number=-1, result=result)

    _, executor, view = search(one_shot(), shared=all_score_nothing)
    assert any("score too much alike: the sampler learns nothing from them" in one for one in view.notices)
    _, alone, _ = search(one_shot(name="alone", one_shot=False))
    assert [one.architecture for one in executor.started[1:]] == [one.architecture for one in alone.started]
    (sentence,) = make_report(read_study(one_shot().root, "study")).priors
    assert "too few to say" in sentence


@pytest.mark.parametrize("request_to_end", ["finish", "now"])
def test_an_interrupt_ends_the_training_of_shared_weights_at_once_and_nothing_is_recorded(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs, request_to_end: Any
) -> None:
    heard = iter(["no"] * 6)
    result, executor, view = search(one_shot(), shared=hang, stop_requested=lambda: next(heard, request_to_end))
    assert (result.ending, len(result.summary.records)) == ("interrupted", 0)
    assert [one.number for one in executor.started] == [-1]
    assert view.given_up == [-1]
    assert "the training of the shared weights has stopped; the same command goes on with it" in view.notices
    _, executor, _ = search(one_shot())
    assert [one.number for one in executor.started] == [-1, 0, 1, 2, 3]


def test_shared_weights_that_cannot_be_trained_end_the_search_with_the_reason(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    with pytest.raises(OneShotError, match="shared weights could not be trained: the loss is nan"):
        search(one_shot(), shared=fail_with("the loss is nan"))
    assert search(one_shot())[0].ending == "done"


def test_a_training_of_shared_weights_whose_machine_is_lost_is_started_again_but_not_for_ever(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    monkeypatch.setattr(RecordingView, "noticed", lambda self, message: notices.append(message))
    with pytest.raises(OneShotError, match="its node is gone, 3 times in this run"):
        search(one_shot(), shared=lose_with("its node is gone"))
    again = "the training of the shared weights will be tried again: its node is gone"
    assert notices.count(again) == 2


def test_a_study_whose_shared_weights_were_deleted_does_not_go_on(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(one_shot(budget=2))
    (one_shot().folder / "one-shot" / SHARED_FILE).unlink()
    with pytest.raises(StudyError, match="the shared weights of study 'study' are missing"):
        search(one_shot(budget=3))


def test_what_cannot_share_weights_begins_no_study(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    with pytest.raises(SpaceError, match="has 2 backbones, and weights are shared within one only"):
        search(one_shot(space=SPACE))


def test_a_study_becomes_one_shot_neither_before_nor_after_it_began(
    one_shot: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(one_shot(one_shot=False))
    with pytest.raises(StudyError, match="one_shot was False, is True"):
        search(one_shot())


def test_trials_are_an_eighth_as_long_and_shared_weights_twice_as_long_as_a_training_alone() -> None:
    assert (shared_training(FULL).epochs, trial_training(FULL).epochs) == (32, 2)
    assert trial_training(TrainSettings(epochs=1)).epochs == 1
    assert trial_training(FULL).learning_rate == pytest.approx(0.2 * FULL.learning_rate)
    longest = replace(FULL, frozen_epochs=5, calm_epochs=5)
    for train in (shared_training(longest), trial_training(longest)):
        assert (train.frozen_epochs, train.calm_epochs) == (0, 0)
