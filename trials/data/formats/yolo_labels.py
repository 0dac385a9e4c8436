"""YOLO's label files: where an image's lies, and what its lines mean.

Legend: boxes are xyxy in shares of the image.
"""

import os.path
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from spaces.counted import counted
from trials.data.formats.broken_items import BrokenItems
from trials.data.formats.file_tree import read_text

_NORMALISED_LIMIT = 2.0  # a box may reach past its image; larger values are pixels
_ORIENTED_BOX = 8  # numbers of an oriented box's corners
_ROUNDING = 1e-3  # of coordinates as tools write them, shares of the image

_Box: TypeAlias = tuple[float, float, float, float]


@dataclass
class LabelReader:
    """Reads label files, and counts what was used otherwise than it is written."""

    num_classes: int
    num_keypoint_values: int = 0
    """Numbers behind each box, 0 without key points."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many lines were repeated, hold outlines or may hold key points, over all files."""
    lengths: set[int] = field(default_factory=set)
    """How many numbers outlines hold."""

    def read(self, path: Path, broken: BrokenItems) -> tuple[list[int], list[_Box], list[str]]:
        """Return the classes, boxes and places of a label file's objects; none where there is no file.

        The same line twice counts once, as in Ultralytics' loader.
        """
        found: dict[tuple[int, _Box], str] = {}
        for number, line in enumerate(_read_lines(path, broken), 1):
            if not line.strip():
                continue
            try:
                entry = self._parse(line)
            except ValueError as error:
                broken.add(path, f"line {number}: {error}")
                continue
            self.counts["repeated"] += entry in found
            found.setdefault(entry, f"line {number}: the box")
        return [label for label, _ in found], [box for _, box in found], list(found.values())

    def notes(self) -> list[str]:
        """Return sentences on the counts that are not zero."""
        notes = []
        if count := self.counts["outlines"]:
            notes.append(
                f"{counted(count, 'polygon(s) or oriented box(es) is|are used by its|their bounding box(es)')}"
            )
            if self.counts["poses"] == count:
                notes.append(
                    f"all of them hold {max(self.lengths)} numbers: if these are boxes with key points, "
                    "state 'kpt_shape' in the YAML file"
                )
        if count := self.counts["repeated"]:
            notes.append(
                f"{counted(count, 'label line(s) repeats|repeat another line of its|their image and was|were')} left out"
            )
        return notes

    def _parse(self, line: str) -> tuple[int, _Box]:
        first, *rest = (float(word) for word in line.split())
        if not (first.is_integer() and 0 <= first < self.num_classes):
            raise ValueError(f"unknown class {first:g}; the classes are 0 to {self.num_classes - 1}")
        if self.num_keypoint_values:
            if len(rest) not in (4, 4 + self.num_keypoint_values):
                expected = f"4, or {4 + self.num_keypoint_values} with the key points of 'kpt_shape'"
                raise ValueError(f"holds {len(rest)} numbers after the class, not {expected}")
            rest = rest[:4]
        elif len(rest) != 4 and (len(rest) < 6 or len(rest) % 2):
            raise ValueError(f"holds {len(rest)} numbers after the class, not a box of 4 or a polygon of 6 or more")
        if any(abs(value) > _NORMALISED_LIMIT for value in rest):
            raise ValueError(f"holds {max(rest, key=abs):g}: coordinates are shares of the image, from 0 to 1")
        if len(rest) == 4:
            x, y, width, height = rest
            return int(first), (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        self.counts["outlines"] += 1
        self.lengths.add(len(rest))
        self.counts["poses"] += len(self.lengths) == 1 and _may_be_pose(rest)
        return int(first), (min(rest[::2]), min(rest[1::2]), max(rest[::2]), max(rest[1::2]))


def _may_be_pose(values: list[float]) -> bool:
    """Return whether an outline may be a box and key points in it, of 2 or 3 numbers each; 0 0 is one without a label."""
    x, y, width, height, *rest = values
    return len(values) > _ORIENTED_BOX and any(
        len(rest) % step == 0
        and all(
            (left, top) == (0, 0) or (abs(left - x) <= width / 2 + _ROUNDING and abs(top - y) <= height / 2 + _ROUNDING)
            for left, top in zip(rest[::step], rest[1::step], strict=True)
        )
        for step in (2, 3)
    )


def label_path(image: Path) -> Path:
    """Return an image's label file: below ``labels`` in place of the last ``images``, in any case, else beside the image."""
    parts = list(image.with_suffix(".txt").parts if image.name else image.parts)  # a list may say / for an image
    places = [place for place, part in enumerate(parts[:-1]) if part.lower() == "images"]
    if not places:
        return Path(*parts)
    apart = (Path(*parts[: places[-1]], folder, *parts[places[-1] + 1 :]) for folder in ("labels", "Labels", "LABELS"))
    usual = next(apart)
    if os.path.isfile(usual):
        return usual
    return next((path for path in (*apart, Path(*parts)) if os.path.isfile(path)), usual)


def _read_lines(path: Path, broken: BrokenItems) -> list[str]:
    if not os.path.isfile(path):
        return []
    try:
        return read_text(path).splitlines()
    except UnicodeDecodeError as error:
        broken.add(path, f"the labels are not text: {error}")
        return []
