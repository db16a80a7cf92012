"""Lines as SVG: points at their places, round ticks, names escaped."""

from __future__ import annotations

import re
from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest

from fpm.report.line_chart import BOTTOM, HEIGHT, LEFT, MOST_POINTS, RIGHT, TOP, WIDTH, line_chart, nice_ticks

DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(3)]


def drawing(html: str) -> ET.Element:
    return ET.fromstring(html[html.index("<svg") :])


def test_the_ends_of_a_line_are_the_ends_of_the_plot() -> None:
    svg = drawing(str(line_chart({"a": list(zip(DAYS, [0.0, 0.5, 1.0], strict=True))})))
    (line,) = svg.findall("polyline")
    first, middle, last = (tuple(map(float, point.split(","))) for point in line.attrib["points"].split())
    assert first == (LEFT, HEIGHT - BOTTOM) and last == (WIDTH - RIGHT, TOP)
    assert middle == ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.93, 1.19, [0.9, 1.0, 1.1, 1.2]),
        (-0.01, 0.01, [-0.01, -0.005, 0.0, 0.005, 0.01]),
        (0.0, 0.0, [0.0, 5e-8]),
        (1.0, 1.0, [1.0, 1.05]),
        (1.0, 1.0 + 1e-14, [1.0, 1.05]),  # two curves that are the same but for rounding
    ],
)
def test_ticks_are_round_and_hold_both_ends(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_a_long_line_is_thinned_and_keeps_its_last_point() -> None:
    days = [date(2000, 1, 1) + timedelta(days=number) for number in range(5000)]
    html = str(line_chart({"a": [(day, float(number)) for number, day in enumerate(days)]}))
    points = drawing(html).findall("polyline")[0].attrib["points"].split()
    assert len(points) <= MOST_POINTS + 1 and points[-1].startswith(f"{WIDTH - RIGHT}.0,")
    assert re.search(r">2000-01<.*>2013-09<", html)


def test_names_are_escaped_and_shares_are_percent() -> None:
    html = str(line_chart({"<b>": list(zip(DAYS, [0.0, 0.01, 0.02], strict=True))}, share=True))
    assert "<b>" not in html and "&lt;b&gt;" in html and "2.0 %" in html
