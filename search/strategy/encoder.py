"""Architectures encoded as the arrays that the models of accuracy and latency read."""

import math
from collections.abc import Sequence

import numpy as np

from search.strategy.candidates import Candidates
from spaces import Architecture
from spaces.networks.cost import count_cost
from spaces.space import AXES, ORDERED_AXES

_ORDERED = tuple(axis for axis in AXES if axis in ORDERED_AXES)
_CATEGORIES = tuple(axis for axis in AXES if axis not in ORDERED_AXES and axis != "neck")
"""The neck is part of the category "scale_set" (see `Architecture.neck_choice`)."""


class Encoder:
    """Encodes architectures, and caches the encoding of each.

    Args:
        num_classes: Classes of the detectors.
    """

    def __init__(self, *, num_classes: int) -> None:
        self._num_classes = num_classes
        self._rows: dict[str, tuple[list[float], list[str], list[float]]] = {}

    def encode(self, architectures: Sequence[Architecture]) -> Candidates:
        """Return ordered axes (RFCR sizes are 0 without RFCR), categories, and log MACs and log params as proxies."""
        rows = [self._row(architecture) for architecture in architectures]
        categories = []
        for column in zip(*(names for _, names, _ in rows), strict=True):
            numbers = {name: number for number, name in enumerate(sorted(set(column)))}
            categories.append([numbers[name] for name in column])
        return Candidates(
            ordered=np.array([ordered for ordered, _, _ in rows]),
            categories=np.array(categories, dtype=np.int64).T,
            proxies=np.array([costs for _, _, costs in rows]),
            is_rising=np.array([axis == "input_size" for axis in _ORDERED]),
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
