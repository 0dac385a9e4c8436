"""ImageNet weights for the blocks below the transfer boundary.

timm fetches and caches them from the model hub; its environment variables (``HF_HOME``, ``HF_ENDPOINT``,
``HF_HUB_OFFLINE``) mean what they mean there.
"""

import urllib.error
import urllib.request

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from torch import nn

from spaces.architecture import Architecture
from spaces.backbones import check_backbone, split_blocks
from spaces.errors import YoloRetError
from spaces.network import YoloReT

_PATIENCE_S = 5.0


class WeightsError(YoloRetError):
    """Pretrained weights cannot be had."""


def fetch_pretrained(backbone: str) -> nn.Module:
    """Give a whole timm classifier with its ImageNet weights, from the local cache or the hub.

    Raises:
        WeightsError: timm has no weights for it, or they cannot be reached.
    """
    check_backbone(backbone)
    if not timm.models.is_model_pretrained(backbone):
        raise WeightsError(f"timm has no ImageNet weights for {backbone}", hint="use transfer 0, or another backbone")
    if not _is_cached(backbone) and (reason := _why_hub_is_out_of_reach()):
        # Asked first: the hub's own client tries for most of a minute before it gives up.
        raise WeightsError(
            f"ImageNet weights of {backbone} are not in the cache, and the hub is out of reach: {reason}",
            hint="check the network, or set HF_HOME to a cache that holds them, or use transfer 0",
        )
    try:
        return timm.create_model(backbone, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:  # the hub's client raises all three for a hub out of reach
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"ImageNet weights of {backbone} cannot be fetched: {reason}",
            hint="check the network, or set HF_HOME to a cache that holds them, or use transfer 0",
        ) from error


def load_pretrained(network: YoloReT, architecture: Architecture) -> None:
    """Put ImageNet weights into the stem and the blocks below the architecture's transfer boundary.

    Raises:
        WeightsError: they cannot be had. With transfer 0 nothing is fetched.
    """
    if architecture.transfer == 0:
        return
    stem, blocks = split_blocks(fetch_pretrained(architecture.backbone))
    with torch.no_grad():
        network.backbone.stem.load_state_dict(stem.state_dict())
        for own, source in zip(network.backbone.blocks[: architecture.transfer], blocks, strict=False):
            own.load_state_dict(source.state_dict())


def why_unavailable(backbone: str) -> str:
    """Say why a backbone's ImageNet weights cannot be had; empty where they can. They are in the cache afterwards."""
    try:
        fetch_pretrained(backbone)
    except WeightsError as error:
        return error.message
    return ""


def _is_cached(backbone: str) -> bool:
    published = timm.get_pretrained_cfg(backbone)
    if published is None or not published.hf_hub_id:
        return False
    repository = published.hf_hub_id
    return any(
        isinstance(try_to_load_from_cache(repository, name), str) for name in ("model.safetensors", "pytorch_model.bin")
    )


def _why_hub_is_out_of_reach() -> str:
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_PATIENCE_S).close()
    except urllib.error.HTTPError:
        return ""  # it answers, be it with a refusal of HEAD
    except OSError as error:
        return f"{constants.ENDPOINT}: {getattr(error, 'reason', error)}"
    return ""
