"""`yoloret-nas search`: the main job."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoloret_nas.options.choices import RECIPES, SAMPLERS, SPACES
from yoloret_nas.options.data import DATA_HELP, check_data, data_name, fetch_data, is_generated
from yoloret_nas.options.quantities import Milliseconds

if TYPE_CHECKING:
    from rich.console import Console

    from search.driver.search import Outcome
    from search.study.settings import StudySettings

_REFIT_FACTOR = 3
"""Epochs of a full training in epochs of a trial."""


@click.command()
@click.option("--budget", type=click.IntRange(1), default=50, help="Finished trials in all, earlier runs counted.")
@click.option("--data", default="shapes", help=DATA_HELP)
@click.option("--device", default="cpu", help="Where latency is measured: cpu, cpu:threads=N, cuda, ssh://host.")
@click.option("--also-measure", multiple=True, help="Record this device's latency too; may be given several times.")
@click.option("--max-latency", type=Milliseconds(), help="Do not train what is slower, e.g. 33ms.")
@click.option(
    "--space", default=None, help="paper, nano, tiny, or a YAML file.  [default: nano with a GPU or a board, else tiny]"
)
@click.option("--study", default=None, help="Its name; the same name goes on.  [default: from space, data and device]")
@click.option("--epochs", type=click.IntRange(1), default=None, help="Of each trial.  [default: the recipe's]")
@click.option("--recipe", type=click.Choice(RECIPES), help="How trials train.  [default: quick on shapes, else modern]")
@click.option("--batch-size", type=click.IntRange(1), default=None, help="Images of a step.  [default: the recipe's]")
@click.option(
    "--weights-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of ImageNet weights that comes before the network's.",
)
@click.option("--sampler", type=click.Choice(SAMPLERS), default="front", help="Who proposes architectures.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the search and of each training.")
@click.option(
    "--workers", type=click.IntRange(1), default=None, help="Trials at once.  [default: one a GPU, else one a core]"
)
@click.option("--no-prune", is_flag=True, help="Train every trial to its end.")
@click.option("--inherit", is_flag=True, help="Start trials from finished ones' weights; see docs/strategy.md first.")
@click.option(
    "--refit",
    "refit_epochs",
    type=click.IntRange(0),
    default=None,
    help="Epochs of the front's full trainings at the end, 0 for none.  [default: 3 times a trial's, 0 on shapes]",
)
@click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping.")
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
def search(**flags: Any) -> None:
    """Search for the detectors on your device's accuracy-latency front.

    With no flag it needs nothing but this machine: generated images, latency in ONNX Runtime on this CPU, results in
    SQLite. Run it again to go on where it stopped.
    """
    _check_cheaply(flags)
    if flags["weights_dir"]:
        os.environ["YOLORET_NAS_WEIGHTS_DIR"] = str(flags["weights_dir"].resolve())  # the trials' processes read it
    from rich.console import Console

    from search.driver.local_executor import LocalExecutor
    from search.driver.search import run_search
    from yoloret_nas.accelerators import visible_gpus
    from yoloret_nas.terminal.interrupts import interrupts
    from yoloret_nas.terminal.live_view import LiveView

    # A file has no width of its own: lines there are as long as they need to be.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 250)
    gpus = visible_gpus()
    workers = flags["workers"] or len(gpus) or len(os.sched_getaffinity(0))
    settings = _settings(flags, gpus=gpus, workers=workers)
    _check_writable(settings.root)
    refit_epochs = flags["refit_epochs"]
    if refit_epochs is None:
        refit_epochs = 0 if is_generated(settings.dataset) else _REFIT_FACTOR * settings.train.epochs
    _announce(console, settings, gpus=gpus, workers=workers, refit_epochs=refit_epochs)
    fetch_data(settings.dataset, console)
    view = LiveView(console)

    executor = LocalExecutor(workers=workers, gpus=gpus)
    with view.showing(), interrupts(view.say_ending) as wish:
        outcome = run_search(settings, executor=executor, view=view, interrupted=wish)
    _conclude(console, settings, outcome, workers=workers)
    if outcome.was_interrupted:
        raise click.exceptions.Exit(130)
    if not outcome.summary.front:
        raise click.exceptions.Exit(1)
    if refit_epochs:
        from yoloret_nas.terminal.refit import refit

        refit(settings, outcome.summary, epochs=refit_epochs, console=console)


def _settings(flags: dict[str, Any], *, gpus: tuple[str, ...], workers: int) -> "StudySettings":
    import dataclasses

    from search.study.settings import StudySettings
    from spaces.named_spaces import open_space
    from yoloret_nas.options.recipe_choice import choose_training

    is_board = flags["device"].startswith("ssh://")
    space = open_space(flags["space"] or ("nano" if gpus or is_board else "tiny"))
    train = dataclasses.replace(
        choose_training(flags),
        # Small networks gain nothing from a second thread, and two trials that share cores by threads lose an order of
        # magnitude to each other's spinning: each trial on a CPU gets its share of the cores.
        num_threads=0 if gpus else max(1, len(os.sched_getaffinity(0)) // workers),
        seed=flags["seed"],
    )
    data = check_data(flags["data"])
    return StudySettings(
        name=flags["study"] or study_name(space.name, data, flags["device"]),
        space=space,
        dataset=data,
        device=flags["device"],
        train=train,
        also_measure=tuple(flags["also_measure"]),
        budget=flags["budget"],
        max_latency_ms=flags["max_latency"],
        sampler=flags["sampler"],
        seed=flags["seed"],
        prune=not flags["no_prune"],
        inherit=flags["inherit"],
        skip_broken=flags["skip_broken"],
        root=flags["root"],
    )


def _check_cheaply(flags: dict[str, Any]) -> None:
    """Refuse what can be refused before anything heavy is imported."""
    check_data(flags["data"])
    if flags["space"] and flags["space"] not in SPACES and not Path(flags["space"]).is_file():
        raise click.BadParameter(
            f"{flags['space']!r} is none of {', '.join(SPACES)}, and no file", param_hint="--space"
        )


def study_name(space: str, data: str, device: str) -> str:
    """Give the name of a study that was given none."""
    words = [re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in (space, device)]
    return "-".join((words[0], data_name(data), words[1]))


def _check_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise click.UsageError(f"cannot write to {root}: {error.strerror}; choose another folder with --dir") from error


def _announce(
    console: "Console", settings: "StudySettings", *, gpus: tuple[str, ...], workers: int, refit_epochs: int
) -> None:
    train = settings.train
    generated = is_generated(settings.dataset)
    where = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "this CPU"
    at_once = f", {workers} at once" if workers > 1 else ""
    lines = [
        f"study {settings.name}: space {settings.space.name}, {settings.space.size:,} architectures",
        f"  data    {settings.dataset}{' (generated; --data PATH for your own)' if generated else ''}",
        f"  latency {settings.device}"
        f"{' (ONNX Runtime on this machine)' if settings.device.startswith('cpu') else ''}"
        f"{f', at most {settings.max_latency_ms:g} ms' if settings.max_latency_ms else ''}",
        f"  trials  {settings.budget}, {train.epochs} epochs each on {where}{at_once}, recipe {train.recipe}",
    ]
    if refit_epochs:
        lines.append(
            f"  then    the front and what noise kept off it in full, {refit_epochs} epochs each (--refit 0: not)"
        )
    if not gpus and settings.space.name == "nano":
        lines.append(
            "  note    there is no GPU here: each trial of this space may train for hours; --space tiny is for that"
        )
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def _where_time_went(outcome: "Outcome", *, workers: int) -> str:
    """Give this run's time and its shares, of the time of all workers; the rest is neither training nor measuring."""
    spent, whole = outcome.seconds_by_phase, outcome.seconds * workers
    shares = {
        "training": spent.get("train", 0.0),
        "scoring": spent.get("score", 0.0),
        "measuring": spent.get("measure", 0.0) + spent.get("aside", 0.0),
        "no trial left to begin": spent.get("idle", 0.0),
    }
    shares["the rest"] = max(0.0, whole - sum(shares.values()))
    return f"took {outcome.seconds:.0f} s: " + ", ".join(f"{name} {part / whole:.1%}" for name, part in shares.items())


def _conclude(console: "Console", settings: "StudySettings", outcome: "Outcome", *, workers: int) -> None:
    from yoloret_nas.terminal.trial_lines import front_table

    summary = outcome.summary
    done = len(summary.records)
    if summary.front:
        title = (
            f"front of {settings.name}: {len(summary.front)} of {done} trials, hypervolume {summary.hypervolume:.4f}"
        )
        console.print(front_table(summary.front, knee=summary.knee, title=title, width=console.width))
    else:
        reasons = {record.result.reason for record in summary.records}
        console.print(f"no trial is complete: {'; '.join(sorted(reasons)[:3]) or 'none was run'}", markup=False)
    folder = settings.folder
    here = "" if settings.root == Path("runs") else f" --dir {settings.root}"
    lines = [
        f"wrote {folder}/front.png, front.csv, front.html, trials.csv, trials/; MLflow {outcome.tracking_uri}",
        _where_time_went(outcome, workers=workers),
    ]
    if outcome.was_interrupted:
        lines.append(
            f"{done} of {settings.budget} trials are finished; the same command goes on (--study {settings.name})"
        )
    if summary.front:
        lines.append(f"next: yoloret-nas ui{here}")
        lines.append(f"      yoloret-nas export --study {settings.name}{here}")
    console.print("\n".join(lines), markup=False, soft_wrap=True)
