"""What can go wrong in a training.

::

    TrainingError            a training that cannot start or go on; `kind` says why in one word
    ├── DivergedError        the loss is NaN or infinite
    └── OutOfMemoryError     no memory left, on the CPU or the GPU
"""

from typing import ClassVar

from spaces import YoloRetError


class TrainingError(YoloRetError):
    """A training cannot start or go on."""

    kind: ClassVar[str] = "failed"


class DivergedError(TrainingError):
    """The loss is not finite any more."""

    kind: ClassVar[str] = "diverged"


class OutOfMemoryError(TrainingError):
    """Memory ran out."""

    kind: ClassVar[str] = "out_of_memory"
