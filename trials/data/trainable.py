"""Whether a network can be trained on a dataset."""

from spaces.counted import counted
from trials.data.dataset import Dataset


def why_untrainable(dataset: Dataset) -> str:
    """Return why a network cannot be trained on a dataset and scored on it; empty where it can.

    Single images without objects are allowed, a split without any is not.
    """
    for split in ("train", "val"):
        samples = dataset.splits[split]
        if not any(sample.has_object for sample in samples):
            return f"{dataset.name}: its {split} split has {counted(len(samples), 'image(s)')} and no object"
    return ""
