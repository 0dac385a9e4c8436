"""What `benchmarks.league` runs in an environment that has NePS and Syne Tune: one strategy, on a table of objectives.

    python benchmarks/league_run.py primo|moasha PROBLEM.json TRAINED.json

PROBLEM.json holds the grid (the positions of each candidate on each axis, the first axis without an order), what a strategy
sees of each (two objectives to be minimised: AP with its sign changed, log latency), which candidates are within the user's
limit, how many trainings to spend, and a seed. TRAINED.json gets the trained candidates in their order. A repeated
candidate costs no training, nor does one over the limit, whose AP is shown as 0.
"""

import argparse
import json
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

AXES = ("version", "depth", "width", "resolution")
_MOST_REPEATS = 20
"""A strategy may propose so many candidates for each training, and repeat some without end."""

Position = tuple[int, ...]
Tell = Callable[[list[float]], None]


def ask_primo(ends: dict[str, list[int]], seed: int) -> Iterator[tuple[Position, Tell]]:
    """PriMO as NePS has it: its priors say that the smallest network is the fastest, and the largest the most accurate.

    The table has one fidelity. NePS wants a range of it: one that has a single rung, at its upper end.
    """
    import neps
    import torch
    from neps.optimizers.ask_and_tell import AskAndTell
    from neps.space.neps_spaces.neps_space import convert_neps_to_classic_search_space

    torch.manual_seed(seed)
    kinds, *ordered = (ends[axis] for axis in AXES)

    class Grid(neps.PipelineSpace):  # type: ignore[misc]
        version = neps.Categorical(choices=[str(kind) for kind in kinds])
        depth, width, resolution = (neps.Integer(lower=min(axis), upper=max(axis)) for axis in ordered)
        fidelity = neps.IntegerFidelity(lower=1, upper=2)

    names = AXES[1:]
    centers = {
        "ap": {name: max(ends[name]) for name in names},
        "latency": {name: min(ends[name]) for name in names},
    }
    confidences = {objective: dict.fromkeys(names, 0.25) for objective in centers}
    optimizer = neps.algorithms.primo(
        convert_neps_to_classic_search_space(Grid()), prior_centers=centers, prior_confidences=confidences
    )
    asking = AskAndTell(optimizer=optimizer)
    while True:
        trial = asking.ask()
        assert trial.config["fidelity"] == 2, trial.config
        position = tuple(int(trial.config[axis]) for axis in AXES)

        def tell(seen: list[float], trial: Any = trial) -> None:
            asking.tell(trial, {"objective_to_minimize": seen})

        yield position, tell


def ask_moasha(ends: dict[str, list[int]], seed: int) -> Iterator[tuple[Position, Tell]]:
    """MO-ASHA as Syne Tune has it; with one fidelity it stops nothing, and draws at random."""
    from syne_tune.config_space import choice, randint
    from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler
    from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

    space: dict[str, Any] = {axis: randint(min(ends[axis]), max(ends[axis])) for axis in AXES[1:]}
    space["version"] = choice([str(kind) for kind in ends["version"]])
    names = ["ap", "latency"]
    scheduler = MOASHA(space, metrics=names, time_attr="epoch", max_t=1, random_seed=seed)
    asking = AskTellScheduler(scheduler)
    while True:
        trial = asking.ask()
        scheduler.on_trial_add(trial)
        position = tuple(int(trial.config[axis]) for axis in AXES)

        def tell(seen: list[float], trial: Any = trial) -> None:
            asking.tell(trial, {**dict(zip(names, seen, strict=True)), "epoch": 1})

        yield position, tell


ASK = {"primo": ask_primo, "moasha": ask_moasha}


def main() -> None:
    """Play one strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategy", choices=tuple(ASK))
    parser.add_argument("problem", type=Path)
    parser.add_argument("trained", type=Path)
    given = parser.parse_args()
    problem = json.loads(given.problem.read_text())
    warnings.simplefilter("ignore")
    random.seed(problem["seed"])
    np.random.seed(problem["seed"])
    places = {tuple(codes): candidate for candidate, codes in enumerate(problem["codes"])}
    ends = {axis: sorted({codes[place] for codes in problem["codes"]}) for place, axis in enumerate(AXES)}
    asked = ASK[given.strategy](ends, problem["seed"])
    trained: list[int] = []
    for _ in range(_MOST_REPEATS * problem["num_trainings"]):
        position, tell = next(asked)
        candidate = places[position]
        tell(problem["objectives"][candidate])
        if problem["feasible"][candidate] and candidate not in trained:
            trained.append(candidate)
        if len(trained) == problem["num_trainings"]:
            break
    given.trained.write_text(json.dumps(trained))


if __name__ == "__main__":
    main()
