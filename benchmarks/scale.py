"""How a search scales with the trials at once: the real driver, study and strategy over trials of a made-up world.

    python -m benchmarks.scale --workers 1 4 16 64 --trials 500

Only the trials are a stand-in: each ends with an AP and a latency that a formula gives for its architecture, after minutes
on a clock that is not waited for. What the driver itself takes, choosing and recording, is this machine's processor time and
is added to the other clock, second for second; waits for the disk are not in it. So the table says how busy workers would be
with trainings of ten minutes, how much the driver is occupied, and whether many trials at once choose worse than one after
the other.

The world: AP rises with the logarithm of the multiply-adds, saturates, and has an effect of its own for each choice and pair
of choices, drawn from a seed; 0.01 of noise for each training. Latency is a power of the multiply-adds with an effect of
each backbone. Trainings last ten minutes on average, longer for larger networks, and vary by 20 %.
"""

import argparse
import csv
import heapq
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.table_search import TABLE_IDENTITY, no_view
from search.driver.devices import LocalDevices
from search.driver.executor import Event, Finished
from search.driver.interruption import StopRequest
from search.driver.search import run_search
from search.front.pareto import Reference, front_indices, hypervolume
from search.study.settings import RunSettings, StudySettings
from spaces import Architecture
from spaces.named_spaces import open_space
from spaces.networks import count_cost
from trials.latency import DeviceIdentity, Latency
from trials.training import TrainSettings
from trials.trial_result import TrialRequest, TrialResult

_MEAN_TRAINING_S = 600.0
_SPREAD = 0.2
_NOISE_AP = 0.01
_AXES = ("backbone", "scale_set", "shortcut", "head", "rfcr_width", "head_width", "input_size", "truncation")
_REFERENCE_MS = 3.0


@dataclass
class World:
    """Gives AP, latency and duration of a training for each architecture of `tiny`."""

    seed: int
    _costs: dict[str, float] = field(default_factory=dict)

    def macs(self, architecture: Architecture) -> float:
        """Return millions of multiply-adds."""
        if architecture.key not in self._costs:
            self._costs[architecture.key] = count_cost(architecture, num_classes=3).macs / 1e6
        return self._costs[architecture.key]

    def ap(self, architecture: Architecture) -> float:
        """Return the AP without noise, 0 to 1."""
        values = architecture.to_dict()
        names = [f"{axis}={values[axis]}" for axis in _AXES]
        effects = [self._effect(name) for name in names]
        effects += [0.5 * self._effect(f"{one}&{other}") for one in names for other in names if one < other]
        rise = 0.16 * math.log(self.macs(architecture)) + 0.012 * sum(effects)
        return 0.7 / (1 + math.exp(-4 * (rise - 0.55)))

    def latency_ms(self, architecture: Architecture) -> float:
        """Return the latency."""
        slowness = math.exp(0.25 * self._effect(f"slow {architecture.backbone}"))
        return float(0.03 * self.macs(architecture) ** 0.8 * slowness)

    def training_s(self, architecture: Architecture, random: np.random.Generator) -> float:
        """Return the duration of a training."""
        share = 0.5 + 0.5 * math.sqrt(self.macs(architecture) / 25)
        return float(_MEAN_TRAINING_S * share * np.exp(_SPREAD * random.standard_normal()))

    def _effect(self, name: str) -> float:
        return float(np.random.default_rng([self.seed, *name.encode()]).standard_normal())


@dataclass(kw_only=True)
class SimulatedExecutor:
    """Ends trials on a clock of its own, to which the driver's own time is added."""

    world: World
    capacity: int
    random: np.random.Generator
    clock_s: float = 0.0
    last_start_s: float = 0.0
    """When the last trial began; later, workers are idle since nothing is left to start."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    """Begin and end of each trial."""
    driver_s: float = 0.0
    finished: list[tuple[Architecture, float]] = field(default_factory=list)
    driver_at_end_s: list[float] = field(default_factory=list)
    """The driver's time up to each trial's end."""
    _ends: list[tuple[float, int, TrialRequest, float]] = field(default_factory=list)
    _since: float = field(default_factory=time.process_time)

    def start(self, request: TrialRequest) -> None:
        """Begin a trial."""
        self._count()
        seconds = self.world.training_s(request.architecture, self.random)
        self.last_start_s = self.clock_s
        self.spans.append((self.clock_s, self.clock_s + seconds))
        heapq.heappush(self._ends, (self.clock_s + seconds, request.number, request, seconds))

    def events(self, *, timeout_s: float) -> Sequence[Event]:
        """Go to the next end of a trial."""
        self._count()
        end_s, number, request, seconds = heapq.heappop(self._ends)
        self.clock_s = max(self.clock_s, end_s)
        latency = Latency(samples_ms=(self.world.latency_ms(request.architecture),), device=TABLE_IDENTITY)
        ap = self.world.ap(request.architecture) + _NOISE_AP * self.random.standard_normal()
        self.driver_at_end_s.append(self.driver_s)
        self.finished.append((request.architecture, latency.median_ms))
        result = TrialResult(
            state="complete",
            latency=latency,
            ap=float(np.clip(ap, 0, 1)),
            macs=1,
            params=1,
            seconds={"measure": 2.0, "train": seconds},
        )
        return [Finished(number=number, result=result)]

    def answer(self, number: int, *, go_on: bool) -> None:
        """Refuse: no trial is scored before its end."""
        raise AssertionError("a trial of this world reports no progress")

    def withdraw(self) -> Sequence[int]:
        """Return none: each trial has begun."""
        return ()

    def kill(self, number: int) -> None:
        """Refuse: no trial hangs."""
        raise AssertionError("a trial of this world does not hang")

    def close(self) -> Sequence[Finished]:
        """Do nothing."""
        return ()

    def busy_share(self) -> float:
        """Return the share of the workers' time, until the last trial began, in which they had one."""
        busy_s = sum(min(end_s, self.last_start_s) - begin_s for begin_s, end_s in self.spans)
        return busy_s / (self.capacity * self.last_start_s)

    def _count(self) -> None:
        now = time.process_time()
        self.driver_s += now - self._since
        self.clock_s += now - self._since
        self._since = now


def run(world: World, *, workers: int, trials: int, seed: int) -> dict[str, float | int]:
    """Search once; return a row of the table."""
    executor = SimulatedExecutor(world=world, capacity=workers, random=np.random.default_rng([seed, 7]))

    class WorldDevices(LocalDevices):
        def reach(self, settings: RunSettings) -> DeviceIdentity:
            return TABLE_IDENTITY

        def measure(
            self, architecture: Architecture, settings: StudySettings, *, num_classes: int, **_: Any
        ) -> Latency:
            executor.clock_s += 2.0
            return Latency(samples_ms=(world.latency_ms(architecture),), device=TABLE_IDENTITY)

    def stop_requested() -> StopRequest:
        return "no"

    with TemporaryDirectory() as folder:
        settings = StudySettings(
            name="scale",
            dataset="shapes:train=1,val=1,test=1",
            device="cpu",
            train=TrainSettings(),
            root=Path(folder),
            space=open_space("tiny"),
            budget=trials,
            max_latency_ms=None,
            seed=seed,
            prune=False,
        )
        executor._since = time.process_time()
        run_search(settings, executor=executor, devices=WorldDevices(), view=no_view(), stop_requested=stop_requested)
    ap = np.array([world.ap(one) for one, _ in executor.finished])
    latency = np.array([ms for _, ms in executor.finished])
    front = front_indices(ap, latency)
    found = (
        hypervolume(ap[front], latency[front], reference=Reference(ap=0.0, latency_ms=_REFERENCE_MS)) / _REFERENCE_MS
    )
    last = min(100, trials // 2)
    late_s = (executor.driver_at_end_s[-1] - executor.driver_at_end_s[-1 - last]) / last
    return {
        "workers": workers,
        "trials": trials,
        "seed": seed,
        "hours": executor.clock_s / 3600,
        "trials_an_hour": trials / executor.clock_s * 3600,
        "busy": executor.busy_share(),
        "driver": executor.driver_s / executor.clock_s,
        "s_a_trial": executor.driver_s / trials,
        "s_a_trial_at_the_end": late_s,
        "hypervolume": found,
    }


def main() -> None:
    """Run all combinations; print a table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    if min(arguments.trials) < 2 or min(arguments.workers) < 1:
        parser.error("--trials is at least 2, --workers at least 1")
    rows = []
    print("workers  trials  seed   hours  trials/h   busy  driver  s/trial  s/trial at the end  hypervolume")
    for trials in arguments.trials:
        for workers in arguments.workers:
            for seed in range(arguments.seeds):
                row = run(World(seed), workers=workers, trials=trials, seed=seed)
                rows.append(row)
                print(
                    f"{workers:7} {trials:7} {seed:5} {row['hours']:7.2f} {row['trials_an_hour']:9.1f} {row['busy']:6.1%} "
                    f"{row['driver']:7.1%} {row['s_a_trial']:8.3f} {row['s_a_trial_at_the_end']:19.3f} "
                    f"{row['hypervolume']:12.4f}",
                    flush=True,
                )
            mine = [row["hypervolume"] for row in rows if (row["workers"], row["trials"]) == (workers, trials)]
            if len(mine) > 1:
                print(f"{'':15} mean hypervolume {statistics.mean(mine):.4f} ± {statistics.stdev(mine):.4f}")
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
