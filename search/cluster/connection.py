"""The connection to a Ray cluster, and what a trial takes of it."""

import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spaces import YoloRetError
from spaces.weights.imagenet import WEIGHTS_DIR

_FOR_NODES = (WEIGHTS_DIR, "YOLORET_NAS_WEIGHTS_URL")
"""Variables of the driver's environment that trials on the nodes have, too."""


_STARTED_HERE = Path("/tmp/ray/ray_current_cluster")
_ANSWER_S = 10.0
_HINT = (
    "use auto on a machine where `ray start` has run (RAY_ADDRESS=HOST:6379 names one of several), ray://HOST:10001 from "
    "elsewhere, or local"
)


class ClusterError(YoloRetError):
    """A cluster cannot be reached, or its nodes cannot run trials."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial takes of a node."""

    cpus: float
    """Cores; a whole number of at least 1, or less to have several trials share one."""
    gpus: float
    """GPUs, 0 for none; 0.25 has four trials share one."""

    def fit_into(self, whole: "Resources") -> int:
        """Return how many trials fit into so many cores and GPUs at once."""
        by_gpus = whole.gpus / self.gpus if self.gpus else float("inf")
        return int(min(whole.cpus / self.cpus, by_gpus) + 1e-9)


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a Ray cluster while the block runs.

    Args:
        address: ``local`` for one that lives on this machine as long as the block, ``auto`` for the one that this machine
            is a node of, ``ray://host:port`` for one elsewhere, by its client server.

    Raises:
        ClusterError: Ray is not installed, or there is no such cluster.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError("--cluster needs Ray, which is not installed", hint="pip install 'yoloret-nas[cluster]'")
    import ray

    if ray.is_initialized():  # by the program that searches; it is the one that ends it
        yield
        return
    _check_answers(address)
    variables = {name: os.environ[name] for name in _FOR_NODES if name in os.environ}
    # Its dashboard is a server that nobody asked for; a cluster that exists has or lacks one.
    more = {"include_dashboard": False} if address == "local" else {}
    heard = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address,
            namespace="yoloret-nas",
            runtime_env={"env_vars": variables} if variables else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **more,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:  # the last: of a token
        ray.shutdown()  # what a failed attempt leaves would break the next one of this process
        raise ClusterError(
            f"no Ray cluster at {address!r}: {str(error).strip().splitlines()[0]}",
            hint=f"{_HINT}; where something listens at the address, RAY_AUTH_MODE and ~/.ray/auth_token must be those of "
            "the cluster, and the versions of Python and Ray too",
        ) from error
    finally:
        if heard is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, heard)  # Ray's own ends the process with a status of its own
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address where nobody listens; Ray would try for minutes.

    Raises:
        ClusterError: nothing answers there.
    """
    if address == "auto":  # what `ray start` wrote on this machine, unless the user names another cluster
        address = os.environ.get("RAY_ADDRESS") or (_STARTED_HERE.read_text() if _STARTED_HERE.is_file() else "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise ClusterError(f"no Ray cluster answers at {host}:{port}: {error.strerror or error}", hint=_HINT) from error


@contextmanager
def named_losses(kind: type[YoloRetError] = ClusterError) -> Iterator[None]:
    """Say that the connection to the cluster is lost, where Ray says so: its client gives up after half a minute.

    Args:
        kind: The error to raise.

    Raises:
        ClusterError: or that of the other kind: Ray cannot be asked any more.
    """
    import grpc
    import ray

    try:
        yield
    except (ConnectionError, grpc.RpcError, ray.exceptions.RayError) as error:
        said = str(error.details() if isinstance(error, grpc.RpcError) else error).strip() or type(error).__name__
        raise kind(
            f"the connection to the cluster is lost: {said.splitlines()[0]}",
            hint="once the cluster answers again, run the same command again: it resumes",
        ) from error


@named_losses()
def whole_cluster() -> Resources:
    """Return the cores and GPUs of all nodes that are alive now."""
    import ray

    found = ray.cluster_resources()
    return Resources(cpus=found.get("CPU", 0.0), gpus=found.get("GPU", 0.0))


def last_line(error: Exception) -> str:
    """Return what an error of Ray says in the end: before that stand the process, the node and a traceback."""
    return str(error).strip().splitlines()[-1]
