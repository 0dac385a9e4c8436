"""The dataset on a node of the cluster: by the driver's path where the node has the same data there, else a copy.

A copy travels through Ray's object store as the chunks of a tar archive and lies in the folder of downloaded datasets,
under the fingerprint, so that a node takes it once.
"""

import fcntl
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trials.data import DatasetError, open_dataset
from trials.data.data_home import data_home
from trials.data.formats.file_tree import FileTree, walk_files
from trials.data.image_check import leave_out
from trials.trial_result import TrialRequest

CHUNK_BYTES = 64 * 2**20
_PLACE_FILE = "place.txt"
_DATA = "data"


class NodeData:
    """Finds a run's dataset on this node."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}
        self._judged = 0
        """When the copy was taken that `find` has seen last."""

    def find(self, request: TrialRequest) -> str | None:
        """Return what a trial opens to have the request's dataset; None where this node lacks it."""
        key = request.dataset, request.fingerprint
        if key not in self._found:
            copy = _copy_folder(request.fingerprint)
            specs, self._judged = [request.dataset], _taken_at(copy)
            if (copy / _PLACE_FILE).is_file():
                specs.append(str(copy / _DATA / (copy / _PLACE_FILE).read_text(encoding="utf-8")))
            same = next((spec for spec in specs if _fingerprint(spec, request) == request.fingerprint), None)
            if same is None:
                return None
            self._found[key] = same
        return self._found[key]

    def receive(self, fingerprint: str, place_in_root: str, chunks: Sequence[Any]) -> None:
        """Unpack a copy of a dataset, once for all slots of this node; one that `find` has refused is damaged, and replaced.

        Args:
            fingerprint: Of the dataset without broken images.
            place_in_root: Path of what the user named below the packed folder; ``.`` for the folder.
            chunks: References to the parts of a tar archive.
        """
        import ray

        copy = _copy_folder(fingerprint)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _taken_at(copy) != self._judged:  # by another slot of this node, meanwhile
                return
            prefix = f"receiving-{fingerprint}-"
            for left in copy.parent.glob(f"{prefix}*"):  # by a process that was killed: this one holds the lock
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=copy.parent, prefix=prefix) as folder:
                whole = Path(folder) / "whole"
                whole.mkdir()
                with tempfile.TemporaryFile(dir=folder) as archive:
                    for chunk in chunks:
                        archive.write(ray.get(chunk))
                    archive.seek(0)
                    with tarfile.open(fileobj=archive) as tar:
                        tar.extractall(whole / _DATA, filter="data")
                (whole / _PLACE_FILE).write_text(place_in_root, encoding="utf-8")
                if copy.exists():
                    copy.rename(Path(folder) / "damaged")
                whole.rename(copy)


def pack(dataset: str) -> tuple[str, Iterator[bytes]]:
    """Return a dataset's place below its folder, and the folder's files as chunks of a tar archive.

    Raises:
        DatasetError: it is no folder or file of this machine.
    """
    path = Path(dataset).expanduser().absolute()
    if not path.exists():
        raise DatasetError(
            f"dataset {dataset!r} is not the same on every node of the cluster, and no folder to send there",
            hint="nodes need the package in the same version, and the same downloaded files",
        )
    root = FileTree.at(path).root
    return path.relative_to(root).as_posix(), _tar(root)


def _tar(root: Path) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", dereference=True) as tar:
        for path in walk_files(root):
            tar.add(path, arcname=path.relative_to(root).as_posix())
            if buffer.tell() >= CHUNK_BYTES:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue()


def _fingerprint(spec: str, request: TrialRequest) -> str:
    """Return the fingerprint of what a text names here; empty where it names nothing that can be read."""
    with suppress(DatasetError):  # another machine's path, or other files there: the copy is used
        dataset = open_dataset(spec, on_broken="skip" if request.skip_broken else "stop")
        return leave_out(dataset, frozenset(request.broken_images)).fingerprint
    return ""


def _taken_at(copy: Path) -> int:
    """Return when a copy was unpacked, in nanoseconds; 0 where there is none."""
    place = copy / _PLACE_FILE
    return place.stat().st_mtime_ns if place.is_file() else 0


def _copy_folder(fingerprint: str) -> Path:
    return data_home() / "cluster" / fingerprint
