"""A place for one trial on a node of the cluster: a Ray actor with the executor of local processes inside.

So a trial on a cluster is what it is on one machine: a process of its own, that ends with its slot.
"""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from search.cluster.node_data import NodeData
from search.driver.executor import Event, Finished, Progressed
from search.driver.local_executor import LocalExecutor
from trials.scratch import delete_scratch, scratch_folder
from trials.training.settings import LAST_FILE
from trials.trial_result import RESULT_FILE, TrialRequest

Files = dict[str, bytes]
"""Path below a trial's folder to content."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a slot is."""

    host: str
    """The node's name."""
    node: str
    """Ray's id of it."""
    version: str
    """Of the package there."""


class Slot:
    """Runs trials one after the other; the class of a Ray actor.

    Args:
        has_gpu: Whether its trials train on the GPU that Ray gives it, rather than on the CPU.
    """

    def __init__(self, *, has_gpu: bool) -> None:
        # To an actor that takes none, Ray leaves all GPUs of its node visible.
        self._executor = LocalExecutor(workers=1, gpus=() if has_gpu else ("",))
        self._data = NodeData()
        self._folder = scratch_folder()

    def place(self) -> Place:
        """Return where it is."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Place(host=socket.gethostname(), node=node, version=version("yoloret-nas"))

    def receive(self, fingerprint: str, place_in_root: str, chunks: Sequence[object]) -> None:
        """Take a dataset that this node lacks; see `NodeData.receive`."""
        self._data.receive(fingerprint, place_in_root, chunks)

    def start(self, request: TrialRequest, parent: bytes | None, begun: bytes | None) -> bool:
        """Start a trial.

        Args:
            request: Paths in it are the driver's.
            parent: Content of the checkpoint whose weights it inherits.
            begun: Content of the checkpoint from which its training goes on; one that this slot has is newer.

        Returns:
            False if this node lacks the dataset; nothing was started.
        """
        dataset = self._data.find(request)
        if dataset is None:
            return False
        folder = self._folder_of(request.number)
        folder.mkdir(
            exist_ok=True
        )  # the training of shared weights has the same number again after a loss, and goes on
        if begun is not None and not (folder / LAST_FILE).exists():
            (folder / LAST_FILE).write_bytes(begun)
        parent_file = None
        if parent is not None:
            parent_file = self._parent_of(request.number)
            parent_file.write_bytes(parent)
        cache = self._folder / "latency.db"
        self._executor.start(
            replace(request, dataset=dataset, work_dir=folder, parent=parent_file, latency_cache=cache)
        )
        return True

    def events(self, timeout_s: float) -> list[Event]:
        """Wait for an event that matters; of mere progress, the last message is returned when the time is up."""
        until = time.monotonic() + timeout_s
        latest: list[Event] = []
        while (left_s := until - time.monotonic()) > 0:
            for event in self._executor.events(timeout_s=left_s):
                if not isinstance(event, Progressed) or event.progress.ap is not None or event.progress.latency_ms:
                    return [*latest, event]
                latest = [event]
        return latest

    def answer(self, number: int, go_on: bool) -> None:
        """Answer a score."""
        self._executor.answer(number, go_on=go_on)

    def fetch(self, number: int) -> Files:
        """Return the files of a trial that has ended, its result last, and delete them here."""
        folder = self._folder_of(number)
        # A trial that was killed may have left a half-written one.
        paths = [path for path in folder.rglob("*") if path.is_file() and ".partial" not in path.suffixes]
        paths.sort(key=lambda path: path.name == RESULT_FILE)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        for path in (*paths, self._parent_of(number)):
            path.unlink(missing_ok=True)
        return files

    def close(self) -> list[Finished]:
        """Kill the running trial; return it if it had ended."""
        return list(self._executor.close())

    def clean(self) -> None:
        """Delete what is left of its trials."""
        delete_scratch()

    def _parent_of(self, number: int) -> Path:
        return self._folder / f"parent-{number}"

    def _folder_of(self, number: int) -> Path:
        return self._folder / str(number)
