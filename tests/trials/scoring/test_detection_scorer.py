"""A whole network scored: one that tells images apart by their grey, and gives each the maps it was told to give."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trials.detections.box_encoding import encode_boxes
from tests.trials.training.tiny_network import ANCHORS, STRIDES
from trials.data import Sample
from trials.data.images.letterbox import fit_letterbox, letterbox_boxes
from trials.detections import Decoding
from trials.detections.decoding import anchors_tensor, build_grid
from trials.scoring import DetectionScorer, Scores, score_network
from trials.scoring.detection_scorer import detect

INPUT_HW = (64, 96)
DECODING = Decoding(anchors=ANCHORS, coding="bounded", class_names=("cat", "dog", "emu"), input_hw=INPUT_HW)
SIZES_HW = tuple((INPUT_HW[0] // stride, INPUT_HW[1] // stride) for stride in STRIDES)
GRID = build_grid(anchors_tensor(ANCHORS), STRIDES, sizes_hw=SIZES_HW)


def make_sample(number: int, size_hw: tuple[int, int], boxes: Sequence[Sequence[float]], labels: list[int]) -> Sample:
    """Return an image that is grey all over, the lighter the higher its number."""
    return Sample(
        name=f"image {number}",
        size_hw=size_hw,
        boxes=np.array(boxes, np.float32),
        labels=np.array(labels, np.int64),
        ignored=np.zeros(len(labels), bool),
        load=lambda: np.full((*size_hw, 3), 40 * number, np.uint8),
    )


SAMPLES = [
    make_sample(0, (64, 64), [[10, 10, 30, 26]], [0]),
    make_sample(1, (128, 64), [[8, 60, 40, 120], [0, 0, 20, 28]], [1, 0]),
    make_sample(2, (48, 96), [[50, 4, 90, 40]], [2]),
    make_sample(3, (64, 64), [[30, 20, 60, 60]], [1]),
    make_sample(4, (32, 32), [[4, 4, 20, 18]], [0]),
]


def maps_of(sample: Sample) -> list[Tensor]:
    """Return the raw maps, (1, A·(5 + K), H, W) for each stride, from which the sample's objects are decoded."""
    logits = torch.full((len(GRID.cells), 5 + 3), -12.0)
    boxes = letterbox_boxes(torch.from_numpy(sample.boxes), fit_letterbox(sample.size_hw, INPUT_HW))
    for box, label in zip(boxes, sample.labels.tolist(), strict=True):
        centre = (box[:2] + box[2:]) / 2
        is_near = (torch.abs(centre - (GRID.cells + 0.5) * GRID.strides) < 0.5 * GRID.strides).all(dim=1)
        ratios = torch.abs(((box[2:] - box[:2]) / GRID.anchors).log()).amax(dim=1)
        row = int(torch.where(is_near, ratios, torch.inf).argmin())
        logits[row, :4] = encode_boxes(box.expand(len(GRID.cells), 4), GRID, coding="bounded")[row]
        logits[row, [4, 5 + label]] = 12.0
    pieces = logits.split([3 * height * width for height, width in SIZES_HW])
    return [
        piece.view(1, height, width, -1).permute(0, 3, 1, 2)
        for piece, (height, width) in zip(pieces, SIZES_HW, strict=True)
    ]


class Knowing(nn.Module):
    """Gives the maps of `answers[n]` for image n, and records how it was called."""

    output_strides = STRIDES

    def __init__(self, answers: Sequence[Sample]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.answers = [maps_of(one) for one in answers]
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        assert not self.training
        assert not torch.is_grad_enabled()
        assert images.dtype == torch.float32
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]
        self.batches.append(len(images))
        grey = images[:, 0, INPUT_HW[0] // 2, INPUT_HW[1] // 2] * 0.229 + 0.485  # of 1, as before normalisation
        numbers = (grey * 255 / 40).round().long().tolist()
        return [torch.cat([self.answers[number][index] for number in numbers]) * self.weight for index in (0, 1)]


def score(answers: Sequence[Sample], samples: Sequence[Sample] = SAMPLES, **options: int) -> Scores:
    return score_network(Knowing(answers), samples, decoding=DECODING, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_a_network_that_knows_every_object_scores_one(batch_size: int) -> None:
    network = Knowing(SAMPLES)
    scores = score_network(network, SAMPLES, decoding=DECODING, batch_size=batch_size)
    assert scores.ap == pytest.approx(1)
    assert dict(scores.per_class_ap) == pytest.approx({"cat": 1, "dog": 1, "emu": 1})
    assert network.batches == {1: [1] * 5, 2: [2, 2, 1], 16: [5]}[batch_size]


def test_batches_are_of_sixteen_unless_said_otherwise() -> None:
    network = Knowing(SAMPLES)
    score_network(network, SAMPLES * 4, decoding=DECODING)
    assert network.batches == [16, 4]


def test_the_detections_of_each_image_are_those_in_its_own_pixels() -> None:
    chosen = [SAMPLES[number] for number in (3, 1)]
    found = detect(Knowing(SAMPLES), chosen, decoding=DECODING)
    for sample, one in zip(chosen, found, strict=True):
        order = [one.labels.tolist().index(label) for label in sample.labels.tolist()]
        np.testing.assert_allclose(one.boxes[order].numpy(), sample.boxes, atol=0.1)
        assert (one.scores > 0.99).all()


def test_an_image_is_scored_against_its_own_objects() -> None:
    swapped = score([*SAMPLES[1::-1], *SAMPLES[2:]])
    assert dict(swapped.per_class_ap) != pytest.approx({"cat": 1, "dog": 1, "emu": 1})
    assert swapped.per_class_ap["emu"] == pytest.approx(1)


def test_a_scorer_scores_what_was_added_since_it_was_reset() -> None:
    scorer = DetectionScorer(SAMPLES, DECODING, strides=STRIDES)
    scorer.update(maps_of(SAMPLES[3]), torch.tensor([0]))  # wrong
    assert scorer.compute().ap < 0.5
    scorer.reset()
    for index in (4, 2):
        scorer.update(maps_of(SAMPLES[index]), torch.tensor([index]))
    assert scorer.compute().per_class_ap == pytest.approx({"cat": 1, "emu": 1})


def test_the_coding_and_the_input_size_are_the_network_s_own() -> None:
    other = Decoding(anchors=ANCHORS, coding="exponential", class_names=DECODING.class_names, input_hw=INPUT_HW)
    scorer = DetectionScorer(SAMPLES, other, strides=STRIDES)
    for index, sample in enumerate(SAMPLES):
        scorer.update(maps_of(sample), torch.tensor([index]))
    assert scorer.compute().ap < 0.9


def test_maps_without_an_index_for_each_image_are_refused() -> None:
    scorer = DetectionScorer(SAMPLES, DECODING, strides=STRIDES)
    with pytest.raises(ValueError, match="zip"):
        scorer.update(maps_of(SAMPLES[0]), torch.tensor([0, 1]))


def test_detections_are_clipped_to_the_image() -> None:
    beyond = make_sample(0, (40, 64), [[0, -20, 40, 30]], [0])
    inside = make_sample(0, (40, 64), [[0, 0, 40, 30]], [0])
    scorer = DetectionScorer([inside], DECODING, strides=STRIDES)
    scorer.update(maps_of(beyond), torch.tensor([0]))
    assert scorer.compute().ap == pytest.approx(1)
