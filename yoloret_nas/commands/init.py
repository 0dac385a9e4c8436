"""`yoloret-nas init`: write a project file."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from spaces.counted import counted
from yoloret_nas.options.complete import complete_path
from yoloret_nas.options.quantities import Milliseconds
from yoloret_nas.project_file import PROJECT_FILE, TEMPLATE, ProjectFileError


@click.command()
@click.option(
    "--data", default=None, shell_complete=complete_path, help="Dataset: a folder (VOC, COCO, YOLO, LabelMe, …)."
)
@click.option("--skip-broken", is_flag=True, help="Leave broken images and annotations out instead of stopping.")
@click.option("--device", default=None, help="Where latency is measured: cpu, cuda, ssh://host.")
@click.option(
    "--max-latency", type=Milliseconds(), help="Do not train what is slower, e.g. 33ms; a bare number is milliseconds."
)
def init(data: str | None, skip_broken: bool, device: str | None, max_latency: float | None) -> None:
    """Write yoloret-nas.yaml here, with every line explained.

    On a terminal it asks for what is not given: data, device and latency. Each answer is checked at once; an empty one
    leaves the line out.
    """
    path = Path(PROJECT_FILE)
    if path.exists():
        raise ProjectFileError(f"{path} exists already; edit it, or remove it first")
    is_asking = sys.stdin.isatty() and sys.stdout.isatty()
    check_data = partial(_check_data, skip_broken=skip_broken)
    answers: dict[str, str | bool] = {
        "data": _answer("dataset (a folder)", data, check_data, is_asking=is_asking),
        "skip_broken": skip_broken,
        "device": _answer("device (cpu, cuda, ssh://host)", device, _check_device, is_asking=is_asking),
        "max_latency": _answer(
            "slowest latency allowed, e.g. 33ms; a bare number is milliseconds",
            None if max_latency is None else f"{max_latency:g}ms",
            _check_latency,
            is_asking=is_asking,
        ),
    }
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_fill(TEMPLATE, {name: answer for name, answer in answers.items() if answer}))
    except FileExistsError as error:
        raise ProjectFileError(f"{path} exists already; edit it, or remove it first") from error
    click.echo(f"wrote {path}; edit it, then: yoloret-nas search")


def _answer(question: str, given: str | None, check: Callable[[str], str], *, is_asking: bool) -> str:
    """Return a checked answer, from the command line or from the user; empty for none."""
    from spaces import YoloRetError

    if given is not None:
        click.echo(check(given))
        return given
    while is_asking:
        answer = str(click.prompt(f"{question} [none]", default="", show_default=False)).strip()
        if not answer:
            return ""
        try:
            click.echo(f"  {check(answer)}")
            return answer
        except (YoloRetError, click.BadParameter) as error:
            hint = getattr(error, "hint", "")
            click.echo(f"  {error.message}{f' ({hint})' if hint else ''}")
    return ""


def _check_data(text: str, *, skip_broken: bool) -> str:
    from trials.data import open_dataset
    from yoloret_nas.options.data import fetch_data
    from yoloret_nas.terminal.console import progress_console

    fetch_data(text, progress_console())
    dataset = open_dataset(text, on_broken="skip" if skip_broken else "stop")
    counts = ", ".join(f"{len(samples)} {split}" for split, samples in dataset.splits.items())
    return f"{dataset.format}: {counts}; {counted(len(dataset.class_names), 'class(es)')}"


def _check_device(text: str) -> str:
    from contextlib import closing

    from trials.latency import DeviceAwayError
    from trials.latency.open_device import open_device

    try:
        with closing(open_device(text, patience_s=0)) as device:
            return str(device.identity())
    except DeviceAwayError as error:
        later = "or leave --device out, and add the line to the file later"
        raise DeviceAwayError(error.message, hint=f"{error.hint}; {later}") from error


def _check_latency(text: str) -> str:
    return f"at most {Milliseconds().convert(text, None, None):g} ms"


def _fill(template: str, answers: dict[str, str | bool]) -> str:
    """Return the template with its commented lines of these flags replaced by their values."""
    import yaml

    lines = []
    for line in template.splitlines():
        flag = line.removeprefix("# ").partition(":")[0]
        lines.append(yaml.safe_dump({flag: answers[flag]}).strip() if flag in answers else line)
    return "\n".join(lines) + "\n"
