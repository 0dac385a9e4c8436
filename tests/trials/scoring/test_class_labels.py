from dataclasses import replace

import numpy as np
import pytest

from trials.data import DatasetError
from trials.data.shapes import ShapesSettings, make_shapes
from trials.scoring import label_as_network

DATASET = make_shapes(ShapesSettings(num_train=1, num_val=8, size=64, num_classes=3))
SAMPLES = DATASET.splits["val"]


def test_classes_are_matched_by_name() -> None:
    theirs = replace(
        DATASET,
        class_names=DATASET.class_names[::-1],
        splits={"val": [replace(one, labels=2 - one.labels) for one in SAMPLES]},
    )
    ours = ("another", *DATASET.class_names)
    for sample, expected in zip(label_as_network(theirs, "val", ours, name="net"), SAMPLES, strict=True):
        np.testing.assert_array_equal(sample.labels, expected.labels + 1)


def test_a_class_that_the_network_does_not_know_is_refused() -> None:
    first, second, third = DATASET.class_names
    with pytest.raises(
        DatasetError, match=rf"net does not know 1 class of {DATASET.name}: '{second}'; it knows '{third}'"
    ):
        label_as_network(DATASET, "val", (third, first), name="net")
