"""Pictures small enough to be part of a page."""

import base64
import io
from pathlib import Path

_MAX_BYTES = 30_000
_WIDTHS = (640, 560, 480, 400, 320, 240, 160)
_QUALITY = 70
"""Of the JPEG; text and thin boxes are still readable."""


def thumbnail(path: Path) -> str:
    """Return a picture as a data URI of a JPEG of at most 30 kB, or of 160 pixels' width if that is larger.

    Raises:
        OSError: The file cannot be read or is not a picture.
    """
    from PIL import Image

    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    encoded = b""
    for width in _WIDTHS:
        small = picture.copy()
        small.thumbnail((width, width))
        buffer = io.BytesIO()
        small.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
        encoded = buffer.getvalue()
        if len(encoded) <= _MAX_BYTES * 3 // 4:  # base64 is a third longer
            break
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode('ascii')}"
