"""Conventions of a vendor, told from the bars themselves: stamp side, calls, unit of volume, basis of prices.

Each is decided from what the file shows, or from `Conventions` decided before for the same store; what stays
undecided is refused, with the numbers that were seen. `label` = minute of the day a bar is stamped with, local.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from fpm.errors import InputRefused
from fpm.features.bars import CALLS
from fpm.sessions import MARKETS, Market
from fpm.symbols import CHINESE

DAY = 1440
TICKS = {"cn": 0.01, "us": 0.01, "nse": 0.05}
LOT = 100.0  # shares in a lot of the A-share exchanges


@dataclass(frozen=True)
class Conventions:
    """What a vendor means by its columns.

    `stamp_side` start | end; `calls` labels of bars that hold a call auction; `volume_unit` shares | lots;
    `price_basis` raw | raw_by_tick (no amount: told from printed ticks); `seen` the evidence, in words.
    """

    stamp_side: str
    calls: tuple[int, ...]
    volume_unit: str
    price_basis: str
    seen: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Conventions:
        parts = json.loads(text)
        return cls(**{**parts, "calls": tuple(parts["calls"])})


@dataclass(frozen=True)
class Thresholds:
    """When evidence is enough. Measured on the samples of the project's four markets.

    `inside`: a shift is reported when it puts this share more of the bars inside the session.
    `narrower`: a cross has less than this of the median range of the minute beside it. On 44 sessions of 180
    US stocks the 09:30 cross has 0.09 of the range of 09:31, and 09:31 has 1.29 of 09:32, 16:00 1.51 of 15:59.
    `ratio`: amount / (volume x price) within this of 1 (shares) or of 100 (lots).
    `in_range`: share of bars whose average price must lie in [low, high] for prices to be raw, within `slack`.
    `on_tick`: share of closes on the market's tick for prices to be raw where there is no amount.
    """

    inside: float = 0.05
    narrower: float = 0.7
    ratio: float = 0.1
    in_range: float = 0.95
    slack: float = 0.005
    on_tick: float = 0.5


def detect(
    bars: pl.DataFrame, market: Market, known: Conventions | None = None, thresholds: Thresholds | None = None
) -> Conventions:
    """Conventions of one file: `bars` has symbol, day, label, prices, volume, and amount where the vendor has it.

    Raises InputRefused: 011 bars lie outside the session (the shift is said), 013 stamp side not decidable or
    bars not as far apart as the market's, 126 unit of volume not decidable, 127 prices are not raw.
    """
    limits = thresholds or Thresholds()
    labels = np.bincount(bars["label"].to_numpy(), minlength=DAY + 1)
    _check_shift(labels, market, limits)
    _check_spacing(labels, market)
    side, seen_side = _stamp_side(bars, labels, market, limits)
    if not side and known is None:
        raise _undecided("FPM-IN-013", f"stamp side is not decidable: {seen_side}", "give a whole session of bars")
    side = side or (known.stamp_side if known else "")
    unit, basis, seen_unit = _unit_and_basis(bars, market, known, limits)
    return Conventions(side, _calls(labels, market, side), unit, basis, f"{seen_side}; {seen_unit}")


def _undecided(code: str, wrong: str, todo: str) -> InputRefused:
    return InputRefused(code=code, wrong=wrong, effect="the file is refused whole, nothing of it is stored", todo=todo)


def clock(label: int) -> str:
    """A label as text, e.g. 571 -> 09:31."""
    return f"{label // 60:02d}:{label % 60:02d}"


def segments(market: Market) -> list[tuple[int, int]]:
    """First and last minute (END) of each continuous stretch of the session, calls left out or merged at the end."""
    calls = {call for call in CALLS.get(market.name, ()) if call < market.slots[1]}
    minutes = sorted(set(market.slots) - calls)
    cuts = [i for i, (left, right) in enumerate(pairwise(minutes)) if right - left > market.bar_minutes]
    firsts = [minutes[0], *(minutes[i + 1] for i in cuts)]
    lasts = [*(minutes[i] for i in cuts), minutes[-1]]
    return list(zip(firsts, lasts, strict=True))


def _allowed(market: Market) -> np.ndarray:
    """(1440,) bool: labels that some convention stamps inside the session; midnight is 0."""
    inside: np.ndarray = np.zeros(DAY, bool)
    for first, last in segments(market):
        inside[np.arange(first - market.bar_minutes, last + 1) % DAY] = True
    inside[[call % DAY for call in CALLS.get(market.name, ())]] = True
    return inside


def _check_shift(labels: np.ndarray, market: Market, limits: Thresholds) -> None:
    """Times of another zone put most bars of the session outside it; a whole-day market cannot show it."""
    allowed = _allowed(market)
    folded = labels[:DAY].copy()
    folded[0] += labels[DAY]
    total = int(folded.sum())
    inside = {shift: int(folded[np.roll(allowed, shift)].sum()) for shift in range(-12 * 60, 12 * 60 + 1, 30)}
    best = max(inside, key=lambda shift: (inside[shift], -abs(shift)))
    if inside[best] > inside[0] + limits.inside * total or inside[0] == 0:
        raise _undecided(
            "FPM-IN-011",
            f"{inside[0]} of {total} bars inside the session; shifted by {best / 60:+g} h?",
            "give times local to the exchange, or with their zone",
        )


def _check_spacing(labels: np.ndarray, market: Market) -> None:
    used, expected = np.flatnonzero(labels), market.bar_minutes
    step = int(np.median(np.diff(used))) if len(used) > 10 else expected
    if step != expected:
        wrong = f"bars are {step} minutes apart, expected {expected}"
        fitting = [
            each.name for each in MARKETS.values() if (each.calendar, each.bar_minutes) == (market.calendar, step)
        ]
        todo = f"set a home up for market {fitting[0]}" if fitting else f"give bars of {expected} minutes"
        raise _undecided("FPM-IN-013", wrong, todo)


def _stamp_side(bars: pl.DataFrame, labels: np.ndarray, market: Market, limits: Thresholds) -> tuple[str, str]:
    """start, end or nothing, and what was seen.

    Only a START stamp uses the label before a stretch's first END, only an END stamp the stretch's last END.
    Around the lunch break no auction blurs this. In one-stretch markets an opening or closing cross may use
    the other side's label; a cross is a bar of one price, so its range tells it from a minute of trading.
    """
    stretches = segments(market)
    if market.calendar is None:
        return _whole_day_side(bars, market.bar_minutes)
    start_label, end_label = (stretches[-1][0] - market.bar_minutes, stretches[0][1])
    starts, ends = int(labels[start_label]), int(labels[end_label])
    seen = f"{starts} bars at {clock(start_label)}, {ends} at {clock(end_label)}"
    reaching = bars.filter(pl.col("label") > min(start_label, end_label))  # a file may stop before it can tell
    days = reaching.select(pl.struct("symbol", "day").n_unique()).item()
    if starts and ends and len(stretches) == 1:
        return _side_by_range(bars, start_label, end_label, seen, limits)
    if bool(starts) is bool(ends) or max(starts, ends) < days / 2:
        return "", f"{seen}, in {days} symbol-days"
    return ("start" if starts else "end"), seen


def _side_by_range(
    bars: pl.DataFrame, start_label: int, end_label: int, seen: str, limits: Thresholds
) -> tuple[str, str]:
    around = {label: _range(bars, label) for label in (start_label, start_label + 1, end_label - 1, end_label)}
    opening = around[start_label] / max(around[start_label + 1], 1e-12)
    closing = around[end_label] / max(around[end_label - 1], 1e-12)
    seen = f"{seen}, range ratio {opening:.2f} at the open and {closing:.2f} at the close"
    if opening < limits.narrower <= closing:
        return "end", seen
    if closing < limits.narrower <= opening:
        return "start", seen
    return "", seen


def _range(bars: pl.DataFrame, label: int) -> float:
    """Median relative range of the bars of one label."""
    chosen = bars.filter((pl.col("label") == label) & (pl.col("low") > 0))
    ranges = (chosen["high"] - chosen["low"]).to_numpy() / chosen["low"].to_numpy()
    return float(np.median(ranges)) if len(ranges) else 0.0


def _whole_day_side(bars: pl.DataFrame, minutes: int) -> tuple[str, str]:
    """A market that never closes shows its side only at the edges of the file."""
    edges = bars.select(
        (pl.col("day").cast(pl.Int32).cast(pl.Int64) * DAY + pl.col("label")).min().alias("first"),
        (pl.col("day").cast(pl.Int32).cast(pl.Int64) * DAY + pl.col("label")).max().alias("last"),
    )
    first, last = (int(edges[name][0]) % DAY for name in ("first", "last"))
    seen = f"first bar at {clock(first)}, last at {clock(last)}"
    side = {(0, DAY - minutes): "start", (minutes, 0): "end"}.get((first, last), "")
    return side, seen


def _calls(labels: np.ndarray, market: Market, side: str) -> tuple[int, ...]:
    """Labels that hold a call: 09:25 or, stamped by END, 09:30 at the open; 15:00 at the A-share close."""
    if market.name not in ("cn", "us"):
        return ()
    opening = [565] if market.name == "cn" else []
    opening += [570] if side == "end" else []
    closing = [900] if market.name == "cn" else []
    return tuple(label for label in (*opening, *closing) if labels[label])


def _unit_and_basis(
    bars: pl.DataFrame, market: Market, known: Conventions | None, limits: Thresholds
) -> tuple[str, str, str]:
    """Unit of volume and basis of prices, from amount where there is one."""
    if "amount" in bars.columns and bars["amount"].null_count() < bars.height:
        traded = bars.filter((pl.col("volume") > 0) & (pl.col("amount") > 0) & (pl.col("low") > 0))
        if traded.height:
            return _from_amount(traded, limits)
    if market.calendar == CHINESE or market.name not in TICKS:
        if known:
            return known.volume_unit, known.price_basis, "no amount: as decided before"
        raise _undecided("FPM-IN-126", "no amount: lots or shares, raw or adjusted are not decidable", "add amount")
    tick = TICKS[market.name]
    close = bars.filter(pl.col("close") > 0)["close"].to_numpy()
    on_tick = float(np.mean(np.abs(close / tick - np.round(close / tick)) < 1e-3)) if len(close) else 0.0
    if on_tick < limits.on_tick and known is None:
        wrong = f"{on_tick:.1%} of closes lie on the tick {tick}: adjusted prices?"
        raise _undecided("FPM-IN-127", wrong, "give raw prices, or amount so that it can be checked")
    return "shares", "raw_by_tick", f"no amount; {on_tick:.1%} of closes on the tick {tick}"


def _from_amount(traded: pl.DataFrame, limits: Thresholds) -> tuple[str, str, str]:
    volume, amount = traded["volume"].to_numpy(), traded["amount"].to_numpy()
    low, high = traded["low"].to_numpy(), traded["high"].to_numpy()
    ratio = float(np.median(amount / volume / (low + high) * 2))
    scale = LOT if abs(ratio / LOT - 1) < limits.ratio else 1.0
    average = amount / volume / scale
    inside = (average >= low * (1 - limits.slack)) & (average <= high * (1 + limits.slack))
    seen = f"amount / (volume x price) = {ratio:.4g}, {inside.mean():.1%} of average prices in [low, high]"
    if abs(ratio / scale - 1) >= limits.ratio:
        raise _undecided("FPM-IN-126", f"unit of volume is not decidable: {seen}", "give shares (or lots), raw prices")
    if inside.mean() < limits.in_range:
        worst = traded["symbol"][int(np.argmin(inside))]
        raise _undecided("FPM-IN-127", f"prices are not raw, e.g. {worst}: {seen}", "give unadjusted prices")
    return ("lots" if scale == LOT else "shares"), "raw", seen
