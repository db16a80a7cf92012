"""Dense panels of long frames, and the weekly grid, by hand."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from fpm.panels import pivot, pivots, weekly_grid

MONDAY = date(2025, 6, 2)


def test_weekly_grid_takes_the_last_session_of_each_week_also_around_holidays_and_new_year():
    sessions = [date(2024, 12, 27), date(2024, 12, 30), date(2024, 12, 31), date(2025, 1, 2), date(2025, 1, 6)]
    assert weekly_grid(sessions).tolist() == [0, 3, 4]  # 30 Dec to 2 Jan is one ISO week across two years


def test_pivot_places_every_value_and_treats_infinite_as_absent():
    frame = pl.DataFrame({"session": [MONDAY, MONDAY], "symbol": ["b", "a"], "x": [np.inf, 2.0]})
    assert np.array_equal(pivot(frame, "x", [MONDAY], ["a", "b"]), [[2.0, np.nan]], equal_nan=True)


def test_pivots_leave_out_other_rows_and_keep_the_last_of_two():
    rows = [
        (MONDAY, "b", 1.0, True),
        (MONDAY, "c", 2.0, True),
        (date(2025, 6, 3), "a", 3.0, False),
        (MONDAY, "b", 4.0, None),
    ]
    frame = pl.DataFrame(rows, schema=["session", "symbol", "x", "y"], orient="row")
    panels = pivots(frame, ["x", "y"], [MONDAY], ["a", "b"])
    assert np.array_equal(panels["x"], [[np.nan, 4.0]], equal_nan=True)
    assert np.isnan(panels["y"]).all()
    assert pivot(frame, "x", [], []).shape == (0, 0)
