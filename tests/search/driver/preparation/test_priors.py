"""A search that learns from earlier studies: what it keeps of them, and what it refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from search.driver.search import run_search
from search.strategy.accuracy.built_in_prior import built_in_prior
from search.study.database.storage import open_storage
from search.study.errors import StudyError
from search.study.prior import BUILT_IN
from search.study.read_study import Begun, begun_with, read_study, study_names
from search.study.settings import StudySettings
from search.study.study import Study
from tests.search.conftest import MakeSettings
from tests.search.driver.scripted import RecordingView, Runs, ScriptedExecutor, StandInDevice


def search(settings: StudySettings) -> list[str]:
    """Search; return the keys of what was tried in this run, in order."""
    executor = ScriptedExecutor()
    run_search(settings, executor=executor, view=RecordingView())
    return [request.architecture.key for request in executor.started]


def test_a_search_learns_from_earlier_studies_and_keeps_copies_of_them(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(settings(name="earlier", budget=10, sampler="random", prune=False))
    told = settings(name="told", sampler="ehvi", prior=("earlier",), budget=5)
    first = search(told)
    (prior,) = read_study(told.root, "told").priors
    earlier = read_study(told.root, "earlier")
    assert (prior.study, prior.dataset) == ("earlier", earlier.dataset)
    assert [one.ap for one in prior.trials] == [record.result.ap for record in earlier.summary.records]
    assert first != search(settings(name="alone", sampler="ehvi", budget=5))
    # It needs the earlier study no more, and does not hear of what that one tries later.
    whole = search(settings(name="whole", sampler="ehvi", prior=("earlier",), budget=8))
    optuna.delete_study(study_name="earlier", storage=open_storage(told.root))
    assert first + search(replace(told, budget=8)) == whole


def test_a_driver_killed_before_it_copied_the_priors_copies_them_when_it_resumes(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(settings(name="earlier", budget=10, sampler="random", prune=False))
    told = settings(name="told", sampler="ehvi", prior=("earlier",))
    with monkeypatch.context() as patched:
        patched.setattr("search.driver.search.SearchWork._note_priors", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            search(told)
    assert study_names(told.root)[-1] == "told"
    search(told)
    assert [one.study for one in read_study(told.root, "told").priors] == ["earlier"]


def _interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_prior_that_does_not_exist_or_says_nothing_begins_no_study(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(settings(name="short", budget=3, sampler="random"))
    for name, said in (("missing", "no study 'missing'"), ("short", "'short' has 3 complete trials; a prior needs 8")):
        with pytest.raises(StudyError, match=said):
            search(settings(name="told", sampler="ehvi", prior=(name,)))
    assert study_names(settings().root) == ["short"]


def test_an_earlier_study_of_another_folder_is_named_by_its_own(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = root.parent / "others"
    shutil.copytree(root, others)  # empty stores
    search(settings(name="earlier", root=others, budget=10, sampler="random", prune=False))
    search(settings(name="told", sampler="ehvi", prior=(str(others / "earlier"),), budget=1))
    assert [one.study for one in read_study(root, "told").priors] == [str(others / "earlier")]
    with pytest.raises(StudyError, match=r"no study 'later' in .*others"):
        search(settings(name="next", sampler="ehvi", prior=(str(others / "later"),)))
    # Of the same name elsewhere it is another study, while its own folder is not.
    settings(name="earlier", sampler="ehvi", prior=(str(others / "earlier"),))
    monkeypatch.chdir(root.parent)
    # However it is typed, it is one study.
    typed = ("others/earlier", "./others/earlier/", str(others / "earlier"), "runs/mine", "mine")
    assert settings(sampler="ehvi", prior=typed).prior == (str(others / "earlier"), "mine")
    monkeypatch.chdir(others)
    assert settings(sampler="ehvi", prior=("./earlier",)).prior == (str(others / "earlier"),)
    monkeypatch.chdir(root.parent)
    with pytest.raises(StudyError, match="cannot be its own prior"):
        settings(name="earlier", sampler="ehvi", prior=("runs/earlier",))


def test_a_search_with_inherited_weights_is_no_prior(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(settings(name="heirs", budget=10, sampler="random", prune=False, inherit=True, keep="all"))
    with pytest.raises(StudyError, match="'heirs' cannot be a prior: its trials inherited weights"):
        search(settings(name="told", sampler="ehvi", prior=("heirs",)))


def test_the_executor_is_closed_where_a_prior_is_refused(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    executor = ScriptedExecutor()
    with pytest.raises(StudyError, match="no study 'missing'"):
        run_search(settings(sampler="ehvi", prior=("missing",)), executor=executor, view=RecordingView())
    assert executor.is_closed


def test_a_search_begins_with_what_comes_with_the_tool(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    told = settings(name="told", sampler="ehvi", prior=(BUILT_IN,), budget=5)
    first = search(told)
    (prior,) = read_study(told.root, "told").priors
    assert prior == built_in_prior()
    assert first != search(settings(name="alone", sampler="ehvi", budget=5))
    # With another one, each stays what it is; a folder of that name is a study.
    search(settings(name="earlier", budget=10, sampler="random", prune=False))
    both = settings(name="both", sampler="ehvi", prior=("earlier", BUILT_IN), budget=1)
    search(both)
    assert [one.study for one in read_study(told.root, "both").priors] == ["earlier", BUILT_IN]
    assert read_study(told.root, "both").priors[1] == built_in_prior()
    folder = str(told.root.resolve() / BUILT_IN)
    assert replace(both, prior=(folder,)).prior == (folder,)


def test_what_a_study_began_with_is_found_without_driving_it(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    root = settings().root
    assert begun_with(root, "told") is None
    told = settings(name="told", sampler="ehvi", prior=(BUILT_IN,), budget=1)
    search(told)
    assert begun_with(root, "told") == Begun(space=told.space, prior=told.prior, train=told.train)


def test_the_order_of_priors_is_no_other_setting(settings: MakeSettings, device: StandInDevice, tracking: Runs) -> None:
    for name in ("first", "second"):
        search(settings(name=name, budget=10, sampler="random", prune=False, seed=len(name)))
    search(settings(name="told", sampler="ehvi", prior=("first", "second"), budget=4))
    assert len(search(settings(name="told", sampler="ehvi", prior=("second", "first"), budget=5))) == 1
    assert [one.study for one in read_study(settings().root, "told").priors] == ["first", "second"]


def test_a_study_keeps_the_priors_that_it_began_with(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    search(settings(name="earlier", budget=10, sampler="random", prune=False))
    search(settings(name="alone", sampler="ehvi", budget=1))
    with pytest.raises(StudyError, match=r"settings: prior was none, is earlier \(--prior\)\n") as caught:
        search(settings(name="alone", sampler="ehvi", prior=("earlier",), budget=2))
    assert "without --prior it goes on as it began" in caught.value.hint
    with pytest.raises(StudyError, match=r"settings: sampler was ehvi, is tpe\n"):  # which takes no prior
        search(settings(name="alone", sampler="tpe", budget=2))


@pytest.mark.parametrize(("before", "after"), [((BUILT_IN,), ()), ((), (BUILT_IN,)), (("earlier",), (BUILT_IN,))])
def test_a_study_without_any_result_may_begin_with_another_prior(
    settings: MakeSettings,
    device: StandInDevice,
    tracking: Runs,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[str, ...],
    after: tuple[str, ...],
) -> None:
    search(settings(name="earlier", budget=10, sampler="random", prune=False))
    with monkeypatch.context() as patched:
        patched.setattr("search.driver.search.SearchWork.ask", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            search(settings(name="told", sampler="ehvi", prior=before))
    assert [one.study for one in read_study(settings().root, "told").priors] == list(before)
    tried = search(settings(name="told", sampler="ehvi", prior=after, budget=4))
    assert [one.study for one in read_study(settings().root, "told").priors] == list(after)
    assert tried == search(settings(name="fresh", sampler="ehvi", prior=after, budget=4))
    with pytest.raises(StudyError, match="prior was"):
        search(settings(name="told", sampler="ehvi", prior=before, budget=5))


def test_a_prior_is_changed_by_no_driver_that_waited_while_another_got_results(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    other = settings(name="told", sampler="ehvi", prior=(BUILT_IN,), budget=1)
    waiting = Study(replace(other, prior=()), optuna.samplers.RandomSampler())
    search(other)
    with pytest.raises(StudyError, match="prior was built-in, is none"):
        waiting.take(lambda _: None)
    assert optuna.load_study(study_name="told", storage=open_storage(other.root)).user_attrs["driver"] is None


def test_a_refused_driver_changes_nothing_in_the_record(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    begun = settings(name="told", sampler="ehvi", prior=(BUILT_IN,), budget=1)
    Study(begun, optuna.samplers.RandomSampler())
    Study(replace(begun, prior=(), skip_broken=True), optuna.samplers.RandomSampler())  # another host has the lease
    recorded = optuna.load_study(study_name="told", storage=open_storage(begun.root)).user_attrs["settings"]
    assert recorded == json.loads(json.dumps(begun.fixed()))


def test_a_trial_that_may_have_a_result_keeps_the_prior_as_it_is(
    settings: MakeSettings, device: StandInDevice, tracking: Runs
) -> None:
    begun = settings(name="told", sampler="ehvi", prior=(BUILT_IN,), budget=1)
    Study(begun, optuna.samplers.RandomSampler())
    optuna.load_study(study_name="told", storage=open_storage(begun.root)).ask()  # and its driver was killed
    with pytest.raises(StudyError, match="prior was built-in, is none"):
        search(replace(begun, prior=()))


def test_a_prior_is_named_by_the_path_that_was_typed(settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / "large-disk" / "earlier").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "large-disk")
    (tmp_path / "best").symlink_to(tmp_path / "large-disk" / "earlier")
    typed, real = (str(tmp_path / name / "earlier") for name in ("link", "large-disk"))
    assert settings(sampler="ehvi", prior=(typed,)).prior == (typed,)
    assert settings(sampler="ehvi", prior=(typed, real)).prior == (typed,)  # once
    assert settings(sampler="ehvi").are_same_priors(())
    assert settings(sampler="ehvi", prior=(typed, BUILT_IN)).are_same_priors((BUILT_IN, real))
    assert not settings(sampler="ehvi", prior=(typed,)).are_same_priors((BUILT_IN,))
    best = settings(sampler="ehvi", prior=(str(tmp_path / "best"),))
    assert best.place_of(best.prior[0]) == (tmp_path / "large-disk", "earlier")


def test_a_prior_typed_through_a_link_is_the_one_that_the_study_began_with(
    settings: MakeSettings, device: StandInDevice, tracking: Runs, root: Path
) -> None:
    others = root.parent / "others"
    shutil.copytree(root, others)  # empty stores
    search(settings(name="earlier", root=others, budget=10, sampler="random", prune=False))
    search(settings(name="told", sampler="ehvi", prior=(str(others / "earlier"),), budget=1))
    (root.parent / "link").symlink_to(others)
    assert (
        len(search(settings(name="told", sampler="ehvi", prior=(str(root.parent / "link" / "earlier"),), budget=2)))
        == 1
    )


def test_priors_that_cannot_be_are_refused_before_anything_is_opened(settings: MakeSettings) -> None:
    with pytest.raises(StudyError, match="sampler 'tpe' takes no prior"):
        settings(sampler="tpe", prior=("earlier",))
    with pytest.raises(StudyError, match="'study' cannot be its own prior"):
        settings(name="study", sampler="ehvi", prior=("study",))
