"""Alpha158: 9 candle shapes, 4 prices over the close and 29 rolling operators over 5, 10, 20, 30 and 60 sessions.

Reference: the expressions of Qlib (Microsoft, https://github.com/microsoft/qlib, `Alpha158DL`), under its names in
small letters. Every value rests on the session asked for and the 60 before it, so one new session costs one session,
and any number of them give the same bits as each alone.

Qlib's ways that are kept: a window at the beginning of a listing is as long as there are rows; missing sessions are
skipped, except that a session without a previous close counts as neither up nor down in `cnt*`; deviations have n - 1;
`imax` and `imin` count from 1 at the oldest row; `rsqr`, `corr` and `cord` are missing where a side moves by less than
2e-5; 1e-12 is added to divisors and 1 to volumes in logarithms.
Ways that are not kept: `imax` and `imin` of a window with a missing session (Qlib answers with the place of the gap);
sums that are carried from session to session, whose rounding never leaves; 32-bit inputs.

Letters in array names: H sessions, oldest first; T of them asked for, the last ones; S symbols.
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
STILL = 2e-5  # a standard deviation up to this is no movement
QUANTILES = {"qtlu": 0.8, "qtld": 0.2}
Factors = dict[str, Array]
ByWindow = dict[int, Array]


@dataclass(frozen=True)
class Lags:
    """Arrays (H, S) seen from the last T sessions: `back(k)` is (T, S), k sessions before each; NaN before the first.

    Iterating yields the sessions of the longest window, newest first.
    """

    x_HS: Array
    sessions: int

    def back(self, lag: int) -> Array:
        end = len(self.x_HS) - lag
        if end >= self.sessions:
            return self.x_HS[end - self.sessions : end]
        before = np.full((min(self.sessions, self.sessions - end), self.x_HS.shape[1]), np.nan)
        return np.concatenate([before, self.x_HS[: max(end, 0)]])

    def __iter__(self) -> Iterator[Array]:
        return (self.back(lag) for lag in range(WINDOWS[-1]))

    def map(self, what: Callable[[Array], Array]) -> Lags:
        return Lags(what(self.x_HS), self.sessions)


def alpha158(panel: DailyPanel, sessions: int = 1) -> Factors:
    """Name -> (T, S) for the last T = `sessions` of the panel, which should hold 60 more; NaN where unavailable."""
    with np.errstate(invalid="ignore", divide="ignore"):
        close, volume = Lags(panel.traded_close, sessions), Lags(panel.volume, sessions)
        change, traded = close.map(_change), volume.map(_change)
        return {
            **_candles(panel, sessions),
            **_levels(panel, sessions),
            **_trend(close, Lags(panel.close, sessions)),
            **_extremes(panel, sessions),
            **_places(close),
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
    """roc, ma, std, beta, rsqr, resi: moments of closes in units of the last known one, on positions 0, -1, -2, …"""
    unit, today = carried.back(0), close.back(0)
    moves = [x / unit - 1 for x in close]
    known = [np.isfinite(move) for move in moves]
    count, first, second = _moments(moves)
    place = over_windows(-lag * there for lag, there in enumerate(known))
    square = over_windows(lag * lag * there for lag, there in enumerate(known))
    cross = over_windows(-lag * _zero(move) for lag, move in enumerate(moves))
    found: Factors = {}
    for d in WINDOWS:
        spread_x = count[d] * square[d] - place[d] ** 2
        spread_y = count[d] * second[d] - first[d] ** 2
        covered = count[d] * cross[d] - place[d] * first[d]
        slope, scale = covered / spread_x, unit / today
        deviation = _deviation(count[d], first[d], second[d])
        fitted = (first[d] - slope * place[d]) / count[d]
        moving = deviation * unit > STILL
        found |= {
            f"roc{d}": close.back(d) / today,
            f"ma{d}": (1 + first[d] / count[d]) * scale,
            f"std{d}": deviation * scale,
            f"beta{d}": slope * scale,
            f"rsqr{d}": np.where(moving, covered**2 / (spread_x * spread_y), np.nan),
            f"resi{d}": (today / unit - 1 - fitted) * scale,
        }
    return found


def _places(close: Lags) -> Factors:
    """qtlu, qtld, rank: where closes lie among those of the window."""
    today = close.back(0)
    below, equal = over_windows(x < today for x in close), over_windows(x == today for x in close)
    count = over_windows(np.isfinite(x) for x in close)
    closes = list(close)
    found: Factors = {}
    for d in WINDOWS:
        ordered = np.sort(np.stack(closes[:d], axis=-1), axis=-1)  # NaN last
        for name, share in QUANTILES.items():
            found[f"{name}{d}"] = _quantile(ordered, count[d], share) / today
        rank = (below[d] + (equal[d] + 1) / 2) / count[d]
        found[f"rank{d}"] = np.where(np.isfinite(today), rank, np.nan)
    return found


def _quantile(ordered: Array, count: Array, share: float) -> Array:
    """Linear between the two nearest of the `count` first values of the last axis."""
    place = np.maximum(count - 1, 0) * share
    lower = np.floor(place).astype(np.intp)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0).astype(np.intp))
    low, high = (np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0] for at in (lower, upper))
    value: Array = low + (high - low) * (place - lower)
    return value


# --- highs and lows ------------------------------------------------------------------------------------------------
def _extremes(panel: DailyPanel, sessions: int) -> Factors:
    """max, min, rsv, imax, imin, imxd."""
    high, low = Lags(panel.high, sessions), Lags(panel.low, sessions)
    today, rows = panel.traded_close[-sessions:], _rows(panel, sessions)
    top, bottom = over_windows(high, np.fmax), over_windows(low, np.fmin)
    highest, lowest = _since(high, np.greater_equal), _since(low, np.less_equal)
    found: Factors = {}
    for d in WINDOWS:
        imax, imin = (rows[d] - since[d] for since in (highest, lowest))
        found |= {
            f"max{d}": top[d] / today,
            f"min{d}": bottom[d] / today,
            f"rsv{d}": (today - bottom[d]) / (top[d] - bottom[d] + TINY),
            f"imax{d}": imax / d,
            f"imin{d}": imin / d,
            f"imxd{d}": (imax - imin) / d,
        }
    return found


def _since(lags: Lags, beats: np.ufunc) -> ByWindow:
    """Sessions since the extreme of each window; of equal ones the oldest."""

    def older(best: tuple[Array, Array], each: tuple[int, Array]) -> tuple[Array, Array]:
        lag, x = each
        better = beats(x, best[0]) | (np.isnan(best[0]) & np.isfinite(x))
        return np.where(better, x, best[0]), np.where(better, float(lag), best[1])

    nothing = np.full_like(lags.back(0), np.nan)
    found = accumulate(enumerate(lags), older, initial=(nothing, nothing))
    return {d: best[1] for d, best in enumerate(found) if d in WINDOWS}


# --- closes and volumes ----------------------------------------------------------------------------------------------
def _correlations(close: Lags, volume: Lags) -> Factors:
    """corr, cord: of close and log volume, and of their changes."""
    pairs = {
        "corr": (close, volume.map(lambda x: np.log(x + 1))),
        "cord": (close.map(_growth), volume.map(lambda x: np.log(_growth(x) + 1))),
    }
    return {f"{name}{d}": x for name, pair in pairs.items() for d, x in _correlation(*pair).items()}


def _correlation(left: Lags, right: Lags) -> ByWindow:
    """Pearson correlation over the sessions that both have; NaN where one of them hardly moves."""
    x, y = ([each - _newest(lags) for each in lags] for lags in (left, right))
    spread_x, spread_y = _deviations(x), _deviations(y)
    both = [(a + 0 * b, b + 0 * a) for a, b in zip(x, y, strict=True)]
    count, x1, x2 = _moments([a for a, _ in both])
    _, y1, y2 = _moments([b for _, b in both])
    xy = over_windows(_zero(a * b) for a, b in both)
    found = {}
    for d in WINDOWS:
        across = count[d] * xy[d] - x1[d] * y1[d]
        spreads = (count[d] * x2[d] - x1[d] ** 2) * (count[d] * y2[d] - y1[d] ** 2)
        found[d] = np.where((spread_x[d] > STILL) & (spread_y[d] > STILL), across / np.sqrt(spreads), np.nan)
    return found


def _deviations(x: list[Array]) -> ByWindow:
    count, first, second = _moments(x)
    return {d: _deviation(count[d], first[d], second[d]) for d in WINDOWS}


def _newest(lags: Lags) -> Array:
    """The newest known value of each symbol: differences from it keep their digits."""
    return _zero(reduce(lambda known, x: np.where(np.isfinite(known), known, x), lags))


# --- ups and downs ---------------------------------------------------------------------------------------------------
def _directions(change: Lags, rows: ByWindow) -> Factors:
    """cntp, cntn, cntd: shares of the rows whose close went up, down."""
    up, down = over_windows(x > 0 for x in change), over_windows(x < 0 for x in change)
    found: Factors = {}
    for d in WINDOWS:
        shares = up[d] / rows[d], down[d] / rows[d]
        found |= {f"cntp{d}": shares[0], f"cntn{d}": shares[1], f"cntd{d}": shares[0] - shares[1]}
    return found


def _gains(change: Lags, name: str) -> Factors:
    """sump, sumn, sumd (vsump, vsumn, vsumd): sums of the ups, of the downs, over the sum of all moves."""
    count = over_windows(np.isfinite(x) for x in change)
    up = over_windows(_zero(np.maximum(x, 0)) for x in change)
    down = over_windows(_zero(np.maximum(-x, 0)) for x in change)
    found: Factors = {}
    for d in WINDOWS:
        whole = np.where(count[d] > 0, up[d] + down[d] + TINY, np.nan)
        found |= {
            f"{name}p{d}": up[d] / whole,
            f"{name}n{d}": down[d] / whole,
            f"{name}d{d}": (up[d] - down[d]) / whole,
        }
    return found


# --- volumes ---------------------------------------------------------------------------------------------------------
def _volumes(close: Lags, volume: Lags) -> Factors:
    """vma, vstd over the session's volume; wvma: deviation over mean of the moves weighted by volume."""
    weighted = Lags(np.abs(_growth(close.x_HS) - 1) * volume.x_HS, close.sessions)
    today, (mean, deviation) = volume.back(0) + TINY, _mean_and_deviation(volume)
    of_moves = _mean_and_deviation(weighted)
    found: Factors = {}
    for d in WINDOWS:
        found |= {
            f"vma{d}": mean[d] / today,
            f"vstd{d}": deviation[d] / today,
            f"wvma{d}": of_moves[1][d] / (of_moves[0][d] + TINY),
        }
    return found


def _mean_and_deviation(lags: Lags) -> tuple[ByWindow, ByWindow]:
    near = _newest(lags)
    count, first, second = _moments([x - near for x in lags])
    means = {d: near + first[d] / count[d] for d in WINDOWS}
    return means, {d: _deviation(count[d], first[d], second[d]) for d in WINDOWS}


# --- windows -------------------------------------------------------------------------------------------------------
def over_windows(terms: Iterable[NDArray[Any]], join: np.ufunc = np.add) -> ByWindow:
    """`terms` joined, newest session first, up to the length of every window: one pass for all five."""
    numbers = (np.asarray(term, dtype=np.float64) for term in terms)
    return {d: joined for d, joined in enumerate(accumulate(numbers, join), 1) if d in WINDOWS}


def _moments(x: list[Array]) -> tuple[ByWindow, ByWindow, ByWindow]:
    """Number, sum and sum of squares of the known values."""
    zeros = [_zero(each) for each in x]
    count = over_windows(np.isfinite(each) for each in x)
    return count, over_windows(zeros), over_windows(each * each for each in zeros)


def _deviation(count: Array, first: Array, second: Array) -> Array:
    """Standard deviation with n - 1; NaN of fewer than two."""
    return np.sqrt(np.where(count > 1, np.maximum(second - first**2 / count, 0) / (count - 1), np.nan))


def _rows(panel: DailyPanel, sessions: int) -> ByWindow:
    """Rows that each window has: fewer than its length at the beginning of a listing."""
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
