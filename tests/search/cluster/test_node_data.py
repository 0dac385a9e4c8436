"""A node's dataset: the driver's path where the node has the same files, else a copy."""

import errno
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.cluster import node_data
from search.cluster.node_data import NodeData, pack
from spaces import Architecture
from trials.data import DatasetError, open_dataset
from trials.training import TrainSettings
from trials.trial_result import TrialRequest

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")


@pytest.fixture(autouse=True)
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with a folder of its own for copies; chunks are themselves instead of references."""
    monkeypatch.setenv("YOLORET_NAS_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(ray, "get", lambda chunk: chunk)


@pytest.fixture
def coco(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a COCO dataset of four noisy images, which take some space in an archive."""

    def write(name: str) -> Path:
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        random = np.random.default_rng(0)
        names = [f"{number}.png" for number in range(4)]
        for one in names:
            Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / "images" / one)
        document = {
            "images": [{"id": n, "file_name": one, "height": 32, "width": 32} for n, one in enumerate(names)],
            "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [4, 4, 9, 9 + n]} for n in range(4)],
            "categories": [{"id": 1, "name": "cat"}],
        }
        (folder / "labels.json").write_text(json.dumps(document))
        return folder

    return write


def _request(dataset: Path | str, fingerprint: str) -> TrialRequest:
    return TrialRequest(
        study_id="a study",
        number=0,
        architecture=Architecture(backbone="mobilenetv2_035", truncation=16),
        dataset=str(dataset),
        skip_broken=False,
        fingerprint=fingerprint,
        device="cpu",
        max_latency_ms=None,
        train=TrainSettings(),
        work_dir=Path("nowhere"),
        latency_cache=Path("nowhere.db"),
    )


def test_the_driver_s_path_is_used_where_the_data_are_the_same(coco: Callable[[str], Path]) -> None:
    folder = coco("data")
    request = _request(folder, open_dataset(str(folder)).fingerprint)
    assert NodeData().find(request) == str(folder)
    shapes = "shapes:train=4,val=2,size=64"
    assert NodeData().find(_request(shapes, open_dataset(shapes).fingerprint)) == shapes


@pytest.mark.parametrize("named", ["", "labels.json"])
@pytest.mark.parametrize("there", ["nothing", "other data", "forbidden"])
def test_a_node_without_the_data_takes_one_copy(
    named: str, there: str, coco: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_data, "CHUNK_BYTES", 4096)
    folder = coco("data")
    request = _request(folder / named, open_dataset(str(folder / named)).fingerprint)
    place, chunks = pack(request.dataset)
    parts = list(chunks)
    assert len(parts) > 2
    elsewhere = folder.rename(folder.with_name("the driver's"))
    exists = Path.exists

    def look(path: Path) -> bool:
        if there == "forbidden" and str(path) == request.dataset:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", look)
    if there == "other data":
        other = coco("data")
        (other / "labels.json").write_text((other / "labels.json").read_text().replace("cat", "dog"))
    node = NodeData()
    assert node.find(request) is None
    node.receive(request.fingerprint, place, parts)
    found = node.find(request)
    assert found is not None
    assert not found.startswith(str(elsewhere))
    assert open_dataset(found).fingerprint == request.fingerprint
    NodeData().receive(request.fingerprint, place, [])  # another slot of the node: the copy is there
    assert NodeData().find(request) == found


def test_a_copy_that_broke_off_is_none(coco: Callable[[str], Path], tmp_path: Path) -> None:
    folder = coco("data")
    request = _request(folder, open_dataset(str(folder)).fingerprint)
    place, chunks = pack(request.dataset)
    whole = b"".join(chunks)
    folder.rename(tmp_path / "the driver's")
    killed = tmp_path / "home" / "cluster" / f"receiving-{request.fingerprint}-killed"
    (killed / "whole").mkdir(parents=True)
    with pytest.raises(tarfile.ReadError):
        NodeData().receive(request.fingerprint, place, [whole[:5000]])
    assert NodeData().find(request) is None
    assert [path.name for path in (tmp_path / "home" / "cluster").iterdir()] == [f"{request.fingerprint}.lock"]


def test_a_damaged_copy_is_taken_anew_by_the_first_slot_that_meets_it(
    coco: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = coco("data")
    request = _request(folder, open_dataset(str(folder)).fingerprint)
    place, chunks = pack(request.dataset)
    parts = list(chunks)
    folder.rename(tmp_path / "the driver's")
    NodeData().receive(request.fingerprint, place, parts)
    copies = tmp_path / "home" / "cluster"
    (copies / request.fingerprint / "data" / "labels.json").unlink()
    first, second = NodeData(), NodeData()
    assert (first.find(request), second.find(request)) == (None, None)
    first.receive(request.fingerprint, place, parts)
    second.receive(request.fingerprint, place, [])  # it is there by then
    found = first.find(request)
    assert found is not None
    assert second.find(request) == found
    assert {path.name for path in copies.iterdir()} == {request.fingerprint, f"{request.fingerprint}.lock"}


def test_an_archive_does_not_leave_its_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry: Any = tarfile.TarInfo("../../escaped")
        tar.addfile(entry, io.BytesIO())
    with pytest.raises(tarfile.OutsideDestinationError):
        NodeData().receive("abc", ".", [buffer.getvalue()])
    assert not list(tmp_path.rglob("escaped"))


def test_what_is_no_folder_cannot_be_sent() -> None:
    with pytest.raises(DatasetError, match="is not the same on every node of the cluster"):
        pack("voc")
