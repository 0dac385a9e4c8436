"""How a network's raw maps are decoded."""

from dataclasses import dataclass

from trials.detections.anchors import Anchors
from trials.detections.boxes import BoxCoding


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How a network's raw maps are decoded; it is saved with the weights."""

    anchors: Anchors
    """For each output stride, pixels at `input_size`."""
    coding: BoxCoding
    """The box coding the network was trained with."""
    class_names: tuple[str, ...]
    """Class names, by label."""
    input_size: int
    """Side of the square image, pixels."""
