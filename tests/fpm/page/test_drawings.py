"""Plots: values at their places, names escaped, nothing drawn of nothing."""

from __future__ import annotations

from datetime import date, timedelta
from math import nan
from xml.etree import ElementTree as ET

import pytest

from fpm.page.drawings import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Bar, bars, dots, heat, lines

DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(3)]


def test_dots_and_their_band() -> None:
    points = list(zip(DAYS, [0.0, 1.0, nan], strict=True))
    svg = ET.fromstring(str(dots(points, (0.25, 0.75), [], "RankIC <of> a")))
    first, last = svg.findall("circle")
    assert (float(first.attrib["cx"]), float(first.attrib["cy"])) == (LEFT, HEIGHT - BOTTOM)
    assert (float(last.attrib["cx"]), float(last.attrib["cy"])) == (WIDTH - RIGHT, TOP)
    (band,) = [each for each in svg.findall("rect") if each.attrib["class"] == "band"]
    assert float(band.attrib["height"]) == pytest.approx((HEIGHT - TOP - BOTTOM) / 2, abs=0.1)
    assert svg.attrib["aria-label"] == "RankIC <of> a"


def test_bars_stand_on_zero_and_have_whiskers() -> None:
    svg = ET.fromstring(str(bars([Bar("1", -0.02, -0.03, -0.01), Bar("2", 0.02), Bar("3", nan)], "groups")))
    low, high = [each for each in svg.findall("rect") if each.attrib["class"].startswith("bar")]
    assert low.attrib["class"] == "bar minus" and high.attrib["class"] == "bar"
    zero = float(high.attrib["y"]) + float(high.attrib["height"])
    assert float(low.attrib["y"]) == pytest.approx(zero, abs=0.11) and len(svg.findall("path")) == 1
    labels = [each.text for each in svg.findall("text")]
    assert "\u22124 %" in labels and "2 %" in labels and "3" not in labels


def test_a_map_leaves_empty_cells_empty() -> None:
    svg = ET.fromstring(str(heat(["10:00", "10:30"], ["<buy>", "sell"], [[0.5, None], [0.25, 0.0]], "map")))
    cells = svg.findall("rect")
    assert [float(each.attrib["fill-opacity"]) for each in cells] == [0.75, 0.38, 0.0]
    assert [each.text for each in svg.findall("text")][:3] == ["10:00", "10:30", "<buy>"]


def test_nothing_is_drawn_of_nothing() -> None:
    assert dots([], None, [], "") is None and bars([], "") is None
    assert lines({"a": [(DAYS[0], 1.0)], "b": []}) is None
    assert str(lines({"a": [(DAYS[0], 1.0)], "b": [(DAYS[0], 1.0), (DAYS[1], 2.0)]})).count("polyline") == 1
