from math import cos, radians, sin

import numpy as np
import pytest

from trials.data.formats.outlines import bound_ellipse, bound_turned


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 200])
def test_ellipse_against_its_points(degrees: float) -> None:
    at = np.linspace(0, 2 * np.pi, 100_001)
    x, y = 7 * np.cos(at), 3 * np.sin(at)
    c, s = cos(radians(degrees)), sin(radians(degrees))
    turned = np.stack([20 + x * c - y * s, 30 + x * s + y * c])
    expected = [*turned.min(axis=1), *turned.max(axis=1)]
    np.testing.assert_allclose(bound_ellipse((20, 30), (7, 3), degrees), expected, atol=1e-6)


def test_box_turned_about_its_centre() -> None:
    np.testing.assert_allclose(bound_turned((0, 0, 4, 2), 90), (1, -1, 3, 3))
