"""Processes that end with the one that started them, whatever they do at that moment."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""Of Linux's prctl.h."""


def end_with_parent(*_: object) -> None:
    """Have the kernel kill this process when the thread that started it ends; on Linux, elsewhere nothing.

    It takes no notice of arguments, so that it may be a ``worker_init_fn`` of PyTorch's loaders. Their workers look for
    their parent every five seconds only.
    """
    _set_signal(signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `end_with_parent`."""
    _set_signal(0)


def _set_signal(number: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
