"""Folders of no format that is read: what they look like, and the tool that converts them to COCO.

Source: the names of formats are those of datumaro's command line, "Supported Data Formats".
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable

from trials.data.formats.file_tree import FileTree, read_head

_PROBED_FILES = 5
_SHOWN_SUFFIXES = 6
_BOX_LINE = re.compile(rb"\d+(\s+[-+\d.eE]+){4,}\s*")
_MOT_LINE = re.compile(rb"\d+(,[-\d.]+){6,9}\s*")

_Rule = tuple[str, str, Callable[[bytes], bool], str]


def _by_datumaro(name: str) -> str:
    # in an environment of its own: version 1.13 would put back pillow, opencv and pandas in ours
    return (
        "python -m venv converter; converter/bin/pip install 'datumaro[cli]'; "
        f"converter/bin/datum convert -if {name} -i {{folder}} -f coco -o converted -- --save-media"
    )


_RULES: tuple[_Rule, ...] = (
    (".csv", "VoTT CSV", lambda head: head.startswith(b'"image","xmin"'), _by_datumaro("vott_csv")),
    (".txt", "MOT", lambda head: bool(_MOT_LINE.fullmatch(head.split(b"\n")[0])), _by_datumaro("mot_seq")),
    (".json", "VoTT JSON", lambda head: b'"assets":' in head and b'"videoSettings":' in head, ""),
    (".json", "VGG Image Annotator's JSON", lambda head: b'"region_attributes":' in head, ""),
)
"""Suffix, the format's name, whether a file's head is of it, and the command that converts it, if one is known."""

_BY_ITS_OWN_TOOL = "export it as COCO, Pascal VOC or YOLO from the tool that wrote it"
_BY_SUFFIX = {".tfrecord": "TFRecord", ".record": "TFRecord", ".mat": "MATLAB", ".h5": "HDF5"}


def suggest_conversion(tree: FileTree) -> str:
    """Return what a folder of an unknown format looks like and what to do about it; empty for nothing that is known."""
    for suffix, name, is_it, command in _RULES:
        for path in tree.annotations(suffix)[:_PROBED_FILES]:
            if is_it(read_head(path)):
                then = f"convert it to COCO with: {command.format(folder=shlex.quote(str(tree.root)))}"
                return f"this looks like {name}, which is not read; {then if command else _BY_ITS_OWN_TOOL}"
    found = next((path.suffix.lower() for path in tree.files if path.suffix.lower() in _BY_SUFFIX), "")
    if found:
        return f"this looks like {_BY_SUFFIX[found]}, which is not read; {_BY_ITS_OWN_TOOL}"
    texts = tree.annotations(".txt")[:_PROBED_FILES]
    if tree.images and any(_BOX_LINE.fullmatch(read_head(path).split(b"\n")[0]) for path in texts):
        return "these look like YOLO label files without class names; add a classes.txt with one name a line"
    if tree.images and len(tree.images) == len(tree.files):
        return "there are images but no annotations"
    return ""


def count_suffixes(tree: FileTree) -> str:
    """Return how many files of which suffix there are, most frequent first, such as ``40 .jpg, 2 .csv``."""
    counts = Counter(path.suffix.lower() or "without suffix" for path in tree.files).most_common()
    shown = ", ".join(f"{count} {suffix}" for suffix, count in counts[:_SHOWN_SUFFIXES])
    return shown + (", ..." if len(counts) > _SHOWN_SUFFIXES else "")
