"""Trials as rows of a table."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.front.estimate import Estimate
from search.front.record import TrialRecord
from trials.whole_file import whole_file


def record_row(record: TrialRecord, estimate: Estimate | None) -> dict[str, str | int | float | None]:
    """Return a trial's figures, rounded to significant digits, followed by its architecture's axes."""
    result, latency = record.result, record.result.latency
    figures: dict[str, str | int | float | None] = {
        "trial": record.number,
        "state": result.state,
        "ap": _rounded(result.ap, 4),
        "ap_estimate": _rounded(estimate.ap if estimate else None, 4),
        "ap_std": _rounded(estimate.std if estimate else None, 4),
        "ap50": _rounded(result.ap50, 4),
        "latency_ms": _rounded(latency.median_ms if latency else None, 3),
        "p99_ms": _rounded(latency.p99_ms if latency else None, 3),
        **{f"latency_ms {device}": _rounded(other.median_ms, 3) for device, other in result.also.items()},
        "macs_m": _rounded(result.macs / 1e6 if result.macs is not None else None, 1),
        "params_m": _rounded(result.params / 1e6 if result.params is not None else None, 3),
        "seconds": round(sum(result.seconds.values()), 1),
        "reason": result.reason,
    }
    return {**figures, **record.architecture.to_dict()}


def record_rows(
    records: Sequence[TrialRecord], estimates: Mapping[int, Estimate]
) -> list[dict[str, str | int | float | None]]:
    """Return rows with the same columns in each: some trials may lack a further device."""
    rows = [record_row(record, estimates.get(record.number)) for record in records]
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows of the same columns as CSV with a header; an empty file without rows."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        if rows:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
