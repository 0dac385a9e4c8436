"""Datasets by name: the URLs of their archives, and the paper's splits of them.

``voc`` is Pascal VOC 2007 and 2012 together: trainval divided 14 910 to 1 641 (the paper's counts), and VOC 2007's test
(4 952). ``coco`` is COCO 2017 with its own train and val (5 000). Archives are downloaded, verified and unpacked once,
into ``YOLORET_NAS_DATA`` (default ``~/.cache/yoloret-nas/data``). A broken download starts over; for a slow line, fetch
the archive into that folder by other means, such as ``wget -c``.

Source: thor.robots.ox.ac.uk/pascal/VOC and cocodataset.org; digests of VOC's archives as in torchvision.datasets.voc.
"""

import fcntl
import logging
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trials.data.data_home import data_home
from trials.data.dataset import Dataset, DatasetError, assemble_dataset, split_off_validation
from trials.data.formats.broken_items import OnBroken
from trials.data.formats.coco import read_coco
from trials.data.formats.file_tree import FileTree
from trials.data.formats.voc import read_voc

_VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"
_NUM_VOC_VAL = 1641
_TIMEOUT_S = 20.0
_CHUNK_BYTES = 2**20

ReportFetch = Callable[[str, int, int | None], None]
"""Receives the archive's name, the bytes fetched so far, and its size in bytes (None if the server does not report it)."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file to download and unpack."""

    url: str
    md5: str
    """32 hexadecimal digits."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


KNOWN: dict[str, tuple[Archive, ...]] = {
    "voc": (
        Archive(url=f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar", md5="c52e279531787c972589f7e41ab4ae64"),
        Archive(url=f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar", md5="b6e924de25625d8de591ea690078ad9f"),
        Archive(url=f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", md5="6cd6e144f989b92b3379bac3b3de84fd"),
    ),
    "coco": (
        Archive(url=f"{_COCO}/annotations/annotations_trainval2017.zip", md5="f4bbac642086de4f52a3fdda2de5fa2c"),
        Archive(url=f"{_COCO}/zips/val2017.zip", md5="442b8da7639aecaf257c1dceb8ba8c80"),
        Archive(url=f"{_COCO}/zips/train2017.zip", md5="cced6f7f71b7629ddf16f17bbcfab6b2"),
    ),
}
"""Dataset name to its archives, smallest first."""


def fetch_known(name: str, report: ReportFetch = lambda archive, done, whole: None) -> Path:
    """Return the folder of a dataset of `KNOWN`; download and unpack the archives that are missing first.

    Processes that fetch the same dataset at the same time wait for each other. An archive that lies in the folder and
    has the right digest is unpacked without a download.

    Raises:
        DatasetError: An archive cannot be fetched or unpacked, or a folder of this name is here, which may be meant.
    """
    folder = data_home() / name
    if Path(name).is_dir() and Path(name).resolve() != folder.resolve():
        raise DatasetError(
            f"{name!r} is the original dataset of this name, and also a folder here",
            hint=f"write ./{name} for the folder; for the original, run the command from another folder",
        )
    if all(_mark(folder, archive).is_file() for archive in KNOWN[name]):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for archive in KNOWN[name]:
            if not _mark(folder, archive).is_file():
                _fetch(archive, folder, name, report)
                _unpack(folder / archive.name, folder)
                _mark(folder, archive).touch()
                (folder / archive.name).unlink()
    return folder


def open_known(name: str, *, on_broken: OnBroken = "stop", scored: str | None = None) -> Dataset:
    """Open a dataset of `KNOWN` with the paper's splits; fetch it first if it is missing.

    Broken boxes are skipped and listed: the archives have the right digests, so the boxes are the originals' own. COCO's
    train2017 has two without area (in images 200365 and 550395). The arguments are those of `open_dataset`.

    Raises:
        DatasetError: It cannot be fetched, or an image is missing or broken.
    """
    folder = fetch_known(name)
    if on_broken == "stop":
        on_broken = "skip-boxes"
    if name == "coco":
        return read_coco(FileTree(folder), on_broken=on_broken, scored=scored)
    years = read_voc(FileTree(folder), on_broken=on_broken, scored=scored)
    trainval = sorted((*years.splits["train"], *years.splits["val"]), key=lambda sample: sample.name)
    train, val = split_off_validation(trainval, count=_NUM_VOC_VAL)
    return assemble_dataset(
        name,
        "voc",
        class_names=years.class_names,
        splits={"train": train, "val": val, "test": years.splits["test"]},
        left_out=years.left_out,
        notes=years.notes,
    )


def _mark(folder: Path, archive: Archive) -> Path:
    """Return the file whose presence means that the archive was unpacked."""
    return folder / f".{archive.name}.unpacked"


def _fetch(archive: Archive, folder: Path, dataset: str, report: ReportFetch) -> None:
    import pooch  # slow to import, and rarely needed

    pooch.get_logger().setLevel(logging.WARNING)  # `report` shows what it would log
    progress = _Progress(archive.name, report)
    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_S)
    try:
        pooch.retrieve(
            archive.url, known_hash=f"md5:{archive.md5}", fname=archive.name, path=folder, downloader=downloader
        )
    except (OSError, ValueError) as error:  # ValueError: the digest differs
        raise DatasetError(
            f"dataset {dataset} is not in {folder}, and {archive.url} cannot be fetched: {error}",
            hint=f"check the network and try again (the download starts over), or fetch {archive.name} into {folder} "
            "yourself, for example with wget -c",
        ) from error


class _Progress:
    """Pooch's progress-bar protocol on top of a `ReportFetch`."""

    def __init__(self, name: str, report: ReportFetch) -> None:
        self.total = 0
        """Bytes; set by pooch, 0 if the server does not report it."""
        self._name, self._report, self._done = name, report, 0

    def update(self, count: int) -> None:
        """Add bytes; pooch counts the last chunk as a full one, and the total once more at the end."""
        done = self._done + count
        self._done = min(done, self.total) if self.total else done
        self._report(self._name, self._done, self.total or None)

    def reset(self) -> None:
        """Keep the count: `update` limits it to the total."""

    def close(self) -> None:
        """Do nothing: `ReportFetch` has no end."""


def _unpack(path: Path, folder: Path) -> None:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{path} cannot be unpacked: {error}", hint="delete it and try again") from error
