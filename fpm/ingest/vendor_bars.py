"""From a vendor's file to rows of the lake: conventions told, minutes placed in slots, bad rows set aside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import FpmError, InputRefused
from fpm.ingest.bar_files import NUMBERS, RawFile, read_file, refuse
from fpm.ingest.conventions import DAY, LOT, Conventions, detect
from fpm.ingest.quarantine import RULES, amount_faults, duplicates, incomplete, row_faults
from fpm.schema import MINUTE_BARS, PRICES
from fpm.sessions import UTC, Market, sessions_between
from fpm.symbols import symbol_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMED_DAY = re.compile(r"(?<!\d)(\d{4})-?(\d{2})-?(\d{2})(?!\d)")
# Shanghai closes by a call auction since this day; before, its 15:00 bar was continuous trading.
SH_CLOSING_CALL = date(2018, 8, 20)


@dataclass(frozen=True)
class FileReport:
    """What was made of one file. `rows` = rows out + rows with a fault; `nans` numbers that were NaN."""

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
    """Rows of several files, sorted by session, symbol, slot; faults found only across rows (with `source`)."""

    frame: pl.DataFrame
    quarantined: pl.DataFrame
    deduplicated: int


def read_bars(path: Path, market: Market, now: datetime, known: Conventions | None = None) -> Parsed:
    """Read one file of minute bars.

    Times in the file are local to the exchange, or carry their zone. `now` bounds the future (aware); `known` are
    conventions decided before, for a file too small to show its own.
    Raises InputRefused for a file that is refused whole: see `read_file` and `detect`; also 028 future bars.
    """
    raw = read_file(path)
    if not raw.frame.height:
        raise refuse("FPM-IN-001", path, "file has no rows", "ask the vendor for the file again")
    numbers, nans = _numbers(raw.frame)
    timed = _timed(raw, market, now).with_columns(numbers)
    named = timed.join(
        symbol_table(timed["spelling"].drop_nulls(), market), on="spelling", how="left", maintain_order="left"
    ).with_columns(pl.col("reason_code").fill_null("FPM-IN-031"), pl.col("reason").fill_null("the row has no symbol"))
    found = _detect(path, named, market, known)
    placed = _place(named, market, found)
    judged = _judge(path, placed, market)
    faults = row_faults(judged)
    good = judged.join(faults, on="row", how="anti", maintain_order="left") if faults.height else judged
    complete, derived = _complete(_in_shares(good, found), raw)
    names = [name for name in ("session", *MINUTE_BARS.columns) if name in complete.columns]
    report = FileReport(path.name, raw.sha256, raw.frame.height, found, raw.synonyms, raw.ignored, derived, nans)
    return Parsed(path, complete.select(*names, "row"), faults, report)


def combine(files: Sequence[Parsed], market: Market, stored: pl.DataFrame | None = None) -> Combined:
    """All rows of the given files in canonical order, without duplicates and without incomplete symbol-sessions.

    `stored` (session, symbol, slot): rows of these sessions in the lake, for files that correct a few of them.
    """
    frames = [
        parsed.frame.with_columns(pl.lit(number, pl.UInt16).alias("source")) for number, parsed in enumerate(files)
    ]
    bars = pl.concat(frames, how="diagonal")
    order = pl.Enum(sorted(bars["symbol"].unique().to_list()))
    bars = bars.with_columns(pl.col("symbol").cast(order)).sort("session", "symbol", "slot", "source", "row")
    bars, doubled, lost = duplicates(bars)
    untrue = amount_faults(bars)
    bars = bars.join(untrue, on=["source", "row"], how="anti", maintain_order="left") if untrue.height else bars
    bars, holes = incomplete(bars, market, RULES[market.name], bars.clear() if stored is None else stored)
    return Combined(bars.with_columns(pl.col("symbol").cast(pl.String)), pl.concat([doubled, untrue, holes]), lost)


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
    """Numbers as float64, NaN as null, and how many were NaN."""
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
        wrong = f"column minute is {minute.dtype}, expected datetime"
        raise refuse("FPM-IN-008", raw.path, wrong, "store times as timestamps")
    if minute.dtype.time_zone:
        minute = minute.dt.convert_time_zone(market.timezone).dt.replace_time_zone(None)
    minute = minute.dt.cast_time_unit("us")
    latest = (now + timedelta(minutes=RULES[market.name].future_minutes)).astimezone(market.zone).replace(tzinfo=None)
    last = minute.max()
    if isinstance(last, datetime) and last > latest:
        wrong = f"{(minute > latest).sum()} rows after {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, the last at {last}"
        raise refuse("FPM-IN-028", raw.path, wrong, "check the source's clock and the time zone of its stamps")
    label = minute.dt.hour().cast(pl.Int16) * 60 + minute.dt.minute().cast(pl.Int16)
    return raw.frame.with_columns(
        minute,
        minute.dt.date().alias("day"),
        label.alias("label"),
        (minute.dt.truncate("1m") == minute).alias("whole"),
    ).rename({"symbol": "spelling"})


def _detect(path: Path, bars: pl.DataFrame, market: Market, known: Conventions | None) -> Conventions:
    usable = bars.filter(pl.col("symbol").is_not_null() & pl.col("whole"))
    try:
        return detect(usable if usable.height else bars.filter(pl.col("day").is_not_null()), market, known)
    except InputRefused as refused:
        raise refuse(refused.code, path, refused.wrong, refused.todo) from None


def _place(bars: pl.DataFrame, market: Market, found: Conventions) -> pl.DataFrame:
    """`session` and `slot` of each row; slot null where the minute is none of the session's."""
    slots: np.ndarray = np.full(DAY + 2, -1, np.int16)
    shift = market.bar_minutes if found.stamp_side == "start" else 0
    for slot, minute in enumerate(market.slots):
        slots[minute - shift] = slot  # 15:00 is listed twice for cn: the later slot, the closing call, wins
    _place_calls(slots, market, found)
    session = pl.col("day")
    if market.calendar is None and found.stamp_side == "end":  # the bar that ends at midnight closes the day before
        slots[0] = slots[DAY]
        session = pl.when(pl.col("label") == 0).then(pl.col("day") - pl.duration(days=1)).otherwise(pl.col("day"))
    label = bars["label"].fill_null(DAY + 1).to_numpy()
    slot_column = pl.Series("slot", slots[label], pl.Int16)
    placed = bars.with_columns(session.alias("session"), slot_column)
    if market.name == "cn":
        continuous = (
            (pl.col("slot") == len(market.slots) - 1)
            & pl.col("symbol").str.ends_with(".SH")
            & (pl.col("session") < SH_CLOSING_CALL)
        )
        placed = placed.with_columns(slot=pl.when(continuous).then(pl.col("slot") - 1).otherwise(pl.col("slot")))
    outside = (pl.col("slot") < 0) | ~pl.col("whole")
    return placed.with_columns(slot=pl.when(outside).then(None).otherwise(pl.col("slot")))


def _place_calls(slots: np.ndarray, market: Market, found: Conventions) -> None:
    """Auction bars keep their own label whatever the stamp side."""
    opening = [label for label in found.calls if label < market.slots[1]]
    if opening:
        slots[opening[0]] = 0
    if market.name == "cn" and found.stamp_side == "start" and 900 in found.calls:
        slots[899], slots[900] = len(market.slots) - 2, len(market.slots) - 1


def _judge(path: Path, bars: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Adds what the row checks ask: the file's own session, whether the day is a session; price 0 untraded is null."""
    days = bars["session"].drop_nulls()
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        raise refuse("FPM-IN-029", path, "no row has a time", "add times")
    try:
        sessions = sessions_between(market, first, last)
    except FpmError as error:
        raise refuse(error.code, path, error.wrong, error.todo) from None
    untraded = pl.col("volume") == 0
    return bars.rename({"reason_code": "symbol_code", "reason": "symbol_reason"}).with_columns(
        pl.lit(named_session(path), pl.Date).alias("named_session"),
        pl.col("session").is_in(sessions).alias("is_session"),
        *(pl.when(untraded & (pl.col(name) == 0)).then(None).otherwise(pl.col(name)).alias(name) for name in PRICES),
    )


def named_session(path: Path) -> date | None:
    """The one session a file's name or `session=` folder names, e.g. `2026-01-05.parquet`; None where it names none."""
    for text in (path.stem, path.parent.name.removeprefix("session=")):
        days = NAMED_DAY.findall(text)
        if len(days) == 1:
            try:
                return date(*(int(part) for part in days[0]))
            except ValueError:
                continue
    return None


def _in_shares(bars: pl.DataFrame, found: Conventions) -> pl.DataFrame:
    if found.volume_unit == "shares":
        return bars
    volumes = [name for name in NUMBERS if name.endswith("volume") and name in bars.columns]
    return bars.with_columns((pl.col(volumes) * LOT).round(4))  # 18.31 lots are 1831 shares, not 1830.9999999999998


def _complete(bars: pl.DataFrame, raw: RawFile) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Amount where the vendor has none (close x volume), sells as the rest of buys; all said in the report."""
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
