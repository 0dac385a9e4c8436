"""A study's trials seen together: front, knee, hypervolume."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from search.front.estimate import Estimate, group_repeats, mean_ap
from search.front.pareto import FloatArray, Reference, front_indices, hypervolume, knee_index
from search.front.record import TrialRecord
from spaces import Architecture


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A study's finished trials."""

    records: tuple[TrialRecord, ...]
    """By number."""
    reference: Reference
    """The hypervolume's worst corner: AP 0, and the study's reference latency."""
    estimates: Mapping[int, Estimate] = field(default_factory=dict)
    """Of all complete trials, by number (`search.strategy.accuracy.estimates.with_estimates`); empty while a search runs,
    and where too few trials are complete."""

    @cached_property
    def front(self) -> tuple[TrialRecord, ...]:
        """The complete trials that no other trial beats in AP and latency as scored, fastest first.

        An architecture trained with several seeds has their mean AP, and stands there with its best training.
        """
        complete, ap, latency_ms = self._points(self.records)
        return tuple(complete[index] for index in front_indices(ap, latency_ms))

    @property
    def knee(self) -> TrialRecord | None:
        """The knee of the front's members by `expected_ap`, None without a complete trial."""
        members = self.front
        ap = np.array([self.expected_ap(member) for member in members])
        index = knee_index(ap, np.array([member.point[1] for member in members if member.point]))
        return None if index is None else members[index]

    @property
    def alike(self) -> dict[int, int]:
        """Members of the front that are not clearly better than a faster one by their estimates, to that one's number.

        Those left out are each clearly more accurate than the one left out before. Empty without estimates.
        """
        alike: dict[int, int] = {}
        distinct: TrialRecord | None = None
        for member in self.front if self.estimates else ():
            if distinct and not self.estimates[member.number].is_clearly_above(self.estimates[distinct.number]):
                alike[member.number] = distinct.number
            else:
                distinct = member
        return alike

    def expected_ap(self, record: TrialRecord) -> float:
        """Return a complete trial's estimate where the study has estimates, else `compared_ap`."""
        return self.estimates[record.number].ap if self.estimates else self.compared_ap(record)

    def compared_ap(self, record: TrialRecord) -> float:
        """Return the AP by which a complete trial is on the front or not: the mean of its architecture's trainings."""
        return mean_ap(self._groups[record.architecture])

    @property
    def has_repeats(self) -> bool:
        """Whether an architecture was trained with several seeds."""
        return any(len(group) > 1 for group in self._groups.values())

    @cached_property
    def _groups(self) -> dict[Architecture, list[TrialRecord]]:
        return group_repeats(self.records)

    @property
    def indistinct(self) -> tuple[tuple[TrialRecord, ...], ...]:
        """Groups of members that cannot be told apart, fastest first: each but the first is `alike` to the first."""
        alike, members = self.alike, {member.number: member for member in self.front}
        return tuple(
            (members[first], *(members[number] for number, other in alike.items() if other == first))
            for first in dict.fromkeys(alike.values())
        )

    @property
    def states(self) -> Counter[str]:
        """How many trials ended in each state."""
        return Counter(record.result.state for record in self.records)

    @property
    def hypervolume(self) -> float:
        """The share of the rectangle between (AP 1, 0 ms) and the reference that the front covers, 0 to 1."""
        return self._share(self.records)

    @cached_property
    def hypervolume_by_trial(self) -> tuple[float, ...]:
        """The hypervolume after each finished trial, in the order of their numbers."""
        return tuple(self._share(self.records[: count + 1]) for count in range(len(self.records)))

    def _share(self, records: Sequence[TrialRecord]) -> float:
        _, ap, latency_ms = self._points(records)
        return hypervolume(ap, latency_ms, reference=self.reference) / self.reference.latency_ms

    @staticmethod
    def _points(records: Sequence[TrialRecord]) -> tuple[list[TrialRecord], FloatArray, FloatArray]:
        groups = list(group_repeats(records).values())
        best = [max(group, key=lambda record: record.point or (0.0, 0.0)) for group in groups]
        ap = np.array([mean_ap(group) for group in groups])
        return best, ap, np.array([record.point[1] for record in best if record.point])
