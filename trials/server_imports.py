"""What the server imports that trials are forked from; importing this module does it (`search.driver.local_executor`).

The server notices its driver's death by a closed pipe, which it does not watch while it imports, for seconds, or for half a
minute on a busy machine. Until then the kernel watches.
"""

import atexit
import os

from trials.parent_death import end_with_parent, outlive_parent

DRIVER_VARIABLE = "YOLORET_NAS_DRIVER"
"""The driver's process, in the environment of its server."""

if DRIVER_VARIABLE in os.environ:
    end_with_parent()
    if os.getppid() != int(os.environ[DRIVER_VARIABLE]):  # it died before
        os._exit(1)
    import trials.trial  # noqa: F401

    atexit.register(
        os._exit, 0
    )  # Python takes its time to take down what was imported; first of all, for it is the last
    outlive_parent()  # the thread that started the server may end before the driver does
