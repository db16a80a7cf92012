"""Units of a daily table by its own amounts and by the minutes, and what counts as agreement, with numbers by hand."""

from datetime import date

import polars as pl
import pytest

from fpm.ingest.agreement import day_totals, disagreements, in_shares, scaled, table_scales
from fpm.sessions import market

CN, US = market("cn"), market("us")
DAY = date(2026, 1, 5)


def day(**columns: object) -> pl.DataFrame:
    """Two stocks in shares and currency: 1,000,000 shares near 10 and 200,000 near 50."""
    rows = {
        "session": [DAY, DAY],
        "symbol": ["600000.SH", "688001.SH"],
        "high": [10.2, 51.0],
        "low": [9.8, 49.0],
        "close": [10.1, 50.5],
        "volume": [1_000_000.0, 200_000.0],
        "amount": [10_000_000.0, 10_000_000.0],
        "suspended": [False, False],
    }
    return pl.DataFrame({**rows, **columns}, strict=False)


def totals(**columns: object) -> pl.DataFrame:
    """The same day from minutes."""
    return (
        day(**columns)
        .drop("suspended", "limit_up", "limit_down", strict=False)
        .with_columns(whole=pl.lit(True), ends=pl.lit(True))
    )


@pytest.mark.parametrize(
    ("volume", "amount", "words"),
    [
        (1, 1, None),
        (100, 1, "volume in lots, amount in currency: converted"),
        (1, 1e3, "volume in shares, amount in thousands: converted"),
        (100, 1e3, "volume in lots, amount in thousands: converted"),
        (1, 1e4, "volume in shares, amount in ten thousands: converted"),
        (100, 1e4, "volume in lots, amount in ten thousands: converted"),
    ],
)
def test_every_pair_of_units_is_told_from_the_table_alone(volume: float, amount: float, words: str | None) -> None:
    units = in_shares(day().with_columns(pl.col("volume") / volume, pl.col("amount") / amount), CN)
    assert units.rows.equals(day())
    assert units.conversions == ((words,) if words else ())


def test_a_star_in_shares_among_lots_has_its_own_unit() -> None:
    many = pl.concat([day(symbol=["600000.SH", f"60000{number}.SH"]) for number in range(1, 4)]).unique("symbol")
    lots = many.with_columns(pl.col("volume") / 100, pl.col("amount") / 1000)
    table = pl.concat([lots, day()[1:]])
    units = in_shares(table, CN)
    assert units.rows["volume"].to_list() == [*many["volume"], 200_000.0]
    assert units.conversions == (
        "volume in lots, amount in thousands: converted",
        "volume in shares, amount in currency on 2026-01-05, converted: 1 symbols, 688001.SH",
    )


def test_a_row_that_shows_no_unit_has_those_of_most_and_a_table_that_shows_none_stays() -> None:
    lots = day(volume=[10_000.0, 0.0], amount=[10_000.0, 0.0])  # nothing traded: no ratio
    assert in_shares(lots, CN).rows["volume"].to_list() == [1_000_000.0, 0.0]
    adjusted = day(high=[5.1, 25.5], low=[4.9, 24.5], close=[5.05, 25.25])  # ratio 2
    assert in_shares(adjusted, CN).rows.equals(adjusted)
    assert in_shares(day().drop("amount"), CN).rows.equals(day().drop("amount"))


def test_without_an_amount_the_minutes_show_the_scale_of_the_whole_table() -> None:
    for scale in (100.0, 1000.0):
        table = day().drop("amount").with_columns(pl.col("volume") / scale)
        assert table_scales(table, totals()) == {"volume": scale}
        assert scaled(table, {"volume": scale}).equals(day().drop("amount"))
    assert table_scales(day(), totals()) == {}
    assert table_scales(day(amount=[1e4, 1e4]), totals()) == {"amount": 1000.0}
    assert table_scales(day(volume=[1e5, 2e4]), totals()) == {}, "ten is nobody's unit"


def test_a_derived_turnover_follows_the_volume_and_a_given_one_stays() -> None:
    table = day(volume=[10_000.0, 2_000.0], turnover=[0.001, 0.3], float_shares=[1e7, 1e7])
    assert scaled(table, {"volume": 100.0})["turnover"].to_list() == [0.1, 0.3]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"close": [10.05, 50.5]}, None),  # 0.5 %
        ({"close": [10.0, 50.5]}, "daily close 10.0, minutes 10.1"),
        ({"high": [10.5, 51.0]}, "daily high 10.5, minutes 10.2"),
        ({"low": [9.6, 49.0]}, "daily low 9.6, minutes 9.8"),
        ({"limit_up": [10.1, None]}, "daily limit_up 10.1, minutes 10.2"),
        ({"limit_down": [9.9, 40.0]}, "daily limit_down 9.9, minutes 9.8"),
        ({"limit_up": [10.2, 51.0], "limit_down": [9.8, 49.0]}, None),
        ({"volume": [810_000.0, 200_000.0]}, None),
        ({"volume": [790_000.0, 200_000.0]}, "daily volume 790000.0, minutes 1000000.0"),
        ({"volume": [1.4e6, 200_000.0]}, "daily volume 1.4e6, minutes 1000000.0"),
        ({"amount": [2e7, 1e7]}, "daily amount 20000000.0, minutes 10000000.0"),
        ({"amount": [None, 1e7]}, None),
        ({"high": [5.1, 51.0], "low": [4.9, 49.0], "close": [5.05, 50.5]}, "daily high 5.1, minutes 10.2"),
        ({"suspended": [True, False], "close": [7.0, 50.5]}, None),
        ({"volume": [0.0, 200_000.0], "suspended": [True, False]}, None),
    ],
)
def test_what_differs_is_named_with_both_values(columns: dict[str, list[object]], reason: str | None) -> None:
    differing = disagreements(day(**columns), totals(), CN)
    expected = [(DAY, "600000.SH", f"two sources disagree: {reason}")] if reason else []
    assert [(*row[:2], row[2].replace("1400000.0", "1.4e6")) for row in differing.rows()] == expected


def test_elsewhere_official_closes_and_sparse_minutes_have_wider_bounds() -> None:
    assert disagreements(day(close=[10.0, 50.5], volume=[1.9e6, 200_000.0]), totals(), US).is_empty()
    assert disagreements(day(close=[9.8, 50.5]), totals(), US).height == 1
    assert disagreements(day(volume=[2.1e6, 200_000.0]), totals(), US).height == 1
    assert disagreements(day(), totals(close=[None, None], volume=[0.0, 0.0]), US).is_empty(), "no minute traded"


def test_absent_minutes_may_hold_the_rest_of_the_day() -> None:
    part = totals(high=[10.0, 51.0], volume=[600_000.0, 200_000.0], amount=[6e6, 1e7])
    assert disagreements(day(), part, CN).height == 1
    assert disagreements(day(), part.with_columns(whole=pl.lit(False)), CN).is_empty()
    half = day(high=[5.1, 51.0], low=[4.9, 49.0], close=[5.05, 50.5])
    assert disagreements(half, part.with_columns(whole=pl.lit(False), ends=pl.lit(False)), CN).height == 1
    double = day(high=[20.4, 51.0], low=[19.6, 49.0], close=[20.2, 50.5])
    assert disagreements(double, part.with_columns(whole=pl.lit(False), ends=pl.lit(False)), CN).height == 1


def test_a_day_from_its_minutes() -> None:
    bars = pl.DataFrame(
        {
            "session": DAY,
            "symbol": ["600000.SH"] * 3 + ["600001.SH"],
            "slot": [1, 2, 3, 1],
            "high": [10.1, 10.3, 99.0, 5.0],
            "low": [10.0, 10.1, 1.0, 5.0],
            "close": [10.1, 10.2, 50.0, 5.0],
            "volume": [100.0, 300.0, 0.0, 100.0],
            "amount": [1005.0, 3060.0, 0.0, None],
        },
        schema_overrides={"slot": pl.Int16},
    )
    rows = day_totals(bars, CN).rows(named=True)
    numbers = ("high", "low", "close", "volume", "amount")
    assert [rows[0][name] for name in numbers] == [10.3, 10.0, 10.2, 400.0, 4065.0], "an untraded minute has no price"
    assert rows[1]["amount"] is None and not rows[0]["whole"] and not rows[0]["ends"]
    assert day_totals(bars, US).select(pl.all_horizontal("whole", "ends").all()).item(), "nobody misses a minute there"
