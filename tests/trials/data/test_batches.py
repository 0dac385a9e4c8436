import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.utils.data import DataLoader, Sampler

from trials.data import Sample
from trials.data.augmentation import AugmentSettings, calm, modern_augmentation
from trials.data.batches import Batch, ScoringBatches, TrainingBatches, collate
from trials.data.images.letterbox import fit_letterbox, letterbox_boxes, unletterbox_boxes
from trials.data.shapes import ShapesSettings, make_shapes

SAMPLES = make_shapes(ShapesSettings(num_train=8, num_val=4, size=64)).splits["train"]


def _counting_sample(calls: list[int], *, height: int = 60, width: int = 200) -> Sample:
    def load() -> np.ndarray:
        calls.append(1)
        return np.full((height, width, 3), 7, np.uint8)

    return Sample(
        name="one",
        size_hw=(height, width),
        boxes=np.array([[20, 10, 100, 50]], np.float32),
        labels=np.array([2]),
        ignored=np.array([True]),
        load=load,
    )


def _without_boxes(sample: Sample) -> Sample:
    return replace(sample, boxes=sample.boxes[:0], labels=sample.labels[:0], ignored=sample.ignored[:0])


class ThereAndBack(Sampler[int]):
    """Gives the samples in the other order each time, so that each of two workers comes to have needed all of them."""

    def __init__(self, count: int) -> None:
        self._order = range(count)

    def __iter__(self) -> Iterator[int]:
        order, self._order = self._order, self._order[::-1]
        return iter(order)

    def __len__(self) -> int:
        return len(self._order)


def _batches(
    dataset: TrainingBatches, *, num_workers: int = 0, epochs: int = 1, sampler: Sampler[int] | None = None
) -> list[Batch]:
    loader = DataLoader(
        dataset,
        batch_size=3,
        sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    result = []
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        result += list(loader)
    return result


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_batch_has_the_stated_shapes(mosaic: float) -> None:
    settings = replace(modern_augmentation(), mosaic=mosaic)
    batch = _batches(TrainingBatches(SAMPLES, (64, 96), augmentation=settings))[0]
    count = len(batch.labels)
    assert (batch.images.shape, batch.images.dtype) == ((3, 3, 64, 96), torch.uint8)
    assert (batch.boxes.shape, batch.boxes.dtype) == ((count, 4), torch.float32)
    assert (batch.labels.dtype, batch.image_index.dtype, batch.ignored.dtype) == (torch.int64, torch.int64, torch.bool)
    assert batch.image_index.tolist() == sorted(batch.image_index.tolist())
    assert batch.sample_index.tolist() == [0, 1, 2]


def test_batch_without_boxes() -> None:
    batch = collate([TrainingBatches([_without_boxes(SAMPLES[0])], (64, 64), augmentation=AugmentSettings())[0]] * 2)
    assert batch.boxes.shape == (0, 4)
    assert batch.image_index.shape == (0,)


def test_items_change_with_epoch_and_seed_alone() -> None:
    first, again, other_seed = (
        TrainingBatches(SAMPLES, (64, 64), augmentation=modern_augmentation(), seed=seed) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first[3], again[3])
    assert not torch.equal(first[3].image, other_seed[3].image)
    before = first[3].image
    first.set_epoch(1)
    assert not torch.equal(before, first[3].image)
    first.set_epoch(0)
    assert torch.equal(before, first[3].image)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_workers_that_outlive_an_epoch_give_the_same(mosaic: float) -> None:
    settings = replace(modern_augmentation(), mosaic=mosaic)
    alone, shared = (
        _batches(TrainingBatches(SAMPLES, (64, 64), augmentation=settings), num_workers=n, epochs=2) for n in (0, 2)
    )
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(tuple(one), tuple(other))


def test_scoring_is_exact_in_original_pixels() -> None:
    sample = _counting_sample([])
    item = ScoringBatches([sample], (32, 96))[0]
    place = fit_letterbox(sample.size_hw, (32, 96))
    np.testing.assert_allclose(item.boxes.numpy(), letterbox_boxes(sample.boxes, place))
    np.testing.assert_allclose(unletterbox_boxes(item.boxes, place).numpy(), sample.boxes, atol=1e-4)
    assert item.ignored.tolist() == [True]
    assert item.image.shape == (3, 32, 96)


def test_large_images_are_kept_shrunk_and_boxes_agree() -> None:
    calls: list[int] = []
    dataset = TrainingBatches([_counting_sample(calls)], (32, 32), augmentation=AugmentSettings())
    item = dataset[0]
    assert dataset._load(0).image.shape == (10, 32, 3)
    expected = letterbox_boxes(_counting_sample([]).boxes, fit_letterbox((60, 200), (32, 32)))
    np.testing.assert_allclose(item.boxes.numpy(), expected, atol=0.5)


@pytest.mark.parametrize(("cache_mib", "num_loads"), [(1, 1), (0, 3)])
def test_images_are_decoded_once_within_the_bound(cache_mib: int, num_loads: int) -> None:
    for make in (
        lambda sample: TrainingBatches([sample], (64, 64), augmentation=modern_augmentation(), cache_mib=cache_mib),
        lambda sample: ScoringBatches([sample], (64, 64), cache_mib=cache_mib),
    ):
        calls: list[int] = []
        dataset = make(_counting_sample(calls))
        for _ in range(3):
            dataset[0]
        assert len(calls) == num_loads


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_training_image_is_decoded_once_for_all_workers(tmp_path: Path, num_workers: int) -> None:
    def load(name: str) -> npt.NDArray[np.uint8]:
        with (tmp_path / f"{name}-{os.getpid()}").open("a") as calls:
            calls.write("x")
        return np.full((60, 200, 3), 100 + ord(name), np.uint8)  # brighter than the border

    samples = [replace(_counting_sample([]), name=name, load=partial(load, name)) for name in "abcdef"]
    dataset = TrainingBatches(samples, (64, 64), augmentation=AugmentSettings())
    batches = _batches(dataset, num_workers=num_workers, epochs=4, sampler=ThereAndBack(len(samples)))
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == list("abcdef")
    assert all(path.read_text() == "x" for path in tmp_path.iterdir())
    assert len({path.name[1:] for path in tmp_path.iterdir()}) == max(1, num_workers)
    for batch in batches:
        for image, index in zip(batch.images, batch.sample_index, strict=True):
            assert int(image.max()) == 100 + ord("abcdef"[index])


def test_a_file_that_has_changed_its_size_is_read_and_not_kept() -> None:
    calls: list[int] = []
    sample = replace(_counting_sample(calls), size_hw=(60, 100))
    dataset = TrainingBatches([sample], (64, 64), augmentation=AugmentSettings())
    assert all((dataset[0].image == 7).any() for _ in range(2))
    assert len(calls) == 2


def test_cache_bound_is_checked() -> None:
    with pytest.raises(ValueError, match="cache_mib is -1"):
        ScoringBatches(SAMPLES, (64, 64), cache_mib=-1)


def test_full_cache_stays_within_its_bound() -> None:
    samples = [_counting_sample([], height=600, width=600) for _ in range(4)]
    dataset = ScoringBatches(samples, (416, 416), cache_mib=1)  # two images of 0.5 MiB fit
    for index in range(4):
        dataset[index]
    assert dataset._cache.num_kept == 2


def test_calm_epochs_are_augmented_less() -> None:
    plain, calmed = (
        TrainingBatches(SAMPLES, (64, 64), augmentation=settings, seed=1)
        for settings in (modern_augmentation(), calm(modern_augmentation()))
    )
    both = TrainingBatches(SAMPLES, (64, 64), augmentation=modern_augmentation(), calm_from=2, seed=1)
    for epoch, like in ((0, plain), (1, plain), (2, calmed), (3, calmed)):
        for batches in (plain, calmed, both):
            batches.set_epoch(epoch)
        assert not torch.equal(plain[0].image, calmed[0].image)
        assert torch.equal(both[0].image, like[0].image)
