"""`yoloret-nas ui`: the MLflow UI on the right store."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import click

from spaces import YoloRetError
from yoloret_nas.options.paths import UserPath
from yoloret_nas.options.values import OptionError

_LOOK_S = 0.2
"""Between two looks whether the server is up."""

_PATIENCE_S = 300.0
"""Until a server that does not answer is given up: on two busy cores it was seen to take a minute."""


_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANY_ADDRESS = ("0.0.0.0", "::", "")


@click.command()
@click.option("--dir", "root", type=UserPath(), default=Path("runs"), help="Folder of the studies.")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, help="Port on this machine.")
@click.option(
    "--host",
    default="127.0.0.1",
    help="Address to serve on. There is no password: whoever reaches it may read and change the studies.",
)
def ui(root: Path, port: int, host: str) -> None:
    """Open the MLflow UI on the store of the studies (MLFLOW_TRACKING_URI, or the one in --dir)."""
    from search.tracking.location import shown_uri, store_path, users_uri

    host = host.removeprefix("[").removesuffix("]")  # of an IPv6 address as a browser takes it
    if users_uri() is None and not store_path(root).is_file():
        raise OptionError(f"there is no study in {root} yet", hint="begin one with: yoloret-nas search --budget 50")
    shown, names = shown_uri(root), _reached_as(host)
    address = f"http://{names[0]}:{port}"
    if shown.startswith(("http://", "https://")):
        click.echo(f"the studies are on a server already: {shown}")
        return
    _check_port(host, port)
    click.echo(f"starting MLflow's server on {shown}, which takes half a minute; Ctrl-C ends it")
    from search.tracking.store import admitted, experiment_pages, tracking_uri  # imports MLflow, for seconds

    lines = [f"MLflow answers at {address}"]
    for name, pages in experiment_pages(root).items():
        lines += [f"  {name}", *(f"    {kind}: {address}{page}" for kind, page in pages.items())]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(root),  # not an argument: every user of the machine may read those
        "PYTHONSAFEPATH": "1",  # or a user's random.py in the current folder would take the place of Python's
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # two processes and half the memory; nothing here runs jobs
        "PYTHONWARNINGS": "ignore",  # of the server's libraries: nothing that a user can mend
    }
    if host not in _LOOPBACK:  # MLflow answers no other name, and takes no request for runs from a page of another
        for variable, entries in admitted(names, port).items():
            environment.setdefault(variable, ",".join(entries))
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port)]
    command += ["--uvicorn-opts", "--log-level warning"]  # no line for each request
    _serve(command, environment, is_up=partial(_answers, host, port), links="\n".join(lines))


def _serve(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    is_up: Callable[[], bool],
    links: str,
    patience_s: float = _PATIENCE_S,
) -> None:
    """Run the server until it ends, or until Ctrl-C, SIGTERM or a closed terminal ends this process.

    The links are printed once it is up, below what it prints at its start. It has processes of its own. In a session of
    their own, all of them can be ended.

    Raises:
        YoloRetError: it does not come up in time, or ends with an error.
    """
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    until = time.monotonic() + patience_s
    try:
        while server.poll() is None and not is_up():
            if time.monotonic() > until:
                raise YoloRetError(
                    f"MLflow's server does not answer after {patience_s:.0f} s, and was ended",
                    hint="what it printed is above; run the command again when the machine is less busy",
                )
            time.sleep(_LOOK_S)
        if server.poll() is None:
            click.echo(links)
        if code := server.wait():
            raise YoloRetError(
                f"MLflow's server ended with exit status {code}",
                hint="what it printed is above; --port names another port, should this one be taken",
            )
    except KeyboardInterrupt:
        return
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _reached_as(host: str) -> list[str]:
    """Return the names and addresses that a browser may know this machine by, the one for the links first.

    Args:
        host: Name or address, of IPv6 without brackets.
    """
    import socket

    if host in _LOOPBACK:
        return [_in_link(host)]
    names = [] if host in _ANY_ADDRESS else [host]
    names += [socket.gethostname(), socket.getfqdn(), f"{socket.gethostname()}.local"]
    with suppress(OSError):
        names += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)]
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))  # sends nothing: it chooses the address that leads out
            names.append(str(probe.getsockname()[0]))
    return list(dict.fromkeys(map(_in_link, names)))


def _in_link(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _answers(host: str, port: int) -> bool:
    """Return whether the server answers; it accepts connections some seconds earlier."""
    from http.client import HTTPConnection, HTTPException

    with closing(HTTPConnection(host, port, timeout=10)) as client, suppress(OSError, HTTPException):
        client.request("GET", "/health")
        client.getresponse()
        return True
    return False


def _check_port(host: str, port: int) -> None:
    """Refuse a taken port, or an address that is not this machine's, before links to it are printed."""
    import socket

    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            pass
    except OSError as error:
        is_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
        what, option = (f"port {port}", "--port") if is_port else (f"address {host}", "--host")
        raise click.UsageError(f"{what} cannot be used ({error.strerror}); choose another with {option}") from error
