"""The errors of a training.

::

    TrainingError            a training that cannot start or continue; `kind` names the reason
    ├── DivergedError        the loss is NaN or infinite
    └── OutOfMemoryError     no memory left, on the CPU or the GPU
"""

from typing import ClassVar

from spaces import YoloRetError


class TrainingError(YoloRetError):
    """A training cannot start or continue."""

    kind: ClassVar[str] = "failed"


class DivergedError(TrainingError):
    """The loss is no longer finite."""

    kind: ClassVar[str] = "diverged"


class OutOfMemoryError(TrainingError):
    """Memory ran out."""

    kind: ClassVar[str] = "out_of_memory"
