"""Does a score know its own answer: labels that were shuffled, a calendar that was shifted, a label's own sessions.

T sessions, N symbols, F features. Scores and labels are frames (session, symbol, value), as elsewhere.
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
BAND = 5.0  # standard errors; a check that cries once in a million is believed when it does
LAGS = 6
PLAUSIBLE = 0.5  # mean RankIC with ONE coming session's return; published factors have 0.02 to 0.15
PENALTY = 1.0  # of the ridge; inputs have variance one
Score = Callable[[pl.DataFrame], pl.DataFrame]  # labels -> scores
Fold = tuple[Sequence[date], Sequence[date]]  # train, test


def shuffled(labels: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The labels of each session dealt anew among its symbols."""
    drawn = np.random.default_rng(seed)
    parts = labels.sort("session", "symbol").partition_by("session", maintain_order=True)
    return pl.concat(
        part.with_columns(pl.Series("label", drawn.permutation(part["label"].to_numpy()))) for part in parts
    )


def shuffled_labels(column: str, score: Score, labels: pl.DataFrame, draws: int = DRAWS) -> Finding | None:
    """Mean RankIC with shuffled labels of what `score` makes of them must lie within its null band.

    `score` maps labels (session, symbol, label) to scores (session, symbol, score): a stored column ignores them, a
    training learns from them. Within a session of n symbols the correlation with labels dealt at random has mean 0 and
    variance exactly 1 / (n - 1), ties or not (Pitman 1937, "Significance tests which may be applied to samples from
    any populations II"), and sessions are independent, so the band needs no simulation.
    """
    sums, variance, worst, where = 0.0, 0.0, 0.0, None
    for seed in range(draws):
        dealt = shuffled(labels, seed)
        made = score(dealt)
        sessions, symbols = axes(made)
        score_TN, label_TN = pivot(made, "score", sessions, symbols), pivot(dealt, "label", sessions, symbols)
        series_T = rank_ic(score_TN, label_TN)
        known_T = np.isfinite(series_T)
        pairs_T = (np.isfinite(score_TN) & np.isfinite(label_TN)).sum(axis=1)[known_T]
        sums, variance = sums + float(series_T[known_T].sum()), variance + float((1 / (pairs_T - 1)).sum())
        if known_T.any() and np.nanmax(np.abs(series_T)) > worst:
            at = int(np.nanargmax(np.abs(series_T)))
            worst, where = abs(float(series_T[at])), sessions[at]
    if variance == 0 or abs(sums) <= BAND * np.sqrt(variance):
        return None
    return Finding(SHUFFLED, column, where, f"finds labels dealt at random: {sums / np.sqrt(variance):.1f} errors")


def shifted_calendar(column: str, scores: pl.DataFrame, closes: pl.DataFrame, lags: int = LAGS) -> Finding | None:
    """RankIC of score(t) with the return of each single session t + k, k = 1 ... lags: none may be implausible.

    `scores`: session, symbol, score; `closes`: session, symbol, close (adjusted), of consecutive sessions reaching
    past the scores. Returns up to k = 0 are known at t, a score may be made of them; what follows is not, and a mean
    beyond `PLAUSIBLE` by two standard errors is read off the future. The session named is the one of the best fit.
    """
    days, symbols = axes(closes, scores)
    close_TN, score_TN = pivot(closes, "close", days, symbols), pivot(scores, "score", days, symbols)
    for lag in range(1, min(lags, len(days) - 1) + 1):
        series_T = rank_ic(score_TN[:-lag], close_TN[lag:] / close_TN[lag - 1 : -1] - 1)
        known = series_T[np.isfinite(series_T)]
        if len(known) > 2 and abs(known.mean()) - 2 * known.std(ddof=1) / np.sqrt(len(known)) > PLAUSIBLE:
            at = days[int(np.nanargmax(np.abs(series_T)))]
            words = f"RankIC {known.mean():.2f} with the return of {lag} session{'s' * (lag > 1)} later"
            return Finding(SHIFTED, column, at, words)
    return None


def label_window(
    labels: Callable[[Frames], pl.DataFrame], daily: pl.DataFrame, session: date, window: Sequence[date]
) -> Finding | None:
    """A label of `session` may depend on the sessions of its `window` alone: entry the close of its first.

    `labels` maps {"daily_bars": ...} to session, symbol, label. Closes of `session` itself (the price a score of that
    night cannot be acted on at), of the sessions between and of those after the exit are distorted.
    """
    ends = [window[0], window[-1]]
    kept = pl.col("session").is_in(ends)
    changed = daily.with_columns(pl.when(kept).then(pl.col("close")).otherwise(pl.col("close") * _factors(daily)))
    found = difference(LABELS, "labels", labels({"daily_bars": daily}), labels({"daily_bars": changed}), "session")
    return found and Finding(LABELS, found.column, session, f"depends on other closes than {ends[0]} and {ends[1]}")


def _factors(daily: pl.DataFrame) -> pl.Series:
    """Another factor in each row."""
    return pl.Series(0.5 + np.arange(len(daily)) % 7 / 5)


def ridge(features: pl.DataFrame, names: Sequence[str], folds: Sequence[Fold]) -> Score:
    """A cheap scorer that learns: labels -> scores of every fold's test sessions by a ridge on its train sessions.

    `features`: session, symbol and the columns `names`, z-scored within each session, missing 0.
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
            seen = joined.filter(pl.col("session").is_in(list(train)))
            weights_F = _fitted(seen.select(names).to_numpy(), seen["label"].to_numpy())
            asked = standard.filter(pl.col("session").is_in(list(test)))
            parts.append(asked.select("session", "symbol", score=pl.Series(asked.select(names).to_numpy() @ weights_F)))
        return pl.concat(parts)

    return score


def _fitted(x_NF: Floats, y_N: Floats) -> Floats:
    gram_FF = x_NF.T @ x_NF + PENALTY * np.eye(x_NF.shape[1])
    return np.asarray(np.linalg.solve(gram_FF, x_NF.T @ (y_N - y_N.mean())), dtype=np.float64)


def planted_scores(closes: pl.DataFrame) -> pl.DataFrame:
    """The leak the suite plants on itself: the coming session's return as a score."""
    coming = pl.col("close").shift(-1).over("symbol", order_by="session") / pl.col("close") - 1
    return closes.select("session", "symbol", score=coming).drop_nulls("score")
