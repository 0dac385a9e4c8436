import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from trials.detections.anchors import cell_anchors
from trials.detections.decoding import anchors_tensor, build_grid, cell_centres
from trials.training.losses.aligned_assignment import Aligned, assign_aligned
from trials.training.losses.targets import Targets, pad_by_image

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
) -> Aligned:
    wanted = pad_by_image(targets, len(scores))
    return assign_aligned(scores, boxes, GRID, wanted, score_exponent=alpha, iou_exponent=beta, most=most)


def plain(scores: Tensor, boxes: Tensor, targets: Targets, *, most: int) -> dict[tuple[int, int], tuple[int, float]]:
    """The rule one object after another: (image, prediction) to (object within the image, quality)."""
    centres = cell_centres(GRID).tolist()
    result: dict[tuple[int, int], tuple[int, float]] = {}
    for image in range(len(scores)):
        rows = [row for row in range(len(targets.boxes)) if targets.images[row] == image]
        chosen: list[dict[int, float]] = []  # for each object, prediction to alignment
        overlaps = box_iou(targets.boxes[rows], boxes[image]).tolist()
        for number, row in enumerate(rows):
            x1, y1, x2, y2 = targets.boxes[row].tolist()
            distances = [((x1 + x2) / 2 - x) ** 2 + ((y1 + y2) / 2 - y) ** 2 for x, y in centres[:64]]
            nearest = distances.index(min(distances))
            aligned = {
                place: float(scores[image, place, targets.labels[row]]) * overlaps[number][place] ** 2
                for place, (x, y) in enumerate(centres)
                if (x1 < x < x2 and y1 < y < y2) or place == nearest
            }
            best = sorted(aligned, key=lambda place: -aligned[place])[:most]
            chosen.append({place: aligned[place] for place in best if aligned[place] > 0} or {nearest: 0.0})
        for place in range(NUM_PREDICTIONS):
            owners = [number for number in range(len(rows)) if place in chosen[number]]
            for loser in sorted(owners, key=lambda number: -overlaps[number][place])[1:]:
                del chosen[loser][place]
        for number, own in enumerate(chosen):
            highest = max(own.values(), default=0.0)
            best_iou = max((overlaps[number][place] for place in own), default=0.0)
            for place, alignment in own.items():
                result[image, place] = number, alignment / highest * best_iou if highest else 0.0
    return result


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most", [1, 4, 100])
def test_it_equals_the_plain_version(seed: int, most: int) -> None:
    scores, boxes, targets = random_batch(seed)
    found, expected = assign(scores, boxes, targets, most=most), plain(scores, boxes, targets, most=most)
    places = [(image, place) for image, place in found.is_positive.nonzero().tolist()]
    assert places == sorted(expected)
    for image, place in places:
        number, quality = expected[image, place]
        assert found.objects[image, place] == number
        assert found.quality[image, place].item() == pytest.approx(quality, abs=1e-5)
    assert (found.quality[~found.is_positive] == 0).all()


def test_the_best_prediction_of_an_object_is_to_score_its_iou() -> None:
    scores, boxes, targets = random_batch(0, num_boxes=1)
    found, image = assign(scores, boxes, targets), int(targets.images[0])
    iou = box_iou(targets.boxes, boxes[image])[0][found.is_positive[image]]
    assert found.quality[image].max().item() == pytest.approx(float(iou.max()))


def test_an_object_smaller_than_a_cell_has_the_nearest_one() -> None:
    scores, boxes, _ = random_batch(0)
    targets = Targets(torch.tensor([[9.0, 9.0, 11.0, 10.0]]), torch.tensor([1]), torch.tensor([0]))
    assert assign(scores, boxes, targets).is_positive.nonzero().tolist() == [[0, 9]]  # row 1, column 1 of stride 8


def test_an_object_that_no_prediction_overlaps_still_has_one_of_quality_0() -> None:
    scores, boxes, _ = random_batch(0)
    targets = Targets(torch.tensor([[8.0, 8.0, 40.0, 40.0]]), torch.tensor([1]), torch.tensor([0]))
    boxes[:] = torch.tensor([60.0, 60.0, 63.0, 63.0])
    found = assign(scores, boxes, targets)
    assert found.is_positive.sum() == 1
    assert found.quality.sum() == 0


def test_no_objects() -> None:
    scores, boxes, targets = random_batch(0, num_boxes=0)
    found = assign(scores, boxes, targets)
    assert not found.is_positive.any()
    assert found.quality.shape == (3, NUM_PREDICTIONS)


def test_the_exponents_weigh_score_and_overlap() -> None:
    """Of two predictions the first scores higher, the second overlaps more."""
    scores, boxes = torch.zeros(1, NUM_PREDICTIONS, NUM_CLASSES), torch.zeros(1, NUM_PREDICTIONS, 4)
    targets = Targets(torch.tensor([[0.0, 0.0, 16.0, 16.0]]), torch.tensor([0]), torch.tensor([0]))
    scores[0, :2, 0] = torch.tensor([0.9, 0.3])
    boxes[0, :2] = torch.tensor([[0.0, 0.0, 16.0, 8.0], [0.0, 0.0, 16.0, 16.0]])
    assert assign(scores, boxes, targets, beta=0, most=1).is_positive.nonzero().tolist() == [[0, 0]]
    assert assign(scores, boxes, targets, beta=2, most=1).is_positive.nonzero().tolist() == [[0, 1]]
    assert assign(scores, boxes, targets, alpha=3, beta=2, most=1).is_positive.nonzero().tolist() == [[0, 0]]
