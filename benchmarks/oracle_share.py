"""How much of the synthetic exchange's answer a scorer finds with given vectors: one fold, out of sample.

The scorer is trained as the product trains it (`fpm.nn.scorer.streams`), on labels that end before the test begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl
from exchange_rows import ExchangeRows

from fpm import cross_section, walk_forward
from fpm.errors import TryLater
from fpm.evaluation.comparison import compare, oracle_share
from fpm.evaluation.evaluate import EvaluationConfig
from fpm.evaluation.figures import Comparison, Share
from fpm.features.daily_factors import daily_factors
from fpm.features.labels import labels
from fpm.nn.fit import Watch
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import ScorerConfig
from fpm.nn.scorer.panel import panel
from fpm.walk_forward import FoldConfig, Split, split

ORACLE = {"fingerprint": "intraday", "traditional": "daily", "dual": "combined"}


@dataclass(frozen=True)
class Answer:
    """Everything but the vectors: daily values and factors by symbol and session, labels, and the fold."""

    daily: pl.DataFrame
    labels: pl.DataFrame
    split: Split
    test: tuple[date, ...]


def answer(of: ExchangeRows, config: FoldConfig) -> Answer:
    """What every scorer of this exchange shares."""
    days, daily = of.days, of.daily
    if "turnover" not in daily.columns:
        daily = daily.with_columns(turnover=pl.col("volume") / pl.col("float_shares"))
    factors = pl.concat(daily_factors(daily, day).with_columns(session=pl.lit(day)) for day in days)
    told = [_labels(daily, day) for day in days]
    test = tuple(day for day in days if day >= of.first_test)
    through = max(day for day in days if day < of.first_test)
    return Answer(
        daily.join(factors, on=["session", "symbol"], how="inner"), pl.concat(told), split(days, through, config), test
    )


def by_fold(to: Answer, of: ExchangeRows, config: FoldConfig) -> list[Answer]:
    """The same, fold by fold: every `config.refit` sessions of the test the scorer is trained anew on all before."""
    folds = walk_forward.folds(of.days, of.first_test, of.days[-1], config)
    return [replace(to, split=Split(fold.train, fold.validation), test=fold.test) for fold in folds]


def scores(z_ND: np.ndarray, of: ExchangeRows, to: Answer, config: ScorerConfig) -> pl.DataFrame:
    """session, symbol, stream, score, spread of every test session."""
    rows = pl.DataFrame(
        {
            "symbol": of.rows.symbols,
            "session": of.rows.sessions,
            "fingerprint": pl.Series(z_ND.astype(np.float32), dtype=pl.Array(pl.Float32, z_ND.shape[1])),
        }
    ).filter(pl.Series(np.isfinite(z_ND).all(axis=1)))
    frame = rows.join(to.daily, on=["session", "symbol"], how="inner").with_columns(vintage=pl.lit("benchmark"))
    whole = panel(frame, of.days)
    learnt, _ = streams.train(whole, to.labels, to.split, config, Watch())
    made = [streams.scores(learnt, whole, day)[0].with_columns(session=pl.lit(day)) for day in to.test]
    return pl.concat(made)


def shares(scored: pl.DataFrame, of: ExchangeRows, to: Answer, config: EvaluationConfig) -> dict[str, Share]:
    """Each stream's part of its oracle's RankIC over the test."""
    return {
        name: oracle_share(
            _stream(scored, name), of.oracle.select("session", "symbol", score=column), to.labels, config
        )
        for name, column in ORACLE.items()
        if name in set(scored["stream"])
    }


def against(
    scored: pl.DataFrame, pairs: Sequence[tuple[str, str]], to: Answer, config: EvaluationConfig
) -> dict[str, Comparison]:
    """Paired differences of streams' RankIC."""
    return {
        f"{left} - {right}": compare(_stream(scored, left), _stream(scored, right), to.labels, config)
        for left, right in pairs
    }


def _stream(scored: pl.DataFrame, name: str) -> pl.DataFrame:
    return scored.filter(pl.col("stream") == name)


def _labels(daily: pl.DataFrame, session: date) -> pl.DataFrame:
    try:
        return labels(daily, session).with_columns(session=pl.lit(session))
    except TryLater:  # the newest sessions have no label yet
        return pl.DataFrame(schema={"symbol": pl.String, "label": pl.Float64, "session": pl.Date})


# --- a linear reading: quick, and without a network's own luck -----------------------------------------------------
LAGS = 5  # sessions whose drivers a label holds
RIDGES = (1e2, 1e3, 1e4, 1e5)


def linear_scores(z_ND: np.ndarray, of: ExchangeRows, to: Answer) -> pl.DataFrame:
    """session, symbol, score of the test: a ridge of the label's rank on the vectors of the last five sessions.

    Its strength is chosen on the validation sessions.
    """
    place, x_NLD = {day: t for t, day in enumerate(of.days)}, lagged(z_ND, of)
    day_N = np.array([place[session] for session in of.rows.sessions])
    keys = pl.DataFrame({"symbol": of.rows.symbols, "session": of.rows.sessions})
    target_N = keys.join(to.labels, on=["symbol", "session"], how="left", maintain_order="left")["label"]
    rank_N = _ranked(np.array(target_N.to_numpy(), dtype=np.float64), day_N)
    train, held, test = (np.isin(day_N, [place[day] for day in part]) for part in (*_parts(to.split), to.test))
    known_N = np.isfinite(rank_N)
    gram, cross = _normal(x_NLD[train & known_N], rank_N[train & known_N])
    slopes = {ridge: np.linalg.solve(gram + ridge * np.eye(len(gram)), cross) for ridge in RIDGES}
    best = max(
        RIDGES, key=lambda ridge: np.corrcoef(x_NLD[held & known_N] @ slopes[ridge], rank_N[held & known_N])[0, 1]
    )
    return keys.filter(pl.Series(test)).with_columns(score=pl.Series(x_NLD[test] @ slopes[best], dtype=pl.Float64))


def lagged(z_ND: np.ndarray, of: ExchangeRows) -> np.ndarray:
    """The vectors of a symbol's present and earlier sessions side by side, in standard units of the sessions before
    the test, less their session's mean; 0 where there is none.
    """
    symbols = {symbol: s for s, symbol in enumerate(sorted(set(of.rows.symbols)))}
    place = {day: t for t, day in enumerate(of.days)}
    t_N = np.array([place[session] for session in of.rows.sessions])
    s_N = np.array([symbols[symbol] for symbol in of.rows.symbols])
    grid_TSD = np.full((len(place), len(symbols), z_ND.shape[1]), np.nan, np.float32)
    grid_TSD[t_N, s_N] = (z_ND - np.nanmean(z_ND[~of.unseen_N], axis=0)) / (
        np.nanstd(z_ND[~of.unseen_N], axis=0) + 1e-9
    )
    grid_TSD = np.nan_to_num(grid_TSD - np.nanmean(grid_TSD, axis=1, keepdims=True))
    past = [np.where((t_N >= lag)[:, None], grid_TSD[np.maximum(t_N - lag, 0), s_N], 0) for lag in range(LAGS)]
    return np.concatenate(past, axis=1)


def _parts(of: Split) -> tuple[tuple[date, ...], tuple[date, ...]]:
    return of.train, of.validation


def _normal(x_ND: np.ndarray, y_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (x_ND.T @ x_ND).astype(np.float64), (x_ND.T @ y_N.astype(np.float32)).astype(np.float64)


def _ranked(label_N: np.ndarray, day_N: np.ndarray) -> np.ndarray:
    """Standard ranks within each session; NaN where there is no label."""
    ranked_N = np.full(len(label_N), np.nan)
    for day in np.unique(day_N):
        rows = np.flatnonzero((day_N == day) & np.isfinite(label_N))
        if len(rows) > 1:
            ranked_N[rows] = cross_section.z_score(cross_section.rank(label_N[rows]))
    return ranked_N
