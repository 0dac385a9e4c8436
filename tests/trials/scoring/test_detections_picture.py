"""The picture of detections: which images it shows, and what is drawn on them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from trials.data import Dataset, Sample
from trials.data.images.drawing import colour_of
from trials.detections import Decoding, Detections
from trials.scoring import detections_picture
from trials.scoring.detections_picture import choose_samples, draw_detections

NAMES = ("cat", "dog", "emu")
TILE, GAP = 240, 4
CAT, GREY = colour_of(0, 3), colour_of(-1, 3)


def make_sample(name: str, *labels: int) -> Sample:
    """A black image whose objects cover its lower right quarter."""
    return Sample(
        name=name,
        size_hw=(TILE, TILE),
        boxes=np.tile(np.array([[120, 120, 200, 200]], np.float32), (len(labels), 1)),
        labels=np.array(labels, np.int64),
        ignored=np.zeros(len(labels), bool),
        load=lambda: np.zeros((TILE, TILE, 3), np.uint8),
    )


def draw(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    samples: Sequence[Sample],
    scores: Sequence[float],
    input_hw: tuple[int, int] = (64, 64),
) -> np.ndarray:
    """Draw cats in the upper left of each image, without the losses of a JPEG; give the first image's tile."""
    found = Detections(
        boxes=torch.tensor([[40.0 + 4 * n, 40.0, 100.0, 100.0] for n in range(len(scores))]).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.zeros(len(scores), dtype=torch.int64),
    )
    monkeypatch.setattr(detections_picture, "detect", lambda network, chosen, *, decoding: [found] * len(chosen))
    dataset = Dataset(name="any", format="voc", class_names=NAMES, splits={"val": tuple(samples)}, fingerprint="f00d")
    decoding = Decoding(anchors=(((1.0, 1.0),),), coding="bounded", class_names=NAMES, input_hw=input_hw)
    draw_detections(path, nn.Identity(), dataset, decoding=decoding)
    return np.asarray(Image.open(path))[GAP : GAP + TILE, GAP : GAP + TILE]


def is_drawn(tile: np.ndarray, x: int, y: int, colour: tuple[int, int, int]) -> bool:
    return tuple(tile[y, x].tolist()) == colour


def has_text(tile: np.ndarray) -> bool:
    """Whether there is anything white; texts have soft edges."""
    return bool((tile.min(axis=2) > 200).any())


def test_images_of_each_class_come_in_turn_and_empty_ones_last() -> None:
    samples = [make_sample(f"{number}", 0) for number in range(40)]
    samples[7:9] = [make_sample("dog", 1), make_sample("both", 1, 2)]
    samples[20] = make_sample("none")
    chosen = choose_samples(samples, num_classes=3)
    assert len({sample.name for sample in chosen}) == 8
    assert {"dog", "both"} <= {sample.name for sample in chosen}
    assert chosen == choose_samples(samples, num_classes=3)
    numbers = sorted(int(sample.name) for sample in chosen if sample.name.isdigit())
    assert numbers[-1] - numbers[0] > 8  # from all over the split
    few = [make_sample("none"), make_sample("a", 0), make_sample("b", 0)]
    assert [sample.name for sample in choose_samples(few, num_classes=3)][-1] == "none"
    assert len(choose_samples(few, num_classes=3)) == 3


def test_samples_are_looked_at_once_for_all_classes() -> None:
    class Counting(list[Sample]):
        num_read = 0

        def __getitem__(self, place: Any) -> Any:
            self.num_read += 1
            return super().__getitem__(place)

    samples = Counting(make_sample(str(number), number % 20) for number in range(60))
    assert len(choose_samples(samples, num_classes=20)) == 8
    assert samples.num_read == 60 + 8


def test_objects_are_thin_detections_are_thick_and_each_has_its_class_s_colour(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tile = draw(monkeypatch, tmp_path / "sheet.png", [make_sample("a", 1)], [0.25, 0.2])
    assert is_drawn(tile, 150, 120, colour_of(1, 3))
    assert is_drawn(tile, 150, 121, (0, 0, 0))
    assert is_drawn(tile, 70, 99, CAT)
    assert is_drawn(tile, 70, 100, CAT)
    assert is_drawn(tile, 40, 90, CAT)
    assert is_drawn(tile, 44, 90, (0, 0, 0))  # the second one's score is too low
    assert has_text(tile)


def test_where_nothing_is_found_the_best_guess_is_grey(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tile = draw(monkeypatch, tmp_path / "sheet.png", [make_sample("a", 1)], [0.2, 0.1])
    assert is_drawn(tile, 70, 100, GREY)
    assert is_drawn(tile, 44, 90, (0, 0, 0))
    assert not (tile == CAT).all(axis=2).any()


def test_a_network_without_any_detection_shows_the_objects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tile = draw(monkeypatch, tmp_path / "sheet.png", [make_sample("a", 1)], [])
    assert is_drawn(tile, 150, 120, colour_of(1, 3))
    assert not (tile[:110, :110]).any()


def test_many_detections_have_no_texts_that_would_hide_the_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tile = draw(monkeypatch, tmp_path / "sheet.png", [make_sample("a", 1)], [0.9] * 9)
    assert is_drawn(tile, 40 + 4 * 8, 90, CAT)
    assert not has_text(tile)


def test_nine_images_fill_two_rows_of_four(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draw(monkeypatch, tmp_path / "sheet.png", [make_sample(f"{n}", 0) for n in range(9)], [0.9])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 4 * (TILE + GAP) + GAP
        assert 2 * (TILE + GAP) < sheet.height < 2 * (TILE + GAP) + 40


def test_a_narrow_picture_has_its_whole_legend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    draw(monkeypatch, tmp_path / "sheet.png", [make_sample("a", 0, 1, 2)], [], input_hw=(128, 32))
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 4 * (TILE // 4 + GAP) + GAP
        legend = np.asarray(sheet)[TILE + 2 * GAP :]
    for label in range(3):
        assert (np.abs(legend.astype(int) - colour_of(label, 3)).sum(axis=2) < 60).any()


def test_tiles_have_the_shape_of_the_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wide = replace(make_sample("wide", 0), size_hw=(120, 240), load=lambda: np.zeros((120, 240, 3), np.uint8))
    tile = draw(monkeypatch, tmp_path / "sheet.png", [wide] * 5, [0.9], input_hw=(64, 128))
    assert is_drawn(tile, 70, 99, CAT)  # no margin above the image
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 4 * (TILE + GAP) + GAP
        assert 2 * (TILE // 2 + GAP) < sheet.height < 2 * (TILE // 2 + GAP) + 40
