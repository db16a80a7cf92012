"""Plots of an encoder and of one session's fingerprint, as plotly figures in the look of the report.

Letters in array names: P parts of a session, U families of features, N fingerprints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.report.charts import AXIS, COLOURS, FAINT, FONT, OTHER_COLOURS, TALL, graph_objects, title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SCALE = [[0.0, "#ffffff"], [0.15, "#dbeafe"], [0.5, "#60a5fa"], [1.0, "#1e3a8a"]]
ROW = 24  # pixels per row with a name


def _with_layout(figure: Any, height: int, left: int = 58, legend: bool = True) -> Any:
    figure.update_xaxes(**AXIS)
    figure.update_yaxes(**AXIS)
    figure.update_layout(
        height=height,
        margin={"l": left, "r": 14, "t": 30, "b": 40},
        font=FONT,
        showlegend=legend,
        bargap=0.25,
        paper_bgcolor="white",
        plot_bgcolor="white",
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
    )
    return figure


def session(minutes: Sequence[str], close: Sequence[float | None], volume: Sequence[float | None]) -> Any:
    """Price of one session against its open above, volume by minute below."""
    from plotly.subplots import make_subplots

    chart = graph_objects()
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.62, 0.38], vertical_spacing=0.05)
    line = {"color": COLOURS["fingerprint"], "width": 2}
    figure.add_trace(
        chart.Scatter(x=list(minutes), y=list(close), mode="lines", line=line, hovertemplate="%{x} %{y:.2%}", name=""),
        row=1,
        col=1,
    )
    bars = chart.Bar(
        x=list(minutes), y=list(volume), marker={"color": "#94a3b8"}, hovertemplate="%{x} %{y:.2f}", name=""
    )
    figure.add_trace(bars, row=2, col=1)
    _with_layout(figure, TALL, legend=False)
    figure.update_layout(bargap=0.1)
    marks = [minutes[0], *minutes[29::30]]
    figure.update_xaxes(type="category", tickvals=marks, showgrid=False)
    figure.update_yaxes(title=title("against the open"), tickformat=".1%", row=1, col=1)
    figure.update_yaxes(title=title("volume"), row=2, col=1)
    return figure


def occlusion(
    parts: Sequence[str],
    families: Sequence[str],
    cell_PU: NDArray[np.float64],
    part_P: NDArray[np.float64],
    family_U: NDArray[np.float64],
) -> Any:
    """Movement of the fingerprint under occlusion: `cell_PU` for a family in one part of the session, bars for all."""
    from plotly.subplots import make_subplots

    chart = graph_objects()
    figure = make_subplots(
        rows=2,
        cols=2,
        column_widths=[0.8, 0.2],
        row_heights=[0.22, 0.78],
        shared_xaxes="columns",
        shared_yaxes="rows",
        horizontal_spacing=0.02,
        vertical_spacing=0.04,
    )
    heat = chart.Heatmap(
        x=list(parts),
        y=list(families),
        z=_nested(cell_PU.T),
        colorscale=SCALE,
        zmin=0.0,
        xgap=2,
        ygap=2,
        showscale=False,
        hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
        texttemplate="%{z:.2f}",
        textfont={"size": 11},
        hoverongaps=False,
    )
    bar = {"color": "#94a3b8"}
    above = chart.Bar(x=list(parts), y=_nested(part_P), marker=bar, hovertemplate="%{x}: %{y:.3f}<extra></extra>")
    beside = chart.Bar(
        y=list(families),
        x=_nested(family_U),
        orientation="h",
        marker=bar,
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure.add_trace(above, row=1, col=1)
    figure.add_trace(heat, row=2, col=1)
    figure.add_trace(beside, row=2, col=2)
    _with_layout(figure, ROW * len(families) + 190, left=86, legend=False)
    figure.update_xaxes(showgrid=False, type="category", title=title("half-hour up to"), row=2, col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False, row=2, col=1)
    figure.update_yaxes(autorange="reversed", row=2, col=2)
    figure.update_yaxes(title=title("all families"), row=1, col=1)
    figure.update_xaxes(title=title("all session"), nticks=4, row=2, col=2)
    return figure


def dictionary(
    names: Sequence[str],
    estimates: Sequence[float | None],
    measurements: Sequence[float | None],
    correlations: Sequence[float | None],
) -> Any:
    """Estimate of each statistic from the fingerprint (bar, fainter with less correlation) and measurement (mark)."""
    chart = graph_objects()
    opacity = [0.15 + 0.85 * min(max(value or 0.0, 0.0), 1.0) for value in correlations]
    bars = chart.Bar(
        y=list(names),
        x=list(estimates),
        orientation="h",
        name="read from the fingerprint",
        marker={"color": COLOURS["fingerprint"], "opacity": opacity},
        hovertemplate="%{x:.2f}",
    )
    marks = chart.Scatter(
        y=list(names),
        x=list(measurements),
        mode="markers",
        name="measured in the minutes",
        hovertemplate="%{x:.2f}",
        marker={"color": COLOURS["traditional"], "size": 9, "symbol": "diamond"},
    )
    figure = _with_layout(chart.Figure([bars, marks]), ROW * len(names) + 110, left=168)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title=title("z-score across the market"))
    return figure


def spectrum(shares: Mapping[str, NDArray[np.float64]]) -> Any:
    """Share of variance of each principal direction, largest first, on a logarithmic scale."""
    chart = graph_objects()
    colours = (COLOURS["fingerprint"], *OTHER_COLOURS)
    lines = [
        chart.Scatter(
            x=list(range(1, len(share) + 1)),
            y=np.maximum(share, 1e-9).tolist(),
            mode="lines",
            name=name,
            line={"color": colour, "width": 2},
            hovertemplate="%{y:.2e}",
        )
        for (name, share), colour in zip(shares.items(), colours, strict=False)
    ]
    figure = _with_layout(chart.Figure(lines), 320, left=66)
    figure.update_yaxes(type="log", title=title("share of the variance"), exponentformat="power", dtick=1)
    figure.update_xaxes(title=title("principal direction"), showgrid=False)
    return figure


def coloured_map(point_N2: NDArray[np.float64], values: Sequence[float] | Sequence[str], label: str) -> Any:
    """Fingerprints on their first two principal directions, coloured by a number or by a group."""
    chart = graph_objects()
    if all(isinstance(value, str) for value in values):
        parts = [_cloud(point_N2, values, group) for group in sorted({str(value) for value in values})]
    else:
        marker = {"size": 5, "opacity": 0.7, "color": list(values), "colorscale": "Viridis", "showscale": True}
        marker["colorbar"] = {"thickness": 10, "tickfont": {"color": FAINT}}
        parts = [chart.Scattergl(x=point_N2[:, 0].tolist(), y=point_N2[:, 1].tolist(), mode="markers", marker=marker)]
        parts[0].update(hovertemplate=f"{label} %{{marker.color:.3g}}<extra></extra>")
    figure = _with_layout(chart.Figure(parts), TALL, legend=len(parts) > 1)
    figure.update_xaxes(title=title("first direction"), showgrid=False)
    figure.update_yaxes(title=title("second direction"))
    return figure


def _cloud(point_N2: NDArray[np.float64], values: Sequence[object], group: str) -> Any:
    rows = [i for i, value in enumerate(values) if value == group]
    return graph_objects().Scattergl(
        x=point_N2[rows, 0].tolist(),
        y=point_N2[rows, 1].tolist(),
        mode="markers",
        name=group,
        marker={"size": 5, "opacity": 0.7},
        hovertemplate=f"{group}<extra></extra>",
    )


def by_epoch(epochs: Sequence[Mapping[str, float]], name: str, untrained: float | None) -> Any:
    """One figure of the fingerprints after each epoch, beside its value before training."""
    chart = graph_objects()
    steps = list(range(1, len(epochs) + 1))
    lines = [
        chart.Scatter(
            x=steps,
            y=[epoch.get(name) for epoch in epochs],
            mode="lines+markers",
            name="trained",
            line={"color": COLOURS["fingerprint"], "width": 2},
            hovertemplate="%{y:.3f}",
        )
    ]
    if untrained is not None:
        faint = {"color": COLOURS["oracle"], "width": 2, "dash": "dot"}
        lines.append(chart.Scatter(x=steps, y=[untrained] * len(steps), mode="lines", name="untrained", line=faint))
    figure = _with_layout(chart.Figure(lines), 260)
    figure.update_xaxes(title=title("epoch"), showgrid=False, dtick=1 if len(steps) <= 20 else None)
    return figure


def _nested(x: NDArray[np.float64]) -> Any:
    """Nested lists with None for NaN, which plotly leaves blank."""
    values = x.astype(object)
    values[~np.isfinite(x)] = None
    return values.tolist()
