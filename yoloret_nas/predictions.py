"""Detections on images and videos, drawn in a folder of their own."""

import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from spaces import YoloRetError
from trials.data.dataset import DatasetError
from trials.data.images.image_file import ImageFile
from trials.onnx import run
from trials.whole_file import whole_file
from yoloret_nas.export.bundle import naming_file
from yoloret_nas.options.values import OptionError

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""
CROPS_FOLDER = "crops"
_MAX_LETTERS = 60
"""Of a class in its folder's name: file systems take 255 bytes, and a letter is up to 4."""
_LONGEST_STEM = 200
"""Bytes of a picture's name, behind which come numbers, that of a frame and of a crop among them, and a suffix."""


class VideoError(YoloRetError, ValueError):
    """A video cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was found in an image, or in a frame of a video."""

    source: Path
    """The image or video."""
    name: str
    """The image's path; of a frame the video's with ``#`` and the frame's number from 0."""
    drawn: Path
    """The picture, or the video that the frame went to."""
    rows: list[dict[str, Any]]
    """Detections as JSON types, best first: ``class``, ``score``, ``box_xyxy`` in pixels."""
    num_frames: int | None
    """Frames of the video as it states them, None where it does not; 1 of an image."""


def new_folder(wanted: Path, *, is_named: bool = False) -> Path:
    """Create a folder; where there is one, another with a number after its name, so that nothing is overwritten.

    Of two calls at once each gets its own.

    Args:
        wanted: The folder.
        is_named: Whether the user named it: then an empty one is taken. So is one that is a mount point, since what lies
            beside it is lost with a container.

    Raises:
        OptionError: it cannot be made.
    """
    wanted = wanted.resolve() if wanted.name in ("", "..") else wanted  # "." has no name to put a number after
    if wanted.is_dir() and (is_named or wanted.is_mount()) and not any(wanted.iterdir()):
        return wanted
    folder, number = wanted, 2
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            folder, number = wanted.parent / f"{wanted.name}-{number}", number + 1
        except OSError as error:
            raise OptionError(
                f"cannot write to {folder}: {error.strerror}", hint="choose another folder with --out"
            ) from error


def predict_all(
    detector: run.Detector,
    sources: Sequence[Path],
    folder: Path,
    *,
    score: float,
    saves_crops: bool,
    report_broken: Callable[[YoloRetError], None],
) -> Generator[Prediction, None, None]:
    """Detect in images and videos, and draw what is found.

    Args:
        detector: An opened export.
        sources: Files; one named twice is done once.
        folder: An empty folder. Pictures are named after their images; crops go to ``crops/CLASS/IMAGE-1.png``, those of a
            video's frame to ``crops/CLASS/VIDEO-frame0-1.png``.
        score: Boxes with a score above this are kept, 0 to 1.
        saves_crops: Whether each box is saved as a picture too.
        report_broken: Called for each image and video that cannot be read, which is then left out.

    Yields:
        One for each image and each frame. Where it is closed early, or interrupted, a video keeps the frames so far.
    """
    crop_folders = {name: folder / CROPS_FOLDER / one for name, one in _name_folders(detector.class_names).items()}
    for source, drawn in _name_pictures(sources, folder).items():
        try:
            with closing(_frames(source, drawn)) as frames:
                for name, image, write, num_frames in frames:
                    with naming_file(detector.path):
                        found = detector.detect(image, score)
                    write(run.draw(image, *found, detector.class_names))
                    rows = run.rows_of(found, detector.class_names)
                    if saves_crops:
                        stem = drawn.stem + name.removeprefix(str(source)).replace("#", "-frame")
                        _save_crops(image, found[0], [crop_folders[row["class"]] for row in rows], stem=stem)
                    yield Prediction(source=source, name=name, drawn=drawn, rows=rows, num_frames=num_frames)
        except (DatasetError, VideoError) as error:
            report_broken(error)


def _frames(source: Path, drawn: Path) -> Generator[tuple[str, Picture, Any, int | None], None, None]:
    """Yield name and image of each frame, the function that writes its picture, and how many frames there are."""
    if not run.is_stream(str(source)):
        yield str(source), ImageFile(source, is_upright=True)(), lambda picture: _save(picture, drawn), 1
        return
    try:
        capture = run.open_stream(str(source))
    except ValueError as error:
        raise VideoError(str(error), hint="check that it is a video that OpenCV reads") from error
    stated = int(capture.get(run.cv2.CAP_PROP_FRAME_COUNT))
    with _film(drawn, frames_per_s=capture.get(run.cv2.CAP_PROP_FPS)) as film:
        try:
            for name, image in run.frames(str(source), capture):
                yield name, image, lambda picture: _append(film, picture), stated if stated > 0 else None
        finally:
            capture.release()
        if film.is_empty:
            raise VideoError(f"{source} has no frame that can be read")


@contextmanager
def _film(path: Path, *, frames_per_s: float) -> Iterator[run.Film]:
    """Give a film to add frames to, which is at `path` at the end of the block, also of an interrupted one."""
    interrupt: BaseException | None = None
    with whole_file(path) as partial, closing(run.Film(str(partial), frames_per_s)) as film:
        try:
            yield film
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:
            if film.is_empty:
                raise
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _append(film: run.Film, picture: Picture) -> None:
    try:
        film.add(picture)
    except ValueError as error:
        raise VideoError(str(error), hint="check the folder, or draw single frames") from error


def _save(picture: Picture, path: Path) -> None:
    with whole_file(path) as partial:
        Image.fromarray(np.asarray(picture)).save(partial)


def _save_crops(image: Picture, boxes: npt.NDArray[Any], folders: list[Path], *, stem: str) -> None:
    """Save each box in the folder of its class."""
    for number, (box, folder) in enumerate(zip(boxes, folders, strict=True), start=1):
        (x1, y1), (x2, y2) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        x1, y1 = (
            min(x1, image.shape[1] - 1),
            min(y1, image.shape[0] - 1),
        )  # a box at the border has a pixel all the same
        folder.mkdir(parents=True, exist_ok=True)
        path = run.free_path(folder, f"{stem}-{number}", ".png")  # an image may be called as a frame of a video is
        _save(image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)], Path(path))


def _name_folders(class_names: Sequence[str]) -> dict[str, str]:
    """Return a folder's name for each class, which may be any text: a name that all file systems take, each once."""
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for name in class_names:
        plain = re.sub(r"[^\w .-]", "_", name)[:_MAX_LETTERS].strip(" .") or "class"
        folder, number = plain, 2
        while folder.casefold() in taken:  # some file systems know no case
            folder, number = f"{plain}-{number}", number + 1
        folders[name] = folder
        taken.add(folder.casefold())
    return folders


def _name_pictures(sources: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return the file that each source's picture goes to, named after it, each once."""
    stems = Counter(path.stem for path in set(sources))
    drawn: dict[Path, Path] = {}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()  # the last one behind each name
    for path in dict.fromkeys(sources):
        name = run.cut(path.stem if stems[path.stem] == 1 else path.name, _LONGEST_STEM)
        suffix = ".mp4" if run.is_stream(str(path)) else ".png"
        wanted = picture = f"{name}{suffix}"
        while picture in taken:  # images of one name, in several folders
            numbers[wanted] += 1
            picture = f"{name}-{numbers[wanted] + 1}{suffix}"
        taken.add(picture)
        drawn[path] = folder / picture
    return drawn
