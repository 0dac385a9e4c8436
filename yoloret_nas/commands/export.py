"""`yoloret-nas export`: a detector of a study as files that run."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloret_nas.options.quantities import Milliseconds

if TYPE_CHECKING:
    from yoloret_nas.export.model_card import Card
    from yoloret_nas.export.precisions import Precision

_PRECISIONS = ("fp32", "fp16", "int8")


def _precisions(text: str) -> "tuple[Precision, ...]":
    words = tuple(word.strip() for word in text.split(","))
    if wrong := [word for word in words if word not in _PRECISIONS]:
        raise click.BadParameter(f"{wrong[0]!r} is none of {', '.join(_PRECISIONS)}", param_hint="--precision")
    return words  # type: ignore[return-value]  # checked above


@click.command()
@click.option("--study", required=True, help="Which study or training.")
@click.option("--trial", type=click.IntRange(0), default=None, help="This trial.  [default: the knee of the front]")
@click.option("--best", is_flag=True, help="The most accurate of the front.")
@click.option("--max-latency", type=Milliseconds(), help="The most accurate within this latency, e.g. 33ms.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder.  [default: exports/STUDY-TRIAL]")
@click.option(
    "--precision",
    default="fp32",
    callback=lambda context, option, value: _precisions(value),
    metavar="fp32,fp16,int8",
    help="Number formats of its files, with commas.",
    show_default=True,
)
@click.option("--data", default=None, help="Images to try it on.  [default: the study's, where AP must be the trial's]")
@click.option("--no-check", is_flag=True, help="Do not try it on images.")
@click.option("--no-measure", is_flag=True, help="Do not measure the latency of its files.")
@click.option("--register", "model_name", default=None, help="Also register it in MLflow's registry under this name.")
@click.option("--force", is_flag=True, help="Replace an export that is there already.")
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
def export(
    study: str,
    trial: int | None,
    best: bool,
    max_latency: float | None,
    out: Path | None,
    precision: tuple["Precision", ...],
    data: str | None,
    no_check: bool,
    no_measure: bool,
    model_name: str | None,
    force: bool,
    root: Path,
) -> None:
    """Write a detector of a study as a folder that runs without this project.

    model.onnx takes an image and gives boxes and scores; run.py runs it on images, videos and cameras with numpy and ONNX
    Runtime, or with the TensorRT of a board. README.md has its figures.

    Before anything is written, the file is tried on the study's validation images: it must compute what PyTorch computes,
    and have the trial's AP.
    """
    if trial is not None and (best or max_latency is not None):
        raise click.UsageError("--trial names one trial; leave out --best and --max-latency")
    if data is not None and no_check:
        raise click.UsageError("--data names images to try it on; leave out --no-check")
    if model_name is not None:
        from search.tracking.registry import check_model_name

        check_model_name(model_name)  # before minutes are spent
    from search.strategy.estimates import with_estimates
    from search.study.experiment import read_experiment
    from search.study.read_study import read_study
    from search.study.selection import select_trial
    from yoloret_nas.export.export_trial import export_trial

    opened = read_experiment(root, study) or read_study(root, study)
    summary = with_estimates(opened.summary)
    record = select_trial(summary, number=trial, best=best, max_latency_ms=max_latency)
    folder = out or Path("exports") / f"{study}-{record.number}"
    card = export_trial(
        opened,
        summary,
        record,
        folder,
        precisions=precision,
        data=data,
        is_checked=not no_check,
        is_measured=not no_measure,
        replace=force,
    )
    _print(card, folder)
    if model_name is not None:
        from search.tracking.registry import register_export

        version = register_export(
            root,
            folder,
            name=model_name,
            study=study,
            study_id=opened.id,
            trial=record.number,
            tags=card.tags,
        )
        click.echo(f"registered in MLflow as {model_name}, version {version}: models:/{model_name}/{version}")


def _print(card: "Card", folder: Path) -> None:
    from yoloret_nas.export.model_card import short_number

    record = card.record
    assert record.point is not None
    ap, latency_ms = record.point
    click.echo(f"trial {record.number}: {record.architecture.short}")
    click.echo(f"AP {ap:.4f}{f', estimated {card.estimate}' if card.estimate else ''}, {latency_ms:.3f} ms")
    for name in (*card.latencies, *(name for name in card.files if name not in card.latencies)):
        tried, latency = card.proofs.get(name), card.latencies.get(name)
        parts = []
        if tried:
            apart = f"{short_number(tried.box_difference_px)} px and {short_number(tried.score_difference)} of score"
            parts.append(f"AP {tried.ap:.4f} on {tried.num_images} images of {tried.split}, {apart} from PyTorch")
        if latency:
            parts.append(f"not measured: {latency}" if isinstance(latency, str) else f"{latency.median_ms:.3f} ms")
        click.echo(f"  {name}: {'; '.join(parts) or 'not tried'}")
    where = shlex.quote(str(folder))
    click.echo(f"wrote {folder}\nnext: yoloret-nas predict {where} IMAGE.jpg   or   python3 {where}/run.py IMAGE.jpg")
