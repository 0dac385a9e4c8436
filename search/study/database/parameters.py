"""A space as Optuna's parameters, and architectures as their points.

The parameters form a flat box, one for each axis with more than one value. Not every point of the box is an architecture
(a truncation may not exist in a backbone), so `Space.nearest` reads points, and only architectures' points are stored.
"""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from spaces import Architecture
from spaces.space import ORDERED_AXES, Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return a distribution for each axis with more than one value: integers where the values are ordered."""
    found: dict[str, BaseDistribution] = {}
    for axis in space.open_axes:
        values = space.values(axis)
        if axis in ORDERED_AXES:
            numbers = [int(value) for value in values]
            found[axis] = IntDistribution(min(numbers), max(numbers))
        else:
            found[axis] = CategoricalDistribution(values)
    return found


def to_parameters(space: Space, architecture: Architecture) -> dict[str, Any]:
    """Return an architecture's point; axes without meaning for it (RFCR sizes without RFCR) take their first value."""
    flat = architecture.to_dict()
    point = {}
    for axis in distributions(space):
        values = space.values(axis)
        point[axis] = flat[axis] if flat[axis] in values else values[0]
    return point


def from_parameters(space: Space, parameters: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a point, the nearest one where the point is no architecture."""
    return space.nearest(parameters)
