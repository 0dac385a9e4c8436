"""The shape of the input of a study's networks: that of its images, so that little of the latency is spent on margins."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from search.study.read_study import begun_with
from search.study.settings import StudySettings
from spaces.architecture import ParameterValue
from spaces.aspect import SQUARE
from trials.data import Dataset, Sample
from trials.data.common_aspect import common_aspect, filled_shares

_WELL_FILLED = 0.8
"""Share of an input above which nothing is said."""


def with_input_aspect(settings: StudySettings, dataset: Dataset, notice: Callable[[str], None]) -> StudySettings:
    """Give the networks of a study's space the shape of their input, where neither the user nor the space says it.

    Args:
        settings: The study.
        dataset: Its data.
        notice: Called with a note of the images' shape, where that is no square or suits them badly.
    """
    space = settings.space
    samples, recorded = dataset.splits["train"], begun_with(settings.root, settings.name)
    if settings.aspect is not None or "aspect" in space.axes:
        if recorded is None:
            _note_margins(space.values("aspect"), samples, notice)
        return settings
    if recorded is not None:
        return replace(settings, space=space.with_aspects(recorded.space.values("aspect")))
    aspect = common_aspect(samples)
    filled = filled_shares(samples, aspect).mean()
    if aspect != SQUARE:
        notice(
            f"networks get inputs of {aspect}; the images fill {filled:.0%} of them (--aspect {SQUARE} for square ones)"
        )
    elif filled < _WELL_FILLED:
        notice(
            f"networks get square inputs; images of several shapes fill {filled:.0%} of them (--aspect W:H for others)"
        )
    return replace(settings, space=space.with_aspects((aspect,)))


def _note_margins(aspects: Sequence[ParameterValue], samples: Sequence[Sample], notice: Callable[[str], None]) -> None:
    """Note how much of the inputs goes to margins, where another shape than any of these suits the images much better."""
    usual = common_aspect(samples)
    best, filled = (max(float(filled_shares(samples, str(one)).mean()) for one in ones) for ones in ((usual,), aspects))
    if filled < _WELL_FILLED * best:
        listed = " or ".join(map(str, aspects))
        notice(f"of inputs of {listed} the images fill {filled:.0%}, of {usual} they would fill {best:.0%}")
