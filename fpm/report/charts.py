"""Plots of the report, as plotly figures: what a factor's figures look like over time, by group, by lag, by size.

One colour per stream everywhere; an oracle is grey and dashed. Figures hold no random ids and no clock.
"""

from __future__ import annotations

from datetime import date, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.evaluation.figures import Figures
    from fpm.evaluation.intervals import Interval
    from fpm.portfolio.backtest import Performance

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
OTHERS = ("#7c3aed", "#be123c", "#4d7c0f", "#0369a1")
INK, FAINT, GRID = "#1f2937", "#6b7280", "#e8eaee"
ROLLING, LONG_ROLLING, LONG = 20, 60, 250  # from so many sessions on, the mean is over the longer stretch
LOGARITHMIC = 4.0  # curves whose highest value is so many times the lowest are drawn by their growth
TALL = 380
LOWEST, PALE = "#374151", "#d5dae1"
WHISKER = {"color": "#6b7280", "thickness": 1, "width": 2}


def _graph_objects() -> Any:
    """plotly.graph_objects, imported at first use and untyped."""
    import plotly.graph_objects

    return plotly.graph_objects


def colour(name: str) -> str:
    """The colour that a stream, an index or a count has everywhere; others take theirs from a short list, by name."""
    return COLOURS.get(name) or OTHERS[sum(name.encode()) % len(OTHERS)]


def _line(name: str, x: Sequence[Any], y: Sequence[Any], hover: str, **style: Any) -> Any:
    line = {"color": colour(name), "width": 2, "dash": "dot" if name == "oracle" else "solid"}
    return _graph_objects().Scatter(
        x=list(x), y=list(y), name=name, mode="lines", line=line, hovertemplate=hover, legendgroup=name, **style
    )


def _laid_out(figure: Any, y_title: str, y_format: str, x_title: str = "", height: int = 300) -> Any:
    """The one look of all plots."""
    axis = {"gridcolor": GRID, "zerolinecolor": "#c3c8d0", "linecolor": GRID, "tickfont": {"color": FAINT}}
    title = {"text": x_title, "font": {"color": FAINT, "size": 12}} if x_title else None
    figure.update_xaxes(title=title, showgrid=False, **axis)
    figure.update_yaxes(tickformat=y_format, **axis)
    figure.update_layout(
        height=height,
        margin={"l": 58, "r": 12, "t": 30, "b": 40 if x_title else 26},
        font={"family": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif", "size": 12, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 12}},
        yaxis_title={"text": y_title, "font": {"color": FAINT, "size": 12}},
        bargap=0.25,
        showlegend=True,
    )
    return figure


def cumulative_rank_ic(streams: Mapping[str, Figures]) -> Any:
    """Running sum of each session's RankIC: a straight line is a factor that works all the time."""
    lines = []
    for name, figures in streams.items():
        if figures.series:
            days = [session.isoformat() for session, _ in figures.series]
            lines.append(_line(name, days, np.cumsum([value for _, value in figures.series]).tolist(), "%{y:.2f}"))
    return _laid_out(_graph_objects().Figure(lines), "cumulative RankIC", ".1f")


def rank_ic_over_time(name: str, figures: Figures) -> Any:
    """RankIC of every session as bars, its mean over the last 20 sessions (60 in a long history) as a line."""
    chart = _graph_objects()
    days = [session.isoformat() for session, _ in figures.series]
    values = [value for _, value in figures.series]
    window = ROLLING if len(values) < LONG else LONG_ROLLING
    bars = chart.Bar(x=days, y=values, name="each session", marker={"color": colour(name), "opacity": 0.35})
    mean = _line(name, days, rolling_mean(values, window), "%{y:.3f}")
    mean.update(name=f"mean of {window} sessions", legendgroup=None)
    parts = [bars, mean] if len(values) >= window else [bars]
    bars.update(hovertemplate="%{y:.3f}", marker_line_width=0)
    figure = _laid_out(chart.Figure(parts), f"RankIC, {name}", ".2f")
    if len(values) >= LONG:
        figure.update_layout(bargap=0)
    if all(session.weekday() < 5 for session, _ in figures.series):
        figure.update_xaxes(rangebreaks=[{"bounds": ["sat", "mon"]}])
    return figure


def rolling_mean(values: Sequence[float], window: int) -> list[float | None]:
    """Mean of each value and the `window` - 1 before it; None where there are not so many."""
    total = np.cumsum([0.0, *values])
    means = (total[window:] - total[:-window]) / window
    return [*[None] * min(window - 1, len(values)), *means.tolist()]


def groups(streams: Mapping[str, Figures]) -> Any:
    """Mean label of each score group, lowest to highest."""
    chart = _graph_objects()
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
    return _laid_out(chart.Figure(bars), "mean return, 5 sessions", ".1%", "group by score, lowest to highest", TALL)


def long_short(streams: Mapping[str, Figures]) -> Any:
    """Compounded top-minus-bottom curve above, its drawdown below."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.68, 0.32], vertical_spacing=0.06)
    for name, figures in streams.items():
        if len(figures.long_short.weeks) < 2:
            continue
        days, curve = compounded(figures.long_short.weeks)
        fall = (np.array(curve) / np.maximum.accumulate(curve) - 1).tolist()
        figure.add_trace(_line(name, days, curve, "%{y:.3f}"), row=1, col=1)
        figure.add_trace(_line(name, days, fall, "%{y:.1%}", showlegend=False), row=2, col=1)
    _laid_out(figure, "value, start = 1", ".2f", height=TALL)
    _by_growth(figure, figure.data[::2], row=1, col=1)
    figure.update_yaxes(
        title={"text": "drawdown", "font": {"color": FAINT, "size": 12}}, tickformat=".0%", row=2, col=1
    )
    return figure


def _by_growth(figure: Any, lines: Sequence[Any], **place: int) -> None:
    """A logarithmic axis where curves reach far: equal steps are then equal growth, and no line hides the others."""
    values = [value for line in lines for value in line.y]
    if values and min(values) > 0 and max(values) >= LOGARITHMIC * min(values):
        figure.update_yaxes(type="log", tickformat=",~g", dtick="D1" if max(values) < 100 * min(values) else 1, **place)


def compounded(weeks: Sequence[tuple[date, float]]) -> tuple[list[str], list[float]]:
    """Value before each week's return, from 1, and after the last, which is shown a week later."""
    days = [session for session, _ in weeks]
    ends = [session.isoformat() for session in (*days, days[-1] + timedelta(weeks=1))]
    return ends, np.concatenate([[1.0], np.cumprod([1 + value for _, value in weeks])]).tolist()


def group_curves(name: str, figures: Figures) -> Any:
    """Every group's compounded curve on the weekly grid, lowest scores dark, highest in the stream's colour."""
    groups = len(figures.groups)
    lines = []
    for group, shade in enumerate(ramp(LOWEST, colour(name), groups)):
        weeks = [(session, means[group]) for session, means in figures.group_weeks]
        days, curve = compounded([(session, value) for session, value in weeks if value is not None])
        outer = {0: "lowest scores", groups - 1: "highest scores"}
        line = _line(outer.get(group, f"group {group + 1}"), days, curve, "%{y:.3f}", showlegend=group in outer)
        line.update(line={"color": shade, "width": 2.5 if group in outer else 1.2})
        lines.append(line)
    figure = _laid_out(_graph_objects().Figure(lines), "value, start = 1", ".2f", height=TALL)
    _by_growth(figure, figure.data)
    return figure


def ramp(low: str, high: str, steps: int) -> list[str]:
    """Colours from one to the other through light grey."""
    ends = [[int(shade[place : place + 2], 16) for place in (1, 3, 5)] for shade in (low, PALE, high)]
    places = np.linspace(0, 2, max(steps, 2))
    channels = [
        np.interp(places, (0, 1, 2), [end[channel] for end in ends]).round().astype(int) for channel in range(3)
    ]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in zip(*channels, strict=True)]


def turnover(streams: Mapping[str, Figures]) -> Any:
    """Share of the outer groups' names replaced, week by week."""
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
    figure = _laid_out(_graph_objects().Figure(lines), "replaced", ".0%", height=TALL)
    return figure.update_yaxes(range=[0, 1.02])


def decay(streams: Mapping[str, Figures]) -> Any:
    """RankIC with the return of the single session that many sessions after the fill, with its interval."""
    lines = []
    for place, (name, figures) in enumerate(streams.items()):
        if any(value is not None for value in figures.decay):
            # side by side, so that the intervals of one lag do not hide each other
            lags = [lag + 0.15 * (place - 1) for lag in range(1, len(figures.decay) + 1)]
            line = _line(
                name, lags, figures.decay, "%{y:.3f}", error_y=whiskers(figures.decay, figures.decay_intervals)
            )
            line.update(mode="lines+markers", marker={"size": 5, "color": colour(name)})
            lines.append(line)
    figure = _laid_out(_graph_objects().Figure(lines), "RankIC of one session", ".2f", "sessions after the fill")
    longest = max((len(figures.decay) for figures in streams.values()), default=0)
    return figure.update_xaxes(tick0=0, dtick=1 if longest <= 10 else 5)


def by_size(streams: Mapping[str, Figures]) -> Any:
    """Mean RankIC inside each size group, with its interval."""
    found = {
        name: (figures.by_size, figures.by_size_intervals)
        for name, figures in streams.items()
        if any(value is not None for _, value in figures.by_size)
    }
    return _laid_out(_graph_objects().Figure(_bars(found)), "RankIC", ".2f", "size group")


def exposures(streams: Mapping[str, Figures]) -> Any:
    """Mean rank correlation of score and style, with its interval."""
    found = {
        name: (
            [(style, each.value) for style, each in figures.exposures],
            [each.interval for _, each in figures.exposures],
        )
        for name, figures in streams.items()
        if figures.exposures
    }
    return _laid_out(_graph_objects().Figure(_bars(found)), "rank correlation", ".2f")


def _bars(
    found: Mapping[str, tuple[Sequence[tuple[str, float | None]], Sequence[Interval | None]]],
) -> list[Any]:
    """One bar a part and stream: (part, value) and intervals in the same order, by stream."""
    return [
        _graph_objects().Bar(
            x=[part for part, _ in parts],
            y=[value for _, value in parts],
            name=name,
            marker={"color": colour(name)},
            error_y=whiskers([value for _, value in parts], ends),
            hovertemplate="%{y:.3f}",
        )
        for name, (parts, ends) in found.items()
    ]


def whiskers(values: Sequence[float | None], ends: Sequence[Interval | None]) -> dict[str, Any]:
    """Error bars from each value to its interval's ends; none where there is no interval."""
    reaches = [
        (None, None) if value is None or sure is None else (sure.high - value, value - sure.low)
        for value, sure in zip_longest(values, ends)
    ]
    up, down = [above for above, _ in reaches], [below for _, below in reaches]
    shown = any(above is not None for above in up)
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "visible": shown, **WHISKER}


def seed_spread(spreads: Mapping[str, Sequence[tuple[date, float]]]) -> Any:
    """How far the seeds disagree: mean spread over the seeds, in units of the scores' own cross-sectional deviation."""
    lines = [
        _line(name, [session.isoformat() for session, _ in series], [value for _, value in series], "%{y:.2f}")
        for name, series in spreads.items()
        if series
    ]
    return _laid_out(_graph_objects().Figure(lines), "spread / deviation", ".2f")


def symbols(counts: Mapping[str, Sequence[tuple[date, int]]]) -> Any:
    """How many symbols had what, session by session."""
    lines = [
        _line(name, [session.isoformat() for session, _ in series], [count for _, count in series], "%{y}")
        for name, series in counts.items()
        if series
    ]
    figure = _laid_out(_graph_objects().Figure(lines), "symbols", ",d", height=240)
    return figure.update_yaxes(rangemode="tozero")


def excess(portfolios: Mapping[str, Performance]) -> Any:
    """Compounded daily differences to each index."""
    lines = []
    for name, figures in portfolios.items():
        if figures.curve:
            days = [session.isoformat() for session, *_ in figures.curve]
            lines.append(_line(name, days, [row[3] for row in figures.curve], "%{y:.4f}"))
    return _laid_out(_graph_objects().Figure(lines), "excess, start = 1", ".3f")


def losses(epochs: Sequence[Mapping[str, float]]) -> Any:
    """Validation losses of one encoder by epoch, each in units of its trivial baseline (1 = no better)."""
    named = sorted({name for epoch in epochs for name in epoch})
    steps = list(range(1, len(epochs) + 1))
    lines = [_line(name, steps, [epoch.get(name) for epoch in epochs], "%{y:.3f}") for name in named]
    return _laid_out(_graph_objects().Figure(lines), "loss / baseline", ".2f", "epoch")
