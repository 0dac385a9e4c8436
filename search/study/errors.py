"""What can be wrong with a study."""

from spaces import YoloRetError


class StudyError(YoloRetError, ValueError):
    """A study cannot be opened, continued or read."""
