"""What the estimates beside a front mean, in words."""

from search.study.summary import Summary


def estimate_words(summary: Summary) -> str:
    """Return two sentences on a front's estimates: what they are, and which members they cannot tell apart."""
    if not summary.estimates:
        return (
            "AP is each training's score: the best of many is too high. "
            "It is estimated from more complete trials, or repeats (--seeds)."
        )
    words = "Estimated: expected AP ± its standard deviation, from all trainings; the knee is chosen by it."
    if summary.alike:
        pairs = ", ".join(f"{number} ≈ {faster}" for number, faster in summary.alike.items())
        words += (
            f" {len(summary.alike)} of {len(summary.front)} members are not clearly better than a faster one: {pairs}."
        )
    return words
