"""A study's trials seen together: front, knee, hypervolume."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search.study.pareto import FloatArray, Reference, front_indices, hypervolume, knee_index
from search.study.record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A study's finished trials."""

    records: tuple[TrialRecord, ...]
    """By number."""
    reference: Reference
    """The hypervolume's worst corner: AP 0, and the study's reference latency."""

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """The complete trials that no other trial beats, fastest first."""
        complete, ap, latency_ms = self._points(self.records)
        return tuple(complete[index] for index in front_indices(ap, latency_ms))

    @property
    def knee(self) -> TrialRecord | None:
        """The front's knee, None without a complete trial."""
        complete, ap, latency_ms = self._points(self.records)
        index = knee_index(ap, latency_ms)
        return None if index is None else complete[index]

    @property
    def states(self) -> Counter[str]:
        """How many trials ended in each state."""
        return Counter(record.result.state for record in self.records)

    @property
    def hypervolume(self) -> float:
        """The share of the rectangle between (AP 1, 0 ms) and the reference that the front covers, 0 to 1."""
        return self._share(self.records)

    @property
    def hypervolume_by_trial(self) -> tuple[float, ...]:
        """The hypervolume after each finished trial, in the order of their numbers."""
        return tuple(self._share(self.records[: count + 1]) for count in range(len(self.records)))

    def _share(self, records: Sequence[TrialRecord]) -> float:
        _, ap, latency_ms = self._points(records)
        return hypervolume(ap, latency_ms, reference=self.reference) / self.reference.latency_ms

    @staticmethod
    def _points(records: Sequence[TrialRecord]) -> tuple[list[TrialRecord], FloatArray, FloatArray]:
        pairs = [(record, record.point) for record in records]
        complete = [record for record, point in pairs if point is not None]
        points = np.array([point for _, point in pairs if point is not None], dtype=np.float64).reshape(-1, 2)
        return complete, points[:, 0], points[:, 1]
