"""What the libraries read when they are imported, to be set before; and what an output stream takes."""

import io
import os
import warnings
from typing import TextIO

_QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_CONFIGURE_LOGGING": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def quiet_libraries() -> None:
    """Turn telemetry and chatter off in this process and its children, unless the user's environment sets them."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", message="IProgress not found")  # tqdm, in a notebook without ipywidgets


def take_all_letters(stream: TextIO) -> None:
    """Have a stream write what its encoding lacks as an escape: a terminal that cannot show × or ★ is no reason to fail."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
