"""The frozen description of one network.

An architecture is a value: it hashes, compares, and round-trips through JSON and through flat search parameters.
This module checks what the value alone shows; `spaces.networks.legality` checks what needs the backbone's blocks.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from spaces.aspect import SQUARE, in_words, parse_aspect, shape_of_input
from spaces.scale_set import PAPER_SCALE_SET, ArchitectureError, ScaleSet, check_strides, join_strides, parse_strides

NeckName = Literal["bifpn", "rfcr", "none"]
"""Keys of `spaces.networks.necks.NECKS`. ``rfcr`` is the paper's; ``bifpn`` is EfficientDet's, as wide as the head."""

Shortcut = Literal["conv", "maxpool", "avgpool", "none"]
"""Keys of `spaces.networks.shortcuts.SHORTCUTS`: how RFCR resamples the scale finer than its finest collected one.

``maxpool`` is the paper's (pooling, then a 1×1 convolution), ``avgpool`` averages instead, ``conv`` is one convolution
whose kernel equals its stride, so that every value is weighted.
"""

HeadName = Literal["fpn_pan", "decoupled", "fpn", "plain"]
"""Keys of `spaces.networks.heads.HEADS`. ``fpn_pan`` is the paper's; ``fpn`` has no paths from fine to coarse scales;
``plain`` has no paths between scales; ``decoupled`` has no anchors, and boxes and classes from branches of their own."""

_LARGEST = 4096
"""Channels and side of the image: far above any useful value, and low enough that a network can be built."""
_LARGEST_KERNEL = 63
"""Of the fusion: feature maps of usual images have no more cells a side."""
_KINDS: dict[Any, tuple[str, str]] = {
    str: ("text", "for example mobilenetv2_075"),
    int: ("a whole number", "write it without quotes and decimal point"),
    bool: ("true or false", "write it without quotes"),
}
"""Types of plain fields: each one's name in a message, with a hint."""

ParameterValue = int | str | bool
"""The type of a flat search parameter."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One YOLO-ReT network; only its number of classes is left open."""

    backbone: str
    """A name in `spaces.networks.backbones.BACKBONES`."""
    truncation: int
    """Blocks kept: the backbone is cut before the block of this index (blocks count from 0, the stem does not count)."""
    transfer: int = 0
    """Blocks that start from ImageNet weights: those before this index, and the stem if it is above 0."""
    outputs: tuple[int, ...] = (8, 16, 32)
    """Strides at which boxes are predicted, in pixels, fine to coarse."""
    neck: NeckName = "rfcr"
    """What stands between backbone and head."""
    scale_set: ScaleSet | None = PAPER_SCALE_SET
    """What RFCR collects and hands back; None exactly if the neck is not RFCR."""
    shortcut: Shortcut = "none"
    """Whether and how RFCR also collects the scale finer than its finest; "none" without RFCR."""
    rfcr_width: int = 48
    """Channels each collected scale is projected to; 0 without RFCR."""
    rfcr_channels: int = 96
    """Channels of the fusion handed back; 0 without RFCR."""
    rfcr_kernel: int = 5
    """Kernel of the depthwise convolution that mixes the fusion, odd; 0 without RFCR."""
    head: HeadName = "fpn_pan"
    """Which paths the head has between its scales."""
    head_width: int = 128
    """Channels of the head's finest scale, twice as many at each coarser one; of all scales with ``decoupled``; also the
    width of BiFPN."""
    prediction_bias: bool = True
    """Whether the last convolution has a bias (the authors' code has none)."""
    input_size: int = 320
    """Longer side of the network's input image, in pixels; a multiple of the coarsest stride."""
    aspect: str = SQUARE
    """Width to height of the images that the input is made for, as ``16:9``."""

    def __post_init__(self) -> None:
        self._check_types()
        check_strides("outputs", self.outputs)
        _check_choice("neck", self.neck, get_args(NeckName))
        _check_choice("shortcut", self.shortcut, get_args(Shortcut))
        _check_choice("head", self.head, get_args(HeadName))
        self._check_numbers()
        self._check_neck()
        if self.input_size % self.coarsest_stride:
            raise ArchitectureError(
                f"input_size {self.input_size} is not a multiple of the coarsest stride {self.coarsest_stride}",
                hint=f"the nearest is {nearest_size(self.input_size, stride=self.coarsest_stride)}",
            )
        parse_aspect(self.aspect)

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network's input image, in pixels, both multiples of the coarsest stride."""
        return shape_of_input(self.input_size, self.aspect, stride=self.coarsest_stride)

    @property
    def shortcut_stride(self) -> int | None:
        """Stride of the scale that the shortcut adds, in pixels; None without a shortcut."""
        if self.scale_set is None or self.shortcut == "none":
            return None
        return self.scale_set.collect[0] // 2

    @property
    def taps(self) -> tuple[int, ...]:
        """Strides whose backbone features the network reads, fine to coarse."""
        collected = self.scale_set.collect if self.scale_set else ()
        extra = (self.shortcut_stride,) if self.shortcut_stride else ()
        return tuple(sorted({*self.outputs, *collected, *extra}))

    @property
    def coarsest_stride(self) -> int:
        """The coarsest stride the network uses, in pixels."""
        return self.taps[-1]

    @property
    def neck_choice(self) -> str:
        """The fields `neck` and `scale_set` as one category: the scale set if there is one, the neck's name otherwise."""
        return self.neck if self.scale_set is None else str(self.scale_set)

    @property
    def short(self) -> str:
        """The choices in short form, for one line."""
        neck = "BiFPN" if self.neck == "bifpn" else "no RFCR"
        if self.scale_set is not None:
            sizes = f"{self.rfcr_width}/{self.rfcr_channels}/k{self.rfcr_kernel}"
            neck = f"{self.scale_set} {sizes} {self.shortcut}"
        transfer = f"^{self.transfer}" if self.transfer else ""
        size = in_words(self.input_hw)
        return f"{self.backbone}[:{self.truncation}]{transfer} {size}px {neck} {self.head}×{self.head_width}"

    @cached_property
    def key(self) -> str:
        """A stable name: the first twelve hexadecimal digits of the SHA-256 of the sorted JSON form."""
        values = self.to_dict()
        if self.aspect == SQUARE:  # a network from before there were others keeps its name
            del values["aspect"]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, ParameterValue]:
        """Return the flat form, of JSON types only; `from_dict` is its inverse."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["outputs"] = join_strides(self.outputs)
        values["scale_set"] = "none" if self.scale_set is None else str(self.scale_set)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Architecture":
        """Build from the flat form, from JSON, YAML or search parameters.

        A missing `neck` follows from `scale_set`; other missing fields take their defaults.

        Raises:
            ArchitectureError: an unknown or missing field, a value of the wrong type, or a contradiction.
        """
        types = {field.name: field.type for field in dataclasses.fields(cls)}
        if unknown := sorted(map(str, set(values) - set(types))):
            raise ArchitectureError(
                f"unknown architecture field {', '.join(map(repr, unknown))}", hint=f"the fields are {', '.join(types)}"
            )
        for name in ("backbone", "truncation"):
            if name not in values:
                raise ArchitectureError(f"the architecture has no {name}", hint=f"add {name}: to it")
        neck = "none" if values.get("scale_set") == "none" else "rfcr"
        return cls(**{name: _from_flat(name, value) for name, value in {"neck": neck, **values}.items()})

    def replace(self, **changes: Any) -> "Architecture":
        """Return a copy with some fields changed; the copy is checked too."""
        return dataclasses.replace(self, **changes)

    def _check_types(self) -> None:
        """Refuse what equals a legal value, as 320.0 and True do, but has another JSON form and so another key."""
        for name, kind in _PLAIN_FIELDS.items():
            if type(value := getattr(self, name)) is not kind:
                called, hint = _KINDS[kind]
                raise ArchitectureError(f"{name} must be {called}, not {value!r}", hint=hint)
        if not isinstance(self.scale_set, ScaleSet | None):
            raise ArchitectureError(
                f"scale_set must be a ScaleSet or None, not {self.scale_set!r}",
                hint=f'for example ScaleSet.parse("{PAPER_SCALE_SET}")',
            )

    def _check_numbers(self) -> None:
        positive = {"truncation": self.truncation, "head_width": self.head_width, "input_size": self.input_size}
        for name, value in positive.items():
            if value <= 0 or (name != "truncation" and value > _LARGEST):  # the backbone limits truncation
                most = "" if name == "truncation" else f", at most {_LARGEST}"
                raise ArchitectureError(f"{name} is {value}; it must be above 0{most}")
        if not 0 <= self.transfer <= self.truncation:
            raise ArchitectureError(
                f"transfer {self.transfer} is not within the {self.truncation} blocks kept",
                hint=f"choose 0 (no ImageNet weights) to {self.truncation} (all blocks)",
            )

    def _check_neck(self) -> None:
        sizes = (self.rfcr_width, self.rfcr_channels, self.rfcr_kernel)
        if self.scale_set is None:
            if self.neck == "rfcr":
                raise ArchitectureError(
                    "neck 'rfcr' needs a scale set",
                    hint="set one, or set neck to none or bifpn for a network without RFCR",
                )
            if self.shortcut != "none":
                raise ArchitectureError("a shortcut needs a scale set to join", hint="set shortcut to none")
            if any(sizes):
                raise ArchitectureError(
                    f"rfcr_width, rfcr_channels and rfcr_kernel are {sizes}, but there is no scale set and so no RFCR",
                    hint="set them to 0",
                )
            return
        if self.neck != "rfcr":
            raise ArchitectureError(
                f"neck {self.neck!r} takes no scale set, but there is {self.scale_set}",
                hint="set scale_set to none, or neck to rfcr",
            )
        if min(sizes) <= 0 or max(sizes) > _LARGEST or self.rfcr_kernel > _LARGEST_KERNEL or self.rfcr_kernel % 2 == 0:
            raise ArchitectureError(
                f"rfcr_width, rfcr_channels and rfcr_kernel are {sizes}; they must be from 1 to {_LARGEST}, the kernel odd "
                f"and at most {_LARGEST_KERNEL}"
            )
        if set(self.scale_set.hand_back) - set(self.outputs):
            raise ArchitectureError(
                f"scale set {self.scale_set} hands back to strides that are no output ({join_strides(self.outputs)})",
                hint="hand back to output strides only",
            )
        if self.shortcut != "none" and self.scale_set.collect[0] <= 4:
            raise ArchitectureError(
                "a shortcut needs a scale finer than stride 4, and no backbone has one",
                hint="set shortcut to none, or collect from stride 8 on",
            )


_PLAIN_FIELDS = {field.name: field.type for field in dataclasses.fields(Architecture) if field.type in _KINDS}


def nearest_size(size: int, *, stride: int) -> int:
    """Return the multiple of a stride that is nearest to a size, in pixels, at least one stride."""
    return max(1, round(size / stride)) * stride


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ArchitectureError(f"{name} {value!r} is unknown", hint=f"choose one of {', '.join(allowed)}")


def _from_flat(name: str, value: Any) -> Any:
    """Return a field's value from its flat form, in which strides are text; the architecture checks the other types."""
    if name not in _TEXTS_OF_STRIDES:
        return value
    if not isinstance(value, str):
        raise ArchitectureError(f"{name} must be text, not {value!r}", hint=_TEXTS_OF_STRIDES[name])
    if name == "outputs":
        return parse_strides(value)
    return None if value == "none" else ScaleSet.parse(value)


_TEXTS_OF_STRIDES = {
    "outputs": 'join the strides by +, with quotes around a single one: 8+16+32 or "32"',
    "scale_set": f"for example {PAPER_SCALE_SET}; none leaves RFCR out",
}
"""Fields that are text in the flat form alone, with the form that a hint shows."""
