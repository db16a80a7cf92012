"""The report: one self-contained HTML file, and the same figures as JSON.

The same figures give the same bytes: there is no clock and no random id. A figure that cannot be computed is shown as
absent.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fpm.report import charts, risk_test
from fpm.report.data import FEW_PERIODS, ReportData, plain
from fpm.report.figure_text import interval, number, percent
from fpm.report.sections import ends, sections_with
from fpm.report.tables import tables
from fpm.report.templates import render
from fpm.report.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.evaluation.figures import Figures


def build(report: ReportData, links: Sequence[tuple[str, str]] = ()) -> str:
    """HTML of the report; `links`: title and relative address of the pages beside it."""
    filled_tables, filled_plots = tables(report), plots(report)
    parts = {("table", name) for name in filled_tables} | {("plot", name) for name in filled_plots}
    content = {
        "report": report,
        "few": FEW_PERIODS,
        "yearless": any(figures.long_short.annual_return is None for figures in report.streams.values()),
        "colour": charts.colour,
        "sections": sections_with(parts, report.horizon),
        "tables": filled_tables,
        "ends": ends(report.horizon),
        "verdict": verdict(report),
        "links": links,
    }
    return render("report.html.j2", {"pct": percent, "num": number, "span": interval}, content, filled_plots)


def twin(report: ReportData) -> str:
    """The same figures as JSON: keys sorted, dates ISO, absent figures null."""
    counts = {"trials": report.trials, "independent_periods": report.independent_periods}
    figures = plain(asdict(report)) | counts | {"verdict": verdict(report)}
    return json.dumps(figures, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def plots(report: ReportData) -> dict[str, Any]:
    """Every plot with content, by name; the name is also the id of its element."""
    streams = {name: figures for name, figures in report.streams.items() if figures.series}
    return _stream_charts(streams) | _other_charts(report)


def _stream_charts(streams: Mapping[str, Figures]) -> dict[str, Any]:
    """Charts of the streams with labelled sessions."""
    if not streams:
        return {}
    by_name = {"cumulative": charts.cumulative_rank_ic(streams), "groups": charts.groups(streams)}
    for name, figures in streams.items():
        by_name[f"rank-ic-{name}"] = charts.rank_ic_over_time(name, figures)
        if len(figures.group_weeks) > 1:
            by_name[f"group-curves-{name}"] = charts.group_curves(name, figures)
    if any(len(figures.long_short.weeks) > 1 for figures in streams.values()):
        by_name["long-short"] = charts.long_short(streams)
    if any(figures.turnover_weeks for figures in streams.values()):
        by_name["turnover"] = charts.turnover(streams)
    if any(value is not None for figures in streams.values() for value in figures.decay):
        by_name["decay"] = charts.decay(streams)
    if any(value is not None for figures in streams.values() for _, value in figures.by_size):
        by_name["by-size"] = charts.by_size(streams)
    if any(exposure.value is not None for figures in streams.values() for _, exposure in figures.exposures):
        by_name["exposures"] = charts.exposures(streams)
    return by_name


def _other_charts(report: ReportData) -> dict[str, Any]:
    """Charts of seeds, symbol counts, portfolios and the last encoder."""
    by_name = {}
    if any(figures.scored for figures in report.streams.values()):
        by_name["scored"] = charts.scored({name: figures.scored for name, figures in report.streams.items()})
    if any(report.spreads.values()):
        by_name["spread"] = charts.seed_spread(report.spreads)
    if any(report.promises.values()):
        by_name["reliability"] = charts.reliability(report.promises)
    if any(report.symbols.values()):
        by_name["symbols"] = charts.symbols(report.symbols)
    if any(performance.curve for performance in report.portfolios.values()):
        by_name["excess"] = charts.excess(report.portfolios)
    by_name |= {f"risk-{kind}": chart for kind, chart in risk_test.charts_by_kind(report.risk).items()}
    for encoder in [encoder for encoder in report.encoders if encoder.status != "outside"][-1:]:
        if encoder.epochs:
            by_name["losses"] = charts.losses(encoder.epochs)
    return by_name
