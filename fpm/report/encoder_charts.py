"""Plots of an encoder and of what it saw in one session, as plotly figures in the look of the report's.

Letters in array names: P parts of a session, U families of features, N fingerprints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.report.charts import COLOURS, FAINT, GRID, INK, OTHERS, TALL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SCALE = [[0.0, "#ffffff"], [0.15, "#dbeafe"], [0.5, "#60a5fa"], [1.0, "#1e3a8a"]]
ROW = 24  # pixels a named row
FONT = {"family": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif", "size": 12, "color": INK}


def _charts() -> Any:
    """plotly.graph_objects, imported at first use and untyped."""
    import plotly.graph_objects

    return plotly.graph_objects


def _look(figure: Any, height: int, left: int = 58, legend: bool = True) -> Any:
    axis = {"gridcolor": GRID, "zerolinecolor": "#c3c8d0", "linecolor": GRID, "tickfont": {"color": FAINT}}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
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


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"color": FAINT, "size": 12}}


def session(minutes: Sequence[str], close: Sequence[float | None], volume: Sequence[float | None]) -> Any:
    """The way of the price against the open, above; what was traded in each minute, below."""
    from plotly.subplots import make_subplots

    chart = _charts()
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
    _look(figure, TALL, legend=False)
    figure.update_layout(bargap=0.1)
    marks = [minutes[0], *minutes[29::30]]
    figure.update_xaxes(type="category", tickvals=marks, showgrid=False)
    figure.update_yaxes(title=_title("against the open"), tickformat=".1%", row=1, col=1)
    figure.update_yaxes(title=_title("volume"), row=2, col=1)
    return figure


def occlusion(
    parts: Sequence[str],
    families: Sequence[str],
    cell_PU: NDArray[np.float64],
    part_P: NDArray[np.float64],
    family_U: NDArray[np.float64],
) -> Any:
    """How far the fingerprint moves: a cell for a family hidden in a half-hour, bars for whole rows and columns."""
    from plotly.subplots import make_subplots

    chart = _charts()
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
        z=_listed(cell_PU.T),
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
    above = chart.Bar(x=list(parts), y=_listed(part_P), marker=bar, hovertemplate="%{x}: %{y:.3f}<extra></extra>")
    beside = chart.Bar(
        y=list(families),
        x=_listed(family_U),
        orientation="h",
        marker=bar,
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure.add_trace(above, row=1, col=1)
    figure.add_trace(heat, row=2, col=1)
    figure.add_trace(beside, row=2, col=2)
    _look(figure, ROW * len(families) + 190, left=86, legend=False)
    figure.update_xaxes(showgrid=False, type="category", title=_title("half-hour up to"), row=2, col=1)
    figure.update_yaxes(autorange="reversed", showgrid=False, row=2, col=1)
    figure.update_yaxes(autorange="reversed", row=2, col=2)
    figure.update_yaxes(title=_title("all families"), row=1, col=1)
    figure.update_xaxes(title=_title("all session"), nticks=4, row=2, col=2)
    return figure


def dictionary(
    names: Sequence[str], found: Sequence[float | None], there: Sequence[float | None], sure: Sequence[float | None]
) -> Any:
    """What the fingerprint says of each statistic (bar, the fainter the less sure) and what was there (mark)."""
    chart = _charts()
    opacity = [0.15 + 0.85 * min(max(value or 0.0, 0.0), 1.0) for value in sure]
    bars = chart.Bar(
        y=list(names),
        x=list(found),
        orientation="h",
        name="read from the fingerprint",
        marker={"color": COLOURS["fingerprint"], "opacity": opacity},
        hovertemplate="%{x:.2f}",
    )
    marks = chart.Scatter(
        y=list(names),
        x=list(there),
        mode="markers",
        name="measured in the minutes",
        hovertemplate="%{x:.2f}",
        marker={"color": COLOURS["traditional"], "size": 9, "symbol": "diamond"},
    )
    figure = _look(chart.Figure([bars, marks]), ROW * len(names) + 110, left=168)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title=_title("z-score across the market"))
    return figure


def spectrum(shares: Mapping[str, NDArray[np.float64]]) -> Any:
    """Share of the variance along each principal direction, largest first, on a logarithmic scale."""
    chart = _charts()
    colours = (COLOURS["fingerprint"], *OTHERS)
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
    figure = _look(chart.Figure(lines), 320, left=66)
    figure.update_yaxes(type="log", title=_title("share of the variance"), exponentformat="power", dtick=1)
    figure.update_xaxes(title=_title("principal direction"), showgrid=False)
    return figure


def coloured_map(place_N2: NDArray[np.float64], values: Sequence[float] | Sequence[str], what: str) -> Any:
    """Fingerprints on their first two principal directions, coloured by a number or by a group."""
    chart = _charts()
    if all(isinstance(value, str) for value in values):
        parts = [_cloud(place_N2, values, group) for group in sorted({str(value) for value in values})]
    else:
        marker = {"size": 5, "opacity": 0.7, "color": list(values), "colorscale": "Viridis", "showscale": True}
        marker["colorbar"] = {"thickness": 10, "tickfont": {"color": FAINT}}
        parts = [chart.Scattergl(x=place_N2[:, 0].tolist(), y=place_N2[:, 1].tolist(), mode="markers", marker=marker)]
        parts[0].update(hovertemplate=f"{what} %{{marker.color:.3g}}<extra></extra>")
    figure = _look(chart.Figure(parts), TALL, legend=len(parts) > 1)
    figure.update_xaxes(title=_title("first direction"), showgrid=False)
    figure.update_yaxes(title=_title("second direction"))
    return figure


def _cloud(place_N2: NDArray[np.float64], values: Sequence[object], group: str) -> Any:
    rows = [i for i, value in enumerate(values) if value == group]
    return _charts().Scattergl(
        x=place_N2[rows, 0].tolist(),
        y=place_N2[rows, 1].tolist(),
        mode="markers",
        name=group,
        marker={"size": 5, "opacity": 0.7},
        hovertemplate=f"{group}<extra></extra>",
    )


def by_epoch(epochs: Sequence[Mapping[str, float]], name: str, untrained: float | None) -> Any:
    """One figure of the fingerprints after each epoch, beside that before training."""
    chart = _charts()
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
    figure = _look(chart.Figure(lines), 260)
    figure.update_xaxes(title=_title("epoch"), showgrid=False, dtick=1 if len(steps) <= 20 else None)
    return figure


def _listed(x: NDArray[np.float64]) -> Any:
    """Nested lists with None for NaN, which plotly leaves white."""
    whole = x.astype(object)
    whole[~np.isfinite(x)] = None
    return whole.tolist()
