"""When a latency can be trusted: one set of thresholds, and the rules all devices judge by.

The functions judge samples, medians and clocks as plain numbers; `time_in_turn` also asks for them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits of a steady measurement. Shares are of the figure they qualify, 0.05 for 5 %."""

    max_variation: float = 0.05
    """Coefficient of variation of a run's passes; boards with locked clocks show 0.1 to 0.6 %."""
    noted_variation: float = 0.02
    """A larger coefficient of variation is noted."""
    max_drift: float = 0.02
    """Change of the median from the first third of a run to the last."""
    min_drift_samples: int = 30
    """With fewer samples, thirds of a run say nothing."""
    max_clock_fall: float = 0.02
    """A locked clock that falls by more throttles."""

    min_rounds: int = 6
    """Rounds that a median needs: the fewest whose extremes hold the true median with 95 % probability. So many always
    have a turn that counts."""
    max_rounds: int = 40
    """Only the newest rounds count, at most so many."""
    max_windows: int = 3
    """An unsteady device is measured for so many times `max_rounds`."""
    steady_error: float = 0.02
    """Measuring ends early once the true median is this close with 95 % probability, as a share of the median."""
    max_error: float = 0.10
    """The same after `max_rounds` rounds."""
    max_turn_slowdown: float = 0.10
    """Turns whose reference took longer than its quiet figure by a larger share do not count: a virtual machine with busy
    neighbours takes 1.3 times as long, for 50 milliseconds or for minutes. A reference that ranges more widely is noted."""

    max_over_fastest: float = 1.75
    """A median that is more times the fastest pass shows that other work slowed the network itself. The reference is small
    and stays in the cache. In 6 of 80 measurements beside a training on the other core, a larger network took 1.8 to 2.9
    times its fastest pass while the reference showed nothing; in the others it took 1.31 times at most. Beside several
    test runs on two cores, networks of a fifth of a millisecond reach 1.56."""

    steady_repeat: float = 0.01
    """Medians of one engine on a steady board agree within this share."""
    max_repeat: float = 0.03
    """Medians of one engine that differ by more are not comparable: the device has changed, or is not steady."""

    quiet_percentile: float = 10
    """Percentile of the turns' reference times that is its quiet figure: a busy machine may be slow most of the time."""
    max_slowdown: float = 1.15
    """A reference that takes more times its best time shows that other work slowed the measurement; a latency that was
    divided by more (or multiplied by as much) has a note."""
    max_corrected_slowdown: float = 1.5
    """Times its first time, for a latency that is divided by them. That was measured up to 1.3 times
    (`benchmarks/repeated_latency.py`); a machine that others use too is slowed for an hour, so more is allowed."""


THRESHOLDS = Thresholds()

_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What speaks against a run."""

    faults: tuple[str, ...]
    """Why it must be repeated; empty for a steady run."""
    notes: tuple[str, ...]
    """What is unusual but acceptable."""


def judge_run(
    samples_ms: Sequence[float],
    *,
    is_clock_locked: bool | None = None,
    locked_mhz: float | None = None,
    end_mhz: float | None = None,
    end_temperature_c: float | None = None,
) -> Verdict:
    """Judge a run by the variation and drift of its passes, and by the GPU's clock.

    Args:
        samples_ms: All passes in order, in milliseconds.
        is_clock_locked: Whether the clock was locked before the run; None where unknown.
        locked_mhz: The clock's locked value.
        end_mhz: The clock after the run.
        end_temperature_c: The temperature after the run, for the message.
    """
    faults, notes = [], []
    spread = variation(samples_ms)
    if spread > THRESHOLDS.max_variation:
        faults.append(f"passes vary by {spread:.1%} (at most {THRESHOLDS.max_variation:.0%})")
    elif spread > THRESHOLDS.noted_variation:
        notes.append(f"passes vary by {spread:.1%}")
    moved = drift(samples_ms)
    if abs(moved) > THRESHOLDS.max_drift:
        way = "slower" if moved > 0 else "faster"
        faults.append(f"it ran {abs(moved):.1%} {way} at the end of the run than at its beginning")
    # A free clock falls by itself when the work is done; only the fall of a locked one is throttling.
    if is_clock_locked and is_throttled(end_mhz, locked_mhz):
        heat = "" if end_temperature_c is None else f" at {end_temperature_c:.0f} °C"
        faults.append(f"the GPU's clock fell from {locked_mhz:.0f} to {end_mhz:.0f} MHz{heat}: the board throttles")
    if is_clock_locked is False:
        notes.append("the GPU's clock was not locked")
    return Verdict(faults=tuple(faults), notes=tuple(notes))


def variation(samples_ms: Sequence[float]) -> float:
    """Return the coefficient of variation without the slowest 1 %, which are single interrupted passes."""
    values = np.sort(np.asarray(samples_ms, dtype=np.float64))
    kept = values[: max(1, int(np.ceil(len(values) * 0.99)))]
    return float(kept.std() / kept.mean())


def drift(samples_ms: Sequence[float]) -> float:
    """Return how much slower the last third was than the first, as a share; 0 for too few samples."""
    third = len(samples_ms) // 3
    if len(samples_ms) < THRESHOLDS.min_drift_samples:
        return 0.0
    return float(np.median(samples_ms[-third:]) / np.median(samples_ms[:third]) - 1)


def is_throttled(clock_mhz: float | None, locked_mhz: float | None) -> bool:
    """Return whether a locked clock runs below its value; False where either is unknown."""
    return clock_mhz is not None and locked_mhz is not None and clock_mhz < locked_mhz * (1 - THRESHOLDS.max_clock_fall)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Passes of a network, and what the reference network took just before and after them."""

    samples_ms: tuple[float, ...]
    """Each pass in milliseconds; at least one."""
    reference_ms: float
    """The reference's time in milliseconds."""


@dataclass(frozen=True, kw_only=True)
class RoundsVerdict:
    """How well the quiet turns determine the median."""

    quiet: tuple[Turn, ...]
    """The turns that count."""
    error: float
    """The true median lies within this share of the measured one with 95 % probability."""
    reference_range: float
    """From the 10th to the 90th percentile of the reference over all turns, as a share of its median."""
    over_fastest: float = 1.0
    """The quiet turns' median, in times the fastest pass."""

    @property
    def is_steady(self) -> bool:
        """Whether more rounds are not worth their time."""
        return self.error < THRESHOLDS.steady_error and not self.is_slowed

    @property
    def is_slowed(self) -> bool:
        """Whether other work slowed nearly all passes."""
        return self.over_fastest > THRESHOLDS.max_over_fastest

    @property
    def fault(self) -> str:
        """Why the median cannot be used; empty where it can."""
        if self.error > THRESHOLDS.max_error:
            return (
                f"its median is known to {self.error:.0%} only (at least {THRESHOLDS.max_error:.0%} is needed), "
                f"and the reference moved by {self.reference_range:.0%}"
            )
        if self.is_slowed:
            return (
                f"other work slowed it: its median is {self.over_fastest:.2f} times its fastest pass "
                f"(at most {THRESHOLDS.max_over_fastest:g} times)"
            )
        return ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual but acceptable."""
        notes = [] if self.is_steady else [f"median known to {self.error:.1%}"]
        if self.reference_range > THRESHOLDS.max_turn_slowdown:
            notes.append(f"reference moved by {self.reference_range:.0%}")
        return tuple(notes)


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """A network timed in turn with the reference network."""

    samples_ms: tuple[float, ...]
    """The passes of the quiet turns, in milliseconds."""
    reference_ms: float
    """Median of the reference in the quiet turns."""
    count: int
    """Rounds timed, those that do not count included."""
    verdict: RoundsVerdict
    """Whether the samples can be used."""


def time_in_turn(time_round: Callable[[], Sequence[Turn]]) -> Rounds:
    """Time a network and the reference in turn until the network's median is known well enough, or the rounds are spent.

    Args:
        time_round: Times both for a fraction of a second, in one turn or more. Rounds are taken as independent of each
            other, the turns of one round are not.
    """
    rounds: list[Sequence[Turn]] = []
    fastest_ms = math.inf
    for count in range(1, THRESHOLDS.max_windows * THRESHOLDS.max_rounds + 1):
        rounds = [*rounds[1 - THRESHOLDS.max_rounds :], time_round()]
        fastest_ms = min(fastest_ms, *(sample for turn in rounds[-1] for sample in turn.samples_ms))
        if count < THRESHOLDS.min_rounds:
            continue
        verdict = judge_rounds(rounds, fastest_ms=fastest_ms)
        if verdict.is_steady or (count >= THRESHOLDS.max_rounds and not verdict.fault):
            break
    return Rounds(
        samples_ms=tuple(sample for turn in verdict.quiet for sample in turn.samples_ms),
        reference_ms=float(np.median([turn.reference_ms for turn in verdict.quiet])),
        count=count,
        verdict=verdict,
    )


def judge_rounds(rounds: Sequence[Sequence[Turn]], *, fastest_ms: float) -> RoundsVerdict:
    """Judge what was timed in turn with the reference network.

    Args:
        rounds: Each with its turns; at least `Thresholds.min_rounds`.
        fastest_ms: The network's fastest pass, in milliseconds.
    """
    references = [turn.reference_ms for turns in rounds for turn in turns]
    quietest = sorted(min(turn.reference_ms for turn in turns) for turns in rounds)
    limit_ms = max(
        (1 + THRESHOLDS.max_turn_slowdown) * float(np.percentile(references, THRESHOLDS.quiet_percentile)),
        quietest[THRESHOLDS.min_rounds - 1],
    )
    quiet = [[turn for turn in turns if turn.reference_ms <= limit_ms] for turns in rounds]
    low, high = np.percentile(references, [10, 90])
    all_quiet = tuple(turn for turns in quiet for turn in turns)
    return RoundsVerdict(
        quiet=all_quiet,
        error=_median_error([_median_ms(turns) for turns in quiet if turns], of=_median_ms(all_quiet)),
        over_fastest=_median_ms(all_quiet) / fastest_ms,
        reference_range=float((high - low) / np.median(references)),
    )


def _median_ms(turns: Sequence[Turn]) -> float:
    return float(np.median([sample for turn in turns for sample in turn.samples_ms]))


def _median_error(values: Sequence[float], *, of: float) -> float:
    """Return how far the ends of the median's 95 % confidence interval are from an estimate of it at most, as its share.

    The interval is between two order statistics, so that it holds for independent rounds of any distribution. An estimate of
    the standard error does not: with few rounds it is often too small by chance, and measuring ends at that moment.

    Source: David and Nagaraja, Order Statistics, 3rd edition, section 7.1.
    """
    ordered, number = sorted(values), len(values)
    outside, rank = 2 / 2**number, 0  # probability that the true median is beyond the two values of this rank
    while outside + 2 * math.comb(number, rank + 1) / 2**number <= 1 - _CONFIDENCE:
        rank += 1
        outside += 2 * math.comb(number, rank) / 2**number
    return max(of - ordered[rank], ordered[-1 - rank] - of) / of


def range_of(medians_ms: Sequence[float]) -> float:
    """Return by how much the slowest of some repeats exceeds the quickest, as a share."""
    return max(medians_ms) / min(medians_ms) - 1


def grade_repeats(medians_ms: Sequence[float]) -> Literal["steady", "usable", "unsteady"]:
    """Grade repeated measurements of one engine by how well their medians agree."""
    apart = range_of(medians_ms)
    if apart <= THRESHOLDS.steady_repeat:
        return "steady"
    return "usable" if apart <= THRESHOLDS.max_repeat else "unsteady"


def has_moved(now_ms: float, *, first_ms: float) -> bool:
    """Return whether a reference's figure shows that the device is not what it was."""
    return abs(now_ms / first_ms - 1) > THRESHOLDS.max_repeat
