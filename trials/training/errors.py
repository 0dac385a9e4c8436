"""The errors of a training."""

from spaces import YoloRetError


class TrainingError(YoloRetError):
    """A training cannot start or continue."""


class DivergedError(TrainingError):
    """The loss is NaN or infinite."""


class UnusableCheckpointError(TrainingError):
    """No training can be resumed from a checkpoint."""


class OutOfMemoryError(TrainingError):
    """No memory is left: the computer's, the GPU's, or what processes share in /dev/shm."""
