"""`yoloret-nas ui`: the MLflow UI on the right store."""

import os
import subprocess
import sys
from pathlib import Path

import click


@click.command()
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, help="Port on this machine.")
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to serve on. There is no password: whoever reaches it may read and change the studies.",
)
def ui(root: Path, port: int, host: str) -> None:
    """Open the MLflow UI on the store of the studies (MLFLOW_TRACKING_URI, or the one in --dir)."""
    from search.tracking.store import tracking_uri

    uri = tracking_uri(root)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise click.UsageError(f"there is no study in {root} yet; begin one with: yoloret-nas search --budget 50")
    if uri.startswith(("http://", "https://")):
        click.echo(f"the studies are on a server already: {uri}")
        return
    from search.tracking.store import experiment_pages

    click.echo(f"MLflow UI of {uri}  (Ctrl-C ends it)")
    for name, page in experiment_pages(uri).items():
        click.echo(f"  {name}: http://{host}:{port}{page}")
    # Without the job runner it is two processes and half the memory, and nothing here runs jobs.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    ended = subprocess.run(command, env=environment, check=False)
    if ended.returncode not in (0, -2, 130):
        raise click.ClickException(f"the MLflow server ended with {ended.returncode}; is port {port} taken?")
