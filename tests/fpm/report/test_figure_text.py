"""Figures as text."""

from __future__ import annotations

from types import SimpleNamespace

from fpm.report.figure_text import count_or_number, interval, number, percent, percent_interval, several


def test_numbers_for_people():
    assert percent(0.1234) == "12.34 %"
    assert number(-0.05) == "\u22120.050"
    assert number(1234567, 0) == "1,234,567"
    assert [count_or_number(value) for value in (512.0, 0.5, 2.0, 12.5)] == ["512", "0.500", "2.000", "12.500"]
    assert several(1, "session") == "1 session" and several(1200, "session") == "1,200 sessions"


def test_what_is_absent_is_a_dash_and_never_zero():
    for absent in (None, float("nan"), float("inf")):
        assert number(absent) == percent(absent) == count_or_number(absent) == "\u2013"
    assert interval(None) == percent_interval(None) == "\u2013"
    assert number(0.0) == "0.000"


def test_intervals():
    ends = SimpleNamespace(low=-0.0123, high=0.5)
    assert interval(ends) == "[\u22120.012, 0.500]"
    assert percent_interval(ends) == "[\u22121.2 %, 50.0 %]"
