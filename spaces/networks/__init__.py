"""The networks that architectures describe: truncated backbones, necks, heads, and the shortcut of the RFCR neck.

Here they are built, their legality is checked, and their multiply-adds and parameters are counted, with or without a
built network.
"""

from spaces.networks.backbones import BACKBONES, block_shapes
from spaces.networks.cost import count_cost
from spaces.networks.heads import HEADS
from spaces.networks.legality import check_legal, why_illegal
from spaces.networks.macs import count_macs, count_params
from spaces.networks.necks import NECKS
from spaces.networks.network import YoloReT, build_network
from spaces.networks.shortcuts import SHORTCUTS

__all__ = [
    "BACKBONES",
    "HEADS",
    "NECKS",
    "SHORTCUTS",
    "YoloReT",
    "block_shapes",
    "build_network",
    "check_legal",
    "count_cost",
    "count_macs",
    "count_params",
    "why_illegal",
]
