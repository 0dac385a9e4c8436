from typing import get_args

import numpy as np
import pytest
import torch

from tests.trials.detections.box_encoding import encode_boxes
from tests.trials.training.tiny_network import ANCHORS, STRIDES
from trials.detections.decoding import PredictionGrid, anchors_tensor, build_grid, decode_boxes, take_rows
from trials.training.losses.anchor_assignment import (
    ASSIGNMENTS,
    Assignment,
    Positives,
)
from trials.training.losses.targets import Targets, inside_ignored, inside_ignored_by_class, overlapping

SIZE = 96
SIZES_HW = tuple((SIZE // stride, SIZE // stride) for stride in STRIDES)
GRID = build_grid(anchors_tensor(ANCHORS), STRIDES, sizes_hw=SIZES_HW)
RULES = get_args(Assignment)


def random_targets(seed: int, *, num_boxes: int = 40, num_images: int = 3, num_classes: int = 4) -> Targets:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, SIZE, (num_boxes, 2))
    halves = np.exp(rng.uniform(np.log(1), np.log(80), (num_boxes, 2))) / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1).clip(0, SIZE)
    images = np.sort(rng.integers(num_images, size=num_boxes))
    return Targets(
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(rng.integers(num_classes, size=num_boxes)),
        torch.tensor(images),
    )


def row_of(stride_index: int, *, row: int, column: int, anchor: int) -> int:
    before = sum(height * width * 3 for height, width in SIZES_HW[:stride_index])
    return before + (row * SIZES_HW[stride_index][1] + column) * 3 + anchor


def plain_single(targets: Targets) -> dict[tuple[int, int], int]:
    """One object after another: (image, prediction) to object."""
    chosen = {}
    for index, ((x1, y1, x2, y2), image) in enumerate(
        zip(targets.boxes.tolist(), targets.images.tolist(), strict=True)
    ):
        best = (-1.0, 0, 0)
        for stride_index, anchors in enumerate(ANCHORS):
            for anchor, (width, height) in enumerate(anchors):
                overlap = min(width, x2 - x1) * min(height, y2 - y1)
                iou = overlap / (width * height + (x2 - x1) * (y2 - y1) - overlap)
                if iou > best[0]:
                    best = (iou, stride_index, anchor)
        _, stride_index, anchor = best
        stride, (rows, columns) = STRIDES[stride_index], SIZES_HW[stride_index]
        column, row = min(int((x1 + x2) / 2 / stride), columns - 1), min(int((y1 + y2) / 2 / stride), rows - 1)
        chosen[image, row_of(stride_index, row=row, column=column, anchor=anchor)] = index
    return chosen


def plain_neighbours(targets: Targets) -> set[tuple[int, int, int]]:
    """One object after another: (image, prediction, object)."""
    chosen = set()
    for index, ((x1, y1, x2, y2), image) in enumerate(
        zip(targets.boxes.tolist(), targets.images.tolist(), strict=True)
    ):
        for stride_index, anchors in enumerate(ANCHORS):
            stride, (rows, columns) = STRIDES[stride_index], SIZES_HW[stride_index]
            x, y = (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride
            column, row = min(int(x), columns - 1), min(int(y), rows - 1)
            cells = [(row, column), (row, column - 1 if x - column < 0.5 else column + 1)]
            cells.append((row - 1 if y - row < 0.5 else row + 1, column))
            for anchor, (width, height) in enumerate(anchors):
                ratios = ((x2 - x1) / width, width / (x2 - x1), (y2 - y1) / height, height / (y2 - y1))
                if max(ratios) >= 4:
                    continue
                for cell_row, cell_column in cells:
                    if 0 <= cell_row < rows and 0 <= cell_column < columns:
                        place = row_of(stride_index, row=cell_row, column=cell_column, anchor=anchor)
                        chosen.add((image, place, index))
    return chosen


def triples(positives: Positives) -> list[tuple[int, int, int]]:
    columns = (positives.images, positives.predictions, positives.targets)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def assign(name: Assignment, targets: Targets, grid: PredictionGrid = GRID) -> Positives:
    return ASSIGNMENTS[name].assign(targets, anchors_tensor(ANCHORS), grid)


@pytest.mark.parametrize("seed", range(10))
def test_single_equals_the_plain_version(seed: int) -> None:
    targets = random_targets(seed)
    found = triples(assign("single", targets))
    assert {(image, place): index for image, place, index in found} == plain_single(targets)
    assert len(found) == len(plain_single(targets))


@pytest.mark.parametrize("seed", range(10))
def test_neighbours_equals_the_plain_version(seed: int) -> None:
    targets = random_targets(seed)
    found = triples(assign("neighbours", targets))
    assert set(found) == plain_neighbours(targets)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("sizes_hw", [((12, 6), (6, 3)), ((4, 12), (2, 6))])
def test_maps_need_not_be_square(name: Assignment, sizes_hw: tuple[tuple[int, int], ...]) -> None:
    grid = build_grid(anchors_tensor(ANCHORS), STRIDES, sizes_hw=sizes_hw)
    (height, width), stride = sizes_hw[0], STRIDES[0]
    targets = random_targets(7)
    targets = targets._replace(boxes=targets.boxes * targets.boxes.new_tensor([width, height] * 2) * stride / SIZE)
    positives = assign(name, targets, grid)
    centres = (targets.boxes[:, :2] + targets.boxes[:, 2:])[positives.targets] / 2 / grid.strides[positives.predictions]
    assert len(centres) > 10
    assert ((grid.cells[positives.predictions] + 0.5 - centres).abs() <= 1).all()


@pytest.mark.parametrize("name", RULES)
def test_no_boxes_give_no_positives(name: Assignment) -> None:
    assert triples(assign(name, random_targets(0, num_boxes=0))) == []


def test_of_two_objects_that_want_one_prediction_the_later_gets_it() -> None:
    box = torch.tensor([[20.0, 20.0, 30.0, 32.0]]).repeat(3, 1)
    targets = Targets(box, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]))
    assert [index for _, _, index in triples(assign("single", targets))] == [1, 2]


@pytest.mark.parametrize("name", RULES)
def test_a_centre_on_the_far_edge_belongs_to_the_last_cell(name: Assignment) -> None:
    targets = Targets(torch.tensor([[90.0, 90.0, 102.0, 102.0]]), torch.tensor([0]), torch.tensor([0]))
    positives = assign(name, targets)
    assert len(positives.predictions) > 0
    assert (GRID.cells[positives.predictions].amax(dim=0) == torch.tensor([11.0, 11.0])).all()


@pytest.mark.parametrize("name", RULES)
def test_each_rule_s_coding_reaches_the_objects_it_assigns(name: Assignment) -> None:
    targets = random_targets(3)
    if name == "single":  # σ reaches the inside of the cell only, any size
        targets = targets.take((targets.boxes[:, 2:] - targets.boxes[:, :2]).amin(dim=1) > 1)
    positives = assign(name, targets)
    rows = take_rows(GRID, positives.predictions)
    wanted = targets.boxes[positives.targets]
    coding = ASSIGNMENTS[name].coding
    decoded = decode_boxes(encode_boxes(wanted, rows, coding=coding), rows, coding=coding)
    torch.testing.assert_close(decoded, wanted, atol=0.02, rtol=1e-3)


def test_a_centre_in_the_middle_of_a_cell_has_the_right_and_the_lower_neighbour() -> None:
    targets = Targets(torch.tensor([[39.0, 38.0, 49.0, 50.0]]), torch.tensor([0]), torch.tensor([0]))  # around 44, 44
    cells = GRID.cells[assign("neighbours", targets).predictions]
    fine = cells[GRID.strides[assign("neighbours", targets).predictions][:, 0] == 8]
    assert {tuple(cell) for cell in fine.tolist()} == {(5.0, 5.0), (6.0, 5.0), (5.0, 6.0)}


@pytest.mark.parametrize(("factor", "is_assigned"), [(3.99, True), (4.0, False), (1 / 3.99, True), (0.25, False)])
def test_an_anchor_fits_within_a_factor_below_four(factor: float, is_assigned: bool) -> None:
    anchors = torch.tensor([[[16.0, 16.0]] * 3] * 2)
    half = 8.0 * factor
    targets = Targets(torch.tensor([[48 - half, 40.0, 48 + half, 56.0]]), torch.tensor([0]), torch.tensor([0]))
    found = ASSIGNMENTS["neighbours"].assign(targets, anchors, GRID)
    assert bool(len(found.targets)) == is_assigned


def test_overlapping_looks_at_the_own_image_only() -> None:
    predicted = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]]]).repeat(2, 1, 1)
    objects = Targets(torch.tensor([[0.0, 0.0, 10.0, 8.0]]), torch.tensor([0]), torch.tensor([1]))
    assert overlapping(predicted, objects, min_iou=0.5).tolist() == [[False, False], [True, False]]
    assert not overlapping(predicted, objects, min_iou=0.9).any()
    assert overlapping(predicted, objects, min_iou=0.8).any()  # exactly


def test_a_prediction_inside_an_ignored_region_is_forgiven_whatever_their_sizes() -> None:
    predicted = torch.tensor([[[10.0, 10.0, 20.0, 20.0], [45.0, 0.0, 65.0, 10.0], [46.0, 0.0, 66.0, 10.0]]])
    crowd = Targets(torch.tensor([[0.0, 0.0, 55.0, 96.0]]), torch.tensor([0]), torch.tensor([0]))
    assert inside_ignored(predicted, crowd).tolist() == [[True, True, False]]
    assert inside_ignored_by_class(predicted, crowd, num_classes=1).tolist() == [[[True], [True], [False]]]


def test_an_ignored_region_forgives_its_class_in_its_image() -> None:
    predicted = torch.tensor([[10.0, 10.0, 20.0, 20.0], [70.0, 70.0, 80.0, 80.0]]).expand(2, 2, 4)
    boxes = torch.tensor([[0.0, 0.0, 50.0, 50.0], [5.0, 5.0, 50.0, 50.0], [60.0, 60.0, 90.0, 90.0]])
    regions = Targets(boxes, labels=torch.tensor([1, 1, 0]), images=torch.tensor([0, 0, 1]))
    forgiven = inside_ignored_by_class(predicted, regions, num_classes=2)
    assert forgiven.tolist() == [[[False, True], [False, False]], [[False, False], [True, False]]]


def test_a_prediction_apart_from_an_ignored_region_is_not_forgiven_however_small() -> None:
    predicted = torch.tensor([[[70.0, 70.0, 71.0, 71.0], [70.0, 10.0, 71.0, 11.0]]])
    crowd = Targets(torch.tensor([[0.0, 0.0, 55.0, 55.0]]), torch.tensor([0]), torch.tensor([0]))
    assert inside_ignored(predicted, crowd).tolist() == [[False, False]]


def test_images_without_boxes_are_no_matter() -> None:
    predicted = torch.rand(4, 6, 4).cumsum(dim=-1)
    none = random_targets(0, num_boxes=0)
    assert not overlapping(predicted, none, min_iou=0.5).any()
    assert not inside_ignored(predicted, none).any()
    assert not inside_ignored_by_class(predicted, none, num_classes=3).any()
