"""The named spaces: `paper`, `nano`, `lite` and `tiny`."""

import os.path
from collections.abc import Callable
from pathlib import Path

from spaces.space import BackboneChoice, Space, SpaceError
from spaces.space_file import read_space

WHOLE_BACKBONE = 99
"""A transfer boundary above every truncation: all kept blocks start from ImageNet weights."""


def paper() -> Space:
    """Return the paper's axes at its sizes: its three backbones, its truncations, its scale sets, 320 and 416 px."""
    return Space(
        name="paper",
        description="The paper's axes at the paper's sizes, for Jetson Nano, Xavier NX and AGX Xavier.",
        backbones={
            "mobilenetv2_075": BackboneChoice(truncation=(14, 15, 16, 17, 18), transfer=(0, 6, 10, 13, WHOLE_BACKBONE)),
            "mobilenetv2_140": BackboneChoice(truncation=(14, 15, 16, 17, 18), transfer=(0, 6, 10, 13, WHOLE_BACKBONE)),
            "efficientnet_b3": BackboneChoice(truncation=(20, 22, 24, 26, 27), transfer=(0, 8, 13, 18, WHOLE_BACKBONE)),
        },
        axes={
            "scale_set": (
                "none",
                "16+32@16>8+16+32",
                "8+16@16>8+16+32",
                "8+16+32@8>8+16+32",
                "8+16+32@16>8+16+32",
                "8+16+32@32>8+16+32",
            ),
            "shortcut": ("none", "maxpool"),
            "prediction_bias": (False,),
            "input_size": (320, 416),
        },
    )


def nano() -> Space:
    """Return what can run in real time on a Jetson Nano: light backbones, small images, light heads.

    No backbone has squeeze-excite except MobileNetV3-Small, which early TensorRT versions fully support.
    """
    mobilenetv2 = BackboneChoice(truncation=(14, 15, 16, 17), transfer=(0, 6, 10, WHOLE_BACKBONE))
    return Space(
        name="nano",
        description="What can run in real time on a Jetson Nano (FP16, 160 to 416 px).",
        backbones={
            "mobilenetv2_035": mobilenetv2,
            "mobilenetv2_050": mobilenetv2,
            "mobilenetv2_075": mobilenetv2,
            "mobilenetv2_100": mobilenetv2,
            "efficientnet_lite0": BackboneChoice(truncation=(12, 13, 14, 15, 16), transfer=(0, 5, 9, WHOLE_BACKBONE)),
            "efficientnet_lite1": BackboneChoice(truncation=(16, 17, 18, 20), transfer=(0, 7, 12, WHOLE_BACKBONE)),
            "efficientnet_lite2": BackboneChoice(truncation=(16, 17, 18, 20), transfer=(0, 7, 12, WHOLE_BACKBONE)),
            "mobilenetv4_conv_small_050": BackboneChoice(truncation=(12, 14, 16, 17), transfer=(0, 6, WHOLE_BACKBONE)),
            "mobilenetv4_conv_small": BackboneChoice(truncation=(12, 14, 16, 17), transfer=(0, 6, WHOLE_BACKBONE)),
            "mobilenetv3_small_100": BackboneChoice(truncation=(9, 10, 11, 12), transfer=(0, 5, WHOLE_BACKBONE)),
        },
        axes={
            "scale_set": ("none", "16+32@16>8+16+32", "8+16@16>8+16+32", "8+16+32@16>8+16+32", "8+16+32@8>8+16+32"),
            "shortcut": ("none", "maxpool", "conv"),
            "rfcr_width": (24, 48, 64),
            "rfcr_channels": (48, 96),
            "rfcr_kernel": (3, 5),
            "head": ("plain", "fpn", "fpn_pan", "decoupled"),
            "head_width": (48, 64, 96, 128),
            "input_size": (160, 192, 224, 256, 288, 320, 352, 384, 416),
        },
    )


def lite() -> Space:
    """Return EfficientNet-Lite from ImageNet weights, cut short enough to be trained on two cores."""
    longer = BackboneChoice(truncation=(16, 17, 18), transfer=(0, 7, 11, 15, WHOLE_BACKBONE))
    return Space(
        name="lite",
        description="EfficientNet-Lite from ImageNet weights, which are a package (extra `weights`); two CPU cores suffice.",
        backbones={
            "efficientnet_lite0": BackboneChoice(truncation=(12, 13, 14), transfer=(0, 5, 8, 11, WHOLE_BACKBONE)),
            "efficientnet_lite1": longer,
            "efficientnet_lite2": longer,
        },
        axes={
            "scale_set": ("none", "8+16@16>8+16+32", "8+16+32@16>8+16+32"),
            "shortcut": ("none", "maxpool"),
            "rfcr_width": (32, 48),
            "rfcr_channels": (64, 96),
            "rfcr_kernel": (3, 5),
            "head": ("decoupled",),
            "head_width": (48, 64, 96),
            "input_size": (96, 128, 160, 192, 224),
        },
    )


def tiny() -> Space:
    """Return the default without a GPU: networks that train in seconds on two cores, from random weights."""
    return Space(
        name="tiny",
        description="Networks that train in seconds on two CPU cores, from random weights.",
        backbones={
            "mobilenetv2_035": BackboneChoice(truncation=(14, 15, 16, 17)),
            "mobilenetv2_050": BackboneChoice(truncation=(14, 15, 16, 17)),
            "mobilenetv2_075": BackboneChoice(truncation=(14, 15, 16)),
            "mobilenetv4_conv_small_050": BackboneChoice(truncation=(11, 12, 14, 16)),
            "mobilenetv3_small_050": BackboneChoice(truncation=(9, 10, 11)),
        },
        axes={
            "scale_set": ("none", "8+16@16>8+16+32", "8+16+32@16>8+16+32", "8+16+32@8>8+16+32"),
            "shortcut": ("none", "maxpool", "conv"),
            "rfcr_width": (16, 32, 48),
            "rfcr_channels": (32, 64, 96),
            "rfcr_kernel": (3, 5),
            "head": ("plain", "fpn", "fpn_pan", "decoupled"),
            "head_width": (32, 48, 64),
            "input_size": (64, 96, 128, 160),
        },
    )


SPACES: dict[str, Callable[[], Space]] = {"paper": paper, "nano": nano, "lite": lite, "tiny": tiny}
"""Name to the function that returns the space."""


def is_named(space: Space) -> bool:
    """Return whether this is a space of this file, not one of the user's that kept the name; weights may be unavailable."""
    if space.name not in SPACES:
        return False
    named = SPACES[space.name]().with_aspects(space.values("aspect"))
    without = [name for name, choice in space.backbones.items() if choice.transfer == (0,)]
    return space in (named, named.without_transfer(without))


def open_space(name_or_path: str) -> Space:
    """Return a space by its name, or from its YAML file.

    Raises:
        SpaceError: there is no such name and no such file, or the file is invalid (the message names the line).
    """
    if name_or_path in SPACES:
        return SPACES[name_or_path]()
    if os.path.isfile(name_or_path):  # False too for a name that is too long for a file, or in a closed folder
        return read_space(Path(name_or_path))
    raise SpaceError(
        f"space {name_or_path!r} is neither a known name nor a file",
        hint=f"choose one of {', '.join(SPACES)}, or write your own: yoloret-nas space tiny --yaml > my.yaml",
    )
