"""What was asked and how it ended: a study, an experiment, their settings and what they keep beside their trials.

A study and an experiment are written by their driver alone; everything else here reads them. `database` is what Optuna
keeps.
"""

from search.study.errors import SpaceExhaustedError, StudyError

__all__ = ["SpaceExhaustedError", "StudyError"]
