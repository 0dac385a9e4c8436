"""What was tried and how it ended: Optuna's record of a study, experiments, Pareto fronts and hypervolumes.

`Study` and `Experiment` are written by their driver alone; everything else here reads them.
"""

from search.study.errors import SpaceExhaustedError, StudyError
from search.study.pareto import Reference
from search.study.record import TrialRecord
from search.study.summary import Summary

__all__ = ["Reference", "SpaceExhaustedError", "StudyError", "Summary", "TrialRecord"]
