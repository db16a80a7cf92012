"""The plots show the figures themselves, each stream in its colour."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from fpm.evaluation.intervals import Interval
from fpm.report import charts
from tests.fpm.report.sample_report import sample_report

MONDAY = date(2025, 6, 2)


def test_streams_and_indices_never_share_a_colour():
    names = ["fingerprint", "traditional", "dual", "CSI300", "CSI500", "CSI1000", "ALL"]
    assert len({charts.colour(name) for name in names}) == len(names)
    assert charts.colour("forward") == charts.colour("forward")


def test_a_long_short_curve_starts_at_one_and_ends_a_week_after_its_last_week():
    weeks = ((MONDAY, 0.1), (date(2025, 6, 9), -0.2))
    days, curve = charts.compounded(weeks)
    assert days == ["2025-06-02", "2025-06-09", "2025-06-16"]
    assert curve == pytest.approx([1.0, 1.1, 0.88])


def test_the_drawdown_below_a_long_short_curve_is_its_own():
    streams = {"dual": sample_report().streams["dual"]}
    curve, fall = charts.long_short(streams).data
    assert max(fall.y) <= 0 and -min(fall.y) == pytest.approx(streams["dual"].long_short.max_drawdown)
    assert curve.y[-1] - 1 == pytest.approx(streams["dual"].long_short.total_return)


def test_cumulative_rank_ic_ends_at_the_sum_of_the_sessions():
    streams = sample_report().streams
    for line in charts.cumulative_rank_ic(streams).data:
        assert line.y[-1] == pytest.approx(sum(value for _, value in streams[line.name].series))


def test_symbols_by_session_are_counts_from_zero():
    figure = charts.symbols({"scored": [(MONDAY, 12), (date(2025, 6, 3), 11)], "labelled": []})
    assert [line.name for line in figure.data] == ["scored"]
    assert list(figure.data[0].y) == [12, 11] and figure.layout.yaxis.rangemode == "tozero"


def test_b_over_time_is_a_line_within_its_dotted_band():
    figure = charts.bias(sample_report().risk[:1])
    line, low, high = figure.data
    assert list(line.y) == [1.02] * 40 and (low.y[0], high.y[0]) == (0.8, 1.2)
    assert [each.line.dash for each in figure.data] == ["solid", "dot", "dot"]
    assert [each.showlegend for each in figure.data] == [True, False, False]


def test_a_rolling_mean_by_hand():
    assert charts.rolling_mean([1.0, 2.0, 6.0, 4.0], 2) == [None, 1.5, 4.0, 5.0]
    assert charts.rolling_mean([1.0], 3) == [None]


def test_curves_over_a_wide_range_have_a_logarithmic_axis():
    streams = sample_report().streams
    far = replace(streams["dual"].long_short, weeks=tuple((MONDAY + timedelta(weeks=n), 0.5) for n in range(9)))
    near = replace(far, weeks=tuple((session, 0.001) for session, _ in far.weeks))
    plots = [charts.long_short({"dual": replace(streams["dual"], long_short=curve)}) for curve in (far, near)]
    assert [plot.layout.yaxis.type for plot in plots] == ["log", None]


def test_every_group_has_a_curve_from_dark_to_the_streams_colour():
    dual = sample_report().streams["dual"]
    lines = charts.group_curves("dual", dual).data
    assert len(lines) == len(dual.groups)
    lowest = [means[0] for _, means in dual.group_weeks]
    assert lines[0].y[-1] == pytest.approx(np.prod([1 + value for value in lowest]))
    assert lines[0].line.color == charts.LOWEST and lines[-1].line.color == charts.colour("dual")
    assert [line.name for line in lines if line.showlegend] == ["lowest scores", "highest scores"]


def test_a_ramp_goes_through_grey_in_equal_steps():
    assert charts.ramp("#000000", "#ffffff", 3) == ["#000000", charts.PALE, "#ffffff"]
    assert charts.ramp("#000000", charts.PALE, 5)[1:3] == ["#6a6d70", "#d5dae1"]


def test_whiskers_reach_from_the_figure_to_the_ends_of_its_interval():
    bars = charts.whiskers([0.1, None, 0.3], [Interval(0.0, 0.4, 0.1, "x"), None])
    assert bars["array"] == [pytest.approx(0.3), None, None]
    assert bars["arrayminus"] == [pytest.approx(0.1), None, None]
    assert bars["visible"] and not charts.whiskers([0.1], [None])["visible"]


def test_bars_of_sizes_and_exposures_are_the_figures():
    streams = sample_report().streams
    for bar in charts.by_size(streams).data:
        assert list(zip(bar.x, bar.y, strict=True)) == list(streams[bar.name].by_size)
    for bar in charts.exposures(streams).data:
        assert list(bar.y) == [exposure.value for _, exposure in streams[bar.name].exposures]


def test_turnover_is_that_of_every_week():
    streams = {"dual": sample_report().streams["dual"]}
    (line,) = charts.turnover(streams).data
    assert list(line.y) == [share for _, share in streams["dual"].turnover_weeks]
    assert np.mean(line.y) == pytest.approx(streams["dual"].long_short.turnover)
