"""Optuna's record of a study: what is asked, told, recovered and read again."""

import dataclasses
import sqlite3
from pathlib import Path
from typing import NoReturn

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from search.strategy.optuna_samplers import SpaceSampler
from search.study.data_record import DATA_FILE
from search.study.database.storage import STORAGE_VARIABLE, named_storage_errors, open_storage, optuna_path
from search.study.errors import StorageError, StudyError
from search.study.kept_weights import delete_weights
from search.study.read_study import EXPERIMENT_FILE, read_study, study_names
from search.study.settings import StudySettings, differences
from search.study.study import Study
from spaces import Architecture
from spaces.named_spaces import SPACES
from spaces.space import BackboneChoice, Space
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import FEW, IDENTITY, SPACE, latency
from tests.search.records import record, summary
from trials.data import Dataset, open_dataset
from trials.data.dataset import assemble_dataset
from trials.latency import DeviceAwayError, Latency
from trials.training import CHECKPOINT_FILE
from trials.trial_result import ONNX_FILE, RESULT_FILE, TrialResult, write_result

DATA = open_dataset("shapes:train=3,val=2,size=32")
COMPLETE = TrialResult(state="complete", latency=latency(20.0), ap=0.4, ap50=0.6, history=((1, 2.0, 0.4, 0.6),))


def open_study(settings: StudySettings) -> Study:
    return Study(settings, SpaceSampler(settings.space, name="tpe", seed=settings.seed))


def ask(study: Study) -> tuple[int, Architecture]:
    asked = study.ask()
    assert asked is not None
    return asked[:2]


def in_optuna(settings: StudySettings) -> list[FrozenTrial]:
    return optuna.load_study(study_name=settings.name, storage=open_storage(settings.root)).get_trials()


def test_each_end_has_its_state_in_optuna(settings: MakeSettings) -> None:
    chosen = settings(max_latency_ms=50.0)
    study = open_study(chosen)
    ends = [
        COMPLETE,
        TrialResult(state="infeasible", reason="too slow", latency=latency(80.0)),
        TrialResult(state="pruned", reason="hopeless", latency=latency(30.0), ap=0.1),
        TrialResult(state="failed", reason="the loss is nan", latency=latency(30.0)),
        TrialResult(state="failed", reason="killed"),
    ]
    for end in ends:
        number, _ = ask(study)
        assert study.tell(number, end).result == end
    trials = in_optuna(chosen)
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
    ]
    assert [trial.values for trial in trials] == [[0.4, 20.0], [0.0, 80.0], None, None, None]
    assert [trial.user_attrs["state"] for trial in trials] == [end.state for end in ends]
    assert [record.result for record in open_study(chosen).records()] == ends
    best = optuna.load_study(study_name=chosen.name, storage=open_storage(chosen.root)).best_trials
    assert [trial.number for trial in best] == [0]  # the infeasible one is none of Optuna's best either


def test_long_measurements_are_thinned_but_keep_their_percentiles(settings: MakeSettings) -> None:
    samples = tuple(float(value) for value in np.random.default_rng(0).lognormal(3, 0.2, 5000))
    long = Latency(samples_ms=samples, device=IDENTITY, notes=("odd",))
    study = open_study(settings())
    kept = study.tell(ask(study)[0], dataclasses.replace(COMPLETE, latency=long)).result.latency
    assert kept is not None
    assert len(kept.samples_ms) == 101
    for percent in (50, 90, 99):
        assert kept.percentile_ms(percent) == pytest.approx(long.percentile_ms(percent))
    assert kept.notes == ("odd",)


def test_what_a_killed_driver_left_running_is_queued_again_unless_its_result_is_there(settings: MakeSettings) -> None:
    chosen = settings()
    left = open_study(chosen)
    asked = [ask(left) for _ in range(3)]
    chosen.trial_folder(1).mkdir(parents=True)
    write_result(chosen.trial_folder(1), COMPLETE, study_id=left.id, architecture=asked[1][1])
    chosen.trial_folder(2).mkdir()  # kept from a deleted study of this name
    write_result(chosen.trial_folder(2), COMPLETE, study_id="deleted", architecture=asked[2][1])

    study = open_study(chosen)
    found = study.recover()
    assert [(record.number, record.architecture) for record in found] == [asked[1]]
    assert [record.number for record in study.records()] == [1]
    assert [ask(study)[1] for _ in range(2)] == [asked[0][1], asked[2][1]]
    assert not [trial for trial in in_optuna(chosen) if trial.state == TrialState.WAITING]


def test_an_interrupted_trial_leaves_no_files(settings: MakeSettings) -> None:
    chosen = settings()
    study = open_study(chosen)
    for _ in range(2):
        number, _ = ask(study)
        chosen.trial_folder(number).mkdir(parents=True)
        (chosen.trial_folder(number) / "model.partial.onnx").touch()
    study.interrupt(0)
    assert [path.name for path in chosen.trial_folder(0).parent.iterdir()] == ["0001"]


def test_what_two_drivers_queued_again_is_tried_once(settings: MakeSettings) -> None:
    chosen = settings()
    study = open_study(chosen)
    number, architecture = ask(study)
    point = in_optuna(chosen)[0].params
    # As a driver killed after it queued the trial, and before it told that the trial is over:
    optuna.load_study(study_name=chosen.name, storage=open_storage(chosen.root)).enqueue_trial(point)
    study = open_study(chosen)
    study.recover()
    first, second = ask(study), ask(study)
    assert first[1] == architecture
    assert second[1] != architecture
    assert number not in (first[0], second[0])


def test_a_queued_trial_whose_driver_was_killed_while_asking_is_still_queued(settings: MakeSettings) -> None:
    chosen = settings()
    study = open_study(chosen)
    number, architecture = ask(study)
    study.interrupt(number)
    storage = open_storage(chosen.root)
    # What Optuna does first of all when it is asked: take the trial from the queue.
    storage.set_trial_state_values(in_optuna(chosen)[1]._trial_id, TrialState.RUNNING)
    study = open_study(chosen)
    study.recover()
    assert ask(study)[1] == architecture


def test_presets_are_queued_once(settings: MakeSettings) -> None:
    space = Space(
        name="presets",
        description="Two presets.",
        backbones={
            "mobilenetv2_075": BackboneChoice(truncation=(15, 16), transfer=(0, 99)),
            "mobilenetv2_140": BackboneChoice(truncation=(15, 16), transfer=(0, 99)),
        },
        axes={"shortcut": ("none", "maxpool"), "prediction_bias": (False,)},
    )
    chosen = settings(space=space)
    study = open_study(chosen)
    study.queue_presets()
    open_study(chosen).queue_presets()
    study.interrupt(ask(study)[0])  # queued again with its reason
    asked = [study.ask() or pytest.fail("nothing is left") for _ in range(3)]
    assert sorted(why for _, _, why in asked[:2]) == ["preset yoloret-m0.75", "preset yoloret-m1.4"]
    assert asked[2][2].startswith("random, since TPE")
    asked.sort(key=lambda one: one[2])
    records = [study.tell(number, COMPLETE) for number, _, _ in asked]
    assert [record.label for record in records] == ["yoloret-m0.75", "yoloret-m1.4", ""]
    assert [record.why for record in records] == [why for _, _, why in asked]
    assert [study.is_preset(architecture) for _, architecture, _ in asked] == [True, True, False]


@pytest.mark.parametrize("num_at_once", [1, 2])
def test_a_space_of_one_architecture_is_tried_once(settings: MakeSettings, num_at_once: int) -> None:
    one = Space(
        name="one",
        description="Of one architecture.",
        backbones={"mobilenetv3_small_050": BackboneChoice(truncation=(11,))},
        axes={"scale_set": ("none",), "input_size": (64,)},
    )
    chosen = settings(space=one)
    study = open_study(chosen)
    number, architecture = ask(study)
    if num_at_once == 1:
        study.interrupt(number)
        number, again = ask(study)
        assert again == architecture
        study.tell(number, COMPLETE)
    assert study.ask() is None


def test_a_database_that_cannot_be_written_is_named_with_what_sqlite_said(settings: MakeSettings) -> None:
    chosen = settings()
    storage = open_storage(chosen.root)
    event.listen(storage.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON"))
    storage.engine.dispose()  # the next connection is a new one
    with (
        pytest.raises(StorageError, match=r"optuna\.db cannot be used: attempt to write a readonly") as caught,
        named_storage_errors(chosen.root),
    ):
        storage.create_new_study([StudyDirection.MAXIMIZE], "another")
    assert "run the same command again" in caught.value.hint


def test_asking_a_used_up_space_leaves_no_trial_behind(settings: MakeSettings) -> None:
    chosen = settings(space=FEW)
    study = open_study(chosen)
    for _ in range(4):
        study.tell(ask(study)[0], COMPLETE)
    for _ in range(2):
        assert study.ask() is None
    assert len(in_optuna(chosen)) == 4


def test_the_device_is_told_apart_by_what_moves_its_latency(settings: MakeSettings) -> None:
    study, notes = open_study(settings()), list[str]()
    study.check_identity(DATA, IDENTITY, notice=notes.append)
    study.check_identity(DATA, IDENTITY, notice=notes.append)
    study.tell(ask(study)[0], COMPLETE)
    with pytest.raises(StudyError, match="backend: none → another") as caught:
        study.check_identity(DATA, dataclasses.replace(IDENTITY, backend="another"), notice=notes.append)
    assert "--study NAME" in caught.value.hint
    open_study(settings()).check_identity(DATA, IDENTITY, notice=notes.append)  # refused changes were not written
    assert not notes


def _change(dataset: Dataset, *, left_out: int, classes: tuple[str, ...] | None = None) -> Dataset:
    """Give the data without some training images, and with the first box of the first one moved."""
    first, *others = dataset.splits["train"][left_out:]
    moved = dataclasses.replace(first, boxes=first.boxes + np.float32(1))
    return assemble_dataset(
        dataset.name,
        dataset.format,
        class_names=classes or dataset.class_names,
        splits={"train": [moved, *others] if left_out else dataset.splits["train"], "val": dataset.splits["val"]},
    )


def test_a_study_on_changed_data_says_what_changed_and_goes_on_if_asked(settings: MakeSettings) -> None:
    changed = _change(DATA, left_out=1)
    study, notes = open_study(settings()), list[str]()
    study.check_identity(DATA, IDENTITY, notice=notes.append)
    study.tell(ask(study)[0], COMPLETE)
    told = "1 of train gone, first shapes/train/0; 1 of train changed, first shapes/train/1"
    with pytest.raises(StudyError, match=f"the data of 'study' changed since it began .*: {told}") as caught:
        study.check_identity(changed, IDENTITY, notice=notes.append)
    assert "--accept-changed-data" in caught.value.hint
    open_study(settings()).check_identity(DATA, IDENTITY, notice=notes.append)
    assert not notes

    accepting = open_study(settings(accept_changed_data=True))
    accepting.check_identity(changed, IDENTITY, notice=notes.append)
    assert [told in note for note in notes] == [True]
    open_study(settings()).check_identity(changed, IDENTITY, notice=notes.append)
    with pytest.raises(StudyError, match="1 of train new, first"):
        open_study(settings()).check_identity(DATA, IDENTITY, notice=notes.append)
    renamed = _change(changed, left_out=0, classes=tuple(reversed(DATA.class_names)))
    with pytest.raises(StudyError, match="the names or order of the classes"):
        open_study(settings()).check_identity(renamed, IDENTITY, notice=notes.append)


def test_a_proposal_whose_device_is_away_leaves_no_trial_running(settings: MakeSettings) -> None:
    class Away(SpaceSampler):
        def propose(self, study: optuna.Study, trial: FrozenTrial) -> NoReturn:
            raise DeviceAwayError("nano cannot be reached")

    study = Study(settings(), Away(settings().space, name="tpe", seed=0))
    with pytest.raises(DeviceAwayError):
        study.ask()
    assert [trial.state.is_finished() for trial in in_optuna(settings())] == [True]


def test_changed_data_of_a_study_whose_list_of_images_is_missing(settings: MakeSettings) -> None:
    chosen = settings()
    study = open_study(chosen)
    study.check_identity(DATA, IDENTITY, notice=print)
    study.tell(ask(study)[0], COMPLETE)
    (chosen.folder / DATA_FILE).unlink()
    with pytest.raises(StudyError, match=r"the data of 'study' changed since it began \(shapes\S*\)\n"):
        study.check_identity(_change(DATA, left_out=1), IDENTITY, notice=print)
    study.check_identity(DATA, IDENTITY, notice=print)
    assert (chosen.folder / DATA_FILE).is_file()


def test_a_folder_whose_trials_another_record_knows_is_refused(
    settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings()
    study = open_study(chosen)
    number, architecture = ask(study)
    chosen.trial_folder(number).mkdir(parents=True)
    write_result(chosen.trial_folder(number), COMPLETE, study_id=study.id, architecture=architecture)
    open_study(chosen)  # its driver was killed before the record had the result
    monkeypatch.setenv(STORAGE_VARIABLE, f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(
        StudyError, match=r"holds trials that the study's record \(sqlite:///.*other\.db\) does not know"
    ):
        open_study(chosen)
    assert (chosen.trial_folder(number) / RESULT_FILE).is_file()


def test_broken_items_may_be_repaired_and_no_longer_skipped(settings: MakeSettings) -> None:
    study = open_study(settings(skip_broken=True))
    study.check_identity(DATA, IDENTITY, notice=print)
    study.reference_latency_ms = 10.0
    chosen = settings(skip_broken=False)
    study = open_study(chosen)
    assert read_study(chosen.root, chosen.name).skip_broken is True  # another driver may have it
    study.take(lambda _: None)
    study.release()
    assert read_study(chosen.root, chosen.name).skip_broken is False


@pytest.mark.parametrize("make_space", SPACES.values(), ids=SPACES)
def test_a_space_round_trips_through_what_a_study_records(make_space: object) -> None:
    space = make_space() if callable(make_space) else SPACE
    assert Space.from_dict(space.to_dict()) == space


def test_reading_a_study_gives_its_limit(settings: MakeSettings) -> None:
    chosen = settings(max_latency_ms=33.0)
    study = open_study(chosen)
    study.check_identity(DATA, IDENTITY, notice=print)
    study.reference_latency_ms = 100.0
    assert read_study(chosen.root, chosen.name).max_latency_ms == 33.0


def test_changes_name_nested_settings() -> None:
    before = {"a": 1, "train": {"epochs": 3, "loss": {"gain": 2}}, "gone": True}
    after = {"a": 1, "train": {"epochs": 4, "loss": {"gain": 2.5}}, "new": "x"}
    assert differences(before, after) == [
        "train.epochs was 3, is 4 (--epochs)",
        "train.loss.gain was 2, is 2.5",
        "gone was True, is None",
        "new was None, is x",
    ]


def test_a_study_that_is_not_there_is_refused_with_those_that_are(settings: MakeSettings, tmp_path: Path) -> None:
    chosen = settings()
    open_study(chosen)
    with pytest.raises(StudyError, match="no study 'other'") as caught:
        read_study(chosen.root, "other")
    assert caught.value.hint == "there is study"
    with pytest.raises(StudyError, match="created but never started"):
        read_study(chosen.root, "study")
    (chosen.root / "listed").mkdir()
    (chosen.root / "listed" / EXPERIMENT_FILE).write_text("{}")
    with pytest.raises(StudyError, match="'listed' holds trainings, not a search") as caught:
        read_study(chosen.root, "listed")
    assert caught.value.hint == "the search here is study"
    with pytest.raises(StudyError, match="no study 'other'") as caught:
        read_study(chosen.root, "other")
    assert caught.value.hint == "there are study, listed (trainings)"
    with pytest.raises(StudyError, match="no study 'other'") as caught:
        read_study(tmp_path / "nowhere", "other")
    assert "yoloret-nas search" in caught.value.hint
    assert study_names(tmp_path / "nowhere") == []
    assert not optuna_path(tmp_path / "nowhere").exists()  # reading makes nothing


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    optuna_path(tmp_path).write_text("no database")
    with pytest.raises(StorageError, match=r"optuna\.db cannot be used: file is not a database"):
        open_storage(tmp_path)


def test_a_database_of_another_optuna_is_named_with_the_way_out(settings: MakeSettings) -> None:
    """A study may be older than the Optuna that is installed."""
    chosen = settings()
    with sqlite3.connect(optuna_path(chosen.root)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    connection.close()
    with pytest.raises(StorageError, match=r"^[^:]*optuna\.db is of another version of Optuna") as refused:
        open_study(chosen)
    assert f"optuna storage upgrade --storage sqlite:///{optuna_path(chosen.root)}; " in refused.value.hint


def test_only_the_front_keeps_its_weights(settings: MakeSettings) -> None:
    chosen = settings()
    trials = [
        record(0, 0.4, 20.0),
        record(1, 0.3, 30.0),  # beaten by the first
        record(2, 0.5, 30.0),
        record(3, 0.1, 40.0, state="pruned", reason="hopeless"),
        record(4, None, None, state="failed", reason="its file tells why"),
    ]
    for trial in trials:
        chosen.trial_folder(trial.number).mkdir(parents=True)
        for name in (CHECKPOINT_FILE, ONNX_FILE, RESULT_FILE):
            (chosen.trial_folder(trial.number) / name).touch()
    for num_deleted in (2, 0):  # a driver that was killed before it deleted does so at its next start
        assert delete_weights(chosen, summary(*trials)) == num_deleted
        for name in (CHECKPOINT_FILE, ONNX_FILE):
            assert [path.parent.name for path in sorted(chosen.folder.glob(f"trials/*/{name}"))] == [
                "0000",
                "0002",
                "0004",
            ]
    assert len(list(chosen.folder.glob("trials/*/result.json"))) == 5
