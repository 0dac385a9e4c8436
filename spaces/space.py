"""A space: a named set of choices, and the legal architectures they make.

The rules couple backbone, truncation, transfer, outputs, neck, scale set and shortcut; the legal combinations of these
axes are the *skeletons*. All other axes are free; the RFCR sizes apply only with a scale set. So a space of millions
is counted, sampled evenly and searched through its few thousand skeletons.
"""

import dataclasses
import itertools
import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from spaces.architecture import Architecture, ParameterValue, nearest_size
from spaces.errors import YoloRetError
from spaces.networks import check_legal, count_cost, why_illegal
from spaces.scale_set import ArchitectureError

RFCR_AXES = ("rfcr_width", "rfcr_channels", "rfcr_kernel")
FREE_AXES = (*RFCR_AXES, "head", "head_width", "prediction_bias", "input_size", "aspect")
SKELETON_AXES = ("backbone", "truncation", "transfer", "outputs", "neck", "scale_set", "shortcut")
AXES = (*SKELETON_AXES, *FREE_AXES)
"""Every axis; each has the name of the architecture's field that it sets."""

ORDERED_AXES = frozenset(
    {"truncation", "transfer", "rfcr_width", "rfcr_channels", "rfcr_kernel", "head_width", "input_size"}
)
"""Axes whose values are ordered numbers; the others are categories."""


class SpaceError(YoloRetError, ValueError):
    """A space is invalid, or holds no architecture."""


@dataclass(frozen=True, kw_only=True)
class BackboneChoice:
    """The choices for one backbone."""

    truncation: tuple[int, ...]
    """Blocks kept."""
    transfer: tuple[int, ...] = (0,)
    """Blocks that start from ImageNet weights; a number above the truncation means all blocks kept."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """A named set of architectures."""

    name: str
    """The name in the study's record."""
    description: str
    """One sentence for the reader."""
    backbones: Mapping[str, BackboneChoice]
    """Backbone name to its truncations and transfer boundaries."""
    axes: Mapping[str, tuple[ParameterValue, ...]]
    """The other axes, in the architecture's flat form, each with at least one value; missing axes keep the default.

    Without the axis ``neck`` the neck follows from the scale set. With it, RFCR is combined with each scale set and every
    other neck with "none".
    """

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.axes) - set(AXES[3:])):
            raise SpaceError(
                f"space {self.name!r}: unknown axis {unknown[0]!r}", hint=f"the axes are {', '.join(AXES[3:])}"
            )
        if empty := [axis for axis, values in self.axes.items() if not values]:
            raise SpaceError(f"space {self.name!r}: axis {empty[0]!r} has no value", hint="add one or remove the axis")
        lists = {
            **self.axes,
            **{f"truncation of {name}": choice.truncation for name, choice in self.backbones.items()},
            **{f"transfer of {name}": choice.transfer for name, choice in self.backbones.items()},
        }
        if repeated := [name for name, values in lists.items() if len(set(values)) != len(values)]:
            raise SpaceError(f"space {self.name!r}: {repeated[0]} lists a value twice: {list(lists[repeated[0]])}")
        if not self.backbones:
            raise SpaceError(f"space {self.name!r} has no backbone", hint="add one under backbones:")
        self._check_neck_pairs()
        if not self.skeletons:
            reasons = "; ".join(f"{reason} ({count}×)" for reason, count in self.exclusions.most_common(3))
            raise SpaceError(f"space {self.name!r} holds no legal architecture: {reasons}")
        self._check_uses()

    @property
    def skeletons(self) -> tuple[Architecture, ...]:
        """The legal combinations of the coupled axes, with the first value of every free axis."""
        return self._legal_and_excluded[0]

    @property
    def exclusions(self) -> Counter[str]:
        """Reason to the number of combinations of the coupled axes that it excludes."""
        return Counter(reason for _, reason in self._legal_and_excluded[1])

    @property
    def size(self) -> int:
        """The number of architectures in the space."""
        return self._ends[-1]

    @cached_property
    def open_axes(self) -> tuple[str, ...]:
        """The axes to choose on: those with several values, except a neck that follows from the scale set."""
        return tuple(axis for axis in AXES if len(self.values(axis)) > 1 and (axis != "neck" or axis in self.axes))

    def values(self, axis: str) -> tuple[ParameterValue, ...]:
        """Return the values of an axis over the whole space, in their order."""
        if axis == "backbone":
            return tuple(self.backbones)
        if axis in ("truncation", "transfer"):
            return self._numbers_of_blocks[axis]
        if axis == "neck" and axis not in self.axes:
            return tuple(dict.fromkeys(neck for neck, _ in self._neck_pairs))
        return self.axes.get(axis, (_DEFAULTS[axis],))

    def active_free_axes(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the free axes that apply to an architecture; the RFCR sizes apply only with a scale set."""
        return FREE_AXES if architecture.scale_set else tuple(axis for axis in FREE_AXES if axis not in RFCR_AXES)

    def __contains__(self, architecture: object) -> bool:
        return isinstance(architecture, Architecture) and self.why_outside(architecture) is None

    def why_outside(self, architecture: Architecture) -> str | None:
        """Return why an architecture is not in this space; None if it is."""
        flat = architecture.to_dict()
        categories = ("backbone", "outputs", "scale_set", "neck", "shortcut")
        for axis in (*categories, *self.active_free_axes(architecture)):
            if flat[axis] not in self.values(axis):
                return f"{axis} {flat[axis]} is none of {', '.join(map(str, self.values(axis)))}"
        if reason := why_illegal(architecture):
            return reason
        choice = self.backbones[architecture.backbone]
        if architecture.truncation not in choice.truncation:
            return f"truncation {architecture.truncation} of {architecture.backbone} is none of {choice.truncation}"
        if architecture.transfer not in _transfers(choice, architecture.truncation):
            return f"transfer {architecture.transfer} is none of {_transfers(choice, architecture.truncation)}"
        return None

    def __iter__(self) -> Iterator[Architecture]:
        """Iterate over the space in a fixed order."""
        for skeleton in self.skeletons:
            axes = self.active_free_axes(skeleton)
            for values in itertools.product(*(self.values(axis) for axis in axes)):
                yield skeleton.replace(**dict(zip(axes, values, strict=True)))

    def __getitem__(self, index: int) -> Architecture:
        """Return the architecture at an index of that order, 0 to `size` - 1, without iterating over those before it."""
        if not 0 <= index < self._ends[-1]:
            raise IndexError(f"architecture {index} of space {self.name!r}, which has {self._ends[-1]}")
        number = bisect_right(self._ends, index)
        skeleton = self.skeletons[number]
        within = index - (self._ends[number - 1] if number else 0)
        values = {}
        for axis in reversed(self.active_free_axes(skeleton)):
            within, place = divmod(within, len(self.values(axis)))
            values[axis] = self.values(axis)[place]
        return skeleton.replace(**values)

    def sample(self, rng: random.Random) -> Architecture:
        """Draw one architecture uniformly."""
        skeleton = rng.choices(self.skeletons, weights=self._multiplicities)[0]
        return skeleton.replace(**{axis: rng.choice(self.values(axis)) for axis in self.active_free_axes(skeleton)})

    def sample_distinct(self, count: int, rng: random.Random) -> list[Architecture]:
        """Return an even sample without repeats, or all architectures of a space that has no more than `count`."""
        if self.size <= count:
            return list(self)
        found: dict[str, Architecture] = {}
        while len(found) < count:
            drawn = self.sample(rng)
            found[drawn.key] = drawn
        return list(found.values())

    def nearest(self, parameters: Mapping[str, Any]) -> Architecture:
        """Return the architecture closest to a point of the box that the axes span.

        Optimisers propose points of a box, and not every point is a legal architecture. A category that differs counts
        one, an ordered axis the distance as a share of its range; the backbone outweighs all other axes. The first in
        the space's order wins a tie.

        Args:
            parameters: Axis to value, ordered axes anywhere in their range; missing axes are free.
        """
        wanted = {axis: value for axis, value in parameters.items() if axis in self.open_axes}
        skeleton = min(self.skeletons, key=lambda candidate: self._distance(candidate, wanted))
        free = {}
        for axis in self.active_free_axes(skeleton):
            values = self.values(axis)
            if axis in wanted and axis in ORDERED_AXES:
                free[axis] = min(values, key=lambda value: abs(int(value) - wanted[axis]))
            else:
                free[axis] = next((value for value in values if value == wanted.get(axis)), values[0])
        return skeleton.replace(**free)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield the architectures one step away: one free axis changed, or one axis of the skeleton.

        Neck and scale set count as one axis. Transfer counts as unchanged where one boundary of the backbone's choices
        gives both values: a backbone whose blocks all start from ImageNet weights stays so at another truncation.
        """
        own = self._values_of(architecture)
        free = {axis: getattr(architecture, axis) for axis in self.active_free_axes(architecture)}
        for axis, value in free.items():
            for other in self.values(axis):
                if other != value:
                    yield architecture.replace(**{axis: other})
        for skeleton, values in self._skeleton_values:
            # Another backbone is one step at any truncation and transfer: few backbones have the same blocks.
            axes = values if values["backbone"] == own["backbone"] else values.keys() - {"truncation", "transfer"}
            if sum(_differ(values[axis], own[axis]) for axis in axes) == 1:
                keep = {axis: free[axis] for axis in self.active_free_axes(skeleton) if axis in free}
                yield skeleton.replace(**keep)

    def largest(self, *, num_classes: int) -> tuple[Architecture, ...]:
        """Return, for each backbone, the architecture with the most multiply-adds; the costliest backbone first.

        Args:
            num_classes: Classes of the detectors.
        """
        # How deep a backbone can be cut depends on the rest: blocks beyond the coarsest stride in use are illegal. The
        # weights' origin does not change the cost.
        deepest: dict[tuple[str, ...], Architecture] = {}
        for skeleton in self.skeletons:
            rest = (skeleton.backbone, str(skeleton.outputs), skeleton.neck_choice, skeleton.shortcut)
            if rest not in deepest or deepest[rest].truncation < skeleton.truncation:
                deepest[rest] = skeleton.replace(transfer=0)
        enlarged = [self._enlarged(skeleton, num_classes=num_classes) for skeleton in deepest.values()]
        by_macs = sorted(enlarged, key=lambda one: -count_cost(one, num_classes=num_classes).macs)
        costliest: dict[str, Architecture] = {}
        for architecture in by_macs:
            costliest.setdefault(architecture.backbone, architecture)
        return tuple(costliest.values())

    def without_transfer(self, names: Collection[str]) -> "Space":
        """Return the same space with some backbones from random weights only, for when their weights are unavailable."""
        backbones = {
            name: dataclasses.replace(choice, transfer=(0,)) if name in names else choice
            for name, choice in self.backbones.items()
        }
        return dataclasses.replace(self, backbones=backbones)

    def with_aspects(self, aspects: tuple[ParameterValue, ...]) -> "Space":
        """Return the same space with other shapes of the input image."""
        if aspects == self.values("aspect"):
            return self
        return dataclasses.replace(self, axes={**self.axes, "aspect": aspects})

    def to_dict(self) -> dict[str, Any]:
        """Return the form of the space's file, of YAML types only."""
        backbones = {
            name: {"truncation": list(choice.truncation), "transfer": list(choice.transfer)}
            for name, choice in self.backbones.items()
        }
        axes = {axis: list(values) for axis, values in self.axes.items()}
        return {"name": self.name, "description": self.description, "backbones": backbones, **axes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Space":
        """Invert `to_dict`."""
        backbones = {
            name: BackboneChoice(truncation=tuple(choice["truncation"]), transfer=tuple(choice["transfer"]))
            for name, choice in values["backbones"].items()
        }
        axes = {name: tuple(v) for name, v in values.items() if name not in ("name", "description", "backbones")}
        return cls(name=values["name"], description=values["description"], backbones=backbones, axes=axes)

    @cached_property
    def _skeleton_values(self) -> tuple[tuple[Architecture, dict[str, Any]], ...]:
        return tuple((skeleton, self._values_of(skeleton)) for skeleton in self.skeletons)

    def _values_of(self, architecture: Architecture) -> dict[str, Any]:
        """Return the values of the coupled axes, neck and scale set as one, transfer as the boundaries that give it."""
        axes = ("backbone", "truncation", "outputs", "neck_choice", "shortcut")
        boundaries = self.backbones[architecture.backbone].transfer
        same = {one for one in boundaries if min(one, architecture.truncation) == architecture.transfer}
        return {axis: getattr(architecture, axis) for axis in axes} | {"transfer": frozenset(same)}

    @cached_property
    def _neck_pairs(self) -> tuple[tuple[ParameterValue, ParameterValue], ...]:
        """Neck and scale set of each choice; pairs that contradict each other are left out."""
        return tuple(
            (neck, scale_set)
            for scale_set in self.values("scale_set")
            for neck in self.axes.get("neck", ("rfcr", "none"))
            if (neck == "rfcr") == (scale_set != "none")
        )

    def _check_neck_pairs(self) -> None:
        """Refuse a neck that fits no scale set of the space, and the reverse."""
        for place, (axis, other) in enumerate((("neck", "scale_set"), ("scale_set", "neck"))):
            matched = {pair[place] for pair in self._neck_pairs}
            if unmatched := [value for value in self.values(axis) if value not in matched]:
                raise SpaceError(
                    f"space {self.name!r}: {axis} {unmatched[0]} fits no {other} of the space",
                    hint="neck rfcr needs a scale set; the other necks need none among the values of scale_set",
                )

    def _check_uses(self) -> None:
        """Refuse a value that no legal architecture has: it would be taken for tried."""
        legal, excluded = self._legal_and_excluded
        for axis in ("backbone", "outputs", "scale_set", "neck", "shortcut"):
            used = {skeleton.to_dict()[axis] for skeleton in legal}
            if unused := [value for value in self.values(axis) if value not in used]:
                reasons = Counter(reason for values, reason in excluded if values[axis] == unused[0])
                raise SpaceError(
                    f"space {self.name!r}: no legal architecture has {axis} {unused[0]}: "
                    f"{reasons.most_common(1)[0][0] if reasons else 'it has no truncation'}",
                    hint="leave it out, or add what it goes with",
                )
        several = [axis for axis in RFCR_AXES if len(self.values(axis)) > 1]
        if several and not any(skeleton.scale_set for skeleton in legal):
            raise SpaceError(
                f"space {self.name!r}: {several[0]} has several values, but no architecture has a scale set and so RFCR",
                hint="leave it out, or add a scale set",
            )

    @cached_property
    def _numbers_of_blocks(self) -> dict[str, tuple[int, ...]]:
        """The values of truncation and transfer, which the legal skeletons decide."""
        return {
            axis: tuple(sorted({getattr(skeleton, axis) for skeleton in self.skeletons}))
            for axis in ("truncation", "transfer")
        }

    @cached_property
    def _legal_and_excluded(self) -> tuple[tuple[Architecture, ...], list[tuple[dict[str, ParameterValue], str]]]:
        """Return the legal skeletons, and the values of those that are not, each with the reason."""
        legal, excluded = [], []
        combinations = itertools.product(self.values("outputs"), self._neck_pairs, self.values("shortcut"))
        for (outputs, pair, shortcut), (name, choice) in itertools.product(combinations, self.backbones.items()):
            coupled = {"outputs": outputs, "neck": pair[0], "scale_set": pair[1], "shortcut": shortcut}
            for truncation in choice.truncation:
                values = {"backbone": name, "truncation": truncation, **coupled}
                try:
                    architecture = self._first(values)
                except ArchitectureError as error:
                    excluded.append((values, error.message))
                else:
                    legal += [architecture.replace(transfer=boundary) for boundary in _transfers(choice, truncation)]
        coarsest = max((skeleton.coarsest_stride for skeleton in legal), default=1)
        sizes = [int(size) for size in self.values("input_size")]
        if wrong := [size for size in sizes if size % coarsest]:
            raise SpaceError(
                f"space {self.name!r}: input_size {wrong[0]} is not a multiple of {coarsest}, the coarsest stride that its "
                "architectures use",
                hint=f"the nearest is {nearest_size(wrong[0], stride=coarsest)}",
            )
        return tuple(skeleton.replace(input_size=sizes[0]) for skeleton in legal), excluded

    def _first(self, coupled: Mapping[str, ParameterValue]) -> Architecture:
        """Return the legal architecture of some coupled values with the first value of every free axis but the size."""
        free = {axis: self.values(axis)[0] for axis in FREE_AXES} | {"input_size": _DEFAULTS["input_size"]}
        if coupled["scale_set"] == "none":
            free |= dict.fromkeys(RFCR_AXES, 0)
        architecture = Architecture.from_dict({**coupled, **free})
        check_legal(architecture)
        return architecture

    @cached_property
    def _multiplicities(self) -> list[int]:
        axes = (self.active_free_axes(skeleton) for skeleton in self.skeletons)
        return [math.prod(len(self.values(axis)) for axis in active) for active in axes]

    @cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(self._multiplicities))

    def _enlarged(self, skeleton: Architecture, *, num_classes: int) -> Architecture:
        """Return a skeleton with its largest sizes and the costliest aspect and head, which depends on the classes."""
        sizes = {axis: max(self.values(axis)) for axis in self.active_free_axes(skeleton) if axis in ORDERED_AXES}
        choices = itertools.product(self.values("head"), self.values("aspect"))
        candidates = [skeleton.replace(**sizes, head=head, aspect=aspect) for head, aspect in choices]
        return max(candidates, key=lambda one: count_cost(one, num_classes=num_classes).macs)

    def _distance(self, skeleton: Architecture, wanted: Mapping[str, Any]) -> float:
        flat = skeleton.to_dict()
        distance = 0.0
        for axis in (axis for axis in SKELETON_AXES if axis in wanted):
            if axis in ORDERED_AXES:
                values = [int(value) for value in self.values(axis)]
                distance += abs(int(flat[axis]) - wanted[axis]) / max(1, values[-1] - values[0])
            else:
                distance += (len(AXES) if axis == "backbone" else 1) * (flat[axis] != wanted[axis])
        return distance


def _differ(value: Any, other: Any) -> bool:
    return value.isdisjoint(other) if isinstance(value, frozenset) else bool(value != other)


def _transfers(choice: BackboneChoice, truncation: int) -> tuple[int, ...]:
    return tuple(sorted({min(boundary, truncation) for boundary in choice.transfer}))


_DEFAULTS = Architecture(backbone="", truncation=1).to_dict()
