"""Plots of the report, as plotly figures: what a factor's figures look like over time, by group, by lag, by size.

One colour per stream everywhere; an oracle is grey and dashed. Figures hold no random ids and no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from fpm.backtest import Performance
from fpm.evaluation import Figures

COLOURS = {
    "fingerprint": "#2563eb", "traditional": "#c2660c", "dual": "#0f766e", "oracle": "#8a94a3",
    "CSI300": "#7c3aed", "CSI500": "#be123c", "CSI1000": "#0369a1", "ALL": "#4d7c0f",
    "daily bars": "#8a94a3", "scored": "#0f766e", "labelled": "#7c3aed",
}  # fmt: skip
OTHERS = ("#7c3aed", "#be123c", "#4d7c0f", "#0369a1")
INK, FAINT, GRID = "#1f2937", "#6b7280", "#e8eaee"
ROLLING, LONG_ROLLING, LONG = 20, 60, 250  # from so many sessions on, the mean is over the longer stretch
LOGARITHMIC = 4.0  # curves whose highest value is so many times the lowest are drawn by their growth
TALL = 380


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


def decay(streams: Mapping[str, Figures]) -> Any:
    """RankIC with the return of the single session that many sessions after the fill."""
    lines = []
    for name, figures in streams.items():
        if any(value is not None for value in figures.decay):
            line = _line(name, range(1, len(figures.decay) + 1), figures.decay, "%{y:.3f}")
            line.update(mode="lines+markers", marker={"size": 5, "color": colour(name)})
            lines.append(line)
    figure = _laid_out(_graph_objects().Figure(lines), "RankIC of one session", ".2f", "sessions after the fill")
    longest = max((len(figures.decay) for figures in streams.values()), default=0)
    return figure.update_xaxes(tick0=0, dtick=1 if longest <= 10 else 5)


def by_size(streams: Mapping[str, Figures]) -> Any:
    """Mean RankIC inside each size group."""
    chart = _graph_objects()
    bars = [
        chart.Bar(
            x=[label for label, _ in figures.by_size],
            y=[value for _, value in figures.by_size],
            name=name,
            marker={"color": colour(name)},
            hovertemplate="%{y:.3f}",
        )
        for name, figures in streams.items()
        if any(value is not None for _, value in figures.by_size)
    ]
    return _laid_out(chart.Figure(bars), "RankIC", ".2f", "size group")


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
