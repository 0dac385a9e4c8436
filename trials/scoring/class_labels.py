"""A network's labels in place of those of the dataset it is scored on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spaces.counted import counted
from trials.data import Dataset, DatasetError, Sample


def label_as_network(dataset: Dataset, split: str, class_names: Sequence[str], *, name: str) -> list[Sample]:
    """Return a split's samples with a network's labels; classes are matched by name, in any order.

    The dataset may lack some of the network's classes: folders of VOC, for example, have only those in use.

    Args:
        dataset: Any.
        split: One of its splits.
        class_names: The network's classes, by label.
        name: Of the network, for the message.

    Raises:
        DatasetError: the dataset has a class that the network does not know.
    """
    unknown = [repr(theirs) for theirs in dataset.class_names if theirs not in class_names]
    if unknown:
        raise DatasetError(
            f"{name} does not know {counted(len(unknown), 'class(es)')} of {dataset.name}: {', '.join(unknown)}; "
            f"it knows {', '.join(map(repr, class_names))}",
            hint="rename them as the network has them, or leave them out",
        )
    labels = np.array([class_names.index(theirs) for theirs in dataset.class_names], np.int64)
    return [replace(sample, labels=labels[sample.labels]) for sample in dataset.splits[split]]
