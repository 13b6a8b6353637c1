"""Series are drawn where their numbers are."""

from __future__ import annotations

import math

import numpy as np

from streamer.bench.budget_plot import BOUND, MEASURED, Series, draw_budgets

GREEN, RED = (0x59, 0xA1, 0x4F), (0xE1, 0x57, 0x59)


def where(image, colour) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of this colour, the legend left out."""
    pixels = np.asarray(image)
    rows, columns = np.nonzero((pixels == np.array(colour)).all(axis=2))
    return rows[rows > 60], columns[rows > 60]


def test_more_seconds_are_higher_and_more_budget_is_further_right():
    slow = Series("measured", MEASURED, ((1e9, 4.0), (2e9, 4.0)), marks=True)
    fast = Series("bound", BOUND, ((1e9, 1.0), (4e9, 1.0)))
    image = draw_budgets("title", [slow, fast])
    green, red = where(image, GREEN), where(image, RED)
    assert green[0].max() < red[0].min()
    assert green[1].max() < red[1].max() / 2 + 60
    # 1 s is a quarter as high over the axis as 4 s
    axis = image.size[1] - 60
    assert math.isclose((axis - green[0].mean()) / (axis - red[0].mean()), 4, rel_tol=0.05)


def test_a_point_alone_is_a_mark_and_what_is_not_finite_is_left_out():
    image = draw_budgets("title", [Series("one", MEASURED, ((1e9, 2.0), (math.nan, 1.0), (2e9, math.inf)))])
    rows, columns = where(image, GREEN)
    assert rows.max() - rows.min() == columns.max() - columns.min() == 12


def test_nothing_to_draw_gives_axes_all_the_same():
    assert draw_budgets("nothing", []).size == (1200, 640)
    assert draw_budgets("zero", [Series("zero", BOUND, ((0.0, 0.0),))]).size == (1200, 640)
