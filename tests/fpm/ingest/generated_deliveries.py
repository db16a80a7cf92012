"""Deliveries whose truth is known: a small exchange trades, a vendor of drawn habits writes it down.

The facts of each market are literals (`venues`), so that nothing is compared with the code under test. Every
row of a delivery knows what it means: its session, slot, prices, shares and amount, or that it is no bar of a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from hypothesis import strategies as st

from tests.fpm.ingest.venues import VENUES, Hours

if TYPE_CHECKING:
    from pathlib import Path

PRICES = ("open", "high", "low", "close")
TRUTH = ("session", "slot", *PRICES, "volume", "amount")


@dataclass(frozen=True)
class Delivery:
    """A vendor's habits and one delivery of them.

    `side` start | end; `opening` label of the opening call's own bar, None within the first bar; `closing` likewise
    (START stamps; under END it is the last bar's label); `lunch`: the morning's last bar has the afternoon's first
    label; `extended`: share of the minutes before and after the session that have a bar; `units` one of shares, lots,
    by symbol, by session; `amount` all | none | one (of the symbols); `untraded` keep | drop | zero | minus one;
    `gaps` rows that are lost, `late` bars lost at the start of one session; `copies` equal rows, `conflicts` other
    prices in a copy; `split` whole | symbol | session | rows; `times` naive | zone | utc | nanoseconds; `shifted`: a
    fault, naive times of UTC; `known`: an earlier delivery of the vendor showed the conventions.
    """

    venue: str
    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    side: str
    seed: int
    opening: int | None = None
    closing: int | None = None
    lunch: bool = False
    extended: float = 0.0
    units: str = "shares"
    amount: str = "all"
    thin: float = 0.0
    untraded: str = "keep"
    gaps: int = 0
    late: int = 0
    copies: int = 0
    conflicts: int = 0
    split: str = "whole"
    suffix: str = ".parquet"
    times: str = "naive"
    shifted: bool = False
    known: bool = False


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    """Any habit beside any other, where the market has it."""
    name = draw(st.sampled_from(sorted(VENUES)))
    venue = VENUES[name]
    week = draw(st.sampled_from(venue.weeks))
    first = draw(st.integers(0, len(week) - 1))
    sessions = week[first : draw(st.integers(first + 1, len(week)))]
    symbols = venue.symbols[: draw(st.integers(2, len(venue.symbols)))]
    side = draw(st.sampled_from(("start", "end")))
    start = venue.hours[0][0]
    own = [None] if len(venue.hours) == 1 and start == 0 else [None, start] if side == "end" else [None]
    units = draw(
        st.sampled_from(("shares", "lots", "by symbol", "by session") if len(venue.units) > 1 else venue.units)
    )
    extended = draw(st.sampled_from((0.0, 0.02, 0.3, 1.0))) if venue.extended else 0.0
    return Delivery(
        name,
        sessions,
        symbols,
        side,
        draw(st.integers(0, 2**32 - 1)),
        opening=draw(st.sampled_from([*own, venue.opening] if side == "end" or venue.opening != start else own)),
        closing=draw(st.sampled_from((None, venue.hours[-1][1]))) if start and not extended else None,
        lunch=len(venue.hours) > 1 and side == "end" and draw(st.booleans()),
        extended=extended,
        units=units,
        # a vendor that mixes units and has no amounts cannot be understood by anyone
        amount=draw(st.sampled_from(("all", "all", "one", *(("none",) if units in ("shares", "lots") else ())))),
        thin=draw(st.sampled_from((0.0, 0.0, 0.2, 0.7))),
        untraded=draw(st.sampled_from(("keep", "drop", "zero", "minus one"))),
        gaps=draw(st.sampled_from((0, 0, 1, 5, 40))),
        late=draw(st.sampled_from((0, 0, 1, 3))),
        copies=draw(st.sampled_from((0, 0, 2))),
        conflicts=draw(st.sampled_from((0, 0, 1))),
        split=draw(st.sampled_from(("whole", "whole", "symbol", "session", "rows"))),
        suffix=draw(st.sampled_from((".parquet", ".csv"))),
        times=draw(st.sampled_from(("naive", "zone", "utc", "nanoseconds"))),
        shifted=draw(st.sampled_from((False,) * 7 + (True,))),
        # files without amounts of a vendor that mixes units look like those of one that does not
        known=units in ("shares", "lots") and draw(st.booleans()),
    )


# --- what trades, and what the vendor writes of it -------------------------------------------------------------------
def rows(delivery: Delivery) -> pl.DataFrame:
    """Every row of the delivery: the vendor's columns symbol, minute, prices, vol, amt, file; the truth as `true_*`.

    `true_slot` is null where the row is no bar of a session, or a copy that contradicts its original.
    """
    random = np.random.default_rng(delivery.seed)
    parts = [
        _written(delivery, symbol, session, random) for symbol in delivery.symbols for session in delivery.sessions
    ]
    frame = pl.concat(parts)
    if delivery.amount == "one":
        first = pl.col("symbol") == delivery.symbols[0]
        frame = frame.with_columns(
            pl.when(first).then(pl.col("amt")).alias("amt"),
            pl.when(first).then(pl.col("true_amount")).otherwise(_derived()).alias("true_amount"),
        )
    if delivery.amount == "none":
        frame = frame.drop("amt").with_columns(_derived().alias("true_amount"))
    frame = _with_losses(frame, delivery, random)
    return _with_files(_with_copies(frame, delivery, random), delivery, random)


def _derived() -> pl.Expr:
    return (pl.col("true_close") * pl.col("true_volume")).fill_null(0.0)


def _written(delivery: Delivery, symbol: str, session: date, random: np.random.Generator) -> pl.DataFrame:
    """One symbol-session as the vendor writes it."""
    venue = VENUES[delivery.venue]
    bars = _bars(delivery, symbol, session)
    labels, slots, weight = (np.array(column) for column in zip(*bars, strict=True))
    count = len(labels)
    calls = (labels == delivery.opening) | (slots == -2) | ((delivery.closing == labels) & (delivery.side == "start"))
    traded = (weight > 0) & ((random.random(count) >= delivery.thin) | ((weight > 2) & (delivery.thin < 0.5)))
    wide = np.where(calls & (slots != -1), 0, np.rint(1 + 3 * weight))
    moves = np.rint(random.normal(0, 1.5, count) * np.minimum(wide, 6)) * traded
    close = np.maximum(int(random.integers(900, 60_000)) + np.cumsum(moves), 200)
    opens = np.concatenate([close[:1], close[:-1]])
    opens = np.where(traded & ~calls, opens, close)
    reach = np.rint(np.abs(random.normal(0, 1, count)) * np.minimum(wide, 6) + np.minimum(wide, 2)) * traded * ~calls
    high, low = np.maximum(opens, close) + reach, np.minimum(opens, close) - reach
    volume = np.rint((1 + random.gamma(1.0, 40.0, count)) * weight * (1 + venue.step)) * traded
    volume = np.where(traded, np.maximum(volume, 1), 0) * (100 if "lots" in venue.units else 1)
    prices = np.column_stack([opens, high, low, close]) * venue.tick
    prices = np.round(prices, 2)
    amount = np.round(volume * np.clip(random.uniform(low, high + 1e-9), low, high) * venue.tick, 2)
    factor = _lot(delivery, symbol, session)
    minute = np.datetime64(session, "us") + labels * np.timedelta64(60_000_000, "us")
    unknown = {"zero": 0.0, "minus one": -1.0}.get(delivery.untraded)
    shown = prices if unknown is None else np.where(traded[:, None], prices, unknown)
    true = prices if unknown is None else np.where(traded[:, None], prices, np.nan)
    frame = pl.DataFrame(
        {
            "symbol": np.full(count, symbol if delivery.venue.startswith("cn") else symbol.rsplit(".", 1)[0]),
            "minute": minute,
            **{name: shown[:, number] for number, name in enumerate(PRICES)},
            "vol": volume / factor,
            "amt": amount,
            "true_symbol": np.full(count, symbol),
            "true_session": np.full(count, np.datetime64(session, "D")),
            "true_slot": np.where(slots < 0, -1, slots),
            **{f"true_{name}": true[:, number] for number, name in enumerate(PRICES)},
            "true_volume": volume,
            "true_amount": amount,
        }
    ).with_columns(pl.col([f"true_{name}" for name in PRICES]).fill_nan(None), pl.col("true_slot").replace(-1, None))
    return frame if delivery.untraded != "drop" else frame.filter(pl.col("vol") > 0)


def _bars(delivery: Delivery, symbol: str, session: date) -> list[tuple[int, int, float]]:
    """Label, true slot and weight of each bar. Slot -1: outside the session; weight 0: nobody can trade."""
    venue = VENUES[delivery.venue]
    own = venue.special.get(session, venue.hours)
    late = venue.step if delivery.side == "end" else 0
    before_call = session < venue.continuous_until.get(symbol.rsplit(".", 1)[-1], date.min)
    called = venue.closing is not None and not before_call
    first_slot = int(venue.opening is not None)
    bars: list[tuple[int, int, float]] = []
    slot = first_slot
    for begin, stop in venue.hours:
        for start in range(begin, stop, venue.step):
            end = min(start + venue.step, stop)
            cut = next(((max(a, start), min(b, end)) for a, b in own if a < end and start < b), None)
            if cut:
                weight = 0.0 if called and end in venue.silent else _weight(cut[0], own)
                bars.append((cut[1] if delivery.side == "end" else cut[0], slot, weight))
            slot += 1
    bars = _with_calls(bars, delivery, slot, called)
    if delivery.lunch and len(own) > 1:
        bars = [(own[1][0] if label == own[0][1] else label, place, weight) for label, place, weight in bars]
    if delivery.extended and venue.extended:
        bars += _extended(delivery, own, late)
    return sorted(bars)


def _weight(start: int, own: Hours) -> float:
    """More trades at the start and end of a session."""
    return 1 + 3 * float(np.exp(-(start - own[0][0]) / 15)) + 2 * float(np.exp((start - own[-1][1]) / 10))


def _with_calls(
    bars: list[tuple[int, int, float]], delivery: Delivery, last_slot: int, called: bool
) -> list[tuple[int, int, float]]:
    """The bars of the calls: in slots of their own, within the bar beside them, or in none of the grid's."""
    venue = VENUES[delivery.venue]
    if called:
        label, _, _ = bars.pop()  # the last minute holds the call alone
        if delivery.side == "start" and delivery.closing is not None:
            bars += [(label, last_slot - 1, 0.0), (delivery.closing, last_slot, 5.0)]
        else:
            bars.append((label, last_slot, 5.0))
    elif delivery.closing is not None and delivery.side == "start" and bars[-1][0] + venue.step == delivery.closing:
        bars.append((delivery.closing, -2, 5.0))  # a cross after the last bar, where the grid has no slot for it
    ordinary = bars[0][1] == int(venue.opening is not None)
    if delivery.opening is not None and ordinary and not delivery.extended:
        bars.insert(0, (delivery.opening, 0 if venue.opening is not None else -2, 5.0))
    return bars


def _extended(delivery: Delivery, own: Hours, late: int) -> list[tuple[int, int, float]]:
    """Quiet bars before and after the session."""
    venue, random = VENUES[delivery.venue], np.random.default_rng(delivery.seed + own[-1][1])
    assert venue.extended
    first = own[0][0] - (own[0][0] - venue.extended[0]) // venue.step * venue.step
    stretches = ((first, own[0][0]), (own[-1][1] + venue.pause // venue.step * venue.step, venue.extended[1]))
    starts = [start for first, stop in stretches for start in range(first, stop, venue.step)]
    return [(start + late, -1, 0.05) for start in starts if random.random() < delivery.extended]


def _lot(delivery: Delivery, symbol: str, session: date) -> float:
    in_lots = {
        "shares": False,
        "lots": True,
        "by symbol": symbol == delivery.symbols[0],
        "by session": session == delivery.sessions[-1],
    }
    return 100.0 if in_lots[delivery.units] else 1.0


def _with_losses(frame: pl.DataFrame, delivery: Delivery, random: np.random.Generator) -> pl.DataFrame:
    """Some rows are lost, and the first ones of one symbol's session."""
    lost = np.zeros(frame.height, bool)
    if delivery.gaps:
        lost[random.choice(frame.height, min(delivery.gaps, frame.height // 8), replace=False)] = True
    lost[: delivery.late] = True
    return frame.filter(~lost)


def _with_copies(frame: pl.DataFrame, delivery: Delivery, random: np.random.Generator) -> pl.DataFrame:
    """Equal copies of some rows, and copies with other prices, which nobody may store."""
    copies = min(delivery.copies, frame.height)  # of a thin delivery that keeps no untraded bar nothing may be left
    places = random.choice(frame.height, min(copies + delivery.conflicts, frame.height), replace=False)
    equal, other = frame[places[:copies]], frame[places[copies:]]
    other = other.with_columns(pl.col(PRICES) + 0.5, true_slot=pl.lit(None, frame["true_slot"].dtype))
    return pl.concat([frame, equal, other])


def _with_files(frame: pl.DataFrame, delivery: Delivery, random: np.random.Generator) -> pl.DataFrame:
    cut = int(random.integers(1, max(frame.height, 2)))
    number = {
        "whole": pl.lit(0),
        "symbol": pl.col("true_symbol").rank("dense") - 1,
        "session": pl.col("true_session").rank("dense") - 1,
        "rows": (pl.int_range(pl.len()) >= cut).cast(pl.Int64),
    }[delivery.split]
    return frame.with_columns(number.cast(pl.Int64).alias("file"))


def write(frame: pl.DataFrame, delivery: Delivery, folder: Path) -> list[tuple[Path, pl.DataFrame]]:
    """The files of a delivery, each with its rows in the file's order."""
    zone = VENUES[delivery.venue].zone
    local = pl.col("minute").dt.cast_time_unit("us").dt.replace_time_zone(zone)
    utc = local.dt.convert_time_zone("UTC")
    minute = {"naive": pl.col("minute").dt.cast_time_unit("us"), "zone": local, "utc": utc}.get(
        delivery.times, utc.dt.cast_time_unit("ns")
    )
    if delivery.shifted:
        minute = utc.dt.replace_time_zone(None)
    files = []
    for (number,), part in sorted(frame.partition_by("file", as_dict=True, maintain_order=True).items()):
        path = folder / f"bars-{number}{delivery.suffix}"
        columns = part.select("symbol", minute.alias("minute"), *PRICES, pl.col("vol").alias("volume"), *_amount(part))
        if delivery.suffix == ".csv":
            columns.with_columns(pl.col("minute").dt.to_string("iso:strict")).write_csv(path)
        else:
            columns.write_parquet(path)
        files.append((path, part))
    return files


def _amount(part: pl.DataFrame) -> list[pl.Expr]:
    return [pl.col("amt").alias("amount")] if "amt" in part.columns else []
