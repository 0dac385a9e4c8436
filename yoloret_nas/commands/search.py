"""`yoloret-nas search`: the main job."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from spaces.counted import counted
from yoloret_nas.options.choices import DEFAULT_EPOCHS, KEPT, RECIPES, SAMPLERS
from yoloret_nas.options.complete import complete_path, complete_prior, complete_study
from yoloret_nas.options.data import DATA_HELP
from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.quantities import Milliseconds
from yoloret_nas.options.search import ClusterOptions, SearchOptions
from yoloret_nas.options.training import weights_dir_option, weights_from
from yoloret_nas.project_file import PROJECT_FILE

if TYPE_CHECKING:
    from rich.console import Console

    from search.driver.driver import RunResult
    from search.front.summary import Summary
    from search.study.settings import StudySettings
    from yoloret_nas.api.search_plan import SearchPlan


@click.command()
@click.option("--budget", type=click.IntRange(1), default=50, help="Finished trials in all, including earlier runs.")
@click.option("--data", default="shapes", shell_complete=complete_path, help=DATA_HELP)
@click.option(
    "--device", default="cpu", help="Where latency is measured: cpu, cpu:threads=N, cuda, cuda:N, ssh://host."
)
@click.option("--also-measure", multiple=True, help="Record this device's latency too; repeatable.")
@click.option(
    "--max-latency", type=Milliseconds(), help="Do not train what is slower, e.g. 33ms; a bare number is milliseconds."
)
@click.option(
    "--space",
    default=None,
    shell_complete=complete_path,
    help="paper, nano, lite, tiny, or a YAML file.  [default: nano with a GPU or a board, else tiny]",
)
@click.option(
    "--aspect", help="Width to height of the input, such as 16:9.  [default: the space's, else that of the images]"
)
@click.option(
    "--study",
    default=None,
    shell_complete=complete_study,
    help="Name; the same name resumes.  [default: from space, data and device]",
)
@click.option("--epochs", type=click.IntRange(1), default=None, help=f"Epochs of each trial.  {DEFAULT_EPOCHS}")
@click.option("--recipe", type=click.Choice(RECIPES), help="How trials train.  [default: quick on shapes, else modern]")
@click.option("--batch-size", type=click.IntRange(1), default=None, help="Images per step.  [default: the recipe's]")
@weights_dir_option
@click.option(
    "--sampler",
    type=click.Choice(SAMPLERS),
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
@click.option("--cluster", help="Run trials on a Ray cluster: local, auto, or ray://host:port.")
@click.option("--device-host", help="Ray resource of the node that measures latency.  [default: this node]")
@click.option("--gpus-per-trial", type=float, help="On a cluster, such as 0.25.  [default: 1 if it has GPUs]")
@click.option("--cpus-per-trial", type=float, help="On a cluster.  [default: 2 with a GPU, else 1]")
@click.option("--no-prune", is_flag=True, help="Train every trial to its end.")
@click.option(
    "--inherit",
    is_flag=True,
    help="Start trials from others' weights (not comparable: docs/search.md).",
)
@click.option(
    "--one-shot",
    is_flag=True,
    help="Train shared weights (a supernet) first; trials start from them and train briefly (one backbone: docs/search.md).",
)
@click.option(
    "--prior",
    multiple=True,
    shell_complete=complete_prior,
    metavar="STUDY",
    help="Learn first from an earlier study: its name, its folder, built-in, or none; repeatable.  [default: built-in]",
)
@click.option(
    "--refit",
    type=click.IntRange(0),
    default=None,
    help="Epochs of retraining the front at the end, 0 for none.  [default: 3 times a trial's, 0 on shapes]",
)
@click.option(
    "--repeats",
    type=click.IntRange(0),
    default=0,
    help="Retrainings with other seeds, of networks whose ranking is not clear yet; needs --refit.",
)
@click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping.")
@click.option("--accept-changed-data", is_flag=True, help="Resume even if images or annotations changed.")
@click.option(
    "--keep", type=click.Choice(KEPT), help="Keep the weights of trials on the front, or of all.  [default: front]"
)
@click.option("--dir", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
def search(
    no_prune: bool,
    cluster: str | None,
    device_host: str | None,
    gpus_per_trial: float | None,
    cpus_per_trial: float | None,
    **values: Any,
) -> None:
    """Search for object detectors that are accurate and fast on your device.

    Without options it needs only this machine: generated images, latency in ONNX Runtime on this CPU, results in SQLite
    files. Run the same command again to resume: what it leaves open stays as the study began.
    """
    on_cluster = ClusterOptions(
        address=cluster, device_host=device_host, gpus_per_trial=gpus_per_trial, cpus_per_trial=cpus_per_trial
    )
    options = SearchOptions(prune=not no_prune, cluster=on_cluster, **values)
    from yoloret_nas.api.search_plan import plan_search, refit_plan, run_plan
    from yoloret_nas.terminal.console import open_console
    from yoloret_nas.workers import connected_to

    console = open_console()
    if given := _from_project_file(click.get_current_context()):
        console.print(f"{PROJECT_FILE} gives {', '.join(given)}", markup=False, soft_wrap=True)
    with weights_from(options.weights_dir), connected_to(on_cluster):
        plan = plan_search(options)
        result = run_plan(plan, console)
        _conclude(console, plan, result)
        if result.ending == "interrupted":
            raise click.exceptions.Exit(130)
        if not result.summary.front:
            raise click.exceptions.Exit(1)
        refit_plan(plan, result, console)


def _from_project_file(context: click.Context) -> list[str]:
    """Return the options that the project file gave, and the command line did not."""
    names = [str(parameter.name) for parameter in context.command.params]
    return [name for name in names if context.get_parameter_source(name) is ParameterSource.DEFAULT_MAP]


def _where_time_went(result: "RunResult", *, workers: int | None) -> str:
    """Return this run's time and, where a trial ran on a known number of workers, what share of theirs went into what."""
    if workers is None or not any(seconds for phase, seconds in result.seconds_by_phase.items() if phase != "idle"):
        return f"took {result.seconds:.0f} s"
    spent, whole = result.seconds_by_phase, result.seconds * workers
    shares = {
        "training": spent.get("train", 0.0),
        "scoring": spent.get("score", 0.0),
        "measuring": spent.get("measure", 0.0) + spent.get("aside", 0.0),
        "idle": spent.get("idle", 0.0),
    }
    shares["other"] = max(0.0, whole - sum(shares.values()))
    return f"took {result.seconds:.0f} s: " + ", ".join(f"{name} {part / whole:.1%}" for name, part in shares.items())


def _why_exhausted(settings: "StudySettings", summary: "Summary") -> str:
    """Return why a search with budget left has nothing more to propose, and what to do."""
    size, name = settings.space.size, settings.space.name
    num_left = size - len({record.architecture for record in summary.records})
    if not num_left:
        whole = counted(size, "architecture(s)")
        return f"ended early: all {whole} of space {name} were tried; search a larger space for more"
    reasons = [f"{settings.device} cannot run them"]
    if settings.max_latency_ms is not None:
        reasons.insert(0, f"they are slower than {settings.max_latency_ms:g} ms")
    if summary.states["failed"]:
        reasons.append("trials of such networks failed")
    return (
        f"ended early: {num_left} of {counted(size, 'architecture(s)')} of space {name} were not tried, since "
        f"{' or '.join(reasons)}; search another space{', or with a higher limit' if settings.max_latency_ms else ''}"
    )


def _conclude(console: "Console", plan: "SearchPlan", result: "RunResult") -> None:
    from search.reports import estimate_words
    from search.study.next_command import dir_option
    from yoloret_nas.terminal.trial_lines import front_table

    settings, summary = plan.settings, result.summary
    done = len(summary.records)
    if summary.front:
        title = (
            f"front of {settings.name}: {len(summary.front)} of {counted(done, 'trial(s)')}, hypervolume "
            f"{summary.hypervolume:.4f}"
        )
        console.print(front_table(summary, knee=summary.knee, title=title, width=console.width))
        console.print(estimate_words(summary), markup=False, soft_wrap=True)
    else:
        reasons = {record.result.reason for record in summary.records}
        console.print(f"no trial is complete: {'; '.join(sorted(reasons)[:3]) or 'none has finished'}", markup=False)
        if summary.states["failed"]:
            console.print("remove the cause, then run the same command again: it tries the failed trials again")
    folder = settings.folder
    here = dir_option(settings.root)
    lines = [
        f"wrote {folder}/front.png, front.csv, front.html, trials.csv, trials/; MLflow {result.tracking_uri}",
        _where_time_went(result, workers=plan.workers.at_once),
    ]
    if result.ending == "interrupted" and (done < result.budget or plan.refit_epochs):
        lines.append(
            f"{done} of {counted(result.budget, 'trial(s) is|are')} finished; the same command resumes {settings.name}"
        )
    if result.ending == "exhausted":
        lines.append(_why_exhausted(settings, summary))
    if summary.front:
        lines.append(f"next: yoloret-nas ui{here}")
        is_retrained = plan.refit_epochs and result.ending != "interrupted"
        if not is_retrained:  # the full trainings that follow name themselves
            lines.append(
                f"      yoloret-nas export --study {settings.name}{here}  (the knee; --best for the most accurate)"
            )
    console.print("\n".join(lines), markup=False, soft_wrap=True)
