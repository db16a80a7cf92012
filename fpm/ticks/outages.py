"""Minutes for which a channel lacks sequence numbers: what its symbols did in them is not known.

A feed that is down for ten seconds loses less than a thousandth of a session's numbers and a sixth of a minute's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.ticks.sequence import BLOCK, NUMBERING, SPACES

if TYPE_CHECKING:
    from fpm.ticks.tape import TickRules

JOINT = SPACES - 1  # stands for the spaces of Shanghai's two streams where they are judged together
CHANNEL = ("exchange", "judged", "channel")


def outages(parts: pl.DataFrame, gaps: pl.DataFrame, rules: TickRules) -> pl.DataFrame:
    """exchange, judged (its space, or `JOINT`), channel, slot: minutes that lack more than `rules.gaps` of the numbers.

    `parts`: `sequence.spans` of every symbol; `gaps`: `sequence.channel_gaps` of them. A missing number says neither
    whose record is missing nor when it was, only that it lies between the numbers beside it: a block's missing numbers
    count in every minute from the end of the block before it to the begin of the one after.
    """
    blocks = (
        parts.join(_judged(gaps), on=NUMBERING)
        .group_by(*CHANNEL, "block")
        .agg(pl.col("records").sum(), pl.col("first", "earliest").min(), pl.col("last", "latest").max())
        .sort(*CHANNEL, "block")
    )
    first = ((pl.col("block").shift(1) + 1) * BLOCK).over(*CHANNEL).fill_null(pl.col("first"))
    last = pl.min_horizontal((pl.col("block") + 1) * BLOCK - 1, pl.col("last").max().over(*CHANNEL))
    begin = pl.min_horizontal("earliest", pl.col("latest").shift(1).over(*CHANNEL))
    end = pl.max_horizontal("latest", pl.col("earliest").shift(-1).over(*CHANNEL))
    numbers = blocks.with_columns(expected=last - first + 1, begin=begin, end=end).drop_nulls(["begin", "end"])
    return (
        numbers.with_columns(slot=pl.int_ranges("begin", pl.col("end") + 1, dtype=pl.Int16))
        .explode("slot", empty_as_null=False)
        .group_by(*CHANNEL, "slot")
        .agg(pl.col("records", "expected").sum())
        .filter(1 - pl.col("records") / pl.col("expected") > rules.gaps)
        .select(*CHANNEL, "slot")
        .sort(*CHANNEL, "slot")
    )


def unknown_minutes(symbol_sequences: pl.DataFrame, gaps: pl.DataFrame, lost: pl.DataFrame) -> pl.DataFrame:
    """sid, slot: the minutes of every symbol for which one of its channels is in `lost` (`outages`).

    `symbol_sequences`: sid, exchange, space, channel.
    """
    channels = symbol_sequences.join(_judged(gaps), on=NUMBERING)
    return channels.join(lost, on=CHANNEL).select("sid", "slot").unique().sort("sid", "slot")


def _judged(gaps: pl.DataFrame) -> pl.DataFrame:
    """exchange, space, channel of the sequences that are judged, and `judged`, the space under which they are."""
    judged = pl.when("joint").then(pl.lit(JOINT, pl.UInt8)).otherwise("space").alias("judged")
    return gaps.filter(pl.col("share").is_not_null()).select(*NUMBERING, judged)
