"""Numbers in the front's picture never overlap; those of higher priority come first."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from search.reports.picture import _number


def number(points: "list[tuple[int, float, float]]") -> list[str]:
    """Return the numbers that are written for points of number, AP and latency, in axes from 0 to 1."""
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    _number(axes, points)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    return [text.get_text() for text in axes.texts]


def test_numbers_with_room_are_all_written() -> None:
    assert number([(7, 0.2, 0.2), (8, 0.5, 0.5), (9, 0.8, 0.8)]) == ["#7", "#8", "#9"]


def test_where_it_is_crowded_the_first_is_written() -> None:
    assert number([(7, 0.500, 0.500), (8, 0.501, 0.501), (9, 0.8, 0.8)]) == ["#7", "#9"]


def test_a_number_stands_above_and_left_of_its_point() -> None:
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _number(axes, [(7, 0.5, 0.5)])
    x, y = axes.transData.transform((0.5, 0.5))
    box = axes.texts[0].get_window_extent()
    assert box.x1 < x
    assert box.y0 > y
