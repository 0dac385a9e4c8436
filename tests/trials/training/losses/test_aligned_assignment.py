import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from trials.detections.anchors import cell_anchors
from trials.detections.decoding import anchors_tensor, build_grid, cell_centres
from trials.training.losses.aligned_assignment import AlignedPositives, assign_aligned
from trials.training.losses.targets import Targets

STRIDES = (8, 16)
GRID = build_grid(anchors_tensor(cell_anchors(STRIDES)), STRIDES, sizes_hw=((8, 8), (4, 4)))  # of a 64 px image
NUM_CLASSES = 3
NUM_PREDICTIONS = 64 + 16


def random_batch(seed: int, *, num_boxes: int = 9, num_images: int = 3) -> tuple[Tensor, Tensor, Targets]:
    """Scores, boxes around the cells, and objects, of which the last image has none."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(num_images, NUM_PREDICTIONS, NUM_CLASSES, generator=generator)
    sides = torch.rand(num_images, NUM_PREDICTIONS, 4, generator=generator) * 20
    centres = cell_centres(GRID)
    boxes = torch.cat((centres - sides[..., :2], centres + sides[..., 2:]), dim=-1)
    corners = torch.rand(num_boxes, 2, generator=generator) * 50
    sizes = torch.rand(num_boxes, 2, generator=generator) * 30
    targets = Targets(
        boxes=torch.cat((corners, corners + sizes), dim=-1),
        labels=torch.randint(0, NUM_CLASSES, (num_boxes,), generator=generator),
        images=torch.randint(0, num_images - 1, (num_boxes,), generator=generator),
    )
    return scores, boxes, targets


def assign(
    scores: Tensor, boxes: Tensor, targets: Targets, *, alpha: float = 1.0, beta: float = 2.0, most: int = 4
) -> AlignedPositives:
    return assign_aligned(scores, boxes, GRID, targets, score_exponent=alpha, iou_exponent=beta, most=most)


LARGE = Targets(torch.tensor([[8.0, 8.0, 40.0, 40.0]]), torch.tensor([1]), torch.tensor([0]))


def places_of(found: AlignedPositives) -> list[tuple[int, int]]:
    """The positives' images and predictions."""
    return list(zip(found.images.tolist(), found.predictions.tolist(), strict=True))


def plain(scores: Tensor, boxes: Tensor, targets: Targets, *, most: int) -> dict[tuple[int, int], tuple[int, float]]:
    """The rule one object after another: (image, prediction) to (object, quality)."""
    centres = cell_centres(GRID).tolist()
    overlaps = [
        box_iou(targets.boxes[row][None], boxes[targets.images[row]])[0].tolist() for row in range(len(targets.boxes))
    ]
    chosen: list[dict[tuple[int, int], float]] = []  # for each object, image and prediction to alignment
    for row, (x1, y1, x2, y2) in enumerate(targets.boxes.tolist()):
        image, own = int(targets.images[row]), int((y1 + y2) / 2 // 8) * 8 + int((x1 + x2) / 2 // 8)
        aligned = {
            (image, place): float(scores[image, place, targets.labels[row]]) * overlaps[row][place] ** 2
            for place, (x, y) in enumerate(centres)
            if (x1 < x < x2 and y1 < y < y2) or place == own
        }
        best = sorted(aligned, key=lambda place: -aligned[place])[:most]
        chosen.append({place: aligned[place] for place in best if aligned[place] > 0})
    for place in {place for own in chosen for place in own}:
        owners = [row for row in range(len(chosen)) if place in chosen[row]]
        for loser in sorted(owners, key=lambda row: -overlaps[row][place[1]])[1:]:
            del chosen[loser][place]
    result = {}
    for row, own in enumerate(chosen):
        for place, alignment in own.items():
            best_iou = max(overlaps[row][other] for _, other in own)
            result[place] = row, alignment / max(own.values()) * best_iou
    return result


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most", [1, 4, 100])
def test_it_equals_the_plain_version(seed: int, most: int) -> None:
    scores, boxes, targets = random_batch(seed)
    found, expected = assign(scores, boxes, targets, most=most), plain(scores, boxes, targets, most=most)
    assert sorted(places_of(found)) == sorted(expected)
    for place, row, quality in zip(places_of(found), found.targets.tolist(), found.quality.tolist(), strict=True):
        assert expected[place] == (row, pytest.approx(quality, abs=1e-5))


def test_the_best_prediction_of_an_object_is_to_score_its_iou() -> None:
    scores, boxes, _ = random_batch(0)
    found = assign(scores, boxes, LARGE)
    iou = box_iou(LARGE.boxes, boxes[0])[0][found.predictions]
    assert len(iou) == 4
    assert found.quality[0].item() == pytest.approx(float(iou.max()))
    assert found.quality.tolist() == sorted(found.quality.tolist(), reverse=True)


@pytest.mark.parametrize("score", [1.0, 1e-7, 1e-30])
def test_quality_is_relative_however_low_all_scores_are(score: float) -> None:
    """At the beginning of a training with 80 classes they are."""
    scores, boxes, _ = random_batch(0)
    found = assign(torch.full_like(scores, score), boxes, LARGE)
    expected = assign(torch.ones_like(scores), boxes, LARGE)
    assert len(found.quality) == 4
    torch.testing.assert_close(found.quality, expected.quality)


def test_an_object_smaller_than_a_cell_has_the_cell_it_is_in() -> None:
    scores, boxes, _ = random_batch(0)
    targets = Targets(torch.tensor([[9.0, 9.0, 11.0, 10.0]]), torch.tensor([1]), torch.tensor([0]))
    boxes[0, 9] = torch.tensor([8.0, 8.0, 16.0, 16.0])
    assert places_of(assign(scores, boxes, targets)) == [(0, 9)]  # row 1, column 1 of stride 8


@pytest.mark.parametrize("box", [(-30.0, -30.0, -10.0, -10.0), (80.0, 80.0, 90.0, 90.0)])
def test_an_object_beyond_the_image_is_no_error(box: tuple[float, ...]) -> None:
    scores, boxes, _ = random_batch(0)
    found = assign(scores, boxes, Targets(torch.tensor([box]), torch.tensor([1]), torch.tensor([0])))
    assert set(found.predictions.tolist()) <= {0, 63}


def test_what_no_prediction_overlaps_has_no_positive() -> None:
    scores, boxes, _ = random_batch(0)
    boxes[:] = torch.tensor([60.0, 60.0, 63.0, 63.0])
    corners = torch.tensor([[8.0, 8.0, 40.0, 40.0], [20.0, 20.0, 20.0, 20.0]])  # and one of no size
    found = assign(scores, boxes, Targets(corners, torch.tensor([1, 1]), torch.tensor([0, 0])))
    assert len(found.quality) == 0


def test_no_objects() -> None:
    scores, boxes, targets = random_batch(0, num_boxes=0)
    assert len(assign(scores, boxes, targets).quality) == 0


def test_of_two_equal_objects_the_first_keeps_a_prediction() -> None:
    scores, boxes, _ = random_batch(0)
    corners = torch.tensor([[8.0, 8.0, 40.0, 40.0]] * 2)
    found = assign(scores, boxes, Targets(corners, torch.tensor([1, 1]), torch.tensor([0, 0])))
    assert set(found.targets.tolist()) == {0}


def test_the_exponents_weigh_score_and_overlap() -> None:
    """Of two predictions the first scores higher, the second overlaps more."""
    scores, boxes = torch.zeros(1, NUM_PREDICTIONS, NUM_CLASSES), torch.zeros(1, NUM_PREDICTIONS, 4)
    targets = Targets(torch.tensor([[0.0, 0.0, 16.0, 16.0]]), torch.tensor([0]), torch.tensor([0]))
    scores[0, :2, 0] = torch.tensor([0.9, 0.3])
    boxes[0, :2] = torch.tensor([[0.0, 0.0, 16.0, 8.0], [0.0, 0.0, 16.0, 16.0]])
    assert places_of(assign(scores, boxes, targets, beta=0, most=1)) == [(0, 0)]
    assert places_of(assign(scores, boxes, targets, beta=2, most=1)) == [(0, 1)]
    assert places_of(assign(scores, boxes, targets, alpha=3, beta=2, most=1)) == [(0, 0)]
