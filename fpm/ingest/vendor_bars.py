"""From a vendor's file to rows of the lake: conventions detected, minutes in their slots, bad rows set aside."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import InputRefused
from fpm.ingest.bar_files import NUMBERS, RawFile, read_file
from fpm.ingest.conventions import DAY, LOT, Conventions, detect
from fpm.ingest.quarantine import RULES, amount_faults, deduplicate, incomplete, row_faults
from fpm.ingest.stamps import local_times, session_in_name, sessions_of
from fpm.ingest.vendor_files import refusal
from fpm.schema import MINUTE_BARS, PRICES
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fpm.sessions import Market

# Shanghai closes by a call auction since this day; before, its 15:00 bar was continuous trading.
SH_CLOSING_CALL = date(2018, 8, 20)


@dataclass(frozen=True)
class FileReport:
    """The account of one file. `rows` = rows out + rows with a fault; `nans`: numbers that were NaN."""

    name: str
    sha256: str
    rows: int
    conventions: Conventions
    synonyms: dict[str, str]
    ignored: tuple[str, ...]
    derived: tuple[str, ...]
    nans: int


@dataclass(frozen=True)
class Parsed:
    """Rows of one file fit for the lake (symbol, session, slot, numbers, row), its faults, and the report.

    `quarantined`: row, session, reason_code, reason.
    """

    path: Path
    frame: pl.DataFrame
    quarantined: pl.DataFrame
    report: FileReport


@dataclass(frozen=True)
class Combined:
    """Rows of several files, sorted by session, symbol, slot, and the faults that only show across rows.

    `quarantined` as in `Parsed`, with `source`, the file's position. `deduplicated`: equal copies removed.
    """

    frame: pl.DataFrame
    quarantined: pl.DataFrame
    deduplicated: int


def read_bars(path: Path, market: Market, now: datetime, fallback: Conventions | None = None) -> Parsed:
    """Read one file of minute bars.

    Times in the file are local to the exchange, or carry their zone. `now` (aware) bounds them; `fallback`: the
    conventions of earlier files, for a file too small to show its own.
    Raises InputRefused as `read_file` and `detect` do; also 028 future bars, 029 no time, CAL-001 beyond the calendar.
    """
    raw = read_file(path)
    if not raw.frame.height:
        raise refusal(path, code="FPM-IN-001", wrong="file has no rows", todo="ask the vendor for the file again")
    numbers, nans = _numbers(raw.frame)
    timed = _timed(raw, market, now).with_columns(numbers)
    rows = with_symbols(timed, market)
    conventions = _detect(path, rows, market, fallback)
    dated = _dated(path, _slotted(rows, market, conventions), market)
    faults = row_faults(dated)
    good = dated.join(faults, on="row", how="anti", maintain_order="left") if faults.height else dated
    complete, derived = _complete(_in_shares(good, conventions), raw)
    names = [name for name in ("session", *MINUTE_BARS.columns) if name in complete.columns]
    report = FileReport(path.name, raw.sha256, raw.frame.height, conventions, raw.synonyms, raw.ignored, derived, nans)
    return Parsed(path, complete.select(*names, "row"), faults, report)


def combine(files: Sequence[Parsed], market: Market, stored: pl.DataFrame | None = None) -> Combined:
    """All rows of the files in canonical order, without duplicates and without incomplete symbol-sessions.

    `stored` (session, symbol, slot): the lake's rows of these sessions, for files that correct a few of them.
    """
    frames = [
        parsed.frame.with_columns(pl.lit(number, pl.UInt16).alias("source")) for number, parsed in enumerate(files)
    ]
    bars = pl.concat(frames, how="diagonal")
    order = pl.Enum(sorted(bars["symbol"].unique().to_list()))
    bars = bars.with_columns(pl.col("symbol").cast(order)).sort("session", "symbol", "slot", "source", "row")
    single = deduplicate(bars)
    bars, amounts = single.bars, amount_faults(single.bars)
    bars = bars.join(amounts, on=["source", "row"], how="anti", maintain_order="left") if amounts.height else bars
    bars, holes = incomplete(bars, market, RULES[market.name], bars.clear() if stored is None else stored)
    faults = pl.concat([single.faults, amounts, holes])
    return Combined(bars.with_columns(pl.col("symbol").cast(pl.String)), faults, single.copies)


def original_rows(path: Path, faults: pl.DataFrame) -> pl.DataFrame:
    """The rows of `faults` (row, session, reason_code, reason) as the vendor wrote them, with these and `source`."""
    cells = read_file(path).frame.join(faults, on="row", how="inner", maintain_order="left")
    return cells.with_columns(pl.lit(path.name).alias("source"))


def printed(values: np.ndarray) -> np.ndarray:
    """float32 -> the float64 of its shortest decimal: 12.34 stored as 12.340000153 becomes 12.34 again."""
    exact: np.ndarray = values.astype(np.float64)
    left = np.flatnonzero(np.isfinite(values))
    for decimals in range(10):
        rounded = np.round(exact[left], decimals)
        same = rounded.astype(np.float32) == values[left]
        exact[left[same]] = rounded[same]
        left = left[~same]
        if not left.size:
            break
    return exact


def _numbers(frame: pl.DataFrame) -> tuple[list[pl.Series], int]:
    """Numbers as float64, NaN as null, and the count of NaN."""
    columns, nans = [], 0
    for name in (name for name in NUMBERS if name in frame.columns):
        column = frame[name]
        if column.dtype == pl.Float32:
            column = pl.Series(name, printed(column.to_numpy())).set(column.is_null(), None)
        column = column.cast(pl.Float64)
        nans += int(column.is_nan().sum())
        columns.append(column.fill_nan(None))
    return columns, nans


def _timed(raw: RawFile, market: Market, now: datetime) -> pl.DataFrame:
    """The file's rows with `day`, `label` (minute of the day) and `whole` (no seconds), exchange-local."""
    minute = raw.frame["minute"]
    if not isinstance(minute.dtype, pl.Datetime):
        raise refusal(
            raw.path,
            code="FPM-IN-008",
            wrong=f"column minute is {minute.dtype}, expected datetime",
            todo="store times as timestamps",
        )
    minute = local_times(raw.path, minute, market, now).dt.cast_time_unit("us")
    label = minute.dt.hour().cast(pl.Int16) * 60 + minute.dt.minute().cast(pl.Int16)
    return raw.frame.with_columns(
        minute,
        minute.dt.date().alias("day"),
        label.alias("label"),
        (minute.dt.truncate("1m") == minute).alias("whole"),
    )


def _detect(path: Path, bars: pl.DataFrame, market: Market, fallback: Conventions | None) -> Conventions:
    usable = bars.filter(pl.col("symbol").is_not_null() & pl.col("whole"))
    try:
        return detect(usable if usable.height else bars.filter(pl.col("day").is_not_null()), market, fallback)
    except InputRefused as error:
        raise refusal(path, code=error.code, wrong=error.wrong, todo=error.todo) from None


def _slotted(bars: pl.DataFrame, market: Market, conventions: Conventions) -> pl.DataFrame:
    """`session` and `slot` of each row; slot null where the minute is none of the session's."""
    slots: np.ndarray = np.full(DAY + 2, -1, np.int16)
    shift = market.bar_minutes if conventions.stamp_side == "start" else 0
    for slot, minute in enumerate(market.slots):
        slots[minute - shift] = slot  # 15:00 is listed twice for cn: the later slot, the closing call, wins
    _set_calls(slots, market, conventions)
    session = pl.col("day")
    if (
        market.calendar is None and conventions.stamp_side == "end"
    ):  # the bar that ends at midnight closes the day before
        slots[0] = slots[DAY]
        session = pl.when(pl.col("label") == 0).then(pl.col("day") - pl.duration(days=1)).otherwise(pl.col("day"))
    label = bars["label"].fill_null(DAY + 1).to_numpy()
    slot_column = pl.Series("slot", slots[label], pl.Int16)
    slotted = bars.with_columns(session.alias("session"), slot_column)
    if market.name == "cn":
        continuous = (
            (pl.col("slot") == len(market.slots) - 1)
            & pl.col("symbol").str.ends_with(".SH")
            & (pl.col("session") < SH_CLOSING_CALL)
        )
        slotted = slotted.with_columns(slot=pl.when(continuous).then(pl.col("slot") - 1).otherwise(pl.col("slot")))
    outside = (pl.col("slot") < 0) | ~pl.col("whole")
    return slotted.with_columns(slot=pl.when(outside).then(None).otherwise(pl.col("slot")))


def _set_calls(slots: np.ndarray, market: Market, conventions: Conventions) -> None:
    """Give auction bars their slots: they keep their own label whatever the stamp side."""
    opening = [label for label in conventions.calls if label < market.slots[1]]
    if opening:
        slots[opening[0]] = 0
    if market.name == "cn" and conventions.stamp_side == "start" and 900 in conventions.calls:
        slots[899], slots[900] = len(market.slots) - 2, len(market.slots) - 1


def _dated(path: Path, bars: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Adds the file's own session and whether the day is a session; a price of 0 without volume becomes null."""
    if bars["session"].null_count() == bars.height:
        raise refusal(path, code="FPM-IN-029", wrong="no row has a time", todo="add times")
    sessions = sessions_of(path, bars["session"], market)
    untraded = pl.col("volume") == 0
    return bars.with_columns(
        pl.lit(session_in_name(path), pl.Date).alias("named_session"),
        pl.col("session").is_in(sessions).alias("is_session"),
        *(pl.when(untraded & (pl.col(name) == 0)).then(None).otherwise(pl.col(name)).alias(name) for name in PRICES),
    )


def _in_shares(bars: pl.DataFrame, conventions: Conventions) -> pl.DataFrame:
    if conventions.volume_unit == "shares":
        return bars
    volumes = [name for name in NUMBERS if name.endswith("volume") and name in bars.columns]
    return bars.with_columns((pl.col(volumes) * LOT).round(4))  # 18.31 lots are 1831 shares, not 1830.9999999999998


def _complete(bars: pl.DataFrame, raw: RawFile) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Amount where the vendor has none (close x volume), sells as the rest of buys; also these rules as text."""
    derived = []
    if "amount" not in bars.columns or raw.frame["amount"].null_count() == raw.frame.height:
        bars = bars.with_columns((pl.col("close") * pl.col("volume")).fill_null(0.0).alias("amount"))
        derived.append("amount = close x volume")
    for unit in ("volume", "amount"):
        if f"buy_{unit}" in bars.columns and f"sell_{unit}" not in bars.columns:
            rest = pl.col(unit) - pl.col(f"buy_{unit}")
            bars = bars.with_columns(pl.max_horizontal(rest, 0.0).alias(f"sell_{unit}"))
            derived.append(f"sell_{unit} = {unit} - buy_{unit}")
    return bars, tuple(derived)
