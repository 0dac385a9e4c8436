"""Label Studio's JSON and JSON-MIN: one list of tasks, boxes in per cent of the image.

Of several annotations of one image the newest that is not skipped is read. Uploaded images have eight hexadecimal digits
and a hyphen before their name.

Source: labelstud.io, "Label Studio JSON format of annotated tasks"; the choice as in label_studio_sdk's ``converter.py``.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from trials.data.formats.file_tree import FileTree, file_name, is_image
from trials.data.formats.foreign.foreign_format import (
    ForeignFormat,
    ForeignImage,
    LabelledBox,
    NoBoxError,
    NoClassError,
    OtherFileError,
    has_keys,
    read_json,
    read_name,
    read_size,
)
from trials.data.formats.outlines import Xyxy, bound, bound_ellipse, bound_turned

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
_LABELS = "labels"
_VIDEOS = frozenset({".avi", ".mkv", ".mov", ".mp4", ".webm"})


def _is_it(head: bytes) -> bool:
    # Labelled tasks of either form, and tasks that nobody has labelled, which may come first by the thousand.
    is_min = has_keys(head, "original_width") and b'labels":' in head
    return has_keys(head, "from_name") or is_min or has_keys(head, "data", "annotations", "predictions")


def _read_images(path: Path, tree: FileTree) -> Iterable[ForeignImage]:
    tasks = read_json(path)
    tasks = [tasks] if isinstance(tasks, dict) else tasks
    if not isinstance(tasks, list) or not any(isinstance(task, dict) and _is_task(task) for task in tasks):
        raise OtherFileError
    for place, task in enumerate(tasks):
        if isinstance(task, dict):
            yield _read_task(task, tree)
        else:
            yield ForeignImage(name=f"task {place}", objects=None, fault="is not an object")


def _is_task(task: dict[str, Any]) -> bool:
    return isinstance(task.get("data"), dict) or bool(_min_results(task))


def _read_task(task: dict[str, Any], tree: FileTree) -> ForeignImage:
    remark = ""
    if isinstance(task.get("data"), dict):
        written = task.get("annotations", task.get("completions")) or []
        valid = [a for a in written if not (a.get("was_cancelled") or a.get("skipped"))]
        newest = max(valid, key=lambda annotation: str(annotation.get("created_at", "")), default=None)
        results = None if newest is None else newest.get("result") or []
        if len(valid) > 1:
            remark = "the newest of several annotations is read"
    else:
        results = _min_results(task)
        if not results and task.get("annotation_id") is None:
            results = None  # nobody has annotated it
    try:
        name = _image_name(task.get("data") or task, _annotated_names(results or ()), tree)
    except ValueError as error:
        return ForeignImage(name=f"task {task.get('id')}", objects=None, fault="" if results is None else str(error))
    size_hw = next((size for result in results or () if (size := _size(result))), None)
    return ForeignImage(name=name, objects=results, size_hw=size_hw, remark=remark)


def _min_results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return JSON-MIN's shapes as results: there the values lie in the task itself, under the name of the control."""
    lists = (value for value in task.values() if isinstance(value, list))
    shapes = (shape for shapes in lists for shape in shapes if isinstance(shape, dict) and "original_width" in shape)
    kinds = ((shape, next((key for key in shape if key.endswith(_LABELS)), "")) for shape in shapes)
    return [shape | {"type": kind, "value": shape} for shape, kind in kinds]


def _size(result: Any) -> tuple[int, int] | None:
    return read_size(result.get("original_height"), result.get("original_width")) if isinstance(result, dict) else None


def _annotated_names(results: Iterable[Any]) -> set[str]:
    """Return what the labelling interface calls the images that shapes are of; JSON-MIN leaves it out."""
    return {str(result["to_name"]) for result in results if isinstance(result, dict) and result.get("to_name")}


def _image_name(data: dict[str, Any], annotated: set[str], tree: FileTree) -> str:
    """Return the name of a task's image: of the ways to read what names it, the first that a file has.

    Raises:
        ValueError: The task has several images, and nothing says which of them is annotated; or none, but a video.
    """
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    names = {key: _name_of_file(text, tree) for key, text in texts.items() if is_image(Path(_place(text)))}
    if not names and (videos := [text for text in texts.values() if Path(_place(text)).suffix.lower() in _VIDEOS]):
        raise ValueError(f"it is of a video, {file_name(_place(videos[0]))}: only images are read")
    distinct = list(dict.fromkeys(names.values()))
    if len(annotated) < 2:
        there = [name for name in distinct if _is_there(name, tree)]
        named = [name for key, name in names.items() if key in annotated]
        distinct = named or (there if len(there) == 1 else distinct)
    if len(distinct) > 1:
        raise ValueError(f"it has several images, {' and '.join(distinct)}, and nothing says which one a shape is of")
    return distinct[0] if distinct else ""


def _name_of_file(text: str, tree: FileTree) -> str:
    places = [text, _place(text), _UPLOAD.sub("", file_name(_place(text)))]
    return next((place for place in places if _is_there(place, tree)), places[-1])


def _is_there(place: str, tree: FileTree) -> bool:
    return bool(tree.images_of_stem(Path(file_name(place)).stem))


def _place(url: str) -> str:
    parts = urlsplit(url)
    return parse_qs(parts.query).get("d", [unquote(parts.path)])[0]  # ?d= of files that the server reads locally


def _read_box(result: dict[str, Any], size_hw: tuple[int, int]) -> LabelledBox:
    kind, value = str(result.get("type")), result.get("value") or {}
    names = value.get(kind) or value.get(_LABELS)
    names = [names] if isinstance(names, str) else names
    if "width" not in value and "points" not in value and "radiusX" not in value:
        raise NoBoxError(kind)
    if "width" in value and "height" not in value:
        raise NoBoxError(kind)  # a key point's width is the dot's
    if not names:
        raise NoClassError(f"{kind} without a class")
    height, width = size_hw
    box = _bound_value(value, scale=(width / 100, height / 100))
    return LabelledBox(
        read_name(names[0]), box, remark="of several classes the first is read" if len(names) > 1 else ""
    )


def _bound_value(value: dict[str, Any], *, scale: tuple[float, float]) -> Xyxy:
    if "points" in value:
        return bound([(x * scale[0], y * scale[1]) for x, y in value["points"]])
    x, y = float(value["x"]) * scale[0], float(value["y"]) * scale[1]
    turn = float(value.get("rotation") or 0)
    if "radiusX" in value:
        x_radius, y_radius = float(value["radiusX"]) * scale[0], float(value["radiusY"]) * scale[1]
        return bound_ellipse((x, y), (x_radius, y_radius), turn)
    box = (x, y, x + float(value["width"]) * scale[0], y + float(value["height"]) * scale[1])
    return bound_turned(box, turn, pivot=(x, y))  # it turns rectangles about their first corner


LABEL_STUDIO = ForeignFormat(
    title="Label Studio JSON",
    suffix=".json",
    is_file_per_image=False,
    is_it=_is_it,
    read_images=_read_images,
    read_box=_read_box,
)
