"""Which trial of a study to export."""

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.study.errors import StudyError


def select_trial(
    summary: Summary, *, number: int | None = None, best: bool = False, max_latency_ms: float | None = None
) -> TrialRecord:
    """Choose a complete trial, by the estimates of AP where the study has them.

    Args:
        summary: The study.
        number: This trial, whether or not it is on the front.
        best: The most accurate of the front instead of its knee.
        max_latency_ms: The most accurate of the front within this latency.

    Raises:
        StudyError: no such trial; names what exists.
    """
    complete = {record.number: record for record in summary.records if record.point}
    if not complete:
        raise StudyError("the study has no complete trial", hint="resume it by the command that began it")
    if number is not None:
        if number not in complete:
            raise StudyError(
                f"trial {number} is not a complete trial of the study",
                hint=f"its front has {', '.join(str(record.number) for record in summary.front)}",
            )
        return complete[number]
    if max_latency_ms is not None:
        fast = [record for record in summary.front if record.point and record.point[1] <= max_latency_ms]
        if not fast:
            fastest = summary.front[0].point
            assert fastest is not None
            raise StudyError(
                f"no trial runs within {max_latency_ms:g} ms", hint=f"the fastest takes {fastest[1]:.3f} ms"
            )
        return max(fast, key=summary.expected_ap)
    chosen = max(summary.front, key=summary.expected_ap) if best else summary.knee
    assert chosen is not None
    return chosen
