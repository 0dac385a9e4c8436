"""Each foreign format, in the form that its own tool writes; each writer names what wrote the form it copies."""

import base64
import io
import json
import tracemalloc
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.trials.data.formats.coco_round_trip import check_round_trip
from trials.data import DatasetError, describe_dataset, open_dataset
from trials.data.formats.foreign.read_foreign import FOREIGN

Objects = Sequence[tuple[str, float, float, float, float]]
BOXES: Objects = [("red cell", 10, 5, 30, 20), ("cat", 30.5, 20.25, 40.5, 28.25)]
XYXY = [[10, 5, 30, 20], [30.5, 20.25, 40.5, 28.25]]
WIDTH, HEIGHT = 64, 48
WriteForeign = Callable[..., Path]


def _labelme(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As labelme 6.3.1's ``write_label_file``."""
    for name, objects in images.items():
        shapes = [
            {
                "label": label,
                "points": [[x1, y1], [x2, y2]],
                "group_id": None,
                "description": "",
                "shape_type": "rectangle",
                "flags": {},
                "mask": None,
            }
            for label, x1, y1, x2, y2 in objects
        ]
        document = {"version": "6.3.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None}
        _write(root / split / f"{name}.json", json.dumps(document | {"imageHeight": HEIGHT, "imageWidth": WIDTH}))


def _labelme_xml(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As datumaro 1.13.12 exports ``label_me``."""
    for name, objects in images.items():
        text = "".join(
            f"<object><name>{label}</name><deleted>0</deleted><verified>0</verified><occluded>no</occluded><date></date>"
            "<id>0</id><parts><hasparts></hasparts><ispartof></ispartof></parts><type>bounding_box</type><polygon>"
            f"<pt><x>{x1}</x><y>{y1}</y></pt><pt><x>{x2}</x><y>{y1}</y></pt><pt><x>{x2}</x><y>{y2}</y></pt>"
            f"<pt><x>{x1}</x><y>{y2}</y></pt><username></username></polygon><attributes></attributes></object>"
            for label, x1, y1, x2, y2 in objects
        )
        _write(
            root / "Annotations" / split / f"{name}.xml",
            f"<annotation>\n<filename>{name}.jpg</filename><folder>{split}</folder><source></source>"
            f"<imagesize><nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize>{text}</annotation>",
        )


def _cvat(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As datumaro 1.13.12 exports ``cvat``, and CVAT its "CVAT for images 1.1"."""
    text = "".join(
        f'<image id="{number}" name="{name}.jpg" width="{WIDTH}" height="{HEIGHT}">'
        + "".join(
            f'<box label="{label}" occluded="0" xtl="{x1:.2f}" ytl="{y1:.2f}" xbr="{x2:.2f}" ybr="{y2:.2f}" z_order="0">'
            "</box>"
            for label, x1, y1, x2, y2 in objects
        )
        + "</image>"
        for number, (name, objects) in enumerate(images.items())
    )
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task></task></meta>'
    _write(root / f"{split}.xml", f"{head}{text}</annotations>")


def _supervisely(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As supervisely's ``Project.create_dataset`` and ``add_item_np``: rectangles include their last pixel."""
    for name, objects in images.items():
        items = [
            {
                "classTitle": label,
                "description": "",
                "tags": [],
                "points": {"exterior": [[x1, y1], [x2 - 1, y2 - 1]], "interior": []},
                "geometryType": "rectangle",
                "shape": "rectangle",
            }
            for label, x1, y1, x2, y2 in objects
        ]
        document = {"description": "", "size": {"height": HEIGHT, "width": WIDTH}, "tags": [], "objects": items}
        _write(root / split / "ann" / f"{name}.jpg.json", json.dumps(document))


def _label_studio(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As label-studio-sdk 2.1.2's ``convert_coco_to_ls``."""
    tasks = [
        {
            "data": {"image": f"/data/local-files/?d=images/{name}.jpg"},
            "annotations": [{"result": [_result(*item) for item in objects], "ground_truth": False}],
        }
        for name, objects in images.items()
    ]
    _write(root / f"{split}.json", json.dumps(tasks))


def _result(label: str, x1: float, y1: float, x2: float, y2: float) -> dict[str, Any]:
    value = {"x": x1 / WIDTH * 100, "y": y1 / HEIGHT * 100}
    value |= {"width": (x2 - x1) / WIDTH * 100, "height": (y2 - y1) / HEIGHT * 100, "rotation": 0}
    return {
        "id": "d0f131ad7d",
        "type": "rectanglelabels",
        "value": value | {"rectanglelabels": [label]},
        "to_name": "image",
        "from_name": "label_rectangles",
        "image_rotation": 0,
        "original_width": WIDTH,
        "original_height": HEIGHT,
    }


def _createml(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As supervision 0.31.2's ``as_createml``, and Roboflow's export."""
    entries = [
        {
            "image": f"{name}.jpg",
            "annotations": [
                {
                    "label": label,
                    "coordinates": {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1},
                }
                for label, x1, y1, x2, y2 in objects
            ],
        }
        for name, objects in images.items()
    ]
    _write(root / split / "_annotations.createml.json", json.dumps(entries))


def _datumaro(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As datumaro 1.13.12 exports ``datumaro``."""
    labels = [{"name": name, "parent": "", "attributes": []} for name in ("cat", "red cell")]
    items = [
        {
            "id": name,
            "annotations": [
                {
                    "id": number,
                    "type": "bbox",
                    "attributes": {},
                    "group": 0,
                    "label_id": ("cat", "red cell").index(label),
                    "z_order": 0,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
                for number, (label, x1, y1, x2, y2) in enumerate(objects)
            ],
            "image": {"path": f"{name}.jpg", "size": [HEIGHT, WIDTH]},
        }
        for name, objects in images.items()
    ]
    head = {"dm_format_version": "1.0", "media_type": 2, "infos": {}, "categories": {"label": {"labels": labels}}}
    _write(root / "annotations" / f"{split}.json", json.dumps(head | {"items": items}))


def _open_images(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As the files of storage.googleapis.com/openimages: names without suffix, classes by code."""
    codes = {"cat": "/m/01yrx", "red cell": "/m/0cell"}
    rows = [
        f"{name},xclick,{codes[label]},1,{x1 / WIDTH},{x2 / WIDTH},{y1 / HEIGHT},{y2 / HEIGHT},0,0,0,0,0"
        for name, objects in images.items()
        for label, x1, y1, x2, y2 in objects
    ]
    head = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    _write(root / f"{split}-annotations-bbox.csv", "\n".join([head, *rows]))
    _write(root / "class-descriptions-boxable.csv", "".join(f"{code},{name}\n" for name, code in codes.items()))


def _wider_face(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As datumaro 1.13.12 exports ``wider_face``; the benchmark's own lines are tested below."""
    blocks = [
        f"0--Parade/{name}.jpg\n{len(objects)}\n"
        + "".join(f"{x1} {y1} {x2 - x1} {y2 - y1} - - - False - - {label}\n" for label, x1, y1, x2, y2 in objects)
        for name, objects in images.items()
    ]
    _write(root / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt", "".join(blocks))


def _kitti(root: Path, split: str, images: Mapping[str, Objects]) -> None:
    """As datumaro 1.13.12 exports ``kitti_detection``: the benchmark's columns and a score; a class may have a space."""
    for name, objects in images.items():
        lines = [f"{label} 0.0 0 -1 {x1} {y1} {x2} {y2} -1 -1 -1 -1 -1 -1 -1 1.0" for label, x1, y1, x2, y2 in objects]
        _write(root / split / "label_2" / f"{name}.txt", "\n".join(lines))


WRITERS = {
    "labelme": (_labelme, "{split}"),
    "labelme-xml": (_labelme_xml, "Images/{split}"),
    "cvat": (_cvat, "images"),
    "supervisely": (_supervisely, "{split}/img"),
    "label-studio": (_label_studio, "images"),
    "createml": (_createml, "{split}"),
    "datumaro": (_datumaro, "images/{split}"),
    "open-images": (_open_images, "{split}"),
    "wider-face": (_wider_face, "WIDER_{split}/images/0--Parade"),
    "kitti": (_kitti, "{split}/image_2"),
}
"""Each format's writer, and the folder of a split's images."""

every_format = pytest.mark.parametrize("format", WRITERS)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def write_foreign(tmp_path: Path, write_image) -> WriteForeign:
    """Writes a folder of 64×48 images: two for training, the second with the given objects, and one for validation."""

    def write(format: str, *, second: Objects = BOXES) -> Path:
        writer, folder = WRITERS[format]
        root = tmp_path / "data"
        for split, images in {"train": {"a": BOXES, "b": second}, "val": {"c": BOXES}}.items():
            writer(root, split, images)
            for name in images:
                write_image(root / folder.format(split=split) / f"{name}.jpg")
        return root

    return write


def _annotation_file(root: Path, format: str) -> Path:
    """Return the training file that holds the image b."""
    suffix = FOREIGN[format].suffix
    files = [path for path in root.rglob(f"*{suffix}") if "train" in str(path.relative_to(root))]
    return next((path for path in files if path.name.startswith("b.")), files[0])


def test_every_format_is_written_here() -> None:
    assert list(WRITERS) == list(FOREIGN)


@every_format
def test_boxes_classes_and_splits_of_each_format(format: str, write_foreign: WriteForeign) -> None:
    dataset = open_dataset(str(write_foreign(format)))
    assert dataset.format == format
    assert dataset.class_names == ("cat", "red cell")
    assert {split: [Path(s.name).name for s in samples] for split, samples in dataset.splits.items()} == {
        "train": ["a.jpg", "b.jpg"],
        "val": ["c.jpg"],
    }
    for sample in (*dataset.splits["train"], *dataset.splits["val"]):
        assert sample.boxes.round(4).tolist() == XYXY
        assert sample.labels.tolist() == [1, 0]
        assert not sample.ignored.any()
        assert sample.load().shape == (HEIGHT, WIDTH, 3)
    assert dataset.notes == ()
    assert dataset.left_out == ()


@every_format
def test_broken_box_is_named_or_left_out(format: str, write_foreign: WriteForeign) -> None:
    root = write_foreign(format, second=[*BOXES, ("cat", 100, 100, 120, 120)])
    with pytest.raises(DatasetError, match=r"b\.(jpg|json|txt|xml|jpg\.json): box 3 \(100.*lies outside its image"):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert dataset.splits["train"][1].boxes.round(4).tolist() == XYXY
    assert len(dataset.left_out) == 1


@every_format
def test_missing_image_is_named_or_left_out(format: str, write_foreign: WriteForeign) -> None:
    root = write_foreign(format)
    next(root.rglob("b.jpg")).unlink()
    with pytest.raises(DatasetError, match=r"^\S*b(\.jpg)?: the image is missing"):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert [Path(sample.name).name for sample in dataset.splits["train"] + dataset.splits["val"]] == ["a.jpg", "c.jpg"]
    assert len(dataset.left_out) == 1


@every_format
def test_truncated_file_is_named_or_left_out(format: str, write_foreign: WriteForeign) -> None:
    root = write_foreign(format)
    path = _annotation_file(root, format)
    path.write_text(path.read_text()[:-30])
    with pytest.raises(DatasetError, match=path.name) as caught:
        open_dataset(str(root))
    assert "--skip-broken" in caught.value.hint
    if FOREIGN[format].is_file_per_image:
        dataset = open_dataset(str(root), on_broken="skip")
        assert len(dataset.left_out) == 1
        assert Path(dataset.splits["train"][0].name).name == "a.jpg"


@every_format
def test_unusable_test_split_of_each_format(format: str, write_foreign: WriteForeign) -> None:
    root = write_foreign(format)
    WRITERS[format][0](root, "test", {"t": BOXES})
    dataset = open_dataset(str(root))
    assert set(dataset.splits) == {"train", "val"}
    assert any("test split is left out" in note for note in dataset.notes)


@every_format
def test_own_format_beside_a_foreign_one_is_read(format: str, write_foreign: WriteForeign) -> None:
    root = write_foreign(format)
    images = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    document = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(images)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (root / "instances.json").write_text(json.dumps(document))
    dataset = open_dataset(str(root))
    assert (dataset.format, dataset.class_names) == ("coco", ("dog",))
    assert f"annotations in the format {format} are there too: not read, coco is" in dataset.notes


@every_format
def test_each_format_written_as_coco_is_read_back(format: str, write_foreign: WriteForeign, tmp_path: Path) -> None:
    check_round_trip(open_dataset(str(write_foreign(format))), tmp_path / "out")


@pytest.mark.parametrize("format", [name for name, spec in FOREIGN.items() if not spec.is_file_per_image])
def test_annotation_file_instead_of_a_folder(format: str, write_foreign: WriteForeign) -> None:
    root = write_foreign(format)
    dataset = open_dataset(str(_annotation_file(root, format)))
    assert dataset.format == format
    assert sorted(Path(s.name).name for samples in dataset.splits.values() for s in samples) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("format", [name for name, spec in FOREIGN.items() if not spec.is_file_per_image])
@pytest.mark.parametrize("is_given", [False, True])
def test_only_annotation_file_is_for_training_whatever_its_name(
    format: str, is_given: bool, write_foreign: WriteForeign, write_image
) -> None:
    root = write_foreign(format)
    writer, folder = WRITERS[format]
    path = _annotation_file(root, format)
    path.unlink()
    writer(root, "val", {"c": BOXES, "d": BOXES})
    write_image(root / folder.format(split="val") / "d.jpg")
    if "{split}" in folder:
        write_image(root / folder.format(split="train") / "d.jpg")
    (val,) = [path for path in root.rglob(f"*{FOREIGN[format].suffix}") if "val" in str(path.relative_to(root))]
    dataset = open_dataset(str(val if is_given else root))
    assert sorted(Path(s.name).name for samples in dataset.splits.values() for s in samples) == ["c.jpg", "d.jpg"]
    assert not any("train/" in sample.name for samples in dataset.splits.values() for sample in samples)
    is_named = not (format == "createml" and is_given)  # the name is that of the folder, which is the dataset's then
    assert any(note.endswith("read for training, though named for val") for note in dataset.notes) == is_named
    if is_named:
        scored = open_dataset(str(val if is_given else root), scored="val")
        assert {split: len(samples) for split, samples in scored.splits.items()} == {"val": 2}
        assert not any("for training" in note for note in scored.notes)


@pytest.mark.parametrize("format", [name for name, spec in FOREIGN.items() if not spec.is_file_per_image])
def test_files_of_the_splits_that_no_training_needs(format: str, write_foreign: WriteForeign, write_image) -> None:
    root = write_foreign(format)
    writer, folder = WRITERS[format]
    _annotation_file(root, format).unlink()
    writer(root, "test", {"t": BOXES})
    write_image(root / folder.format(split="test") / "t.jpg")
    assert sorted(open_dataset(str(root), scored="test").splits) == ["test", "val"]
    with pytest.raises(DatasetError, match="no training split; found val, test"):
        open_dataset(str(root))


@every_format
def test_odd_names_byte_order_marks_and_line_ends(format: str, write_foreign: WriteForeign, tmp_path: Path) -> None:
    root = write_foreign(format).rename(tmp_path / "ünï %20 a?b's")
    for path in root.rglob(f"*{FOREIGN[format].suffix}"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    dataset = open_dataset(str(root))
    assert [sample.boxes.round(4).tolist() for sample in dataset.splits["train"]] == [XYXY, XYXY]


def _open_one(root: Path, write_image, *images: str) -> Any:
    """Return the dataset of a folder that gets these images."""
    for image in images:
        write_image(root / image)
    return open_dataset(str(root))


def _all_boxes(dataset: Any) -> dict[str, list[list[float]]]:
    samples = [sample for samples in dataset.splits.values() for sample in samples]
    return {Path(sample.name).name: sample.boxes.round(3).tolist() for sample in samples}


def test_labelme_shapes_and_groups(tmp_path: Path, write_image) -> None:
    def shape(
        kind: str | None, *points: list[float], group: int | None = None, label: str = "cat"
    ) -> dict[str, object]:
        return {"label": label, "points": points, "group_id": group, "shape_type": kind, "flags": {}}

    shapes = [
        shape("polygon", [1, 2], [9, 2], [5, 12]),
        shape(None, [2, 2], [9, 2], [5, 12]),
        shape("circle", [20, 20], [23, 24]),
        shape("mask", [30, 10], [39, 19]),
        shape("rectangle", [40, 30], [30, 20]),
        shape("polygon", [1, 30], [5, 30], [5, 40], group=7),
        shape("polygon", [10, 30], [15, 30], [15, 45], group=7),
        shape("point", [1, 1]),
        shape("line", [1, 1], [5, 5]),
        shape("point", [2, 2]),
    ]
    for name in "ab":
        document = {"flags": {}, "shapes": shapes if name == "a" else [], "imagePath": f"..\\img\\{name}.jpg"}
        _write(tmp_path / f"train/json/{name}.json", json.dumps(document | {"imageData": None}))
    dataset = _open_one(tmp_path, write_image, "train/img/a.jpg", "train/img/b.jpg")
    assert _all_boxes(dataset)["a.jpg"] == [
        [1, 2, 9, 12],
        [2, 2, 9, 12],
        [15, 15, 25, 25],
        [30, 10, 40, 20],
        [30, 20, 40, 30],
        [1, 30, 15, 45],
    ]
    assert "objects of kinds without a box are left out: 2 point, 1 line" in dataset.notes
    assert "1 image: shapes of one label and group id are joined to one object" in dataset.notes


def test_labelme_point_of_a_group_leaves_its_box(tmp_path: Path, write_image) -> None:
    """A person's box with key points, as labelme's group ids join them; a turned box as X-AnyLabeling writes it."""
    shapes = [
        {"label": "cat", "points": [[10, 5], [30, 20]], "group_id": 1, "shape_type": "rectangle"},
        {"label": "cat", "points": [[12, 12]], "group_id": 1, "shape_type": "point"},
        {"label": "cat", "points": [[10, 0], [20, 10], [10, 20], [0, 10]], "shape_type": "rotation", "direction": 0.8},
    ]
    for name in "ab":
        _write(tmp_path / f"{name}.json", json.dumps({"shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None}))
    dataset = _open_one(tmp_path, write_image, "a.jpg", "b.jpg")
    assert _all_boxes(dataset)["a.jpg"] == [[10, 5, 30, 20], [0, 0, 20, 20]]
    assert "objects of kinds without a box are left out: 2 point" in dataset.notes
    assert not any("joined" in note for note in dataset.notes)


def test_labelme_image_that_is_in_the_file_alone(write_foreign: WriteForeign) -> None:
    root = write_foreign("labelme")
    (root / "train/a.jpg").unlink()
    path = root / "train/a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"imageData": "/9j/"}))
    with pytest.raises(DatasetError, match=r"a\.json: a\.jpg: its image is in this file alone \(imageData\): write it"):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert [sample.name for sample in dataset.splits["train"]] == ["train/b.jpg"]


def test_labelme_xml_without_objects_is_not_voc(tmp_path: Path, write_image) -> None:
    _labelme_xml(tmp_path, "train", {"a": [], "b": BOXES})
    path = tmp_path / "Annotations/train/b.xml"
    deleted = path.read_text().replace("<deleted>0", "<deleted>1", 1)
    mask = deleted.replace("</annotation>", _SEGM + "</annotation>")
    path.write_text(mask)
    dataset = _open_one(tmp_path, write_image, "Images/train/a.jpg", "Images/train/b.jpg")
    assert dataset.format == "labelme-xml"
    assert _all_boxes(dataset) == {"a.jpg": [], "b.jpg": [XYXY[1], [3, 4, 8, 9]]}


_SEGM = (
    "<object><name>cat</name><deleted>0</deleted><segm><box><xmin>3</xmin><ymin>4</ymin><xmax>8</xmax><ymax>9</ymax></box>"
    "<mask>b_mask_0.png</mask></segm></object>"
)


def test_cvat_shapes_and_subsets(tmp_path: Path, write_image) -> None:
    """As a project's export: one file, splits as ``subset``; shapes as in docs.cvat.ai, "XML annotation format"."""
    text = """<annotations><image id="0" name="a.jpg" subset="Train" width="64" height="48">
    <polygon label="x" points="1.00,2.00;9.00,2.00;5.00,12.50"></polygon>
    <ellipse label="x" cx="20" cy="20" rx="5" ry="10"></ellipse>
    <mask label="x" rle="3,3" left="30" top="10" width="10" height="5"></mask>
    <box label="x" xtl="40" ytl="20" xbr="60" ybr="30" rotation="90.00"></box>
    <polyline label="x" points="1,1;5,5"></polyline><tag label="y"></tag></image>
    <image id="1" name="a.jpg" subset="Validation" width="64" height="48"><box label="x" xtl="1" ytl="1" xbr="9" ybr="9"/>
    </image></annotations>"""
    _write(tmp_path / "annotations.xml", text)
    dataset = _open_one(tmp_path, write_image, "images/Train/a.jpg", "images/Validation/a.jpg")
    (train,), (val,) = dataset.splits["train"], dataset.splits["val"]
    assert train.name == "images/Train/a.jpg"
    assert val.name == "images/Validation/a.jpg"
    assert train.boxes.round(3).tolist() == [[1, 2, 9, 12.5], [15, 10, 25, 30], [30, 10, 40, 15], [45, 15, 55, 35]]
    assert "objects of kinds without a box are left out: 1 polyline, 1 tag" in dataset.notes


def test_turned_circle_is_as_wide_as_before(tmp_path: Path, write_image) -> None:
    _write(
        tmp_path / "cvat/annotations.xml",
        "<annotations>"
        + "".join(
            f'<image name="{name}.jpg" width="64" height="48">'
            '<ellipse label="x" cx="20" cy="20" rx="10" ry="10" rotation="45.0"/></image>'
            for name in "ab"
        )
        + "</annotations>",
    )
    result = _result("x", 0, 0, 1, 1) | {"type": "ellipselabels"}
    circle = {"x": 20 / WIDTH * 100, "y": 20 / HEIGHT * 100, "radiusX": 10 / WIDTH * 100, "radiusY": 10 / HEIGHT * 100}
    result["value"] = circle | {"rotation": 45, "ellipselabels": ["x"]}
    tasks = [{"data": {"image": f"{name}.jpg"}, "annotations": [{"result": [result]}]} for name in "ab"]
    _write(tmp_path / "ls/project.json", json.dumps(tasks))
    for tool in ("cvat", "ls"):
        boxes = _all_boxes(_open_one(tmp_path / tool, write_image, "a.jpg", "b.jpg"))["a.jpg"]
        assert [round(side, 3) for side in boxes[0]] == [10, 10, 30, 30]


def test_cvat_tracks_of_a_video(tmp_path: Path, write_image) -> None:
    """As "CVAT for video 1.1": an object's boxes frame by frame, without the images' names."""
    box = '<box frame="{}" outside="{}" keyframe="1" xtl="1" ytl="2" xbr="9" ybr="{}"></box>'
    track = f'<track id="0" label="car">{box.format(0, 0, 10)}{box.format(1, 0, 12)}{box.format(2, 1, 12)}</track>'
    _write(tmp_path / "annotations.xml", f"<annotations><version>1.1</version>{track}</annotations>")
    dataset = _open_one(tmp_path, write_image, "images/frame_000000.PNG", "images/frame_000001.PNG")
    assert _all_boxes(dataset) == {"frame_000000.PNG": [[1, 2, 9, 10]], "frame_000001.PNG": [[1, 2, 9, 12]]}


def test_supervisely_polygons_and_bitmaps(tmp_path: Path, write_image) -> None:
    """As supervisely writes them; this bitmap is 15 pixels wide and 10 high."""
    data = (
        "eJzrDPBz5+WS4mJgYOD19HAJAtL8QMzFyAwkA69O2wWk2AJ8QlyB9P///5fenH8XyGIsCfILZnB4diMNyBHwdHEMqZiT/Of//M5GRnEmBitBJqF3"
        "jziFgXIMnq5+LuucEpoAER8cEw=="
    )
    objects = [
        {"classTitle": "blob", "bitmap": {"origin": [30, 10], "data": data}, "geometryType": "bitmap"},
        {"classTitle": "cell", "points": {"exterior": [[10, 5], [10, 20], [30, 20]]}, "geometryType": "polygon"},
        {"classTitle": "cell", "points": {"exterior": [[10, 5]]}, "geometryType": "point"},
    ]
    size = {"height": HEIGHT, "width": WIDTH}
    for name in "ab":
        _write(tmp_path / f"ds/ann/{name}.jpg.json", json.dumps({"size": size, "objects": objects}))
    _write(tmp_path / "meta.json", '{"classes": []}')
    dataset = _open_one(tmp_path, write_image, "ds/img/a.jpg", "ds/img/b.jpg")
    assert _all_boxes(dataset)["a.jpg"] == [[30, 10, 45, 20], [10, 5, 31, 21]]
    assert "1 other .json file is no Supervisely JSON: not read, first meta.json" in dataset.notes
    assert "objects of kinds without a box are left out: 2 point" in dataset.notes


def test_label_studio_uploads_turns_and_choices(tmp_path: Path, write_image) -> None:
    """As its export to JSON: an upload's prefix, a skipped and an older annotation, an unlabelled task, other regions."""
    turned, ellipse, brush = _result("x", 20, 20, 40, 30), _result("x", 0, 0, 1, 1), _result("x", 0, 0, 1, 1)
    turned["value"]["rotation"] = 90
    ellipse |= {
        "type": "ellipselabels",
        "value": {"x": 50, "y": 50, "radiusX": 25, "radiusY": 12.5, "ellipselabels": ["x"]},
    }
    brush |= {"type": "brushlabels", "value": {"format": "rle", "rle": [1], "brushlabels": ["x"]}}
    annotations = [
        {"result": [turned, ellipse, brush], "created_at": "2026-02-01", "was_cancelled": False},
        {"result": [_result(*BOXES[0])], "created_at": "2026-01-01", "was_cancelled": False},
        {"result": [_result(*BOXES[1])], "created_at": "2026-03-01", "was_cancelled": True},
    ]
    tasks = [
        {"id": 1, "data": {"image": "/data/upload/4/0a1b2c3d-a.jpg"}, "annotations": annotations},
        {"id": 2, "data": {"image": "/data/upload/4/0a1b2c3e-b.jpg"}, "annotations": [{"result": []}]},
        {"id": 3, "data": {"image": "/data/upload/4/0a1b2c3f-c.jpg"}, "annotations": []},
    ]
    _write(tmp_path / "project-4-at-2026.json", json.dumps(tasks))
    dataset = _open_one(tmp_path, write_image, "a.jpg", "0a1b2c3e-b.jpg", "c.jpg")
    assert _all_boxes(dataset) == {"a.jpg": [[10, 20, 20, 40], [16, 18, 48, 30]], "0a1b2c3e-b.jpg": []}
    assert "1 image: without an annotation, left out" in dataset.notes
    assert "1 image: the newest of several annotations is read" in dataset.notes
    assert "objects of kinds without a box are left out: 1 brushlabels" in dataset.notes


def test_label_studio_project_that_begins_with_unlabelled_tasks(tmp_path: Path, write_image) -> None:
    empty = {"annotations": [], "drafts": [], "predictions": [], "meta": {"note": " " * 900}, "project": 4}
    tasks = [{"id": n, **empty, "data": {"image": f"/data/upload/4/{n}.jpg"}} for n in range(100)]
    tasks += [
        empty | {"data": {"image": f"{name}.jpg"}, "annotations": [{"result": [_result(*BOXES[0])]}]} for name in "ab"
    ]
    _write(tmp_path / "project.json", json.dumps(tasks))
    dataset = _open_one(tmp_path, write_image, "a.jpg", "b.jpg")
    assert _all_boxes(dataset) == {"a.jpg": [XYXY[0]], "b.jpg": [XYXY[0]]}
    assert "100 images: without an annotation, left out" in dataset.notes


def test_label_studio_json_min(tmp_path: Path, write_image) -> None:
    tasks = [
        {
            "image": f"s3://bucket/{name}.jpg",
            "id": 1,
            "label": [_result(*BOXES[0])["value"] | {"original_width": WIDTH, "original_height": HEIGHT}],
            "annotator": 1,
        }
        for name in "ab"
    ]
    _write(tmp_path / "min.json", json.dumps(tasks))
    dataset = _open_one(tmp_path, write_image, "a.jpg", "b.jpg")
    assert dataset.format == "label-studio"
    assert _all_boxes(dataset) == {"a.jpg": [XYXY[0]], "b.jpg": [XYXY[0]]}


def test_label_studio_json_min_of_unlabelled_tasks(tmp_path: Path, write_image) -> None:
    """What nobody has annotated has no annotation's id; what somebody found empty has."""
    shape = _result(*BOXES[0])["value"] | {"original_width": WIDTH, "original_height": HEIGHT}
    tasks = [{"image": f"{name}.jpg", "label": [shape], "annotation_id": 1} for name in "ab"]
    tasks += [{"image": "c.jpg", "annotation_id": 2}, {"image": "d.jpg", "annotation_id": None}, {"image": "e.jpg"}]
    _write(tmp_path / "min.json", json.dumps(tasks))
    dataset = _open_one(tmp_path, write_image, *(f"{name}.jpg" for name in "abcde"))
    assert _all_boxes(dataset) == {"a.jpg": [XYXY[0]], "b.jpg": [XYXY[0]], "c.jpg": []}
    assert "2 images: without an annotation, left out" in dataset.notes


@pytest.mark.parametrize(
    ("data", "objects", "read"),
    [
        ({"left": "a.jpg", "right": "b.jpg"}, ["i1", "i2"], None),
        ({"left": "a.jpg", "right": "b.jpg"}, ["i2"], None),
        ({"left": "a.jpg", "right": "b.jpg"}, ["right"], "b.jpg"),
        ({"preview": "a_small.jpg", "image": "b.jpg"}, ["i1"], "b.jpg"),
        ({"image": "b.jpg", "url": "/data/upload/4/0a1b2c3d-b.jpg"}, ["i1"], "b.jpg"),
    ],
)
def test_label_studio_task_of_several_images(
    data: dict[str, str], objects: list[str], read: str | None, tmp_path: Path, write_image
) -> None:
    results = [_result(*BOXES[0]) | {"to_name": name} for name in objects]
    tasks = [{"id": 7, "data": data, "annotations": [{"result": results}]}]
    tasks += [{"data": {"image": "c.jpg"}, "annotations": [{"result": [_result(*BOXES[0])]}]}]
    _write(tmp_path / "project.json", json.dumps(tasks))
    if read is None:
        message = r"task 7: it has several images, a\.jpg and b\.jpg, and nothing says which one a shape is of"
        with pytest.raises(DatasetError, match=message):
            _open_one(tmp_path, write_image, "a.jpg", "b.jpg", "c.jpg")
    else:
        assert set(_all_boxes(_open_one(tmp_path, write_image, "a.jpg", "b.jpg", "c.jpg"))) == {read, "c.jpg"}


def test_label_studio_class_that_is_in_no_list(tmp_path: Path, write_image) -> None:
    result = _result(*BOXES[0])
    result["value"]["rectanglelabels"] = "red cell"
    tasks = [{"data": {"image": f"{name}.jpg"}, "annotations": [{"result": [result]}]} for name in "ab"]
    _write(tmp_path / "project.json", json.dumps(tasks))
    assert _open_one(tmp_path, write_image, "a.jpg", "b.jpg").class_names == ("red cell",)


def test_label_studio_video_is_named(tmp_path: Path) -> None:
    result = {"from_name": "box", "to_name": "video", "type": "videorectangle", "value": {"labels": ["car"]}}
    task = {"id": 1, "data": {"video": "/data/upload/a.mp4"}, "annotations": [{"result": [result]}]}
    _write(tmp_path / "project.json", json.dumps([task]))
    with pytest.raises(DatasetError, match=r"task 1: it is of a video, a\.mp4: only images are read"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("flag", ["is_crowd", "difficult"])
def test_datumaro_polygons_crowds_and_masks(write_foreign: WriteForeign, flag: str) -> None:
    root = write_foreign("datumaro")
    path = root / "annotations/train.json"
    document = json.loads(path.read_text())
    document["items"][0]["annotations"] = [
        {"type": "polygon", "label_id": 0, "points": [1, 2, 9, 2, 5, 12], "attributes": {flag: True}},
        {"type": "mask", "label_id": 0, "rle": {"counts": "", "size": [48, 64]}},
        {"type": "bbox", "label_id": 5, "bbox": [1, 1, 2, 2]},
    ]
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"annotations/train\.json: object 3 of a\.jpg: has an unknown class 5"):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert dataset.splits["train"][0].boxes.tolist() == [[1, 2, 9, 12]]
    assert dataset.splits["train"][0].ignored.tolist() == [True]
    assert "objects of kinds without a box are left out: 1 mask" in dataset.notes


def test_datumaro_box_without_class_or_turned(write_foreign: WriteForeign) -> None:
    """CVAT writes a turned box as the straight one and an attribute; an annotation need not have a label."""
    root = write_foreign("datumaro")
    path = root / "annotations/train.json"
    document = json.loads(path.read_text())
    first, second = document["items"][0]["annotations"]
    first["attributes"] = {"rotation": 90.0}
    second["label_id"] = None
    path.write_text(json.dumps(document))
    dataset = open_dataset(str(root))
    assert dataset.splits["train"][0].boxes.round(3).tolist() == [[12.5, 2.5, 27.5, 22.5]]
    assert "objects of kinds without a box are left out: 1 bbox without a class" in dataset.notes


def test_open_images_names_as_fiftyone_writes_them(write_foreign: WriteForeign) -> None:
    root = write_foreign("open-images")
    path = next(root.rglob("class-descriptions*.csv"))
    path.rename(root / "classes.csv")
    dataset = open_dataset(str(root))
    assert dataset.class_names == ("cat", "red cell")
    assert not any("other .csv" in note for note in dataset.notes)
    (root / "classes.csv").unlink()
    dataset = open_dataset(str(root))
    assert all(name.startswith("/m/") for name in dataset.class_names)
    assert any("the class is called by its code, no file names it" in note for note in dataset.notes)


def test_open_images_groups_are_ignored(write_foreign: WriteForeign) -> None:
    root = write_foreign("open-images")
    path = root / "train-annotations-bbox.csv"
    path.write_text(path.read_text().replace(",0,0,0,0,0", ",0,0,1,0,0", 1))
    (root / "train-images-with-rotation.csv").write_text("ImageID,Subset\na,train\n")
    dataset = open_dataset(str(root))
    assert dataset.splits["train"][0].ignored.tolist() == [True, False]
    assert dataset.notes == ("1 other .csv file is no Open Images CSV: not read, first train-images-with-rotation.csv",)


def test_wider_face_as_published(tmp_path: Path, write_image) -> None:
    """As wider_face_train_bbx_gt.txt: ten numbers a face, the eighth for an invalid one, zeros where there is none."""
    text = (
        "0--Parade/a.jpg\n2\n10 5 20 15 2 0 0 0 0 0 \n30 20 10 8 0 0 0 1 0 0 \n"
        "0--Parade/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0 \n"
        "1--Handshaking/a.jpg\n1\n1 1 5 5 0 0 0 0 0 0 \n"
    )
    for split in ("train", "val"):
        _write(tmp_path / f"wider_face_split/wider_face_{split}_bbx_gt.txt", text)
    names = ("0--Parade/a.jpg", "0--Parade/b.jpg", "1--Handshaking/a.jpg")
    images = [f"WIDER_{split}/images/{name}" for split in ("train", "val") for name in names]
    dataset = _open_one(tmp_path, write_image, *images)
    assert dataset.class_names == ("face",)
    assert [sample.name for sample in dataset.splits["val"]] == images[3:]
    assert [sample.boxes.tolist() for sample in dataset.splits["train"]] == [
        [[10, 5, 30, 20], [30, 20, 40, 28]],
        [],
        [[1, 1, 6, 6]],
    ]
    assert dataset.splits["train"][0].ignored.tolist() == [False, True]


def test_kitti_as_published_with_lists(tmp_path: Path, write_image) -> None:
    """As training/label_2 of KITTI, with the lists of names that detectors' codebases divide it by."""
    lines = (
        "Car 0.00 0 -1.58 10.00 5.00 30.00 20.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
        "Van 0.00 0 -1.58 31.00 5.00 40.00 20.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
        "DontCare -1 -1 -10 50.00 17.00 59.00 19.00 -1 -1 -1 -1000 -1000 -1000 -10\n"
    )
    for name in ("000000", "000001"):
        _write(tmp_path / f"training/label_2/{name}.txt", lines)
    _write(tmp_path / "training/label_2/000002.txt", "")
    _write(tmp_path / "ImageSets/train.txt", "000000\n000002\n")
    _write(tmp_path / "ImageSets/val.txt", "000001\n")
    dataset = _open_one(tmp_path, write_image, *(f"training/image_2/00000{number}.png" for number in range(3)))
    assert dataset.class_names == ("Car", "Van")
    assert [Path(sample.name).stem for sample in dataset.splits["train"]] == ["000000", "000002"]
    (sample,) = dataset.splits["val"]
    assert sample.boxes.tolist() == [[10, 5, 30, 20], [31, 5, 40, 20], [50, 17, 59, 19], [50, 17, 59, 19]]
    assert sample.labels.tolist() == [0, 1, 0, 1]
    assert sample.ignored.tolist() == [False, False, True, True]
    assert describe_dataset(dataset, {}).splits["val"].num_ignored == 1  # one region, for two classes
    assert dataset.notes == ()
    _write(tmp_path / "ImageSets/test.txt", "000001\n000009\n")
    assert (
        "test: 1 listed annotation is missing and left out, first training/000009.txt"
        in open_dataset(str(tmp_path)).notes
    )
    with pytest.raises(DatasetError, match=r"000009\.txt: the annotation is missing"):
        open_dataset(str(tmp_path), scored="test")
    left_out = open_dataset(str(tmp_path), on_broken="skip", scored="test").left_out
    assert left_out == ("training/000009.txt: the annotation is missing",)


def test_image_annotated_twice_is_joined(write_foreign: WriteForeign) -> None:
    root = write_foreign("createml")
    path = root / "train/_annotations.createml.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([*entries, entries[0] | {"annotations": entries[0]["annotations"][:1]}]))
    dataset = open_dataset(str(root))
    assert len(dataset.splits["train"]) == 2
    assert dataset.splits["train"][0].boxes.tolist() == [*XYXY, XYXY[0]]
    assert dataset.notes == ("1 image is annotated twice and was joined",)


def test_folders_of_images_divide_a_single_file(tmp_path: Path, write_image) -> None:
    _createml(tmp_path, "", {"train/a": BOXES, "valid/c": BOXES})
    dataset = _open_one(tmp_path, write_image, "train/a.jpg", "valid/c.jpg")
    assert [sample.name for sample in dataset.splits["val"]] == ["valid/c.jpg"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "Car 0.00 0 -1.58 10.00 5.00 30.00",
            r"object 2: 'Car 0\.00 0 -1\.58 10\.00 5\.00 30\.00' is not a class and 14",
        ),
        ("x 0.00 0 -1.58 1 1 1..2 9 1 1 1 1 1 1 1", r"object 2: could not convert string to float: '1\.\.2'"),
    ],
)
def test_broken_kitti_line(write_foreign: WriteForeign, line: str, reason: str) -> None:
    root = write_foreign("kitti", second=BOXES[:1])
    path = root / "train/label_2/b.txt"
    path.write_text(f"{path.read_text()}\n{line}\n")
    with pytest.raises(DatasetError, match=rf"train/label_2/b\.txt: {reason}"):
        open_dataset(str(root))


def test_face_count_that_differs_from_the_lines(write_foreign: WriteForeign) -> None:
    root = write_foreign("wider-face")
    path = root / "wider_face_split/wider_face_train_bbx_gt.txt"
    path.write_text(path.read_text().replace("\n2\n", "\n3\n", 1))
    with pytest.raises(DatasetError, match=r"bbx_gt\.txt: 0--Parade/a\.jpg: says '3' faces and lists 2"):
        open_dataset(str(root))


def test_faces_that_are_not_listed_leave_their_image_out(write_foreign: WriteForeign) -> None:
    """It is none without faces; one that lists some keeps them."""
    root = write_foreign("wider-face", second=())
    path = root / "wider_face_split/wider_face_train_bbx_gt.txt"
    path.write_text(path.read_text().replace("b.jpg\n0\n", "b.jpg\n5\n").replace("\n2\n", "\n3\n"))
    dataset = open_dataset(str(root), on_broken="skip")
    assert _all_boxes(dataset) == {"a.jpg": XYXY, "c.jpg": XYXY}
    assert any("b.jpg: the image is left out" in entry for entry in dataset.left_out)


def test_image_whose_boxes_have_no_class_is_left_out(write_foreign: WriteForeign) -> None:
    root = write_foreign("datumaro")
    path = root / "annotations/train.json"
    document = json.loads(path.read_text())
    for annotation in document["items"][1]["annotations"]:
        annotation["label_id"] = None
    path.write_text(json.dumps(document))
    dataset = open_dataset(str(root))
    assert _all_boxes(dataset) == {"a.jpg": XYXY, "c.jpg": XYXY}
    assert "objects of kinds without a box are left out: 2 bbox without a class" in dataset.notes


def test_createml_in_the_form_of_apple(tmp_path: Path, write_image) -> None:
    """As "Building an object detector data source" has it: other keys than the tools write."""
    box = {"label": "cat", "coordinates": {"x": 20, "y": 12.5, "width": 20, "height": 15}}
    entries = [{"imagefilename": f"{name}.jpg", "annotation": [box]} for name in "ab"]
    _write(tmp_path / "annotations.json", json.dumps(entries))
    assert _all_boxes(_open_one(tmp_path, write_image, "a.jpg", "b.jpg")) == {"a.jpg": [XYXY[0]], "b.jpg": [XYXY[0]]}


def test_depth_beyond_bounds_is_a_broken_file(tmp_path: Path, write_image) -> None:
    _labelme(tmp_path, "", {"a": BOXES, "b": BOXES, "c": BOXES})
    _write(tmp_path / "b.json", f'{{"flags": {{}}, "imagePath": "b.jpg", "shapes": {"[" * 100_000}{"]" * 100_000}}}')
    for name in "abc":
        write_image(tmp_path / f"{name}.jpg")
    with pytest.raises(DatasetError, match=r"^b\.json: "):
        open_dataset(str(tmp_path))
    dataset = open_dataset(str(tmp_path), on_broken="skip")
    assert any(entry.startswith("b.json") for entry in dataset.left_out)


def test_size_beyond_bounds_is_none_stated(tmp_path: Path, write_image) -> None:
    _labelme(tmp_path, "", {"a": BOXES, "b": BOXES})
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace(f'"imageHeight": {HEIGHT}', '"imageHeight": 1e999'))
    assert _all_boxes(_open_one(tmp_path, write_image, "a.jpg", "b.jpg"))["a.jpg"] == XYXY


def test_quote_that_never_ends_is_a_broken_file(write_foreign: WriteForeign) -> None:
    root = write_foreign("open-images")
    path = root / "val-annotations-bbox.csv"
    path.write_text(path.read_text().replace("c,xclick", 'c,"xclick', 1) + "\n0,0,0" * 50_000)
    with pytest.raises(DatasetError, match=r"^val-annotations-bbox\.csv: field larger than field limit"):
        open_dataset(str(root))


def test_bitmap_that_unpacks_to_a_giant_is_a_broken_box(write_foreign: WriteForeign) -> None:
    root = write_foreign("supervisely")
    stored = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(stored, "PNG")
    data = base64.b64encode(zlib.compress(stored.getvalue())).decode()
    path = root / "train/ann/b.jpg.json"
    document = json.loads(path.read_text())
    document["objects"].append(
        {"classTitle": "x", "geometryType": "bitmap", "bitmap": {"origin": [1, 1], "data": data}}
    )
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"b\.jpg\.json: object 3: has a broken bitmap: it has 30000×30000 pixels"):
        open_dataset(str(root))


@pytest.mark.parametrize("format", ["kitti", "supervisely"])
def test_many_empty_files_first(format: str, write_foreign: WriteForeign, write_image) -> None:
    root = write_foreign(format)
    writer, folder = WRITERS[format]
    for number in range(25):
        writer(root, "train", {f"_{number:02d}": []})
        write_image(root / folder.format(split="train") / f"_{number:02d}.jpg")
    dataset = open_dataset(str(root))
    assert (dataset.format, len(dataset.splits["train"])) == (format, 27)


def test_link_to_nothing_beside_annotations(write_foreign: WriteForeign) -> None:
    root = write_foreign("kitti")
    (root / "train/label_2/gone.txt").symlink_to("nowhere")
    with pytest.raises(DatasetError, match=r"^train/label_2/gone\.txt: .*No such file"):
        open_dataset(str(root))


def test_kitti_beside_its_calibrations(write_foreign: WriteForeign) -> None:
    root = write_foreign("kitti")
    for name in "ab":
        _write(root / f"train/calib/{name}.txt", "P0: 1.0 0.0 0.0 0.0 0.0 1.0 0.0 0.0 0.0 0.0 1.0 0.0\n" * 4)
        _write(root / f"train/oxts/{name}.txt", "49.015 8.434 116.4\n")
    dataset = open_dataset(str(root))
    assert _all_boxes(dataset) == {"a.jpg": XYXY, "b.jpg": XYXY, "c.jpg": XYXY}
    assert dataset.notes == ("4 other .txt files are no KITTI: not read, first train/calib/a.txt",)


def test_each_of_two_projects_has_its_own_images(tmp_path: Path, write_image) -> None:
    for project, suffix in (("one", "png"), ("two", "jpg")):
        for frame in range(2):
            write_image(tmp_path / f"{project}/images/frame_{frame:06d}.{suffix}")
        boxes = "".join(f'<box frame="{n}" outside="0" xtl="1" ytl="2" xbr="9" ybr="8"/>' for n in range(2))
        text = f'<annotations><version>1.1</version><track id="0" label="{project}">{boxes}</track></annotations>'
        _write(tmp_path / f"{project}/annotations.xml", text)
    dataset = open_dataset(str(tmp_path))
    samples = [sample for samples in dataset.splits.values() for sample in samples]
    names = {sample.name: dataset.class_names[int(sample.labels[0])] for sample in samples}
    assert len(names) == 4
    assert all(name.startswith(project) for name, project in names.items())


def test_two_projects_with_images_of_the_same_names(tmp_path: Path, write_image) -> None:
    for project in ("one", "two"):
        write_image(tmp_path / f"{project}/pictures/a.jpg")
        result = _result(project, *BOXES[0][1:])
        tasks = [{"data": {"image": "/data/upload/1/0123abcd-a.jpg"}, "annotations": [{"result": [result]}]}]
        _write(tmp_path / f"{project}/export.json", json.dumps(tasks))
    dataset = open_dataset(str(tmp_path))
    samples = [sample for samples in dataset.splits.values() for sample in samples]
    names = {sample.name: dataset.class_names[int(sample.labels[0])] for sample in samples}
    assert names == {"one/pictures/a.jpg": "one", "two/pictures/a.jpg": "two"}


def test_labelme_goes_by_the_name_in_the_file(tmp_path: Path, write_image) -> None:
    _labelme(tmp_path, "", {"a": BOXES, "001": BOXES[:1]})
    path = tmp_path / "001.json"
    path.write_text(path.read_text().replace("001.jpg", "img_7.jpg"))
    dataset = _open_one(tmp_path, write_image, "a.jpg", "001.jpg", "img_7.jpg")
    assert _all_boxes(dataset) == {"a.jpg": XYXY, "img_7.jpg": XYXY[:1]}
    assert "1 image without an annotation is left out, first 001.jpg" in dataset.notes
    (tmp_path / "img_7.jpg").unlink()
    assert _all_boxes(open_dataset(str(tmp_path))) == {"a.jpg": XYXY, "001.jpg": XYXY[:1]}


def test_datumaro_groups_are_one_object(write_foreign: WriteForeign) -> None:
    root = write_foreign("datumaro")
    path = root / "annotations/train.json"
    document = json.loads(path.read_text())
    document["items"][0]["annotations"] = [
        {"type": "polygon", "group": 5, "label_id": 0, "points": [1, 1, 10, 1, 10, 10]},
        {"type": "polygon", "group": 5, "label_id": 0, "points": [20, 20, 30, 20, 30, 30]},
        {"type": "bbox", "group": 5, "label_id": 1, "bbox": [2, 2, 4, 4]},
        {"type": "polygon", "group": 0, "label_id": 0, "points": [3, 3, 9, 3, 9, 9]},
        {"type": "polygon", "group": 0, "label_id": 0, "points": [3, 30, 9, 30, 9, 39]},
        {"type": "mask", "group": 5, "label_id": 0, "rle": {}},
    ]
    path.write_text(json.dumps(document))
    dataset = open_dataset(str(root))
    assert dataset.splits["train"][0].boxes.tolist() == [[1, 1, 30, 30], [2, 2, 6, 6], [3, 3, 9, 9], [3, 30, 9, 39]]
    assert dataset.notes[0] == "1 image: annotations of one class and group are joined to one object"


def test_label_studio_box_of_two_classes(write_foreign: WriteForeign) -> None:
    root = write_foreign("label-studio")
    path = root / "train.json"
    path.write_text(path.read_text().replace('["red cell"]', '["red cell", "round"]'))
    dataset = open_dataset(str(root))
    assert dataset.class_names == ("cat", "red cell")
    assert dataset.notes == ("2 objects: of several classes the first is read",)


@pytest.mark.parametrize("format", [name for name, spec in FOREIGN.items() if not spec.is_file_per_image])
def test_last_few_of_many_listed_images(format: str, write_foreign: WriteForeign) -> None:
    """As of Open Images, of which hardly anybody has all files."""
    root = write_foreign(format)
    WRITERS[format][0](root, "train", {**{f"_{number:02d}": BOXES for number in range(40)}, "a": BOXES, "b": BOXES})
    dataset = open_dataset(str(root), on_broken="skip")
    assert _all_boxes(dataset) == {"a.jpg": XYXY, "b.jpg": XYXY, "c.jpg": XYXY}
    assert len(dataset.left_out) == 40


def test_wider_face_without_area_or_number(write_foreign: WriteForeign, write_image) -> None:
    """As published: invalid faces of 0×0 px, and a list of the test images without annotations."""
    root = write_foreign("wider-face")
    path = root / "wider_face_split/wider_face_train_bbx_gt.txt"
    faces = "10 5 20 15 0 0 0 0 0 0 \n30 30 0 0 0 0 0 1 0 0 \n30 30 5 0 0 0 0 0 0 0 \n"
    path.write_text(f"{path.read_text()}0--Parade/d.jpg\n3\n{faces}0--Parade/e.jpg\n")
    (path.parent / "wider_face_test_filelist.txt").write_text("0--Parade/t.jpg\n0--Parade/u.jpg\n")
    for split, name in (("train", "d"), ("train", "e"), ("test", "t"), ("test", "u")):
        write_image(root / f"WIDER_{split}/images/0--Parade/{name}.jpg")
    dataset = open_dataset(str(root))
    assert _all_boxes(dataset) == {"a.jpg": XYXY, "b.jpg": XYXY, "c.jpg": XYXY, "d.jpg": XYXY[:1]}
    assert dataset.notes[:3] == (
        "1 other .txt file is no WIDER FACE: not read, first wider_face_split/wider_face_test_filelist.txt",
        "1 image: without an annotation, left out",
        "objects of kinds without a box are left out: 2 face without area",
    )


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Class 2 0.00 0 -1.58 10 5 30 20 1 1 1 1 1 1 1", "Class 2"),
        ("Class 1 0.00 0 0.58 10 5 30 20 1 1 1 1 1 1 1", "Class 1"),
        ("Class 2 0.00 0 -1.58 10 5 30 20 1 1 1 1 1 1 1 0.9", "Class 2"),
        ("Class 0 0 -1.58 10 5 30 20 1 1 1 1 1 1 1 0.9", "Class"),
    ],
)
def test_kitti_class_that_ends_in_a_number(write_foreign: WriteForeign, line: str, name: str) -> None:
    root = write_foreign("kitti")
    (root / "train/label_2/b.txt").write_text(line)
    dataset = open_dataset(str(root))
    sample = dataset.splits["train"][1]
    assert (dataset.class_names[int(sample.labels[0])], sample.boxes.tolist()) == (name, XYXY[:1])


def test_kitti_class_or_score_that_nothing_tells(write_foreign: WriteForeign) -> None:
    root = write_foreign("kitti")
    (root / "train/label_2/b.txt").write_text("Class 1 0 0 0.58 10 5 30 20 1 1 1 1 1 1 1")
    with pytest.raises(DatasetError, match=r"b\.txt: object 1: Class 1: the number may end the class's name"):
        open_dataset(str(root))


IMPOSSIBLE = {"too long": "n" * 300 + ".jpg", "NUL": "b\0.jpg", "half a pair": "b\ud800.jpg"}


@pytest.mark.parametrize("name", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.parametrize("format", ["label-studio", "createml", "datumaro", "labelme"])
def test_image_names_that_no_file_can_have(format: str, name: str, write_foreign: WriteForeign) -> None:
    root = write_foreign(format)
    path = _annotation_file(root, format)
    path.write_text(path.read_text().replace("b.jpg", json.dumps(name)[1:-1]))
    if format == "labelme":  # which has the annotation's own name, too
        assert len(open_dataset(str(root)).splits["train"]) == 2
        next(root.rglob("b.jpg")).unlink()
    with pytest.raises(DatasetError, match=r"(a name that no file can have: '|b\.jpg: the image is missing)"):
        open_dataset(str(root))
    dataset = open_dataset(str(root), on_broken="skip")
    assert len(dataset.splits["train"]) == len(dataset.left_out) == 1


def test_class_that_is_no_text(write_foreign: WriteForeign) -> None:
    root = write_foreign("labelme")
    path = root / "train/b.json"
    path.write_text(path.read_text().replace('"cat"', '"c\\ud800"'))
    with pytest.raises(DatasetError, match=r"^train/b\.json: object 2: the class name 'c\\ud800' is not valid text"):
        open_dataset(str(root))
    assert open_dataset(str(root), on_broken="skip").class_names == ("cat", "red cell")


def test_objects_that_are_no_list_are_a_broken_entry(write_foreign: WriteForeign) -> None:
    root = write_foreign("createml")
    (root / "train/_annotations.createml.json").write_text(
        json.dumps([{"image": "a.jpg", "annotations": 3}, {"image": "b.jpg", "annotations": []}])
    )
    with pytest.raises(DatasetError, match=r"a\.jpg: its objects are '3', no list"):
        open_dataset(str(root))


def test_numbers_too_large_for_a_box_or_a_size(write_foreign: WriteForeign) -> None:
    root = write_foreign("supervisely")
    path = root / "train/ann/a.jpg.json"
    document = json.loads(path.read_text())
    sound = json.dumps(document["objects"])
    document["size"] = {"height": float("inf"), "width": 10**400}  # no statement, then
    path.write_text(json.dumps(document))
    assert len(open_dataset(str(root)).splits["train"][0].labels) == 2
    for value in (10**400, 10**4000):
        document["objects"] = [*json.loads(sound), {"classTitle": "x", "bitmap": {"origin": [value, 1], "data": MASK}}]
        path.write_text(json.dumps(document))
        with pytest.raises(DatasetError, match=r"object 3: int too large"):
            open_dataset(str(root))


MASK = (
    "eJzrDPBz5+WS4mJgYOD19HAJAtL8QMzFyAwkA69O2wWk2AJ8QlyB9P///5fenH8XyGIsCfILZnB4diMNyBHwdHEMqZiT/Of//M5GRnEmBitBJqF3"
    "jziFgXIMnq5+LuucEpoAER8cEw=="
)
"""A bitmap of 15×10 pixels."""


def test_a_bitmap_that_unpacks_to_gigabytes_is_not_unpacked(write_foreign: WriteForeign) -> None:
    root = write_foreign("supervisely")
    path = root / "train/ann/a.jpg.json"
    document = json.loads(path.read_text())
    packer = zlib.compressobj()
    bomb = packer.compress(zlib.decompress(base64.b64decode(MASK)))
    bomb += b"".join(packer.compress(bytes(2**24)) for _ in range(16)) + packer.flush()
    document["objects"] = [{"classTitle": "x", "bitmap": {"origin": [3, 1], "data": base64.b64encode(bomb).decode()}}]
    path.write_text(json.dumps(document))
    tracemalloc.start()
    try:
        dataset = open_dataset(str(root))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert dataset.splits["train"][0].boxes.tolist() == [[3, 1, 18, 11]]
    assert peak < 2**25
    document["objects"][0]["bitmap"]["data"] = base64.b64encode(zlib.compress(b"no PNG")).decode()
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="has a broken bitmap: it is no PNG"):
        open_dataset(str(root))


def test_labelme_image_at_the_stated_place(tmp_path: Path, write_image) -> None:
    """labelme writes the image's path relative to the JSON file, with the system's separators."""
    for name, place in (("a", "../raw/a.jpg"), ("b", "..\\\\raw\\\\b.jpg"), ("c", "/elsewhere/c.jpg")):
        _labelme(tmp_path, "labels", {name: BOXES})
        path = tmp_path / f"labels/{name}.json"
        path.write_text(path.read_text().replace(f"{name}.jpg", place))
    images = [f"{folder}/{name}.jpg" for folder in ("augmented", "raw") for name in "ab"]
    dataset = _open_one(tmp_path, write_image, *images, "raw/c.jpg")
    names = {sample.name for samples in dataset.splits.values() for sample in samples}
    assert names == {"raw/a.jpg", "raw/b.jpg", "raw/c.jpg"}
    (tmp_path / "raw/a.jpg").unlink()
    with pytest.raises(DatasetError, match=r"raw/a\.jpg: the image is missing"):
        open_dataset(str(tmp_path))


def test_folders_of_images_divide_files_of_one_image(tmp_path: Path, write_image) -> None:
    _labelme(tmp_path, "labels", {name: BOXES for name in "abcd"})
    path = tmp_path / "labels/d.json"
    path.write_text(path.read_text().replace("d.jpg", "z.jpg"))
    images = ["images/train/a.jpg", "images/train/b.jpg", "images/val/c.jpg", "images/val/z.jpg"]
    splits = _open_one(tmp_path, write_image, *images).splits
    assert [[sample.name for sample in splits[split]] for split in ("train", "val")] == [images[:2], images[2:]]


def test_kitti_s_testing_images_are_not_those_of_training(tmp_path: Path, write_image) -> None:
    line = "Car 0.00 0 -1.58 10.00 5.00 30.00 20.00 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
    for number in range(3):
        _write(tmp_path / f"training/label_2/00000{number}.txt", line)
    for split, lines in (("train", "000000"), ("val", "000001\n000002"), ("test", "000000\n000001")):
        _write(tmp_path / f"ImageSets/{split}.txt", f"{lines}\n")
    images = [f"training/image_2/00000{number}.png" for number in range(3)]
    others = [f"testing/image_2/00000{number}.png" for number in range(2)]
    others += [image.replace("image_2", "image_3") for image in images]  # of the camera on the right
    dataset = _open_one(tmp_path, write_image, *images, *others)
    assert {split: [sample.name for sample in samples] for split, samples in dataset.splits.items()} == {
        "train": images[:1],
        "val": images[1:],
    }
    assert dataset.notes == (
        "test: 2 listed annotations are missing and left out, first testing/image_2/000000.txt",
        "the test split is left out: 0 images, no objects",
    )


def test_image_without_a_suffix_that_may_be_one_of_two(tmp_path: Path, write_image) -> None:
    _open_images(tmp_path, "train", {"a": BOXES, "b": BOXES})
    pictures = ["pictures/a.jpg", "pictures/b.jpg", "pictures/b.png", "masks/a.png"]
    dataset = _open_one(tmp_path, write_image, *pictures)
    names = {sample.name for samples in dataset.splits.values() for sample in samples}
    assert names == {"pictures/a.jpg", "pictures/b.jpg"}
    with pytest.raises(DatasetError, match=r"the image of a may be depth/a\.png or pictures/a\.jpg"):
        _open_one(tmp_path, write_image, "depth/a.png")
