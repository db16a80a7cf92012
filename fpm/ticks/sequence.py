"""Sequence numbers of the tape: duplicates, clocks that run back, and missing numbers of a channel.

Numbers are contiguous within a channel of a session, over all its symbols: Shenzhen numbers orders and trades
together, Shanghai did so in its merged stream and before it within each of its two streams.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fpm.ticks.tape import AFTER_HOURS, CHANNELS, SHENZHEN, STREAMS, TRADES, VALUES, TickRules, linked, of_exchange

SPACES = 4
BLOCK = 10_000  # numbers; a busy channel needs 15 seconds for them
NUMBERING = ("exchange", "space", "channel")  # names one sequence; space 0: linked streams, else the stream + 1


def space() -> pl.Expr:
    """The one of a channel's sequences that numbers a record."""
    return pl.when(linked()).then(0).otherwise(pl.col("stream") + 1).cast(pl.UInt8).alias("space")


@dataclass(frozen=True)
class Ordered:
    """A tape sorted by `sequence` (symbol, space and channel as one number) and seq, and its removed rows.

    `faults`: file, row, reason_code, reason. `deduplicated`: equal copies removed.
    """

    tape: pl.DataFrame
    faults: pl.DataFrame
    deduplicated: int


def ordered(tape: pl.DataFrame) -> Ordered:
    """The tape by sequence, never by time; of equal records of one number one stays, of different ones none."""
    keys = ["sequence", "seq"]
    sequence = (pl.col("sid").cast(pl.Int64) * SPACES + pl.col("space")) * CHANNELS + pl.col("channel")
    numbered = tape.with_columns(space()).with_columns(sequence.alias("sequence")).sort(keys)
    again = pl.all_horizontal(pl.col(key) == pl.col(key).shift(1) for key in keys).fill_null(False)
    repeated = numbered.select(again.alias("again"))["again"]
    none = pl.DataFrame(schema={"file": pl.UInt16, "row": pl.UInt32, "reason_code": pl.String, "reason": pl.String})
    if not repeated.any():
        return Ordered(numbered, none, 0)
    suspects = numbered.filter(repeated | repeated.shift(-1, fill_value=False)).sort(*keys, "file", "row")
    copies = suspects.unique([*keys, *VALUES], keep="first", maintain_order=True)
    conflicts = copies.filter(pl.struct(keys).is_duplicated()).select(keys).unique()
    extra = suspects.join(copies, on=["file", "row"], how="anti")
    single = numbered.join(extra, on=["file", "row"], how="anti", maintain_order="left")
    wrong = single.join(conflicts, on=keys, how="semi").sort("file", "row")
    faults = wrong.select(
        "file", "row", reason_code=pl.lit("FPM-IN-015"), reason=pl.lit("two records of this number with other values")
    )
    return Ordered(single.join(conflicts, on=keys, how="anti", maintain_order="left"), faults, extra.height)


def backwards(tape: pl.DataFrame, rules: TickRules) -> pl.DataFrame:
    """sid, backwards (records earlier than one before them in sequence by more than the rule), furthest (milliseconds).

    `tape` is ordered. A sequence that begins again mixes afternoon and morning, so the clock runs far back.
    """
    back = (pl.col("time").cum_max().over("sequence") - pl.col("time")).alias("back")
    return (
        tape.select("sid", back)
        .group_by("sid")
        .agg((pl.col("back") > rules.backwards * 1000).sum().alias("backwards"), pl.col("back").max().alias("furthest"))
    )


def spans(tape: pl.DataFrame) -> pl.DataFrame:
    """By sequence and block of `BLOCK` numbers: records, first and last number, earliest and latest slot.

    `tape` is ordered and without duplicates. `channel_gaps` and `outages.outages` combine parts of one sequence (other
    symbols, other batches). The slots are null where all records are after hours.
    """
    exchange, block = of_exchange(SHENZHEN).alias("exchange"), (pl.col("seq") // BLOCK).alias("block")
    trading = (pl.col("stream") == STREAMS.index(TRADES)).sum().alias("trade_records")
    slot = pl.when(pl.col("slot") != AFTER_HOURS).then(pl.col("slot"))
    return tape.group_by(exchange, "space", "channel", block).agg(
        pl.len().alias("records"),
        pl.col("seq").min().alias("first"),
        pl.col("seq").max().alias("last"),
        slot.min().alias("earliest"),
        slot.max().alias("latest"),
        trading,
    )


def channel_gaps(parts: pl.DataFrame, rules: TickRules) -> pl.DataFrame:
    """exchange, space, channel, records, expected, share: the missing part of its numbers, null = not judged; joint.

    `joint`: the sequence is judged together with that of the channel's other stream.
    Only a sequence with at least `contiguous` of its numbers is judged. Shanghai's two
    streams of a channel may share their numbers (BizIndex): they are judged together where no number then occurs twice.
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
    is_complete = ~half & (pl.col("records") >= rules.contiguous * pl.col("expected"))
    share = 1 - pl.col("records") / pl.col("expected")
    judged = pl.when(is_complete).then(share).otherwise(None).alias("share")
    joint = dense_pair.fill_null(False).alias("joint")
    return counted.select(*NUMBERING, "records", "expected", judged, joint).sort(NUMBERING)
