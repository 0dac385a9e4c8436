"""The candidates of a proposal, as arrays.

N counts candidates, P ordered and Q unordered choices, R proxies.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.study.pareto import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The architectures to choose from, encoded."""

    ordered: FloatArray
    """(N, P) choices whose values have an order (truncation, widths, input size), in any unit; P may be 0."""
    categories: IntArray
    """(N, Q) category numbers of choices without an order; Q may be 0."""
    proxies: FloatArray | None = None
    """(N, R) figures that are cheap to compute and correlate with AP and latency, log MACs first; None for none."""
    is_rising: BoolArray | None = None
    """(P,) whether AP is expected to rise with the ordered choice, as with the input size; None for none."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not describe the same candidates."""
        tables = [self.ordered, self.categories, *([] if self.proxies is None else [self.proxies])]
        if any(table.ndim != 2 or len(table) != len(self.ordered) for table in tables) or len(self.ordered) == 0:
            raise ValueError(
                f"candidates have shapes {[table.shape for table in tables]}; each must be (N, ...), N > 0"
            )
        if not all(np.isfinite(table).all() for table in tables):
            raise ValueError("candidates hold a value that is not finite")
        if self.is_rising is not None and self.is_rising.shape != self.ordered.shape[1:]:
            raise ValueError(f"is_rising has shape {self.is_rising.shape}; it must be {self.ordered.shape[1:]}")

    def __len__(self) -> int:
        return len(self.ordered)
