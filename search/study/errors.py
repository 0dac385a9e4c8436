"""What can be wrong with a study."""

from spaces import YoloRetError


class StudyError(YoloRetError, ValueError):
    """A study cannot be opened, resumed or read."""


class StorageError(YoloRetError):
    """A study's database cannot be read or written."""


class SpaceExhaustedError(StudyError):
    """Every architecture of the space was tried."""
