"""The times file of trtexec (``--exportTimes``): one object a query."""

import json
import math
from typing import Any


def parse_times(text: str, *, warm_up_ms: float) -> tuple[float, ...]:
    """Read the GPU compute time of every timed query, in order, in milliseconds.

    Files of 8.4 and before hold the warm-up too; a query belongs to it when it started within the warm-up, which is how
    trtexec itself tells them apart (sampleReporting.cpp).

    Args:
        text: The file's content.
        warm_up_ms: As given to trtexec.

    Returns:
        Nothing where the file is cut off, is no such file, or holds a value that is no time.
    """
    try:
        queries = json.loads(text)
    except ValueError:
        return ()
    if not isinstance(queries, list) or not all(isinstance(query, dict) for query in queries):
        return ()
    timed = [query for query in queries if _value(query, "startComputeMs") >= warm_up_ms]
    samples = tuple(_value(query, "computeMs") for query in timed)
    return samples if all(0 < sample < math.inf for sample in samples) else ()


def _value(query: dict[str, Any], name: str) -> float:
    value = query.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
