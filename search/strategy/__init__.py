"""Which architecture to try next, and when to stop a trial: samplers and criteria, over what is known of AP and latency.

`EhviSampler` is the default, `SpaceSampler` wraps Optuna's samplers; `search.strategy.suggest` is the default strategy
without Optuna.
"""

from search.strategy.accuracy.pruning import cannot_reach_front
from search.strategy.ehvi_sampler import EhviSampler
from search.strategy.optuna_samplers import SpaceSampler
from search.strategy.parents import best_parent
from search.strategy.settings import StrategySettings

__all__ = ["EhviSampler", "SpaceSampler", "StrategySettings", "best_parent", "cannot_reach_front"]
