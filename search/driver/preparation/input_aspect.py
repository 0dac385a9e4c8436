"""The shape of the input of a study's networks: that of its images, so that little of the latency is spent on margins."""

from collections.abc import Callable
from dataclasses import replace

from search.study.read_study import begun_with
from search.study.settings import StudySettings
from spaces.aspect import SQUARE
from trials.data import Dataset
from trials.data.common_aspect import common_aspect


def with_input_aspect(settings: StudySettings, dataset: Dataset, notice: Callable[[str], None]) -> StudySettings:
    """Give the networks of a study's space the shape of their input, where neither the user nor the space says it.

    Args:
        settings: The study.
        dataset: Its data.
        notice: Called with a note of the images' shape, where that is no square.
    """
    space = settings.space
    if settings.aspect is not None or "aspect" in space.axes:
        return settings
    if recorded := begun_with(settings.root, settings.name):
        return replace(settings, space=space.with_aspects(recorded.space.values("aspect")))
    aspect = common_aspect(dataset.splits["train"])
    if aspect != SQUARE:
        notice(f"networks get inputs of {aspect}, the shape of the images (--aspect {SQUARE} for square ones)")
    return replace(settings, space=space.with_aspects((aspect,)))
