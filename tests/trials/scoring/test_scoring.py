import contextlib
import io
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from trials.data import Sample
from trials.detections import Detections
from trials.scoring import score_detections

CLASS_NAMES = ("cat", "dog", "emu", "fox")


def make_sample(boxes: np.ndarray, labels: np.ndarray, ignored: np.ndarray) -> Sample:
    def load() -> np.ndarray:
        raise AssertionError("scoring reads no pixels")

    return Sample(
        name="any",
        size_hw=(200, 200),
        boxes=boxes.astype(np.float32).reshape(-1, 4),
        labels=labels.astype(np.int64),
        ignored=ignored.astype(bool),
        load=load,
    )


def random_case(
    seed: int, *, num_images: int = 12, share_ignored: float = 0.2
) -> tuple[list[Detections], list[Sample]]:
    """Objects, and detections near them, elsewhere, and in part with equal scores; class 3 is never annotated."""
    rng = np.random.default_rng(seed)
    found, samples = [], []
    for _ in range(num_images):
        count = int(rng.integers(0, 7))
        corners, sizes = rng.uniform(0, 120, (count, 2)), np.exp(rng.uniform(np.log(5), np.log(150), (count, 2)))
        boxes, labels = np.concatenate([corners, corners + sizes], axis=1), rng.integers(3, size=count)
        samples.append(make_sample(boxes, labels, rng.uniform(size=count) < share_ignored))
        repeats = int(rng.integers(0, 5))
        near = np.repeat(boxes, repeats, axis=0) + rng.normal(0, 4, (count * repeats, 4))
        stray = rng.uniform(0, 100, (int(rng.integers(0, 5)), 2))
        all_boxes = np.concatenate([near, np.concatenate([stray, stray + 30], axis=1)])
        all_boxes[:, 2:] = np.maximum(all_boxes[:, 2:], all_boxes[:, :2] + 1)
        all_labels = np.concatenate([np.repeat(labels, repeats), rng.integers(4, size=len(stray))])
        scores = rng.integers(1, 6, len(all_boxes)) / 5  # many ties
        order = np.argsort(-scores, kind="stable")
        found.append(
            Detections(
                boxes=torch.tensor(all_boxes[order], dtype=torch.float32),
                scores=torch.tensor(scores[order], dtype=torch.float32),
                labels=torch.tensor(all_labels[order], dtype=torch.int64),
            )
        )
    return found, samples


def pycocotools_scores(found: Sequence[Detections], samples: Sequence[Sample]) -> tuple[list[float], dict[str, float]]:
    """Return AP, AP50, AP75 and the AP of small, medium and large objects; and the AP of each class."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(boxes: np.ndarray) -> list[list[float]]:
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(float).tolist()  # type: ignore[no-any-return]

    truth, detected = COCO(), []
    annotations = [
        {"image_id": image, "category_id": int(label), "bbox": box, "area": box[2] * box[3], "iscrowd": int(ignored)}
        for image, sample in enumerate(samples)
        for box, label, ignored in zip(rows(sample.boxes), sample.labels, sample.ignored, strict=True)
    ]
    for image, one in enumerate(found):
        for box, label, score in zip(rows(one.boxes.numpy()), one.labels.tolist(), one.scores.tolist(), strict=True):
            detected.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
    truth.dataset = {
        "images": [{"id": image} for image in range(len(samples))],
        "annotations": [{**annotation, "id": index + 1} for index, annotation in enumerate(annotations)],
        "categories": [{"id": label, "name": name} for label, name in enumerate(CLASS_NAMES)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detected), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][..., 0, -1]  # IoU, recall, class
    per_class = {name: float(precision[..., label].mean()) for label, name in enumerate(CLASS_NAMES)}
    return evaluation.stats[:6], {name: ap for name, ap in per_class.items() if ap >= 0}


@pytest.mark.parametrize("share_ignored", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_pycocotools(seed: int, share_ignored: float) -> None:
    found, samples = random_case(seed, share_ignored=share_ignored)
    (ap, ap50, _, *per_size), per_class = pycocotools_scores(found, samples)
    scores = score_detections(found, samples, class_names=CLASS_NAMES)
    assert scores.ap == pytest.approx(ap, abs=1e-6)
    assert scores.ap50 == pytest.approx(ap50, abs=1e-6)
    assert dict(scores.per_class_ap) == pytest.approx(per_class, abs=1e-6)
    sizes = {size: one for size, one in zip(("small", "medium", "large"), per_size, strict=True) if one >= 0}
    assert dict(scores.per_size_ap) == pytest.approx(sizes, abs=1e-6)
    assert 0 < scores.ap < 1


def test_an_iou_equal_to_a_threshold_counts_as_pycocotools_counts_it() -> None:
    widths = range(50, 100, 5)  # of 100: IoU 0.5, 0.55, …
    samples = [make_sample(np.array([[0, 0, 100, 10]]), np.array([0]), np.array([False])) for _ in widths]
    found = [
        Detections(
            boxes=torch.tensor([[0.0, 0.0, width, 10.0]]), scores=torch.tensor([width / 100]), labels=torch.tensor([0])
        )
        for width in widths
    ]
    (ap, ap50, *_), _ = pycocotools_scores(found, samples)
    scores = score_detections(found, samples, class_names=CLASS_NAMES)
    assert (scores.ap, scores.ap50) == pytest.approx((ap, ap50), abs=1e-6)


def test_only_the_best_hundred_detections_of_an_image_count() -> None:
    boxes = torch.tensor([[10.0, 10.0, 60.0, 80.0]]) + torch.tensor([[100.0, 0.0, 100.0, 0.0]]) * (
        torch.arange(101) < 100
    ).view(-1, 1)
    found = Detections(boxes=boxes, scores=torch.linspace(1, 0.5, 101), labels=torch.zeros(101, dtype=torch.int64))
    assert score_detections([found], [ONE_CAT], class_names=CLASS_NAMES).ap == 0
    sooner = Detections(boxes=boxes[1:], scores=found.scores[1:], labels=found.labels[1:])
    assert score_detections([sooner], [ONE_CAT], class_names=CLASS_NAMES).ap == pytest.approx(0.01, abs=1e-3)


def exact(sample: Sample) -> Detections:
    return Detections(
        boxes=torch.from_numpy(sample.boxes),
        scores=torch.ones(len(sample.labels)),
        labels=torch.from_numpy(sample.labels),
    )


NOTHING_FOUND = Detections(boxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.int64))
ONE_CAT = make_sample(np.array([[10, 10, 60, 80]]), np.array([0]), np.array([False]))
ONE_IGNORED = make_sample(np.array([[10, 10, 60, 80]]), np.array([0]), np.array([True]))
EMPTY = make_sample(np.zeros((0, 4)), np.zeros(0), np.zeros(0))


def test_finding_everything_is_one_and_nothing_is_zero() -> None:
    perfect = score_detections([exact(ONE_CAT), NOTHING_FOUND], [ONE_CAT, EMPTY], class_names=CLASS_NAMES)
    assert (perfect.ap, perfect.ap50) == pytest.approx((1, 1))
    assert dict(perfect.per_class_ap) == pytest.approx({"cat": 1})
    missed = score_detections([NOTHING_FOUND, NOTHING_FOUND], [ONE_CAT, EMPTY], class_names=CLASS_NAMES)
    assert (missed.ap, missed.ap50, missed.per_class_ap) == (0, 0, {"cat": 0})
    assert (perfect.per_size_ap.keys(), missed.per_size_ap) == ({"medium"}, {"medium": 0})


def test_only_other_classes_found_is_zero() -> None:
    wrong = Detections(boxes=torch.tensor([[0.0, 0.0, 9.0, 9.0]]), scores=torch.ones(1), labels=torch.tensor([3]))
    scores = score_detections([wrong], [ONE_CAT], class_names=CLASS_NAMES)
    assert (scores.ap, scores.per_class_ap) == (0, {"cat": 0})


def test_an_ignored_object_is_neither_rewarded_nor_punished() -> None:
    samples = [ONE_CAT, ONE_IGNORED]
    for on_ignored in (NOTHING_FOUND, exact(ONE_IGNORED)):
        scores = score_detections([exact(ONE_CAT), on_ignored], samples, class_names=CLASS_NAMES)
        assert scores.ap == pytest.approx(1)


def test_with_nothing_to_find_there_is_no_score() -> None:
    for sample in (ONE_IGNORED, EMPTY):
        scores = score_detections([exact(sample)], [sample], class_names=CLASS_NAMES)
        assert math.isnan(scores.ap)
        assert math.isnan(scores.ap50)
        assert scores.per_class_ap == {}
