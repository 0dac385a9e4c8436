"""Formats that are not read: what tells them, and the tool that converts them to COCO.

Source: the formats' names in datumaro's command line are those of its documentation, "Supported Data Formats".
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from trials.data.formats.file_tree import FileTree

_PROBED_FILES = 5
_HEAD_BYTES = 65536
_SHOWN_SUFFIXES = 6
_BOX_LINE = re.compile(rb"\d+(\s+[-+\d.eE]+){4,}\s*")
_KITTI_LINE = re.compile(rb"\w+(\s+[-+\d.eE]+){14,15}\s*")
_WIDER_HEAD = re.compile(rb"[^\n]+\.jpe?g\s*\n\d+\s*\n(\d+ ){9}\d+", re.I)

_Rule = tuple[str, str, Callable[[bytes], bool], str]


def _by_datumaro(name: str) -> str:
    return f"pip install 'datumaro[cli]'; datum convert -if {name} -i {{folder}} -f coco -o converted -- --save-media"


_RULES: tuple[_Rule, ...] = (
    (".xml", "CVAT XML", lambda head: b"<annotations" in head, _by_datumaro("cvat")),
    (".xml", "LabelMe XML", lambda head: b"<annotation>" in head and b"<polygon>" in head, _by_datumaro("label_me")),
    (
        ".json",
        "LabelMe JSON",
        lambda head: b'"shapes"' in head and (b'"imagePath"' in head or b'"imageData"' in head or b'"flags"' in head),
        "pip install labelme2coco; labelme2coco {folder} --export_dir {folder}",
    ),
    (
        ".json",
        "Datumaro JSON",
        lambda head: b'"items"' in head and b'"categories"' in head,
        _by_datumaro("datumaro"),
    ),
    (".json", "Supervisely JSON", lambda head: b'"objects"' in head and b'"classTitle"' in head, ""),
    (".json", "CreateML JSON", lambda head: b'"coordinates"' in head and b'"annotations"' in head, ""),
    (".json", "Label Studio JSON", lambda head: b'"from_name"' in head or b'"rectanglelabels"' in head, ""),
    (".csv", "Open Images CSV", lambda head: head.startswith(b"ImageID,"), _by_datumaro("open_images")),
    (".txt", "KITTI", lambda head: bool(_KITTI_LINE.fullmatch(head.split(b"\n")[0])), _by_datumaro("kitti_detection")),
    (".txt", "WIDER FACE", lambda head: bool(_WIDER_HEAD.match(head)), _by_datumaro("wider_face")),
    (".parquet", "Parquet", lambda head: head.startswith(b"PAR1"), ""),
)
"""Suffix, the format's name, whether a file's head is of it, and the command that converts it, if one is known."""

_BY_ITS_OWN_TOOL = "export it as COCO, Pascal VOC or YOLO from the tool that wrote it"


def suggest_conversion(tree: FileTree) -> str:
    """Return what a folder of an unknown format looks like and what to do about it; empty for nothing that is known."""
    for suffix, name, is_it, command in _RULES:
        if any(is_it(_head(path)) for path in tree.annotations(suffix)[:_PROBED_FILES]):
            then = (
                f"convert it to COCO with: {command.format(folder=shlex.quote(str(tree.root)))}"
                if command
                else _BY_ITS_OWN_TOOL
            )
            return f"this looks like {name}, which is not read; {then}"
    texts = tree.annotations(".txt")[:_PROBED_FILES]
    if tree.images and any(_BOX_LINE.fullmatch(_head(path).split(b"\n")[0]) for path in texts):
        return "these look like YOLO label files without class names; add a classes.txt with one name a line"
    if tree.images and len(tree.images) == len(tree.files):
        return "there are images but no annotations"
    return ""


def count_suffixes(tree: FileTree) -> str:
    """Return how many files of which suffix there are, most frequent first, such as ``40 .jpg, 2 .csv``."""
    counts = Counter(path.suffix.lower() or "without suffix" for path in tree.files).most_common()
    shown = ", ".join(f"{count} {suffix}" for suffix, count in counts[:_SHOWN_SUFFIXES])
    return shown + (", ..." if len(counts) > _SHOWN_SUFFIXES else "")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
