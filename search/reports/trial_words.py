"""A trial in words."""

from textwrap import wrap

from search.front.record import TrialRecord
from search.front.summary import Summary

_WIDTH = 64
"""Characters of a line of a reason."""


def trial_words(record: TrialRecord, summary: Summary, *, on_front: bool) -> list[str]:
    """Return the lines that are shown where a pointer rests on a trial.

    Args:
        record: The trial.
        summary: Its study.
        on_front: Whether it is a member of the front.
    """
    result, latency = record.result, record.result.latency
    state = f"{result.state}{', on the front' if on_front else ''}{f', preset {record.label}' if record.label else ''}"
    lines = [f"#{record.number}  {state}", record.architecture.short]
    if result.ap is not None:
        estimate = summary.estimates.get(record.number)
        lines.append(f"AP {result.ap:.4f}{f', estimated {estimate}' if estimate else ''}")
    if latency is not None:
        lines.append(f"latency {latency.median_ms:.3f} ms, p99 {latency.p99_ms:.3f} ms")
    if result.macs is not None and result.params is not None:
        lines.append(f"{result.macs / 1e6:.1f} M MACs, {result.params / 1e6:.3f} M parameters")
    if result.inherited:
        lines.append(f"{result.inherited:.0%} of its weights inherited from another trial")
    if result.is_from_shared:
        lines.append("began with its slice of the study's shared weights")
    return lines + wrap(result.reason, _WIDTH)
