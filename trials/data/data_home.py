"""The folder that holds downloaded and unpacked datasets."""

import os
from pathlib import Path


def data_home() -> Path:
    """Return the folder that ``YOLORET_NAS_DATA`` names, ``~/.cache/yoloret-nas/data`` by default."""
    given = os.environ.get("YOLORET_NAS_DATA")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "yoloret-nas" / "data"
