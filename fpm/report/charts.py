"""Plots of a factor's figures over time, by group, by lag and by size, as plotly figures.

A stream has the same colour everywhere; an oracle is grey and dotted. Figures contain no random ids and no clock.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.evaluation.coverage import Promise
    from fpm.evaluation.figures import Figures
    from fpm.evaluation.intervals import Interval
    from fpm.portfolio.performance import Performance
    from fpm.report.data import RiskTest

COLOURS = {
    "fingerprint": "#2563eb",
    "traditional": "#c2660c",
    "dual": "#0f766e",
    "oracle": "#8a94a3",
    "CSI300": "#7c3aed",
    "CSI500": "#be123c",
    "CSI1000": "#0369a1",
    "ALL": "#4d7c0f",
    "daily bars": "#8a94a3",
    "scored": "#0f766e",
    "labelled": "#7c3aed",
}
OTHER_COLOURS = ("#7c3aed", "#be123c", "#4d7c0f", "#0369a1")
INK, FAINT, GRID = "#1f2937", "#6b7280", "#e8eaee"
ROLLING, LONG_ROLLING, LONG = 20, 60, 250  # sessions of the rolling mean; the longer one from LONG sessions on
LOGARITHMIC = 4.0  # ratio of highest to lowest value from which curves get a logarithmic axis
TALL = 380
MOST_POINTS = 1000  # of a line
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif", "size": 12, "color": INK}
AXIS = {"gridcolor": GRID, "zerolinecolor": "#c3c8d0", "linecolor": GRID, "tickfont": {"color": FAINT}}
LOWEST, PALE = "#374151", "#d5dae1"
WHISKER = {"color": "#6b7280", "thickness": 1, "width": 2}


def graph_objects() -> Any:
    """plotly.graph_objects, imported at first use and untyped."""
    import plotly.graph_objects

    return plotly.graph_objects


def colour(name: str) -> str:
    """Colour of a stream, an index or a count; other names get one from a short list."""
    return COLOURS.get(name) or OTHER_COLOURS[sum(name.encode()) % len(OTHER_COLOURS)]


def title(text: str) -> dict[str, Any]:
    """Title of an axis."""
    return {"text": text, "font": {"color": FAINT, "size": 12}}


def _line(name: str, x: Sequence[Any], y: Sequence[Any], hover: str, **style: Any) -> Any:
    line = {"color": colour(name), "width": 2, "dash": "dot" if name == "oracle" else "solid"}
    kept = thinned(len(x))
    return graph_objects().Scatter(
        x=[x[n] for n in kept],
        y=[y[n] for n in kept],
        name=name,
        mode="lines",
        line=line,
        hovertemplate=hover,
        legendgroup=name,
        **style,
    )


def thinned(count: int) -> list[int]:
    """At most `MOST_POINTS` of so many positions, evenly, with the last one; a page of 1,180 pixels shows no more.

    >>> thinned(3), len(thinned(1001)), thinned(2001)[-2:]
    ([0, 1, 2], 501, [1998, 2000])
    """
    step = -(-count // MOST_POINTS)
    kept = list(range(0, count, max(1, step)))
    return kept if not kept or kept[-1] == count - 1 else [*kept, count - 1]


def _with_layout(figure: Any, y_title: str, y_format: str, x_title: str = "", height: int = 300) -> Any:
    """The figure in the common look of all plots."""
    figure.update_xaxes(title=title(x_title) if x_title else None, showgrid=False, **AXIS)
    figure.update_yaxes(tickformat=y_format, **AXIS)
    figure.update_layout(
        height=height,
        margin={"l": 58, "r": 12, "t": 30, "b": 40 if x_title else 26},
        font=FONT,
        paper_bgcolor="white",
        plot_bgcolor="white",
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 12}},
        yaxis_title=title(y_title),
        bargap=0.25,
        showlegend=True,
    )
    return figure


def cumulative_rank_ic(streams: Mapping[str, Figures]) -> Any:
    """Running sum of RankIC by session; a factor that always works gives a straight line."""
    lines = []
    for name, figures in streams.items():
        if figures.series:
            days = [session.isoformat() for session, _ in figures.series]
            lines.append(_line(name, days, np.cumsum([value for _, value in figures.series]).tolist(), "%{y:.2f}"))
    return _with_layout(graph_objects().Figure(lines), "cumulative RankIC", ".1f")


def rank_ic_over_time(name: str, figures: Figures) -> Any:
    """RankIC of every session as bars, its rolling mean as a line."""
    chart = graph_objects()
    days = [session.isoformat() for session, _ in figures.series]
    values = [value for _, value in figures.series]
    window = ROLLING if len(values) < LONG else LONG_ROLLING
    bars = chart.Bar(x=days, y=values, name="each session", marker={"color": colour(name), "opacity": 0.35})
    mean = _line(name, days, rolling_mean(values, window), "%{y:.3f}")
    mean.update(name=f"mean of {window} sessions", legendgroup=None)
    parts = [bars, mean] if len(values) >= window else [bars]
    bars.update(hovertemplate="%{y:.3f}", marker_line_width=0)
    figure = _with_layout(chart.Figure(parts), f"RankIC, {name}", ".2f")
    if len(values) >= LONG:
        figure.update_layout(bargap=0)
    if all(session.weekday() < 5 for session, _ in figures.series):
        figure.update_xaxes(rangebreaks=[{"bounds": ["sat", "mon"]}])
    return figure


def rolling_mean(values: Sequence[float], window: int) -> list[float | None]:
    """Mean of each value and the `window` - 1 values before it; None for the first ones."""
    total = np.cumsum([0.0, *values])
    means = (total[window:] - total[:-window]) / window
    return [*[None] * min(window - 1, len(values)), *means.tolist()]


def groups(streams: Mapping[str, Figures]) -> Any:
    """Mean label of each score group, lowest to highest."""
    chart = graph_objects()
    bars = [
        chart.Bar(
            x=[str(group + 1) for group in range(len(figures.groups))],
            y=list(figures.groups),
            name=name,
            marker={"color": colour(name)},
            hovertemplate="%{y:.2%}",
        )
        for name, figures in streams.items()
    ]
    return _with_layout(chart.Figure(bars), "mean return, 5 sessions", ".1%", "group by score, lowest to highest", TALL)


def long_short(streams: Mapping[str, Figures]) -> Any:
    """Compounded long-short curve above, its drawdown below."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.06)
    for name, figures in streams.items():
        if len(figures.long_short.weeks) < 2:
            continue
        days, curve = compounded(figures.long_short.weeks)
        fall = (np.array(curve) / np.maximum.accumulate(curve) - 1).tolist()
        figure.add_trace(_line(name, days, curve, "%{y:.3f}"), row=1, col=1)
        figure.add_trace(_line(name, days, fall, "%{y:.1%}", showlegend=False), row=2, col=1)
    _with_layout(figure, "value, start = 1", ".2f", height=TALL)
    _log_axis_if_wide(figure, figure.data[::2], row=1, col=1)
    figure.update_yaxes(title=title("drawdown"), tickformat=".0%", row=2, col=1)
    if not any(value for line in figure.data[1::2] for value in line.y):
        figure.update_yaxes(range=[-0.05, 0.005], row=2, col=1)  # nothing fell: an axis of its own would reach to 100 %
    return figure


def _log_axis_if_wide(figure: Any, lines: Sequence[Any], **subplot: int) -> None:
    """Give curves over a wide range a logarithmic axis: equal steps are equal growth, and no line hides the others."""
    values = [value for line in lines for value in line.y]
    if values and min(values) > 0 and max(values) >= LOGARITHMIC * min(values):
        figure.update_yaxes(
            type="log", tickformat=",~g", dtick="D1" if max(values) < 100 * min(values) else 1, **subplot
        )


def compounded(weeks: Sequence[tuple[date, float]]) -> tuple[list[str], list[float]]:
    """Dates and values of a curve from 1: the value before each week's return, and the last one a week later."""
    days = [session for session, _ in weeks]
    ends = [session.isoformat() for session in (*days, days[-1] + timedelta(weeks=1))]
    return ends, np.concatenate([[1.0], np.cumprod([1 + value for _, value in weeks])]).tolist()


def group_curves(name: str, figures: Figures) -> Any:
    """Compounded curve of every group on the weekly grid, from dark (lowest scores) to the stream's colour."""
    groups = len(figures.groups)
    lines = []
    for group, shade in enumerate(ramp(LOWEST, colour(name), groups)):
        weeks = [(session, means[group]) for session, means in figures.group_weeks]
        days, curve = compounded([(session, value) for session, value in weeks if value is not None])
        outer = {0: "lowest scores", groups - 1: "highest scores"}
        line = _line(outer.get(group, f"group {group + 1}"), days, curve, "%{y:.3f}", showlegend=group in outer)
        line.update(line={"color": shade, "width": 2.5 if group in outer else 1.2})
        lines.append(line)
    figure = _with_layout(graph_objects().Figure(lines), "value, start = 1", ".2f", height=TALL)
    _log_axis_if_wide(figure, figure.data)
    return figure


def ramp(low: str, high: str, steps: int) -> list[str]:
    """Colours from `low` to `high` through light grey, in equal steps."""
    anchors = [[int(shade[start : start + 2], 16) for start in (1, 3, 5)] for shade in (low, PALE, high)]
    positions = np.linspace(0, 2, max(steps, 2))
    channels = [
        np.interp(positions, (0, 1, 2), [anchor[channel] for anchor in anchors]).round().astype(int)
        for channel in range(3)
    ]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in zip(*channels, strict=True)]


def turnover(streams: Mapping[str, Figures]) -> Any:
    """Share of the outer groups' symbols replaced, by week."""
    lines = [
        _line(
            name,
            [session.isoformat() for session, _ in figures.turnover_weeks],
            [value for _, value in figures.turnover_weeks],
            "%{y:.0%}",
        )
        for name, figures in streams.items()
        if figures.turnover_weeks
    ]
    figure = _with_layout(graph_objects().Figure(lines), "replaced", ".0%", height=TALL)
    return figure.update_yaxes(range=[0, 1.02])


def decay(streams: Mapping[str, Figures]) -> Any:
    """RankIC with the return of one session, by lag after the fill, with its interval."""
    lines = []
    for number, (name, figures) in enumerate(streams.items()):
        if any(value is not None for value in figures.decay):
            # side by side, so that the intervals of one lag do not hide each other
            lags = [lag + 0.15 * (number - 1) for lag in range(1, len(figures.decay) + 1)]
            line = _line(
                name, lags, figures.decay, "%{y:.3f}", error_y=whiskers(figures.decay, figures.decay_intervals)
            )
            line.update(mode="lines+markers", marker={"size": 5, "color": colour(name)})
            lines.append(line)
    figure = _with_layout(graph_objects().Figure(lines), "RankIC of one session", ".2f", "sessions after the fill")
    longest = max((len(figures.decay) for figures in streams.values()), default=0)
    return figure.update_xaxes(tick0=0, dtick=1 if longest <= 10 else 5)


def by_size(streams: Mapping[str, Figures]) -> Any:
    """Mean RankIC of each size group, with its interval."""
    bars = {
        name: (figures.by_size, figures.by_size_intervals)
        for name, figures in streams.items()
        if any(value is not None for _, value in figures.by_size)
    }
    return _with_layout(graph_objects().Figure(_bars(bars)), "RankIC", ".2f", "size group")


def exposures(streams: Mapping[str, Figures]) -> Any:
    """Mean rank correlation of score and style, with its interval."""
    bars = {
        name: (
            [(style, exposure.value) for style, exposure in figures.exposures],
            [exposure.interval for _, exposure in figures.exposures],
        )
        for name, figures in streams.items()
        if figures.exposures
    }
    return _with_layout(graph_objects().Figure(_bars(bars)), "rank correlation", ".2f")


def _bars(
    streams: Mapping[str, tuple[Sequence[tuple[str, float | None]], Sequence[Interval | None]]],
) -> list[Any]:
    """One bar per part and stream; `streams` has (part, value) pairs and intervals in the same order."""
    return [
        graph_objects().Bar(
            x=[part for part, _ in parts],
            y=[value for _, value in parts],
            name=name,
            marker={"color": colour(name)},
            error_y=whiskers([value for _, value in parts], intervals),
            hovertemplate="%{y:.3f}",
        )
        for name, (parts, intervals) in streams.items()
    ]


def whiskers(values: Sequence[float | None], intervals: Sequence[Interval | None]) -> dict[str, Any]:
    """Error bars from each value to the ends of its interval; None without an interval."""
    reaches = [
        (None, None) if value is None or interval is None else (interval.high - value, value - interval.low)
        for value, interval in zip_longest(values, intervals)
    ]
    up, down = [above for above, _ in reaches], [below for _, below in reaches]
    visible = any(above is not None for above in up)
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "visible": visible, **WHISKER}


def seed_spread(spreads: Mapping[str, Sequence[tuple[date, float]]]) -> Any:
    """Mean spread over the seeds by session, in units of the scores' cross-sectional deviation."""
    lines = [
        _line(name, [session.isoformat() for session, _ in series], [value for _, value in series], "%{y:.2f}")
        for name, series in spreads.items()
        if series
    ]
    return _with_layout(graph_objects().Figure(lines), "spread / deviation", ".2f")


def reliability(promises: Mapping[str, Sequence[Promise]]) -> Any:
    """Share of the intervals that held by tenth of the score and stream, beside what they state."""
    tenths = {name: [part for part in parts if part.part.startswith("score")] for name, parts in promises.items()}
    lines = [
        _line(name, [part.part.split()[-1] for part in parts], [part.observed for part in parts], "%{y:.1%}")
        for name, parts in tenths.items()
        if parts
    ]
    figure = _with_layout(graph_objects().Figure(lines), "share that held", ".0%")
    stated = {part.stated for parts in tenths.values() for part in parts}
    for level in sorted(stated):
        figure.add_hline(level, line_dash="dot")
    return figure


def scored(shares: Mapping[str, Sequence[tuple[date, float]]]) -> Any:
    """Share of the traded names with a score, by session."""
    lines = [
        _line(name, [session.isoformat() for session, _ in series], [share for _, share in series], "%{y:.1%}")
        for name, series in shares.items()
        if series
    ]
    figure = _with_layout(graph_objects().Figure(lines), "share of the traded names", ".0%", height=240)
    return figure.update_yaxes(range=[0, 1.02])


def symbols(counts: Mapping[str, Sequence[tuple[date, int]]]) -> Any:
    """Symbols per count and session."""
    lines = [
        _line(name, [session.isoformat() for session, _ in series], [count for _, count in series], "%{y}")
        for name, series in counts.items()
        if series
    ]
    figure = _with_layout(graph_objects().Figure(lines), "symbols", ",d", height=240)
    return figure.update_yaxes(rangemode="tozero")


def excess(portfolios: Mapping[str, Performance]) -> Any:
    """Compounded daily differences of each portfolio to its index."""
    lines = []
    for name, figures in portfolios.items():
        if figures.curve:
            days = [session.isoformat() for session, *_ in figures.curve]
            lines.append(_line(name, days, [row[3] for row in figures.curve], "%{y:.4f}"))
    return _with_layout(graph_objects().Figure(lines), "excess, start = 1", ".3f")


def bias(tests: Sequence[RiskTest]) -> Any:
    """B of the risk model by session and index, its band dotted."""
    lines = []
    for test in tests:
        days = [session.isoformat() for session, *_ in test.curve]
        for place, style in ((1, {}), (2, {"dash": "dot", "width": 1}), (3, {"dash": "dot", "width": 1})):
            values = [row[place] for row in test.curve]
            line = _line(test.index, days, values, "%{y:.3f}", showlegend=place == 1)
            lines.append(line.update(line=style))
    return _with_layout(graph_objects().Figure(lines), "B", ".2f")


def losses(epochs: Sequence[Mapping[str, float]]) -> Any:
    """Validation losses of one encoder by epoch, in units of their trivial baselines (1 = no better)."""
    names = sorted({name for epoch in epochs for name in epoch})
    steps = list(range(1, len(epochs) + 1))
    lines = [_line(name, steps, [epoch.get(name) for epoch in epochs], "%{y:.3f}") for name in names]
    return _with_layout(graph_objects().Figure(lines), "loss / baseline", ".2f", "epoch")
