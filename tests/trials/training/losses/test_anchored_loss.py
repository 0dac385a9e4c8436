import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torchvision.ops import complete_box_iou, generalized_box_iou

from tests.trials.detections.box_encoding import encode_boxes
from tests.trials.training.losses.test_anchor_assignment import SIZES_HW, plain_neighbours, plain_single, random_targets
from tests.trials.training.tiny_network import ANCHORS, STRIDES
from trials.detections.decoding import anchors_tensor, build_grid, decode_boxes, flatten_maps, take_rows
from trials.training.losses.anchor_assignment import Assignment
from trials.training.losses.anchored_loss import (
    BoxLoss,
    DetectionLoss,
    LossSettings,
    ObjectnessTarget,
    Reduction,
    modern_loss,
    paper_loss,
)
from trials.training.losses.targets import LossParts, Targets

NUM_CLASSES = 4
NOTHING = random_targets(0, num_boxes=0)


def random_maps(seed: int, *, batch: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, 3 * (5 + NUM_CLASSES), *size, generator=generator, requires_grad=True) for size in SIZES_HW
    ]


def compute(
    maps: list[Tensor], objects: Targets, ignored: Targets = NOTHING, settings: LossSettings | None = None
) -> LossParts:
    loss: LossParts = DetectionLoss(ANCHORS, STRIDES, settings or modern_loss())(maps, objects, ignored)
    return loss


def cross_entropy(logit: float, target: float) -> float:
    return max(logit, 0) - logit * target + math.log1p(math.exp(-abs(logit)))


def iou_of(one: Tensor, other: Tensor) -> float:
    sides = (torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])).clamp(min=0)
    shared = float(sides.prod())
    return shared / (float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()) - shared)


def plain_parts(maps: list[Tensor], objects: Targets, settings: LossSettings) -> tuple[float, float, float]:
    """One prediction after another, by the definitions."""
    logits = flatten_maps(maps, num_anchors=3).detach()
    coding = "exponential" if settings.assignment == "single" else "bounded"
    grid = build_grid(anchors_tensor(ANCHORS), STRIDES, sizes_hw=SIZES_HW)
    predicted = decode_boxes(logits[..., :4], grid, coding=coding)  # type: ignore[arg-type]
    if settings.assignment == "single":
        positives = [(image, place, index) for (image, place), index in plain_single(objects).items()]
    else:
        positives = list(plain_neighbours(objects))
    generalised = generalized_box_iou if settings.box_loss == "giou" else complete_box_iou
    box = classes = objectness = 0.0
    target: dict[tuple[int, int], float] = {}
    for image, place, index in positives:
        one, wanted = predicted[image, place], objects.boxes[index]
        box += 1 - float(generalised(one[None], wanted[None]))
        value = 1.0 if settings.objectness_target == "one" else max(1e-6, iou_of(one, wanted))
        target[image, place] = max(value, target.get((image, place), 0.0))
        for k in range(NUM_CLASSES):
            classes += cross_entropy(float(logits[image, place, 5 + k]), float(k == int(objects.labels[index])))
    for image in range(len(logits)):
        own = objects.boxes[objects.images == image]
        for place in range(logits.shape[1]):
            if (image, place) not in target and any(
                iou_of(predicted[image, place], wanted) >= settings.ignore_iou for wanted in own
            ):
                continue
            objectness += cross_entropy(float(logits[image, place, 4]), target.get((image, place), 0.0))
    count = len(logits) if settings.reduction == "images" else len(positives)
    weights = settings.box_weight / count, settings.objectness_weight / count, settings.class_weight / count
    return box * weights[0], objectness * weights[1], classes * weights[2]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "settings",
    [
        paper_loss(),
        modern_loss(),
        LossSettings(ignore_iou=0.3, box_weight=2.5),
        LossSettings(reduction="positives", objectness_weight=0.5, class_weight=3.0),
    ],
)
def test_the_loss_equals_the_plain_version(settings: LossSettings, seed: int) -> None:
    maps, objects = random_maps(seed), random_targets(seed, num_boxes=12)
    parts = compute(maps, objects, settings=settings)
    expected = plain_parts(maps, objects, settings)
    assert [part.item() for part in parts[1:]] == pytest.approx(expected, rel=1e-4)
    assert parts.total.item() == pytest.approx(sum(expected), rel=1e-4)


@pytest.mark.parametrize("reduction", get_args(Reduction))
@pytest.mark.parametrize("target", get_args(ObjectnessTarget))
@pytest.mark.parametrize("box_loss", get_args(BoxLoss))
@pytest.mark.parametrize("assignment", get_args(Assignment))
def test_every_choice_gives_every_map_a_finite_gradient(
    assignment: Assignment, box_loss: BoxLoss, target: ObjectnessTarget, reduction: Reduction
) -> None:
    settings = LossSettings(assignment=assignment, box_loss=box_loss, objectness_target=target, reduction=reduction)
    for objects in (random_targets(1), NOTHING):
        maps = random_maps(1)
        parts = compute(maps, objects, settings=settings)
        parts.total.backward()  # type: ignore[no-untyped-call]
        assert parts.total.isfinite()
        for one in maps:
            assert one.grad is not None
            assert one.grad.isfinite().all()
            assert one.grad.any()


def test_without_objects_boxes_and_classes_cost_nothing() -> None:
    parts = compute(random_maps(0), NOTHING)
    assert parts.box == parts.classes == 0
    assert parts.objectness > 0


def test_perfect_maps_cost_almost_nothing() -> None:
    boxes = torch.tensor([[10.0, 20.0, 22.0, 30.0], [40.0, 30.0, 90.0, 70.0]])
    objects = Targets(boxes, torch.tensor([2, 0]), torch.tensor([0, 0]))
    grid = build_grid(anchors_tensor(ANCHORS), STRIDES, sizes_hw=SIZES_HW)
    logits = torch.full((len(grid.cells), 5 + NUM_CLASSES), -20.0)
    for (_, place), index in plain_single(objects).items():
        logits[place, :4] = encode_boxes(boxes[index], take_rows(grid, torch.tensor([place])), coding="exponential")[0]
        logits[place, [4, 5 + int(objects.labels[index])]] = 20.0
    maps, start = [], 0
    for height, width in SIZES_HW:
        rows = logits[start : start + height * width * 3].view(1, height, width, -1)
        maps.append(rows.permute(0, 3, 1, 2))
        start += height * width * 3
    assert float(compute(maps, objects, settings=paper_loss()).total) < 1e-3


@pytest.mark.parametrize("settings", [paper_loss(), modern_loss()])
def test_ignored_boxes_are_neither_positive_nor_background(settings: LossSettings) -> None:
    whole = Targets(torch.tensor([[-500.0, -500.0, 600.0, 600.0]]), torch.tensor([0]), torch.tensor([0]))
    maps = [one.detach().clamp(-2, 2).requires_grad_() for one in random_maps(2, batch=2)]
    compute(maps, NOTHING, whole, settings).total.backward()  # type: ignore[no-untyped-call]
    for one in maps:
        assert one.grad is not None
        assert not one.grad[0].any()  # all of the first image is forgiven
        assert one.grad[1].any()


def test_a_positive_inside_an_ignored_box_still_counts() -> None:
    objects = random_targets(4, num_boxes=4, num_images=1)
    whole = Targets(torch.tensor([[-500.0, -500.0, 600.0, 600.0]]), torch.tensor([0]), torch.tensor([0]))
    maps = random_maps(2, batch=1)
    compute(maps, objects, whole).objectness.backward()  # type: ignore[no-untyped-call]
    positives = {place for _, place, _ in plain_neighbours(objects)}
    gradient = flatten_maps([one.grad for one in maps if one.grad is not None], num_anchors=3)[0, :, 4]
    assert set(gradient.nonzero().flatten().tolist()) == positives


def test_the_objectness_target_passes_no_gradient_to_the_box() -> None:
    maps = random_maps(3)
    compute(maps, random_targets(3)).objectness.backward()  # type: ignore[no-untyped-call]
    for one in maps:
        assert one.grad is not None
        assert not flatten_maps([one.grad], num_anchors=3)[..., :4].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"assignment": "best"}, "assignment 'best' is unknown; choose one of single, neighbours"),
        ({"box_loss": "l1"}, "box_loss 'l1' is unknown"),
        ({"objectness_target": "two"}, "^objectness_target 'two' is unknown; choose one of one, iou"),
        ({"reduction": "mean"}, "^reduction 'mean' is unknown; choose one of images, positives"),
        ({"ignore_iou": 0.0}, "ignore_iou 0.0 is not above 0"),
        ({"ignore_iou": 1.1}, "ignore_iou 1.1 is not above 0 and at most 1"),
        ({"box_weight": -1.0}, "^a weight of the loss is negative; weights start at 0"),
        ({"objectness_weight": -0.1}, "a weight of the loss is negative"),
        ({"class_weight": -0.1}, "a weight of the loss is negative"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossSettings(**changes)  # type: ignore[arg-type]


def test_the_loss_of_the_paper_is_that_of_its_authors_code() -> None:
    assert paper_loss() == LossSettings(
        assignment="single", box_loss="giou", objectness_target="one", ignore_iou=0.5, reduction="images"
    )


def test_weights_of_zero_are_allowed_and_leave_their_term_out() -> None:
    settings = LossSettings(box_weight=0.0, objectness_weight=0.0, class_weight=0.0)
    parts = compute(random_maps(0), random_targets(0), settings=settings)
    assert [float(part.detach()) for part in parts] == [0.0] * 4


def test_maps_need_not_be_square() -> None:
    objects = Targets(torch.tensor([[4.0, 60.0, 30.0, 90.0]]), torch.tensor([1]), torch.tensor([0]))
    tall = [torch.zeros(1, 3 * (5 + NUM_CLASSES), *size) for size in ((12, 6), (6, 3))]
    wide = [one.transpose(2, 3) for one in tall]
    turned = objects._replace(boxes=objects.boxes[:, [1, 0, 3, 2]])
    assert compute(tall, objects).classes == pytest.approx(compute(wide, turned).classes.item())
    assert compute(tall, objects).classes > 0


def test_predictions_on_objects_and_those_in_ignored_boxes_are_forgiven_together() -> None:
    maps, settings = random_maps(5, batch=1), LossSettings(ignore_iou=0.3)
    objects = random_targets(5, num_boxes=6, num_images=1)
    corner = Targets(torch.tensor([[0.0, 0.0, 30.0, 30.0]]), torch.tensor([0]), torch.tensor([0]))
    alone, together = (compute(maps, objects, ignored, settings).objectness for ignored in (NOTHING, corner))
    none_forgiven = compute(maps, objects, NOTHING).objectness
    only_corner = compute(maps, objects, corner).objectness
    assert together < alone < none_forgiven
    assert together < only_corner < none_forgiven


def test_a_single_object_forgives_what_overlaps_it() -> None:
    maps = [one.detach() for one in random_maps(5, batch=1)]
    one = Targets(torch.tensor([[20.0, 20.0, 60.0, 60.0]]), torch.tensor([0]), torch.tensor([0]))
    kept, forgiven = (compute(maps, one, settings=LossSettings(ignore_iou=iou)) for iou in (1.0, 0.3))
    assert forgiven.objectness < kept.objectness


def test_the_state_of_the_loss_is_empty() -> None:
    assert DetectionLoss(ANCHORS, STRIDES, modern_loss()).state_dict() == {}
