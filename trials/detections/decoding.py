"""What it takes to read a network's raw maps."""

from dataclasses import dataclass

from trials.detections.anchors import Anchors
from trials.detections.boxes import BoxCoding


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """What it takes to read a network's raw maps; it is saved with the weights."""

    anchors: Anchors
    """For each output stride, pixels at `input_size`."""
    coding: BoxCoding
    """As the network was trained."""
    class_names: tuple[str, ...]
    """What labels stand for."""
    input_size: int
    """Side of the square image, pixels."""
