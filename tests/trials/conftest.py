"""Small datasets made on the spot, in each of the formats."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

WriteImage = Callable[..., Path]
WriteVoc = Callable[..., Path]


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    """A training sets its process's threads, which here is the process of all tests."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def bccd() -> Path:
    folder = Path(__file__).parents[2] / "../shared/data/bccd"
    if not folder.is_dir():
        pytest.skip("the blood cell images are not here")
    return folder


@pytest.fixture(scope="session")
def cards() -> Path:
    folder = Path(__file__).parents[2] / "../shared/data/cards"
    if not folder.is_dir():
        pytest.skip("the playing cards are not here")
    return folder


@pytest.fixture
def slurm_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of eight tasks, begun in a folder where another program's job left its checkpoint."""
    for name, value in {"NTASKS": "8", "JOB_ID": "12", "PROCID": "3", "LOCALID": "3", "NODEID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "hpc_ckpt_1.ckpt").write_bytes(b"of another program")
    monkeypatch.chdir(folder)


@pytest.fixture
def write_image() -> WriteImage:
    """Writes a picture of random colours and gives its path."""

    def write(path: Path, *, width: int = 64, height: int = 48, **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def write_voc(tmp_path: Path, write_image: WriteImage) -> WriteVoc:
    """Writes a VOC folder of 64×48 images; each object is (name, xmin, ymin, xmax, ymax[, difficult])."""

    def write(
        objects: Mapping[str, Sequence[tuple[object, ...]]],
        *,
        splits: Mapping[str, Sequence[str]] | None = None,
        folder: str = "",
    ) -> Path:
        root = tmp_path / "voc" / folder
        (root / "Annotations").mkdir(parents=True)
        for stem, items in objects.items():
            write_image(root / "JPEGImages" / f"{stem}.jpg")
            xml = "".join(
                f"<object><name>{name}</name><difficult>{int(bool(rest))}</difficult><bndbox><xmin>{x1}</xmin>"
                f"<ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
                for name, x1, y1, x2, y2, *rest in items
            )
            size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
            (root / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{size}{xml}</annotation>")
        for split, stems in (splits or {}).items():
            path = root / "ImageSets" / "Main" / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(stems) + "\n")
        return tmp_path / "voc"

    return write


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[..., Path]:
    """Writes one COCO JSON; images are file names of 64×48, annotations (image number, category id, xywh[, more])."""

    def write(
        name: str,
        images: Sequence[str],
        annotations: Sequence[tuple[object, ...]],
        *,
        categories: Sequence[Mapping[str, object]] = ({"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}),
    ) -> Path:
        path = tmp_path / "coco" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "images": [{"id": 100 + n, "file_name": f, "width": 64, "height": 48} for n, f in enumerate(images)],
            "annotations": [
                {"id": n, "image_id": 100 + image, "category_id": category, "bbox": box, **dict(*more)}
                for n, (image, category, box, *more) in enumerate(annotations)
            ],
            "categories": list(categories),
        }
        path.write_text(json.dumps(document))
        return path

    return write
