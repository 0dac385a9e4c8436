"""``yoloret-nas data``: describes a dataset before hours are spent on it, and writes it in another format."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spaces.counted import counted
from yoloret_nas.options.complete import complete_path
from yoloret_nas.options.paths import UserPath

if TYPE_CHECKING:
    from rich.console import Console

    from trials.data.formats.coco_writer import Converted
    from trials.data.report import DatasetReport

_SHOWN_LEFT_OUT = 20
_PICTURE = "dataset.png"


@click.command("data")
@click.argument("data", metavar="PATH", shell_complete=complete_path)
@click.option("--skip-broken", is_flag=True, help="Leave broken items out and list them, instead of stopping.")
@click.option("--samples", type=click.IntRange(min=0), default=9, show_default=True, help="Images to draw; 0 for none.")
@click.option(
    "--out",
    type=UserPath(dir_okay=False),
    help="Where the drawn images go.  [default: dataset.png; beside the downloaded datasets where it cannot lie here]",
)
@click.option(
    "--convert",
    type=(click.Choice(["coco"]), UserPath()),
    metavar="coco OUT",
    help="Write the dataset, as it is understood here, as COCO into the new folder OUT.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def data(
    data: str, skip_broken: bool, samples: int, out: Path | None, convert: tuple[str, Path] | None, as_json: bool
) -> None:
    """Describe the dataset at PATH, draw a few of its images with their boxes, or write it as COCO.

    PATH is a folder or an annotation file in one of many formats (Pascal VOC, COCO, YOLO, CVAT, LabelMe, Label Studio,
    KITTI, Parquet and more: docs/data.md), "shapes" for the generated dataset ("shapes:train=240,val=80,size=160"), or
    voc or coco for the originals, fetched where they are missing.
    """
    from rich.console import Console

    from yoloret_nas.options.data import as_typed, fetch_data, is_word, showing_check, showing_images
    from yoloret_nas.terminal.console import progress_console

    console = Console(highlight=False)
    shown_on = progress_console() if as_json else console
    fetch_data(data, shown_on)
    from trials.data import describe_dataset, draw_samples, open_dataset
    from trials.data.dataset import SPLITS
    from trials.data.formats.coco_writer import check_apart, check_free, write_coco
    from trials.data.image_check import check_images
    from trials.data.trainable import why_untrainable

    source = None if is_word(data) else Path(data).expanduser()
    picture_path = _place_picture(out, source) if samples else None
    if convert:
        check_free(convert[1], source)
    dataset = open_dataset(data, on_broken="skip" if skip_broken else "stop")
    if convert:
        check_apart(convert[1], dataset)
    with showing_check(shown_on) as report_check:
        dataset, _, looks = check_images(dataset, splits=SPLITS, skip_broken=skip_broken, report=report_check)
    report = describe_dataset(dataset, looks)
    if not as_json:
        _print_report(report, console)
    converted = None
    if convert:
        with showing_images(shown_on, "writing") as report_written:
            converted = write_coco(dataset, convert[1], source=source, report=report_written)
    picture = draw_samples(dataset, picture_path, samples) if picture_path else None
    untrainable = why_untrainable(dataset)
    if as_json:
        written = {"picture": str(picture) if picture else None, "converted": str(convert[1]) if convert else None}
        click.echo(json.dumps(report.to_json() | written, indent=2))
        return
    if picture:
        console.print(f"Drawn images: {picture}", markup=False, soft_wrap=True)
    if converted:
        _print_converted(converted, console)
    skips = " --skip-broken" if skip_broken and not converted and report.left_out else ""  # which a copy lacks
    data = as_typed(converted.folder) if converted else data
    if untrainable:
        console.print(f"Not for a search: {untrainable}", markup=False, soft_wrap=True)
        return
    console.print(
        f"Next: yoloret-nas search --data {shlex.quote(data)}{skips} --budget 50", markup=False, soft_wrap=True
    )


def _place_picture(out: Path | None, source: Path | None) -> Path:
    """Return where to draw: not in the dataset, where some formats would take the picture for an image without objects.

    Where nobody named a place and the current folder takes no file, that is beside the downloaded datasets too.

    Raises:
        OptionError: the user named a place there, or one where nothing can be written.
    """
    from trials.data.data_home import data_home
    from yoloret_nas.options.values import OptionError, why_not_writable

    place = out or Path(_PICTURE)
    # Not by pathlib, which raises where a folder above may not be entered: opening the dataset says so.
    folder = source if source is None or os.path.isdir(source) else source.parent
    is_inside = folder is not None and place.resolve().is_relative_to(folder.resolve())
    if out is None:
        return data_home() / _PICTURE if is_inside or why_not_writable(place.parent) else place
    if is_inside:
        raise OptionError(
            f"the drawn images would lie inside the dataset: {out}",
            hint="name another place with --out, or draw none with --samples 0",
        )
    if reason := why_not_writable(out.parent):
        hint = "name another place, or draw none with --samples 0"
        raise OptionError(f"--out {out} cannot be written: {reason}", hint=hint)
    return out


def _print_report(report: DatasetReport, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.print(f"{report.name}: {report.format}, fingerprint {report.fingerprint}", markup=False)
    columns = list(report.splits)
    overview = Table("", *columns, title="Splits", title_justify="left")
    for name, values in _overview_rows(report).items():
        overview.add_row(name, *values)
    console.print(overview)
    console.print(f"Width to height of a network's input that suits them: {report.aspect}", markup=False)
    classes = Table("label", "class", *columns, title="Objects by class", title_justify="left")
    for label, name in enumerate(report.class_names):
        classes.add_row(str(label), escape(name), *(str(s.num_by_class[name]) for s in report.splits.values()))
    console.print(classes)
    for note in report.notes:
        console.print(f"Note: {note}", markup=False, soft_wrap=True)
    if report.left_out:
        console.print(f"Left out as broken: {len(report.left_out)}", markup=False)
    for entry in report.left_out[:_SHOWN_LEFT_OUT]:
        console.print(f"  {entry}", markup=False, soft_wrap=True)
    if len(report.left_out) > _SHOWN_LEFT_OUT:
        console.print(f"  and {len(report.left_out) - _SHOWN_LEFT_OUT} more (all with --json)", markup=False)


def _print_converted(converted: Converted, console: Console) -> None:
    console.print(
        f"COCO: {converted.folder}, {counted(converted.num_images, 'image(s)')}", markup=False, soft_wrap=True
    )
    if converted.rewritten:
        console.print(
            f"  {len(converted.rewritten)} of them, which other tools could turn or decode otherwise, are PNG files of the "
            f"pixels that are used here, first {converted.rewritten[0]}",
            markup=False,
            soft_wrap=True,
        )


def _overview_rows(report: DatasetReport) -> dict[str, list[str]]:
    splits = report.splits.values()
    return {
        "images": [str(s.num_images) for s in splits],
        "  without objects": [str(s.num_empty_images) for s in splits],
        "  smallest, px": ["{1}×{0}".format(*s.smallest_image_hw) for s in splits],
        "  largest, px": ["{1}×{0}".format(*s.largest_image_hw) for s in splits],
        "objects": [str(s.num_objects) for s in splits],
        "  small, under 32² px": [str(s.num_small) for s in splits],
        "  medium": [str(s.num_medium) for s in splits],
        "  large, 96² px and more": [str(s.num_large) for s in splits],
        "  shortest side, px": ["-" if s.smallest_side_px is None else f"{s.smallest_side_px:.1f}" for s in splits],
        "  median side, % of image": ["-" if s.median_share is None else f"{100 * s.median_share:.1f}" for s in splits],
        "ignored (difficult, crowd)": [str(s.num_ignored) for s in splits],
    }
