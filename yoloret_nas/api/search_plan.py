"""A search, from its options to its end: what the command and the function have in common."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from search.driver.driver import RunResult
from search.driver.preparation.priors import check_priors
from search.driver.search import run_search
from search.study.one_shot import shared_training, trial_training
from search.study.prior import BUILT_IN
from search.study.read_study import Begun, begun_with, study_names
from search.study.settings import StudySettings
from spaces.counted import counted
from spaces.named_spaces import open_space
from trials.latency.open_device import without_limits
from trials.one_shot.sandwich import check_one_backbone
from trials.scratch import scratch_folder, temporary_files_in
from trials.training import TrainSettings
from yoloret_nas.api.preconditions import check_devices, check_writable
from yoloret_nas.api.refit import refit
from yoloret_nas.options.data import fetch_data, is_generated
from yoloret_nas.options.recipe import as_begun, choose_training
from yoloret_nas.options.search import NO_PRIOR, SearchOptions, study_name
from yoloret_nas.options.values import OptionError
from yoloret_nas.terminal.interrupts import interrupts
from yoloret_nas.terminal.live_view import LiveView
from yoloret_nas.workers import Workers, choose_workers

_REFIT_FACTOR = 3
"""Epochs of a full training in epochs of a trial."""
_LONG = 20
"""Epochs from which every second one of a trial is scored. A score of all epochs took 16 % of a search on blood cells; in a
shorter trial one between two would delay early stopping by more than it saves."""
_LIMIT_IN_NAME = re.compile(r"-(patience|(queue|build|run)-limit)-s-[0-9]+")
"""What earlier versions made of a board's time limit in the default name of a study."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A search as this machine will run it."""

    settings: StudySettings
    workers: Workers
    """Where trials run."""
    refit_epochs: int
    """Epochs of retraining the front at the end, 0 for none."""
    num_repeats: int
    """Of retrainings, with other seeds."""
    is_new: bool
    """Whether no search of that name began before."""
    other_begun: str | None
    """A study that began before in the default space of machines with a GPU, where this one has none, or of those without
    one, where it has; None where there is none."""
    is_recipe_kept: bool
    """Whether trials train by the recipe as an earlier version had it, with which the study began."""
    weights_dir: Path | None
    """Folder of ImageNet weights that was named."""


def plan_search(options: SearchOptions) -> SearchPlan:
    """Choose what the options leave open, by the data, the device and this machine.

    Raises:
        SpaceError: the space's file is wrong.
        StudyError: the name cannot name a folder, or the store of the studies cannot be read.
        UnknownDeviceError: the device does not exist.
        OptionError: the folder of the studies cannot be written, or the name is a word of `--prior`.
    """
    data, device = options.data, options.device
    train = choose_training(options.recipe, data=data, epochs=options.epochs, batch_size=options.batch_size)
    workers = choose_workers(
        options.cluster,
        at_once=options.workers,
        batch_size=train.batch_size,
        devices=(device, *options.also_measure),
    )
    by_machine = "nano" if workers.has_gpus or device.startswith("ssh://") else "tiny"
    space = open_space(options.space or by_machine)
    name = options.study or _default_name(options, space.name)
    if name in (BUILT_IN, NO_PRIOR):
        raise OptionError(
            f"a study cannot be named {name!r}, which --prior takes for a word", hint="choose another --study"
        )
    recorded = begun_with(options.dir, name)
    if recorded is not None and options.space is None:  # the default depends on the machine and on the version
        space = recorded.space
    if options.one_shot:
        check_one_backbone(space)
    refit_epochs = options.refit
    if refit_epochs is None:
        refit_epochs = 0 if is_generated(data) else _REFIT_FACTOR * train.epochs
    if options.repeats and not refit_epochs:
        why = "--refit 0" if options.refit == 0 else "generated data are not retrained by default"
        raise OptionError(
            f"--repeats {options.repeats} is of retrainings, and there are none: {why}", hint="add --refit EPOCHS"
        )
    asked = replace(
        _scored_less(train, one_shot=options.one_shot), seed=options.seed, num_threads=workers.threads_of_each
    )
    chosen = as_begun(asked, None if recorded is None else recorded.train)
    settings = StudySettings(
        name=name,
        space=space,
        aspect=options.aspect,
        dataset=data,
        device=device,
        train=chosen,
        also_measure=tuple(options.also_measure),
        budget=options.budget,
        max_latency_ms=options.max_latency,
        sampler=options.sampler,
        seed=options.seed,
        prune=options.prune,
        inherit=options.inherit,
        one_shot=options.one_shot,
        prior=_choose_prior(options, recorded=recorded),
        keep="all" if options.inherit else options.keep,
        skip_broken=options.skip_broken,
        accept_changed_data=options.accept_changed_data,
        root=options.dir,
    )
    if options.cluster.address is None:
        check_devices((device, *settings.also_measure))
    check_writable(settings.root)
    return SearchPlan(
        settings=settings,
        workers=workers,
        refit_epochs=refit_epochs,
        num_repeats=options.repeats,
        is_new=recorded is None,
        other_begun=None if recorded else _find_other(options, workers),
        is_recipe_kept=chosen != asked,
        weights_dir=options.weights_dir,
    )


def _default_name(options: SearchOptions, space: str) -> str:
    """Return the default name of a study; that of one which has begun with the device's time limits in its name, if any.

    Earlier versions named it so.
    """
    name = study_name(space, options.data, without_limits(options.device))
    typed = study_name(space, options.data, options.device)
    begun = [one for one in study_names(options.dir) if _LIMIT_IN_NAME.sub("", one) == name]
    return next((one for one in (typed, name, *reversed(begun)) if one in begun), name)


def _scored_less(train: TrainSettings, *, one_shot: bool) -> TrainSettings:
    """Return the training of a trial, of which every second epoch is scored where it is long."""
    trial = trial_training(train) if one_shot else train
    return replace(train, score_every=max(train.score_every, 2 if trial.epochs >= _LONG else 1))


def _find_other(options: SearchOptions, workers: Workers) -> str | None:
    """Return `SearchPlan.other_begun`."""
    if options.space or options.study or options.device.startswith("ssh://"):  # no default, or that of all machines
        return None
    name = study_name("tiny" if workers.has_gpus else "nano", options.data, options.device)
    return name if name in study_names(options.dir) else None


def _choose_prior(options: SearchOptions, *, recorded: Begun | None) -> tuple[str, ...]:
    """Return the priors asked for, else what the study began with, else, for a new one, what comes with the tool."""
    if options.prior:
        return tuple(one for one in options.prior if one != NO_PRIOR)
    if options.sampler != "ehvi":  # others take none
        return ()
    if recorded is not None:
        return recorded.prior
    return () if options.one_shot else (BUILT_IN,)  # networks with shared weights are a prior of their own


def run_plan(plan: SearchPlan, console: Console) -> RunResult:
    """Search; print the settings and a line for each finished trial. Temporary files lie in a folder of this process.

    Where this thread hears interrupts, the first ends the search after the running trials, the second at once.

    Raises:
        YoloRetError: see `search.driver.search.run_search`.
    """
    _announce(console, plan)
    check_priors(plan.settings)  # before what may be hours of fetching
    view = LiveView(console)
    with temporary_files_in(scratch_folder()):
        fetch_data(plan.settings.dataset, console)
        executor, devices = plan.workers.open(view.noticed)
        with view.showing(), interrupts(view.say_ending, lambda: view.is_open) as stop_requested:
            return run_search(
                plan.settings, executor=executor, devices=devices, view=view, stop_requested=stop_requested
            )


def refit_plan(plan: SearchPlan, result: RunResult, console: Console) -> None:
    """Retrain the front of a search, where its plan says so.

    Raises:
        TrainingError: no full training is complete.
        KeyboardInterrupt: it was interrupted.
    """
    if plan.refit_epochs and result.summary.front:
        refit(
            plan.settings,
            result.summary,
            epochs=plan.refit_epochs,
            num_repeats=plan.num_repeats,
            console=console,
            workers=plan.workers,
        )


def _announce(console: Console, plan: SearchPlan) -> None:
    settings = plan.settings
    train = settings.train
    generated = is_generated(settings.dataset)
    beyond = f", of which the space has {settings.space.size}" if settings.budget > settings.space.size else ""
    epochs = f"{counted(train.epochs, 'epoch(s)')} each"
    if settings.one_shot:
        shared, trial = shared_training(train), trial_training(train)
        epochs = (
            f"{counted(trial.epochs, 'epoch(s)')} each after {counted(shared.epochs, 'epoch(s)')} of shared weights"
        )
    lines = [
        f"study {settings.name}: space {settings.space.name}, {counted(settings.space.size, 'architecture(s)')}",
        f"  data    {settings.dataset}{' (generated; --data PATH for your own)' if generated else ''}",
        f"  latency {settings.device}"
        f"{' (ONNX Runtime on this machine)' if settings.device.startswith('cpu') else ''}"
        f"{f', at most {settings.max_latency_ms:g} ms' if settings.max_latency_ms else ''}",
        f"  trials  {settings.budget}{beyond}, {epochs} on {plan.workers.where}, recipe {train.recipe}"
        f"{' as it was when the study began' if plan.is_recipe_kept else ''}",
    ]
    if plan.refit_epochs:
        repeats = f", and up to {counted(plan.num_repeats, 'repeat(s)')}" if plan.num_repeats else ""
        lines.append(
            f"  then    retrain the front and near-front trials for {counted(plan.refit_epochs, 'epoch(s)')}{repeats} "
            "(--refit 0 to skip)"
        )
    if settings.prior == (BUILT_IN,):
        way_out = " (--prior none begins without it)" if plan.is_new else ""
        lines.append(f"  prior   built in: trainings on photographs of playing cards{way_out}")
    elif settings.prior:
        lines.append(f"  prior   {', '.join(settings.prior)}: the search learns from what they found first")
    if settings.inherit:
        lines.append(
            "  note    trials inherit weights (--inherit): their AP is higher than from scratch, by how much varies"
        )
    if plan.weights_dir and all(choice.transfer == (0,) for choice in settings.space.backbones.values()):
        name = settings.space.name
        lines.append(f"  note    --weights-dir is not used: networks of space {name} start from random weights")
    if not plan.workers.has_gpus and settings.space.name == "nano":
        lines.append("  note    without a GPU each trial of this space may train for hours; --space tiny suits a CPU")
    if plan.other_begun:
        lines.append(
            f"  note    {plan.other_begun} has begun, too, in the default space of machines "
            f"{'without' if plan.workers.has_gpus else 'with'} a GPU: --study {plan.other_begun} goes on with it"
        )
    console.print("\n".join(lines), markup=False, soft_wrap=True)
