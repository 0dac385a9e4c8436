"""The option `--data`: checked before anything heavy is imported, fetched with a progress bar."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spaces.counted import counted
from yoloret_nas.options.choices import KNOWN_DATASETS
from yoloret_nas.options.values import OptionError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

ReportImages = Callable[[int, int | None], None]
"""Receives how many images are done, and of how many, None where that is not known."""

DATA_HELP = "Dataset: a folder (VOC, COCO, YOLO, LabelMe, …), voc or coco (fetched), or generated shapes."


def is_generated(data: str) -> bool:
    """Return whether the data names the generated dataset rather than a path."""
    return data.partition(":")[0] == "shapes"


def check_data(data: str) -> str:
    """Return the data as the user gave it, in normal form.

    Raises:
        OptionError: the path does not exist, or this user may not look there.
    """
    if is_word(data):
        return data
    path = Path(data).expanduser()
    try:
        is_there = path.exists()
    except OSError as error:
        hint = "check that this user may read all of it"
        raise OptionError(f"data {data!r} cannot be read: {error.strerror}", hint=hint) from error
    if not is_there:
        raise OptionError(
            f"data {data!r} does not exist",
            hint="use a folder, an annotation file, voc, coco, or 'shapes' for a generated dataset",
        )
    return as_typed(path)


def is_word(data: str) -> bool:
    """Return whether the data is no path, but generated or fetched."""
    return is_generated(data) or data in KNOWN_DATASETS


def as_typed(data: str | Path) -> str:
    """Return data as `--data` takes them: a `Path` is a path, also where its name is a word for other data.

    >>> as_typed("voc"), as_typed(Path("voc")), as_typed(Path("shapes/")), as_typed(Path("cells"))
    ('voc', './voc', './shapes', 'cells')
    """
    return f"./{data}" if isinstance(data, Path) and is_word(str(data)) else str(data)


def data_name(data: str) -> str:
    """Return a short name: the folder's, or the generated dataset's description."""
    return name_of(Path(data).resolve().name if Path(data).exists() else data) or "data"


def name_of(text: str) -> str:
    """Return the letters and digits of a text, of any script, with dashes between them; empty where it has none.

    >>> name_of("ssh://me@nano"), name_of("blood_cells (v2)"), name_of("血液")
    ('ssh-me-nano', 'blood-cells-v2', '血液')
    """
    return re.sub(r"[\W_]+", "-", text).strip("-")


def fetch_data(data: str, console: "Console") -> None:
    """Fetch a dataset given by its known name; do nothing for a path.

    A terminal shows a progress bar, anything else a line on the error stream for each archive.

    Raises:
        DatasetError: it cannot be fetched.
    """
    if data not in KNOWN_DATASETS:
        return
    from rich.filesize import decimal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from trials.data.known_datasets import fetch_known

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        tasks: dict[str, TaskID] = {}

        def report(archive: str, done: int, whole: int | None) -> None:
            if archive not in tasks:
                tasks[archive] = progress.add_task(archive)
                if not (console.is_terminal or console.quiet):
                    click.echo(f"fetching {archive}{f' ({decimal(whole)})' if whole else ''}", err=True)
            progress.update(tasks[archive], completed=done, total=whole)

        fetch_known(data, report)


def showing_check(console: "Console") -> AbstractContextManager[ReportImages]:
    """Show how many images are decoded while the block runs, as `showing_images` does."""
    return showing_images(console, "decoding", purpose="once, to find broken ones")


@contextmanager
def showing_images(
    console: "Console", verb: str, *, purpose: str = "", noun: str = "image(s)"
) -> Iterator[ReportImages]:
    """Show how many images are done while the block runs: a progress bar on a terminal, else a line on the error stream."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    plural = counted(2, noun).removeprefix("2 ")
    if not console.is_terminal:

        def say(done: int, whole: int | None) -> None:
            if not done:
                click.echo(f"{verb} {counted(whole, noun) if whole else plural} {purpose}".rstrip(), err=True)

        yield say
        return
    columns = (
        TextColumn("{task.description}", markup=False),  # a file's name may hold any character
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{verb} {plural}", visible=False)
        yield lambda done, whole: progress.update(task, completed=done, total=whole, visible=True)
