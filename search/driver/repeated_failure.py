"""Whether trials keep failing with one cause, so that starting further ones would only spend the budget."""

import re

from spaces import YoloRetError
from trials.trial_result import TrialResult

_MOST_ALIKE = 3
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class RepeatedFailureError(YoloRetError):
    """Trials keep failing with one cause; no further one was started."""


class RepeatedFailure:
    """Counts failures with one cause, without a completed or pruned training between them.

    Reasons that differ only in their numbers, such as epochs or sizes, are one cause. An infeasible trial changes nothing:
    it was measured and not trained.
    """

    def __init__(self) -> None:
        self._cause = self._reason = ""
        self._count = 0

    def hear(self, result: TrialResult) -> None:
        """Take a trial's end into account."""
        if result.state == "failed":
            cause = _NUMBERS.sub("#", result.reason)
            self._count = self._count + 1 if cause == self._cause else 1
            self._cause, self._reason = cause, result.reason
        elif result.state != "infeasible":
            self._count = 0

    @property
    def message(self) -> str:
        """What repeats, as a sentence; empty until it was the third time."""
        if self._count < _MOST_ALIKE:
            return ""
        return f"{self._count} trials in a row failed with one cause: {self._reason}"
