"""The report: one HTML file that needs nothing else, and the same figures as JSON.

Same figures, same bytes: no clock, no random ids. What could not be computed is shown as absent, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.resources import files
from typing import Any

from fpm import charts
from fpm.backtest import Performance
from fpm.evaluation import Comparison, Figures, Share

# Golden Sun Securities, 2026-01-16, on private Level-2 data, 2017-2025 (SCIENCE: what the report claims).
THEIR_FACTORS = (
    {"name": "fingerprint GRU", "rank_ic": 0.106, "annual_return": 0.8388, "information_ratio": 5.41,
     "win_rate": 0.7387, "max_drawdown": 0.1165},
    {"name": "dual-stream GRU", "rank_ic": 0.109, "annual_return": 0.9089, "information_ratio": 5.95,
     "win_rate": 0.7646, "max_drawdown": 0.1154},
)  # fmt: skip
THEIR_PORTFOLIOS = (
    {"name": "CSI300", "annual_return": 0.1100, "annual_excess": 0.0712, "tracking_error": 0.0174,
     "information_ratio": 4.10, "monthly_win_rate": 0.8611, "max_drawdown": 0.0185},
    {"name": "CSI500", "annual_return": 0.1332, "annual_excess": 0.1138, "tracking_error": 0.0347,
     "information_ratio": 3.28, "monthly_win_rate": 0.8333, "max_drawdown": 0.0476},
    {"name": "CSI1000", "annual_return": 0.1323, "annual_excess": 0.1484, "tracking_error": 0.0345,
     "information_ratio": 4.30, "monthly_win_rate": 0.8333, "max_drawdown": 0.0295},
)  # fmt: skip
FEW_PERIODS = 30  # below, a t interval is wide enough that single figures should not be quoted
ABSENT = "\u2013"
MINUS = "\u2212"


@dataclass(frozen=True)
class Coverage:
    """One table of the lake: how many sessions and rows, from when to when."""

    table: str
    sessions: int
    rows: int
    first: date | None
    last: date | None


@dataclass(frozen=True)
class Quarantined:
    """Rows or files kept out of the lake for one reason."""

    table: str
    code: str
    reason: str
    count: int


@dataclass(frozen=True)
class Encoder:
    """One encoder vintage. `figures`: name -> value (effective rank, dead dimensions, ...). `epochs`: validation losses
    in units of their trivial baselines."""

    vintage: str
    through: date
    status: str
    figures: Mapping[str, float]
    epochs: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class Fold:
    """Out-of-sample sessions served by one vintage and one scorer."""

    vintage: str
    model: str
    first: date
    last: date
    sessions: int


@dataclass(frozen=True)
class Rebalance:
    """The optimiser's last decision for an index: which bounds gave way, and what each bound costs."""

    index: str
    session: date
    relaxed: Mapping[str, float]
    shadow: Mapping[str, float]


@dataclass(frozen=True)
class ReportData:
    """Everything on the page. `streams` is in the order shown; `oracles` has the synthetic exchange's answer, if any,
    by stream. `trials`: how many model settings were tried before these figures were looked at."""

    title: str
    as_of: str
    market: str
    preset: str
    streams: Mapping[str, Figures]
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    oracles: Mapping[str, Share] = field(default_factory=dict)
    spreads: Mapping[str, Sequence[tuple[date, float]]] = field(default_factory=dict)
    portfolios: Mapping[str, Performance] = field(default_factory=dict)
    rebalances: Sequence[Rebalance] = ()
    coverage: Sequence[Coverage] = ()
    quarantined: Sequence[Quarantined] = ()
    encoders: Sequence[Encoder] = ()
    folds: Sequence[Fold] = ()
    trials: int = 1
    notes: Sequence[str] = ()


def build(data: ReportData) -> str:
    """The page: plots inline, plotly's script once, no request to anywhere."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(pct=percent, num=number, span=interval)
    template = environment.from_string(files("fpm").joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        data=data,
        periods=independent_periods(data),
        few=FEW_PERIODS,
        yearless=any(figures.long_short.annual_return is None for figures in data.streams.values()),
        colour=charts.colour,
        their_factors=THEIR_FACTORS,
        their_portfolios=THEIR_PORTFOLIOS,
        plots={name: Markup(html) for name, html in plots(data).items()},
        plotly=Markup(get_plotlyjs()),
        style=Markup(files("fpm").joinpath("page.css").read_text(encoding="utf-8")),
    )


def twin(data: ReportData) -> str:
    """The same figures as JSON: keys sorted, dates ISO, absent figures null."""
    return json.dumps(_plain(asdict(data)), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def independent_periods(data: ReportData) -> int:
    """How many label windows without overlap the weakest stream rests on."""
    return min((figures.independent_periods for figures in data.streams.values()), default=0)


def plots(data: ReportData) -> dict[str, str]:
    """HTML of every plot that has something to show, by name; the name is also the id of its element."""
    streams = {name: figures for name, figures in data.streams.items() if figures.series}
    figures = {f"rank-ic-{name}": charts.rank_ic_over_time(name, shown) for name, shown in streams.items()}
    if streams:
        figures |= {
            "cumulative": charts.cumulative_rank_ic(streams),
            "groups": charts.groups(streams),
        }
    if any(len(shown.long_short.weeks) > 1 for shown in streams.values()):
        figures["long-short"] = charts.long_short(streams)
    if any(value is not None for shown in streams.values() for value in shown.decay):
        figures["decay"] = charts.decay(streams)
    if any(value is not None for shown in streams.values() for _, value in shown.by_size):
        figures["by-size"] = charts.by_size(streams)
    if any(data.spreads.values()):
        figures["spread"] = charts.seed_spread(data.spreads)
    if any(performance.curve for performance in data.portfolios.values()):
        figures["excess"] = charts.excess(data.portfolios)
    for encoder in data.encoders[-1:]:
        if encoder.epochs:
            figures["losses"] = charts.losses(encoder.epochs)
    return {name: _html(name, figure) for name, figure in figures.items()}


def _html(name: str, figure: Any) -> str:
    config = {"displayModeBar": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config))


def percent(value: float | None, digits: int = 2) -> str:
    """0.1234 -> 12.34 %."""
    return ABSENT if value is None else f"{value * 100:.{digits}f} %".replace("-", MINUS)


def number(value: float | None, digits: int = 3) -> str:
    return ABSENT if value is None else f"{value:,.{digits}f}".replace("-", MINUS)


def interval(value: Any, digits: int = 3) -> str:
    """An Interval as "[low, high]"."""
    return ABSENT if value is None else f"[{number(value.low, digits)}, {number(value.high, digits)}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and value * 0 != 0 else value
