"""Each convention is detected from bars that follow it, and refused in words where the bars do not show it."""

from datetime import timedelta

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.conventions import Conventions, detect
from fpm.sessions import market
from tests.tape import by_start, moved, tape


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns the detector reads: day and label from the minute."""
    minute = pl.col("minute")
    label = minute.dt.hour().cast(pl.Int16) * 60 + minute.dt.minute().cast(pl.Int16)
    return frame.with_columns(minute.dt.date().alias("day"), label.alias("label"))


def detected(name: str, frame: pl.DataFrame, fallback: Conventions | None = None) -> Conventions:
    return detect(labelled(frame), market(name), fallback).conventions


def refusal(name: str, frame: pl.DataFrame) -> InputRefused:
    with pytest.raises(InputRefused) as error:
        detected(name, frame)
    return error.value


def around_the_clock(minutes: int) -> pl.DataFrame:
    """1,440 minutes of a market that never closes, first label at 00:00 plus `minutes`."""
    one = tape("us", symbols=("A",)).head(1).drop("minute")
    first = tape("us")["minute"].dt.truncate("1d")[0]
    labels = pl.datetime_range(first, first + timedelta(minutes=1439), "1m", eager=True) + timedelta(minutes=minutes)
    return one.join(labels.alias("minute").to_frame(), how="cross")


def test_stretches_of_trading() -> None:
    assert market("cn").segments == ((570, 690), (780, 900))
    assert market("us").segments == ((570, 960),)
    assert market("nse").segments == ((555, 930),)


@pytest.mark.parametrize(("name", "calls"), [("cn", (565, 900)), ("us", (570,)), ("nse", ())])
def test_bars_stamped_by_end(name: str, calls: tuple[int, ...]) -> None:
    conventions = detected(name, tape(name))
    assert (conventions.stamp_side, conventions.calls) == ("end", calls)
    assert (conventions.volume_unit, conventions.price_basis) == ("shares", "raw")


@pytest.mark.parametrize("name", ["cn", "us", "nse"])
def test_bars_stamped_by_start(name: str) -> None:
    assert detected(name, by_start(name)).stamp_side == "start"


def test_opening_call_stamped_0930_in_china() -> None:
    frame = tape("cn").with_columns(
        pl.when(pl.col("minute").dt.time() == pl.time(9, 25))
        .then(pl.col("minute") + timedelta(minutes=5))
        .otherwise(pl.col("minute"))
        .alias("minute")
    )
    conventions = detected("cn", frame)
    assert (conventions.stamp_side, conventions.calls) == ("end", (570, 900))


def test_closing_cross_does_not_make_a_start_stamp_an_end_stamp() -> None:
    frame = by_start("us")
    cross = frame.filter(pl.col("minute").dt.time() == pl.time(15, 59)).with_columns(
        pl.col("minute") + timedelta(minutes=1), *(pl.col("close").alias(name) for name in ("open", "high", "low"))
    )
    cross = cross.with_columns((pl.col("close") * pl.col("volume")).alias("amount"))
    assert detected("us", pl.concat([frame, cross])).stamp_side == "start"


@pytest.mark.parametrize(("minutes", "side"), [(0, "start"), (1, "end")])
def test_a_market_that_never_closes_shows_its_side_at_the_edges(minutes: int, side: str) -> None:
    assert detected("crypto", around_the_clock(minutes)).stamp_side == side


def test_a_piece_of_a_session_is_refused_or_takes_the_fallback() -> None:
    piece = tape("cn").filter(pl.col("minute").dt.hour() == 10)
    assert refusal("cn", piece).code == "FPM-IN-013"
    fallback = detected("cn", tape("cn"))
    assert detected("cn", piece, fallback).stamp_side == "end"


def test_a_piece_of_a_day_that_never_ends_is_refused() -> None:
    assert refusal("crypto", around_the_clock(0).head(700)).code == "FPM-IN-013"


def test_lots_of_a_hundred() -> None:
    assert detected("cn", tape("cn").with_columns(pl.col("volume") / 100)).volume_unit == "lots"


def test_another_unit_is_refused() -> None:
    assert refusal("cn", tape("cn").with_columns(pl.col("volume") / 7)).code == "FPM-IN-126"


def test_no_amount_in_china_is_refused() -> None:
    assert refusal("cn", tape("cn").drop("amount")).code == "FPM-IN-126"


def test_adjusted_prices_of_one_symbol_are_set_aside_and_named() -> None:
    """The rest of the file goes in: two of three symbols have raw prices."""
    factor = pl.when(pl.col("symbol") == "600519.SH").then(0.5).otherwise(1.0)
    adjusted = tape("cn").with_columns(pl.col(name) * factor for name in ("open", "high", "low", "close"))
    refused = detect(labelled(adjusted), market("cn")).refused
    assert refused["symbol"].unique().to_list() == ["600519.SH"]
    assert refused["reason_code"].unique().to_list() == ["FPM-IN-126"]  # twice the volume x price is no unit
    whole = refusal("cn", adjusted.filter(pl.col("symbol") == "600519.SH"))
    assert whole.code == "FPM-IN-126" and "600519.SH" in whole.wrong


def test_prices_without_amount_are_raw_where_they_lie_on_the_tick() -> None:
    assert detected("us", tape("us").drop("amount")).price_basis == "raw_by_tick"
    adjusted = tape("us").drop("amount").with_columns(pl.col("open", "high", "low", "close") * 0.98765)
    assert refusal("us", adjusted).code == "FPM-IN-127"


@pytest.mark.parametrize(("name", "hours"), [("cn", -8), ("us", 5), ("nse", -5.5)])
def test_times_of_another_zone_are_refused_with_the_shift(name: str, hours: float) -> None:
    error = refusal(name, moved(tape(name), round(60 * hours)))
    assert error.code == "FPM-IN-011"
    assert f"shifted by {hours:+g} h?" in error.wrong


def test_bars_of_another_length_are_refused() -> None:
    error = refusal("cn", tape("cn").filter(pl.col("minute").dt.minute() % 15 == 0))
    assert error.code == "FPM-IN-013"
    assert "15 minutes apart" in error.wrong and "--market cn --bar 15m" in error.todo
    error = refusal("us", tape("us").filter(pl.col("minute").dt.minute() % 5 == 0))
    assert "5 minutes apart" in error.wrong and "--market us --bar 5m" in error.todo
    error = refusal("cn15", tape("cn"))
    assert "1 minutes apart, expected 15" in error.wrong and "--market cn --bar 1m" in error.todo


def quarters() -> pl.DataFrame:
    """Sixteen bars of a quarter of an hour, stamped by END."""
    label = pl.col("minute").dt.hour().cast(pl.Int32) * 60 + pl.col("minute").dt.minute()
    return tape("cn").filter(label % 15 == 0, label > 570)


def test_bars_of_fifteen_minutes() -> None:
    """09:45 to 11:30 and 13:15 to 15:00; stamped by START every bar is a quarter of an hour earlier."""
    assert quarters().height == 16 * 3
    conventions = detected("cn15", quarters())
    assert (conventions.stamp_side, conventions.calls, conventions.volume_unit) == ("end", (), "shares")
    assert detected("cn15", moved(quarters(), -15)).stamp_side == "start"
    assert refusal("cn15", moved(quarters(), -8 * 60)).code == "FPM-IN-011"
