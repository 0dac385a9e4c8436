"""Annotated images: the formats they are read from, their augmentation, and the batches that networks take.

Every format ends in one `Dataset` of samples; a new format is one file and one line in `trials.data.opening`.
"""

from trials.data.dataset import Dataset, DatasetError, Sample
from trials.data.opening import open_dataset
from trials.data.report import describe_dataset, draw_samples

__all__ = ["Dataset", "DatasetError", "Sample", "describe_dataset", "draw_samples", "open_dataset"]
