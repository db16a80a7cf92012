"""Duplicates, clocks that run back, and gaps of a channel, counted by hand."""

from typing import Any

import polars as pl
import pytest

from fpm.ticks.sequence import backwards, channel_gaps, ordered, spans
from fpm.ticks.tape import TickRules
from tests.fpm.ticks.tiny_ticks import SZ, frame, merged, order, read, trade

RULES = TickRules()


def tape(**streams: list[dict[str, Any]]) -> pl.DataFrame:
    parts = [read(name, frame(name, rows), i).tape for i, (name, rows) in enumerate(streams.items()) if rows]
    return pl.concat(parts).drop("session")


def numbers(seqs: list[int], **more: Any) -> list[dict[str, Any]]:
    return [trade("10:00:00", 10.0, 100, 2, 1, seq, **{"side": "B", **more}) for seq in seqs]


def gaps(*tapes: pl.DataFrame) -> list[tuple[Any, ...]]:
    """(channel, records, expected, share) of every sequence, of any number of parts."""
    parts = pl.concat([spans(ordered(tape).tape) for tape in tapes])
    return channel_gaps(parts, RULES).select("channel", "records", "expected", "share").rows()


def test_of_equal_records_one_stays_and_of_different_ones_none() -> None:
    rows = [*numbers([1, 2, 2, 3]), trade("10:00:00", 10.5, 100, 2, 1, 3, side="B")]
    unique = ordered(tape(trades=rows))
    assert unique.tape["seq"].to_list() == [1, 2]
    assert unique.deduplicated == 1
    assert unique.faults.select("row", "reason_code").rows() == [(3, "FPM-IN-015"), (4, "FPM-IN-015")]


def test_separate_streams_of_shanghai_have_numbers_of_their_own() -> None:
    own = tape(trades=numbers([1]), orders=[order("10:00:00", "B", 10.0, 100, 1, 1)])
    assert ordered(own).tape.height == 2
    shared = tape(
        trades=numbers([1], symbol=SZ), orders=[order("10:00:00", "1", 10.0, 100, 1, 1, symbol=SZ, order_type="2")]
    )
    assert ordered(shared).faults.height == 2  # Shenzhen numbers both together


def test_a_channel_is_judged_over_all_its_symbols() -> None:
    first, second = (
        tape(trades=numbers(seqs, symbol=s)) for seqs, s in (([1, 3, 5], "600000.SH"), ([2, 4, 7], "600001.SH"))
    )
    assert gaps(first, second) == [(1, 6, 7, pytest.approx(1 / 7))]


def test_an_excerpt_is_not_judged() -> None:
    assert gaps(tape(trades=numbers([10, 20, 30]))) == [(1, 3, 21, None)]


def test_streams_numbered_together_are_judged_together() -> None:
    orders = [order("10:00:00", "B", 10.0, 100, seq, seq) for seq in (2, 4, 5)]
    assert gaps(tape(trades=numbers([1, 3, 7]), orders=orders)) == [(1, 6, 7, pytest.approx(1 / 7))] * 2
    alone = [order("10:00:00", "B", 10.0, 100, seq, seq) for seq in (1, 2, 4)]
    assert gaps(tape(trades=numbers([1, 2, 3]), orders=alone)) == [(1, 3, 3, 0.0), (1, 3, 4, 0.25)]


def test_shenzhens_trades_without_its_orders_are_not_judged() -> None:
    assert gaps(tape(trades=numbers([1, 2, 3, 5], symbol=SZ))) == [(1, 4, 5, None)]
    orders = [order("10:00:00", "1", 10.0, 100, 4, 4, symbol=SZ, order_type="2")]
    assert gaps(tape(trades=numbers([1, 2, 3, 6], symbol=SZ), orders=orders)) == [(1, 5, 6, pytest.approx(1 / 6))]


def test_the_merged_stream_is_one_sequence() -> None:
    rows = merged(numbers([1, 3]), [order("10:00:00", "B", 10.0, 100, 2, 2)])
    assert gaps(read("ticks", rows).tape.drop("session")) == [(1, 3, 3, 0.0)]


def test_a_clock_that_runs_back_is_counted_and_a_restart_runs_far_back() -> None:
    clocks = ["10:00:00", "10:00:10", "10:00:05", "10:00:08"]
    rows = [trade(clock, 10.0, 100, 2, 1, seq, side="B") for seq, clock in enumerate(clocks, 1)]
    assert backwards(ordered(tape(trades=rows)).tape, RULES).select("backwards", "furthest").rows() == [(1, 5000)]
    again = [trade("14:00:00", 10.0, 100, 2, 1, 2, side="B", channel=1), *rows[2:]]
    assert backwards(ordered(tape(trades=again)).tape, RULES)["furthest"][0] > RULES.reset * 1000
