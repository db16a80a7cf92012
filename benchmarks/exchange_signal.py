"""Share of the synthetic exchange's answer that simple, proven statistics of the minutes find.

Run `python benchmarks/exchange_signal.py [sessions]`. Shares of the intraday oracle's RankIC over the second half of
the sessions: styles estimated by formula and mixed like the oracle (nearly the upper bound of an encoder); the same
estimates mixed by a ridge fitted on the first half (the limit of learning from so few labels); the principal components
of ten-minute volume shapes mixed by such a ridge (the result of an encoder that ignores |return|).
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from fpm.exchange.days import REMAINING_L
from fpm.exchange.prices import CLOCK_T, CONTINUOUS, ROWS
from fpm.exchange.simulate import PRESETS, ExchangeConfig, simulate

LAGS = len(REMAINING_L)
BINS, COMPONENTS, RIDGE, HORIZON = 24, 6, 30.0, 6


def readings(bars: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return mean volume time and co-movement of log volume with |return|, (S, 2); log shares of bins, (S, BINS)."""
    volume_SC = bars["volume"].to_numpy().reshape(-1, ROWS)[:, CONTINUOUS].astype(float)
    close_SC = bars["close"].to_numpy().reshape(-1, ROWS)[:, : CONTINUOUS.stop]
    move_SC, log_SC = np.abs(np.diff(np.log(close_SC), axis=1)), np.log1p(volume_SC)
    timing_S = volume_SC @ CLOCK_T[CONTINUOUS] / volume_SC.sum(axis=1)
    together_S = [np.corrcoef(a, b)[0, 1] for a, b in zip(move_SC, log_SC, strict=True)]
    bins = np.array_split(np.arange(volume_SC.shape[1]), BINS)
    shape_SB = np.column_stack([volume_SC[:, part].sum(axis=1) for part in bins]) / volume_SC.sum(axis=1)[:, None]
    return np.column_stack([timing_S, together_S]), np.log(shape_SB + 1e-4)


def panel(config: ExchangeConfig) -> dict[str, np.ndarray]:
    """Return readings, shapes, oracle and adjusted close over (sessions, symbols, ...), NaN without a trade."""
    blank = np.full((config.sessions, config.symbols), np.nan)
    arrays = {"oracle": blank, "close": blank.copy(), "reading": np.full((*blank.shape, 2), np.nan)}
    arrays["shape"] = np.full((*blank.shape, BINS), np.nan)
    column_of: dict[str, int] = {}
    for t, tables in enumerate(simulate(config)):
        daily = [column_of.setdefault(symbol, len(column_of)) for symbol in tables.daily_bars["symbol"]]
        traded = [column_of[symbol] for symbol in tables.oracle["symbol"]]
        arrays["close"][t, daily] = (tables.daily_bars["close"] * tables.daily_bars["adj_factor"]).to_numpy()
        arrays["oracle"][t, traded] = tables.oracle["intraday"].to_numpy()
        arrays["reading"][t, traded], arrays["shape"][t, traded] = readings(tables.minute_bars)
    return arrays


def standard(x_TSF: np.ndarray) -> np.ndarray:
    """Standardise within the session's cross-section; 0 without a trade."""
    spread_T1F = np.nanstd(x_TSF, axis=1, keepdims=True)
    return np.asarray(np.nan_to_num((x_TSF - np.nanmean(x_TSF, axis=1, keepdims=True)) / spread_T1F))


def lagged(x_TSF: np.ndarray) -> np.ndarray:
    """Return the features of t, t-1, .. side by side; 0 before the first session."""
    parts = [np.concatenate([np.zeros_like(x_TSF[:lag]), x_TSF[: len(x_TSF) - lag]]) for lag in range(LAGS)]
    return np.concatenate(parts, axis=-1)


def ridge_score(x_TSF: np.ndarray, label_TS: np.ndarray, split: int) -> np.ndarray:
    """Return all scores of a ridge fitted on labels that end before `split`."""
    labelled_TS = np.isfinite(label_TS)
    labelled_TS[split - HORIZON :] = False
    design, target = x_TSF[labelled_TS], label_TS[labelled_TS]
    gram = design.T @ design + RIDGE * np.eye(design.shape[1])
    return np.asarray(x_TSF @ np.linalg.solve(gram, design.T @ target))


def rank_ic(score_TS: np.ndarray, label_TS: np.ndarray, split: int) -> float:
    """Return the mean RankIC over the sessions with labels from `split` on."""
    series = []
    for score_S, label_S in zip(score_TS[split:-HORIZON], label_TS[split:-HORIZON], strict=True):
        both_S = np.isfinite(label_S) & np.isfinite(score_S)
        series.append(spearmanr(score_S[both_S], label_S[both_S])[0])
    return float(np.mean(series))


def main(sessions: int) -> None:
    config = replace(PRESETS["demo"], sessions=sessions, spoiled_every=0)
    arrays, split = panel(config), sessions // 2
    raw_TS = np.full_like(arrays["close"], np.nan)
    raw_TS[:-HORIZON] = arrays["close"][HORIZON:] / arrays["close"][1 : 1 - HORIZON] - 1.0
    traded_TS = np.isfinite(arrays["oracle"]) & np.isfinite(raw_TS)
    label_TS = np.where(traded_TS, raw_TS - np.nanmean(raw_TS[:-HORIZON], axis=1).mean(), np.nan)
    mix, reading = config.impact.styles, standard(arrays["reading"])
    driver_TS1 = (mix.volume_timing * reading[..., 0] + mix.co_movement * reading[..., 1])[..., None]
    shape = standard(arrays["shape"])
    axes = np.linalg.svd(shape[:split].reshape(-1, BINS), full_matrices=False)[2][:COMPONENTS]
    scores = {
        "oracle": arrays["oracle"],
        "styles by formula": lagged(driver_TS1) @ REMAINING_L,
        "styles by ridge": ridge_score(lagged(reading), label_TS, split),
        "volume shapes by ridge": ridge_score(lagged(shape @ axes.T), label_TS, split),
    }
    best = rank_ic(arrays["oracle"], label_TS, split)
    for name, score_TS in scores.items():
        value = rank_ic(score_TS, label_TS, split)
        sys.stdout.write(f"{name:24} RankIC {value:6.3f}  share of the oracle {value / best:5.2f}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PRESETS["demo"].sessions)
