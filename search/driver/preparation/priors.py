"""What a study learns from before its first training: the earlier studies that its settings name."""

from dataclasses import replace

from search.strategy.accuracy.belief import learn_prior
from search.strategy.accuracy.built_in_prior import built_in_prior
from search.study.prior import BUILT_IN, Prior
from search.study.read_study import read_study, study_names
from search.study.settings import StudySettings


def check_priors(settings: StudySettings) -> None:
    """Refuse a new study whose priors say nothing; one that exists has copies of its own.

    Raises:
        StudyError: one does not exist, or says nothing.
    """
    if settings.prior and settings.name not in study_names(settings.root):
        learn_priors(settings)


def learn_priors(settings: StudySettings) -> tuple[Prior, ...]:
    """Return what the studies named as a study's priors say.

    Raises:
        StudyError: one does not exist, or says nothing.
    """
    return tuple(
        built_in_prior() if name == BUILT_IN else replace(learn_prior(read_study(*settings.place_of(name))), study=name)
        for name in settings.prior
    )
