"""What is noted on Optuna's trials, and on its study, for those who read them, samplers among them."""

from optuna.study import Study
from optuna.trial import FrozenTrial

from search.study.database.parameters import from_parameters
from spaces import Architecture
from spaces.space import Space

INTERRUPTED = "interrupted"
"""User attribute of a trial that ended with its driver; its architecture is free again."""
WHY = "why"
"""User attribute of a trial: why its architecture was proposed, in one sentence."""
PRUNE_REASON = "prune_reason"
"""User attribute of a trial that was told to stop: the figures of the decision."""
LOOKUP = "lookup:"
"""Prefix of the study's attributes that hold latencies in ms measured for proposals, by network (`Encoder.network`);
infinity where the device cannot run it."""


def note_why(study: Study, trial: FrozenTrial, why: str) -> None:
    """Store why a sampler proposes a trial's architecture: Optuna hands samplers a trial that has no setters."""
    study._storage.set_trial_user_attr(trial._trial_id, WHY, why)


def tried_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that run or have ended; interrupted ones do not count."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.params and not trial.user_attrs.get(INTERRUPTED)]


def tried_architecture(space: Space, trial: FrozenTrial) -> Architecture:
    """Return the architecture of a trial: as its driver noted it, else as its parameters describe it."""
    if noted := trial.user_attrs.get("architecture"):
        return Architecture.from_dict(noted)
    return from_parameters(space, trial.params)
