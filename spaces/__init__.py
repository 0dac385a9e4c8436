"""Which networks there are: architectures, the spaces that hold them, and the networks they name."""

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
