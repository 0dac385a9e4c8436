"""What can be wrong with a study."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spaces import YoloRetError


class StudyError(YoloRetError, ValueError):
    """A study cannot be opened, resumed or read."""


class TakenOverError(StudyError):
    """Another process drives the study now."""


class OneShotError(YoloRetError):
    """The shared weights of a study cannot be trained."""


class StorageError(YoloRetError):
    """A study's database cannot be read or written."""


class SpaceExhaustedError(StudyError):
    """Every architecture of the space was tried."""


class ProposalStoppedError(BaseException):
    """The user ended the run while a proposal was being made; nothing is wrong with the study.

    Like KeyboardInterrupt it may be raised anywhere, and is no error that could be taken for the device's.
    """


@contextmanager
def naming_damage(path: Path | str, what: str) -> Iterator[None]:
    """Turn what reading damaged values raises into an error that names where they lie.

    Args:
        path: The file or database.
        what: What it should hold.

    Raises:
        StudyError: the values are missing or of other types.
    """
    try:
        yield
    except YoloRetError:
        raise
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        AssertionError,  # of Optuna, about a trial without a value
        RecursionError,  # JSON that is nested a thousand times
    ) as error:
        told = f"{type(error).__name__}: {error}" if isinstance(error, LookupError | AttributeError) else str(error)
        told = told or type(error).__name__
        raise StudyError(
            f"{path} does not hold {what}: {told}",
            hint="put a copy of yours in its place, or read it with the version of yoloret-nas that wrote it",
        ) from error
