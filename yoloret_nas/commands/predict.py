"""`yoloret-nas predict`: draw a detector's boxes on images and videos."""

import json
from collections.abc import Iterable
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from spaces.counted import counted
from yoloret_nas.options.complete import complete_network
from yoloret_nas.options.networks import TRAINED_FORMS, explains
from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.values import OptionError, check_file

if TYPE_CHECKING:
    from yoloret_nas.predictions import Prediction


@explains(f"NETWORK is {TRAINED_FORMS}.")
@click.command()
@click.argument("network", metavar="NETWORK", shell_complete=complete_network)
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=UserPath(exists=True))
@click.option(
    "--out",
    type=UserPath(),
    default=Path("predictions"),
    help="Folder for the pictures; with a number after its name where there is one.",
)
@click.option("--score", type=click.FloatRange(0, 1), default=0.25, help="Draw boxes with a score above this.")
@click.option("--save-json", type=UserPath(), default=None, help="Write a line of JSON for each image.")
@click.option("--save-crops", is_flag=True, help="Save each box as a picture: crops/CLASS/IMAGE-1.png.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
def predict(
    network: str,
    images: tuple[Path, ...],
    out: Path,
    score: float,
    save_json: Path | None,
    save_crops: bool,
    as_json: bool,
    root: Path,
) -> None:
    """Draw the boxes that NETWORK finds on images and videos, and on all of those in folders.

    Nothing is overwritten: each call draws in a folder of its own. An image or video that cannot be read is named and left
    out; the exit status is then 1. Ctrl-C keeps what was found so far.
    """
    from spaces import YoloRetError
    from yoloret_nas.predictions import new_folder, predict_all
    from yoloret_nas.sources import open_detector

    files = _files(images)
    if save_json is not None:
        _check_json(save_json, inputs=(*files, Path(network)), out=out)
    found: list[Prediction] = []
    num_broken = 0

    def report_broken(error: YoloRetError) -> None:
        nonlocal num_broken
        num_broken += 1
        click.echo(f"error: {error.message}{f' ({error.hint})' if error.hint else ''}", err=True)

    def note(message: str) -> None:
        click.echo(f"note: {message}", err=True)

    with open_detector(network, root=root, notice=note) as detector:
        is_named = click.get_current_context().get_parameter_source("out") is ParameterSource.COMMANDLINE
        folder = new_folder(out, is_named=is_named)
        made = predict_all(detector, files, folder, score=score, saves_crops=save_crops, report_broken=report_broken)
        try:
            with closing(made):
                for source, predictions in groupby(made, key=lambda one: one.source):
                    _take(source, predictions, found, class_names=None if as_json else detector.class_names)
        except BaseException:  # an interrupt too: what took minutes is not lost
            if found:
                _conclude(found, folder, save_json=save_json, as_json=as_json)
            raise
    _conclude(found, folder, save_json=save_json, as_json=as_json)
    if num_broken:
        raise click.exceptions.Exit(1)


def _conclude(found: "list[Prediction]", folder: Path, *, save_json: Path | None, as_json: bool) -> None:
    """Write the lines of JSON, and print what was written, or one document."""
    from trials.whole_file import whole_file
    from yoloret_nas.predictions import CROPS_FOLDER

    lines = [{"image": one.name, "detections": one.rows} for one in found]
    if save_json is not None:
        with whole_file(save_json) as partial:
            partial.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    if as_json:
        pictures = [{**line, "picture": str(one.drawn)} for line, one in zip(lines, found, strict=True)]
        click.echo(json.dumps(pictures, indent=1))
        return
    written = [path for path in (save_json, folder / CROPS_FOLDER) if path is not None and path.exists()]
    if written:
        click.echo(f"wrote {', '.join(map(str, written))}")


def _check_json(path: Path, *, inputs: tuple[Path, ...], out: Path) -> None:
    """Refuse a file that could not be written at the end, or that would take the place of an input."""
    if out.is_dir() or path.parent != out:  # else it will be there
        check_file("--save-json", path)
    if any(path.exists() and one.exists() and path.samefile(one) for one in inputs):
        raise OptionError(f"--save-json {path} is one of the inputs and would be replaced", hint="give another file")


def _take(
    source: Path, predictions: "Iterable[Prediction]", found: "list[Prediction]", *, class_names: list[str] | None
) -> None:
    """Add an image's or video's predictions to those found; of a video, which takes long, show how many frames are done.

    Args:
        source: The image or video.
        predictions: Its own.
        found: What is added to.
        class_names: For the line that is printed at the end, or at an interrupt; None for no line.
    """
    from trials.onnx import run
    from yoloret_nas.options.data import showing_images
    from yoloret_nas.terminal.console import progress_console

    is_video, begin = run.is_stream(str(source)), len(found)
    showing = showing_images(progress_console(), f"{source}: detecting in", noun="frame(s)")
    try:
        with ExitStack() as stack:
            report = stack.enter_context(showing) if is_video else None
            for one in predictions:
                if report is not None:
                    report(len(found) - begin, one.num_frames)
                found.append(one)
    finally:
        if class_names is not None and len(found) > begin:
            click.echo(_line(source, found[begin:], class_names))


def _line(source: Path, group: "list[Prediction]", class_names: list[str]) -> str:
    classes = [row["class"] for one in group for row in one.rows]
    counts = ", ".join(f"{classes.count(name)} {name}" for name in class_names if name in classes) or "no boxes"
    frames = f"{counted(len(group), 'frame(s)')}, " if group[0].name != str(source) else ""
    return f"{source}: {frames}{counts} → {group[0].drawn}"


def _files(given: tuple[Path, ...]) -> list[Path]:
    from trials.data.formats.file_tree import is_image  # as datasets do
    from trials.onnx import run

    files: list[Path] = []
    for path in given:
        inside = [path]
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if is_image(one) or one.suffix.lower() in run.VIDEOS)
        if not inside:
            raise click.UsageError(f"there is no image and no video in {path}")
        files += inside
    return files
