"""Datasets by name: where their originals live, and the paper's splits of them.

``voc`` is Pascal VOC 2007 and 2012 together: trainval divided 14 910 to 1 641 (the paper's counts), and VOC 2007's test
(4 952). ``coco`` is COCO 2017: its train, its val (5 000). Archives are fetched with resume, verified and unpacked into
``YOLORET_NAS_DATA`` (``~/.cache/yoloret-nas/data`` where it is not set), once.

Source: thor.robots.ox.ac.uk/pascal/VOC and cocodataset.org; digests of VOC's archives as in torchvision.datasets.voc.
"""

import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spaces.download import DownloadError, fetch_file
from trials.data.broken_items import OnBroken
from trials.data.coco import find_coco_files, read_coco
from trials.data.dataset import Dataset, DatasetError, assemble_dataset, split_off_validation
from trials.data.voc import find_voc_folders, read_voc

_VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"
_NUM_VOC_VAL = 1641

ReportFetch = Callable[[str, int, int | None], None]
"""Told an archive's name, and how many bytes there are, and of how many (None where the server does not say)."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file to fetch and unpack."""

    url: str
    checksum: str
    """``md5:…``."""

    @property
    def name(self) -> str:
        """Of the file."""
        return self.url.rpartition("/")[2]


KNOWN: dict[str, tuple[Archive, ...]] = {
    "voc": (
        Archive(url=f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar", checksum="md5:c52e279531787c972589f7e41ab4ae64"),
        Archive(url=f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar", checksum="md5:b6e924de25625d8de591ea690078ad9f"),
        Archive(url=f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", checksum="md5:6cd6e144f989b92b3379bac3b3de84fd"),
    ),
    "coco": (
        Archive(
            url=f"{_COCO}/annotations/annotations_trainval2017.zip", checksum="md5:f4bbac642086de4f52a3fdda2de5fa2c"
        ),
        Archive(url=f"{_COCO}/zips/val2017.zip", checksum="md5:442b8da7639aecaf257c1dceb8ba8c80"),
        Archive(url=f"{_COCO}/zips/train2017.zip", checksum="md5:cced6f7f71b7629ddf16f17bbcfab6b2"),
    ),
}
"""Name to archives, the small ones first."""


def data_home() -> Path:
    """Give the folder fetched datasets are kept in."""
    given = os.environ.get("YOLORET_NAS_DATA")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "yoloret-nas" / "data"


def fetch_known(name: str, report: ReportFetch = lambda archive, done, whole: None) -> Path:
    """Fetch and unpack what is missing of a dataset of `KNOWN`; give its folder.

    Raises:
        DatasetError: it cannot be fetched.
    """
    folder = data_home() / name
    for archive in KNOWN[name]:
        done = folder / f".{archive.name}.unpacked"
        if done.is_file():
            continue
        path = folder / archive.name

        def heard(count: int, whole: int | None, archive: Archive = archive) -> None:
            report(archive.name, count, whole)

        try:
            fetch_file(archive.url, path, checksum=archive.checksum, report=heard)
        except DownloadError as error:
            raise DatasetError(
                f"dataset {name} is not here, and {error.message}",
                hint=f"check the network and try again (it goes on where it stopped), or put {archive.name} into {folder}",
            ) from error
        try:
            _unpack(path, folder)
        except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
            raise DatasetError(f"{path} cannot be unpacked: {error}", hint="delete it and try again") from error
        done.touch()
        path.unlink()
    return folder


def open_known(name: str, *, on_broken: OnBroken = "stop") -> Dataset:
    """Open a dataset of `KNOWN`, fetched where it is missing, with the paper's splits.

    Raises:
        DatasetError: it cannot be fetched, or is broken.
    """
    folder = fetch_known(name)
    if name == "coco":
        return read_coco(folder, find_coco_files(folder), on_broken=on_broken)
    years = read_voc(folder, find_voc_folders(folder), on_broken=on_broken)
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


def _unpack(path: Path, folder: Path) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
