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
from functools import reduce
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.features.daily_panel import Array, DailyPanel
from fpm.schema import ALPHA158_WINDOWS as WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

TINY = 1e-12
STILL = 2e-5  # a standard deviation up to this counts as no movement
QUANTILES = {"qtlu": 0.8, "qtld": 0.2}
Factors = dict[str, Array]
ByWindow = dict[int, Array]


@dataclass(frozen=True)
class Lags:
    """An array (H, S) seen from its last T sessions; iterating yields the longest window's lags, newest first."""

    x_HS: Array
    sessions: int

    def back(self, lag: int) -> Array:
        """Return the values `lag` sessions before each of the T sessions, (T, S); NaN before the first session."""
        end = len(self.x_HS) - lag
        if end >= self.sessions:
            return self.x_HS[end - self.sessions : end]
        before = np.full((min(self.sessions, self.sessions - end), self.x_HS.shape[1]), np.nan)
        return np.concatenate([before, self.x_HS[: max(end, 0)]])

    def __iter__(self) -> Iterator[Array]:
        return (self.back(lag) for lag in range(WINDOWS[-1]))

    def map(self, function: Callable[[Array], Array]) -> Lags:
        """Return the lags of a function of the array."""
        return Lags(function(self.x_HS), self.sessions)


def alpha158(panel: DailyPanel, sessions: int = 1) -> Factors:
    """Return name -> (T, S) for the panel's last T = `sessions`; NaN where unavailable.

    The panel should hold 60 sessions more.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        close, volume = Lags(panel.traded_close, sessions), Lags(panel.volume, sessions)
        change, traded = close.map(_change), volume.map(_change)
        return {
            **_candles(panel, sessions),
            **_levels(panel, sessions),
            **_trend(close, Lags(panel.close, sessions)),
            **_extremes(panel, sessions),
            **_ranks(close),
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
def _trend(close: Lags, carried: Lags) -> Factors:
    """Return roc, ma, std, beta, rsqr, resi: moments of closes relative to the last known one, at 0, -1, -2, …."""
    unit, today = carried.back(0), close.back(0)
    moves = [x / unit - 1 for x in close]
    finite = [np.isfinite(move) for move in moves]
    count, first, second = _moments(moves)
    position = over_windows(-lag * traded for lag, traded in enumerate(finite))
    square = over_windows(lag * lag * traded for lag, traded in enumerate(finite))
    cross = over_windows(-lag * _zero(move) for lag, move in enumerate(moves))
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


def _ranks(close: Lags) -> Factors:
    """Return qtlu, qtld, rank: quantiles of the window's closes and the rank of the last one."""
    today = close.back(0)
    below, equal = over_windows(x < today for x in close), over_windows(x == today for x in close)
    count = over_windows(np.isfinite(x) for x in close)
    closes = list(close)
    factors: Factors = {}
    for d in WINDOWS:
        ordered = np.sort(np.stack(closes[:d], axis=-1), axis=-1)  # NaN last
        for name, share in QUANTILES.items():
            factors[f"{name}{d}"] = _quantile(ordered, count[d], share) / today
        rank = (below[d] + (equal[d] + 1) / 2) / count[d]
        factors[f"rank{d}"] = np.where(np.isfinite(today), rank, np.nan)
    return factors


def _quantile(ordered: Array, count: Array, share: float) -> Array:
    """Interpolate linearly between the two nearest of the `count` first values of the last axis."""
    position = np.maximum(count - 1, 0) * share
    lower = np.floor(position).astype(np.intp)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0).astype(np.intp))
    low, high = (np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0] for at in (lower, upper))
    value: Array = low + (high - low) * (position - lower)
    return value


# --- highs and lows ------------------------------------------------------------------------------------------------
def _extremes(panel: DailyPanel, sessions: int) -> Factors:
    """Return max, min, rsv, imax, imin, imxd."""
    high, low = Lags(panel.high, sessions), Lags(panel.low, sessions)
    today, rows = panel.traded_close[-sessions:], _rows(panel, sessions)
    top, bottom = over_windows(high, np.fmax), over_windows(low, np.fmin)
    highest, lowest = _since(high, np.greater_equal), _since(low, np.less_equal)
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


def _since(lags: Lags, beats: np.ufunc) -> ByWindow:
    """Return the sessions since the extreme of each window; the oldest one counts among equal extremes."""

    def older(best: tuple[Array, Array], numbered: tuple[int, Array]) -> tuple[Array, Array]:
        lag, x = numbered
        better = beats(x, best[0]) | (np.isnan(best[0]) & np.isfinite(x))
        return np.where(better, x, best[0]), np.where(better, float(lag), best[1])

    nothing = np.full_like(lags.back(0), np.nan)
    extremes = accumulate(enumerate(lags), older, initial=(nothing, nothing))
    return {d: best[1] for d, best in enumerate(extremes) if d in WINDOWS}


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
    x, y = ([values - _newest(lags) for values in lags] for lags in (left, right))
    spread_x, spread_y = _deviations(x), _deviations(y)
    both = [(a + 0 * b, b + 0 * a) for a, b in zip(x, y, strict=True)]
    count, x1, x2 = _moments([a for a, _ in both])
    _, y1, y2 = _moments([b for _, b in both])
    xy = over_windows(_zero(a * b) for a, b in both)
    correlations = {}
    for d in WINDOWS:
        across = count[d] * xy[d] - x1[d] * y1[d]
        spreads = (count[d] * x2[d] - x1[d] ** 2) * (count[d] * y2[d] - y1[d] ** 2)
        correlations[d] = np.where((spread_x[d] > STILL) & (spread_y[d] > STILL), across / np.sqrt(spreads), np.nan)
    return correlations


def _deviations(x: list[Array]) -> ByWindow:
    count, first, second = _moments(x)
    return {d: _deviation(count[d], first[d], second[d]) for d in WINDOWS}


def _newest(lags: Lags) -> Array:
    """Return each symbol's newest available value; differences from it keep their digits."""
    return _zero(reduce(lambda newest, x: np.where(np.isfinite(newest), newest, x), lags))


# --- ups and downs ---------------------------------------------------------------------------------------------------
def _directions(change: Lags, rows: ByWindow) -> Factors:
    """Return cntp, cntn, cntd: shares of rows whose close went up, went down, and their difference."""
    up, down = over_windows(x > 0 for x in change), over_windows(x < 0 for x in change)
    factors: Factors = {}
    for d in WINDOWS:
        shares = up[d] / rows[d], down[d] / rows[d]
        factors |= {f"cntp{d}": shares[0], f"cntn{d}": shares[1], f"cntd{d}": shares[0] - shares[1]}
    return factors


def _gains(change: Lags, name: str) -> Factors:
    """Return sump, sumn, sumd (vsump, vsumn, vsumd): sums of ups and of downs over the sum of all moves."""
    count = over_windows(np.isfinite(x) for x in change)
    up = over_windows(_zero(np.maximum(x, 0)) for x in change)
    down = over_windows(_zero(np.maximum(-x, 0)) for x in change)
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
    count, first, second = _moments([x - near for x in lags])
    means = {d: near + first[d] / count[d] for d in WINDOWS}
    return means, {d: _deviation(count[d], first[d], second[d]) for d in WINDOWS}


# --- windows -------------------------------------------------------------------------------------------------------
def over_windows(terms: Iterable[NDArray[Any]], join: np.ufunc = np.add) -> ByWindow:
    """Accumulate `terms`, newest session first; return the value at every window's length, in one pass for all."""
    numbers = (np.asarray(term, dtype=np.float64) for term in terms)
    return {d: joined for d, joined in enumerate(accumulate(numbers, join), 1) if d in WINDOWS}


def _moments(x: list[Array]) -> tuple[ByWindow, ByWindow, ByWindow]:
    """Return number, sum and sum of squares of the available values."""
    zeros = [_zero(values) for values in x]
    count = over_windows(np.isfinite(values) for values in x)
    return count, over_windows(zeros), over_windows(values * values for values in zeros)


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
