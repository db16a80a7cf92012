"""The figures of every stream, and the evidence they are computed from.

Figures are of the scores that were served, each made before its session's label existed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PanicException, PolarsError

from consumers.questions import lessons, provenance, risk
from consumers.questions.enhance import index_performance
from consumers.streams import served_beside
from fpm.errors import StoreCorrupt, TryLater
from fpm.evaluation.comparison import compare, oracle_share
from fpm.evaluation.coverage import Promise, by_part, outcomes
from fpm.evaluation.evaluate import PRESETS, evaluate
from fpm.evaluation.figures import Comparison, Figures, Share, Surroundings
from fpm.evaluation.outer_names import outer_names
from fpm.report.data import Rebalance, ReportData
from fpm.report.figure_text import MINUS
from fpm.schema import CLASSIC, SCORE_INTERVALS, STREAMS, TABLES, VECTOR_SCORES
from fpm.sessions import cut_off

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from fpm.evaluation.evaluate import EvaluationConfig
    from fpm.evaluation.outer_names import OuterName
    from fpm.portfolio.performance import Performance
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

NEVER = 1 << 31  # weeks
TRADED = "dual"  # the stream whose scores are published and traded
KINDS = ("encoder", "scorer", "vectors", "vector_scorer")
INTERVAL = ["symbol", "stream", "lower", "upper", "level"]
SCORED = ["symbol", "stream", "score", "spread", "vintage", "model"]
ORACLE = {"fingerprint": "intraday", "traditional": "daily", "dual": "combined"}
SESSIONS_AFTER = 25  # sessions after the last score that the decay of RankIC may need
BARS = ["symbol", "open", "close", "volume", "amount", "adj_factor", "limit_up", "suspended", "industry"]
# style -> the traditional factor that stands for it: a score may be no more than a style
STYLES = {
    "size": "log_size",
    "momentum": "return_60",
    "reversal": "return_5",
    "volatility": "volatility_20",
    "liquidity": "turnover_20",
}
OTHERS = [name for name in CLASSIC if name not in STYLES.values()]  # traditional factors that are no style
OUTER = 10  # names at each end of the newest session's scores


@dataclass(frozen=True)
class Evidence:
    """All scores in the lake and what they are measured against.

    `labels`: session, symbol, label. `around`: what figures need besides scores and labels. `oracle`: session, symbol,
    intraday, daily, combined; None outside the synthetic exchange. `intervals`: those of our streams, as served.
    """

    scores: pl.DataFrame
    labels: pl.DataFrame
    daily: pl.DataFrame
    around: Surroundings
    oracle: pl.DataFrame | None
    intervals: pl.DataFrame

    @property
    def streams(self) -> list[str]:
        """The streams with scores: ours, then those under vectors from outside."""
        there = self.scores["stream"].unique().to_list()
        return [*(name for name in STREAMS if name in there), *sorted(set(there) - set(STREAMS))]

    @property
    def traded(self) -> str:
        """The stream whose newest names are shown: ours, else the first from outside that has factors beside."""
        return next((name for name in self.streams if name.split(".")[-1] == TRADED), self.streams[0])

    def stream(self, name: str) -> pl.DataFrame:
        """The scores of one stream."""
        return self.scores.filter(pl.col("stream") == name)


def evaluation_config(settings: Settings) -> EvaluationConfig:
    """The settings of the figures; yearly ones only where a label spans the week for which a group is held."""
    config = PRESETS[settings.preset]
    horizon = settings.model_choices.horizon
    return config if horizon == config.horizon else replace(config, horizon=horizon, annualise_from=NEVER)


def gather(stores: Stores) -> ReportData:
    """Everything the report shows; without scores of ours the portfolios alone.

    Raises TryLater where there is neither.
    """
    if known_sessions("nav", stores) and not scored_sessions(stores):
        return _portfolios_alone(stores)
    evidence = read_evidence(stores)
    config = evaluation_config(stores.settings)
    last = max(evidence.scores["session"].to_list())
    longs, shorts = newest_names(evidence, last)
    folds = provenance.folds(evidence.scores, provenance.scorers(stores))
    made_by = "the synthetic exchange" if evidence.oracle is not None else "ingested bars"
    return ReportData(
        title=f"Volume-price fingerprints on {made_by}",
        as_of=last.isoformat(),
        market=stores.market.name,
        preset=stores.settings.preset,
        horizon=config.horizon,
        streams=stream_figures(evidence, config),
        comparisons=comparisons(evidence, config),
        oracles=oracle_shares(evidence, config),
        promises=promises(evidence),
        spreads={name: spread(evidence.stream(name)) for name in evidence.streams},
        portfolios=portfolios(stores, last),
        rebalances=_rebalances(stores),
        risk=risk.tests(known_sessions("risk_tests", stores), stores),
        coverage=provenance.coverage(stores),
        quarantined=provenance.quarantined(stores.settings.quarantine),
        encoders=provenance.encoders(stores),
        folds=folds,
        tried=provenance.tried_settings(stores),
        symbols=provenance.symbols(evidence.daily, evidence.stream(evidence.traded), evidence.labels),
        longs=longs,
        shorts=shorts,
        leaks=lessons.findings(folds, evidence.scores, stores),
        partitions=len(stores.ledger.current(list(TABLES))),
        models=sum(len(stores.models.list(kind)) for kind in KINDS),
    )


def _portfolios_alone(stores: Stores) -> ReportData:
    """The report of a home whose scores come from outside: fpm does not judge them, it shows what was made of them."""
    return ReportData(
        title="Index portfolios on ingested scores",
        as_of=known_sessions("nav", stores)[-1].isoformat(),
        market=stores.market.name,
        preset=stores.settings.preset,
        streams={},
        portfolios=portfolios(stores),
        rebalances=_rebalances(stores),
        coverage=provenance.coverage(stores),
        quarantined=provenance.quarantined(stores.settings.quarantine),
        encoders=provenance.encoders(stores),
        notes=("This home has no scores of fpm's own: there are portfolios, and no figures of a factor.",),
        partitions=len(stores.ledger.current(list(TABLES))),
        models=sum(len(stores.models.list(kind)) for kind in KINDS),
    )


def newest_names(evidence: Evidence, session: date) -> tuple[list[OuterName], list[OuterName]]:
    """Highest and lowest scores of a session in the stream that is traded, with industry and float value."""
    today = pl.col("session") == session
    rows = evidence.stream(evidence.traded).filter(today).select("symbol", "score", "spread")
    rows = rows.join(evidence.daily.filter(today).select("symbol", "industry"), on="symbol", how="left")
    if evidence.around.sizes is None:
        rows = rows.with_columns(size=pl.lit(None, dtype=pl.Float64))
    else:
        value = pl.col("size").cast(pl.Float64).exp()  # stored is its logarithm
        rows = rows.join(evidence.around.sizes.filter(today).select("symbol", value), on="symbol", how="left")
    return outer_names(rows, OUTER)


# --- evidence ---------------------------------------------------------------------------------------------------------


def read_evidence(stores: Stores) -> Evidence:
    """The evidence as known to the stores, every company under one symbol throughout: its last one.

    Raises TryLater where nothing was scored.
    """
    trials = max(1, len(provenance.tried_settings(stores)))
    sessions = scored_sessions(stores)
    if not sessions:
        raise TryLater(
            code="FPM-REP-075",
            wrong="nothing was scored yet",
            effect="no figures were computed",
            todo="run fpm walk-forward FIRST LAST first",
        )
    first, last = sessions[0], sessions[-1]
    after = [session for session in stores.sessions("daily_bars") if session > last]
    after = after[: max(SESSIONS_AFTER, stores.settings.model_choices.reach)]
    stores = stores.named_apart(max([last, *after]))  # lags, groups and their turnover follow a company, not a code
    own = stores.read_served("scores", first, last, columns=SCORED)
    scores = pl.concat([own, served_beside(first, last, SCORED, stores)])
    daily = stores.read("daily_bars", first, max([last, *after]), columns=BARS)
    factors = stores.read("daily_factors", first, last, columns=["symbol", *STYLES.values(), *OTHERS])
    return Evidence(
        scores,
        stores.read("labels", first, last, columns=["symbol", "label"]),
        daily,
        surroundings(daily, factors, trials),
        _oracle(stores),
        stores.read_served(SCORE_INTERVALS.name, first, last, columns=INTERVAL),
    )


def surroundings(daily: pl.DataFrame, factors: pl.DataFrame, trials: int) -> Surroundings:
    """What figures need besides scores and labels, from `daily` (BARS by session) and `factors` (STYLES, OTHERS)."""
    styles = factors.select("session", "symbol", **{style: pl.col(name) for style, name in STYLES.items()})
    return Surroundings(
        closes=daily.select("session", "symbol", pl.col("close") * pl.col("adj_factor").fill_null(1.0)),
        sizes=styles.select("session", "symbol", "size") if styles["size"].count() else None,
        daily=daily,
        styles=styles,
        factors=factors.select("session", "symbol", *(name for name in OTHERS if name in factors.columns)),
        trials=trials,
    )


def known_sessions(table: str, stores: Stores) -> list[date]:
    """Sessions of a table whose cut-off had passed at the stores' moment of knowledge."""
    known_at = stores.known_at
    sessions = stores.sessions(table)
    return [session for session in sessions if known_at is None or cut_off(stores.market, session) <= known_at]


def scored_sessions(stores: Stores) -> list[date]:
    """Known sessions with scores of ours or under vectors from outside, in order."""
    return sorted({*known_sessions("scores", stores), *known_sessions(VECTOR_SCORES.name, stores)})


def oracle_file(stores: Stores) -> Path:
    """The file in which the synthetic exchange leaves its oracle."""
    return stores.settings.home / "synthetic" / "answers" / "oracle.parquet"


def _oracle(stores: Stores) -> pl.DataFrame | None:
    path = oracle_file(stores)
    if not path.is_file():
        return None
    schema = {"session": pl.Date, "symbol": pl.String, **dict.fromkeys(ORACLE.values(), pl.Float64)}
    try:
        answers = pl.read_parquet(path, columns=list(schema), glob=False).cast(schema)  # type: ignore[arg-type]
    except (PolarsError, PanicException, OSError, ValueError) as error:
        raise StoreCorrupt(
            code="FPM-IN-197",
            wrong=f"{path.name} cannot be read ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]})",
            effect="no figure was made",
            todo="run fpm demo into a new home; or delete the file, then the figures come without the oracle's",
        ) from None
    return stores.under_names(answers)


def stream_figures(evidence: Evidence, config: EvaluationConfig) -> dict[str, Figures]:
    """Every figure of every stream."""
    return {
        name: evaluate(evidence.stream(name), evidence.labels, config, evidence.around) for name in evidence.streams
    }


def oracle_shares(evidence: Evidence, config: EvaluationConfig) -> dict[str, Share]:
    """Each stream's share of the oracle's RankIC; empty on real bars."""
    if evidence.oracle is None:
        return {}
    return {
        name: oracle_share(
            evidence.stream(name), evidence.oracle.select("session", "symbol", score=column), evidence.labels, config
        )
        for name, column in ORACLE.items()
        if name in evidence.streams
    }


def comparisons(evidence: Evidence, config: EvaluationConfig) -> dict[str, Comparison]:
    """Paired differences between streams, by "left minus right"; one from outside beside its own of ours."""
    pairs = [("dual", "fingerprint"), ("dual", "traditional"), ("fingerprint", "traditional")]
    others = [name for name in evidence.streams if name not in STREAMS]
    pairs += [(name, "dual" if name.endswith(".dual") else "fingerprint") for name in others]
    return {
        f"{left} {MINUS} {right}": compare(evidence.stream(left), evidence.stream(right), evidence.labels, config)
        for left, right in pairs
        if left in evidence.streams and right in evidence.streams
    }


def promises(evidence: Evidence) -> dict[str, list[Promise]]:
    """How often the intervals that were served held, by stream and part; empty where there are none."""
    rows = outcomes(evidence.intervals, evidence.scores, evidence.labels)
    sizes = evidence.around.sizes
    around = evidence.daily.select("session", "symbol", "industry")
    if sizes is None:
        around = around.with_columns(size=pl.lit(None, dtype=pl.Float64))
    else:
        around = around.join(sizes, on=["session", "symbol"], how="left")
    parts = {name: by_part(rows.filter(pl.col("stream") == name), around) for name in evidence.streams}
    return {name: own for name, own in parts.items() if own}


def portfolios(stores: Stores, last: date | None = None) -> dict[str, Performance]:
    """Figures of each index's portfolio, to `last` or the last session that has one."""
    sessions = known_sessions("nav", stores)
    if not sessions:
        return {}
    last = max([*sessions, *([last] if last else [])])
    indices = stores.read_served("nav", sessions[0], last, columns=["index"])["index"].unique().sort().to_list()
    return {index: index_performance(index, sessions[0], last, stores) for index in indices}


def _rebalances(stores: Stores) -> list[Rebalance]:
    """The last decision of every index: bounds that gave way, and what each bound costs."""
    sessions = known_sessions("decisions", stores)
    if not sessions:
        return []
    decisions = stores.read_served("decisions", sessions[0], sessions[-1]).sort("session")
    newest = decisions.unique("index", keep="last", maintain_order=True).sort("index")
    return [
        Rebalance(row["index"], row["session"], json.loads(row["relaxed"]), json.loads(row["shadow"]))
        for row in newest.iter_rows(named=True)
    ]


def spread(scores: pl.DataFrame) -> list[tuple[date, float]]:
    """Mean spread over the seeds by session, in units of the scores' cross-sectional deviation."""
    rows = []
    for (session,), part in scores.sort("session", "symbol").partition_by("session", as_dict=True).items():
        deviation = part["score"].to_numpy().std()
        mean = part["spread"].mean()
        if deviation > 0 and isinstance(mean, float):
            rows.append((session, mean / float(deviation)))
    return rows
