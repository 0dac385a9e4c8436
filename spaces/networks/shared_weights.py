"""Weights that all networks of a space with one backbone share, in slices: a supernet.

A smaller network takes the leading channels of each convolution and the middle of its kernel. Where channels are
concatenated, each part is sliced by itself, so that a channel means the same in all networks. Values are not shared where
what they see differs: mixing kernels for each stride of the fusion, kinds of shortcut, heads that exchange other things, and
the last convolutions for each input size.

Source: Cai et al., Once-for-All, 2020, section 3.3 (elastic width, kernel and depth); Yu and others, Slimmable Neural
Networks, 2019.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spaces.architecture import Architecture
from spaces.networks.backbones import Backbone, build_blocks
from spaces.networks.heads import HEADS, prediction_channels
from spaces.networks.necks import NECKS
from spaces.networks.network import YoloReT, build_network, feature_channels, find_taps

Part = tuple[str, int]
"""Channels of one origin: what they are, and how many."""
Prepare = Callable[[YoloReT, Architecture], None]
"""Changes the initial values of a network."""


@dataclass(frozen=True)
class _Layout:
    """Where a value of a network lies in the shared ones."""

    group: str
    """Values are shared within a group, never between groups."""
    out: tuple[Part, ...]
    """Parts of its first dimension."""
    into: tuple[Part, ...]
    """Parts of its second dimension, none for a vector."""


class SharedWeights(nn.Module):
    """The shared weights.

    Args:
        backbone: Name of the backbone of all networks.
        num_blocks: Blocks of it that the deepest network keeps.
        num_classes: K.
        values: Those of necks and heads, by key.
    """

    def __init__(self, backbone: str, *, num_blocks: int, num_classes: int, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.backbone, self.num_classes = backbone, num_classes
        self.stem, blocks = build_blocks(backbone)
        self.blocks = nn.ModuleList(blocks[:num_blocks])
        self.values = nn.ParameterDict({key: nn.Parameter(value) for key, value in values.items()})

    def network(self, architecture: Architecture) -> "SharedNetwork":
        """Return a network on the shared weights, for training: its gradients are theirs.

        It normalises by each batch; the running statistics of its norms mix all networks and are not used.
        """
        channels, device = feature_channels(architecture), next(self.parameters()).device
        with torch.device("meta"):
            neck, head = _build_ends(architecture, channels, self.num_classes)
        for module in (neck, head):
            if module is not None:
                _fill_buffers(module, device)
        blocks = list(self.blocks[: architecture.truncation])
        network = YoloReT(Backbone(self.stem, blocks, taps=find_taps(architecture)), neck, head)
        return SharedNetwork(network.train(), dict(self._slices(network, architecture)))

    def extract(self, architecture: Architecture) -> YoloReT:
        """Return a network with copies of the shared values.

        The running statistics of its norms mix all networks; they must be measured before it is used.
        """
        network = build_network(architecture, num_classes=self.num_classes)
        with torch.no_grad():
            network.backbone.stem.load_state_dict(self.stem.state_dict())
            for own, shared in zip(network.backbone.blocks, self.blocks, strict=False):
                own.load_state_dict(shared.state_dict())
            own_values = dict(network.named_parameters())
            for name, value in self._slices(network, architecture):
                own_values[name].copy_(value)
        return network

    def _slices(self, network: YoloReT, architecture: Architecture) -> Iterator[tuple[str, Tensor]]:
        """Yield the values of neck and head, by name."""
        channels = feature_channels(architecture)
        for name, own in network.named_parameters():
            if name.startswith("backbone."):
                continue
            layout = _lay_out(name, own, architecture, channels, self.num_classes)
            rows = []
            for out, num_out in layout.out:
                row = []
                for into, num_into in layout.into or ((None, 0),):
                    shared = self.values[f"{_key(name)}/{_piece_key(layout.group, out, into)}"]
                    sizes = (num_out, num_into, *own.shape[2:]) if into is not None else (num_out,)
                    row.append(_leading(shared, sizes))
                rows.append(row[0] if len(row) == 1 else torch.cat(row, dim=1))
            yield name, rows[0] if len(rows) == 1 else torch.cat(rows)


def share(
    architectures: Sequence[Architecture], *, num_classes: int, prepare: Prepare = lambda network, one: None
) -> SharedWeights:
    """Return shared weights at their random initial values.

    Args:
        architectures: The largest networks: each choice of outputs, truncation, neck, shortcut, head and input size with the
            largest of all widths and kernels. All have one backbone.
        num_classes: K.
        prepare: Called with each network at its random initial weights.

    Raises:
        ValueError: they have several backbones.
    """
    backbones = {one.backbone for one in architectures}
    if len(backbones) != 1:
        raise ValueError(f"weights are shared within one backbone; there are {', '.join(sorted(backbones))}")
    values: dict[str, Tensor] = {}
    any_size = architectures[0].input_size
    for _, of_each_size in groupby(architectures, key=lambda one: one.replace(input_size=any_size)):
        first, *others = of_each_size
        channels = feature_channels(first)
        network = YoloReT(Backbone(nn.Identity(), [], taps={}), *_build_ends(first, channels, num_classes))
        for architecture in (first, *others):
            prepare(network, architecture)
            _take_up(values, network, architecture, channels, num_classes)
    num_blocks = max(one.truncation for one in architectures)
    return SharedWeights(backbones.pop(), num_blocks=num_blocks, num_classes=num_classes, values=values)


def _take_up(
    values: dict[str, Tensor],
    network: YoloReT,
    architecture: Architecture,
    channels: Mapping[int, int],
    num_classes: int,
) -> None:
    """Add those of a network's values that are not shared yet."""
    for name, value in network.named_parameters():
        for key, piece in _cut(value.detach(), _lay_out(name, value, architecture, channels, num_classes)):
            full = f"{_key(name)}/{key}"
            values[full] = _enlarged(values[full], piece) if full in values else piece.clone()


def _enlarged(shared: Tensor, piece: Tensor) -> Tensor:
    """Return a shared value of which both are slices: itself where it is large enough."""
    sizes = tuple(max(pair) for pair in zip(shared.shape, piece.shape, strict=True))
    if sizes == tuple(shared.shape):
        return shared
    whole = torch.empty(sizes).normal_(float(piece.mean()), float(piece.std(correction=0)))
    for part in (piece, shared):
        _leading(whole, tuple(part.shape)).copy_(part)
    return whole


class SharedNetwork(nn.Module):
    """A network on shared weights.

    Args:
        network: Of which neck and head lack values; its backbone is the shared one.
        values: Those, by name.
    """

    def __init__(self, network: YoloReT, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = network
        self.output_strides = network.output_strides
        self.has_anchors = network.has_anchors
        self._values = dict(values)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predict the raw maps; see `YoloReT`."""
        maps: tuple[Tensor, ...] = functional_call(self.network, self._values, (images,))
        return maps


def _build_ends(
    architecture: Architecture, channels: Mapping[int, int], num_classes: int
) -> tuple[nn.Module | None, Any]:
    neck = NECKS[architecture.neck]
    head = HEADS[architecture.head].build(architecture, neck.out_channels(architecture, channels), num_classes)
    return neck.build(architecture, channels), head


def _fill_buffers(module: nn.Module, device: torch.device) -> None:
    """Give a module without memory the buffers that its norms write to; its parameters stay without."""
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            part.register_buffer(name, torch.zeros_like(buffer, device=device))


def _key(name: str) -> str:
    return name.replace(".", "_")


def _piece_key(group: str, out: str, into: str | None) -> str:
    return f"{group}:{out}{'' if into is None else f'<{into}'}"


def _lay_out(
    name: str, value: Tensor, architecture: Architecture, channels: Mapping[int, int], num_classes: int
) -> _Layout:
    out: tuple[Part, ...] = (("", value.shape[0]),)
    into: tuple[Part, ...] = (("", value.shape[1]),) if value.ndim > 1 else ()
    scale_set = architecture.scale_set
    if name.startswith("neck."):
        if found := re.search(r"\.(top_down|bottom_up)\.s\d+\.weights$", name):  # of BiFPN's sums
            inputs = ("own", "handed") if value.shape[0] == 2 else ("own", "down", "handed")
            return _Layout(architecture.neck, tuple((one, 1) for one in inputs), ())
        if scale_set is None:
            return _Layout(architecture.neck, out, _raw(into) if ".lateral." in name else into)
        if name == "neck.fuse_weights":
            strides = (
                *reversed(scale_set.collect),
                *((architecture.shortcut_stride,) if architecture.shortcut_stride else ()),
            )
            kinds = [f"s{s}{architecture.shortcut if s == architecture.shortcut_stride else ''}" for s in strides]
            return _Layout(f"fuse{scale_set.fuse}", tuple((kind, 1) for kind in kinds), ())
        if found := re.match(r"neck\.collect\.s(\d+)\.", name):
            kind = architecture.shortcut if int(found[1]) == architecture.shortcut_stride else ""
            return _Layout(f"{kind}{tuple(value.shape[2:])}", out, _raw(into))
        return _Layout(f"fuse{scale_set.fuse}", out, into)
    head = architecture.head
    if ".predict" in name:
        return _Layout(f"{head}{architecture.input_size}", out, into)
    stride = next((int(found) for found in re.findall(r"\.s(\d+)\.", name)), 0)
    width = architecture.head_width
    if head == "decoupled":
        if ".lateral." in name and value.ndim > 1:
            return _Layout(head, out, _collected(value.shape[1], channels[stride], architecture))
        if found := re.search(r"\.(top_down|bottom_up)\.s\d+\.([01])\.", name):
            both: tuple[Part, ...] = (("sent", width), ("own", width))
            return _Layout(head, both, into) if found[2] == "0" else _Layout(head, out, both if into else ())
        return _Layout(f"{head}{_reduction(name, stride, architecture)}", out, into)
    group = "fpn_pan" if head == "fpn_pan" else "fpn"  # without paths a head is the other's part
    if found := re.search(r"\.(top_down|bottom_up)\.s\d+\.expand\.0\.weight", name):
        if found[1] == "top_down":
            own = NECKS[architecture.neck].out_channels(architecture, channels)[stride]
            parts = _collected(own, channels[stride], architecture)
        else:
            own = prediction_channels(num_classes)
            parts = (("own", own),)
        sent = value.shape[1] - own
        return _Layout(group, out, ((("sent", sent), *parts) if sent else parts))
    return _Layout(group, out, into)


def _reduction(name: str, stride: int, architecture: Architecture) -> str:
    """Return by how much a head's convolution reduces, for those that do: the next finer output may be half or a quarter."""
    outputs = architecture.outputs
    return str(stride // outputs[outputs.index(stride) - 1]) if ".reduce." in name else ""


def _raw(into: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple((f"raw{size}", size) for _, size in into)


def _collected(size: int, raw: int, architecture: Architecture) -> tuple[Part, ...]:
    if architecture.neck == "bifpn":
        return (("bifpn", size),)
    own: Part = (f"raw{raw}", raw)
    return (own, ("fusion", size - raw)) if size > raw else (own,)


def _cut(value: Tensor, layout: _Layout) -> Iterator[tuple[str, Tensor]]:
    """Yield the pieces of a value, by key."""
    at = 0
    for out, num_out in layout.out:
        row = value.narrow(0, at, num_out)
        at += num_out
        if not layout.into:
            yield _piece_key(layout.group, out, None), row
        before = 0
        for into, num_into in layout.into:
            yield _piece_key(layout.group, out, into), row.narrow(1, before, num_into)
            before += num_into


def _leading(shared: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return the leading channels, and the middle of the kernel."""
    for dimension, (whole, wanted) in enumerate(zip(shared.shape, sizes, strict=True)):
        if whole != wanted:
            start = (whole - wanted) // 2 if dimension >= 2 else 0
            shared = shared.narrow(dimension, start, wanted)
    return shared
