"""What trials came to: their records, the Pareto front and its hypervolume, estimates of AP."""

from search.front.pareto import Reference
from search.front.record import TrialRecord
from search.front.summary import Summary

__all__ = ["Reference", "Summary", "TrialRecord"]
