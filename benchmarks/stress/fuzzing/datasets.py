"""Datasets: a folder with two images, whose annotations are broken anew for each input."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.stress.fuzzing.mutations import (
    mutate_bytes,
    mutate_json,
    mutate_text,
    mutate_tree,
    mutate_xml,
    mutate_yaml,
)
from benchmarks.stress.fuzzing.target import Attempt, check_printable
from trials.data import Dataset, open_dataset

Write = Callable[[Path, Random], None]
"""Writes the broken annotations into the dataset's folder."""
HEIGHT, WIDTH = 24, 32


def open_broken(folder: Path, write: Write, *, images: tuple[str, ...] = ("a.jpg", "b.jpg")) -> Attempt:
    """Return an attempt at opening a folder of two images with broken annotations.

    Args:
        folder: An empty one.
        write: Writes the annotations.
        images: Paths of the images in the folder.
    """
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / name)

    def attempt(rng: Random) -> None:
        write(folder, rng)
        look_at(open_dataset(str(folder), on_broken=rng.choice(("stop", "skip"))))

    return attempt


def look_at(dataset: Dataset) -> None:
    """Check what every dataset keeps to: boxes inside their images, known classes, texts that can be printed."""
    check_printable([*dataset.class_names, *dataset.left_out, *dataset.notes])
    for samples in dataset.splits.values():
        for sample in samples:
            height, width = sample.size_hw
            assert np.isfinite(sample.boxes).all()
            assert (sample.boxes >= 0).all()
            assert (sample.boxes <= np.array([width, height, width, height])).all()
            assert ((sample.labels >= 0) & (sample.labels < len(dataset.class_names))).all()
            assert len(sample.boxes) == len(sample.labels) == len(sample.ignored)


def voc(folder: Path) -> Attempt:
    """Pascal VOC: one XML file for each image, and lists of splits."""

    def write(folder: Path, rng: Random) -> None:
        (folder / "b.xml").write_text(_voc_xml("b"))
        (folder / "a.xml").write_bytes(mutate_xml(_voc_xml("a"), rng))
        (folder / "train.txt").unlink(missing_ok=True)
        if rng.random() < 0.1:
            (folder / "train.txt").write_text(mutate_text("a\nb\n", rng), errors="surrogateescape")

    return open_broken(folder, write)


def coco(folder: Path) -> Attempt:
    """COCO JSON, with and without splits, crowds and groups."""
    document = {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "width": WIDTH, "height": HEIGHT} for n, name in enumerate("ab")
        ],
        "annotations": [
            {"id": n, "image_id": n % 2, "category_id": 1 + n % 2, "bbox": [1, 2, 10, 12], "iscrowd": n % 2}
            for n in range(3)
        ],
        "categories": [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "dog"}],
    }

    def write(folder: Path, rng: Random) -> None:
        (folder / "instances.json").write_bytes(mutate_json(document, rng))

    return open_broken(folder, write)


def yolo(folder: Path) -> Attempt:
    """YOLO: label files, ``data.yaml``, lists of images, key points."""
    described = "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n"
    with_points = described + "kpt_shape: [2, 3]\n"
    listed = "train: train.txt\nval: [images/val]\nnames:\n  0: cat\n  1: dog\n"
    labels = "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.4 0.1 0.4 0.4\n"
    paths = ("images/train/a.jpg", "images/val/b.jpg")

    def write(folder: Path, rng: Random) -> None:
        yaml, text, images = rng.choice((described, described, with_points, listed)), labels, f"{paths[0]}\n"
        kind = rng.randrange(3)
        (folder / "data.yaml").write_text(mutate_yaml(yaml, rng) if kind == 0 else yaml, errors="surrogatepass")
        (folder / "train.txt").write_text(mutate_text(images, rng) if kind == 1 else images, errors="surrogatepass")
        for split, name in (("train", "a"), ("val", "b")):
            path = folder / "labels" / split / f"{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            broken = mutate_text(text, rng).encode(errors="surrogatepass") if kind == 2 else text.encode()
            path.write_bytes(mutate_bytes(broken, rng) if rng.random() < 0.1 else broken)

    return open_broken(folder, write, images=paths)


def foreign(folder: Path) -> Attempt:
    """The formats of `trials.data.formats.foreign`, one after the other."""
    attempts = []
    for name, (path, seed, images) in _FOREIGN.items():
        inside = folder / name
        inside.mkdir()
        attempts.append(open_broken(inside, _writer(path, seed), images=images))

    def attempt(rng: Random) -> None:
        rng.choice(attempts)(rng)

    return attempt


def parquet(folder: Path) -> Attempt:
    """Parquet of Hugging Face: damaged files, odd values, and schemas of other types."""
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(buffer, "PNG")
    row = {
        "image": {"bytes": buffer.getvalue().hex(), "path": "a.png"},
        "objects": {"bbox": [[1.0, 2.0, 10.0, 12.0], [0.0, 0.0, 5.0, 5.0]], "category": [0, 1], "area": [1, 2]},
    }
    features: Any = {"info": {"features": {"objects": {"category": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}}

    def table(rows: Any, metadata: bytes) -> Any:
        for one in rows:
            one["image"]["bytes"] = bytes.fromhex(one["image"]["bytes"])
        built = pyarrow.Table.from_pylist(rows)
        return built.replace_schema_metadata({b"huggingface": metadata})

    def stored(made: Any) -> bytes:
        file = io.BytesIO()
        pyarrow.parquet.write_table(made, file)
        return file.getvalue()

    def write(folder: Path, rng: Random) -> None:
        metadata = mutate_json(features, rng) if rng.random() < 0.4 else json.dumps(features).encode()
        rows = [json.loads(json.dumps(row)) for _ in range(2)]
        try:
            data = stored(table(mutate_tree(rows, rng) if rng.random() < 0.6 else rows, metadata))
        except Exception:  # no table has these values, or no file
            data = stored(table([json.loads(json.dumps(row))], metadata))
        (folder / "train.parquet").write_bytes(mutate_bytes(data, rng) if rng.random() < 0.4 else data)

    return open_broken(folder, write, images=())


def _voc_xml(name: str) -> str:
    return (
        f"<annotation>\n<filename>{name}.jpg</filename>\n"
        f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>\n"
        "<object><name>cat</name><difficult>0</difficult>\n"
        "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>21</ymax></bndbox></object>\n"
        "<object><name>dog</name>\n"
        "<bndbox><xmin>1.5</xmin><ymin>2</ymin><xmax>9</xmax><ymax>11</ymax></bndbox></object>\n</annotation>\n"
    )


def _writer(path: str, seed: Any) -> Write:
    def write(folder: Path, rng: Random) -> None:
        if not isinstance(seed, str):
            data = mutate_json(seed, rng)
        elif path.endswith(".xml"):
            data = mutate_xml(seed, rng)
        else:
            data = mutate_text(seed, rng).encode(errors="surrogatepass")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    return write


_LABELME: dict[str, Any] = {
    "version": "6.3.1",
    "flags": {},
    "shapes": [
        {"label": "cat", "points": [[1, 2], [9, 11]], "group_id": None, "shape_type": "rectangle"},
        {"label": "dog", "points": [[5, 5], [8, 8]], "group_id": 1, "shape_type": "circle"},
        {"label": "dog", "points": [[5, 5], [8, 8], [3, 4]], "group_id": 1, "shape_type": "polygon"},
    ],
    "imagePath": "a.jpg",
    "imageData": None,
    "imageHeight": HEIGHT,
    "imageWidth": WIDTH,
}
_BITMAP = "eJzrDPBz5+WS4mJgYOD19HAJAtKMQMzEwQwkP9rKNQApr0oXxxCNveNvXTgCAKAYCFU="
_SUPERVISELY = {
    "description": "",
    "size": {"height": HEIGHT, "width": WIDTH},
    "tags": [],
    "objects": [
        {"classTitle": "cat", "points": {"exterior": [[1, 2], [9, 11]], "interior": []}, "geometryType": "rectangle"},
        {"classTitle": "dog", "bitmap": {"origin": [1, 2], "data": _BITMAP}, "geometryType": "bitmap"},
    ],
}
_LABEL_STUDIO = [
    {
        "data": {"image": f"/data/local-files/?d=images/{name}.jpg"},
        "annotations": [
            {
                "created_at": "2026",
                "result": [
                    {
                        "type": kind,
                        "value": {**value, kind: ["cat"], "rotation": 10},
                        "from_name": "label",
                        "original_width": WIDTH,
                        "original_height": HEIGHT,
                    }
                    for kind, value in (
                        ("rectanglelabels", {"x": 10, "y": 10, "width": 20, "height": 20}),
                        ("polygonlabels", {"points": [[1, 2], [30, 40], [50, 10]]}),
                        ("ellipselabels", {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10}),
                    )
                ],
            }
        ],
    }
    for name in "ab"
]
_CREATEML = [
    {
        "image": f"{name}.jpg",
        "annotations": [{"label": "cat", "coordinates": {"x": 9, "y": 9, "width": 8, "height": 8}}],
    }
    for name in "ab"
]
_DATUMARO = {
    "infos": {},
    "categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}},
    "items": [
        {
            "id": name,
            "annotations": [
                {"type": "bbox", "attributes": {"is_crowd": False}, "label_id": 0, "bbox": [1, 2, 9, 9]},
                {"type": "polygon", "label_id": 1, "points": [1, 2, 9, 9, 4, 3]},
            ],
            "image": {"path": f"{name}.jpg", "size": [HEIGHT, WIDTH]},
        }
        for name in "ab"
    ],
}
_CVAT = (
    "<annotations><version>1.1</version>"
    + "".join(
        f'<image id="0" name="{name}.jpg" width="{WIDTH}" height="{HEIGHT}">'
        '<box label="cat" xtl="1.0" ytl="2.0" xbr="9" ybr="11" rotation="15"></box>\n'
        '<polygon label="dog" points="1,2;9,9;3,11"></polygon>\n'
        '<ellipse label="dog" cx="9" cy="9" rx="3" ry="4"></ellipse>\n'
        '<mask label="dog" rle="1" left="1" top="1" width="4" height="4"></mask></image>\n'
        for name in "ab"
    )
    + '<track label="cat"><box frame="0" outside="0" xtl="1" ytl="1" xbr="4" ybr="5"></box></track></annotations>'
)
_LABELME_XML = (
    "<annotation>\n<filename>a.jpg</filename>\n"
    f"<imagesize><nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize>\n"
    "<object><name>cat</name><deleted>0</deleted><polygon><pt><x>1</x><y>2</y></pt><pt><x>9</x><y>11</y></pt></polygon>"
    "</object>\n<object><name>dog</name><segm><box><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>6</ymax></box></segm>"
    "</object></annotation>"
)
_OPEN_IMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    "a,xclick,/m/01yrx,1,0.1,0.5,0.1,0.5,0,0,0,0,0\nb,xclick,/m/01yrx,1,0.1,0.5,0.1,0.5,0,0,1,0,0\n"
)
_WIDER_FACE = "a.jpg\n2\n1 2 9 9 0 0 0 0 0 0\n3 3 4 4 0 0 0 1 0 0\nb.jpg\n1\n1 2 9 9 - - - False - - cat\n"
_KITTI = "cat 0.0 0 -1 1 2 9 11 -1 -1 -1 -1 -1 -1 -1 1.0\nDontCare -1 -1 -10 1 2 9 11 -1 -1 -1 -1 -1 -1 -1\n"
_BESIDE = ("a.jpg", "b.jpg")
_FOREIGN: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "labelme": ("a.json", _LABELME, _BESIDE),
    "labelme-xml": ("a.xml", _LABELME_XML, _BESIDE),
    "cvat": ("annotations.xml", _CVAT, _BESIDE),
    "supervisely": ("ann/a.jpg.json", _SUPERVISELY, ("img/a.jpg", "img/b.jpg")),
    "label-studio": ("tasks.json", _LABEL_STUDIO, _BESIDE),
    "createml": ("annotations.json", _CREATEML, _BESIDE),
    "datumaro": ("annotations.json", _DATUMARO, _BESIDE),
    "open-images": ("boxes.csv", _OPEN_IMAGES, _BESIDE),
    "wider-face": ("wider.txt", _WIDER_FACE, _BESIDE),
    "kitti": ("a.txt", _KITTI, _BESIDE),
}
"""Format to its annotation file, a valid content, and the images."""
