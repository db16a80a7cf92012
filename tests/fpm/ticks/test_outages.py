"""Minutes for which a channel lacks numbers: tapes of one number each 1.5 milliseconds, cut by hand."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.ticks.outages import outages, unknown_minutes
from fpm.ticks.sequence import channel_gaps, spans
from fpm.ticks.tape import AFTER_HOURS, TickRules

RULES = TickRules()
A_MINUTE, MINUTES = 40_000, 10  # numbers of a busy channel in a minute, and minutes of the tape
NUMBERS = np.arange(1, A_MINUTE * MINUTES + 1)


def tape(seq: np.ndarray, stream: int = 2, space: int = 0, sid: int = 1_200_000) -> pl.DataFrame:
    """Records of these numbers, each in the minute that its number says."""
    slot = ((seq - 1) // A_MINUTE).astype(np.int16)
    facts = {"sid": (sid, pl.Int32), "space": (space, pl.UInt8), "stream": (stream, pl.UInt8), "channel": (1, pl.Int32)}
    columns = [pl.lit(value).cast(dtype).alias(name) for name, (value, dtype) in facts.items()]
    return pl.DataFrame({"seq": seq, "slot": slot}).with_columns(columns)


def lost(*tapes: pl.DataFrame) -> list[int]:
    """Slots that count as lost, of parts of one channel."""
    parts = pl.concat([spans(each) for each in tapes])
    return outages(parts, channel_gaps(parts, RULES), RULES)["slot"].to_list()


def without(first: int, last: int) -> np.ndarray:
    """All numbers but those from first to last, which are lost."""
    return NUMBERS[(first > NUMBERS) | (last < NUMBERS)]


def test_a_whole_channel_loses_no_minute() -> None:
    assert lost(tape(NUMBERS)) == []
    assert lost(tape(NUMBERS[12_345:-4_321])) == []  # what lies before the first number and after the last is no gap


def test_three_lost_seconds_cost_their_minute_and_no_other() -> None:
    middle = 4 * A_MINUTE + A_MINUTE // 2  # within blocks that lie in minute 4 alone
    seq = without(middle, middle + 399)  # 400 of 400,000 are the session's allowance, and 1 % of their minute
    assert lost(tape(seq)) == [4]


def test_numbers_lost_at_a_border_may_be_of_either_minute() -> None:
    assert lost(tape(without(4 * A_MINUTE - 100, 4 * A_MINUTE + 100))) == [3, 4]


def test_a_hole_of_whole_blocks_costs_all_minutes_between_its_neighbours() -> None:
    assert lost(tape(without(3 * A_MINUTE - 9_000, 5 * A_MINUTE + 9_000))) == [2, 3, 4, 5]


def test_single_lost_numbers_are_within_the_allowance() -> None:
    assert lost(tape(np.delete(NUMBERS, [5, 170_000, 333_333]))) == []


def test_records_after_hours_have_no_minute_to_lose() -> None:
    late = tape(without(395_000, 395_999)).with_columns(
        slot=pl.when(pl.col("seq") > 300_000).then(AFTER_HOURS).otherwise(pl.col("slot")).cast(pl.Int16)
    )
    assert lost(late) == []


def test_an_excerpt_loses_nothing() -> None:
    assert lost(tape(NUMBERS[::3])) == []


def test_two_streams_with_common_numbers_are_one_channel() -> None:
    """Shanghai's trades and orders before the merged stream, numbered together by the vendor."""
    middle = 4 * A_MINUTE + A_MINUTE // 2
    seq = without(middle, middle + 399)
    trades, orders = tape(seq[::2], stream=0, space=1), tape(seq[1::2], stream=1, space=2)
    parts = pl.concat([spans(trades), spans(orders)])
    gaps = channel_gaps(parts, RULES)
    minutes = outages(parts, gaps, RULES)
    assert minutes["slot"].to_list() == [4]
    sequences = pl.DataFrame(
        {"sid": [1_200_000, 1_200_002, 1_200_004], "exchange": [False] * 3, "space": [1, 2, 1], "channel": [1, 1, 2]},
        schema_overrides={"sid": pl.Int32, "space": pl.UInt8, "channel": pl.Int32},
    )
    assert unknown_minutes(sequences, gaps, minutes).rows() == [(1_200_000, 4), (1_200_002, 4)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, len(NUMBERS) - 5_000), st.integers(1_000, 4_000), st.integers(1, 5))
def test_a_second_that_is_lost_is_never_a_smaller_volume(begin: int, width: int, batches: int) -> None:
    """Wherever the feed is down, and however its symbols are split: the minutes of all lost numbers are named."""
    begin = max(begin, 2)
    seq = without(begin, begin + width - 1)
    owner = np.random.default_rng(width).integers(batches, size=len(seq))
    parts = [tape(seq[owner == number], sid=1_200_000 + 2 * number) for number in range(batches)]
    truth = {(number - 1) // A_MINUTE for number in range(begin, begin + width)}
    most = {minute for minute in truth if sum((n - 1) // A_MINUTE == minute for n in range(begin, begin + width)) > 100}
    assert most <= set(lost(*parts))


def test_numbers_are_judged_over_all_batches_together() -> None:
    parts = [spans(tape(NUMBERS[start::7], sid=1_200_000 + 2 * start)) for start in range(7)]
    assert outages(pl.concat(parts), channel_gaps(pl.concat(parts), RULES), RULES).is_empty()
    assert channel_gaps(pl.concat(parts), RULES)["share"].to_list() == [pytest.approx(0.0)]
