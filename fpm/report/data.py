"""Contents of a report as plain data: the figures of every stream and their provenance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import isfinite
from typing import TYPE_CHECKING, Any

from fpm.schema import HORIZON

if TYPE_CHECKING:
    from fpm.evaluation.coverage import Promise
    from fpm.evaluation.figures import Comparison, Figures, Share
    from fpm.evaluation.outer_names import OuterName
    from fpm.portfolio.performance import Performance

FEW_PERIODS = 30  # with fewer, t intervals are so wide that single figures should not be quoted


@dataclass(frozen=True)
class PublishedFactor:
    """One row of the source report's factor table: its claim on its own data, not a figure of ours."""

    name: str
    rank_ic: float
    annual_return: float
    information_ratio: float
    win_rate: float
    max_drawdown: float


@dataclass(frozen=True)
class PublishedPortfolio:
    """One row of the source report's table of index-enhanced portfolios."""

    name: str
    annual_return: float
    annual_excess: float
    tracking_error: float
    information_ratio: float
    monthly_win_rate: float
    max_drawdown: float


# Golden Sun Securities, 2026-01-16, on private Level-2 data, 2017-2025.
PUBLISHED_FACTORS = (
    PublishedFactor("fingerprint GRU", 0.106, 0.8388, 5.41, 0.7387, 0.1165),
    PublishedFactor("dual-stream GRU", 0.109, 0.9089, 5.95, 0.7646, 0.1154),
)
PUBLISHED_WEEKS = 463  # the only number of weeks that fits the published win rates
PUBLISHED_PORTFOLIOS = (
    PublishedPortfolio("CSI300", 0.1100, 0.0712, 0.0174, 4.10, 0.8611, 0.0185),
    PublishedPortfolio("CSI500", 0.1332, 0.1138, 0.0347, 3.28, 0.8333, 0.0476),
    PublishedPortfolio("CSI1000", 0.1323, 0.1484, 0.0345, 4.30, 0.8333, 0.0295),
)


@dataclass(frozen=True)
class Coverage:
    """One table of the lake: number of sessions and rows, first and last session."""

    table: str
    sessions: int
    rows: int
    first: date | None
    last: date | None


@dataclass(frozen=True)
class Quarantined:
    """Number of rows or files kept out of the lake under one code, with an example of the reason."""

    table: str
    code: str
    reason: str
    count: int


@dataclass(frozen=True)
class Encoder:
    """One encoder vintage.

    `figures`: values by name (effective rank, dead dimensions, ...). `epochs`: validation losses in units of their
    trivial baselines.
    """

    vintage: str
    through: date
    status: str
    figures: Mapping[str, float]
    epochs: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True)
class SessionRange:
    """Consecutive sessions: first, last, and their number."""

    first: date
    last: date
    sessions: int


@dataclass(frozen=True)
class Fold:
    """Out-of-sample sessions served by one vintage and one scorer.

    `train` and `validation`: label sessions of the scorer's training; None where its manifest does not have them.
    """

    vintage: str
    model: str
    first: date
    last: date
    sessions: int
    train: SessionRange | None = None
    validation: SessionRange | None = None
    seeds: Sequence[int] = ()


@dataclass(frozen=True)
class Trial:
    """One setting of encoder and scorer that was trained in this home.

    `differs`: its differences from the first setting. `models`: number of its scorers. `first` and `last`: sessions
    through which they were trained.
    """

    setting: str
    differs: str
    models: int
    first: date
    last: date


@dataclass(frozen=True)
class Rebalance:
    """The optimiser's last decision for an index: violations of relaxed bounds, and shadow prices."""

    index: str
    session: date
    relaxed: Mapping[str, float]
    shadow: Mapping[str, float]


@dataclass(frozen=True)
class RiskTest:
    """The forecast test of one index and kind of portfolio at its newest session (`fpm.risk.bias`).

    `curve`: session, B and its band, of the sessions with a B.
    """

    index: str
    kind: str
    session: date
    sessions: int
    bias: float | None
    low: float | None
    high: float | None
    inside: bool | None
    windows: int
    share: float | None
    share_low: float | None
    share_high: float | None
    reason: str | None
    share_reason: str | None
    curve: Sequence[tuple[date, float, float, float]] = ()


@dataclass(frozen=True)
class ReportData:
    """Everything on the page.

    `streams`: figures by stream, in the order of the page. `oracles`: shares of the synthetic exchange's oracle by
    stream. `tried`: model settings trained before these figures were seen. `symbols`: symbols with bars, scores and
    labels by session. `longs`, `shorts`: outer names of the newest scored session.
    `horizon`: sessions that a label spans.
    `leaks`: what the records say by check, None where it passes.
    `promises`: how often intervals held, by stream. `partitions`, `models`: how many the passport names.
    """

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
    risk: Sequence[RiskTest] = ()
    coverage: Sequence[Coverage] = ()
    quarantined: Sequence[Quarantined] = ()
    encoders: Sequence[Encoder] = ()
    folds: Sequence[Fold] = ()
    tried: Sequence[Trial] = ()
    symbols: Mapping[str, Sequence[tuple[date, int]]] = field(default_factory=dict)
    horizon: int = HORIZON
    notes: Sequence[str] = ()
    longs: Sequence[OuterName] = ()
    shorts: Sequence[OuterName] = ()
    leaks: Mapping[str, str | None] = field(default_factory=dict)
    promises: Mapping[str, Sequence[Promise]] = field(default_factory=dict)
    partitions: int = 0
    models: int = 0

    @property
    def trials(self) -> int:
        """Number of settings tried, at least one: each was a chance to be lucky."""
        return max(1, len(self.tried))

    @property
    def sessions(self) -> tuple[str, str] | None:
        """First and last session with a RankIC in any stream; None without any."""
        days = [day for figures in self.streams.values() for day, _ in figures.series[:1] + figures.series[-1:]]
        return (min(days).isoformat(), max(days).isoformat()) if days else None

    @property
    def independent_periods(self) -> int:
        """Label windows without overlap of the stream with the fewest."""
        return min((figures.independent_periods for figures in self.streams.values()), default=0)


def plain(value: Any, without: Collection[str] = ()) -> Any:
    """JSON values: dates ISO, figures that are not finite null, sequences under a name in `without` left out."""
    if isinstance(value, Mapping):
        items = {str(name): inner for name, inner in value.items() if name not in without or not _is_sequence(inner)}
        return {name: plain(inner, without) for name, inner in items.items()}
    if _is_sequence(value):
        return [plain(inner, without) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not isfinite(value) else value


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list))
