"""The 20 classic factors of one symbol in plain Python, written from the table in `fpm.features.daily_factors`.

`days`: one mapping a session, oldest first, None before the symbol was listed; `volume` 0 where suspended.
"""

from __future__ import annotations

from math import log, nan, sqrt
from statistics import correlation, fmean, stdev
from typing import Any

Day = dict[str, Any]


def slow_factors(days: list[Day | None]) -> dict[str, float]:
    """Factors of the last day."""
    listed = [day for day in days if day is not None]
    today = listed[-1]
    closes: list[float] = []
    returns: list[float] = []
    for day in listed:
        closes.append(day["close"] * day["adj_factor"] if day["volume"] else closes[-1] if closes else nan)
        returns.append(closes[-1] / closes[-2] - 1 if day["volume"] and len(closes) > 1 else nan)
    volumes = [day["volume"] / day["adj_factor"] if day["volume"] else nan for day in listed]
    turnovers = [day["volume"] / day["float_shares"] if day["volume"] else nan for day in listed]
    highs, lows = (
        [day[name] * day["adj_factor"] if day["volume"] else nan for day in listed] for name in ("high", "low")
    )
    traded_closes = [close if day["volume"] else nan for close, day in zip(closes, listed, strict=True)]
    last_returns, last_volumes = available(returns, 20), available(volumes, 20)
    result = {f"return_{n}": change(closes, n) if today["volume"] else nan for n in (1, 5, 20, 60)}
    if last_returns:
        mean = fmean(last_returns)
        second, third = (fmean((r - mean) ** power for r in last_returns) for power in (2, 3))
        result |= {
            "volatility_20": stdev(last_returns),
            "downside_volatility_20": sqrt(fmean(min(r, 0) ** 2 for r in last_returns)),
            "max_return_20": max(last_returns),
            "skewness_20": third / second**1.5,
            "illiquidity_20": 1e6
            * fmean(abs(r) / day["amount"] for r, day in zip(returns[-20:], listed[-20:], strict=True) if r == r),
        }
    if last_volumes:
        top, bottom = max(available(highs, 20)), min(available(lows, 20))
        ranges = [(h - low) / c for h, low, c in zip(highs, lows, traded_closes, strict=True)]
        result |= {
            "range_20": fmean(available(ranges, 20)),
            "close_position_20": (closes[-1] - bottom) / (top - bottom),
            "turnover_20": fmean(available(turnovers, 20)),
            "turnover_ratio_5_20": fmean(available(turnovers, 5) or [nan]) / fmean(available(turnovers, 20)),
            "volume_ratio_5_20": fmean(available(volumes, 5) or [nan]) / fmean(last_volumes),
            "volume_shock_1": volumes[-1] / fmean(available(volumes[:-1], 20) or [nan]) - 1,
            "price_volume_correlation_20": correlation(available(traded_closes, 20), [log(v) for v in last_volumes]),
        }
    opening = today["open"] * today["adj_factor"] if today["volume"] else nan
    previous = closes[-2] if len(closes) > 1 else nan
    last_traded = [day for day in listed if day["volume"]][-1]
    return result | {
        "turnover_1": turnovers[-1],
        "gap_1": opening / previous - 1,
        "intraday_return_1": traded_closes[-1] / opening - 1,
        "log_size": log(today["float_shares"] * last_traded["close"]),
    }


def change(closes: list[float], n: int) -> float:
    return closes[-1] / closes[-1 - n] - 1 if len(closes) > n else nan


def available(values: list[float], n: int) -> list[float]:
    """Available values of the last n; none if the listing is shorter or more than half of them are missing."""
    last = [value for value in values[-n:] if value == value]
    return last if len(values) >= n and 2 * len(last) >= n else []
