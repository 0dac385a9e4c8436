"""A terminal that has closed."""

import os
import stat


def drop_terminal() -> None:
    """Send what is printed from now on to nowhere, where it would go to a terminal: writing to a closed one fails."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(nowhere, stream)
    os.close(nowhere)
