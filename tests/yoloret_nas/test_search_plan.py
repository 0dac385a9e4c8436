"""What a search's options leave open, and how it is chosen: the prior and the space."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import optuna
import pytest
from rich.console import Console

from search.driver.search import run_search
from search.study.data_record import DATA_FILE, recorded_fingerprint
from search.study.database.storage import open_storage
from search.study.errors import StudyError
from tests.search.driver.scripted import RecordingView, ScriptedExecutor
from trials.data import open_dataset
from yoloret_nas.api.refit import refit
from yoloret_nas.api.search_plan import SearchPlan, _announce, plan_search
from yoloret_nas.options.search import ClusterOptions, SearchOptions, study_name
from yoloret_nas.options.values import OptionError
from yoloret_nas.workers import LocalWorkers


def plan(folder: Path, **options: Any) -> SearchPlan:
    values: dict[str, Any] = {
        "budget": 1,
        "data": "shapes:train=16,val=8,size=64",
        "device": "cpu",
        "also_measure": (),
        "max_latency": 999.0,
        "space": None,
        "aspect": None,
        "study": None,
        "epochs": 1,
        "recipe": None,
        "batch_size": None,
        "weights_dir": None,
        "sampler": "ehvi",
        "seed": 0,
        "workers": 1,
        "cluster": ClusterOptions(),
        "prune": True,
        "inherit": False,
        "one_shot": False,
        "prior": (),
        "refit": None,
        "repeats": 0,
        "skip_broken": False,
        "accept_changed_data": False,
        "keep": None,
        "dir": folder,
    }
    return plan_search(SearchOptions(**{**values, **options}))


def begin(planned: SearchPlan) -> None:
    run_search(planned.settings, executor=ScriptedExecutor(), view=RecordingView())


ONE_BACKBONE = """\
name: one
description: For tests.
backbones:
  mobilenetv3_small_050: {truncation: [9]}
scale_set: [none]
head: [plain, fpn]
head_width: [32]
input_size: [64]
"""


@pytest.mark.parametrize(
    ("options", "prior"),
    [
        ({}, ("built-in",)),
        ({"inherit": True, "keep": "all"}, ("built-in",)),
        ({"sampler": "random"}, ()),
        ({"one_shot": True}, ()),
        ({"prior": ("none",)}, ()),
        ({"prior": ("none", "none")}, ()),
        ({"prior": ()}, ("built-in",)),
        ({"prior": ("built-in", "earlier", "built-in")}, ("built-in", "earlier")),
        ({"prior": ("none",), "sampler": "random"}, ()),
    ],
)
def test_a_new_search_begins_with_what_comes_with_the_tool_unless_told_otherwise(
    tmp_path: Path, options: dict[str, Any], prior: tuple[str, ...]
) -> None:
    (tmp_path / "one.yaml").write_text(ONE_BACKBONE)
    planned = plan(tmp_path / "runs", space=str(tmp_path / "one.yaml"), **options)
    assert planned.settings.prior == prior
    assert planned.is_new


@pytest.mark.parametrize("asked", [("none",), ("built-in",)])
def test_a_search_that_began_goes_on_with_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "one.yaml").write_text(ONE_BACKBONE)
    root = tmp_path / "runs"
    same: dict[str, Any] = {"space": str(tmp_path / "one.yaml"), "budget": 2}  # the study has its default name
    planned = plan(root, **{**same, "budget": 1}, prior=asked)
    begin(planned)
    assert planned.settings.name == study_name("one", planned.settings.dataset, "cpu")
    again = plan(root, **same)
    assert (again.settings.prior, again.is_new) == (planned.settings.prior, False)
    begin(again)
    other = plan(root, **same, prior=tuple({"none", "built-in"} - set(asked)))
    with pytest.raises(StudyError, match=r"exists with other settings: prior was .* \(--prior\)"):
        begin(other)
    with_another_sampler = plan(root, **same, sampler="random")
    assert with_another_sampler.settings.prior == ()
    with pytest.raises(StudyError, match=r"exists with other settings: sampler was ehvi, is random\n"):
        begin(with_another_sampler)


def test_a_board_s_time_limits_are_no_part_of_a_name_and_a_study_that_has_them_in_its_name_is_found(
    tmp_path: Path,
) -> None:
    def name(limit: str) -> str:
        return plan(tmp_path, device=f"ssh://nano{limit}").settings.name

    def begin_as(name: str) -> None:
        optuna.create_study(storage=open_storage(tmp_path), study_name=name)

    plain = name("")
    assert plain == study_name("nano", "shapes:train=16,val=8,size=64", "ssh://nano")
    assert name("?build_limit_s=4800&patience_s=9") == plain
    begin_as(f"{plain}-build-limit-s-3600")  # by an earlier version
    assert name("?build_limit_s=3600") == name("?build_limit_s=4800") == name("") == f"{plain}-build-limit-s-3600"
    begin_as(plain)
    begin_as(f"{plain}-trtexec-opt-trtexec")
    assert name("?build_limit_s=3600") == f"{plain}-build-limit-s-3600"
    assert name("?build_limit_s=4800") == name("") == plain


@pytest.mark.parametrize(
    ("options", "score_every"),
    [
        ({"epochs": 19}, 1),
        ({"epochs": 20}, 2),
        ({"epochs": None}, 2),
        ({"epochs": 20, "one_shot": True}, 1),
        ({"epochs": 4, "recipe": "quick"}, 2),
    ],
)
def test_every_second_epoch_of_long_trials_is_scored(tmp_path: Path, options: dict[str, Any], score_every: int) -> None:
    (tmp_path / "one.yaml").write_text(ONE_BACKBONE)
    settings = {"space": str(tmp_path / "one.yaml"), "recipe": "modern", **options}
    assert plan(tmp_path / "runs", **settings).settings.train.score_every == score_every


def test_trials_that_inherit_keep_the_weights_of_all(tmp_path: Path) -> None:
    kept = [plan(tmp_path / "runs", **options).settings.keep for options in ({}, {"inherit": True}, {"keep": "all"})]
    assert kept == [None, "all", "all"]


@pytest.mark.parametrize(
    ("options", "refit_epochs"),
    [
        ({"data": "./own", "epochs": None, "recipe": "modern"}, 90),
        ({"data": "./own", "epochs": 7}, 21),
        ({"data": "./own", "epochs": 7, "refit": 0}, 0),
        ({"epochs": 7}, 0),  # on generated images
        ({"epochs": 7, "refit": 8}, 8),
    ],
)
def test_a_front_on_own_data_is_trained_again_three_times_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], refit_epochs: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()
    assert plan(tmp_path / "runs", **options).refit_epochs == refit_epochs


@pytest.mark.parametrize(("workers", "threads"), [(1, 8), (3, 2), (8, 1), (20, 1)])
def test_trainings_at_once_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, threads: int
) -> None:
    monkeypatch.setattr("yoloret_nas.machine.usable_cores", lambda: 8)
    assert plan(tmp_path / "runs", workers=workers).settings.train.num_threads == threads


def test_a_study_goes_on_with_the_recipe_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    options: dict[str, Any] = {"space": str(tmp_path / "one.yaml"), "study": "old", "recipe": "modern", "epochs": 20}
    (tmp_path / "one.yaml").write_text(ONE_BACKBONE)
    planned = plan(tmp_path / "runs", **options)
    settings = planned.settings
    assert settings.train.calm_epochs > 0
    old = replace(settings.train, score_every=1, calm_epochs=0, weight_decay=0.01)
    begin(replace(planned, settings=replace(settings, train=old)))
    study = optuna.load_study(study_name="old", storage=open_storage(tmp_path / "runs"))
    recorded = study.user_attrs["settings"]
    del recorded["train"]["calm_epochs"]  # as a version wrote it that had none
    study.set_user_attr("settings", recorded)
    again = plan(tmp_path / "runs", **options, budget=2)
    assert again.settings.train == old
    assert (planned.is_recipe_kept, again.is_recipe_kept) == (False, True)
    console = Console(file=StringIO(), width=200)
    _announce(console, again)
    assert isinstance(console.file, StringIO)
    assert "recipe modern as it was when the study began" in console.file.getvalue()
    begin(again)
    for other, told in (
        ({"epochs": 21}, r"train\.epochs was 20, is 21 \(--epochs\)\n"),
        ({"batch_size": 4}, r"train\.batch_size was 8, is 4 \(--batch-size\)\n"),
        ({"seed": 1}, r"train\.seed was 0, is 1"),
        ({"recipe": "quick"}, r"train\.recipe was modern, is quick \(--recipe\)"),
    ):
        with pytest.raises(StudyError, match=f"exists with other settings: .*{told}"):
            begin(plan(tmp_path / "runs", **{**options, **other}))


def test_epochs_that_were_not_asked_for_before_are_refused_though_blocks_are_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "one.yaml").write_text(ONE_BACKBONE)
    options: dict[str, Any] = {"space": str(tmp_path / "one.yaml"), "study": "frozen", "recipe": "paper"}
    begin(plan(tmp_path / "runs", **options, epochs=None))
    with pytest.raises(StudyError, match=r"train\.epochs was 250, is 50 \(--epochs\)"):
        begin(plan(tmp_path / "runs", **options, epochs=50))


def test_settings_that_are_newer_than_a_study_do_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "one.yaml").write_text(ONE_BACKBONE)
    options: dict[str, Any] = {"space": str(tmp_path / "one.yaml"), "study": "old"}
    begin(plan(tmp_path / "runs", **options))
    study = optuna.load_study(study_name="old", storage=open_storage(tmp_path / "runs"))
    recorded = study.user_attrs["settings"]
    for name, newest in (("augmentation", "max_boxes"), ("aligned_loss", "distance_weight")):
        del recorded["train"][name][newest]
    del recorded["train"]["transfer_rate"]
    study.set_user_attr("settings", recorded)
    begin(plan(tmp_path / "runs", **options, budget=2))


def test_a_word_of_the_prior_names_no_study(tmp_path: Path) -> None:
    for word in ("none", "built-in"):
        with pytest.raises(OptionError, match=f"a study cannot be named '{word}', which --prior takes for a word"):
            plan(tmp_path / "runs", study=word)


def test_a_study_that_is_named_goes_on_in_its_own_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default depends on the machine, and the file of a space may be elsewhere now."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "one.yaml").write_text(ONE_BACKBONE)
    planned = plan(tmp_path / "runs", space=str(tmp_path / "one.yaml"), study="mine")
    begin(planned)
    (tmp_path / "one.yaml").unlink()
    again = plan(tmp_path / "runs", study="mine", budget=2)
    assert again.settings.space == planned.settings.space
    begin(again)
    one_shot = plan(tmp_path / "runs", study="mine", one_shot=True)  # the machine's space has several backbones
    assert one_shot.settings.space == planned.settings.space
    with pytest.raises(StudyError, match=r"study 'mine' exists with other settings: space\.name was one, is tiny"):
        begin(plan(tmp_path / "runs", study="mine", space="tiny"))


def test_a_study_goes_on_though_the_built_in_space_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    planned = plan(tmp_path / "runs")
    former = replace(planned.settings.space, description="as a version before had it")
    begin(replace(planned, settings=replace(planned.settings, space=former)))
    again = plan(tmp_path / "runs", budget=2)
    assert again.settings.space == former
    begin(again)


@pytest.mark.parametrize(
    ("options", "is_told"),
    [({}, True), ({"space": "tiny"}, False), ({"study": "mine"}, False), ({"device": "cpu:threads=2"}, False)],
)
def test_a_search_that_began_where_there_was_a_gpu_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], is_told: bool
) -> None:
    """As after an update of the driver: the same command has another default space, and so begins another study."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(LocalWorkers, "has_gpus", property(lambda _: True))
        before = plan(tmp_path / "runs")
        assert (before.settings.space.name, before.other_begun) == ("nano", None)
        begin(before)
        assert plan(tmp_path / "runs").other_begun is None
    now = plan(tmp_path / "runs", **options)
    assert now.is_new
    console = Console(file=StringIO(), width=200)
    _announce(console, now)
    assert isinstance(console.file, StringIO)
    name = before.settings.name
    said = f"{name} has begun, too, in the default space of machines with a GPU: --study {name} goes on with it"
    assert (said in console.file.getvalue()) == is_told
    begin(now)
    assert plan(tmp_path / "runs", **options).other_begun is None


def test_another_study_that_cannot_be_read_stops_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(LocalWorkers, "has_gpus", property(lambda _: True))
        before = plan(tmp_path / "runs")
        begin(before)
    study = optuna.load_study(study_name=before.settings.name, storage=open_storage(tmp_path / "runs"))
    study.set_user_attr("settings", {"space": "of another version"})
    assert plan(tmp_path / "runs").other_begun == before.settings.name


def test_a_front_is_trained_in_full_on_the_data_of_its_search_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    planned = plan(tmp_path / "runs")
    result = run_search(planned.settings, executor=ScriptedExecutor(), view=RecordingView())
    record = planned.settings.folder / DATA_FILE
    assert recorded_fingerprint(planned.settings.folder)
    record.write_text(record.read_text().replace(recorded_fingerprint(planned.settings.folder), "of other images"))
    words: dict[str, Any] = {"epochs": 1, "num_repeats": 0, "console": Console(file=StringIO())}
    with pytest.raises(StudyError, match="are not what its study was trained on"):
        refit(planned.settings, result.summary, **words)
    again = plan(tmp_path / "runs", budget=2)
    begin(again)  # which knows the data by the study's own record, and corrects the file
    assert recorded_fingerprint(planned.settings.folder) == open_dataset(planned.settings.dataset).fingerprint


def test_a_prior_is_named_none_alone(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="prior is none and earlier"):
        plan(tmp_path / "runs", prior=("none", "earlier"))


@pytest.mark.parametrize(
    ("given", "dataset"),
    [("./shapes", "./shapes"), ("shapes/", "./shapes"), ("./voc", "./voc"), ("coco//", "./coco"), ("./cells", "cells")],
)
def test_a_folder_is_never_taken_for_the_dataset_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, dataset: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("shapes", "voc", "coco", "cells"):
        Path(name).mkdir()
    planned = plan(tmp_path / "runs", data=given, space="tiny")
    assert planned.settings.dataset == dataset
    assert planned.settings.train.recipe == "modern"
    assert planned.settings.name == f"tiny-{dataset.removeprefix('./')}-cpu"


def test_weights_that_no_network_of_the_space_starts_from_are_not_used_in_silence(tmp_path: Path) -> None:
    said = {}
    for space in ("tiny", "lite"):
        console = Console(file=StringIO(), width=200)
        _announce(console, plan(tmp_path / "runs", space=space, weights_dir=tmp_path))
        assert isinstance(console.file, StringIO)
        said[space] = console.file.getvalue()
    note = "note    --weights-dir is not used: networks of space tiny start from random weights"
    assert (note in said["tiny"], "not used" in said["lite"]) == (True, False)
