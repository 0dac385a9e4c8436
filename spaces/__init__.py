"""Which networks there are: architectures, the spaces that hold them, and the networks they name.

The names below are imported when they are first used: the errors are needed where torch and timm are not.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spaces.architecture import Architecture
    from spaces.backbones import BACKBONES
    from spaces.errors import YoloRetError
    from spaces.named_spaces import SPACES, open_space
    from spaces.network import NUM_ANCHORS, YoloReT, build_network
    from spaces.presets import PRESETS, preset, presets_in
    from spaces.scale_set import ArchitectureError, ScaleSet
    from spaces.space import BackboneChoice, Space, SpaceError

__all__ = [
    "BACKBONES",
    "NUM_ANCHORS",
    "PRESETS",
    "SPACES",
    "Architecture",
    "ArchitectureError",
    "BackboneChoice",
    "ScaleSet",
    "Space",
    "SpaceError",
    "YoloReT",
    "YoloRetError",
    "build_network",
    "open_space",
    "preset",
    "presets_in",
]

_HOMES = {
    "BACKBONES": "backbones",
    "NUM_ANCHORS": "network",
    "PRESETS": "presets",
    "SPACES": "named_spaces",
    "Architecture": "architecture",
    "ArchitectureError": "scale_set",
    "BackboneChoice": "space",
    "ScaleSet": "scale_set",
    "Space": "space",
    "SpaceError": "space",
    "YoloReT": "network",
    "YoloRetError": "errors",
    "build_network": "network",
    "open_space": "named_spaces",
    "preset": "presets",
    "presets_in": "presets",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
