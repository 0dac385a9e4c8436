"""Linear algebra on one thread.

The matrices here are small. On them a second thread of BLAS gains nothing, and where trainings use the cores it is waited
for: the suggestions of a search of 30 trainings on a table took 17.5 s on one thread and 22.5 s on two, beside two trainings
25.6 and 47.1 s (two cores; measured once, no command).
"""

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

_P = ParamSpec("_P")
_R = TypeVar("_R")


def on_one_thread(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return the function with the BLAS of NumPy and SciPy limited to one thread while it runs."""

    @wraps(function)
    def limited(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@cache
def _libraries() -> ThreadpoolController:
    """Find the libraries once, which takes milliseconds; those of NumPy and SciPy are loaded by then."""
    return ThreadpoolController()
