"""How long `yoloret-nas data` takes on 5 000 images, the first time and later, in each format.

    python -m benchmarks.open_dataset [--images 5000] [--formats voc coco yolo] [--repeats 5] [--folder DIR]

Writes JPEGs of 640×480 pixels and about 110 KB with five boxes each, once for all formats (hard links), and runs the command
as a user does, in a process of its own: once with nothing remembered, then `--repeats` times. Prints the least wall-clock
and CPU time: on a shared machine the least says most.

Bars: under 60 s the first time, on two cores; under 2 s later.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

_WIDTH, _HEIGHT = 640, 480
_DETAIL = ((6, 90), (24, 40), (96, 30), (240, 25))
"""Cells in a row and their standard deviation, from coarse to fine: chosen for files of about 110 KB."""
_CLASSES = ("apple", "pear", "plum", "fig")


def main() -> None:
    """Write the datasets, run the command on each, print its times in seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--formats", nargs="+", choices=list(_WRITE), default=list(_WRITE))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the datasets here, and use those that are here")
    given = parser.parse_args()
    if given.repeats < 1:
        parser.error("--repeats is at least 1")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        for format in given.formats:
            data = folder / f"{format}-{given.images}"
            if not data.is_dir():
                _write(folder, data, format, num_images=given.images)
            memory = Path(scratch) / f"memory of {format}"
            first = _run(data, memory)
            later = [_run(data, memory) for _ in range(given.repeats)]
            wall_s, cpu_s = (min(times) for times in zip(*later, strict=True))
            print(
                f"{format:<5} first {first[0]:6.2f} s ({first[1]:6.2f} s CPU), later {wall_s:5.2f} s ({cpu_s:5.2f} s CPU)",
                flush=True,
            )
    print(f"{given.images} images, {len(os.sched_getaffinity(0))} core(s), least of {given.repeats} later runs")


def _run(data: Path, memory: Path) -> tuple[float, float]:
    """Return the wall-clock and the CPU time of the command, seconds."""
    command = [sys.executable, "-m", "yoloret_nas", "data", str(data), "--out", str(memory / "dataset.png")]
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"YOLORET_NAS_DATA": str(memory), "PYTHONPATH": str(root)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _write(folder: Path, data: Path, format: str, *, num_images: int) -> None:
    pictures = folder / f"pictures-{num_images}"
    if not pictures.is_dir():
        partial = folder / "pictures.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for number in range(num_images):
            quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
            cv2.imwrite(str(partial / f"{number:05d}.jpg"), _draw(np.random.default_rng(number)), quality)
        partial.rename(pictures)
    partial = data.with_name(f"{data.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    _WRITE[format](partial, sorted(pictures.iterdir()))
    partial.rename(data)


def _draw(rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = np.full((_HEIGHT, _WIDTH, 3), 120, np.float32)
    for cells, deviation in _DETAIL:
        noise = rng.normal(0, deviation, (cells * 3 // 4, cells, 3)).astype(np.float32)
        picture += cv2.resize(noise, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    return picture.clip(0, 255).astype(np.uint8)


def _boxes(number: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Give five objects of an image: label, left, top, width, height in pixels."""
    rng = np.random.default_rng(number)
    for label in rng.integers(0, len(_CLASSES), 5):
        width, height = (int(value) for value in rng.integers(20, 200, 2))
        yield int(label), int(rng.integers(1, _WIDTH - width)), int(rng.integers(1, _HEIGHT - height)), width, height


def _splits(images: list[Path]) -> dict[str, list[Path]]:
    return {"train": images[: len(images) * 4 // 5], "val": images[len(images) * 4 // 5 :]}


def _write_voc(data: Path, images: list[Path]) -> None:
    for split, chosen in _splits(images).items():
        for path in chosen:
            _link(path, data / "JPEGImages" / path.name)
            objects = "".join(
                f"\n  <object>\n    <name>{_CLASSES[label]}</name>\n    <pose>Unspecified</pose>\n"
                "    <truncated>0</truncated>\n    <difficult>0</difficult>\n    <bndbox>\n"
                f"      <xmin>{x}</xmin>\n      <ymin>{y}</ymin>\n"
                f"      <xmax>{x + width}</xmax>\n      <ymax>{y + height}</ymax>\n    </bndbox>\n  </object>"
                for label, x, y, width, height in _boxes(int(path.stem))
            )
            size = f"<size><width>{_WIDTH}</width><height>{_HEIGHT}</height><depth>3</depth></size>"
            text = f"<annotation>\n  <filename>{path.name}</filename>\n  {size}{objects}\n</annotation>\n"
            _write_text(data / "Annotations" / f"{path.stem}.xml", text)
        _write_text(data / "ImageSets/Main" / f"{split}.txt", "".join(f"{path.stem}\n" for path in chosen))


def _write_coco(data: Path, images: list[Path]) -> None:
    categories = [{"id": label, "name": name} for label, name in enumerate(_CLASSES, 1)]
    for split, chosen in _splits(images).items():
        entries, annotations = [], list[dict[str, Any]]()
        for path in chosen:
            _link(path, data / split / path.name)
            number = int(path.stem)
            entries.append({"id": number, "file_name": path.name, "width": _WIDTH, "height": _HEIGHT})
            for label, *box in _boxes(number):
                area = box[2] * box[3]
                known = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0}
                annotations.append(known | {"bbox": box, "area": area})
        document = {"images": entries, "annotations": annotations, "categories": categories}
        _write_text(data / "annotations" / f"instances_{split}.json", json.dumps(document))


def _write_yolo(data: Path, images: list[Path]) -> None:
    for split, chosen in _splits(images).items():
        for path in chosen:
            _link(path, data / "images" / split / path.name)
            lines = (
                f"{label} {(x + w / 2) / _WIDTH:.6f} {(y + h / 2) / _HEIGHT:.6f} {w / _WIDTH:.6f} {h / _HEIGHT:.6f}\n"
                for label, x, y, w, h in _boxes(int(path.stem))
            )
            _write_text(data / "labels" / split / f"{path.stem}.txt", "".join(lines))
    _write_text(data / "data.yaml", f"train: images/train\nval: images/val\nnames: {json.dumps(_CLASSES)}\n")


def _link(path: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    os.link(path, link)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


_WRITE = {"voc": _write_voc, "coco": _write_coco, "yolo": _write_yolo}

if __name__ == "__main__":
    main()
