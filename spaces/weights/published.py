"""ImageNet weights that timm lacks: narrow MobileNetV2s, whose parameters are renamed to timm's names.

Source: d-li14/mobilenetv2.pytorch (Apache-2.0), folder ``pretrained``.
"""

import re

from torch import Tensor

from spaces.scale_set import ArchitectureError

PUBLISHED: dict[str, str] = {
    "mobilenetv2_035": "mobilenetv2_0.35-b2e15951.pth",
    "mobilenetv2_075": "mobilenetv2_0.75-dace9791.pth",
}
"""Backbone name to file name, NAME-<first 8 hexadecimal digits of the file's SHA-256>.pth."""

ORIGIN = "https://raw.githubusercontent.com/d-li14/mobilenetv2.pytorch/master/pretrained"
"""URL of the folder of these files; the environment variable ``YOLORET_NAS_WEIGHTS_URL`` names a mirror."""

REPOSITORY, LICENCE = "d-li14/mobilenetv2.pytorch", "apache-2.0"
"""Who published them, and under which licence."""

_LAYERS = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
"""timm's names for the layers of an inverted residual, in forward order."""
_FIRST_LAYERS = ("conv_dw", "bn1", "conv_pw", "bn2")
"""The same for the first block, which has no expansion."""
_BLOCKS_OF_STAGE = (1, 2, 3, 4, 3, 3, 1)


def convert(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the values of a published state_dict to timm's names.

    Raises:
        ArchitectureError: a name does not belong to the published network.
    """
    return {_timm_name(name): value for name, value in published.items()}


def _timm_name(name: str) -> str:
    if match := re.fullmatch(r"features\.0\.([01])\.(.+)", name):
        return f"{('conv_stem', 'bn1')[int(match[1])]}.{match[2]}"
    if match := re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(.+)", name):
        number, layer = int(match[1]) - 1, int(match[2])
        # Activations have an index but no values: two of every three layers in a block have values.
        place = layer - (layer + 1) // 3
        names = _LAYERS if number else _FIRST_LAYERS
        stage, block = _place(number)
        return f"blocks.{stage}.{block}.{names[place]}.{match[3]}"
    if match := re.fullmatch(r"conv\.([01])\.(.+)", name):
        return f"{('conv_head', 'bn2')[int(match[1])]}.{match[2]}"
    if name.startswith("classifier."):
        return name
    raise ArchitectureError(f"{name!r} is not a value of the published MobileNetV2")


def _place(number: int) -> tuple[int, int]:
    """Return the stage, and the index within it, of a block; all count from 0."""
    for stage, count in enumerate(_BLOCKS_OF_STAGE):
        if number < count:
            return stage, number
        number -= count
    raise ArchitectureError(f"MobileNetV2 has no block {number + sum(_BLOCKS_OF_STAGE)}")
