"""The traditional factors of one session from daily bars: the twenty classic ones of the table below, and Alpha158.

The classic factors are ratios, so a vendor that rescales its adjustment factors changes no value.

Letters in array names: H sessions, the last being the one of the factors; S symbols.

| factor | formula (r return, C O H L V A adjusted close, open, high, low, volume and amount) | source |
|---|---|---|
| return_n, n = 1 5 20 60 | C / C[n sessions before] - 1 | Jegadeesh 1990; Jegadeesh and Titman 1993 |
| volatility_20 | standard deviation of r (n - 1) | Ang, Hodrick, Xing and Zhang 2006 |
| downside_volatility_20 | root of mean min(r, 0)^2 | Bawa and Lindenberg 1977 |
| range_20 | mean (H - L) / C | Parkinson 1980, the range instead of its log |
| close_position_20 | (C - min L) / (max H - min L), 0.5 without a range | Alpha158 RSV |
| turnover_1, turnover_20 | volume / float shares, mean of it | Datar, Naik and Radcliffe 1998 |
| turnover_ratio_5_20, volume_ratio_5_20 | mean of 5 over mean of 20 | Alpha158 VMA |
| volume_shock_1 | V / mean V of the 20 sessions before - 1 | Gervais, Kaniel and Mingelgrin 2001 |
| illiquidity_20 | mean abs(r) / A, per million of currency | Amihud 2002 |
| price_volume_correlation_20 | correlation of C and ln V | Alpha158 CORR |
| gap_1 | O / previous C - 1 | Lou, Polk and Skouras 2019, overnight |
| intraday_return_1 | C / O - 1 | the same, intraday |
| max_return_20 | max r | Bali, Cakici and Whitelaw 2011 |
| skewness_20 | mean (r - mean)^3 / (mean (r - mean)^2)^1.5 | Boyer, Mitton and Vorkink 2010 |
| log_size | ln (float shares x raw close) | Banz 1981 |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.features.alpha158 import alpha158
from fpm.features.daily_panel import Array, DailyPanel, daily_panel
from fpm.schema import DAILY_FACTORS

if TYPE_CHECKING:
    from datetime import date

HISTORY = 60  # sessions before the session of the factors that the longest windows reach
PER_AMOUNT = 1e6
NO_MOVE = 1e-10  # a standard deviation of returns below this is rounding, not movement


def daily_factors(daily: pl.DataFrame, session: date) -> pl.DataFrame:
    """Return symbol and the factors of `session`, float32, null where unavailable, sorted by symbol.

    `daily`: daily bars with their `session`; rows after `session` or before its last 60 sessions have no effect. A
    classic factor over n sessions needs n sessions since the symbol's first row, at least half of them traded; factors
    of the session itself need a trade in it. Alpha158 uses the sessions that exist, see `fpm.features.alpha158`.
    """
    days = daily.filter(pl.col("session") <= session)["session"].unique().sort().to_list()[-(HISTORY + 1) :]
    symbols = daily.filter(pl.col("session") == session)["symbol"].sort().to_list()
    if not symbols:
        return pl.DataFrame(schema={"symbol": pl.String, **dict.fromkeys(DAILY_FACTORS, pl.Float32)})
    panel = daily_panel(daily.filter(pl.col("session").is_in(days) & pl.col("symbol").is_in(symbols)), days, symbols)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = _return_factors(panel) | _range_factors(panel) | _volume_factors(panel) | _session_factors(panel)
    values |= {name: x_TS[-1] for name, x_TS in alpha158(panel).items()}
    columns = {name: np.where(np.isfinite(values[name]), values[name], np.nan) for name in DAILY_FACTORS}
    series = {name: pl.Series(x_S.astype(np.float32), nan_to_null=True) for name, x_S in columns.items()}
    return pl.DataFrame({"symbol": pl.Series(symbols, dtype=pl.String)} | series)


def _return_factors(panel: DailyPanel) -> dict[str, Array]:
    returns = _window(panel.returns, panel, 20)
    centred = returns - _mean(returns)
    second, third = _mean(np.square(centred)), _mean(centred**3)
    count = np.isfinite(returns).sum(axis=0)
    return {f"return_{n}": _return_over(panel, n) for n in (1, 5, 20, 60)} | {
        "volatility_20": np.sqrt(second * count / (count - 1)),
        "downside_volatility_20": np.sqrt(_mean(np.square(np.minimum(returns, 0)))),
        "max_return_20": _extreme(np.fmax, returns),
        "skewness_20": np.where(second > NO_MOVE**2, third / second**1.5, np.nan),
    }


def _range_factors(panel: DailyPanel) -> dict[str, Array]:
    high, low = (_window(x_HS, panel, 20) for x_HS in (panel.high, panel.low))
    top, bottom = _extreme(np.fmax, high), _extreme(np.fmin, low)
    position = np.where(top > bottom, (panel.close[-1] - bottom) / (top - bottom), np.where(top == bottom, 0.5, np.nan))
    return {
        "range_20": _mean((high - low) / _window(panel.traded_close, panel, 20)),
        "close_position_20": position,
    }


def _volume_factors(panel: DailyPanel) -> dict[str, Array]:
    volume, turnover = (_window(x_HS, panel, 20) for x_HS in (panel.volume, panel.turnover))
    before = _window(panel.volume[:-1], panel, 20)
    returns, amount = (_window(x_HS, panel, 20) for x_HS in (panel.returns, panel.amount))
    return {
        "turnover_1": panel.turnover[-1],
        "turnover_20": _mean(turnover),
        "turnover_ratio_5_20": _mean(_window(panel.turnover, panel, 5)) / _mean(turnover),
        "volume_ratio_5_20": _mean(_window(panel.volume, panel, 5)) / _mean(volume),
        "volume_shock_1": panel.volume[-1] / _mean(before) - 1,
        "illiquidity_20": _mean(np.abs(returns) / amount) * PER_AMOUNT,
        "price_volume_correlation_20": _correlation(_window(panel.traded_close, panel, 20), np.log(volume)),
    }


def _session_factors(panel: DailyPanel) -> dict[str, Array]:
    previous_S = panel.close[-2] if len(panel.close) > 1 else np.full_like(panel.close[-1], np.nan)
    return {
        "gap_1": panel.open[-1] / previous_S - 1,
        "intraday_return_1": panel.traded_close[-1] / panel.open[-1] - 1,
        "log_size": np.log(panel.float_shares[-1] * panel.raw_close[-1]),
    }


def _window(x_HS: Array, panel: DailyPanel, n: int) -> Array:
    """Return the last n sessions; all NaN for a symbol with a shorter listing or fewer than half of them available."""
    last = x_HS[-n:]
    skipped = len(panel.close) - len(x_HS)
    enough = (panel.listed - skipped >= n) & (2 * np.isfinite(last).sum(axis=0) >= n)
    return np.where(enough, last, np.nan)


def _mean(x_HS: Array) -> Array:
    """Return the mean of the available sessions, added in order of time; NaN if there are none."""
    finite = np.isfinite(x_HS)
    mean: Array = np.add.reduce(np.where(finite, x_HS, 0.0), axis=0) / finite.sum(axis=0)
    return mean


def _extreme(pick: np.ufunc, x_HS: Array) -> Array:
    extreme: Array = pick.reduce(x_HS, axis=0)
    return extreme


def _return_over(panel: DailyPanel, n: int) -> Array:
    if len(panel.close) <= n:
        return np.full(panel.close.shape[1], np.nan)
    return np.where(np.isfinite(panel.traded_close[-1]), panel.close[-1] / panel.close[-1 - n] - 1, np.nan)


def _correlation(x_HS: Array, y_HS: Array) -> Array:
    """Return the Pearson correlation over the sessions; NaN if one side is constant."""
    both = np.isfinite(x_HS) & np.isfinite(y_HS)
    x, y = (np.where(both, z_HS, np.nan) for z_HS in (x_HS, y_HS))
    # Equal values minus their mean leave rounding errors that would correlate with anything.
    moves = (_extreme(np.fmax, x) > _extreme(np.fmin, x)) & (_extreme(np.fmax, y) > _extreme(np.fmin, y))
    x, y = x - _mean(x), y - _mean(y)
    scale = np.sqrt(_mean(np.square(x)) * _mean(np.square(y)))
    return np.where(moves, _mean(x * y) / scale, np.nan)
