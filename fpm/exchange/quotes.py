"""Quotes of a synthetic session: bars and mean prices of its rows.

Letters in array names: S symbols, T vendor rows of a session, P prices of a bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fpm.exchange.bends import bent_path, extremes, keep_extremes, trends, waves
from fpm.exchange.days import TICKS, Day
from fpm.exchange.prices import CONTINUOUS, ROWS, SILENT, VOLUME_C, price_bars, price_path, trade_value


@dataclass(frozen=True)
class Quotes:
    """A session's prices.

    `bars` and `mean_ST` (mean price of a row) in ticks; `usual_ST`: mean prices without styles; `step_ST`: each
    minute's standardised news, which flows follow; `traded_ST`: rows with a trade.
    """

    bars: dict[str, np.ndarray]
    mean_ST: np.ndarray
    usual_ST: np.ndarray
    step_ST: np.ndarray
    traded_ST: np.ndarray


def session_quotes(day: Day, rng: np.random.Generator) -> Quotes:
    """Draw the prices of a session."""
    value_S = day.volume_S * day.pre_close_S / TICKS
    expected_SC = (value_S / trade_value(value_S))[:, None] * VOLUME_C
    traded_ST = np.ones((len(value_S), ROWS), bool)
    traded_ST[:, CONTINUOUS] = rng.random(expected_SC.shape) >= np.exp(-expected_SC)
    traded_ST[:, SILENT] = False
    path_ST, step_ST = price_path(day, rng)
    noise_PST = rng.normal(0.0, 1.0, (3, *path_ST.shape))
    bars = price_bars(day, path_ST, traded_ST, noise_PST)
    pull_ST = 0.15 * rng.normal(0.0, 1.0, path_ST.shape)
    usual_ST = mean_price(bars, pull_ST)
    if day.tilts is None:
        return Quotes(bars, usual_ST, usual_ST, step_ST, traded_ST)
    turns = extremes(bars["high"][:, CONTINUOUS], bars["low"][:, CONTINUOUS])
    wave_SC = day.sigma_S[:, None] * waves(day.tilts.path[:, CONTINUOUS], *turns)
    bent_ST = bent_path(path_ST, trends(step_ST, day.tilts.momentum) * day.sigma_S[:, None], wave_SC)
    bent = keep_extremes(bars, price_bars(day, bent_ST, traded_ST, noise_PST, day.tilts.spread))
    return Quotes(bent, mean_price(bent, pull_ST), usual_ST, step_ST, traded_ST)


def mean_price(bars: dict[str, np.ndarray], pull_ST: np.ndarray) -> np.ndarray:
    """Return each row's mean price: the middle of open and close, pulled by a part of the row's range, (S, T)."""
    middle_ST = 0.5 * (bars["open"] + bars["close"])
    return np.asarray((middle_ST + pull_ST * (bars["high"] - bars["low"])).clip(bars["low"], bars["high"]))
