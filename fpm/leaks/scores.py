"""Leak checks of scores and labels: shuffled labels, a shifted calendar, the sessions of a label.

Scores and labels are frames (session, symbol, value). Shapes: T sessions, N symbols, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
import polars as pl

from fpm.cross_section import z_score
from fpm.evaluation.rank_ic import rank_ic
from fpm.leaks.checks import Finding, Frames, difference
from fpm.panels import Floats, axes, pivot

SHUFFLED, SHIFTED, LABELS = "shuffled labels", "shifted calendar", "label window"
DRAWS = 20
BAND = 5.0  # standard errors: one false alarm in a million
LAGS = 6
PLAUSIBLE = 0.5  # mean RankIC with the return of one future session; published factors have 0.02 to 0.15
PENALTY = 1.0  # of the ridge, whose inputs have variance one
Score = Callable[[pl.DataFrame], pl.DataFrame]  # labels -> scores
Fold = tuple[Sequence[date], Sequence[date]]  # train, test


def shuffle(labels: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Labels permuted at random within each session."""
    generator = np.random.default_rng(seed)
    parts = labels.sort("session", "symbol").partition_by("session", maintain_order=True)
    return pl.concat(
        part.with_columns(pl.Series("label", generator.permutation(part["label"].to_numpy()))) for part in parts
    )


def shuffled_labels(column: str, score: Score, labels: pl.DataFrame, draws: int = DRAWS) -> Finding | None:
    """No score may predict shuffled labels: its mean RankIC with them must lie within the null band.

    `score` maps labels (session, symbol, label) to scores (session, symbol, score): a stored column ignores them, a
    training learns from them. Within a session of n symbols the correlation with shuffled labels has mean 0 and
    variance exactly 1 / (n - 1), ties or not (Pitman 1937, "Significance tests which may be applied to samples from
    any populations II"), and sessions are independent, so the band needs no simulation. The finding names the session
    with the largest correlation.
    """
    total, variance, largest, session = 0.0, 0.0, 0.0, None
    for seed in range(draws):
        shuffled = shuffle(labels, seed)
        scores = score(shuffled)
        sessions, symbols = axes(scores)
        score_TN, label_TN = pivot(scores, "score", sessions, symbols), pivot(shuffled, "label", sessions, symbols)
        series_T = rank_ic(score_TN, label_TN)
        finite_T = np.isfinite(series_T)
        pairs_T = (np.isfinite(score_TN) & np.isfinite(label_TN)).sum(axis=1)[finite_T]
        total, variance = total + float(series_T[finite_T].sum()), variance + float((1 / (pairs_T - 1)).sum())
        if finite_T.any() and np.nanmax(np.abs(series_T)) > largest:
            t = int(np.nanargmax(np.abs(series_T)))
            largest, session = abs(float(series_T[t])), sessions[t]
    if variance == 0 or abs(total) <= BAND * np.sqrt(variance):
        return None
    return Finding(SHUFFLED, column, session, f"predicts shuffled labels by {total / np.sqrt(variance):.1f} errors")


def shifted_calendar(column: str, scores: pl.DataFrame, closes: pl.DataFrame, lags: int = LAGS) -> Finding | None:
    """The RankIC of score(t) with the return of one session t + k, k = 1 ... lags, must be plausible.

    `scores`: session, symbol, score. `closes`: session, symbol, adjusted close of consecutive sessions reaching past
    the scores. Returns up to k = 0 are known at t; a mean RankIC with a later one that exceeds `PLAUSIBLE` by two
    standard errors must come from the future. The finding names the session of the best fit.
    """
    days, symbols = axes(closes, scores)
    close_TN, score_TN = pivot(closes, "close", days, symbols), pivot(scores, "score", days, symbols)
    for lag in range(1, min(lags, len(days) - 1) + 1):
        series_T = rank_ic(score_TN[:-lag], close_TN[lag:] / close_TN[lag - 1 : -1] - 1)
        finite = series_T[np.isfinite(series_T)]
        if len(finite) > 2 and abs(finite.mean()) - 2 * finite.std(ddof=1) / np.sqrt(len(finite)) > PLAUSIBLE:
            session = days[int(np.nanargmax(np.abs(series_T)))]
            explanation = f"RankIC {finite.mean():.2f} with the return of {lag} session{'s' * (lag > 1)} later"
            return Finding(SHIFTED, column, session, explanation)
    return None


def label_window(
    labels: Callable[[Frames], pl.DataFrame], daily: pl.DataFrame, session: date, window: Sequence[date]
) -> Finding | None:
    """A label of `session` may depend only on the first and last close of its `window`, its entry and its exit.

    `labels` maps {"daily_bars": ...} to session, symbol, label. The check distorts every other close, that of `session`
    itself included, at which a score of that night cannot be acted on.
    """
    ends = [window[0], window[-1]]
    same = pl.col("session").is_in(ends)
    changed = daily.with_columns(pl.when(same).then(pl.col("close")).otherwise(pl.col("close") * _factors(daily)))
    finding = difference(LABELS, "labels", labels({"daily_bars": daily}), labels({"daily_bars": changed}), "session")
    return finding and Finding(LABELS, finding.column, session, f"depends on closes besides {ends[0]} and {ends[1]}")


def _factors(daily: pl.DataFrame) -> pl.Series:
    """A factor for each row, different between neighbours."""
    return pl.Series(0.5 + np.arange(len(daily)) % 7 / 5)


def ridge(features: pl.DataFrame, names: Sequence[str], folds: Sequence[Fold]) -> Score:
    """A cheap scorer that learns: it maps labels to scores of every fold's test sessions, by a ridge on its train.

    `features`: session, symbol and the columns `names`, which are z-scored within each session, missing values as 0.
    """
    standard = pl.concat(
        part.with_columns(
            pl.Series(name, np.nan_to_num(z_score(part[name].cast(pl.Float64).fill_null(float("nan")).to_numpy())))
            for name in names
        )
        for part in features.partition_by("session", maintain_order=True)
    )

    def score(labels: pl.DataFrame) -> pl.DataFrame:
        joined = standard.join(labels.drop_nulls("label"), on=["session", "symbol"], how="inner")
        parts = []
        for train, test in folds:
            samples = joined.filter(pl.col("session").is_in(list(train)))
            weight_F = _ridge_weights(samples.select(names).to_numpy(), samples["label"].to_numpy())
            rows = standard.filter(pl.col("session").is_in(list(test)))
            parts.append(rows.select("session", "symbol", score=pl.Series(rows.select(names).to_numpy() @ weight_F)))
        return pl.concat(parts)

    return score


def _ridge_weights(x_NF: Floats, y_N: Floats) -> Floats:
    gram_FF = x_NF.T @ x_NF + PENALTY * np.eye(x_NF.shape[1])
    return np.asarray(np.linalg.solve(gram_FF, x_NF.T @ (y_N - y_N.mean())), dtype=np.float64)


def planted_scores(closes: pl.DataFrame) -> pl.DataFrame:
    """A planted leak: the return of the next session as a score."""
    next_return = pl.col("close").shift(-1).over("symbol", order_by="session") / pl.col("close") - 1
    return closes.select("session", "symbol", score=next_return).drop_nulls("score")
