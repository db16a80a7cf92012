"""Lines over sessions as an SVG of a few kilobytes: no script, colours from the page's style sheet."""

from __future__ import annotations

from math import ceil, floor, log10
from typing import TYPE_CHECKING

from fpm.report.figure_text import number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from markupsafe import Markup

    Series = Sequence[tuple[date, float]]

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 24
MOST_POINTS = 400  # of a line: more cannot be seen
TICKS = 4
FLAT = 1e-6  # of its size: a line that moves less is drawn as a level one
LONG = 300  # days from which dates are shown as months
SHADES = 8  # colours of the style sheet


def line_chart(lines: Mapping[str, Series], *, share: bool = False) -> Markup:
    """An SVG of one line a name, with its legend; `share`: values are shares of 1, shown in percent."""
    from markupsafe import Markup, escape

    points = [point for series in lines.values() for point in series]
    first, last = min(day for day, _ in points), max(day for day, _ in points)
    ticks = nice_ticks(min(value for _, value in points), max(value for _, value in points))
    low, high = ticks[0], ticks[-1]

    def place(day: date, value: float) -> str:
        across = (day - first).days / max(1, (last - first).days)
        up = (value - low) / (high - low)
        return f"{LEFT + across * (WIDTH - LEFT - RIGHT):.1f},{HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [_grid(ticks, low, high, share=share), _dates(first, last)]
    for shade, series in enumerate(lines.values()):
        path = " ".join(place(*point) for point in thinned(series))
        parts.append(f'<polyline class="line c{shade % SHADES}" points="{path}"/>')
    legend = "".join(
        f'<span><i class="c{shade % SHADES}"></i>{escape(name)}</span>' for shade, name in enumerate(lines)
    )
    label = escape(f"{', '.join(lines)}, {first} to {last}")
    svg = f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    return Markup(f'<div class="legend">{legend}</div>{svg}')  # noqa: S704  names are escaped, the rest is numbers


def thinned(series: Series) -> list[tuple[date, float]]:
    """At most `MOST_POINTS` of the points, evenly, with the last one.

    >>> from datetime import date
    >>> len(thinned([(date(2024, 1, 1), 1.0)] * 1001))
    334
    """
    step = ceil(len(series) / MOST_POINTS)
    kept = list(series[::step])
    return kept if not series or kept[-1] == series[-1] else [*kept, series[-1]]


def nice_ticks(low: float, high: float) -> list[float]:
    """Round values, in equal steps of 1, 2 or 5 times a power of ten, that hold both ends.

    >>> nice_ticks(0.93, 1.12)
    [0.9, 0.95, 1.0, 1.05, 1.1, 1.15]
    """
    size = max(abs(high), abs(low), FLAT)
    spread = high - low if high - low > FLAT * size else size * 0.1
    power = 10 ** floor(log10(spread / TICKS))
    step = next(unit * power for unit in (1, 2, 5, 10) if unit * power * TICKS >= spread * (1 - 1e-9))
    start, end = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(start, max(end, start + 1) + 1)]


def _grid(ticks: Sequence[float], low: float, high: float, *, share: bool) -> str:
    step = ticks[1] - ticks[0]
    digits = max(0, ceil(-log10(step * (100 if share else 1)) - 1e-9))
    rows = []
    for tick in ticks:
        y = HEIGHT - BOTTOM - (tick - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        text = percent(tick, digits) if share else number(tick, digits)
        rows.append(
            f'<line class="grid-line" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    return "".join(rows)


def _dates(first: date, last: date) -> str:
    shape = "%Y-%m" if (last - first).days > LONG else "%m-%d"
    marks = [(LEFT, "start", first), ((LEFT + WIDTH - RIGHT) / 2, "middle", first + (last - first) / 2)]
    marks.append((WIDTH - RIGHT, "end", last))
    shown = marks if first < last else marks[:1]
    return "".join(
        f'<text x="{x:.0f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{day.strftime(shape)}</text>'
        for x, anchor, day in shown
    )
