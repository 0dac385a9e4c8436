"""The candidates of a proposal: a pool of architectures, since spaces are too large to enumerate, encoded as arrays.

N counts candidates, P ordered and Q unordered choices, R proxies, K earlier studies.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.front.pareto import FloatArray, IntArray
from spaces import Architecture
from spaces.networks import count_cost
from spaces.space import AXES, ORDERED_AXES, Space

BoolArray = npt.NDArray[np.bool_]

POOL_SIZE = 1500
"""The Gaussian process predicts so many architectures in a few hundredths of a second."""
_NUM_NEIGHBOURS = 40
"""Neighbours of each member of the front in the pool."""
_ORDERED = tuple(axis for axis in AXES if axis in ORDERED_AXES)
_CATEGORIES = tuple(axis for axis in AXES if axis not in ORDERED_AXES and axis != "neck")
"""The neck is part of the category "scale_set" (see `Architecture.neck_choice`)."""


def draw_pool(space: Space, seed: int) -> list[Architecture]:
    """Return an even sample of the space without repeats, or all architectures of a small space."""
    return space.sample_distinct(POOL_SIZE, random.Random(f"{seed}/pool"))


def draw_neighbours(space: Space, architecture: Architecture, rng: random.Random) -> list[Architecture]:
    """Return a sample, without repeats, of the architectures one step away along one axis."""
    around = list(space.neighbours(architecture))
    return rng.sample(around, min(_NUM_NEIGHBOURS, len(around)))


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The architectures to choose from, encoded."""

    ordered: FloatArray
    """(N, P) choices whose values have an order (truncation, widths, input size), in any unit; P may be 0."""
    categories: IntArray
    """(N, Q) category numbers of choices without an order; Q may be 0."""
    proxies: FloatArray | None = None
    """(N, R) figures that are cheap to compute and correlate with AP and latency, log MACs first; None for none."""
    is_rising: BoolArray | None = None
    """(P,) whether AP is expected to rise with the ordered choice, as with the input size; None for none."""
    beliefs: FloatArray | None = None
    """(N, K) what K earlier studies expect of AP: mean 0, standard deviation the share of variance that the study explains;
    None for no studies."""
    networks: IntArray | None = None
    """(N,) numbers; candidates of one number differ in their training alone and have one latency. None if all differ."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not describe the same candidates."""
        tables = [self.ordered, self.categories, *(one for one in (self.proxies, self.beliefs) if one is not None)]
        if any(table.ndim != 2 or len(table) != len(self.ordered) for table in tables) or len(self.ordered) == 0:
            raise ValueError(
                f"candidates have shapes {[table.shape for table in tables]}; each must be (N, ...), N > 0"
            )
        if not all(np.isfinite(table).all() for table in tables):
            raise ValueError("candidates hold a value that is not finite")
        if self.networks is not None and self.networks.shape != (len(self.ordered),):
            raise ValueError(f"networks has shape {self.networks.shape}; it must be ({len(self.ordered)},)")
        if self.is_rising is not None and self.is_rising.shape != self.ordered.shape[1:]:
            raise ValueError(f"is_rising has shape {self.is_rising.shape}; it must be {self.ordered.shape[1:]}")

    def __len__(self) -> int:
        return len(self.ordered)


class Encoder:
    """Encodes architectures, and caches the encoding of each."""

    def __init__(self, *, num_classes: int) -> None:
        self._num_classes = num_classes
        self._rows: dict[str, tuple[list[float], list[str], list[float]]] = {}
        self._networks: dict[str, str] = {}

    def network(self, architecture: Architecture) -> str:
        """Return the key of what a device times: which blocks start from ImageNet weights makes no difference to it."""
        if architecture.key not in self._networks:
            self._networks[architecture.key] = architecture.replace(transfer=0).key
        return self._networks[architecture.key]

    def encode(self, architectures: Sequence[Architecture]) -> Candidates:
        """Return ordered axes (RFCR sizes 0 without RFCR), categories that differ, log MACs and log params as proxies."""
        rows = [self._row(architecture) for architecture in architectures]
        categories = []
        for column in zip(*(names for _, names, _ in rows), strict=True):
            places = {name: place for place, name in enumerate(sorted(set(column)))}
            if len(places) > 1:  # a choice that all share says nothing, and would cost the models a parameter
                categories.append([places[name] for name in column])
        numbers: dict[str, int] = {}
        networks = [numbers.setdefault(self.network(architecture), len(numbers)) for architecture in architectures]
        return Candidates(
            ordered=np.array([ordered for ordered, _, _ in rows]),
            categories=np.array(categories, dtype=np.int64).reshape(len(categories), len(rows)).T,
            proxies=np.array([costs for _, _, costs in rows]),
            is_rising=np.array([axis == "input_size" for axis in _ORDERED]),
            networks=np.array(networks, dtype=np.int64),
        )

    def _row(self, architecture: Architecture) -> tuple[list[float], list[str], list[float]]:
        if architecture.key not in self._rows:
            values = architecture.to_dict() | {"scale_set": architecture.neck_choice}
            cost = count_cost(architecture, num_classes=self._num_classes)
            self._rows[architecture.key] = (
                [float(values[axis]) for axis in _ORDERED],
                [str(values[axis]) for axis in _CATEGORIES],
                [math.log(cost.macs), math.log(cost.params)],
            )
        return self._rows[architecture.key]
