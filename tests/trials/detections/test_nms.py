import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from trials.data.images.letterbox import fit_letterbox, letterbox_boxes
from trials.detections import Detections, DetectionSettings, select_detections
from trials.detections.decoding import Predictions
from trials.detections.nms import unletterbox_detections


def random_predictions(seed: int, *, batch: int = 2, num_predictions: int = 60, num_classes: int = 3) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(batch, num_predictions, 2, generator=generator) * 40
    sizes = 20 + torch.rand(batch, num_predictions, 2, generator=generator) * 20
    return Predictions(
        boxes=torch.cat((corners, corners + sizes), dim=-1),
        scores=torch.rand(batch, num_predictions, num_classes, generator=generator),
    )


def plain_selection(predictions: Predictions, image: int, settings: DetectionSettings) -> list[tuple[float, int, int]]:
    """Greedy suppression, one candidate after another: (score, label, prediction)."""
    scores = predictions.scores[image]
    candidates = [
        (float(scores[place, label]), label, place)
        for place in range(scores.shape[0])
        for label in range(scores.shape[1])
        if scores[place, label] > settings.score_threshold
    ]
    candidates.sort(reverse=True)
    boxes = predictions.boxes[image]
    kept: list[tuple[float, int, int]] = []
    for score, label, place in candidates[: settings.max_candidates]:
        rivals = [other for _, other_label, other in kept if other_label == label]
        if all(float(box_iou(boxes[None, place], boxes[None, other])) <= settings.nms_iou for other in rivals):
            kept.append((score, label, place))
    return kept[: settings.max_detections]


@pytest.mark.parametrize(
    "settings",
    [
        DetectionSettings(),
        DetectionSettings(score_threshold=0.3, nms_iou=0.3),
        DetectionSettings(max_detections=7, max_candidates=25),
    ],
)
def test_selection_equals_the_plain_version(settings: DetectionSettings) -> None:
    predictions = random_predictions(0)
    for image, found in enumerate(select_detections(predictions, settings)):
        expected = plain_selection(predictions, image, settings)
        assert found.labels.tolist() == [label for _, label, _ in expected]
        assert found.scores.tolist() == pytest.approx([score for score, _, _ in expected])
        torch.testing.assert_close(found.boxes, predictions.boxes[image, [place for _, _, place in expected]])


def test_a_huge_box_does_not_move_the_others() -> None:
    predictions = random_predictions(3, batch=1, num_predictions=30, num_classes=80)
    predictions.boxes[:, 0] = torch.tensor([-75e3, -75e3, 75e3, 75e3])
    settings = DetectionSettings(max_detections=1000)
    for image, found in enumerate(select_detections(predictions, settings)):
        expected = plain_selection(predictions, image, settings)
        assert found.labels.tolist() == [label for _, label, _ in expected]
        torch.testing.assert_close(found.boxes, predictions.boxes[image, [place for _, _, place in expected]])


def test_nothing_above_the_threshold_gives_empty_tensors() -> None:
    for found in select_detections(random_predictions(1), DetectionSettings(score_threshold=1.0)):
        assert found.boxes.shape == (0, 4)
        assert found.scores.shape == found.labels.shape == (0,)
        assert found.labels.dtype == torch.int64


def test_one_class_and_fewer_predictions_than_candidates() -> None:
    predictions = random_predictions(2, num_predictions=1, num_classes=1)
    assert [len(found.labels) for found in select_detections(predictions, DetectionSettings())] == [1, 1]


def test_equal_boxes_of_two_classes_both_stay_and_of_one_class_do_not() -> None:
    predictions = Predictions(
        boxes=torch.tensor([[[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 9.0]]]),
        scores=torch.tensor([[[0.9, 0.8], [0.7, 0.0]]]),
    )
    (found,) = select_detections(predictions, DetectionSettings())
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])


def test_detections_come_back_to_original_pixels_and_are_clipped() -> None:
    size_hw = (100, 300)
    place = fit_letterbox(size_hw, (96, 96))
    boxes = torch.tensor([[10.0, 20.0, 200.0, 90.0], [0.0, 0.0, 300.0, 100.0]])
    moved = torch.from_numpy(letterbox_boxes(boxes.numpy().astype(np.float32), place))
    moved[1] += torch.tensor([-9.0, -9.0, 9.0, 9.0])
    found = Detections(boxes=moved, scores=torch.tensor([0.9, 0.8]), labels=torch.tensor([1, 0]))
    back = unletterbox_detections(found, place, size_hw=size_hw)
    torch.testing.assert_close(back.boxes, boxes, atol=1e-3, rtol=0)
    assert back.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold 1.5 is not from 0 to 1"),
        ({"nms_iou": 0.0}, "nms_iou 0.0 is not above 0"),
        ({"max_detections": 0}, "max_detections and max_candidates are at least 1"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectionSettings(**changes)  # type: ignore[arg-type]
