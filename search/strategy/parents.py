"""The finished trial whose weights a trial inherits, where a study inherits."""

from collections.abc import Sequence

from search.front.record import TrialRecord
from spaces import Architecture
from spaces.architecture import ParameterValue

_SHAPES = ("scale_set", "shortcut", "rfcr_width", "rfcr_channels", "rfcr_kernel", "head", "head_width")
"""Axes that decide the weights of neck and head and their shapes."""


def best_parent(architecture: Architecture, complete: Sequence[TrialRecord]) -> TrialRecord | None:
    """Return the trial of the same backbone with the most in common: blocks kept, then shapes, then accuracy.

    Returns:
        None where no trial has the backbone.
    """
    own = _choices(architecture)

    def in_common(record: TrialRecord) -> tuple[int, int, float]:
        theirs = _choices(record.architecture)
        blocks = min(architecture.truncation, record.architecture.truncation)
        return blocks, sum(own[axis] == theirs[axis] for axis in _SHAPES), record.result.ap or 0.0

    of_backbone = [record for record in complete if record.architecture.backbone == architecture.backbone]
    return max(of_backbone, key=in_common, default=None)


def _choices(architecture: Architecture) -> dict[str, ParameterValue]:
    return architecture.to_dict() | {"scale_set": architecture.neck_choice}
