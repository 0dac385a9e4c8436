"""`yoloret-nas search`: the main job."""

import os
import re
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import click

from yoloret_nas.options.choices import OLD_SAMPLERS, RECIPES, SAMPLERS, SPACES
from yoloret_nas.options.data import DATA_HELP, check_data, data_name, fetch_data, is_generated
from yoloret_nas.options.quantities import Milliseconds
from yoloret_nas.options.training import weights_dir_option

if TYPE_CHECKING:
    from rich.console import Console

    from search.driver.driver import RunResult
    from search.study.settings import SamplerName, StudySettings
    from trials.training import RecipeName

_REFIT_FACTOR = 3
"""Epochs of a full training in epochs of a trial."""


@click.command()
@click.option("--budget", type=click.IntRange(1), default=50, help="Finished trials in all, including earlier runs.")
@click.option("--data", default="shapes", help=DATA_HELP)
@click.option(
    "--device", default="cpu", help="Where latency is measured: cpu, cpu:threads=N, cuda, cuda:N, ssh://host."
)
@click.option("--also-measure", multiple=True, help="Record this device's latency too; repeatable.")
@click.option("--max-latency", type=Milliseconds(), help="Do not train what is slower, e.g. 33ms.")
@click.option(
    "--space", default=None, help="paper, nano, tiny, or a YAML file.  [default: nano with a GPU or a board, else tiny]"
)
@click.option("--study", default=None, help="Name; the same name resumes.  [default: from space, data and device]")
@click.option("--epochs", type=click.IntRange(1), default=None, help="Epochs of each trial.  [default: the recipe's]")
@click.option("--recipe", type=click.Choice(RECIPES), help="How trials train.  [default: quick on shapes, else modern]")
@click.option("--batch-size", type=click.IntRange(1), default=None, help="Images per step.  [default: the recipe's]")
@weights_dir_option
@click.option(
    "--sampler",
    type=click.Choice((*SAMPLERS, *OLD_SAMPLERS)),
    metavar=f"[{'|'.join(SAMPLERS)}]",
    default="ehvi",
    help="How the next architecture is chosen.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the search and of each training.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=None,
    help="Trials at once.  [default: up to four per GPU, by its size; else one per core]",
)
@click.option("--no-prune", is_flag=True, help="Train every trial to its end.")
@click.option(
    "--inherit",
    is_flag=True,
    help="Start trials from others' weights (not comparable: docs/search.md).",
)
@click.option(
    "--refit",
    "refit_epochs",
    type=click.IntRange(0),
    default=None,
    help="Epochs of retraining the front at the end, 0 for none.  [default: 3 times a trial's, 0 on shapes]",
)
@click.option(
    "--seeds", "num_seeds", type=click.IntRange(1), default=1, help="Retrainings of each network, of other seeds."
)
@click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping.")
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
def search(
    budget: int,
    data: str,
    device: str,
    also_measure: tuple[str, ...],
    max_latency: float | None,
    space: str | None,
    study: str | None,
    epochs: int | None,
    recipe: "RecipeName | None",
    batch_size: int | None,
    weights_dir: Path | None,
    sampler: "SamplerName",
    seed: int,
    workers: int | None,
    no_prune: bool,
    inherit: bool,
    refit_epochs: int | None,
    num_seeds: int,
    skip_broken: bool,
    root: Path,
) -> None:
    """Search for object detectors that are accurate and fast on your device.

    Without options it needs only this machine: generated images, latency in ONNX Runtime on this CPU, results in SQLite
    files. Run the same command again to resume.
    """
    data = check_data(data)
    _check_space(space)
    if weights_dir:
        os.environ["YOLORET_NAS_WEIGHTS_DIR"] = str(weights_dir.resolve())  # read in the trials' processes
    from dataclasses import replace

    from search.study.settings import StudySettings
    from spaces.named_spaces import open_space
    from yoloret_nas.machine import threads_of_each, trials_at_once, visible_gpus
    from yoloret_nas.options.recipe import choose_training

    gpus = visible_gpus()
    opened = open_space(space or ("nano" if gpus or device.startswith("ssh://") else "tiny"))
    train = choose_training(recipe, data=data, epochs=epochs, batch_size=batch_size)
    workers = workers or trials_at_once(gpus, batch_size=train.batch_size)
    settings = StudySettings(
        name=study or study_name(opened.name, data, device),
        space=opened,
        dataset=data,
        device=device,
        train=replace(train, num_threads=threads_of_each(workers), seed=seed),
        also_measure=also_measure,
        budget=budget,
        max_latency_ms=max_latency,
        sampler=sampler,
        seed=seed,
        prune=not no_prune,
        inherit=inherit,
        skip_broken=skip_broken,
        root=root,
    )
    if refit_epochs is None:
        refit_epochs = 0 if is_generated(data) else _REFIT_FACTOR * train.epochs
    _run(settings, gpus=gpus, workers=workers, refit_epochs=refit_epochs, num_seeds=num_seeds)


def _run(settings: "StudySettings", *, gpus: tuple[str, ...], workers: int, refit_epochs: int, num_seeds: int) -> None:
    from rich.console import Console

    from search.driver.local_executor import LocalExecutor
    from search.driver.search import run_search
    from trials.latency.open_device import open_device
    from yoloret_nas.terminal.interrupts import interrupts
    from yoloret_nas.terminal.live_view import LiveView

    # A file has no width of its own: lines there are as long as they need to be.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 250)
    open_device(settings.device).close()  # refuses what names no device; nothing is reached yet
    _check_writable(settings.root)
    _announce(console, settings, gpus=gpus, workers=workers, refit_epochs=refit_epochs)
    fetch_data(settings.dataset, console)
    view = LiveView(console)
    executor = LocalExecutor(workers=workers, gpus=gpus)
    with view.showing(), interrupts(view.say_ending, lambda: view.is_open) as stop_requested:
        result = run_search(settings, executor=executor, view=view, stop_requested=stop_requested)
    _conclude(console, settings, result, workers=workers)
    if result.ending == "interrupted":
        raise click.exceptions.Exit(130)
    if not result.summary.front:
        raise click.exceptions.Exit(1)
    if refit_epochs:
        from yoloret_nas.terminal.refit import refit

        refit(settings, result.summary, epochs=refit_epochs, num_seeds=num_seeds, console=console)


def _check_space(space: str | None) -> None:
    """Refuse an unknown space before anything heavy is imported."""
    if space and space not in SPACES and not Path(space).is_file():
        raise click.BadParameter(f"{space!r} is none of {', '.join(SPACES)}, and no file", param_hint="--space")


def study_name(space: str, data: str, device: str) -> str:
    """Return the default name of a study."""
    words = [re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in (space, device)]
    return "-".join((words[0], data_name(data), words[1]))


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=root, prefix=".writable-"):  # of a name of its own: two searches may begin together
            pass
    except OSError as error:
        raise click.UsageError(f"cannot write to {root}: {error.strerror}; choose another folder with --dir") from error


def _announce(
    console: "Console", settings: "StudySettings", *, gpus: tuple[str, ...], workers: int, refit_epochs: int
) -> None:
    train = settings.train
    generated = is_generated(settings.dataset)
    where = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "this CPU"
    at_once = f", {workers} at once" if workers > 1 else ""
    beyond = f", of which the space has {settings.space.size}" if settings.budget > settings.space.size else ""
    lines = [
        f"study {settings.name}: space {settings.space.name}, {settings.space.size:,} architectures",
        f"  data    {settings.dataset}{' (generated; --data PATH for your own)' if generated else ''}",
        f"  latency {settings.device}"
        f"{' (ONNX Runtime on this machine)' if settings.device.startswith('cpu') else ''}"
        f"{f', at most {settings.max_latency_ms:g} ms' if settings.max_latency_ms else ''}",
        f"  trials  {settings.budget}{beyond}, {train.epochs} epochs each on {where}{at_once}, recipe {train.recipe}",
    ]
    if refit_epochs:
        lines.append(f"  then    retrain the front and near-front trials for {refit_epochs} epochs (--refit 0 to skip)")
    if settings.inherit:
        lines.append(
            "  note    trials inherit weights (--inherit): their AP is higher than from scratch, by how much varies"
        )
    if not gpus and settings.space.name == "nano":
        lines.append("  note    without a GPU each trial of this space may train for hours; --space tiny suits a CPU")
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _where_time_went(result: "RunResult", *, workers: int) -> str:
    """Return this run's time and what share of all workers' time went into what."""
    spent, whole = result.seconds_by_phase, result.seconds * workers
    shares = {
        "training": spent.get("train", 0.0),
        "scoring": spent.get("score", 0.0),
        "measuring": spent.get("measure", 0.0) + spent.get("aside", 0.0),
        "idle": spent.get("idle", 0.0),
    }
    shares["other"] = max(0.0, whole - sum(shares.values()))
    return f"took {result.seconds:.0f} s: " + ", ".join(f"{name} {part / whole:.1%}" for name, part in shares.items())


def _conclude(console: "Console", settings: "StudySettings", result: "RunResult", *, workers: int) -> None:
    from search.reports import estimate_words
    from search.study.next_command import dir_option
    from yoloret_nas.terminal.trial_lines import front_table

    summary = result.summary
    done = len(summary.records)
    if summary.front:
        title = (
            f"front of {settings.name}: {len(summary.front)} of {done} trials, hypervolume {summary.hypervolume:.4f}"
        )
        console.print(front_table(summary, knee=summary.knee, title=title, width=console.width))
        console.print(estimate_words(summary), markup=False, soft_wrap=True)
    else:
        reasons = {record.result.reason for record in summary.records}
        console.print(f"no trial is complete: {'; '.join(sorted(reasons)[:3]) or 'none has finished'}", markup=False)
        if summary.states["failed"]:
            console.print("remove the cause, then run the same command again: failed trials do not count in its budget")
    folder = settings.folder
    here = dir_option(settings.root)
    lines = [
        f"wrote {folder}/front.png, front.csv, front.html, trials.csv, trials/; MLflow {result.tracking_uri}",
        _where_time_went(result, workers=workers),
    ]
    if result.ending == "interrupted":
        lines.append(
            f"{done} of {result.budget} trials are finished; the same command resumes (--study {settings.name})"
        )
    if result.ending == "exhausted":
        lines.append(
            f"ended early: the sampler has none of the {settings.space.size:,} architectures of space "
            f"{settings.space.name} left to try; search a larger space for more"
        )
    if summary.front:
        lines.append(f"next: yoloret-nas ui{here}")
        lines.append(
            f"      yoloret-nas export --study {settings.name}{here}  (the knee; --best for the most accurate)"
        )
    console.print("\n".join(lines), markup=False, soft_wrap=True)
