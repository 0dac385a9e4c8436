"""How latency is measured on a board over ssh."""

from dataclasses import dataclass, field

from trials.latency.board.trtexec_command import Timing


@dataclass(frozen=True, kw_only=True)
class SshSettings:
    """Times and bounds of a measurement on a board."""

    timing: Timing = field(default_factory=Timing)
    """Of each timed run."""
    patience_s: float = 300.0
    """How long to wait for a board that cannot be reached; 0 for a single attempt."""
    queue_limit_s: float = 7200.0
    """How long to wait for others who use the board."""
    build_limit_s: float = 2400.0
    """Longest build; a Nano takes 3 minutes for a ResNet-18-sized network, and 20 to 30 for large ones."""
    run_limit_s: float = 600.0
    """Longest timed run."""
    num_attempts: int = 3
    """Timed runs before an unsteady measurement is refused."""
    cooling_s: float = 30.0
    """Pause before the second timed run, twice as long before the third."""
    reference_every: int = 5
    """The reference network is timed with every n-th measurement of the board, whoever measures; 1 for each."""
    cache_mib: int = 2048
    """Most disk that engines and timing caches take on the board."""

    def __post_init__(self) -> None:
        if min(self.patience_s, self.queue_limit_s, self.cooling_s, self.cache_mib) < 0:
            raise ValueError(f"{self}: no time and no bound is below 0")
        if min(self.build_limit_s, self.run_limit_s, self.num_attempts, self.reference_every) < 1:
            raise ValueError(f"{self}: limits, attempts and reference_every are at least 1")
