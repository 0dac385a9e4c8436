"""`yoloret-nas export`: a detector of a study as files that run."""

import shlex
from pathlib import Path

import click

from yoloret_nas.options.quantities import Milliseconds


@click.command()
@click.option("--study", required=True, help="Which study or training.")
@click.option("--trial", type=click.IntRange(0), default=None, help="This trial.  [default: the knee of the front]")
@click.option("--best", is_flag=True, help="The most accurate of the front.")
@click.option("--max-latency", type=Milliseconds(), help="The most accurate within this latency, e.g. 33ms.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder.  [default: exports/STUDY-TRIAL]")
@click.option("--force", is_flag=True, help="Replace an export that is there already.")
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
def export(
    study: str,
    trial: int | None,
    best: bool,
    max_latency: float | None,
    out: Path | None,
    force: bool,
    root: Path,
) -> None:
    """Write a detector of a study as files that run.

    The folder holds the ONNX that was measured, with the trained weights in it, the checkpoint, the architecture, the
    class names, the metrics and the device they were measured on. The export fails if PyTorch and ONNX Runtime disagree.
    """
    if trial is not None and (best or max_latency is not None):
        raise click.UsageError("--trial names one trial; leave out --best and --max-latency")
    from search.strategy.estimates import with_estimates
    from search.study.experiment import read_experiment
    from search.study.read_study import read_study
    from search.study.selection import select_trial
    from trials.latency.open_device import open_device
    from yoloret_nas.export.bundle import write_bundle
    from yoloret_nas.terminal.trial_lines import short

    opened = read_experiment(root, study) or read_study(root, study)
    summary = with_estimates(opened.summary)
    record = select_trial(summary, number=trial, best=best, max_latency_ms=max_latency)
    estimate = summary.estimates.get(record.number)
    folder = out or Path("exports") / f"{study}-{record.number}"
    difference = write_bundle(
        record,
        folder,
        trial_folder=opened.trial_folder(record.number),
        study=study,
        estimate=estimate,
        opset=open_device(opened.device).opset,
        replace=force,
    )
    assert record.point is not None
    ap, latency_ms = record.point
    click.echo(f"trial {record.number}: {short(record.architecture)}")
    expected = f", estimated {estimate}" if estimate else ""
    click.echo(f"AP {ap:.4f}{expected}, {latency_ms:.3f} ms; ONNX Runtime and PyTorch agree to {difference:.1g}")
    click.echo(f"wrote {folder}\nnext: yoloret-nas predict {shlex.quote(str(folder))} IMAGE.jpg")
