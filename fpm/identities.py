"""Who a symbol is: one company keeps its identity through renames, two companies of one ticker stay apart.

The table `symbols` says which company used a symbol from `first` to `last`, both inclusive (`last` null: still). In
every history read for a session each row takes the symbol that its company has at that session. Only intervals that
hold a row's own day or the session decide, so what a table says about later days changes nothing.

A symbol outside its intervals belongs to nobody of the table, and is a company of its own. A symbol that the table
does not have keeps its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = pl.duration(days=1)
APART = "~"  # between symbol and identity in the name of a company that has none; no symbol contains it
EVER, ALWAYS = pl.lit(date.min), pl.lit(date.max)
SCHEMA = {"symbol": pl.String, "first": pl.Date, "last": pl.Date, "identity": pl.String}
NO_TABLE = pl.DataFrame(schema=SCHEMA)
NO_RENAMES = pl.DataFrame(
    schema={"symbol": pl.String, "first": pl.Date, "last": pl.Date, "name": pl.String, "company": pl.String}
)


@dataclass(frozen=True)
class Naming:
    """Rows of history take the names of `session`. `apart`: companies without a name then stay, under `apart` ones."""

    session: date
    apart: bool = False


def renames(table: pl.DataFrame, session: date) -> pl.DataFrame:
    """Where a symbol's rows belong to another name at `session`: symbol, first, last, name, company; sorted.

    `table`: rows of `symbols` as known at one moment. `name` is null where the company has no name at the session: it
    left the market, is yet to come, or is the unlisted company that used a symbol of the table. `company` tells such
    companies apart. A symbol's spans are disjoint.
    """
    intervals = _intervals(table)
    holders = intervals.filter(pl.lit(session).is_between("first", "last"))
    names = holders.select("identity", name="symbol")
    own = intervals.join(names, on="identity", how="left", maintain_order="left").with_columns(
        company=pl.format(f"{{}}{APART}{{}}", _last_symbol(session), "identity")
    )
    gaps = _gaps(intervals).join(holders, on="symbol", how="semi", maintain_order="left")
    nobody = gaps.with_columns(name=pl.lit(None, pl.String), company=pl.format(f"{{}}{APART}", "symbol"))
    spans = pl.concat([part.select("symbol", "first", "last", "name", "company") for part in (own, nobody)])
    return spans.filter(pl.col("name").ne_missing(pl.col("symbol"))).sort("symbol", "first")


def _intervals(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("last").fill_null(ALWAYS)).sort("symbol", "first")


def _last_symbol(session: date) -> pl.Expr:
    """A company's last symbol by the session, its first one if it comes later."""
    symbol, begun = pl.col("symbol").sort_by("first"), (pl.col("first") <= session).sort_by("first")
    return pl.coalesce(symbol.filter(begun).last(), symbol.first()).over("identity")


def _gaps(intervals: pl.DataFrame) -> pl.DataFrame:
    """Days of each symbol outside its intervals: symbol, first, last. `intervals` are disjoint and in order."""
    after, before = pl.col("last").shift().over("symbol"), pl.col("last").max().over("symbol")
    between = intervals.select(
        "symbol", first=pl.coalesce(after + DAY, EVER), last=pl.when(pl.col("first") > EVER).then(pl.col("first") - DAY)
    )
    ended = intervals.filter(before < ALWAYS).select("symbol", first=before + DAY, last=ALWAYS).unique()
    return pl.concat([between, ended]).filter(pl.col("first") <= pl.col("last"))


def in_motion(table: pl.DataFrame, first: date, last: date) -> pl.DataFrame:
    """The rows of the table that decide who is who from `first` to `last`: of symbols and companies that change there.

    The others rename nothing in these days, whichever of them is the session.
    """
    begins = (pl.col("first") > first) & (pl.col("first") <= last)
    ends = (pl.col("last") >= first) & (pl.col("last") < last)
    changes = table.filter(begins | ends.fill_null(False))
    moved = [pl.col(name).is_in(changes[name].unique().implode()) for name in ("symbol", "identity")]
    return table.filter(pl.any_horizontal(moved))


def within(spans: pl.DataFrame, first: date, last: date) -> pl.DataFrame:
    """The spans that touch the days from `first` to `last`, clipped to them: all that a window can see."""
    touching = spans.filter((pl.col("first") <= last) & (pl.col("last") >= first))
    return touching.with_columns(pl.col("first").clip(lower_bound=first), pl.col("last").clip(upper_bound=last))


def apart(spans: pl.DataFrame) -> pl.DataFrame:
    """The same spans with a name for every company: `company`, which is no symbol, where it has none."""
    return spans.with_columns(pl.col("name").fill_null(pl.col("company")))


def on_day(rows: pl.DataFrame, day: date, spans: pl.DataFrame, keys: Sequence[str] = ("symbol",)) -> pl.DataFrame:
    """Rows of one day under other names, in the order of `keys`; a span without a name leaves its rows out.

    Rows that no span touches come back as they are.
    """
    today = spans.filter(pl.lit(day).is_between("first", "last"))
    today = today.filter(pl.col("symbol").is_in(rows["symbol"].unique().implode())) if len(today) else today
    if today.is_empty():
        return rows
    named = rows.join(
        today.select("symbol", "name", changed=pl.lit(True)), on="symbol", how="left", maintain_order="left"
    )
    named = named.with_columns(pl.when("changed").then("name").otherwise("symbol").alias("symbol"))
    return named.drop_nulls("symbol").select(rows.columns).sort(*keys, maintain_order=True)


def under_names(rows: pl.DataFrame, spans: pl.DataFrame) -> pl.DataFrame:
    """Rows of several days (session, symbol, ...) under other names, as `on_day` of each; sessions keep their order."""
    if spans.is_empty() or rows.is_empty():
        return rows
    days = rows.partition_by("session", as_dict=True, maintain_order=True)
    return pl.concat([on_day(part, day, spans) for (day,), part in days.items()])


def history(rows: pl.DataFrame, table: pl.DataFrame, session: date) -> pl.DataFrame:
    """Rows (session, symbol, ...) under the name that each company has at `session`; others are left out.

    >>> from datetime import date
    >>> days = [date(2022, 6, day) for day in (7, 8, 9)]
    >>> rows = pl.DataFrame({"session": days, "symbol": ["FB", "FB", "META"], "close": [195.65, 196.64, 184.0]})
    >>> spans = [("FB", date(2012, 5, 18), days[1], "facebook"), ("META", days[2], None, "facebook")]
    >>> table = pl.DataFrame(spans, schema=SCHEMA, orient="row")
    >>> history(rows, table, days[2])["symbol"].to_list(), history(rows, table, days[1])["symbol"].to_list()
    (['META', 'META', 'META'], ['FB', 'FB', 'FB'])
    """
    return under_names(rows, renames(table, session))


def names_of(table: pl.DataFrame, symbol: str, session: date) -> list[tuple[str, date, date]]:
    """Every name of the company that has `symbol` at `session`, with its first and last day.

    A symbol that no company of the table has then is one name for all days that are not of the table.
    """
    intervals = _intervals(table)
    holder = intervals.filter((pl.col("symbol") == symbol) & pl.lit(session).is_between("first", "last"))
    if len(holder):
        own = intervals.filter(pl.col("identity") == holder["identity"][0])
    else:
        own = _gaps(intervals.filter(pl.col("symbol") == symbol))
    if holder.is_empty() and own.is_empty():
        return [(symbol, date.min, date.max)]
    return [(str(name), first, last) for name, first, last in own.select("symbol", "first", "last").rows()]
