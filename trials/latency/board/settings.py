"""Settings of a measurement on a board over ssh."""

from dataclasses import dataclass, field

from trials.latency.board.trtexec_command import Timing


@dataclass(frozen=True, kw_only=True)
class SshSettings:
    """Durations and bounds of a measurement."""

    timing: Timing = field(default_factory=Timing)
    """Duration of each timed run."""
    patience_s: float = 300.0
    """Longest wait for a board that cannot be reached; 0 for a single attempt."""
    queue_limit_s: float = 7200.0
    """Longest wait of a measurement in the board's queue, all attempts together."""
    build_limit_s: float = 2400.0
    """Longest build; a Nano takes 3 minutes for a network of ResNet-18's size and 20 to 30 for large ones."""
    run_limit_s: float = 600.0
    """Longest timed run."""
    num_attempts: int = 3
    """Timed runs before an unsteady measurement is refused."""
    cooling_s: float = 30.0
    """Pause before the second timed run; twice as long before the third."""
    reference_every: int = 5
    """The reference network is timed with every n-th measurement of the board, counted over all clients."""
    cache_mib: int = 2048
    """Disk space for engines and timing caches that stay on the board after a measurement."""

    @property
    def longest_s(self) -> float:
        """How long a measurement may take by these limits: the queue, a board that is away, four builds, all timed runs.

        Of network and reference each is built again where memory was short. What a broken connection repeats comes on top.
        """
        runs_s = 2 * self.num_attempts * self.run_limit_s  # with the reference's
        return self.queue_limit_s + self.patience_s + 4 * self.build_limit_s + runs_s

    def __post_init__(self) -> None:
        if min(self.patience_s, self.queue_limit_s, self.cooling_s, self.cache_mib) < 0:
            raise ValueError(f"{self}: times and bounds are at least 0")
        if min(self.build_limit_s, self.run_limit_s, self.num_attempts, self.reference_every) < 1:
            raise ValueError(f"{self}: limits, attempts and reference_every are at least 1")
