"""Conventions of a vendor, detected from the bars: stamp side, calls, unit of volume, basis of prices.

A file shows each of them, or the `Conventions` of earlier files decide; a file that stays undecided is refused with
the evidence. `label` = the local minute of the day in a bar's stamp.
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
    """The meaning of a vendor's columns.

    `stamp_side` start | end; `calls` labels of bars that hold a call auction; `volume_unit` shares | lots;
    `price_basis` raw | raw_by_tick (without amount, from the tick of the prices); `seen` the evidence, in words.
    """

    stamp_side: str
    calls: tuple[int, ...]
    volume_unit: str
    price_basis: str
    seen: str

    def to_json(self) -> str:
        """One line of JSON, for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Conventions:
        """The conventions that `to_json` wrote."""
        parts = json.loads(text)
        return cls(**{**parts, "calls": tuple(parts["calls"])})


@dataclass(frozen=True)
class Thresholds:
    """Limits of sufficient evidence, measured on samples of the project's four markets.

    `inside`: a shift is reported where it puts this share more of the bars inside the session.
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
    bars: pl.DataFrame, market: Market, fallback: Conventions | None = None, thresholds: Thresholds | None = None
) -> Conventions:
    """Conventions of one file: `bars` has symbol, day, label, prices, volume, and amount where the vendor has it.

    `fallback` decides what the file cannot show. Raises InputRefused: 011 bars lie outside the session (with the
    shift), 013 stamp side not decidable or bars of another length, 126 unit of volume not decidable, 127 not raw.
    """
    limits = thresholds or Thresholds()
    labels = np.bincount(bars["label"].to_numpy(), minlength=DAY + 1)
    _check_shift(labels, market, limits)
    _check_spacing(labels, market)
    side, evidence = _stamp_side(bars, labels, market, limits)
    if not side and fallback is None:
        raise _refusal(
            code="FPM-IN-013",
            wrong=f"stamp side is not decidable: {evidence}",
            todo="give a whole session of bars",
        )
    side = side or (fallback.stamp_side if fallback else "")
    units = _units(bars, market, fallback, limits)
    calls = _calls(labels, market, side)
    return Conventions(side, calls, units.volume_unit, units.price_basis, f"{evidence}; {units.evidence}")


def _refusal(*, code: str, wrong: str, todo: str) -> InputRefused:
    return InputRefused(code=code, wrong=wrong, effect="the file is refused whole, nothing of it is stored", todo=todo)


def clock(label: int) -> str:
    """A label as text, e.g. 571 -> 09:31."""
    return f"{label // 60:02d}:{label % 60:02d}"


def segments(market: Market) -> list[tuple[int, int]]:
    """First and last minute (END) of each continuous stretch; a closing call merges with the last one."""
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
    """Refuse times of another zone: they put most bars outside the session. A whole-day market cannot show it."""
    allowed = _allowed(market)
    folded = labels[:DAY].copy()
    folded[0] += labels[DAY]
    total = int(folded.sum())
    inside = {shift: int(folded[np.roll(allowed, shift)].sum()) for shift in range(-12 * 60, 12 * 60 + 1, 30)}
    best = max(inside, key=lambda shift: (inside[shift], -abs(shift)))
    if inside[best] > inside[0] + limits.inside * total or inside[0] == 0:
        raise _refusal(
            code="FPM-IN-011",
            wrong=f"{inside[0]} of {total} bars inside the session; shifted by {best / 60:+g} h?",
            todo="give times local to the exchange, or with their zone",
        )


def _check_spacing(labels: np.ndarray, market: Market) -> None:
    used, expected = np.flatnonzero(labels), market.bar_minutes
    step = int(np.median(np.diff(used))) if len(used) > 10 else expected
    if step != expected:
        others = [
            other.name for other in MARKETS.values() if (other.calendar, other.bar_minutes) == (market.calendar, step)
        ]
        raise _refusal(
            code="FPM-IN-013",
            wrong=f"bars are {step} minutes apart, expected {expected}",
            todo=f"set a home up for market {others[0]}" if others else f"give bars of {expected} minutes",
        )


def _stamp_side(bars: pl.DataFrame, labels: np.ndarray, market: Market, limits: Thresholds) -> tuple[str, str]:
    """`start`, `end` or an empty text, and the evidence.

    Only a START stamp uses the label before a stretch's first END, only an END stamp the stretch's last END.
    Around the lunch break no auction blurs this. In markets of one stretch an opening or closing cross may use
    the other side's label; a cross is a bar of one price, so its range differs from that of a minute of trading.
    """
    stretches = segments(market)
    if market.calendar is None:
        return _whole_day_side(bars, market.bar_minutes)
    start_label, end_label = (stretches[-1][0] - market.bar_minutes, stretches[0][1])
    starts, ends = int(labels[start_label]), int(labels[end_label])
    evidence = f"{starts} bars at {clock(start_label)}, {ends} at {clock(end_label)}"
    reaching = bars.filter(pl.col("label") > min(start_label, end_label))  # a file may end before these labels
    days = reaching.select(pl.struct("symbol", "day").n_unique()).item()
    if starts and ends and len(stretches) == 1:
        return _side_by_range(bars, start_label, end_label, evidence, limits)
    if bool(starts) is bool(ends) or max(starts, ends) < days / 2:
        return "", f"{evidence}, in {days} symbol-days"
    return ("start" if starts else "end"), evidence


def _side_by_range(
    bars: pl.DataFrame, start_label: int, end_label: int, evidence: str, limits: Thresholds
) -> tuple[str, str]:
    around = {label: _range(bars, label) for label in (start_label, start_label + 1, end_label - 1, end_label)}
    opening = around[start_label] / max(around[start_label + 1], 1e-12)
    closing = around[end_label] / max(around[end_label - 1], 1e-12)
    evidence = f"{evidence}, range ratio {opening:.2f} at the open and {closing:.2f} at the close"
    if opening < limits.narrower <= closing:
        return "end", evidence
    if closing < limits.narrower <= opening:
        return "start", evidence
    return "", evidence


def _range(bars: pl.DataFrame, label: int) -> float:
    """Median relative range of the bars of one label."""
    own = bars.filter((pl.col("label") == label) & (pl.col("low") > 0))
    ranges = (own["high"] - own["low"]).to_numpy() / own["low"].to_numpy()
    return float(np.median(ranges)) if len(ranges) else 0.0


def _whole_day_side(bars: pl.DataFrame, minutes: int) -> tuple[str, str]:
    """A market that never closes shows its side only at the edges of the file."""
    edges = bars.select(
        (pl.col("day").cast(pl.Int32).cast(pl.Int64) * DAY + pl.col("label")).min().alias("first"),
        (pl.col("day").cast(pl.Int32).cast(pl.Int64) * DAY + pl.col("label")).max().alias("last"),
    )
    first, last = (int(edges[name][0]) % DAY for name in ("first", "last"))
    evidence = f"first bar at {clock(first)}, last at {clock(last)}"
    side = {(0, DAY - minutes): "start", (minutes, 0): "end"}.get((first, last), "")
    return side, evidence


def _calls(labels: np.ndarray, market: Market, side: str) -> tuple[int, ...]:
    """Labels that hold a call: 09:25 or, stamped by END, 09:30 at the open; 15:00 at the A-share close."""
    if market.name not in ("cn", "us"):
        return ()
    opening = [565] if market.name == "cn" else []
    opening += [570] if side == "end" else []
    closing = [900] if market.name == "cn" else []
    return tuple(label for label in (*opening, *closing) if labels[label])


@dataclass(frozen=True)
class _Units:
    """Unit of volume and basis of prices, with the evidence in words."""

    volume_unit: str
    price_basis: str
    evidence: str


def _units(bars: pl.DataFrame, market: Market, fallback: Conventions | None, limits: Thresholds) -> _Units:
    """From amount where there is one, else from `fallback` or the tick of the prices."""
    if "amount" in bars.columns and bars["amount"].null_count() < bars.height:
        traded = bars.filter((pl.col("volume") > 0) & (pl.col("amount") > 0) & (pl.col("low") > 0))
        if traded.height:
            return _from_amount(traded, limits)
    if market.calendar == CHINESE or market.name not in TICKS:
        if fallback:
            return _Units(fallback.volume_unit, fallback.price_basis, "no amount: as decided before")
        raise _refusal(
            code="FPM-IN-126",
            wrong="no amount: lots or shares, raw or adjusted are not decidable",
            todo="add amount",
        )
    tick = TICKS[market.name]
    close = bars.filter(pl.col("close") > 0)["close"].to_numpy()
    on_tick = float(np.mean(np.abs(close / tick - np.round(close / tick)) < 1e-3)) if len(close) else 0.0
    if on_tick < limits.on_tick and fallback is None:
        raise _refusal(
            code="FPM-IN-127",
            wrong=f"{on_tick:.1%} of closes lie on the tick {tick}: adjusted prices?",
            todo="give raw prices, or amount so that it can be checked",
        )
    return _Units("shares", "raw_by_tick", f"no amount; {on_tick:.1%} of closes on the tick {tick}")


def _from_amount(traded: pl.DataFrame, limits: Thresholds) -> _Units:
    volume, amount = traded["volume"].to_numpy(), traded["amount"].to_numpy()
    low, high = traded["low"].to_numpy(), traded["high"].to_numpy()
    ratio = float(np.median(amount / volume / (low + high) * 2))
    scale = LOT if abs(ratio / LOT - 1) < limits.ratio else 1.0
    average = amount / volume / scale
    inside = (average >= low * (1 - limits.slack)) & (average <= high * (1 + limits.slack))
    evidence = f"amount / (volume x price) = {ratio:.4g}, {inside.mean():.1%} of average prices in [low, high]"
    if abs(ratio / scale - 1) >= limits.ratio:
        raise _refusal(
            code="FPM-IN-126",
            wrong=f"unit of volume is not decidable: {evidence}",
            todo="give shares (or lots), raw prices",
        )
    if inside.mean() < limits.in_range:
        worst = traded["symbol"][int(np.argmin(inside))]
        raise _refusal(
            code="FPM-IN-127",
            wrong=f"prices are not raw, e.g. {worst}: {evidence}",
            todo="give unadjusted prices",
        )
    return _Units("lots" if scale == LOT else "shares", "raw", evidence)
