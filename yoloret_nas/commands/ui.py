"""`yoloret-nas ui`: the MLflow UI on the right store."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from yoloret_nas.options.values import OptionError


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
    from search.tracking.location import store_path, users_uri

    if users_uri() is None and not store_path(root).is_file():
        raise OptionError(f"there is no study in {root} yet", hint="begin one with: yoloret-nas search --budget 50")
    from search.tracking.store import experiment_pages, shown_uri, tracking_uri

    uri = tracking_uri(root)
    if uri.startswith(("http://", "https://")):
        click.echo(f"the studies are on a server already: {shown_uri(root)}")
        return
    _check_port(host, port)
    click.echo(f"MLflow UI of {shown_uri(root)}  (Ctrl-C ends it)")
    for name, pages in experiment_pages(root).items():
        click.echo(f"  {name}")
        for kind, page in pages.items():
            click.echo(f"    {kind}: http://{host}:{port}{page}")
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # not an argument: every user of the machine may read those
        "PYTHONSAFEPATH": "1",  # or a user's random.py in the current folder would take the place of Python's
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # two processes and half the memory; nothing here runs jobs
    }
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    if code := _serve(command, environment):
        raise click.ClickException(f"the MLflow server ended with {code}; is port {port} taken?")


def _serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the server until it ends, or until Ctrl-C, SIGTERM or a closed terminal ends this process; return its exit code.

    The server has processes of its own. In a session of their own, all of them can be ended.
    """
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, lambda number, _: sys.exit(128 + number))
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _check_port(host: str, port: int) -> None:
    """Refuse a taken port before links to it are printed."""
    import socket

    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise click.UsageError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from error
