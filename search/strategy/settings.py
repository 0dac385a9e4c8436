"""Settings of the default strategy."""

from dataclasses import dataclass, field

from search.strategy.surrogate import SurrogateSettings


@dataclass(frozen=True, kw_only=True)
class StrategySettings:
    """The strategy's limit and effort."""

    max_latency_ms: float | None = None
    """Slower candidates are not chosen; None for no limit; more than 0."""
    num_first: int = 3
    """Size of the initial design, at least 1: trainings before the model of AP is used. The model's prior (AP rises with
    cost) is worth more than further spread trainings: on YOLOBench's table 8 of them lose two points of hypervolume after
    20 trainings."""
    num_first_lookups: int = 24
    """Latencies known, of trained candidates too, before the model of AP chooses. With 0, log MACs predict them until trials
    measure some."""
    num_lookups: int = 4
    """Latencies measured at most for one suggestion. With 0, predicted latencies decide: where a training begins with its
    own measurement, that measurement is the look-up and costs nothing more."""
    num_optimistic_std: float = 2.0
    """Predicted latencies count as so many standard deviations faster when deciding what to measure, at least 0."""
    max_lookups: int = 300
    """Latencies measured altogether, those of trained candidates included; at least 1. After that, predicted latencies
    decide, as with `num_lookups` 0."""
    fixed_cost: float = 1.0
    """Cost of any training, in median latencies of the candidates, at least 0. A candidate's expected improvement is divided
    by its cost: this plus its latency, since a network that is slow to run is slow to train. In 397 trainings of space tiny
    on two cores the ratio was 2 (10.4 s and 8.5 s a millisecond). In a simulation of them 0.5 to 4 did equally well; 0 did
    worse, since it spent half of the trainings on the fastest networks."""
    max_learnt: int = 300
    """Trainings that the model of AP, and latencies that their model, learns from at most, at least 1. It bounds the time of
    a suggestion late in a long study."""
    surrogate: SurrogateSettings = field(default_factory=SurrogateSettings)
    """Of the Gaussian process on AP."""

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        if self.max_latency_ms is not None and not self.max_latency_ms > 0:
            raise ValueError(f"max_latency_ms is {self.max_latency_ms}; it must be above 0, or None for no limit")
        least = dict.fromkeys(("num_first", "max_lookups", "max_learnt"), 1)
        least |= dict.fromkeys(("num_first_lookups", "num_lookups", "num_optimistic_std", "fixed_cost"), 0)
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {bound}")
