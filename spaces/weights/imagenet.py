"""ImageNet weights for the blocks below the transfer boundary.

They come from the first of these that has them:

1. the folder that ``YOLORET_NAS_WEIGHTS_DIR`` names (`--weights-dir`): ``<backbone>.safetensors``, ``.pth``, ``.pt`` or
   ``.bin`` as timm lays them out, or a file of `spaces.weights.published` under its own name;
2. `spaces.weights.published`, for backbones timm has no weights for;
3. timm's hub, fetched and cached by timm; its variables (``HF_HOME``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``) mean what they
   mean there.

No file is ever executed: pickles are read as bare tensors.
"""

import os
import pickle
import urllib.error
import urllib.request
from pathlib import Path

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spaces.architecture import Architecture
from spaces.download import DownloadError
from spaces.errors import YoloRetError
from spaces.networks.backbones import check_backbone, split_blocks
from spaces.networks.network import YoloReT
from spaces.weights.published import PUBLISHED, convert, fetch_published

WEIGHTS_DIR = "YOLORET_NAS_WEIGHTS_DIR"
"""The environment variable; it reaches the processes of trials."""

_PATIENCE_S = 5.0
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


class WeightsError(YoloRetError):
    """Pretrained weights cannot be had."""


def fetch_pretrained(backbone: str) -> nn.Module:
    """Give a whole timm classifier with its ImageNet weights.

    Raises:
        WeightsError: there are none for it, they cannot be reached, or a file does not hold them.
    """
    check_backbone(backbone)
    if path := _find_file(backbone):
        return _fill(backbone, _read_file(path, backbone), source=str(path))
    if backbone in PUBLISHED:
        try:
            return _fill(backbone, fetch_published(backbone), source=PUBLISHED[backbone])
        except DownloadError as error:
            raise _out_of_reach(backbone, error.message) from error
    if not timm.models.is_model_pretrained(backbone):
        raise WeightsError(
            f"there are no known ImageNet weights for {backbone}",
            hint="put a file of them into --weights-dir, use transfer 0, or another backbone",
        )
    if not _is_cached(backbone) and (reason := _why_hub_is_out_of_reach()):
        # Asked first: the hub's own client tries for most of a minute before it gives up.
        raise _out_of_reach(backbone, f"not in the cache, and the hub is out of reach: {reason}")
    try:
        return timm.create_model(backbone, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:  # the hub's client raises all three for a hub out of reach
        raise _out_of_reach(backbone, str(error).strip().splitlines()[0]) from error


def _out_of_reach(backbone: str, reason: str) -> WeightsError:
    return WeightsError(
        f"ImageNet weights of {backbone} cannot be fetched: {reason}",
        hint="check the network, name a folder that holds them with --weights-dir, set HF_HOME or TORCH_HOME to a cache "
        "that does, or use transfer 0",
    )


def _find_file(backbone: str) -> Path | None:
    if not (folder := os.environ.get(WEIGHTS_DIR)):
        return None
    names = [backbone + suffix for suffix in _SUFFIXES] + ([PUBLISHED[backbone]] if backbone in PUBLISHED else [])
    return next((path for name in names if (path := Path(folder) / name).is_file()), None)


def _read_file(path: Path, backbone: str) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path} cannot be read as weights: {reason}") from error
    if not isinstance(values, dict) or not all(isinstance(value, Tensor) for value in values.values()):
        raise WeightsError(f"{path} holds no table of tensors", hint="save the state_dict of the timm model")
    return convert(values) if path.name == PUBLISHED.get(backbone) else values


def _fill(backbone: str, values: dict[str, Tensor], *, source: str) -> nn.Module:
    model: nn.Module = timm.create_model(backbone, pretrained=False)
    try:
        model.load_state_dict(values)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise WeightsError(f"{source} does not hold {backbone}: {' '.join(lines[1:2]).strip()[:300]}") from error
    return model


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
