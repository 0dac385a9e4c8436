"""What `--data` may be, checked before anything heavy is imported, and fetched with a progress bar."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloret_nas.options.choices import KNOWN_DATASETS

if TYPE_CHECKING:
    from rich.console import Console

DATA_HELP = "Dataset: a VOC, COCO or YOLO folder, voc or coco (fetched), or generated shapes."


def is_generated(data: str) -> bool:
    """Tell whether the data is the generated dataset's name rather than a path."""
    return data.partition(":")[0] == "shapes"


def check_data(data: str) -> str:
    """Give what the user typed in its plain form.

    Raises:
        click.BadParameter: it is a path where nothing is.
    """
    if is_generated(data) or data in KNOWN_DATASETS:
        return data
    if not Path(data).exists():
        raise click.BadParameter(f"{data!r} does not exist", param_hint="--data")
    return str(Path(data))


def data_name(data: str) -> str:
    """Give a word for what the user typed: the folder's name, or the generated dataset's description."""
    word = Path(data).resolve().name if Path(data).exists() else data
    return re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-")


def fetch_data(data: str, console: "Console") -> None:
    """Fetch a dataset that was named rather than pointed at, with a progress bar; others are left alone.

    Raises:
        DatasetError: it cannot be fetched.
    """
    if data not in KNOWN_DATASETS:
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from trials.data.known_datasets import fetch_known

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        tasks: dict[str, int] = {}

        def report(archive: str, done: int, whole: int | None) -> None:
            if archive not in tasks:
                tasks[archive] = progress.add_task(archive)
            progress.update(tasks[archive], completed=done, total=whole)  # type: ignore[arg-type]

        fetch_known(data, report)
