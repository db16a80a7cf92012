"""Sequence numbers of the tape: duplicates, the clock running back, and how many numbers of a channel are missing.

Numbers are contiguous within a channel of a session, over all its symbols: Shenzhen numbers orders and trades
together, Shanghai did so in its merged stream and before it within each of its two streams.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fpm.ticks.tape import CHANNELS, STREAMS, TRADES, VALUES, TickRules, linked, of_exchange

SPACES = 4
NUMBERING = ("exchange", "space", "channel")  # who shares a sequence; space 0: linked streams, else the stream + 1


def space() -> pl.Expr:
    """Which of a channel's sequences a record is numbered in."""
    return pl.when(linked()).then(0).otherwise(pl.col("stream") + 1).cast(pl.UInt8).alias("space")


@dataclass(frozen=True)
class Ordered:
    """A tape sorted by `place` (symbol, space and channel as one number) and seq, and the rows taken out of it.

    `faults`: file, row, reason_code, reason. `deduplicated`: equal copies removed.
    """

    tape: pl.DataFrame
    faults: pl.DataFrame
    deduplicated: int


def ordered(tape: pl.DataFrame) -> Ordered:
    """Sort by sequence, never by time. Equal records of one number are kept once; different ones are all taken out."""
    keys = ["place", "seq"]
    place = (pl.col("sid").cast(pl.Int64) * SPACES + pl.col("space")) * CHANNELS + pl.col("channel")
    numbered = tape.with_columns(space()).with_columns(place.alias("place")).sort(keys)
    again = pl.all_horizontal(pl.col(key) == pl.col(key).shift(1) for key in keys).fill_null(False)
    repeated = numbered.select(again.alias("again"))["again"]
    none = pl.DataFrame(schema={"file": pl.UInt16, "row": pl.UInt32, "reason_code": pl.String, "reason": pl.String})
    if not repeated.any():
        return Ordered(numbered, none, 0)
    suspects = numbered.filter(repeated | repeated.shift(-1, fill_value=False)).sort(*keys, "file", "row")
    copies = suspects.unique([*keys, *VALUES], keep="first", maintain_order=True)
    conflicts = copies.filter(pl.struct(keys).is_duplicated()).select(keys).unique()
    extra = suspects.join(copies, on=["file", "row"], how="anti")
    kept = numbered.join(extra, on=["file", "row"], how="anti", maintain_order="left")
    wrong = kept.join(conflicts, on=keys, how="semi").sort("file", "row")
    faults = wrong.select(
        "file", "row", reason_code=pl.lit("FPM-IN-015"), reason=pl.lit("two records of this number with other values")
    )
    return Ordered(kept.join(conflicts, on=keys, how="anti", maintain_order="left"), faults, extra.height)


def backwards(tape: pl.DataFrame, rules: TickRules) -> pl.DataFrame:
    """sid, backwards (records that much earlier than one before them in sequence), furthest (milliseconds).

    `tape` is ordered. A number that begins again puts the afternoon among the morning, and the clock runs far back.
    """
    back = (pl.col("time").cum_max().over("place") - pl.col("time")).alias("back")
    return (
        tape.select("sid", back)
        .group_by("sid")
        .agg((pl.col("back") > rules.backwards * 1000).sum().alias("backwards"), pl.col("back").max().alias("furthest"))
    )


def numbered(tape: pl.DataFrame) -> pl.DataFrame:
    """Of every sequence: records, first and last number. `tape` is ordered and without duplicates.

    Parts of one sequence (other symbols, other batches) are put together by `channel_gaps`.
    """
    exchange = of_exchange("SZ").alias("exchange")
    trading = (pl.col("stream") == STREAMS.index(TRADES)).sum().alias("trade_records")
    return tape.group_by(exchange, "space", "channel").agg(
        pl.len().alias("records"), pl.col("seq").min().alias("first"), pl.col("seq").max().alias("last"), trading
    )


def channel_gaps(parts: pl.DataFrame, rules: TickRules) -> pl.DataFrame:
    """exchange, space, channel, records, expected, share: of the sequence's numbers those missing, null = not judged.

    A sequence is judged where at least `contiguous` of its numbers are there. Shanghai's separate streams of a channel
    may have been numbered together (BizIndex): they are judged together where that leaves no number used twice.
    Shenzhen's trades without its orders are never judged: the missing numbers are the orders'.
    """
    own = parts.group_by(NUMBERING).agg(
        pl.col("records", "trade_records").sum(), pl.col("first").min(), pl.col("last").max()
    )
    pair = (
        own.filter(pl.col("space") > 0)
        .group_by("exchange", "channel")
        .agg(
            pl.len().alias("streams"),
            pl.col("records").sum().alias("both"),
            (pl.col("last").max() - pl.col("first").min() + 1).alias("span"),
        )
    )
    joined = own.join(pair, on=["exchange", "channel"], how="left").with_columns(
        (pl.col("last") - pl.col("first") + 1).alias("expected")
    )
    one = (pl.col("space") > 0) & (pl.col("streams") == 2) & (pl.col("both") <= pl.col("span"))
    dense_pair = one & (pl.col("both") >= rules.contiguous * pl.col("span"))
    counted = joined.with_columns(
        pl.when(dense_pair).then("both").otherwise("records").alias("records"),
        pl.when(dense_pair).then("span").otherwise("expected").alias("expected"),
    )
    half = pl.col("exchange") & (pl.col("trade_records") == pl.col("records"))
    judged = ~half & (pl.col("records") >= rules.contiguous * pl.col("expected"))
    share = 1 - pl.col("records") / pl.col("expected")
    return counted.select(
        *NUMBERING, "records", "expected", pl.when(judged).then(share).otherwise(None).alias("share")
    ).sort(NUMBERING)
