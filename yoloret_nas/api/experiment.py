"""An experiment, from its options to its end: what the commands that train named networks have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from search.driver.experiment import WriteReports, run_experiment
from search.front.record import TrialRecord
from search.reports.experiment import to_rows, write_rows
from search.strategy.repeats import Repeats
from search.study.experiment import ExperimentSettings, Variant, begun_training, refuse_relabelled
from spaces import Architecture
from spaces.counted import counted
from spaces.weights import WeightsError, why_unavailable
from trials.scratch import scratch_folder, temporary_files_in
from trials.training import TrainingError
from yoloret_nas.api.preconditions import check_devices, check_writable
from yoloret_nas.options.data import data_name, fetch_data
from yoloret_nas.options.recipe import as_begun, choose_training
from yoloret_nas.options.search import ClusterOptions
from yoloret_nas.options.training import TrainingOptions
from yoloret_nas.terminal.experiment_table import print_rows
from yoloret_nas.terminal.interrupts import interrupts
from yoloret_nas.terminal.training_view import TrainingView
from yoloret_nas.workers import Workers, choose_workers


def prepare(
    architecture: Architecture, options: TrainingOptions, *, console: Console, keeps_transfer: bool = False
) -> Architecture:
    """Apply `--input-size`, `--aspect` and `--weights` to an architecture; note where ImageNet weights are not available.

    Args:
        architecture: The network.
        options: The command's.
        console: Where to print the note.
        keeps_transfer: Whether a transfer boundary of 0 stays 0 although ImageNet weights are requested.

    Raises:
        WeightsError: they were requested and are not available.
        ArchitectureError: the network cannot have this input size.
    """
    architecture = with_input(architecture, options)
    if options.weights == "random":
        return architecture.replace(transfer=0)
    if options.weights == "imagenet" and architecture.transfer == 0 and not keeps_transfer:
        architecture = architecture.replace(transfer=architecture.truncation)
    if architecture.transfer and (reason := why_unavailable(architecture.backbone)):
        if options.weights == "imagenet":
            raise WeightsError(
                reason, hint="check the network, or give a folder of ImageNet weights with --weights-dir"
            )
        console.print(f"note: starting from random weights: {reason}", markup=False, soft_wrap=True)
        return architecture.replace(transfer=0)
    return architecture


def with_input(architecture: Architecture, options: TrainingOptions) -> Architecture:
    """Apply `--input-size` and `--aspect`.

    Raises:
        ArchitectureError: the network cannot have this input size.
    """
    return architecture.replace(
        input_size=options.input_size or architecture.input_size, aspect=options.aspect or architecture.aspect
    )


def check_alike(architectures: Mapping[str, Architecture]) -> None:
    """Refuse to compare backbones of which only some start from ImageNet weights.

    Raises:
        WeightsError: that is so; their weights come from several places, of which one may be missing.
    """
    starts = {one.backbone: bool(one.transfer) for one in architectures.values()}
    if len(set(starts.values())) > 1:
        random = ", ".join(backbone for backbone, has_weights in starts.items() if not has_weights)
        others = ", ".join(backbone for backbone, has_weights in starts.items() if has_weights)
        raise WeightsError(
            f"{random} would start from random weights and {others} from ImageNet: that is no comparison",
            hint="give a folder of ImageNet weights with --weights-dir, or --weights random for all",
        )


def to_settings(name: str, options: TrainingOptions) -> ExperimentSettings:
    """Return the experiment that the shared options describe.

    Raises:
        StudyError: the name cannot name a folder, or its experiment's file is damaged.
    """
    train = choose_training(options.recipe, data=options.data, epochs=options.epochs, batch_size=options.batch_size)
    return ExperimentSettings(
        name=name,
        dataset=options.data,
        device=options.device,
        train=as_begun(replace(train, precision=options.precision), begun_training(options.root, name)),
        skip_broken=options.skip_broken,
        accept_changed_data=options.accept_changed_data,
        root=options.root,
    )


def compare_variants(
    settings: ExperimentSettings,
    architectures: Mapping[str, Architecture],
    *,
    seeds: int,
    title: str,
    draw: Callable[..., None],
    console: Console,
) -> None:
    """Train labelled architectures with several seeds; print the table, write it and its picture.

    Args:
        settings: The experiment.
        architectures: By label.
        seeds: Trainings of each.
        title: Of the picture.
        draw: Takes rows, the PNG's path and the title.
        console: Where to print progress.

    Raises:
        StudyError: the experiment exists with other networks under these labels.
        TrainingError: no training is complete.
        click.exceptions.Exit: some are not, though the others make a table.
        KeyboardInterrupt: the experiment was interrupted.
    """
    variants = [
        Variant(label=label, architecture=architecture, seed=seed)
        for seed in range(seeds)
        for label, architecture in architectures.items()
    ]
    refuse_relabelled(settings, variants)
    start = "ImageNet" if any(one.transfer for one in architectures.values()) else "random"
    console.print(
        f"{settings.name}: {counted(len(variants), 'training(s)')} of {counted(settings.train.epochs, 'epoch(s)')} from "
        f"{start} weights on {settings.dataset}, latency on {settings.device}",
        markup=False,
        soft_wrap=True,
    )
    table, picture = settings.folder / "results.csv", settings.folder / "results.png"
    where = f"{data_name(settings.dataset)} · {settings.device}"
    length = f"{counted(settings.train.epochs, 'epoch(s)')}, {counted(seeds, 'seed(s)')}"

    def write_reports(records: Sequence[TrialRecord]) -> Sequence[Path]:
        rows = to_rows(records)
        if not rows:
            return []
        write_rows(rows, table)
        draw(rows, picture, title=f"{title} · {where} · {length}")
        return [table, picture]

    records = run_variants(settings, variants, console=console, write_reports=write_reports)
    rows = to_rows(records)
    if not rows:
        raise TrainingError(f"no training of {settings.name} is complete; the same command trains them again")
    print_rows(rows, tuple(architectures))
    click.echo(f"wrote {table} and {picture.name}")
    if any(record.point is None for record in records):
        raise click.exceptions.Exit(1)


def run_variants(
    settings: ExperimentSettings,
    variants: Sequence[Variant],
    *,
    repeats: Repeats | None = None,
    console: Console,
    write_reports: WriteReports = lambda records: (),
    workers: Workers | None = None,
) -> list[TrialRecord]:
    """Run an experiment in the terminal, on this machine unless `workers` says where; return the finished trainings.

    Raises:
        UnknownDeviceError: the device does not exist.
        OptionError: the folder of the studies cannot be written.
        KeyboardInterrupt: it was interrupted, once or twice, as a search may be.
    """
    if workers is None:  # else whoever chose them has looked
        measured = (settings.device, *settings.also_measure)
        check_devices(measured)
        check_writable(settings.root)
        workers = choose_workers(ClusterOptions(), at_once=None, batch_size=settings.train.batch_size, devices=measured)
    workers = workers.at_most(len(variants) + (repeats.count if repeats else 0))
    train = replace(settings.train, num_threads=workers.threads_of_each)
    settings = replace(settings, train=train)
    fetch_data(settings.dataset, console)
    view = TrainingView(console)

    executor, devices = workers.open(view.noticed)
    with (
        temporary_files_in(scratch_folder()),
        view.showing(),
        interrupts(
            view.say_ending,
            lambda: view.is_open,
            running="trainings",
            ended_now="resume after their last whole epoch",
        ) as stop_requested,
    ):
        result, records = run_experiment(
            settings,
            variants,
            repeats=repeats,
            executor=executor,
            devices=devices,
            view=view,
            stop_requested=stop_requested,
            write_reports=write_reports,
        )
    if result.ending == "interrupted" and len(result.summary.records) < result.budget:
        wanted = result.budget - len(result.summary.records) + len(records)  # without those of other labels
        console.print(
            f"{len(records)} of {counted(wanted, 'training(s) is|are')} finished; the same command resumes",
            soft_wrap=True,
        )
        raise KeyboardInterrupt
    if failed := [record.result.reason for record in records if record.point is None]:
        click.echo(
            f"{len(failed)} of {counted(len(records), 'training(s)')} failed; the same command trains them again; the first "
            f"failed with: {failed[0]}",
            err=True,
        )
    return records
