"""What a foreign format consists of: how it is recognised, its images, and its boxes.

Boxes are xyxy in absolute pixels, a continuous range, as everywhere inside.
"""

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from spaces.documents import parse_json
from trials.data.formats.file_tree import FileTree, read_text
from trials.data.formats.outlines import Xyxy
from trials.data.formats.xml_file import parse_xml

ANY_CLASS = ""
"""The name of an ignored region where any object may be."""


class LabelledBox(NamedTuple):
    """One object of an image."""

    name: str
    """The class's name; `ANY_CLASS` for an ignored region that counts for every class."""
    xyxy: Xyxy
    """Pixels."""
    is_ignored: bool = False
    """Whether it is neither trained on nor scored."""
    remark: str = ""
    """What the format's reader did with the object that the user should know; the same words for the same thing."""


@dataclass(frozen=True, kw_only=True)
class ForeignImage:
    """One annotated image, as a file states it."""

    name: str
    """File name, with or without folders and suffix; empty where the file states none."""
    objects: Sequence[Any] | None
    """What the format's ``read_box`` reads, one by one; None for an image that nobody has annotated yet, or of which a fault
    leaves nothing to read."""
    size_hw: tuple[int, int] | None = None
    """Height and width, pixels; None where the file states none."""
    split: str | None = None
    """The split that the file states for this image."""
    fault: str = ""
    """What is broken about the entry as a whole."""
    remark: str = ""
    """What the format's reader did with the entry that the user should know; the same words for the same thing."""


@dataclass(frozen=True, kw_only=True)
class ForeignFormat:
    """How one format is read."""

    title: str
    """As its users call it."""
    suffix: str
    """Of its annotation files, in lower case."""
    is_file_per_image: bool
    """Whether each image has a file of its own."""
    is_it: Callable[[bytes], bool]
    """Whether the first bytes of a file are of this format."""
    read_images: Callable[[Path, FileTree], Iterable[ForeignImage]]
    """Reads a file; raises `OtherFileError` for one of another kind, and one of `FAULTS` for a damaged one."""
    read_box: Callable[[Any, tuple[int, int]], LabelledBox]
    """Reads one of an image's objects, given the image's height and width; raises `NoBoxError`, or one of `FAULTS`."""
    is_stated_first: bool = False
    """Of a format with a file for each image: whether the image's path in the file goes before the file's own name."""


class OtherFileError(Exception):
    """A file is not of the format at all."""


class NoBoxError(Exception):
    """An object is of a kind that has no box, such as a point or a line; the message names the kind."""


class NoClassError(NoBoxError):
    """A box has no class. Its image is none without objects: where it has no other box, it is left out."""


FAULTS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OSError,
    OverflowError,
    RecursionError,
    csv.Error,
)
"""What reading a damaged file or entry raises."""


def has_keys(head: bytes, *keys: str) -> bool:
    """Return whether the first bytes of a JSON file hold all of these as keys, not as values."""
    return all(re.search(rf'"{key}"\s*:'.encode(), head) for key in keys)


def read_json(path: Path) -> Any:
    """Return a JSON file's content.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise ValueError(f"the JSON is broken: {error}") from error


def read_xml(path: Path, *, root_tag: str) -> ElementTree.Element:
    """Return an XML file's root.

    Raises:
        OtherFileError: The root's tag is another one.
        ValueError: It is not XML.
    """
    root = parse_xml(path)
    if root.tag != root_tag:
        raise OtherFileError
    return root


def read_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Return a stated height and width; None where one is missing, no number, or not positive."""
    try:
        size_hw = int(float(height)), int(float(width))
    except (TypeError, ValueError, OverflowError):
        return None
    return size_hw if min(size_hw) > 0 else None


def read_name(name: Any) -> str:
    """Return a class's name without spaces around it.

    Raises:
        ValueError: There is none.
    """
    text = "" if name is None else str(name).strip()
    if not text:
        raise ValueError("has no class")
    if not isinstance(name, str | int | float) or isinstance(name, bool):
        raise ValueError(f"its class is {text[:40]!r}, no text")
    return text
