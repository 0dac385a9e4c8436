"""The errors of a training."""

from spaces import YoloRetError


class TrainingError(YoloRetError):
    """A training cannot start or continue."""


class DivergedError(TrainingError):
    """The loss is NaN or infinite."""


class OutOfMemoryError(TrainingError):
    """No memory is left, on the CPU or the GPU."""
