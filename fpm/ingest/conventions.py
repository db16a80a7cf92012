"""Conventions of a vendor, detected from the bars: stamp side, calls, unit of volume, basis of prices.

A file shows each of them, or the caller's `Stated` or the `Conventions` of earlier files decide; a file that stays
undecided is refused with the evidence. `label` = the local minute of the day in a bar's stamp.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import InputRefused
from fpm.ingest import units
from fpm.ingest.stamp_side import END, THERE, stamp_side
from fpm.ingest.units import Stated
from fpm.markets import BARS, DAY, clock
from fpm.schema import PRICES
from fpm.sessions import hours, sessions_between

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.calendar_overrides import Segments
    from fpm.markets import Market

INSIDE = 0.05  # a shift is reported where it puts this share more of the bars inside the session
LOUD = 0.2  # likewise of the volume, by whole hours: news after the close may trade more than the first half-hour
WHOLE_SHIFT = 30  # minutes between two time zones, at least
NOTHING = Stated()
COLUMNS = (*units.KEYS, "label", *PRICES, "volume", "amount")  # all that shows a convention


@dataclass(frozen=True)
class Conventions:
    """The meaning of a vendor's columns.

    `stamp_side` start | end; `calls` labels of bars that hold a call auction; `volume_unit` shares | lots;
    `price_basis` raw | raw_by_tick (without amount, from the tick of the prices) | adjusted (the caller's word);
    `seen` the evidence, in words; `moved`: pairs of a label and the label it stands for.
    """

    stamp_side: str
    calls: tuple[int, ...]
    volume_unit: str
    price_basis: str
    seen: str
    moved: tuple[tuple[int, int], ...] = ()

    def to_json(self) -> str:
        """One line of JSON, for `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Conventions:
        """The conventions that `to_json` wrote."""
        parts = json.loads(text)
        moved = tuple((label, true) for label, true in parts.get("moved", ()))
        return cls(**{**parts, "calls": tuple(parts["calls"]), "moved": moved})


@dataclass(frozen=True)
class Detected:
    """Conventions of one file, and the symbol-sessions that differ from them (`units.Units`: factors, refused)."""

    conventions: Conventions
    factors: pl.DataFrame
    refused: pl.DataFrame


def detect(
    bars: pl.DataFrame, market: Market, fallback: Conventions | None = None, stated: Stated = NOTHING
) -> Detected:
    """Conventions of one file: `bars` has symbol, day, label, prices, volume, and amount where the vendor has it.

    `fallback` decides what the file cannot show. Raises InputRefused: 011 bars lie outside the session (with the
    shift), 013 stamp side not decidable or bars of another length, 126 unit of volume not decidable, 127 not raw,
    135 no day of the file is a session.
    """
    bars = bars.select(*(name for name in COLUMNS if name in bars.columns), units.symbol_day(bars))
    ordinary, stretches = _ordinary(bars, market)
    labels = np.bincount(ordinary["label"].to_numpy(), minlength=DAY + 1)
    _check_shift(ordinary, labels, market, stretches)
    _check_spacing(labels, market)
    labelling = stamp_side(ordinary, market, stretches)
    remembered = fallback.stamp_side if fallback and not _contradicts(fallback, labels, market, stretches) else ""
    side = stated.stamp_side or labelling.side or remembered
    if not labelling.sure and labelling.side and not stated.stamp_side and fallback and fallback.stamp_side != side:
        raise _refusal(
            code="FPM-IN-013",
            wrong=f"files before were stamped by {fallback.stamp_side}, and this one looks stamped by {side}, though it"
            f" shows too little to outweigh them: {labelling.evidence}",
            todo=f"say --stamp-side {fallback.stamp_side} (or {side}), or give more symbols and sessions in one file",
        )
    if not side:
        raise _refusal(
            code="FPM-IN-013",
            wrong=f"stamp side is not decidable: {labelling.evidence}",
            todo=f"give whole sessions of bars of {_in_words(stretches)} alone, or say --stamp-side start (or end)",
        )
    unit = units.units(
        bars, market.exchange, stated, (fallback.volume_unit, fallback.price_basis) if fallback else None
    )
    conventions = Conventions(
        side,
        _calls(labels, market, side),
        unit.volume_unit,
        unit.price_basis,
        f"{labelling.evidence}; {unit.evidence}",
        tuple(labelling.moved.items()) if side == labelling.side else fallback.moved if fallback else (),
    )
    return Detected(conventions, unit.factors, unit.refused)


def _contradicts(
    conventions: Conventions, labels: np.ndarray, market: Market, stretches: Sequence[tuple[int, int]]
) -> bool:
    """Whether a file has the label that only the other side stamps, though these conventions know no call of it."""
    first, last = stretches[0][0], stretches[-1][1]
    other = first if conventions.stamp_side == END else last
    outside = labels.sum() - labels[np.flatnonzero(_allowed(market, stretches))].sum()
    return bool(labels[other % DAY] and other not in conventions.calls and not outside and last - first < DAY)


def _refusal(*, code: str, wrong: str, todo: str) -> InputRefused:
    return InputRefused(code=code, wrong=wrong, effect="the file is refused whole, nothing of it is stored", todo=todo)


def _in_words(stretches: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{clock(start)}-{clock(end)}" for start, end in stretches)


def _ordinary(bars: pl.DataFrame, market: Market) -> tuple[pl.DataFrame, Segments]:
    """The bars of the sessions with the commonest hours, and these hours.

    A bar of the evening may belong to the next day's session. Raises InputRefused where no day is a session.
    """
    counts = dict(bars.group_by("day").len().sort("day").iter_rows())
    days: list[date] = list(counts)
    sessions = set(sessions_between(market, days[0], days[-1]))
    if not sessions.intersection(days):
        shown = ", ".join(str(day) for day in days[:3])
        raise _refusal(
            code="FPM-IN-135",
            wrong=f"no day of the file is a session of {market.name}: {shown}{' …' if len(days) > 3 else ''}",
            todo="leave it out; where the exchange announced a session, name it in FPM_CALENDAR",
        )
    rows: Counter[Segments] = Counter()
    for day in sessions.intersection(days):
        rows[hours(market, day)] += counts[day]
    commonest = max(sorted(rows), key=lambda own: (rows[own], own == market.segments))
    evenings = market.segments[0][0] < 0  # then a day before a session has bars of it
    chosen = [day for day in days if (hours(market, day) == commonest if day in sessions else evenings)]
    return bars.filter(pl.col("day").is_in(chosen)), commonest


def _allowed(market: Market, stretches: Sequence[tuple[int, int]]) -> np.ndarray:
    """(1440,) bool: labels that some convention stamps inside the session; midnight is 0."""
    inside: np.ndarray = np.zeros(DAY, bool)
    for first, last in stretches:
        inside[np.arange(first, last + 1) % DAY] = True
    inside[[call % DAY for call in market.calls]] = True
    return inside


def _check_shift(bars: pl.DataFrame, labels: np.ndarray, market: Market, stretches: Sequence[tuple[int, int]]) -> None:
    """Refuse times of another zone: they put most bars, or most of the volume, outside the session.

    Extended hours have as many bars as the session and little volume. A whole-day market cannot show a shift.
    """
    allowed = _allowed(market, stretches)
    counts, volumes = (_folded(own) for own in (labels, _volume_shares(bars)))
    total = int(counts.sum())
    for weights, gain, step in ((counts, INSIDE, 30), (volumes, LOUD, 60)):
        shifts = range(-12 * 60, 12 * 60 + 1, step)
        inside = {shift: float(weights[np.roll(allowed, shift)].sum()) for shift in shifts}
        best = max(inside, key=lambda shift: (inside[shift], -abs(shift)))
        if inside[best] > inside[0] + gain * weights.sum() or counts[allowed].sum() == 0:
            raise _shifted(counts, allowed, total, best, stretches)
    if shift := _whole_session_elsewhere(counts, stretches, market.bar_minutes):
        raise _shifted(counts, allowed, total, shift, stretches)


def _shifted(
    counts: np.ndarray, allowed: np.ndarray, total: int, shift: int, stretches: Sequence[tuple[int, int]]
) -> InputRefused:
    bars = f"{int(counts[allowed].sum())} of {total} bars inside {_in_words(stretches)}"
    return _refusal(
        code="FPM-IN-011",
        wrong=f"{bars}; shifted by {shift / 60:+g} h?",
        todo="give times local to the exchange, or with their zone",
    )


def _folded(labels: np.ndarray) -> np.ndarray:
    """(1440,) of (1441,) values by label: 24:00 is midnight."""
    folded = labels[:DAY].copy()
    folded[0] += labels[DAY]
    return folded


def _volume_shares(bars: pl.DataFrame) -> np.ndarray:
    """(1441,) volume by label as shares of a symbol-day; one with few of its bars counts for little."""
    day = units.DAYS
    share = (pl.col("volume") / pl.col("volume").sum().over(day)).fill_nan(None).clip(0, 1) * pl.len().over(day)
    rows = bars.select("label", share.fill_null(0.0).alias("share"))
    shares: np.ndarray = np.bincount(rows["label"].to_numpy(), rows["share"].to_numpy(), minlength=DAY + 1)
    return shares


def _whole_session_elsewhere(counts: np.ndarray, stretches: Sequence[tuple[int, int]], step: int) -> int:
    """Minutes by which a file's labels, as many as a whole session has, lie beside it; 0 where they do not.

    London's session written in UTC has most of its half-hours inside the hours of the summer.
    """
    (start, _), (last, end) = stretches[0], stretches[-1]
    if start < 0 or end - start >= DAY:
        return 0
    used = np.flatnonzero(counts >= THERE * np.median(counts[counts > 0]))
    first, reach = int(used[0]), int(used[-1] - used[0])
    by_start, by_end = last + (end - last - 1) // step * step - start, end - min(start + step, stretches[0][1])
    places = [place for place, span in ((start, by_start), (start + step, by_end)) if reach == span]
    shifts = [first - place for place in places]
    return min(shifts, key=abs) if shifts and 0 not in shifts and min(map(abs, shifts)) >= WHOLE_SHIFT else 0


def _check_spacing(labels: np.ndarray, market: Market) -> None:
    used, expected = np.flatnonzero(labels), market.bar_minutes
    step = int(np.median(np.diff(used))) if len(used) > 4 else expected
    if step != expected:
        home = f"set a home up for them: fpm setup --market {market.exchange.name} --bar {step}m"
        raise _refusal(
            code="FPM-IN-013",
            wrong=f"bars are {step} minutes apart, expected {expected}",
            todo=home if step in BARS else f"give bars of {expected} minutes",
        )


def _calls(labels: np.ndarray, market: Market, side: str) -> tuple[int, ...]:
    """Labels of bars that hold a call alone.

    The call's own label; under an END stamp also that of the first stretch's begin, unless bars of extended hours come
    before it or less than half of the symbol-days have it; the label of the close where the exchange closes by a call.
    """
    first = market.segments[0][0]
    opening = (
        [] if market.opening_call is None or (market.opening_call == first and side != END) else [market.opening_call]
    )
    if market.opening_call is not None and side == END:
        opening.append(first)
    extended = labels[:first].sum() - sum(labels[call] for call in opening if call < first)
    rare = labels[first] < THERE * labels[first + market.bar_minutes]
    opening = [label for label in opening if labels[label] and not (label == first and (extended or rare))][:1]
    closing = [label for label in (market.closing_call,) if label is not None and labels[label]]
    return (*opening, *closing)
