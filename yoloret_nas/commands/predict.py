"""`yoloret-nas predict`: draw a detector's boxes on images and videos."""

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloret_nas.options.complete import complete_network

if TYPE_CHECKING:
    from yoloret_nas.predictions import Prediction


@click.command()
@click.argument("network", metavar="NETWORK", shell_complete=complete_network)
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("predictions"),
    help="Folder for the pictures; with a number after its name where it has files already.",
)
@click.option("--score", type=click.FloatRange(0, 1), default=0.25, help="Draw boxes with at least this score.")
@click.option("--save-json", type=click.Path(path_type=Path), default=None, help="Write a line of JSON for each image.")
@click.option("--save-crops", is_flag=True, help="Save each box as a picture: crops/CLASS/IMAGE-1.png.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
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
    """Draw the boxes that NETWORK finds on images, on all images of folders, and on videos.

    NETWORK is an export's folder, one of its files (exports/NAME-7/model-int8.onnx), STUDY:TRIAL, or a checkpoint.pt of a
    trial. Nothing is overwritten: each call draws in a folder of its own.
    """
    from trials.whole_file import whole_file
    from yoloret_nas.predictions import new_folder, predict_all
    from yoloret_nas.sources import open_detector

    files = _files(images)
    found: list[Prediction] = []
    with open_detector(network, root=root) as detector:
        folder = new_folder(out)
        made = predict_all(detector, files, folder, score=score, saves_crops=save_crops)
        for source, predictions in groupby(made, key=lambda one: one.source):
            group = list(predictions)
            found += group
            if not as_json:
                click.echo(_line(source, group, detector.class_names))
    lines = [{"image": one.name, "detections": one.rows} for one in found]
    if save_json is not None:
        with whole_file(save_json) as partial:
            partial.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    if as_json:
        pictures = [{**line, "picture": str(one.drawn)} for line, one in zip(lines, found, strict=True)]
        click.echo(json.dumps(pictures, indent=1))


def _line(source: Path, group: "list[Prediction]", class_names: list[str]) -> str:
    classes = [row["class"] for one in group for row in one.rows]
    counts = ", ".join(f"{classes.count(name)} {name}" for name in class_names)
    frames = f"{len(group)} frames, " if group[0].name != str(source) else ""
    return f"{source}: {frames}{counts} → {group[0].drawn}"


def _files(given: tuple[Path, ...]) -> list[Path]:
    from trials.data.file_tree import is_image  # as datasets do

    files: list[Path] = []
    for path in given:
        inside = sorted(p for p in path.iterdir() if is_image(p)) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"there is no image in {path}")
        files += inside
    return files
