"""Which networks there are: architectures, the spaces that hold them, and the networks they describe.

The names below import no torch; networks are in `spaces.networks`, ImageNet weights in `spaces.weights`.
"""

from spaces.architecture import Architecture
from spaces.errors import YoloRetError
from spaces.scale_set import ArchitectureError, ScaleSet

__all__ = ["Architecture", "ArchitectureError", "ScaleSet", "YoloRetError"]
