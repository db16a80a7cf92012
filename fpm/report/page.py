"""The report: one HTML file that needs nothing else, and the same figures as JSON.

Same figures, same bytes: no clock, no random ids. What could not be computed is shown as absent.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fpm.report import charts
from fpm.report.data import FEW_PERIODS, ReportData, plain
from fpm.report.figure_text import interval, number, percent
from fpm.report.sections import ENDS, shown
from fpm.report.tables import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.evaluation.figures import Figures


def build(data: ReportData) -> str:
    """The page: plots inline, plotly's script once, no request to anywhere."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(pct=percent, num=number, span=interval)
    template = environment.from_string(files("fpm.report").joinpath("report.html.j2").read_text(encoding="utf-8"))
    written, drawn = tables(data), plots(data)
    return template.render(
        data=data,
        few=FEW_PERIODS,
        yearless=any(figures.long_short.annual_return is None for figures in data.streams.values()),
        colour=charts.colour,
        sections=shown({("table", name) for name in written} | {("plot", name) for name in drawn}),
        tables=written,
        plots={name: Markup(html) for name, html in drawn.items()},
        ends=ENDS,
        plotly=Markup(get_plotlyjs()),
        style=Markup(files("fpm.report").joinpath("page.css").read_text(encoding="utf-8")),
    )


def twin(data: ReportData) -> str:
    """The same figures as JSON: keys sorted, dates ISO, absent figures null."""
    whole = plain(asdict(data)) | {"trials": data.trials, "independent_periods": data.independent_periods}
    return json.dumps(whole, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def plots(data: ReportData) -> dict[str, str]:
    """HTML of every plot that has something to show, by name; the name is also the id of its element."""
    streams = {name: figures for name, figures in data.streams.items() if figures.series}
    return {name: _html(name, figure) for name, figure in (_of_streams(streams) | _of_the_rest(data)).items()}


def _of_streams(streams: Mapping[str, Figures]) -> dict[str, Any]:
    """Plots of the streams that have labelled sessions."""
    if not streams:
        return {}
    figures = {"cumulative": charts.cumulative_rank_ic(streams), "groups": charts.groups(streams)}
    for name, own in streams.items():
        figures[f"rank-ic-{name}"] = charts.rank_ic_over_time(name, own)
        if len(own.group_weeks) > 1:
            figures[f"group-curves-{name}"] = charts.group_curves(name, own)
    if any(len(own.long_short.weeks) > 1 for own in streams.values()):
        figures["long-short"] = charts.long_short(streams)
    if any(own.turnover_weeks for own in streams.values()):
        figures["turnover"] = charts.turnover(streams)
    if any(value is not None for own in streams.values() for value in own.decay):
        figures["decay"] = charts.decay(streams)
    if any(value is not None for own in streams.values() for _, value in own.by_size):
        figures["by-size"] = charts.by_size(streams)
    if any(each.value is not None for own in streams.values() for _, each in own.exposures):
        figures["exposures"] = charts.exposures(streams)
    return figures


def _of_the_rest(data: ReportData) -> dict[str, Any]:
    """Plots of seeds, portfolios, the last encoder, and the symbols there were."""
    figures = {}
    if any(data.spreads.values()):
        figures["spread"] = charts.seed_spread(data.spreads)
    if any(data.symbols.values()):
        figures["symbols"] = charts.symbols(data.symbols)
    if any(performance.curve for performance in data.portfolios.values()):
        figures["excess"] = charts.excess(data.portfolios)
    for encoder in data.encoders[-1:]:
        if encoder.epochs:
            figures["losses"] = charts.losses(encoder.epochs)
    return figures


def _html(name: str, figure: Any) -> str:
    config = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))
