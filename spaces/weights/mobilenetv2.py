"""Names of values in the files of d-li14/mobilenetv2.pytorch."""

import re

from spaces.scale_set import ArchitectureError
from spaces.weights.stages import place_in_stages

_LAYERS = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
"""timm's names for the layers of an inverted residual, in forward order."""
_FIRST_LAYERS = ("conv_dw", "bn1", "conv_pw", "bn2")
"""The same for the first block, which has no expansion."""
_BLOCKS_OF_STAGE = (1, 2, 3, 4, 3, 3, 1)


def timm_name(name: str) -> str:
    """Return timm's name of a value.

    Raises:
        ArchitectureError: it is not one of the published MobileNetV2.
    """
    if match := re.fullmatch(r"features\.0\.([01])\.(.+)", name):
        return f"{('conv_stem', 'bn1')[int(match[1])]}.{match[2]}"
    if match := re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(.+)", name):
        number, layer = int(match[1]) - 1, int(match[2])
        # Activations have an index but no values: two of every three layers in a block have values.
        place = layer - (layer + 1) // 3
        names = _LAYERS if number else _FIRST_LAYERS
        return f"blocks.{place_in_stages(number, _BLOCKS_OF_STAGE)}.{names[place]}.{match[3]}"
    if match := re.fullmatch(r"conv\.([01])\.(.+)", name):
        return f"{('conv_head', 'bn2')[int(match[1])]}.{match[2]}"
    if name.startswith("classifier."):
        return name
    raise ArchitectureError(f"{name!r} is not a value of the published MobileNetV2")
