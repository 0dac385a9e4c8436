"""Writes a dataset as COCO, reads it back, and compares the two."""

from pathlib import Path

import numpy as np

from trials.data import Dataset, open_dataset
from trials.data.formats.coco_writer import Converted, write_coco


def check_round_trip(dataset: Dataset, folder: Path) -> Converted:
    """Check that what is written to a new folder and read back is the same; return what was written."""
    converted = write_coco(dataset, folder)
    again = open_dataset(str(folder))
    assert again.notes == again.left_out == ()
    assert again.class_names == dataset.class_names
    assert list(again.splits) == list(dataset.splits)
    for split, samples in dataset.splits.items():
        for one, other in zip(samples, again.splits[split], strict=True):
            assert one.size_hw == other.size_hw
            np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
            assert one.labels.tolist() == other.labels.tolist()
            assert one.ignored.tolist() == other.ignored.tolist()
            assert np.array_equal(one.load(), other.load())
    return converted
