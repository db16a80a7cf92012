"""Alpha158: 9 candle shapes, 4 prices over the close and 29 rolling operators over 5, 10, 20, 30 and 60 sessions.

Reference: the expressions of Qlib (Microsoft, https://github.com/microsoft/qlib, `Alpha158DL`), under its names in
lower case. A session's values depend on it and the 60 sessions before it, so one new session costs the work of one
session, and many sessions at once give the same bits as each alone.

Rules taken from Qlib: a window at the start of a listing is as long as its rows; missing sessions are skipped, except
that a session without a previous close counts as neither up nor down in `cnt*`; deviations use n - 1; `imax` and `imin`
count from 1 at the oldest row; `rsqr`, `corr` and `cord` are missing if a side moves by less than 2e-5; divisors get
1e-12 and volumes in logarithms get 1.
Differences from Qlib: `imax` and `imin` of a window with a missing session (Qlib returns the position of the gap); no
sums carried from session to session, whose rounding errors would stay forever; no 32-bit inputs.

Letters in array names: H sessions, oldest first; T the last ones of them, which have results; S symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fpm.features.daily_panel import Array, DailyPanel
from fpm.schema import ALPHA158_WINDOWS as WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TINY = 1e-12
STILL = 2e-5  # a standard deviation up to this counts as no movement
QUANTILES = {"qtlu": 0.8, "qtld": 0.2}
BLOCK = 2**14  # values of one term: symbols are taken in blocks whose terms stay in a core's cache
Mask = NDArray[np.bool_]
Factors = dict[str, Array]
ByWindow = dict[int, Array]


@dataclass(frozen=True)
class Lags:
    """An array (H, S) seen from its last T sessions; iterating yields the longest window's lags, newest first.

    `before`: its value before the first session.
    """

    x_HS: NDArray[Any]
    sessions: int
    before: float = np.nan

    def back(self, lag: int) -> NDArray[Any]:
        """Return the values `lag` sessions before each of the T sessions, (T, S)."""
        end = len(self.x_HS) - lag
        if end >= self.sessions:
            return self.x_HS[end - self.sessions : end]
        shape = min(self.sessions, self.sessions - end), self.x_HS.shape[1]
        before = np.full(shape, self.before, self.x_HS.dtype)
        return np.concatenate([before, self.x_HS[: max(end, 0)]])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.back(lag) for lag in range(WINDOWS[-1]))

    def map(self, function: Callable[[Array], NDArray[Any]], before: float = np.nan) -> Lags:
        """Return the lags of a function of the array."""
        return Lags(function(self.x_HS), self.sessions, before)

    def windows(self, length: int) -> Array:
        """Return the last `length` sessions at each of the T sessions, (S, T, `length`), oldest first."""
        x_SH = np.ascontiguousarray(self.x_HS[-(self.sessions + length - 1) :].T)
        missing = self.sessions + length - 1 - x_SH.shape[1]
        padded_SH = np.pad(x_SH, ((0, 0), (missing, 0)), constant_values=np.nan)
        return sliding_window_view(padded_SH, length, axis=1)

    @cached_property
    def is_finite(self) -> Mask:
        """Where the array has a value, (H, S)."""
        mask_HS: Mask = np.isfinite(self.x_HS)
        return mask_HS


def alpha158(panel: DailyPanel, sessions: int = 1) -> Factors:
    """Return name -> (T, S) for the panel's last T = `sessions`; NaN where unavailable.

    The panel should hold 60 sessions more.
    """
    width = max(1, BLOCK // sessions)
    blocks = [panel.block(slice(start, start + width)) for start in range(0, panel.close.shape[1], width)]
    parts = [_factors(block, sessions) for block in blocks or [panel]]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _factors(panel: DailyPanel, sessions: int) -> Factors:
    with np.errstate(invalid="ignore", divide="ignore"):
        close, volume = Lags(panel.traded_close, sessions), Lags(panel.volume, sessions)
        change, traded = close.map(_change), volume.map(_change)
        count = _counts(close)
        return {
            **_candles(panel, sessions),
            **_levels(panel, sessions),
            **_trend(close, Lags(panel.close, sessions), count),
            **_extremes(panel, sessions),
            **_ranks(close, count),
            **_correlations(close, volume),
            **_directions(change, _rows(panel, sessions)),
            **_gains(change, "sum"),
            **_volumes(close, volume),
            **_gains(traded, "vsum"),
        }


# --- one session -----------------------------------------------------------------------------------------------------
def _candles(panel: DailyPanel, sessions: int) -> Factors:
    opened, high, low, close = (x[-sessions:] for x in (panel.open, panel.high, panel.low, panel.traded_close))
    top, bottom, length = np.maximum(opened, close), np.minimum(opened, close), high - low + TINY
    return {
        "kmid": (close - opened) / opened,
        "klen": (high - low) / opened,
        "kmid2": (close - opened) / length,
        "kup": (high - top) / opened,
        "kup2": (high - top) / length,
        "klow": (bottom - low) / opened,
        "klow2": (bottom - low) / length,
        "ksft": (2 * close - high - low) / opened,
        "ksft2": (2 * close - high - low) / length,
    }


def _levels(panel: DailyPanel, sessions: int) -> Factors:
    vwap = panel.amount / panel.volume
    prices = {"open0": panel.open, "high0": panel.high, "low0": panel.low, "vwap0": vwap}
    return {name: x_HS[-sessions:] / panel.traded_close[-sessions:] for name, x_HS in prices.items()}


# --- closes ----------------------------------------------------------------------------------------------------------
def _trend(close: Lags, carried: Lags, count: ByWindow) -> Factors:
    """Return roc, ma, std, beta, rsqr, resi: moments of closes relative to the last known one, at 0, -1, -2, …."""
    unit, today = carried.back(0), close.back(0)
    moves = [_zero(x / unit - 1) for x in close]
    first, second = over_windows(moves), over_windows(move * move for move in moves)
    cross = over_windows(-lag * move for lag, move in enumerate(moves))
    position, square = _places(close)
    factors: Factors = {}
    for d in WINDOWS:
        spread_x = count[d] * square[d] - position[d] ** 2
        spread_y = count[d] * second[d] - first[d] ** 2
        covered = count[d] * cross[d] - position[d] * first[d]
        slope, scale = covered / spread_x, unit / today
        deviation = _deviation(count[d], first[d], second[d])
        fitted = (first[d] - slope * position[d]) / count[d]
        moving = deviation * unit > STILL
        factors |= {
            f"roc{d}": close.back(d) / today,
            f"ma{d}": (1 + first[d] / count[d]) * scale,
            f"std{d}": deviation * scale,
            f"beta{d}": slope * scale,
            f"rsqr{d}": np.where(moving, covered**2 / (spread_x * spread_y), np.nan),
            f"resi{d}": (today / unit - 1 - fitted) * scale,
        }
    return factors


def _ranks(close: Lags, count: ByWindow) -> Factors:
    """Return qtlu, qtld, rank: quantiles of the window's closes and the rank of the last one."""
    today = close.back(0)
    below, equal = over_windows(x < today for x in close), over_windows(x == today for x in close)
    factors: Factors = {}
    for d in WINDOWS:
        ordered = np.sort(close.windows(d), axis=-1)  # NaN last
        for name, share in QUANTILES.items():
            factors[f"{name}{d}"] = _quantile(ordered, count[d], share) / today
        rank = (below[d] + (equal[d] + 1) / 2) / count[d]
        factors[f"rank{d}"] = np.where(np.isfinite(today), rank, np.nan)
    return factors


def _quantile(ordered_STW: Array, count_TS: Array, share: float) -> Array:
    """Interpolate linearly between the two nearest of the `count` first values of the last axis, (T, S)."""
    position = np.maximum(count_TS.T - 1, 0) * share
    lower = np.floor(position).astype(np.intp)
    upper = np.minimum(lower + 1, np.maximum(count_TS.T - 1, 0).astype(np.intp))
    low, high = (np.take_along_axis(ordered_STW, at[..., None], axis=-1)[..., 0] for at in (lower, upper))
    value: Array = low + (high - low) * (position - lower)
    return value.T


# --- highs and lows ------------------------------------------------------------------------------------------------
def _extremes(panel: DailyPanel, sessions: int) -> Factors:
    """Return max, min, rsv, imax, imin, imxd."""
    today, rows = panel.traded_close[-sessions:], _rows(panel, sessions)
    top, highest = _extreme(Lags(panel.high, sessions), np.greater_equal, -np.inf)
    bottom, lowest = _extreme(Lags(panel.low, sessions), np.less_equal, np.inf)
    factors: Factors = {}
    for d in WINDOWS:
        imax, imin = (rows[d] - since[d] for since in (highest, lowest))
        factors |= {
            f"max{d}": top[d] / today,
            f"min{d}": bottom[d] / today,
            f"rsv{d}": (today - bottom[d]) / (top[d] - bottom[d] + TINY),
            f"imax{d}": imax / d,
            f"imin{d}": imin / d,
            f"imxd{d}": (imax - imin) / d,
        }
    return factors


def _extreme(lags: Lags, beats: np.ufunc, nothing: float) -> tuple[ByWindow, ByWindow]:
    """Return each window's extreme and the sessions since it; the oldest one counts among equal extremes.

    `nothing`: what every value beats.
    """
    best = np.full(lags.back(0).shape, nothing)
    since = np.full_like(best, np.nan)
    extremes, numbers = {}, {}
    for lag, x in enumerate(lags):
        better = beats(x, best)
        np.copyto(best, x, where=better)
        np.copyto(since, lag, where=better)
        if lag + 1 in WINDOWS:
            extremes[lag + 1], numbers[lag + 1] = np.where(np.isnan(since), np.nan, best), since.copy()
    return extremes, numbers


# --- closes and volumes ----------------------------------------------------------------------------------------------
def _correlations(close: Lags, volume: Lags) -> Factors:
    """Return corr and cord: correlations of close with log volume, and of their changes."""
    pairs = {
        "corr": (close, volume.map(lambda x: np.log(x + 1))),
        "cord": (close.map(_growth), volume.map(lambda x: np.log(_growth(x) + 1))),
    }
    return {f"{name}{d}": x for name, pair in pairs.items() for d, x in _correlation(*pair).items()}


def _correlation(left: Lags, right: Lags) -> ByWindow:
    """Return the Pearson correlation over the sessions with both values; NaN if one side hardly moves."""
    is_both = left.is_finite & right.is_finite
    count, x1, x2, y1, y2, xy = _joint_moments(left, right, is_both)
    spread_x, spread_y = (
        _deviations(count, first, second) if (lags.is_finite == is_both).all() else _deviations(*_moments(lags))
        for lags, first, second in ((left, x1, x2), (right, y1, y2))
    )
    correlations = {}
    for d in WINDOWS:
        across = count[d] * xy[d] - x1[d] * y1[d]
        spreads = (count[d] * x2[d] - x1[d] ** 2) * (count[d] * y2[d] - y1[d] ** 2)
        correlations[d] = np.where((spread_x[d] > STILL) & (spread_y[d] > STILL), across / np.sqrt(spreads), np.nan)
    return correlations


def _joint_moments(left: Lags, right: Lags, is_both_HS: Mask) -> tuple[ByWindow, ...]:
    """Return number, sums, sums of squares and of products where both have a value, each less its newest value."""
    both = Lags(is_both_HS, left.sessions, before=False)
    x, y = (
        [np.where(known, values, 0.0) for known, values in zip(both, _from_newest(lags), strict=True)]
        for lags in (left, right)
    )
    return (
        _sums(both),
        over_windows(x),
        over_windows(a * a for a in x),
        over_windows(y),
        over_windows(b * b for b in y),
        over_windows(a * b for a, b in zip(x, y, strict=True)),
    )


def _deviations(count: ByWindow, first: ByWindow, second: ByWindow) -> ByWindow:
    return {d: _deviation(count[d], first[d], second[d]) for d in WINDOWS}


# --- ups and downs ---------------------------------------------------------------------------------------------------
def _directions(change: Lags, rows: ByWindow) -> Factors:
    """Return cntp, cntn, cntd: shares of rows whose close went up, went down, and their difference."""
    up, down = _sums(change.map(lambda x: x > 0)), _sums(change.map(lambda x: x < 0))
    factors: Factors = {}
    for d in WINDOWS:
        shares = up[d] / rows[d], down[d] / rows[d]
        factors |= {f"cntp{d}": shares[0], f"cntn{d}": shares[1], f"cntd{d}": shares[0] - shares[1]}
    return factors


def _gains(change: Lags, name: str) -> Factors:
    """Return sump, sumn, sumd (vsump, vsumn, vsumd): sums of ups and of downs over the sum of all moves."""
    count = _counts(change)
    up = over_windows(change.map(lambda x: _zero(np.maximum(x, 0)), before=0.0))
    down = over_windows(change.map(lambda x: _zero(np.maximum(-x, 0)), before=0.0))
    factors: Factors = {}
    for d in WINDOWS:
        whole = np.where(count[d] > 0, up[d] + down[d] + TINY, np.nan)
        factors |= {
            f"{name}p{d}": up[d] / whole,
            f"{name}n{d}": down[d] / whole,
            f"{name}d{d}": (up[d] - down[d]) / whole,
        }
    return factors


# --- volumes ---------------------------------------------------------------------------------------------------------
def _volumes(close: Lags, volume: Lags) -> Factors:
    """Return vma and vstd over the session's volume, and wvma: deviation over mean of volume-weighted moves."""
    weighted = Lags(np.abs(_growth(close.x_HS) - 1) * volume.x_HS, close.sessions)
    today, (mean, deviation) = volume.back(0) + TINY, _mean_and_deviation(volume)
    move_mean, move_deviation = _mean_and_deviation(weighted)
    factors: Factors = {}
    for d in WINDOWS:
        factors |= {
            f"vma{d}": mean[d] / today,
            f"vstd{d}": deviation[d] / today,
            f"wvma{d}": move_deviation[d] / (move_mean[d] + TINY),
        }
    return factors


def _mean_and_deviation(lags: Lags) -> tuple[ByWindow, ByWindow]:
    near = _newest(lags)
    count, first, second = _moments(lags)
    means = {d: near + first[d] / count[d] for d in WINDOWS}
    return means, _deviations(count, first, second)


# --- windows -------------------------------------------------------------------------------------------------------
def over_windows(terms: Iterable[NDArray[Any]]) -> ByWindow:
    """Add up `terms`, newest session first; return the sum at every window's length, in one pass for all."""
    sums, total = {}, np.zeros(0)
    for d, term in enumerate(terms, 1):
        total = np.array(term, dtype=np.float64) if d == 1 else np.add(total, term, out=total)
        if d in WINDOWS:
            sums[d] = total.copy()
    return sums


def _sums(lags: Lags) -> ByWindow:
    """Return every window's sum of whole numbers, which has no rounding: differences of one running sum."""
    sums_HS = np.zeros((len(lags.x_HS) + 1, lags.x_HS.shape[1]))
    np.cumsum(lags.x_HS, axis=0, dtype=np.float64, out=sums_HS[1:])
    ends = np.arange(len(lags.x_HS) - lags.sessions, len(lags.x_HS)) + 1
    return {d: sums_HS[ends] - sums_HS[np.maximum(ends - d, 0)] for d in WINDOWS}


def _counts(lags: Lags) -> ByWindow:
    """Return the number of each window's available values."""
    return _sums(Lags(lags.is_finite, lags.sessions))


def _places(lags: Lags) -> tuple[ByWindow, ByWindow]:
    """Return the sums of the available values' places 0, -1, -2, …, the newest first, and of their squares."""
    known_HS, number_H1 = lags.is_finite, np.arange(float(len(lags.x_HS)))[:, None]
    count, first, second = (_sums(Lags(known_HS * number_H1**power, lags.sessions)) for power in range(3))
    today_T1 = number_H1[-lags.sessions :]
    places = {d: first[d] - today_T1 * count[d] for d in WINDOWS}
    return places, {d: second[d] - 2 * today_T1 * first[d] + today_T1**2 * count[d] for d in WINDOWS}


def _moments(lags: Lags) -> tuple[ByWindow, ByWindow, ByWindow]:
    """Return number, sum and sum of squares of the available values, each less its newest value."""
    values = [_zero(x) for x in _from_newest(lags)]
    return _counts(lags), over_windows(values), over_windows(x * x for x in values)


def _from_newest(lags: Lags) -> Iterator[Array]:
    """Return the lags less each symbol's newest available value: such differences keep their digits."""
    near = _newest(lags)
    return (x - near for x in lags)


def _newest(lags: Lags) -> Array:
    """Return the newest available value of each symbol's longest window, (T, S); 0 without one."""
    number_H1 = np.arange(len(lags.x_HS))[:, None]
    last_HS = np.maximum.accumulate(np.where(lags.is_finite, number_H1, -1), axis=0)[-lags.sessions :]
    value_TS = np.take_along_axis(lags.x_HS, np.maximum(last_HS, 0), axis=0)
    oldest_T1 = np.maximum(number_H1[-lags.sessions :] - WINDOWS[-1] + 1, 0)
    return np.where(last_HS >= oldest_T1, value_TS, 0.0)


def _deviation(count: Array, first: Array, second: Array) -> Array:
    """Return the standard deviation with n - 1; NaN for fewer than two values."""
    return np.sqrt(np.where(count > 1, np.maximum(second - first**2 / count, 0) / (count - 1), np.nan))


def _rows(panel: DailyPanel, sessions: int) -> ByWindow:
    """Return the rows of each window: fewer than its length at the start of a listing."""
    listed_TS = panel.listed - np.arange(sessions)[::-1, None]
    return {d: np.where(listed_TS > 0, np.minimum(listed_TS, d), np.nan).astype(np.float64) for d in WINDOWS}


def _zero(x: Array) -> Array:
    return np.where(np.isfinite(x), x, 0.0)


def _change(x_HS: Array) -> Array:
    return x_HS - _before(x_HS)


def _growth(x_HS: Array) -> Array:
    return x_HS / _before(x_HS)


def _before(x_HS: Array) -> Array:
    return np.concatenate([np.full_like(x_HS[:1], np.nan), x_HS[:-1]])
