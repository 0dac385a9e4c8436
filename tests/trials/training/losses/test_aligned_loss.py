from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import complete_box_iou

from trials.detections.anchors import cell_anchors
from trials.detections.decoding import anchors_tensor, build_grid, cell_centres, decode_maps
from trials.training.losses.aligned_assignment import assign_aligned
from trials.training.losses.aligned_loss import AlignedLoss, AlignedLossSettings
from trials.training.losses.targets import Targets

STRIDES, SIZES_HW = (8, 16), ((8, 8), (4, 4))
NUM_CLASSES, NUM_BINS = 3, 6
SETTINGS = AlignedLossSettings(most_positives=4)
CELLS = anchors_tensor(cell_anchors(STRIDES))


def random_maps(seed: int, *, batch: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 4 * NUM_BINS + NUM_CLASSES)
    return [torch.randn(*shape, *size, generator=generator).requires_grad_() for size in SIZES_HW]


def random_targets(seed: int, *, num_boxes: int = 9) -> Targets:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(num_boxes, 2, generator=generator) * 40
    sizes = 4 + torch.rand(num_boxes, 2, generator=generator) * 60  # some are beyond the last bin
    return Targets(
        boxes=torch.cat((corners, corners + sizes), dim=-1),
        labels=torch.randint(0, NUM_CLASSES, (num_boxes,), generator=generator),
        images=torch.randint(0, 2, (num_boxes,), generator=generator),
    )


NOTHING = random_targets(0, num_boxes=0)


def loss_of(settings: AlignedLossSettings = SETTINGS) -> AlignedLoss:
    return AlignedLoss(STRIDES, num_classes=NUM_CLASSES, settings=settings)


def decode(maps: list[Tensor]) -> tuple[Tensor, Tensor]:
    found = decode_maps(maps, CELLS, strides=STRIDES, coding="distances", num_classes=NUM_CLASSES)
    return found.boxes, found.scores


def plain_loss(maps: list[Tensor], objects: Targets) -> tuple[float, float]:
    """Box and class term, one positive after another."""
    batch, grid = len(maps[0]), build_grid(CELLS, STRIDES, sizes_hw=SIZES_HW)
    boxes, scores = decode(maps)
    found = assign_aligned(
        scores,
        boxes,
        grid,
        objects,
        score_exponent=SETTINGS.score_exponent,
        iou_exponent=SETTINGS.iou_exponent,
        most=SETTINGS.most_positives,
    )
    rows = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
    total, box = found.quality.sum().clamp(min=1.0), torch.zeros(())
    goal = torch.zeros(batch, rows.shape[1], NUM_CLASSES)
    for image, place, number, quality in zip(
        found.images.tolist(), found.predictions.tolist(), found.targets.tolist(), found.quality.tolist(), strict=True
    ):
        wanted = objects.boxes[number]
        goal[image, place, objects.labels[number]] = quality
        (x, y), stride = cell_centres(grid)[place].tolist(), grid.strides[place].item()
        sides = (x - wanted[0], y - wanted[1], wanted[2] - x, wanted[3] - y)
        spread = 0.0
        for side, logits in zip(sides, rows[image, place, : 4 * NUM_BINS].view(4, NUM_BINS), strict=True):
            cells = min(max(float(side) / stride, 0.0), NUM_BINS - 1.01)
            lower, share = int(cells), cells - int(cells)
            target = torch.zeros(NUM_BINS)
            target[lower], target[lower + 1] = 1 - share, share
            spread += float(F.cross_entropy(logits[None], target[None])) / 4
        ciou = complete_box_iou(boxes[image, place][None], wanted[None])[0, 0]
        box = box + quality * (SETTINGS.box_weight * (1 - ciou) + SETTINGS.distance_weight * spread)
    classes = F.binary_cross_entropy_with_logits(rows[..., 4 * NUM_BINS :], goal, reduction="sum")
    return float(box * batch / total), float(SETTINGS.class_weight * classes * batch / total)


@pytest.mark.parametrize("seed", range(6))
def test_the_loss_equals_the_plain_version(seed: int) -> None:
    maps, objects = random_maps(seed), random_targets(seed)
    parts = loss_of()(maps, objects, NOTHING)
    with torch.no_grad():
        box, classes = plain_loss(maps, objects)
    assert parts.box.item() == pytest.approx(box, rel=1e-4)
    assert parts.classes.item() == pytest.approx(classes, rel=1e-4)
    assert parts.total.item() == pytest.approx(box + classes, rel=1e-4)


def test_few_and_poor_positives_do_not_make_the_background_count_more() -> None:
    """Terms are divided by qualities of which the sum is at least 1: here one positive of a low quality."""
    maps = [torch.full_like(one, -4.0) for one in random_maps(0)]
    objects = Targets(torch.tensor([[30.0, 30.0, 34.0, 34.0]]), torch.tensor([0]), torch.tensor([0]))
    with_object, without = (loss_of()(maps, one, NOTHING) for one in (objects, NOTHING))
    assert with_object.box > 0
    assert with_object.classes.item() == pytest.approx(without.classes.item(), rel=0.05)


POINT = Targets(torch.tensor([[20.0, 20.0, 20.0, 20.0]]), torch.tensor([0]), torch.tensor([0]))


@pytest.mark.parametrize("objects", [NOTHING, random_targets(0), POINT], ids=["none", "objects", "one of no size"])
def test_every_map_has_a_finite_gradient(objects: Targets) -> None:
    maps = random_maps(0)
    loss_of()(maps, objects, NOTHING).total.backward()  # type: ignore[no-untyped-call]
    for one in maps:
        assert one.grad is not None
        assert one.grad.isfinite().all()
        assert one.grad[:, 4 * NUM_BINS :].abs().sum() > 0


def test_boxes_of_no_size_have_a_finite_gradient() -> None:
    """All distributions at bin 0: what CIoU divides by is nearly 0."""
    maps = [torch.full_like(one, -40.0) for one in random_maps(0)]
    for one in maps:
        one[:, range(0, 4 * NUM_BINS, NUM_BINS)] = 40.0
        one.requires_grad_()
    loss_of()(maps, random_targets(0), NOTHING).total.backward()  # type: ignore[no-untyped-call]
    assert all(one.grad is not None and one.grad.isfinite().all() for one in maps)


def test_half_precision_maps_give_a_finite_loss() -> None:
    maps = [one.detach().bfloat16() for one in random_maps(0)]
    assert loss_of()(maps, random_targets(0), NOTHING).total.isfinite()


def test_what_lies_inside_an_ignored_box_is_no_background() -> None:
    maps, objects = random_maps(0), random_targets(0)
    everywhere = Targets(
        torch.tensor([[-500.0, -500.0, 500.0, 500.0]] * 9),
        torch.arange(9) % NUM_CLASSES,
        torch.arange(9) // NUM_CLASSES,
    )
    assert loss_of()(maps, NOTHING, NOTHING).total > 0
    assert loss_of()(maps, NOTHING, everywhere).total == 0
    with_background, without = (loss_of()(maps, objects, ignored) for ignored in (NOTHING, everywhere))
    assert without.box == with_background.box
    assert 0 < without.classes < with_background.classes


def test_an_ignored_box_is_background_for_other_classes() -> None:
    maps, everywhere = random_maps(0), torch.tensor([[-500.0, -500.0, 500.0, 500.0]])
    cats = Targets(everywhere, torch.tensor([1]), torch.tensor([2]))
    loss_of()(maps, NOTHING, cats).total.backward()  # type: ignore[no-untyped-call]
    for one in maps:
        assert one.grad is not None
        is_counted = one.grad[:, 4 * NUM_BINS :].abs().amin(dim=(2, 3)) > 0
        assert is_counted.tolist() == [[True] * 3, [True] * 3, [True, False, True]]
        assert (one.grad[2, 4 * NUM_BINS + 1] == 0).all()


def test_a_positive_inside_an_ignored_box_is_counted_for_its_own_class_alone() -> None:
    maps, objects = random_maps(0), random_targets(0)
    everywhere = torch.tensor([[-500.0, -500.0, 500.0, 500.0]] * 3)
    dogs = Targets(everywhere, torch.tensor([2] * 3), torch.arange(3))
    cats = objects.take(objects.labels == 1)
    assert len(cats.labels)
    loss_of()(maps, cats, dogs).classes.backward()  # type: ignore[no-untyped-call]
    for one in maps:
        assert one.grad is not None
        assert (one.grad[:, 4 * NUM_BINS + 2] == 0).all()


def test_a_few_steps_fit_an_object() -> None:
    """The loss leads the maps themselves to the object, its class and its quality."""
    maps = [torch.zeros(1, 4 * NUM_BINS + NUM_CLASSES, *size, requires_grad=True) for size in SIZES_HW]
    wanted = Targets(torch.tensor([[10.0, 12.0, 34.0, 50.0]]), torch.tensor([2]), torch.tensor([0]))
    optimiser, loss = torch.optim.Adam(maps, lr=0.1), loss_of()
    for _ in range(300):
        optimiser.zero_grad()
        loss(maps, wanted, NOTHING).total.backward()
        optimiser.step()
    boxes, scores = decode([one.detach() for one in maps])
    best = scores[0].flatten().argmax()
    assert best % NUM_CLASSES == 2
    assert scores[0].max() > 0.8
    torch.testing.assert_close(boxes[0, best // NUM_CLASSES], wanted.boxes[0], atol=1.0, rtol=0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("box_weight", -1.0, "a weight of the loss is negative"),
        ("distance_weight", -1.0, "a weight of the loss is negative"),
        ("class_weight", -1.0, "a weight of the loss is negative"),
        ("score_exponent", -0.1, "an exponent of the assignment is negative"),
        ("iou_exponent", -0.1, "an exponent of the assignment is negative"),
        ("most_positives", 0, "most_positives is 0"),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **{field: value})  # type: ignore[arg-type]
