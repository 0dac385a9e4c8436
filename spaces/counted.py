"""Counts in messages: 1 image is, 2 images are."""

import re


def counted(count: int, words: str) -> str:
    """Return a count and what follows it, in singular or plural.

    Args:
        count: At least 0.
        words: With endings of the plural in brackets, and where the words differ, singular|plural.

    >>> counted(1, "image(s) is|are"), counted(2, "image(s) is|are"), counted(1200, "box(es)"), counted(0, "epoch(s)")
    ('1 image is', '2 images are', '1,200 boxes', '0 epochs')
    """
    words = re.sub(r"\((\w+)\)", "" if count == 1 else r"\1", words)
    return f"{count:,} " + re.sub(r"(\w+)\|(\w+)", r"\1" if count == 1 else r"\2", words)
