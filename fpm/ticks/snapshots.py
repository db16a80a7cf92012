"""Snapshots: the exchange's own counters, and the books that show whether the feed is sound.

Of a snapshot the product uses the counters (`cum_volume`, `cum_amount`, `cum_trades`): their last values are the
exchange's totals. The levels of the book feed no feature; they are read to judge the delivery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.stamps import session_in_name, sessions_of
from fpm.ticks.depth import depth_checks
from fpm.ticks.records import FAULTS, place_checks, placed
from fpm.ticks.tape import UNITS, milliseconds, sid_of

if TYPE_CHECKING:
    from datetime import datetime

    from fpm.markets import Market
    from fpm.ticks.files import TickFile

COUNTERS = ("volume", "amount", "trades")
CUMULATIVE = tuple(f"cum_{name}" for name in COUNTERS)
CENT = UNITS // 100
BACK, RUNS_BACK = "FPM-IN-189", "a counter runs back"
MANY, MANY_ODD = "FPM-IN-188", "more than 1 % of its snapshots are odd"
MOST_ODD = 0.01  # share of a symbol-session's snapshots that may be odd
TOTALS = {"session": pl.Date, "sid": pl.Int32, "volume": pl.Int64, "amount": pl.Int64, "trades": pl.Int64}
ODD = pl.Schema({"session": pl.Date, "sid": pl.Int32, "reason_code": pl.String, "reason": pl.String})
CLOSE = milliseconds(15, 0)


@dataclass(frozen=True)
class SnapshotRows:
    """One batch: `rows` (session, sid, time, `CUMULATIVE`, file, row, reason_code and reason of an odd book, or null).

    `faults` (`FAULTS`): rows without a place: no symbol, no session.
    """

    rows: pl.DataFrame
    faults: pl.DataFrame


def snapshot_rows(batch: pl.DataFrame, file: TickFile, number: int, market: Market, now: datetime) -> SnapshotRows:
    """One batch of a file of snapshots. `number` is the file's in the delivery.

    Raises InputRefused: 028 times in the future, CAL-001 beyond the calendar.
    """
    timed = placed(batch, file, market, now).with_columns(
        pl.lit(session_in_name(file.path), pl.Date).alias("named_session")
    )
    faults = first_faults(timed, place_checks(sessions_of(file.path, timed["session"], market))).cast(FAULTS)
    good = timed.join(faults, on="row", how="anti", maintain_order="left") if faults.height else timed
    negative = pl.any_horizontal((pl.col(name) < 0).fill_null(False) for name in CUMULATIVE)
    checks = [
        Check(code="FPM-IN-022", condition=negative, wrong="a counter below 0"),
        *depth_checks(file.names),
    ]
    odd = first_faults(good, checks, keys=("row",))
    amount = (pl.col("cum_amount").cast(pl.Float64) * 100).round() * CENT
    counters = {"cum_volume": pl.col("cum_volume"), "cum_amount": amount, "cum_trades": pl.col("cum_trades")}
    rows = good.with_columns(
        sid_of(pl.col("symbol")),
        pl.lit(number, pl.UInt16).alias("file"),
        *(_whole(value).alias(name) for name, value in counters.items()),
    ).join(odd, on="row", how="left", maintain_order="left")
    return SnapshotRows(
        rows.select("session", "sid", "time", *CUMULATIVE, "file", "row", "reason_code", "reason"), faults
    )


def _whole(counter: pl.Expr) -> pl.Expr:
    return counter.cast(pl.Float64).fill_nan(None).round().cast(pl.Int64, strict=False)


def judged(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` of whole symbol-sessions, sorted by time, where a counter that runs back is odd, too (189).

    From the row that runs back to the next that reaches the highest value before: in between nothing is known.
    """
    ordered = rows.sort("session", "sid", "time", *CUMULATIVE, "file", "row")
    counted = pl.col("reason_code").is_null()
    highest = [
        pl.when(counted).then(pl.col(name)).cum_max().over("session", "sid").alias(f"highest_{name}")
        for name in CUMULATIVE
    ]
    ordered = ordered.with_columns(highest)
    reason = pl.coalesce(
        pl.when((pl.col(name) < pl.col(f"highest_{name}")) & counted).then(
            pl.format(
                f"{RUNS_BACK}: {name} {{}} after {{}}",
                *(pl.col(each) / _unit(name) for each in (f"{name}", f"highest_{name}")),
            )
        )
        for name in CUMULATIVE
    )
    back = ordered.with_columns(reason.alias("back"))
    code = pl.when(pl.col("back").is_not_null()).then(pl.lit(BACK)).otherwise("reason_code")
    return back.with_columns(code.alias("reason_code"), pl.coalesce("reason", "back").alias("reason")).select(
        rows.columns
    )


def _unit(name: str) -> int:
    return UNITS if name == "cum_amount" else 1


def totals_of(rows: pl.DataFrame) -> pl.DataFrame:
    """`TOTALS` from judged rows: the last counters of a symbol whose last snapshot is of 15:00 or later."""
    sound = rows.filter(pl.col("reason_code").is_null())
    last = sound.group_by("session", "sid").agg(pl.col("time").max(), pl.col(CUMULATIVE).max())
    final = last.filter(pl.col("time") >= CLOSE).rename({f"cum_{name}": name for name in COUNTERS})
    return final.select(pl.col(name).cast(kind) for name, kind in TOTALS.items())


def odd_sessions(rows: pl.DataFrame) -> pl.DataFrame:
    """`ODD`: symbol-sessions (188) of which more than `MOST_ODD` of the snapshots (judged rows) are odd."""
    odd = pl.col("reason_code").is_not_null()
    counts = rows.group_by("session", "sid").agg(
        pl.len().alias("all"), odd.sum().alias("odd"), pl.col("reason").drop_nulls().first().alias("example")
    )
    many = counts.filter(pl.col("odd") > MOST_ODD * pl.col("all"))
    reason = pl.format(f"{MANY_ODD}: {{}} of {{}}, e.g. {{}}", "odd", "all", "example")
    return many.select("session", "sid", pl.lit(MANY).alias("reason_code"), reason.alias("reason")).cast(ODD)
