"""Folders of no format that is read: what they look like, and the tool that converts them to COCO.

Source: the names of formats are those of datumaro's command line, "Supported Data Formats".
"""

import re
import shlex
from collections import Counter
from collections.abc import Callable

from trials.data.formats.file_tree import FileTree, is_image, read_head
from trials.data.lfs_pointer import LFS_ADVICE, is_lfs_pointer

_PROBED_FILES = 5
_SHOWN_SUFFIXES = 6
_BOX_LINE = re.compile(rb"\d+(\s+[-+\d.eE]+){4,}\s*")
_RETINANET_LINE = re.compile(rb"[^,]+\.\w+,\d+,\d+,\d+,\d+,[^,]+")
_KERAS_LINE = re.compile(rb"\S+\.\w+( \d+,\d+,\d+,\d+,\d+)+")
_DOTA_LINE = re.compile(rb"([-\d.]+\s+){8}\S+\s+[012]")
_MOT_FILE = "gt.txt"
_MOT_LINE = re.compile(rb"\d+(,[-\d.]+){6,9}\s*")

_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"})

_Rule = tuple[str, str, Callable[[bytes], bool], str]


def _by_datumaro(name: str) -> str:
    # in an environment of its own: version 1.13 would put back pillow, opencv and pandas in ours
    return (
        "python -m venv converter; converter/bin/pip install 'datumaro[cli]'; "
        f"converter/bin/datum convert -if {name} -i {{folder}} -f coco -o converted -- --save-media"
    )


_RULES: tuple[_Rule, ...] = (
    (".csv", "VoTT CSV", lambda head: head.startswith(b'"image","xmin"'), _by_datumaro("vott_csv")),
    (
        ".csv",
        "TensorFlow's CSV",
        lambda head: head.startswith((b"filename,width,height,class", b'"filename","width"')),
        "",
    ),
    (".csv", "RetinaNet's CSV", lambda head: bool(_RETINANET_LINE.fullmatch(head.split(b"\n")[0].strip())), ""),
    (".jsonl", "Hugging Face's image folder", lambda head: b'"file_name":' in head.split(b"\n")[0], ""),
    (".ndjson", "Ultralytics' NDJSON", lambda head: b'"type": "dataset"' in head or b'"type":"dataset"' in head, ""),
    (".json", "BDD100K's JSON", lambda head: b'"box2d"' in head, ""),
    (".txt", "DOTA", lambda head: any(_DOTA_LINE.fullmatch(line.strip()) for line in head.split(b"\n")[:3]), ""),
    (".txt", "Keras' list", lambda head: bool(_KERAS_LINE.fullmatch(head.split(b"\n")[0].strip())), ""),
    (".json", "VoTT JSON", lambda head: b'"assets":' in head and b'"videoSettings":' in head, ""),
    (".json", "VGG Image Annotator's JSON", lambda head: b'"region_attributes":' in head, ""),
)
"""Suffix, the format's name, whether a file's head is of it, and the command that converts it, if one is known."""

_TEXTS = (".csv", ".json", ".txt", ".xml", ".yaml", ".yml")
_BY_ITS_OWN_TOOL = "export it as COCO, Pascal VOC or YOLO from the tool that wrote it"
_BY_SUFFIX = {".tfrecord": "TFRecord", ".record": "TFRecord", ".mat": "MATLAB", ".h5": "HDF5"}


def suggest_conversion(tree: FileTree) -> str:
    """Return what a folder of an unknown format looks like and what to do about it; empty for nothing that is known."""
    return _about_files(tree) or _about_annotations(tree) or _about_images(tree)


def _about_files(tree: FileTree) -> str:
    files = [tree.given] if tree.given is not None else list(tree.files)
    if not files:
        return "give the folder that holds the images and their annotations"
    if all(path.suffix.lower() in _ARCHIVES for path in files):
        return f"unpack {files[0].name}, and give the folder"
    if tree.given is not None and is_image(tree.given):
        return "give the folder of the images, not one of them"
    return ""


def _about_annotations(tree: FileTree) -> str:
    if pointer := next((path for path in tree.annotations(*_TEXTS)[:_PROBED_FILES] if is_lfs_pointer(path)), None):
        return f"{pointer.relative_to(tree.root).as_posix()}: {LFS_ADVICE}"
    for suffix, name, is_it, command in _RULES:
        for path in tree.annotations(suffix)[:_PROBED_FILES]:
            if is_it(read_head(path)):
                return _say(name, command, tree)
    for path in tree.annotations(".txt"):
        if path.name == _MOT_FILE and _MOT_LINE.fullmatch(read_head(path).split(b"\n")[0]):
            return _say("MOT", _by_datumaro("mot_seq"), tree)
    found = next((path.suffix.lower() for path in tree.files if path.suffix.lower() in _BY_SUFFIX), "")
    return _say(_BY_SUFFIX[found], "", tree) if found else ""


def _about_images(tree: FileTree) -> str:
    texts = tree.annotations(".txt")[:_PROBED_FILES]
    if any(_BOX_LINE.fullmatch(read_head(path).split(b"\n")[0]) for path in texts):
        if tree.images:
            return "these look like YOLO label files without class names; add a classes.txt with one name a line"
        return "these look like YOLO label files without their images: put both into one folder"
    if tree.images and len(tree.images) == len(tree.files):
        return "there are images but no annotations: label them with a tool, and export Pascal VOC, COCO or YOLO"
    return ""


def _say(name: str, command: str, tree: FileTree) -> str:
    then = f"convert it to COCO with: {command.format(folder=shlex.quote(str(tree.root)))}"
    return f"this looks like {name}, which is not read; {then if command else _BY_ITS_OWN_TOOL}"


def count_suffixes(tree: FileTree) -> str:
    """Return how many files of which suffix there are, most frequent first, such as ``40 .jpg, 2 .csv``."""
    counts = Counter(path.suffix.lower() or "without suffix" for path in tree.files).most_common()
    shown = ", ".join(f"{count} {suffix}" for suffix, count in counts[:_SHOWN_SUFFIXES])
    return shown + (", ..." if len(counts) > _SHOWN_SUFFIXES else "")
