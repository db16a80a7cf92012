"""Hand-made statistics of one session, which describe a fingerprint in words.

Each is one number per symbol and session, from minute features alone, NaN if an input is unavailable. Prices are
relative to the open. A flow is in units of its own ordinary minute, so shares of one flow are exact, and a comparison
of two flows (buys and sells) is relative to their usual proportion.

r is a minute's log return (the first one from the open), v its volume, p = v / sum v, tau its time in the session from
0 to 1 (the middle of minute t of T is (t + 1/2) / T). An *edge* is the first or last hour, or a quarter of a session
shorter than four hours.

Letters in array names: S symbols, T minutes, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Minutes = Mapping[str, Array]  # feature -> (S, T), NaN = unavailable
HOUR = 60
FEW = 3  # least minutes of a correlation or a deviation
LARGE = {side: tuple(f"{size}_{side}_volume" for size in ("xl", "l")) for side in ("buy", "sell")}


def intraday_statistics(x_STF: NDArray[np.floating], features: Sequence[str]) -> dict[str, Array]:
    """Return every statistic whose columns are among the features, by name, (S,) each."""
    minutes = {name: x_STF[:, :, i].astype(np.float64) for i, name in enumerate(features)}
    return {name: statistic(minutes) for name, (statistic, needs) in STATISTICS.items() if set(needs) <= set(features)}


def inputs(features: Sequence[str]) -> tuple[str, ...]:
    """Return those of the features that some statistic of them reads, in their order."""
    needed = {name for _, needs in STATISTICS.values() if set(needs) <= set(features) for name in needs}
    return tuple(name for name in features if name in needed)


# --- volume -----------------------------------------------------------------------------------------------------


def front_loading(minutes: Minutes) -> Array:
    """1 - 2 sum(p tau): 1 if all volume comes first, 0 if it is even, -1 if all comes last."""
    return 1 - 2 * mean_time(minutes["volume"])


def volume_entropy(minutes: Minutes) -> Array:
    """-sum(p ln p) / ln T: 1 if every minute trades the same, 0 if one minute trades all."""
    share_ST = _shares(minutes["volume"])
    with np.errstate(divide="ignore", invalid="ignore"):
        terms_ST = np.where(share_ST > 0, share_ST * np.log(share_ST), 0.0)
    return np.where(np.isfinite(share_ST).any(axis=1), -terms_ST.sum(axis=1) / np.log(share_ST.shape[1]), np.nan)


def closing_share(minutes: Minutes) -> Array:
    """Share of the volume in the last edge."""
    share_ST = _shares(minutes["volume"])
    return np.asarray(share_ST[:, -edge(share_ST) :].sum(axis=1))


def quiet_share(minutes: Minutes) -> Array:
    """Share of the observed minutes without a trade."""
    volume_ST = minutes["volume"]
    return _over((volume_ST == 0).sum(axis=1), np.isfinite(volume_ST).sum(axis=1))


# --- prices -----------------------------------------------------------------------------------------------------


def morning_return(minutes: Minutes) -> Array:
    """Sum of r over the first edge: from the open to the end of the first hour."""
    return _total(returns(minutes)[:, : edge(minutes["close"])])


def late_reversal(minutes: Minutes) -> Array:
    """-sign(d) e, with e the sum of r over the last edge and d the sum before it: positive for a reversal."""
    return_ST = returns(minutes)
    last = edge(return_ST)
    return -np.sign(_total(return_ST[:, :-last])) * _total(return_ST[:, -last:])


def realised_volatility(minutes: Minutes) -> Array:
    """sqrt(sum r^2), without the overnight return."""
    return np.sqrt(_total(np.square(returns(minutes))))


def early_variance(minutes: Minutes) -> Array:
    """Share of sum r^2 in the first edge."""
    square_ST = np.square(returns(minutes))
    return _over(_total(square_ST[:, : edge(square_ST)]), _total(square_ST))


def late_variance(minutes: Minutes) -> Array:
    """Share of sum r^2 in the last edge."""
    square_ST = np.square(returns(minutes))
    return _over(_total(square_ST[:, -edge(square_ST) :]), _total(square_ST))


def path_efficiency(minutes: Minutes) -> Array:
    """|sum r| / sum |r|: 1 for a straight path, 0 for a path back to its start (Kaufman's efficiency ratio)."""
    return_ST = returns(minutes)
    return _over(np.abs(_total(return_ST)), _total(np.abs(return_ST)))


def return_autocorrelation(minutes: Minutes) -> Array:
    """Sum r_t r_(t-1) / sum r^2: positive if moves continue, negative if they reverse."""
    return_ST = returns(minutes)
    return _over(_total(return_ST[:, 1:] * return_ST[:, :-1]), _total(np.square(return_ST)))


def close_position(minutes: Minutes) -> Array:
    """(close - low) / (high - low) of the session."""
    low_S, high_S = _extreme(np.minimum, minutes["low"]), _extreme(np.maximum, minutes["high"])
    return _over(last_known(minutes["close"]) - low_S, high_S - low_S)


# --- prices and volume together ---------------------------------------------------------------------------------


def co_movement(minutes: Minutes) -> Array:
    """Correlation of ln v with |r| over minutes with a trade: does volume come with moves?"""
    return correlation(_log(minutes["volume"]), np.abs(returns(minutes)))


def directed_volume(minutes: Minutes) -> Array:
    """Correlation of ln v with r over minutes with a trade: does volume come with rises?"""
    return correlation(_log(minutes["volume"]), returns(minutes))


# --- orders and takers ------------------------------------------------------------------------------------------


def cancel_bursts(minutes: Minutes) -> Array:
    """Standard deviation (n - 1) over minutes of ln(cancel volume / volume), both positive."""
    return _deviation(_log(minutes["cancel_volume"]) - _log(minutes["volume"]))


def large_order_direction(minutes: Minutes) -> Array:
    """Mean tau of large sales less that of large purchases (two largest classes): positive if buyers came first."""
    buys_ST, sells_ST = (np.sum([minutes[name] for name in LARGE[side]], axis=0) for side in ("buy", "sell"))
    return mean_time(sells_ST) - mean_time(buys_ST)


def early_imbalance(minutes: Minutes) -> Array:
    """(b - s) / (b + s) over the first edge, with b takers' buys and s their sells, in their own ordinary minutes."""
    first = edge(minutes["buy_volume"])
    return _imbalance(minutes["buy_volume"][:, :first], minutes["sell_volume"][:, :first])


def late_imbalance(minutes: Minutes) -> Array:
    """The same as `early_imbalance` over the last edge."""
    last = edge(minutes["buy_volume"])
    return _imbalance(minutes["buy_volume"][:, -last:], minutes["sell_volume"][:, -last:])


STATISTICS: dict[str, tuple[Callable[[Minutes], Array], tuple[str, ...]]] = {
    "front_loading": (front_loading, ("volume",)),
    "volume_entropy": (volume_entropy, ("volume",)),
    "closing_share": (closing_share, ("volume",)),
    "quiet_share": (quiet_share, ("volume",)),
    "morning_return": (morning_return, ("close",)),
    "late_reversal": (late_reversal, ("close",)),
    "realised_volatility": (realised_volatility, ("close",)),
    "early_variance": (early_variance, ("close",)),
    "late_variance": (late_variance, ("close",)),
    "path_efficiency": (path_efficiency, ("close",)),
    "return_autocorrelation": (return_autocorrelation, ("close",)),
    "close_position": (close_position, ("close", "high", "low")),
    "co_movement": (co_movement, ("close", "volume")),
    "directed_volume": (directed_volume, ("close", "volume")),
    "cancel_bursts": (cancel_bursts, ("cancel_volume", "volume")),
    "large_order_direction": (large_order_direction, (*LARGE["buy"], *LARGE["sell"])),
    "early_imbalance": (early_imbalance, ("buy_volume", "sell_volume")),
    "late_imbalance": (late_imbalance, ("buy_volume", "sell_volume")),
}


# --- parts of the statistics ------------------------------------------------------------------------------------


def returns(minutes: Minutes) -> Array:
    """Return every minute's log return, the first one from the open, (S, T); NaN next to an unavailable close."""
    return np.diff(np.log1p(minutes["close"]), axis=1, prepend=0.0)


def edge(x_ST: Array) -> int:
    """Return the minutes of an edge: one hour, or a quarter of a session shorter than four hours, at least one."""
    return max(1, min(HOUR, int(x_ST.shape[1]) // 4))


def mean_time(flow_ST: Array) -> Array:
    """Return the mean tau of a flow, (S,); NaN if the flow is 0."""
    length = flow_ST.shape[1]
    share_ST = _shares(flow_ST)
    return np.asarray(share_ST @ ((np.arange(length) + 0.5) / length))


def last_known(x_ST: Array) -> Array:
    """Return each row's last available value, NaN if there is none."""
    last_S = x_ST.shape[1] - 1 - np.isfinite(x_ST)[:, ::-1].argmax(axis=1)
    return np.asarray(x_ST[np.arange(len(x_ST)), last_S])


def correlation(a_ST: Array, b_ST: Array) -> Array:
    """Return each row's Pearson correlation over common entries, (S,); NaN for fewer than `FEW` or no spread."""
    both_ST = np.isfinite(a_ST) & np.isfinite(b_ST)
    count_S = both_ST.sum(axis=1)
    a_ST, b_ST = (_centred(np.where(both_ST, x_ST, np.nan)) for x_ST in (a_ST, b_ST))
    scale_S = np.sqrt(_total(np.square(a_ST)) * _total(np.square(b_ST)))
    return np.where(count_S >= FEW, _over(_total(a_ST * b_ST), scale_S), np.nan)


def _shares(flow_ST: Array) -> Array:
    """Return a flow over its sum, 0 in unavailable minutes; a row of NaN if the sum is 0."""
    flow_ST = np.nan_to_num(flow_ST)
    return _over(flow_ST, flow_ST.sum(axis=1)[:, None])


def _total(x_ST: Array) -> Array:
    """Return the sum of the available entries, NaN if there are none."""
    return np.where(np.isfinite(x_ST).any(axis=1), np.nansum(x_ST, axis=1), np.nan)


def _over(part: Array, whole: Array) -> Array:
    """Return part / whole, NaN unless the whole is positive."""
    return np.asarray(np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0))


def _log(flow_ST: Array) -> Array:
    """Return ln of positive values, NaN elsewhere."""
    return np.log(np.where(flow_ST > 0, flow_ST, np.nan))


def _centred(x_ST: Array) -> Array:
    count_S = np.maximum(np.isfinite(x_ST).sum(axis=1), 1)
    return np.asarray(x_ST - (np.nansum(x_ST, axis=1) / count_S)[:, None])


def _deviation(x_ST: Array) -> Array:
    count_S = np.isfinite(x_ST).sum(axis=1)
    variance_S = _over(_total(np.square(_centred(x_ST))), count_S - 1.0)
    return np.where(count_S >= FEW, np.sqrt(variance_S), np.nan)


def _extreme(pick: np.ufunc, x_ST: Array) -> Array:
    """Return each row's smallest or largest available entry, NaN if there is none."""
    worst = np.inf if pick is np.minimum else -np.inf
    value_S: Array = pick.reduce(np.where(np.isfinite(x_ST), x_ST, worst), axis=1)
    return np.where(np.isfinite(value_S), value_S, np.nan)


def _imbalance(buy_ST: Array, sell_ST: Array) -> Array:
    buy_S, sell_S = _total(buy_ST), _total(sell_ST)
    return _over(buy_S - sell_S, buy_S + sell_S)
