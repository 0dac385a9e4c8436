"""A picture in a page is small, whatever it shows."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.reports.thumbnail import thumbnail


@pytest.mark.parametrize("noisy", [False, True])
def test_a_thumbnail_is_a_jpeg_of_at_most_30_kb(noisy: bool, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (500, 1000, 3), dtype=np.uint8)
    Image.fromarray(noise if noisy else np.full_like(noise, 90)).save(tmp_path / "sheet.png")
    uri = thumbnail(tmp_path / "sheet.png")
    kind, encoded = uri.split(",")
    assert kind == "data:image/jpeg;base64"
    assert len(uri) <= 30_100
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as small:
        assert small.width == 2 * small.height
        assert (small.width == 640) == (not noisy)


def test_what_is_no_picture_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "sheet.jpg").write_bytes(b"no picture")
    with pytest.raises(OSError, match="cannot identify image file"):
        thumbnail(tmp_path / "sheet.jpg")
