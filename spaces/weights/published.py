"""ImageNet weights that timm lacks: those of the narrow MobileNetV2s, converted key by key.

Source: d-li14/mobilenetv2.pytorch (Apache-2.0), folder ``pretrained``. A file's name ends with the head of its sha256.
"""

import os
import re
from pathlib import Path

import torch
from torch import Tensor

from spaces.download import fetch_file
from spaces.scale_set import ArchitectureError

PUBLISHED: dict[str, str] = {
    "mobilenetv2_035": "mobilenetv2_0.35-b2e15951.pth",
    "mobilenetv2_075": "mobilenetv2_0.75-dace9791.pth",
}
"""Backbone to file."""

ORIGIN = "https://raw.githubusercontent.com/d-li14/mobilenetv2.pytorch/master/pretrained"
"""Where the files are; the environment variable ``YOLORET_NAS_WEIGHTS_URL`` names a mirror."""

_LAYERS = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
"""timm's names of an inverted residual's layers, in the order they compute."""
_FIRST_LAYERS = ("conv_dw", "bn1", "conv_pw", "bn2")
"""Those of the first block, which does not expand."""
_BLOCKS_OF_STAGE = (1, 2, 3, 4, 3, 3, 1)


def fetch_published(backbone: str) -> dict[str, Tensor]:
    """Give the weights of a backbone of `PUBLISHED` under timm's names, fetched once and kept in torch's hub folder.

    Raises:
        DownloadError: they cannot be had.
    """
    name = PUBLISHED[backbone]
    origin = os.environ.get("YOLORET_NAS_WEIGHTS_URL", ORIGIN).rstrip("/")
    path = cached_path(backbone)
    fetch_file(f"{origin}/{name}", path, checksum=f"sha256:{name.removesuffix('.pth').rpartition('-')[2]}")
    return convert(torch.load(path, map_location="cpu", weights_only=True))


def cached_path(backbone: str) -> Path:
    """Give where a file is kept once it was fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints" / PUBLISHED[backbone]


def convert(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published network's values as timm names them.

    Raises:
        ArchitectureError: a name is none of that network.
    """
    return {_timm_name(name): value for name, value in published.items()}


def _timm_name(name: str) -> str:
    if match := re.fullmatch(r"features\.0\.([01])\.(.+)", name):
        return f"{('conv_stem', 'bn1')[int(match[1])]}.{match[2]}"
    if match := re.fullmatch(r"features\.(\d+)\.conv\.(\d+)\.(.+)", name):
        number, layer = int(match[1]) - 1, int(match[2])
        # Activations have no values but take a place: two of three layers in a block count.
        place = layer - (layer + 1) // 3
        names = _LAYERS if number else _FIRST_LAYERS
        stage, block = _place(number)
        return f"blocks.{stage}.{block}.{names[place]}.{match[3]}"
    if match := re.fullmatch(r"conv\.([01])\.(.+)", name):
        return f"{('conv_head', 'bn2')[int(match[1])]}.{match[2]}"
    if name.startswith("classifier."):
        return name
    raise ArchitectureError(f"{name!r} is no value of the published MobileNetV2")


def _place(number: int) -> tuple[int, int]:
    """Give stage and block in it of a block's number, from 0."""
    for stage, count in enumerate(_BLOCKS_OF_STAGE):
        if number < count:
            return stage, number
        number -= count
    raise ArchitectureError(f"MobileNetV2 has no block {number + sum(_BLOCKS_OF_STAGE)}")
