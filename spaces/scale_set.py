"""The scale set of the RFCR neck: the strides it collects, the stride it fuses at, the strides that get the fusion.

Source: YOLO-ReT, section 3.1 (raw feature collection and redistribution).
"""

import re
from dataclasses import dataclass

from spaces.errors import YoloRetError

STRIDES = (4, 8, 16, 32)
"""Every stride at which the backbones have features, in pixels, fine to coarse."""

_FORM = re.compile(r"(?P<collect>[0-9+]+)@(?P<fuse>[1-9][0-9]{0,3})>(?P<hand_back>[0-9+]+)")


class ArchitectureError(YoloRetError, ValueError):
    """A description that names no network."""


@dataclass(frozen=True, kw_only=True, order=True)
class ScaleSet:
    """One scale set, written ``8+16+32@16>8+16+32``: collect strides 8, 16 and 32, fuse at 16, hand back to all three.

    >>> ScaleSet.parse("8+16@8>8+16")
    ScaleSet(collect=(8, 16), fuse=8, hand_back=(8, 16))
    >>> str(ScaleSet.parse("8+16@8>8+16"))
    '8+16@8>8+16'
    """

    collect: tuple[int, ...]
    """Strides whose raw backbone features are collected, fine to coarse; the shortcut's scale is extra."""
    fuse: int
    """Stride at which they are summed, from the finest to the coarsest collected."""
    hand_back: tuple[int, ...]
    """Output strides whose features are concatenated with the fusion, fine to coarse."""

    def __post_init__(self) -> None:
        check_strides("scale set: collect", self.collect)
        check_strides("scale set: hand back", self.hand_back)
        if type(self.fuse) is not int:
            raise ArchitectureError(
                f"scale set: the fusion's stride must be a whole number, not {self.fuse!r}", hint="for example 16"
            )
        if not self.collect[0] <= self.fuse <= self.collect[-1] or self.fuse not in STRIDES:
            raise ArchitectureError(
                f"scale set {self}: the fusion's stride {self.fuse} is outside the collected {self.collect}",
                hint=f"fuse at one of {[s for s in STRIDES if self.collect[0] <= s <= self.collect[-1]]}",
            )

    def __str__(self) -> str:
        return f"{join_strides(self.collect)}@{self.fuse}>{join_strides(self.hand_back)}"

    @classmethod
    def parse(cls, text: str) -> "ScaleSet":
        """Read the written form.

        Raises:
            ArchitectureError: the text has another form, or its strides make no scale set.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ArchitectureError(
                f"scale set {text!r} is not of the form COLLECT@FUSE>HAND_BACK", hint="for example 8+16+32@16>8+16+32"
            )
        return cls(
            collect=parse_strides(match["collect"]),
            fuse=int(match["fuse"]),
            hand_back=parse_strides(match["hand_back"]),
        )


def parse_strides(text: str) -> tuple[int, ...]:
    """Read strides written ``8+16+32``, the form of `join_strides`, in which strides have one text only.

    Raises:
        ArchitectureError: the text has another form.
    """
    if re.fullmatch(r"[1-9][0-9]{0,3}(\+[1-9][0-9]{0,3})*", text) is None:
        raise ArchitectureError(f"strides {text!r} are not plain numbers joined by +", hint="for example 8+16+32")
    return tuple(int(part) for part in text.split("+"))


def join_strides(strides: tuple[int, ...]) -> str:
    """Write strides as ``8+16+32``."""
    return "+".join(str(stride) for stride in strides)


def check_strides(what: str, strides: tuple[int, ...]) -> None:
    """Raise an ArchitectureError if strides are no tuple of numbers, or unknown, repeated, out of order or none."""
    if not isinstance(strides, tuple) or any(type(stride) is not int for stride in strides):
        raise ArchitectureError(
            f"{what} must be a tuple of whole numbers, not {strides!r}", hint=f"for example {STRIDES[1:]}"
        )
    allowed = ", ".join(map(str, STRIDES))
    if wrong := [stride for stride in strides if stride not in STRIDES]:
        raise ArchitectureError(f"{what}: {wrong[0]} is no stride", hint=f"the strides are {allowed}")
    if not strides or list(strides) != sorted(set(strides)):
        raise ArchitectureError(
            f"{what}: {join_strides(strides) or 'nothing'} is not a rising list of strides",
            hint=f"choose some of {allowed}, fine to coarse, each once",
        )


PAPER_SCALE_SET = ScaleSet(collect=(8, 16, 32), fuse=16, hand_back=(8, 16, 32))
"""The paper's scale set: all three output scales are collected and get the fusion."""
