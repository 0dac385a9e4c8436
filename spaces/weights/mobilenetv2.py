"""Names of values in the files of d-li14/mobilenetv2.pytorch."""

import re

from spaces.scale_set import ArchitectureError
from spaces.weights.stages import place_in_stages

_LAYERS = {0: "conv_pw", 1: "bn1", 3: "conv_dw", 4: "bn2", 6: "conv_pwl", 7: "bn3"}
"""Layers of an inverted residual; those in between are activations, without values."""
_FIRST_LAYERS = {0: "conv_dw", 1: "bn1", 3: "conv_pw", 4: "bn2"}
"""Layers of the first block, which has no expansion."""
_BLOCKS_OF_STAGE = (1, 2, 3, 4, 3, 3, 1)


def timm_name(name: str) -> str:
    """Return timm's name of a value.

    Raises:
        ArchitectureError: it is not one of the published MobileNetV2.
    """
    if match := re.fullmatch(r"features\.0\.([01])\.(.+)", name):
        return f"{('conv_stem', 'bn1')[int(match[1])]}.{match[2]}"
    if match := re.fullmatch(r"features\.([1-9][0-9]?)\.conv\.([0-7])\.(.+)", name):
        number = int(match[1]) - 1
        layer = (_LAYERS if number else _FIRST_LAYERS).get(int(match[2]))
        if layer is not None:
            return f"blocks.{place_in_stages(number, _BLOCKS_OF_STAGE)}.{layer}.{match[3]}"
    if match := re.fullmatch(r"conv\.([01])\.(.+)", name):
        return f"{('conv_head', 'bn2')[int(match[1])]}.{match[2]}"
    if name.startswith("classifier."):
        return name
    raise ArchitectureError(f"{name!r} is not a value of the published MobileNetV2")
