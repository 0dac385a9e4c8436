"""Which backbones of a study start from ImageNet weights: those of its space whose weights are at hand."""

from collections.abc import Callable
from dataclasses import replace

from search.study.errors import StudyError
from search.study.read_study import begun_with
from search.study.settings import StudySettings
from spaces.weights import why_unavailable


def with_available_weights(settings: StudySettings, notice: Callable[[str], None]) -> StudySettings:
    """Remove the transfer axis from backbones without available ImageNet weights: their trials would all be alike.

    A study goes on as it began: without it also where the weights have become available since.

    Args:
        settings: The study.
        notice: Called with a note of the backbones without weights.

    Raises:
        StudyError: the study began with weights that are no longer available.
    """
    wanted = {skeleton.backbone for skeleton in settings.space.skeletons if skeleton.transfer}
    recorded = begun_with(settings.root, settings.name)
    begun = recorded.space.backbones if recorded else {}
    without = {name for name in wanted if name in begun and begun[name].transfer == (0,)}
    reasons = {name: reason for name in sorted(wanted - without) if (reason := why_unavailable(name))}
    if missing := [name for name in reasons if name in begun]:
        raise StudyError(
            f"trials of study {settings.name!r} start from ImageNet weights of {missing[0]}, which are not available now: "
            f"{reasons[missing[0]]}",
            hint="name a folder that holds them with --weights-dir, or begin another study with --study NAME",
        )
    if reasons:
        first = next(iter(reasons.values()))
        notice(f"{', '.join(reasons)} start from random weights in this study ({first})")
    elif without:
        notice(f"{', '.join(sorted(without))} start from random weights in this study, as it began")
    return replace(settings, space=settings.space.without_transfer(without | set(reasons)))
