"""Plots as SVG of a few kilobytes: no script, colours from the style sheet, one sentence for who cannot see them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite, log10
from typing import TYPE_CHECKING

from fpm.report.figure_text import number, percent
from fpm.report.line_chart import line_chart, nice_ticks, thinned

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from markupsafe import Markup

    Series = Sequence[tuple[date, float]]

WIDTH, HEIGHT = 460, 210
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 24


@dataclass(frozen=True)
class Bar:
    """A bar with its name, its value and, where there is one, the interval of it."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def lines(series: Mapping[str, Series], *, share: bool = False) -> Markup | None:
    """Lines over sessions, without those that have fewer than two points; None where none is left."""
    drawn = {name: [point for point in points if isfinite(point[1])] for name, points in series.items()}
    drawn = {name: points for name, points in drawn.items() if len(points) > 1}
    return line_chart(drawn, share=share) if drawn else None


def dots(points: Series, band: tuple[float, float] | None, middle: Series, label: str) -> Markup | None:
    """A dot a session, a line through their moving mean, and a band (the interval of the whole mean)."""
    points, middle = [point for point in points if isfinite(point[1])], [p for p in middle if isfinite(p[1])]
    if not points:
        return None
    scale = _Scale([0.0, *(value for _, value in points), *(band or ())])
    first, last = points[0][0], points[-1][0]

    def across(day: date) -> float:
        return LEFT + (day - first).days / max(1, (last - first).days) * (WIDTH - LEFT - RIGHT)

    parts = [scale.grid()]
    if band is not None:
        top, bottom = scale.up(band[1]), scale.up(band[0])
        parts.append(_rectangle("band", LEFT, top, WIDTH - LEFT - RIGHT, bottom - top))
    parts += [f'<circle class="dot" cx="{across(day):.1f}" cy="{scale.up(value):.1f}" r="2"/>' for day, value in points]
    path = " ".join(f"{across(day):.1f},{scale.up(value):.1f}" for day, value in (thinned(middle) if middle else ()))
    parts.append(f'<polyline class="line c0" points="{path}"/>' if path else "")
    ends = [(LEFT, "start", first), (WIDTH - RIGHT, "end", last)] if first < last else [(LEFT, "start", first)]
    parts += [f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="{anchor}">{day}</text>' for x, anchor, day in ends]
    return _svg(parts, WIDTH, HEIGHT, label)


def bars(content: Sequence[Bar], label: str) -> Markup | None:
    """Bars of shares of 1, in percent, with whiskers where they have an interval."""
    finite = [bar for bar in content if isfinite(bar.value)]
    if not finite:
        return None
    ends = [end for bar in finite for end in (bar.low, bar.high) if end is not None]
    scale = _Scale([0.0, *(bar.value for bar in finite), *ends], share=True)
    step = (WIDTH - LEFT - RIGHT) / len(finite)
    parts = [scale.grid()]
    for place, bar in enumerate(finite):
        x, zero, end = LEFT + place * step, scale.up(0.0), scale.up(bar.value)
        kind = "bar" if bar.value >= 0 else "bar minus"
        parts.append(_rectangle(kind, x + step * 0.15, min(zero, end), step * 0.7, abs(zero - end)))
        if bar.low is not None and bar.high is not None:
            middle, low, high = x + step / 2, scale.up(bar.low), scale.up(bar.high)
            parts.append(f'<path class="whisker" d="M{middle:.1f} {low:.1f}V{high:.1f}"/>')
        parts.append(f'<text x="{x + step / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{_escaped(bar.name)}</text>')
    return _svg(parts, WIDTH, HEIGHT, label)


class _Scale:
    """The vertical axis of a plot that holds all `values`."""

    def __init__(self, values: Sequence[float], *, share: bool = False) -> None:
        self._ticks, self._share = nice_ticks(min(values), max(values)), share

    def up(self, value: float) -> float:
        low, high = self._ticks[0], self._ticks[-1]
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> str:
        step = (self._ticks[1] - self._ticks[0]) * (100 if self._share else 1)
        digits = max(0, ceil(-log10(step) - 1e-9))
        rows = []
        for tick in self._ticks:
            y, text = self.up(tick), percent(tick, digits) if self._share else number(tick, digits)
            kind = "zero-line" if tick == 0 else "grid-line"
            rows.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            rows.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        return "".join(rows)


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0.5):.1f}"/>'


def _svg(parts: Sequence[str], width: int, height: int, label: str, kind: str = "chart") -> Markup:
    from markupsafe import Markup

    head = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{_escaped(label)}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704  names are escaped, the rest is numbers


def _escaped(text: str) -> str:
    from markupsafe import escape

    return str(escape(text))


# --- the map of an explained fingerprint ----------------------------------------------------------------------------
CELL, ROW, NAMES, HEAD = 44, 24, 92, 22  # width and height of a cell, width of the names, height of the times


def heat(parts: Sequence[str], families: Sequence[str], cells: Sequence[Sequence[float | None]], label: str) -> Markup:
    """A map with a row a family and a column a part of the session: the number in each cell, its shade beside it.

    `cells`: a row a family; None where the cell was empty.
    """
    largest = max([value for row in cells for value in row if value is not None], default=0.0) or 1.0
    drawn = [
        f'<text x="{NAMES + (place + 0.5) * CELL:.0f}" y="14" text-anchor="middle">{_escaped(part)}</text>'
        for place, part in enumerate(parts)
    ]
    for line, (family, row) in enumerate(zip(families, cells, strict=True)):
        y = HEAD + line * ROW
        drawn.append(f'<text x="{NAMES - 8}" y="{y + 16}" text-anchor="end">{_escaped(family)}</text>')
        for place, value in enumerate(row):
            if value is None:
                continue
            x, shade = NAMES + place * CELL, 0.75 * max(0.0, value) / largest
            drawn.append(
                f'<rect class="heat" fill-opacity="{shade:.2f}" x="{x + 1}" y="{y + 1}" width="{CELL - 2}" '
                f'height="{ROW - 2}"/><text class="cell-text" x="{x + CELL / 2:.0f}" y="{y + 16}" '
                f'text-anchor="middle">{value:.2f}</text>'
            )
    return _svg(drawn, NAMES + len(parts) * CELL, HEAD + len(families) * ROW + 2, label, "chart map")
