"""From a vendor's file to rows of the lake: conventions detected, minutes in their slots, bad rows set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import InputRefused
from fpm.ingest.bar_files import NUMBERS, RawFile, read_file
from fpm.ingest.conventions import NOTHING, Conventions, Detected, detect
from fpm.ingest.quarantine import amount_faults, deduplicate, incomplete, row_faults
from fpm.ingest.slots import placed
from fpm.ingest.stamps import local_times, session_in_name, sessions_of
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.ingest.units import KEYS, LOTS, Stated, exceptions
from fpm.ingest.vendor_files import refusal
from fpm.schema import MINUTE_BARS, PRICES
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from fpm.markets import Market

FRACTION = 1e-3  # of a share; less is the noise of a number that was in lots


@dataclass(frozen=True)
class FileReport:
    """The account of one file. `rows` = rows out + rows with a fault; `nans`: numbers that were NaN.

    `exceptions`: symbol-sessions that follow other conventions than the file, in words.
    """

    name: str
    sha256: str
    rows: int
    conventions: Conventions
    synonyms: dict[str, str]
    ignored: tuple[str, ...]
    derived: tuple[str, ...]
    nans: int
    exceptions: tuple[str, ...] = ()


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

    `quarantined` as in `Parsed`, with `source`, the file's position; `amended` likewise: stored rows whose amount was
    wrong. `copies`: source, row and session of equal copies removed.
    """

    frame: pl.DataFrame
    quarantined: pl.DataFrame
    amended: pl.DataFrame
    copies: pl.DataFrame

    @property
    def deduplicated(self) -> int:
        """Number of equal copies removed."""
        return self.copies.height


def read_bars(
    path: Path,
    market: Market,
    now: datetime,
    fallback: Conventions | None = None,
    stated: Stated = NOTHING,
    order: Order = NO_ORDER,
) -> Parsed:
    """Read one file of minute bars.

    Times in the file are local to the exchange, or carry their zone. `now` (aware) bounds them; `fallback`: the
    conventions of earlier files, for a file too small to show its own; `stated`: the caller's word, before both;
    `order`: of month and day in the delivery.
    Raises InputRefused as `read_file` and `detect` do; also 028 future bars, 029 no time, CAL-001 beyond the calendar.
    """
    raw = read_file(path, order=order)
    if not raw.frame.height:
        raise refusal(path, code="FPM-IN-001", wrong="file has no rows", todo="ask the vendor for the file again")
    numbers, nans = _numbers(raw.frame)
    timed = _timed(raw, market, now).with_columns(numbers)
    rows = with_symbols(timed, market)
    detected = _detect(path, rows, market, fallback, stated)
    dated = _dated(path, rows, market, detected)
    faults = row_faults(dated)
    good = dated.join(faults, on="row", how="anti", maintain_order="left") if faults.height else dated
    complete, derived = _complete(_in_shares(good, market, detected), raw)
    names = [name for name in ("session", *MINUTE_BARS.columns) if name in complete.columns]
    report = FileReport(
        path.name,
        raw.sha256,
        raw.frame.height,
        detected.conventions,
        raw.synonyms,
        raw.ignored,
        derived,
        nans,
        exceptions(detected.factors, detected.conventions.volume_unit),
    )
    return Parsed(path, complete.select(*names, "row"), faults, report)


def combine(files: Sequence[Parsed], market: Market, stored: pl.DataFrame | None = None) -> Combined:
    """All rows of the files in canonical order, without duplicates and without incomplete symbol-sessions.

    `stored` (session, symbol, slot): the lake's rows of these sessions, for files that correct a few of them.
    """
    frames = [
        parsed.frame.with_columns(pl.lit(number, pl.UInt32).alias("source")) for number, parsed in enumerate(files)
    ]
    bars = pl.concat(frames, how="diagonal")
    order = pl.Enum(sorted(bars["symbol"].unique().to_list()))
    bars = bars.with_columns(pl.col("symbol").cast(order)).sort("session", "symbol", "slot", "source", "row")
    single = deduplicate(bars)
    bars, amounts = single.bars, amount_faults(single.bars)
    place = ["source", "row"]
    if amounts.rows.height:
        bars = bars.join(amounts.rows, on=place, how="anti", maintain_order="left")
    if amounts.amounts.height:
        replaced = amounts.amounts.select(*place, pl.lit(True).alias("replaced"))
        bars = bars.join(replaced, on=place, how="left", maintain_order="left").with_columns(
            amount=pl.when("replaced").then(pl.col("close") * pl.col("volume")).otherwise("amount")
        )
        bars = bars.drop("replaced")
    bars, holes = incomplete(bars, market, bars.clear() if stored is None else stored)
    faults = pl.concat([single.faults, amounts.rows, holes])
    return Combined(bars.with_columns(pl.col("symbol").cast(pl.String)), faults, amounts.amounts, single.copies)


def original_rows(path: Path, faults: pl.DataFrame, order: Order = NO_ORDER) -> pl.DataFrame:
    """The rows of `faults` (row, session, reason_code, reason) as the vendor wrote them, with these and `source`."""
    cells = read_file(path, order=order).frame.join(faults, on="row", how="inner", maintain_order="left")
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


def _detect(path: Path, bars: pl.DataFrame, market: Market, fallback: Conventions | None, stated: Stated) -> Detected:
    usable = bars.filter(pl.col("symbol").is_not_null() & pl.col("whole"))
    dated = usable if usable.height else bars.filter(pl.col("day").is_not_null())
    if not dated.height:
        raise refusal(path, code="FPM-IN-029", wrong="no row has a time", todo="add times")
    sessions_of(path, dated["day"], market)  # a day beyond the calendar is named as such
    try:
        return detect(dated, market, fallback, stated)
    except InputRefused as error:
        raise refusal(path, code=error.code, wrong=error.wrong, todo=error.todo) from None


def _dated(path: Path, bars: pl.DataFrame, market: Market, detected: Detected) -> pl.DataFrame:
    """Adds session and slot, the file's own session, and whether the day is a session.

    The price of a minute without a trade is unknown: 0 and less (-1 in some feeds) become null.
    """
    around = bars["day"].drop_nulls()
    sessions = sessions_of(path, pl.concat([around, around.dt.offset_by("1d")]), market)
    own = placed(bars, market, detected.conventions, sessions)
    untraded = pl.col("volume") == 0
    return _with_refused(own, detected.refused).with_columns(
        pl.lit(session_in_name(path), pl.Date).alias("named_session"),
        pl.col("session").is_in(sessions).alias("is_session"),
        *(pl.when(untraded & (pl.col(name) <= 0)).then(None).otherwise(pl.col(name)).alias(name) for name in PRICES),
        _fraction(own, market, detected).alias("fraction"),
    )


def _with_refused(bars: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Adds `unit_code` and `unit_reason` of the symbol-sessions that are refused (`Detected.refused`); else null."""
    if refused.is_empty():
        return bars.with_columns(pl.lit(None, pl.String).alias(name) for name in ("unit_code", "unit_reason"))
    named = refused.rename({"reason_code": "unit_code", "reason": "unit_reason"})
    return bars.join(named, on=KEYS, how="left", maintain_order="left")


def _fraction(bars: pl.DataFrame, market: Market, detected: Detected) -> pl.Series:
    """Whether a volume is no whole number of shares, where the exchange trades no fraction of one."""
    if not market.exchange.whole_shares or detected.conventions.price_basis == "adjusted":  # then volumes may be, too
        return pl.Series("fraction", [False]).new_from_index(0, bars.height)
    shares = _in_shares(bars.select(*KEYS, "row", "volume"), market, detected)["volume"]
    return (shares.is_finite() & ((shares - shares.round()).abs() > FRACTION)).rename("fraction")


def _in_shares(bars: pl.DataFrame, market: Market, detected: Detected) -> pl.DataFrame:
    """Volumes in shares: those in lots times a lot; 18.31 lots are 1831 shares, not 1830.9999999999998."""
    lot = float(market.exchange.lot if market.exchange.lot > 1 else 100)
    usual = lot if detected.conventions.volume_unit == LOTS else 1.0
    if usual == 1.0 and not detected.factors.height:
        return bars
    volumes = [name for name in NUMBERS if name.endswith("volume") and name in bars.columns]
    joined = bars.join(detected.factors, on=KEYS, how="left", maintain_order="left")
    factor = pl.col("factor").fill_null(usual)
    return joined.with_columns((pl.col(volumes) * factor).round(4)).drop("factor")


def _complete(bars: pl.DataFrame, raw: RawFile) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Amount where the vendor has none (close x volume), sells as the rest of buys; also these rules as text."""
    derived = []
    if "amount" not in bars.columns or raw.frame["amount"].null_count() == raw.frame.height:
        bars = bars.with_columns((pl.col("close") * pl.col("volume")).fill_null(0.0).alias("amount"))
        derived.append("amount = close x volume")
    elif (absent := bars["amount"].is_null() & (bars["volume"] > 0)).any():
        product = pl.col("close") * pl.col("volume")
        bars = bars.with_columns(pl.when(absent).then(product).otherwise("amount").alias("amount"))
        derived.append(f"amount = close x volume in {absent.sum()} rows without one")
    for unit in ("volume", "amount"):
        if f"buy_{unit}" in bars.columns and f"sell_{unit}" not in bars.columns:
            rest = pl.col(unit) - pl.col(f"buy_{unit}")
            bars = bars.with_columns(pl.max_horizontal(rest, 0.0).alias(f"sell_{unit}"))
            derived.append(f"sell_{unit} = {unit} - buy_{unit}")
    return bars, tuple(derived)
