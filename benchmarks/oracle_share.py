"""Share of the synthetic exchange's answer that a scorer finds from vectors: one fold, out of sample.

The scorer is trained like the product's (`fpm.nn.scorer.streams`), on labels that end before the test begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl
from exchange_rows import ExchangeRows

from fpm import cross_section, walk_forward
from fpm.evaluation.comparison import compare, oracle_share
from fpm.evaluation.evaluate import EvaluationConfig
from fpm.evaluation.figures import Comparison, Share
from fpm.features.daily_factors import daily_factors
from fpm.features.labels import labels
from fpm.nn.fit import Watch
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import ScorerConfig
from fpm.nn.scorer.panel import panel
from fpm.schema import HORIZON
from fpm.walk_forward import FoldConfig, Split, split

ORACLE = {"fingerprint": "intraday", "traditional": "daily", "dual": "combined"}


@dataclass(frozen=True)
class Answer:
    """All inputs but the vectors: daily values and factors by symbol and session, labels, and the fold."""

    daily: pl.DataFrame
    labels: pl.DataFrame
    split: Split
    test: tuple[date, ...]


def answer(exchange: ExchangeRows, config: FoldConfig) -> Answer:
    """Return the inputs that all scorers of this exchange share."""
    days, daily = exchange.days, exchange.daily
    if "turnover" not in daily.columns:
        daily = daily.with_columns(turnover=pl.col("volume") / pl.col("float_shares"))
    factors = pl.concat(daily_factors(daily, day).with_columns(session=pl.lit(day)) for day in days)
    reach = HORIZON + 1  # the newest sessions have no label yet
    labelled = zip(days[:-reach], days[1:], days[reach:], strict=False)
    frames = [labels(daily, day, (start, end)).with_columns(session=pl.lit(day)) for day, start, end in labelled]
    test = tuple(day for day in days if day >= exchange.first_test)
    through = max(day for day in days if day < exchange.first_test)
    return Answer(
        daily.join(factors, on=["session", "symbol"], how="inner"),
        pl.concat(frames),
        split(days, through, config),
        test,
    )


def by_fold(answers: Answer, exchange: ExchangeRows, config: FoldConfig) -> list[Answer]:
    """Split the test into folds of `config.refit` sessions; a scorer trains anew for each on all sessions before."""
    folds = walk_forward.folds(exchange.days, exchange.first_test, exchange.days[-1], config)
    return [replace(answers, split=Split(fold.train, fold.validation), test=fold.test) for fold in folds]


def scores(z_ND: np.ndarray, exchange: ExchangeRows, answers: Answer, config: ScorerConfig) -> pl.DataFrame:
    """Return session, symbol, stream, score and spread of every test session."""
    rows = pl.DataFrame(
        {
            "symbol": exchange.rows.symbols,
            "session": exchange.rows.sessions,
            "fingerprint": pl.Series(z_ND.astype(np.float32), dtype=pl.Array(pl.Float32, z_ND.shape[1])),
        }
    ).filter(pl.Series(np.isfinite(z_ND).all(axis=1)))
    frame = rows.join(answers.daily, on=["session", "symbol"], how="inner").with_columns(vintage=pl.lit("benchmark"))
    whole = panel(frame, exchange.days)
    scorer, _ = streams.train(whole, answers.labels, answers.split, config, Watch())
    frames = [streams.scores(scorer, whole, day)[0].with_columns(session=pl.lit(day)) for day in answers.test]
    return pl.concat(frames)


def shares(scored: pl.DataFrame, exchange: ExchangeRows, answers: Answer, config: EvaluationConfig) -> dict[str, Share]:
    """Return each stream's share of its oracle's RankIC over the test."""
    return {
        name: oracle_share(
            _stream(scored, name), exchange.oracle.select("session", "symbol", score=column), answers.labels, config
        )
        for name, column in ORACLE.items()
        if name in set(scored["stream"])
    }


def against(
    scored: pl.DataFrame, pairs: Sequence[tuple[str, str]], answers: Answer, config: EvaluationConfig
) -> dict[str, Comparison]:
    """Return paired differences of the streams' RankIC."""
    return {
        f"{left} - {right}": compare(_stream(scored, left), _stream(scored, right), answers.labels, config)
        for left, right in pairs
    }


def _stream(scored: pl.DataFrame, name: str) -> pl.DataFrame:
    return scored.filter(pl.col("stream") == name)


# --- a linear model: quick, and without a network's randomness ----------------------------------------------------
LAGS = 5  # sessions whose drivers a label contains
RIDGES = (1e2, 1e3, 1e4, 1e5)


def linear_scores(z_ND: np.ndarray, exchange: ExchangeRows, answers: Answer) -> pl.DataFrame:
    """Return session, symbol and score of the test: a ridge of the label's rank on the last five sessions' vectors.

    The validation sessions decide its strength.
    """
    number_of, x_NLD = {day: t for t, day in enumerate(exchange.days)}, lagged(z_ND, exchange)
    keys = pl.DataFrame({"symbol": exchange.rows.symbols, "session": exchange.rows.sessions})
    rank_N, day_N = ranked_labels(exchange, answers)
    train, validation, test = (
        np.isin(day_N, [number_of[day] for day in part])
        for part in (answers.split.train, answers.split.validation, answers.test)
    )
    labelled_N = np.isfinite(rank_N)
    gram, cross = _normal(x_NLD[train & labelled_N], rank_N[train & labelled_N])
    slopes = {ridge: np.linalg.solve(gram + ridge * np.eye(len(gram)), cross) for ridge in RIDGES}
    best = max(
        RIDGES,
        key=lambda ridge: np.corrcoef(x_NLD[validation & labelled_N] @ slopes[ridge], rank_N[validation & labelled_N])[
            0, 1
        ],
    )
    return keys.filter(pl.Series(test)).with_columns(score=pl.Series(x_NLD[test] @ slopes[best], dtype=pl.Float64))


def ranked_labels(exchange: ExchangeRows, answers: Answer) -> tuple[np.ndarray, np.ndarray]:
    """Return each row's label as a standardised rank within its session, NaN without one, and the session's number."""
    number_of = {day: t for t, day in enumerate(exchange.days)}
    day_N = np.array([number_of[session] for session in exchange.rows.sessions])
    keys = pl.DataFrame({"symbol": exchange.rows.symbols, "session": exchange.rows.sessions})
    target_N = keys.join(answers.labels, on=["symbol", "session"], how="left", maintain_order="left")["label"]
    return _ranked(np.array(target_N.to_numpy(), dtype=np.float64), day_N), day_N


def lagged(z_ND: np.ndarray, exchange: ExchangeRows) -> np.ndarray:
    """Return the vectors of a symbol's present and earlier sessions side by side; 0 for a missing one.

    They are standardised by the sessions before the test, and their session's mean is subtracted.
    """
    symbols = {symbol: s for s, symbol in enumerate(sorted(set(exchange.rows.symbols)))}
    number_of = {day: t for t, day in enumerate(exchange.days)}
    t_N = np.array([number_of[session] for session in exchange.rows.sessions])
    s_N = np.array([symbols[symbol] for symbol in exchange.rows.symbols])
    grid_TSD = np.full((len(number_of), len(symbols), z_ND.shape[1]), np.nan, np.float32)
    grid_TSD[t_N, s_N] = (z_ND - np.nanmean(z_ND[~exchange.unseen_N], axis=0)) / (
        np.nanstd(z_ND[~exchange.unseen_N], axis=0) + 1e-9
    )
    grid_TSD = np.nan_to_num(grid_TSD - np.nanmean(grid_TSD, axis=1, keepdims=True))
    past = [np.where((t_N >= lag)[:, None], grid_TSD[np.maximum(t_N - lag, 0), s_N], 0) for lag in range(LAGS)]
    return np.concatenate(past, axis=1)


def _normal(x_ND: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (x_ND.T @ x_ND).astype(np.float64), (x_ND.T @ y_N.astype(np.float32)).astype(np.float64)


def _ranked(label_N: np.ndarray, day_N: np.ndarray) -> np.ndarray:
    """Return standardised ranks within each session; NaN without a label."""
    ranked_N = np.full(len(label_N), np.nan)
    for day in np.unique(day_N):
        rows = np.flatnonzero((day_N == day) & np.isfinite(label_N))
        if len(rows) > 1:
            ranked_N[rows] = cross_section.z_score(cross_section.rank(label_N[rows]))
    return ranked_N
