"""The figures of every stream and what they rest on: read from the lake and the ledger, computed by the pure code.

What is judged is what was served: the scores in the lake, each made before its session's label existed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from consumers import portfolio
from consumers.questions import provenance
from fpm.errors import TryLater
from fpm.evaluation.evaluate import PRESETS, compare, evaluate, oracle_share
from fpm.evaluation.figures import Comparison, Figures, Share, Surroundings
from fpm.report.data import Rebalance, ReportData
from fpm.report.figure_text import MINUS
from fpm.schema import STREAMS
from fpm.sessions import cut_off

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from fpm.evaluation.evaluate import EvaluationConfig
    from fpm.portfolio.backtest import Performance
    from fpm.store.ledger.stores import Stores

ORACLE = {"fingerprint": "intraday", "traditional": "daily", "dual": "combined"}
DAYS_OF_LABEL = 25  # sessions after the last score that decay may need
BARS = ["symbol", "open", "close", "volume", "amount", "adj_factor", "limit_up", "suspended", "industry"]
# what a score may be nothing but: the traditional factor that stands for each style
STYLES = {
    "size": "log_size",
    "momentum": "return_60",
    "reversal": "return_5",
    "volatility": "volatility_20",
    "liquidity": "turnover_20",
}


@dataclass(frozen=True)
class Judged:
    """All scores in the lake and what they are judged by: labels (session, symbol, label), daily bars, what surrounds
    them, and on the synthetic exchange the oracle (session, symbol, intraday, daily, combined).
    """

    scores: pl.DataFrame
    labels: pl.DataFrame
    daily: pl.DataFrame
    around: Surroundings
    oracle: pl.DataFrame | None

    def stream(self, name: str) -> pl.DataFrame:
        return self.scores.filter(pl.col("stream") == name)


def gather(stores: Stores) -> ReportData:
    """Everything the page shows."""
    judged = judge(stores)
    config = PRESETS[stores.settings.preset]
    last = max(judged.scores["session"].to_list())
    made_by = "the synthetic exchange" if judged.oracle is not None else "ingested bars"
    return ReportData(
        title=f"Volume-price fingerprints on {made_by}",
        as_of=last.isoformat(),
        market=stores.market.name,
        preset=stores.settings.preset,
        streams=stream_figures(judged, config),
        comparisons=comparisons(judged, config),
        oracles=oracle_shares(judged, config),
        spreads={name: spread(judged.stream(name)) for name in STREAMS},
        portfolios=portfolios(judged, stores),
        rebalances=_rebalances(stores),
        coverage=provenance.coverage(stores),
        quarantined=provenance.quarantined(stores.settings.quarantine),
        encoders=provenance.encoders(stores),
        folds=provenance.folds(judged.scores, {model.id: model.manifest for model in stores.models.list("scorer")}),
        tried=provenance.tried_settings(stores),
        symbols=provenance.symbols(judged.daily, judged.stream("dual"), judged.labels),
    )


# --- what is judged -----------------------------------------------------------------------------------------------


def judge(stores: Stores) -> Judged:
    """All that is judged, as known to the stores. Raises TryLater where nothing was scored."""
    trials = max(1, len(provenance.tried_settings(stores)))
    sessions = known_sessions("scores", stores)
    if not sessions:
        raise TryLater(
            code="FPM-REP-075",
            wrong="nothing was scored yet",
            effect="no figures were computed",
            todo="run fpm walk-forward FIRST LAST first",
        )
    first, last = sessions[0], sessions[-1]
    after = [session for session in stores.sessions("daily_bars") if session > last][:DAYS_OF_LABEL]
    scores = stores.read_served(
        "scores", first, last, columns=["symbol", "stream", "score", "spread", "vintage", "model"]
    )
    daily = stores.read("daily_bars", first, max([last, *after]), columns=BARS)
    factors = stores.read("daily_factors", first, last, columns=["symbol", *STYLES.values()])
    return Judged(
        scores,
        stores.read("labels", first, last, columns=["symbol", "label"]),
        daily,
        surroundings(daily, factors, trials),
        _oracle(oracle_file(stores)),
    )


def surroundings(daily: pl.DataFrame, factors: pl.DataFrame, trials: int) -> Surroundings:
    """What figures need besides scores and labels. `daily`: BARS by session; `factors`: the factors of STYLES."""
    styles = factors.select("session", "symbol", **{style: pl.col(name) for style, name in STYLES.items()})
    return Surroundings(
        closes=daily.select("session", "symbol", pl.col("close") * pl.col("adj_factor").fill_null(1.0)),
        sizes=styles.select("session", "symbol", "size") if styles["size"].count() else None,
        daily=daily,
        styles=styles,
        trials=trials,
    )


def known_sessions(table: str, stores: Stores) -> list[date]:
    """Sessions of a table whose cut-off had passed at the stores' moment of knowledge."""
    known_at = stores.known_at
    sessions = stores.sessions(table)
    return [session for session in sessions if known_at is None or cut_off(stores.market, session) <= known_at]


def oracle_file(stores: Stores) -> Path:
    """Where the synthetic exchange leaves its answer."""
    return stores.settings.home / "synthetic" / "oracle.parquet"


def _oracle(path: Path) -> pl.DataFrame | None:
    return pl.read_parquet(path) if path.is_file() else None


def stream_figures(judged: Judged, config: EvaluationConfig) -> dict[str, Figures]:
    """Every figure of every stream."""
    return {name: evaluate(judged.stream(name), judged.labels, config, judged.around) for name in STREAMS}


def oracle_shares(judged: Judged, config: EvaluationConfig) -> dict[str, Share]:
    """What each stream found of the synthetic exchange's answer; empty on real bars."""
    if judged.oracle is None:
        return {}
    return {
        name: oracle_share(
            judged.stream(name), judged.oracle.select("session", "symbol", score=column), judged.labels, config
        )
        for name, column in ORACLE.items()
    }


def comparisons(judged: Judged, config: EvaluationConfig) -> dict[str, Comparison]:
    """What one stream adds to another, by "left minus right"."""
    pairs = (("dual", "fingerprint"), ("dual", "traditional"), ("fingerprint", "traditional"))
    return {
        f"{left} {MINUS} {right}": compare(judged.stream(left), judged.stream(right), judged.labels, config)
        for left, right in pairs
    }


def portfolios(judged: Judged, stores: Stores) -> dict[str, Performance]:
    """What following the weights of each index would have earned."""
    sessions = known_sessions("weights", stores)
    if not sessions:
        return {}
    last = max([*sessions, *judged.scores["session"].to_list()])
    indices = stores.read_served("weights", sessions[0], last, columns=["index"])["index"].unique().sort().to_list()
    return {index: portfolio.performance(index, sessions[0], last, stores) for index in indices}


def _rebalances(stores: Stores) -> list[Rebalance]:
    """The optimiser's answers at the last rebalance, solved again: weights alone do not tell what a bound costs."""
    sessions = known_sessions("weights", stores)
    if not sessions:
        return []
    last = portfolio.decided_sessions(sessions, stores.market)[-1]
    return [
        Rebalance(each.index, last, each.solution.relaxed, each.solution.shadow)
        for each in portfolio.decisions(last, stores.as_of(cut_off(stores.market, last)))
        if each.solution is not None
    ]


def spread(scores: pl.DataFrame) -> list[tuple[date, float]]:
    """Per session: mean spread over the seeds, in units of the scores' cross-sectional deviation."""
    rows = []
    for (session,), part in scores.sort("session", "symbol").partition_by("session", as_dict=True).items():
        deviation = part["score"].to_numpy().std()
        mean = part["spread"].mean()
        if deviation > 0 and isinstance(mean, float):
            rows.append((session, mean / float(deviation)))
    return rows
