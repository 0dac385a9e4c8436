"""`yoloret-nas export`: a detector of a study as files that run."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from spaces.counted import counted
from yoloret_nas.options.complete import complete_path, complete_study
from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.quantities import Milliseconds
from yoloret_nas.options.values import check_folder

if TYPE_CHECKING:
    from trials.onnx.suppressed import Suppression
    from yoloret_nas.export.model_card import Card

_PRECISIONS = ("fp32", "fp16", "int8")
_FORMATS = ("onnx", "openvino", "engine")


class _Words(click.ParamType[tuple[str, ...]]):
    """Some of a few words, with commas."""

    name = "words"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = allowed

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        words = tuple(word.strip() for word in value.split(","))
        if wrong := [word for word in words if word not in self._allowed]:
            self.fail(f"{wrong[0]!r} is none of {', '.join(self._allowed)}", param, ctx)
        return words


class _Thresholds(click.ParamType["Suppression"]):
    """Two thresholds of non-maximum suppression."""

    name = "thresholds"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> "Suppression":
        from trials.onnx.suppressed import Suppression

        try:
            score, iou = (float(word) for word in value.split(","))
            return Suppression(score_threshold=score, iou_threshold=iou)
        except ValueError:
            self.fail(f"{value!r} is not two numbers from 0 to 1, smallest score and largest IoU: 0.25,0.5", param, ctx)


@click.command()
@click.option("--study", required=True, shell_complete=complete_study, help="Which study or training.")
@click.option("--trial", type=click.IntRange(0), default=None, help="This trial.  [default: the knee of the front]")
@click.option("--best", is_flag=True, help="The most accurate of the front.")
@click.option(
    "--max-latency",
    type=Milliseconds(),
    help="The most accurate within this latency, e.g. 33ms; a bare number is milliseconds.",
)
@click.option(
    "--refit",
    type=click.IntRange(1),
    metavar="EPOCHS",
    help="Train the chosen network for so many epochs before the export; the same command resumes.",
)
@click.option("--out", type=UserPath(), default=None, help="Folder.  [default: exports/STUDY-TRIAL]")
@click.option(
    "--for",
    "device",
    default=None,
    help="The device it is for: cpu, cuda, ssh://host. cuda and boards build the engine.  [default: the study's]",
)
@click.option(
    "--format",
    "formats",
    type=_Words(_FORMATS),
    default="onnx",
    metavar=",".join(_FORMATS),
    help="Formats of its files, with commas; ONNX is always written.",
)
@click.option(
    "--precision",
    type=_Words(_PRECISIONS),
    default="fp32",
    metavar=",".join(_PRECISIONS),
    help="Number formats of its files, with commas; FP32 is always written.",
)
@click.option(
    "--nms",
    type=_Thresholds(),
    is_flag=False,
    flag_value="0.25,0.5",
    metavar="[SCORE,IOU]",
    help="Also a file with non-maximum suppression, by run.py's thresholds 0.25,0.5 or others.",
)
@click.option(
    "--data",
    default=None,
    shell_complete=complete_path,
    help="Images to try it on, and to calibrate INT8 with.  [default: the study's, where AP must be the trial's]",
)
@click.option(
    "--weights-dir",
    type=UserPath(file_okay=False),
    help="Folder of ImageNet weights, searched before any download, for --refit.",
)
@click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping.")
@click.option("--no-check", is_flag=True, help="Do not try it on images.")
@click.option("--no-measure", is_flag=True, help="Do not measure the latency of its files.")
@click.option("--register", "model_name", default=None, help="Also register it in MLflow's registry under this name.")
@click.option("--force", is_flag=True, help="Replace an export that is there already.")
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
def export(
    study: str,
    trial: int | None,
    best: bool,
    max_latency: float | None,
    refit: int | None,
    out: Path | None,
    device: str | None,
    formats: tuple[str, ...],
    precision: tuple[str, ...],
    nms: "Suppression | None",
    data: str | None,
    weights_dir: Path | None,
    skip_broken: bool,
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
        raise click.UsageError("--trial names one trial; leave out --best or --max-latency")
    if data is not None and no_check and "int8" not in precision:
        raise click.UsageError("--data names images to try it on, or to calibrate INT8 with; leave out --no-check")
    is_typed = click.get_current_context().get_parameter_source("weights_dir") is ParameterSource.COMMANDLINE
    if is_typed and refit is None:
        raise click.UsageError("--weights-dir is of a full training before the export; add --refit EPOCHS")
    if refit is not None:  # a project file may name one for other commands
        check_folder("--weights-dir", weights_dir)
    from search.strategy.accuracy.estimates import with_estimates
    from search.study.experiment import read_study_or_experiment
    from search.study.next_command import trial_commands
    from search.study.refit import read_refit
    from search.study.selection import select_trial
    from yoloret_nas.api.write_export import write_export
    from yoloret_nas.export.export_options import ExportOptions
    from yoloret_nas.terminal.console import open_console

    options = ExportOptions(
        formats=formats,  # type: ignore[arg-type]  # both are of words that were checked
        precisions=precision,  # type: ignore[arg-type]
        suppression=nms,
        device=device,
        data=data,
        skip_broken=skip_broken,
        weights_dir=weights_dir,
        is_checked=not no_check,
        is_measured=not no_measure,
        replace=force,
    )
    opened = read_study_or_experiment(root, study)
    record = select_trial(with_estimates(opened.summary), number=trial, best=best, max_latency_ms=max_latency)
    found = read_refit(opened) if refit is None else None
    for again in found.retrained if found else ():
        if found and again.trial.number == record.number:
            export_it, *_ = trial_commands(found.name, again.best.number, root=root, has_weights=True)
            ap, _ = again.best.point or (0.0, 0.0)
            click.echo(f"note: trial {record.number} was trained again for longer, to AP {ap:.4f}: {export_it}")
    done = write_export(opened, record, out, options, refit=refit, register=model_name, console=open_console())
    _print(done.card, done.folder, max_latency_ms=max_latency)
    if done.version is not None:
        where = f"models:/{model_name}/{done.version}"
        click.echo(f"registered in MLflow as {model_name}, version {done.version}: {where}")


def _print(card: "Card", folder: Path, *, max_latency_ms: float | None) -> None:
    from yoloret_nas.export.model_card import short_number, suppression_words

    record = card.record
    assert record.point is not None
    ap, latency_ms = record.point
    click.echo(f"{card.title if card.retrains else f'trial {record.number}'}: {record.architecture.short}")
    click.echo(f"AP {ap:.4f}{f', estimated {card.estimate}' if card.estimate else ''}, {latency_ms:.3f} ms")
    click.echo(f"files for {card.target.device} ({card.target.identity}), opset {card.target.opset}:")
    for name in card.all_files:
        tried, latency = card.proofs.get(name), card.latencies.get(name)
        parts = []
        if tried:
            apart = f"{short_number(tried.box_difference_px)} px and {short_number(tried.score_difference)} of score"
            parts.append(
                f"AP {tried.ap:.4f} on {counted(tried.num_images, 'image(s)')} of {tried.split}"
                f"{card.of_other_data}, {apart} from PyTorch"
            )
        elif not latency or card.found_by(name) != "not tried":
            parts.append(card.found_by(name))
        if latency:
            parts.append(f"not measured: {latency}" if isinstance(latency, str) else f"{latency.median_ms:.3f} ms")
        click.echo(f"  {name}: {'; '.join(parts)}")
    if card.suppression is not None:
        click.echo(suppression_words(card).replace("`", ""))
    if max_latency_ms is not None:
        best = card.best_within(max_latency_ms)
        click.echo(f"the most accurate file within {max_latency_ms:g} ms: {best or 'none that was tried and measured'}")
    where = shlex.quote(str(folder))
    click.echo(f"wrote {folder}\nnext: yoloret-nas predict {where} IMAGE.jpg   or   python3 {where}/run.py IMAGE.jpg")
