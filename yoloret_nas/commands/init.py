"""`yoloret-nas init`: write a project file."""

from pathlib import Path

import click

from yoloret_nas.project_file import PROJECT_FILE, TEMPLATE


@click.command()
def init() -> None:
    """Write yoloret-nas.yaml here, with every line explained."""
    path = Path(PROJECT_FILE)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise click.UsageError(f"{path} exists already; edit it, or remove it first") from error
    click.echo(f"wrote {path}; edit it, then: yoloret-nas search")
