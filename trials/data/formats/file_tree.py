"""The files below a dataset's folder: which there are, which split their place names, and which image a name means."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from trials.data.dataset import DatasetError
from trials.data.images.image_file import IMAGE_SUFFIXES

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What folders, lists and files of a split are called, in lower case, and the split's name here."""

IMAGE_FOLDERS = frozenset({"jpegimages", "images", "image", "imgs", "img"})
"""What folders of images are usually called, in lower case."""

MASK_FOLDERS = frozenset({"segmentationclass", "segmentationobject", "masks", "mask", "trimaps"})
"""What folders of segmentation masks are called, in lower case: their files often have the images' names."""

_SPLIT_WORD = re.compile("|".join(sorted(SPLIT_WORDS, key=len, reverse=True)))
_READABLE = IMAGE_SUFFIXES | {".avif", ".gif", ".jfif", ".jp2", ".jpe", ".mpo", ".pgm", ".pnm", ".ppm"}
_UNREADABLE = frozenset({".cr2", ".dng", ".exr", ".heic", ".heif", ".jxl", ".nef", ".pfm", ".psd", ".raw", ".svg"})
_LEFT_BY_SYSTEMS = frozenset({"__macosx", "lost+found", "$recycle.bin", "system volume information"})
_LONGEST_NAME = 255  # bytes
_BESIDE_SPLIT_WORDS = frozenset(
    {
        "image",
        "images",
        "img",
        "imgs",
        "annotation",
        "annotations",
        "annots",
        "labels",
        "xml",
        "xmls",
        "set",
        "data",
        "obj",
        "wider",
    }
)


@dataclass(frozen=True)
class FileTree:
    """A folder and the files below it; linked folders are followed, hidden files and folders are not."""

    root: Path
    """The folder."""
    given: Path | None = None
    """The one annotation file that the user named, if it was a file."""

    @classmethod
    def at(cls, path: Path) -> "FileTree":
        """Return the tree of a folder, or of a file's folder with that file as the only annotations."""
        return cls(path.parent, path) if path.is_file() else cls(path)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All files, sorted by path."""
        return tuple(walk_files(self.root))

    @cached_property
    def images(self) -> tuple[Path, ...]:
        """All image files, sorted by path."""
        return tuple(path for suffix, path in self._suffixes if suffix in _READABLE)

    @cached_property
    def _suffixes(self) -> list[tuple[str, Path]]:
        """The files with their suffixes in lower case: each format looks for its own."""
        return [(path.suffix.lower(), path) for path in self.files]

    @cached_property
    def _split_of_folder(self) -> dict[Path, str | None]:
        """What `split_of` found: readers ask many times for each image."""
        return {}

    @cached_property
    def _images_by_stem(self) -> dict[str, list[Path]]:
        by_stem: dict[str, list[Path]] = {}
        for path in self.images:
            by_stem.setdefault(path.stem.lower(), []).append(path)
        return by_stem

    def annotations(self, *suffixes: str) -> list[Path]:
        """Return the files of these suffixes, in lower case; only the given file where the user named one."""
        if self.given is not None:
            return [self.given] if self.given.suffix.lower() in suffixes else []
        return [path for suffix, path in self._suffixes if suffix in suffixes]

    def images_of_stem(self, stem: str) -> list[Path]:
        """Return the images whose name without suffix is this, in any case."""
        return self._images_by_stem.get(stem.lower(), [])

    def depth(self, path: Path) -> int:
        """Return how many folders lie between the root and a file: 0 for a file in the root."""
        return len(path.relative_to(self.root).parts) - 1

    def split_of(self, path: Path) -> str | None:
        """Return the split that the innermost folder of a file names; None where no folder names one.

        A folder's name may hold any other words beside the split's, if a folder beside it has the same words and another
        split: ``cats_train`` and ``cats_val``, ``trainset`` and ``valset``.
        """
        folder = path.parent
        if folder not in self._split_of_folder:
            inside = [place for place in (folder, *folder.parents) if place in self._folders]
            named = (split_of_folder(place.name) or self._splits_of_folders.get(place) for place in inside)
            self._split_of_folder[folder] = next((split for split in named if split), None)
        return self._split_of_folder[folder]

    def split_of_file(self, path: Path) -> str | None:
        """Return the split that a word of an annotation file's name gives, as in ``instances_val2017``, else its folders'.

        Files beside it count as folders do for `split_of`: ``trainset.json`` and ``valset.json``.
        """
        words = re.findall(r"[a-z]+", path.stem.lower())
        stated = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
        return stated or self._splits_of_files.get(path) or self.split_of(path)

    @cached_property
    def _folders(self) -> frozenset[Path]:
        """The folders below the root that hold files, themselves or in their folders."""
        holders = {path.parent for path in self.files}
        every = holders | {parent for folder in holders for parent in folder.parents}
        return frozenset(folder for folder in every if folder != self.root and folder.is_relative_to(self.root))

    @cached_property
    def _splits_of_folders(self) -> dict[Path, str]:
        return _tell_splits_apart(self._folders)

    @cached_property
    def _splits_of_files(self) -> dict[Path, str]:
        return _tell_splits_apart(path for suffix, path in self._suffixes if suffix not in _READABLE)


def walk_files(folder: Path) -> list[Path]:
    """Return all files in a folder and below it, sorted by path.

    Linked folders are followed; a link to a folder that holds it is not. Hidden files, and what operating systems leave
    behind, are skipped.

    Raises:
        DatasetError: A folder cannot be read.
    """
    return list(_walk(folder, frozenset(_identity(parent) for parent in folder.resolve().parents)))


def is_image(path: Path) -> bool:
    """Return whether a file's suffix, in any case, is that of an image that can be read."""
    return path.suffix.lower() in _READABLE


def note_unreadable(files: Iterable[Path]) -> list[str]:
    """Return a sentence on the images among the files whose formats cannot be read, if there are any."""
    counts = Counter(path.suffix.lower() for path in files if path.suffix.lower() in _UNREADABLE)
    named = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
    return [f"images of formats that cannot be read are left out: {named}"] if counts else []


def note_only_file(file: Path, split: str, root: Path) -> str:
    """Return a sentence on a dataset's only annotation file, which is read for training though it is named for a split."""
    name = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
    return f"{name} is the only annotation file: its images are read for training, though named for {split}"


def split_of_folder(name: str) -> str | None:
    """Return the split that a folder's name stands for: ``Train``, ``valid``, ``test_images``; None for other names."""
    words = set(re.findall(r"[a-z]+", name.lower()))
    splits = {SPLIT_WORDS[word] for word in words & SPLIT_WORDS.keys()}
    return splits.pop() if len(splits) == 1 and words <= SPLIT_WORDS.keys() | _BESIDE_SPLIT_WORDS else None


def _tell_splits_apart(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the splits of paths whose names differ from that of another split beside them in the split's word alone."""
    alike: dict[tuple[Path, str, str], dict[Path, str]] = {}
    for path in paths:
        name = path.name.lower()
        for word in _SPLIT_WORD.finditer(name):
            alike.setdefault((path.parent, name[: word.start()], name[word.end() :]), {})[path] = SPLIT_WORDS[word[0]]
    found: dict[Path, set[str]] = {}
    for splits in alike.values():
        if len(set(splits.values())) > 1:
            for path, split in splits.items():
                found.setdefault(path, set()).add(split)
    return {path: splits.pop() for path, splits in found.items() if len(splits) == 1}


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Return a text file's content as UTF-8, or UTF-16 if it says so, without the byte order mark of Windows editors.

    Raises:
        UnicodeDecodeError: It is not such text, and ``errors`` is ``strict``.
    """
    content = path.read_bytes()
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, errors=errors)


def read_head(path: Path, num_bytes: int = 65536) -> bytes:
    """Return a file's first bytes, without a byte order mark; none of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(num_bytes).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return b""


def read_list(path: Path) -> list[str]:
    """Return the lines of a list of file names that are not blank, stripped; names need not be UTF-8."""
    return [line.strip() for line in read_text(path, errors="surrogateescape").splitlines() if line.strip()]


def find_below(folder: Path, place: str) -> Path | None:
    """Return what a relative path means below a folder where its parts may differ in case; None where nothing fits."""
    found = folder
    for part in PurePosixPath(place.replace("\\", "/")).parts:
        entries = [entry for entry in found.iterdir() if entry.name.lower() == part.lower()] if found.is_dir() else []
        if not entries:
            return None
        found = next((entry for entry in entries if entry.name == part), min(entries))
    return found


def file_name(text: str) -> str:
    """Return the last part of a path as any system writes it."""
    return PurePosixPath(text.strip().replace("\\", "/")).name


def is_possible_name(text: str) -> bool:
    """Return whether some file can have this path: without NUL or what cannot be encoded, and no part too long."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"\0" not in encoded and all(len(part) <= _LONGEST_NAME for part in encoded.split(b"/"))


def count_common_tail(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Return how many last parts two paths share, in any case."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    count = 0
    for one, other in pairs:
        if one.lower() != other.lower():
            break
        count += 1
    return count


def prefer_jpeg(images: Sequence[Path]) -> Sequence[Path]:
    """Return the JPEGs among images of one name in one folder, of which the others may be masks; else all of them."""
    if len({path.parent for path in images}) > 1:
        return images
    return [path for path in images if path.suffix.lower() in (".jpg", ".jpeg")] or images


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    try:
        here = _identity(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder}: the folder cannot be read: {error.strerror}") from error
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _LEFT_BY_SYSTEMS:
            continue
        path = folder / entry.name
        if entry.is_dir():
            if not _is_of_programs(path):
                yield from _walk(path, above | {here})
        elif entry.is_file() or entry.is_symlink():  # a pipe would be waited for
            yield path


def _is_of_programs(folder: Path) -> bool:
    """Return whether programs keep files there, pictures among them: this tool's searches (usually runs/), or Python's."""
    # Not by pathlib, which raises where a folder may not be entered: who reads it says so.
    return any(os.path.isfile(folder / name) for name in ("latency.db", "pyvenv.cfg"))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def num_bytes(path: Path) -> int:
    """Return the size of a file, 0 for a link to nothing."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
