"""Spellings of a time or a day in a CSV cell: the whole list, and the one rule for days written month or day first.

A time is accepted as

    2025-04-28 09:31                  seconds and their fraction (to a microsecond) may follow: 09:31:00.000000
    2025-04-28T09:31                  the same with a T
    2025/4/28 9:31                    year first with slashes, with or without leading zeros (Excel)
    04/28/2025 09:31                  month first or day first, see below
    ... +05:30, +0530, Z              a zone may follow each, directly or after a blank, in all cells or in none

and a day as `2025-04-28`, `2025/4/28`, `20250428`, `04/28/2025`. Nothing else is a time: no epoch numbers, no
`20250428093100`, no year beyond 9999, no clock of twelve hours.

`02/01/2018` is the second of January or the first of February, and no vendor says which. A cell with a number above 12
in one of the two places decides all files of a delivery (`order_of`); without one every such file is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

MONTH_FIRST, DAY_FIRST = "month first", "day first"
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6})0*)?)?"
_OFFSET = r"Z|[+-]\d{2}:?[0-5]\d"
_ZONE = f" ?(?P<zone>{_OFFSET})?"
_YEAR_FIRST = r"(?P<year>[1-9]\d{3})(?:-(?P<month>\d{1,2})-|/(?P<month_slash>\d{1,2})/)(?P<day>\d{1,2})"
_COMPACT = r"(?P<year>[1-9]\d{3})(?P<month>\d{2})(?P<day>\d{2})"
_YEAR_LAST = r"(?P<first>\d{1,2})(?:/(?P<second_slash>\d{1,2})/|-(?P<second_dash>\d{1,2})-)(?P<year>[1-9]\d{3})"


@dataclass(frozen=True)
class Order:
    """How a delivery writes its days: `order` (`MONTH_FIRST`, `DAY_FIRST`, or "" where it is open), and the evidence.

    `open_cell`: a cell that needs the order, "" where no cell does; `cells`: the deciding cell of each order.
    """

    order: str
    open_cell: str
    cells: tuple[str, str] = ("", "")


NO_ORDER = Order("", "")


def order_of(cells: pl.Series) -> Order:
    """The order of month and day in cells such as `02/20/2018 09:30`; cells in other spellings do not count."""
    parts = cells.unique().drop_nulls().str.strip_chars().to_frame("cell").with_columns(_year_last("cell"))
    parts = parts.filter(pl.col("first").is_not_null()).sort("cell")
    month_first = parts.filter((pl.col("second") > 12) & (pl.col("first") <= 12))["cell"]
    day_first = parts.filter((pl.col("first") > 12) & (pl.col("second") <= 12))["cell"]
    shown = tuple(cell[0] if len(cell) else "" for cell in (month_first, day_first))
    open_cell = str(parts["cell"][0]) if parts.height else ""
    return Order(_decided((shown[0], shown[1])), open_cell, (shown[0], shown[1]))


def joined(orders: Sequence[Order]) -> Order:
    """The one order of several files: the first cell of each kind decides, and two kinds contradict each other."""
    month_first, day_first = (next((each.cells[i] for each in orders if each.cells[i]), "") for i in range(2))
    open_cell = next((each.open_cell for each in orders if each.open_cell), "")
    return Order(_decided((month_first, day_first)), open_cell, (month_first, day_first))


def _decided(cells: tuple[str, str]) -> str:
    return "" if all(cells) else MONTH_FIRST if cells[0] else DAY_FIRST if cells[1] else ""


def two_readings(cell: str, order: Order) -> str:
    """Why a day such as `02/01/2018` is not readable, in words."""
    if all(order.cells):
        return f"{cell!r} is not readable: {order.cells[0]!r} is month first, {order.cells[1]!r} is day first"
    day, month = (
        pl.Series([cell]).to_frame("cell").select(_year_last("cell")).row(0, named=True)[part] for part in _PLACES
    )
    return f"{cell!r} has two readings: day {day} of month {month}, or day {month} of month {day}"


_PLACES = ("first", "second")


def times(cells: pl.Series, order: Order = NO_ORDER) -> pl.Series:
    """Cells (text) as datetimes in microseconds, null where a cell is no accepted time.

    With zones the datetimes are UTC. Where some cells have a zone and others none, those unlike the first are null.
    """
    unique = cells.unique().drop_nulls().to_frame("cell").with_columns(pl.col("cell").str.strip_chars().alias("text"))
    quick = unique.with_columns(
        pl.col("text").str.slice(0, 19).str.replace("T", " ", literal=True).alias("head"),
        pl.col("text").str.slice(19).str.strip_prefix(" ").alias("zone"),
    ).with_columns(
        pl.col("head").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).alias("local"),
        pl.col("zone").replace("", None),
    )
    plain = pl.col("local").is_not_null() & (pl.col("zone").is_null() | pl.col("zone").str.contains(f"^(?:{_OFFSET})$"))
    plain = plain & (pl.col("text").str.len_bytes() >= 19) & (pl.col("head").str.slice(4, 1) == "-")
    read = quick.filter(plain).select("cell", "local", "zone")
    if read.height < unique.height:  # the patterns cost seven times as much
        read = pl.concat([read, _spelled(quick.filter(~plain.fill_null(False)).select("cell", "text"), order)])
    read = read.with_columns(pl.col("local") - _offset(pl.col("zone")))
    table = read.select("cell", pl.col("local").alias("time"), pl.col("zone").is_not_null().alias("zoned"))
    rows = cells.to_frame("cell").join(table, on="cell", how="left", maintain_order="left")
    zoned = rows.filter(pl.col("time").is_not_null())["zoned"]
    aware = bool(zoned[0]) if len(zoned) else False
    moments = rows.select(pl.when(pl.col("zoned") == aware).then("time"))["time"].rename(cells.name)
    return moments.dt.replace_time_zone("UTC") if aware else moments


def _spelled(unique: pl.DataFrame, order: Order) -> pl.DataFrame:
    """cell, local, zone of cells (`text`: without blanks around them) in any accepted spelling."""
    clock = rf"[ T]{_CLOCK}{_ZONE}$"
    canonical = pl.coalesce(
        _canonical("text", f"^{_YEAR_FIRST}{clock}", ("year", "month|month_slash", "day")),
        _canonical("text", f"^{_YEAR_LAST}{clock}", _ordered(order)) if order.order else pl.lit(None, pl.String),
    )
    return unique.select(
        "cell",
        canonical.str.to_datetime("%Y-%m-%d %H:%M:%S%.6f", time_unit="us", strict=False).alias("local"),
        pl.col("text").str.extract(f"({_OFFSET})$").alias("zone"),
    )


def days(cells: pl.Series, order: Order = NO_ORDER) -> pl.Series:
    """Cells (text) as dates, null where a cell is no accepted day."""
    unique = cells.unique().drop_nulls().to_frame("cell").with_columns(pl.col("cell").str.strip_chars().alias("text"))
    parts = pl.coalesce(
        _date("text", f"^{_YEAR_FIRST}$", ("year", "month|month_slash", "day")),
        _date("text", f"^{_COMPACT}$", ("year", "month", "day")),
        _date("text", f"^{_YEAR_LAST}$", _ordered(order)) if order.order else pl.lit(None, pl.String),
    )
    table = unique.select("cell", parts.str.to_date("%Y-%m-%d", strict=False).alias("day"))
    return cells.to_frame("cell").join(table, on="cell", how="left", maintain_order="left")["day"].rename(cells.name)


def _ordered(order: Order) -> tuple[str, str, str]:
    """The groups of `_YEAR_LAST` that hold year, month and day."""
    other = "second_slash|second_dash"
    return ("year", "first", other) if order.order == MONTH_FIRST else ("year", other, "first")


def _year_last(column: str) -> list[pl.Expr]:
    """`first` and `second` number of a day that ends with its year; null for other spellings."""
    groups = pl.col(column).str.extract_groups(f"^{_YEAR_LAST}(?:[ T].*)?$")
    second = pl.coalesce(groups.struct.field("second_slash"), groups.struct.field("second_dash"))
    return [
        groups.struct.field("first").cast(pl.Int32, strict=False).alias("first"),
        second.cast(pl.Int32, strict=False).alias("second"),
    ]


def _date(column: str, pattern: str, names: tuple[str, str, str]) -> pl.Expr:
    """The day of a cell as `YYYY-MM-DD`; null where the pattern does not fit. `a|b` is the group that took part."""
    groups = pl.col(column).str.extract_groups(pattern)
    year, month, day = (
        pl.coalesce(*(groups.struct.field(name) for name in names_of.split("|"))).str.zfill(2) for names_of in names
    )
    return pl.concat_str([year, month, day], separator="-")


def _canonical(column: str, pattern: str, names: tuple[str, str, str]) -> pl.Expr:
    """The local time of a cell as `YYYY-MM-DD HH:MM:SS.ffffff`; null where the pattern does not fit."""
    groups = pl.col(column).str.extract_groups(pattern)
    hour = groups.struct.field("hour").str.zfill(2)
    second = groups.struct.field("second").fill_null("00")
    fraction = groups.struct.field("fraction").fill_null("").str.pad_end(6, "0")
    clock = pl.concat_str(
        [hour, groups.struct.field("minute"), pl.concat_str([second, fraction], separator=".")], separator=":"
    )
    return pl.concat_str([_date(column, pattern, names), clock], separator=" ")


def _offset(zone: pl.Expr) -> pl.Expr:
    """`+05:30` or `+0530` as a duration; none where there is no zone, or Z."""
    digits = zone.str.replace(":", "", literal=True)
    minutes = digits.str.slice(1, 2).cast(pl.Int64, strict=False) * 60 + digits.str.slice(3, 2).cast(
        pl.Int64, strict=False
    )
    signed = pl.when(digits.str.starts_with("-")).then(-minutes).otherwise(minutes)
    return pl.duration(minutes=signed.fill_null(0))
