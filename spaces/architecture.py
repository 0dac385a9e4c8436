"""The frozen description of one network.

An architecture is a value: it hashes, compares, and round-trips through JSON and through flat search parameters.
Nothing reads one back out of a network. Whether it is legal for its backbone is `spaces.networks.legality`'s to say, since that
needs the backbone's blocks; what can be told from the value alone is checked here.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from spaces.scale_set import PAPER_SCALE_SET, ArchitectureError, ScaleSet, check_strides, join_strides, parse_strides

Shortcut = Literal["none", "maxpool", "avgpool", "conv"]
"""How the scale finer than the finest collected one comes down to the fusion.

``maxpool`` is the paper's (pooled, then a 1×1 convolution), ``avgpool`` averages instead, ``conv`` is one convolution
whose kernel equals its stride, so that no value is dropped before it is weighed.
"""

HeadName = Literal["fpn_pan", "bifpn", "fpn", "plain"]
"""``fpn_pan`` is the paper's; ``fpn`` leaves out the way back up; ``plain`` detects at each scale by itself; ``bifpn``
joins the scales by `spaces.networks.bifpn` before it detects at each by itself."""

ParameterValue = int | str | bool
"""What a flat search parameter can hold."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One YOLO-ReT network, but for its number of classes."""

    backbone: str
    """A name in `spaces.networks.backbones.BACKBONES`."""
    truncation: int
    """Blocks kept: the backbone is cut before its block of this index (blocks count from 0, the stem is none)."""
    transfer: int = 0
    """Blocks that start from ImageNet weights: those before this index, and the stem where it is above 0."""
    outputs: tuple[int, ...] = (8, 16, 32)
    """Strides at which boxes are predicted, in pixels, fine to coarse."""
    scale_set: ScaleSet | None = PAPER_SCALE_SET
    """What RFCR collects and hands back; None leaves RFCR out."""
    shortcut: Shortcut = "none"
    """Whether RFCR also collects the scale finer than its finest, and how that comes down."""
    rfcr_width: int = 48
    """Channels each collected scale is brought to; 0 without RFCR."""
    rfcr_channels: int = 96
    """Channels of the fusion handed back; 0 without RFCR."""
    rfcr_kernel: int = 5
    """Kernel of the depthwise convolution that mixes the fusion, odd; 0 without RFCR."""
    head: HeadName = "fpn_pan"
    """How the head's scales talk to each other."""
    head_width: int = 128
    """Channels of the head's finest scale; twice as many at each coarser one."""
    prediction_bias: bool = True
    """Whether the last convolution has a bias (the authors' code has none)."""
    input_size: int = 320
    """Height and width of the image the network sees, in pixels; a multiple of the coarsest stride."""

    def __post_init__(self) -> None:
        check_strides("outputs", self.outputs)
        _check_choice("shortcut", self.shortcut, get_args(Shortcut))
        _check_choice("head", self.head, get_args(HeadName))
        self._check_numbers()
        self._check_rfcr()
        if self.input_size % self.coarsest_stride:
            raise ArchitectureError(
                f"input_size {self.input_size} is not a multiple of the coarsest stride {self.coarsest_stride}",
                hint=f"the nearest below is {self.input_size // self.coarsest_stride * self.coarsest_stride}",
            )

    @property
    def shortcut_stride(self) -> int | None:
        """Stride of the scale the shortcut adds, None without one."""
        if self.scale_set is None or self.shortcut == "none":
            return None
        return self.scale_set.collect[0] // 2

    @property
    def taps(self) -> tuple[int, ...]:
        """Strides whose backbone features the network uses, fine to coarse."""
        collected = self.scale_set.collect if self.scale_set else ()
        extra = (self.shortcut_stride,) if self.shortcut_stride else ()
        return tuple(sorted({*self.outputs, *collected, *extra}))

    @property
    def coarsest_stride(self) -> int:
        """The coarsest stride the network uses, in pixels."""
        return self.taps[-1]

    @cached_property
    def key(self) -> str:
        """A stable name: twelve hexadecimal digits of the SHA-256 of the sorted JSON form."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, ParameterValue]:
        """Give the flat form, of JSON types only; `from_dict` is its inverse."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["outputs"] = join_strides(self.outputs)
        values["scale_set"] = "none" if self.scale_set is None else str(self.scale_set)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Architecture":
        """Build from the flat form, from JSON, YAML or search parameters; fields left out take their defaults.

        Raises:
            ArchitectureError: an unknown or missing field, a value of another type, or a contradiction.
        """
        types = {field.name: field.type for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(types)):
            raise ArchitectureError(
                f"unknown architecture field {', '.join(map(repr, unknown))}", hint=f"the fields are {', '.join(types)}"
            )
        for name in ("backbone", "truncation"):
            if name not in values:
                raise ArchitectureError(f"the architecture names no {name}", hint=f"add {name}: to it")
        return cls(**{name: _from_flat(name, value) for name, value in values.items()})

    def replace(self, **changes: Any) -> "Architecture":
        """Give a copy with some fields changed (the copy is checked like any other)."""
        return dataclasses.replace(self, **changes)

    def _check_numbers(self) -> None:
        positive = {"truncation": self.truncation, "head_width": self.head_width, "input_size": self.input_size}
        for name, value in positive.items():
            if value <= 0:
                raise ArchitectureError(f"{name} is {value}; it must be above 0")
        if not 0 <= self.transfer <= self.truncation:
            raise ArchitectureError(
                f"transfer {self.transfer} is not within the {self.truncation} blocks kept",
                hint=f"choose 0 (no ImageNet weights) to {self.truncation} (all blocks)",
            )

    def _check_rfcr(self) -> None:
        sizes = (self.rfcr_width, self.rfcr_channels, self.rfcr_kernel)
        if self.scale_set is None:
            if self.shortcut != "none":
                raise ArchitectureError("a shortcut needs a scale set to join", hint="set shortcut to none")
            if any(sizes):
                raise ArchitectureError(
                    "without a scale set there is no RFCR to size",
                    hint="set rfcr_width, rfcr_channels and rfcr_kernel to 0",
                )
            return
        if min(sizes) <= 0 or self.rfcr_kernel % 2 == 0:
            raise ArchitectureError(
                f"rfcr_width, rfcr_channels and rfcr_kernel are {sizes}; they must be above 0, the kernel odd"
            )
        if set(self.scale_set.hand_back) - set(self.outputs):
            raise ArchitectureError(
                f"scale set {self.scale_set} hands back to strides that are no output ({join_strides(self.outputs)})",
                hint="hand back to output strides only",
            )
        if self.shortcut != "none" and self.scale_set.collect[0] <= 4:
            raise ArchitectureError("a shortcut needs a scale finer than stride 4, and backbones here have none")


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ArchitectureError(f"{name} {value!r} is unknown", hint=f"choose one of {', '.join(allowed)}")


def _from_flat(name: str, value: Any) -> Any:
    if name in ("backbone", "shortcut", "head", "outputs", "scale_set"):
        if not isinstance(value, str):
            raise ArchitectureError(f"{name} must be text, not {value!r}")
        if name == "outputs":
            return parse_strides(value)
        if name == "scale_set":
            return None if value == "none" else ScaleSet.parse(value)
        return value
    expected = bool if name == "prediction_bias" else int
    if type(value) is not expected:
        raise ArchitectureError(
            f"{name} must be {'true or false' if expected is bool else 'a whole number'}, not {value!r}"
        )
    return value
