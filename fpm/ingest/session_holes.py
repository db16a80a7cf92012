"""Whether a session is whole over the market: its last minutes, its first ones or some between may never have come.

One symbol without rows is its own affair; a stretch of slots that a part of the market lacks is a delivery's fault, or
the exchange closed and the calendar does not know. A stretch is judged by its symbols: the share A of them without a
row in it, beside the share E that earlier sessions let expect. It is a hole where A is far above E, and where so many
empty symbols would come by chance in one session of a million (P <= exp(-n KL(A, E)): Hoeffding 1963, theorem 1).

Letters in array names: S symbols, N stored slots of the market.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.markets import clock
from fpm.sessions import session_slots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.markets import Market

VERSION = 1  # raise when the judgement changes: sessions are then judged again
HISTORY = 5  # sessions before, of which each slot's usual share of rows is taken
DENSE = 0.9  # share of rows from which a vendor delivers every minute of almost every symbol
# A - E of a hole: quiet markets leave sparse slots empty, too; limits and calls keep a part of a market from trading
EXCESS = {"dense": 0.2, "sparse": 0.4, "traded": 0.8}
EVIDENCE = log(1e6)  # and once more by the number of slots at which a hole could begin
DEPTHS = (0.5, 0.9)  # of the usual rows: where a few symbols lack the afternoon, its end may be missing for all
DELISTED = 0.02  # share of a market's symbols that may be gone from one session to the next
USED = 0.02  # share of rows below which a slot is not expected at all: calls that a vendor leaves out

Place = Literal["beginning", "middle", "end", "whole"]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Presence:
    """Which slots of one session have a row (`delivered_SN`) and a trade (`traded_SN`); `open_N`: slots it trades."""

    symbols: tuple[str, ...]
    delivered_SN: Flags
    traded_SN: Flags
    open_N: Flags


@dataclass(frozen=True)
class Hole:
    """Slots `first` to `last` of which the `share` of the market's symbols has no row (or no trade: `untraded`)."""

    place: Place
    first: int
    last: int
    share: float
    expected: float
    untraded: bool = False


def presence(bars: pl.DataFrame, market: Market, session: date) -> Presence:
    """The presence of one session's stored bars (symbol, slot, volume)."""
    symbols = tuple(bars["symbol"].unique().sort().to_list())
    shape = len(symbols), len(market.slots)
    row = bars["symbol"].cast(pl.Enum(list(symbols))).to_physical().to_numpy()
    slot = bars["slot"].to_numpy()
    delivered_SN, traded_SN = np.zeros(shape, bool), np.zeros(shape, bool)
    delivered_SN[row, slot] = True
    traded_SN[row, slot] = (bars["volume"].fill_null(0) > 0).to_numpy()
    return Presence(symbols, delivered_SN, traded_SN, session_slots(market, session).open_N)


def hole(today: Presence, before: Sequence[Presence], market: Market) -> Hole | None:
    """The gravest hole of a session; None for a whole one. `before`: earlier whole sessions, oldest first.

    Without sessions before, the session's own other slots say what is usual, and no symbol is missing altogether.
    """
    lost = _lost(today, before)
    if lost is not None:
        return lost
    delivered = [(each.delivered_SN, each.open_N) for each in before]
    gravest = _gravest(today.delivered_SN, today.open_N, delivered, market, None)
    if gravest is not None:
        return gravest
    active = today.traded_SN[today.traded_SN.any(axis=1)]
    traded = [(each.traded_SN[each.traded_SN.any(axis=1)], each.open_N) for each in before]
    return _gravest(active, today.open_N, traded, market, EXCESS["traded"])


def _lost(today: Presence, before: Sequence[Presence]) -> Hole | None:
    """Symbols of the session before that have no row at all, where they are a part of the market."""
    symbols = set(before[-1].symbols) | set(today.symbols) if before else set(today.symbols)
    if not symbols:
        return None
    share = 1 - len(today.symbols) / len(symbols)
    if share < EXCESS["dense"] or len(symbols) * _divergence(share, DELISTED) < EVIDENCE:
        return None
    slots = np.flatnonzero(today.open_N)
    return Hole("whole", int(slots[0]), int(slots[-1]), share, DELISTED)


def _gravest(
    present_SN: Flags,
    open_N: Flags,
    before: Sequence[tuple[Flags, Flags]],
    market: Market,
    excess: float | None,
) -> Hole | None:
    """The hole of the most symbols, then of the most slots. `excess` None: that of a dense or a sparse vendor."""
    if not len(present_SN):
        return None
    expected_N = _expected(present_SN, open_N, before, market)
    slots = np.flatnonzero(open_N & (expected_N >= USED))
    if not len(slots):
        return None
    usual_N, rows_SN = expected_N[slots], present_SN[:, slots]
    least = excess or EXCESS["dense" if float(np.median(usual_N)) >= DENSE else "sparse"]
    call_N = np.array([minute in market.calls for minute in market.slots])[slots]
    rarest = 1 / (2 + len(slots) * (1 + len(before)))  # of a row that always came: how sure a few sessions make us
    share_N = rows_SN.mean(axis=0)
    runs = {run for depth in (least / 2, *DEPTHS) for run in _runs(share_N <= (1 - depth) * usual_N)}
    holes = [
        each
        for first, last in sorted(runs)
        if (each := _judged(rows_SN, usual_N, (first, last), rarest))
        and each.share - each.expected >= (EXCESS["traded"] if call_N[first : last + 1].all() else least)
    ]
    if not holes:
        return None
    worst = max(holes, key=lambda each: (each.share, each.last - each.first))
    return replace(worst, first=int(slots[worst.first]), last=int(slots[worst.last]), untraded=bool(excess))


def _expected(present_SN: Flags, open_N: Flags, before: Sequence[tuple[Flags, Flags]], market: Market) -> Floats:
    """Each slot's usual share of symbols with a row, at today's level of activity where the market is quieter."""
    share_N: Floats = present_SN.mean(axis=0)
    if not before:
        calls_N = np.array([minute in market.calls for minute in market.slots])
        continuous_N = open_N & ~calls_N
        usual = float(np.median(share_N[continuous_N])) if continuous_N.any() else 0.0
        return np.where(continuous_N, usual, 0.0)
    rows_N = np.sum([np.where(own_N, present.sum(axis=0), 0) for present, own_N in before], axis=0, dtype=np.float64)
    cells_N = np.sum([own_N * len(present) for present, own_N in before], axis=0, dtype=np.float64)
    past_N: Floats = np.where(cells_N > 0, rows_N / np.maximum(cells_N, 1), 0.0)
    used_N = open_N & (past_N >= USED)
    if not used_N.any() or float(np.median(past_N[used_N])) >= DENSE:
        return past_N
    return past_N * min(1.0, float(np.median(share_N[used_N] / past_N[used_N])))


def _runs(flag_N: Flags) -> list[tuple[int, int]]:
    """First and last position of every stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flag_N, [False]]).astype(np.int8)))
    return [(int(first), int(beyond) - 1) for first, beyond in edges.reshape(-1, 2)]


def _judged(present_SN: Flags, expected_N: Floats, run: tuple[int, int], rarest: float) -> Hole | None:
    """The run as a hole of the used slots, or None where chance explains it."""
    first, last = run
    inside_N = np.zeros(len(expected_N), bool)
    inside_N[first : last + 1] = True
    usual_S = (present_SN[:, ~inside_N].sum(axis=1) + 0.5) / (expected_N[~inside_N].sum() + 0.5)
    chance_SN = np.minimum(expected_N[inside_N][None, :] * usual_S[:, None], 1 - rarest)
    expected = float(np.exp(np.log1p(-chance_SN).sum(axis=1)).mean())
    share = float((~present_SN[:, inside_N].any(axis=1)).mean())
    if len(present_SN) * _divergence(share, expected) < EVIDENCE + log(len(expected_N)):
        return None
    end = len(expected_N) - 1
    place: Place = "whole" if run == (0, end) else "end" if last == end else "beginning" if first == 0 else "middle"
    return Hole(place, first, last, share, expected)


def _divergence(share: float, expected: float) -> float:
    """Kullback-Leibler divergence of two coins, in nats; 0 where the share is not above the expected one."""
    if share <= expected:
        return 0.0
    tail = (1 - share) * log((1 - share) / (1 - expected)) if share < 1 else 0.0
    return share * log(share / max(expected, 1e-300)) + tail


def words(gravest: Hole, market: Market, session: date) -> str:
    """The hole as a sentence, in the market's own time.

    >>> from datetime import date
    >>> from fpm.sessions import market
    >>> words(Hole("end", 231, 241, 1.0, 0.0), market("cn"), date(2026, 1, 5))
    'its last minutes are missing: all symbols have no row from 14:50 to 15:00'
    """
    slots = session_slots(market, session)
    start, stop = clock(slots.starts[gravest.first]), clock(slots.ends[gravest.last])
    what = {
        "end": "its last minutes are missing",
        "beginning": "its first minutes are missing",
        "middle": "there is a hole in it",
        "whole": "a part of the market is missing",
    }[gravest.place]
    who = "all symbols have" if gravest.share >= 1 else f"{gravest.share:.0%} of the symbols have"
    return f"{what}: {who} no {'trade' if gravest.untraded else 'row'} from {start} to {stop}"
