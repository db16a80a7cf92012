"""No look-ahead: features and factors keep their bits whatever the future holds; planted leaks are caught."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from functools import cache, partial

import numpy as np
import polars as pl
import pytest

from fpm.features.bars import Grid, grid
from fpm.features.daily_factors import HISTORY, daily_factors
from fpm.features.labels import labels
from fpm.features.minute_features import Profile, by_symbol, minute_features, raw_features, standardise, to_frame
from fpm.features.session_totals import scales, session_totals, slot_median
from fpm.leaks.checks import Frames, first_leak, leaks
from fpm.schema import DAILY_FACTORS, FEATURES, HORIZON
from tests.small_market import FIRST, PROFILES, SLOTS, SMALL, small_market

SESSIONS = 12
LAST = FIRST + timedelta(days=SESSIONS - 1)
DAILY_FROM = FIRST + timedelta(days=HISTORY + 2)
EVERY_FEATURE = [(name, feature) for name, features in FEATURES.items() for feature in features]


@cache
def market() -> Frames:
    return small_market(SESSIONS)


@cache
def daily_market() -> Frames:
    return {"daily_bars": small_market(HISTORY + 12, seed=3)["daily_bars"]}


def raw_session(inputs: Frames, session: date, profile: Profile) -> tuple[Grid, pl.DataFrame, np.ndarray]:
    """Grid, daily bars and raw features of one session, from the minutes and days of all."""
    bars, daily = (inputs[name].filter(pl.col("session") == session) for name in ("minute_bars", "daily_bars"))
    first = session - timedelta(days=profile.constants.history)
    earlier = inputs["minute_bars"].filter(pl.col("session").is_between(first, session, closed="left"))
    dense = grid(bars, SMALL, "8")
    return (
        dense,
        daily,
        raw_features(dense, daily, slot_median(sessions_of(earlier), dense.symbols, SMALL, profile), profile),
    )


def sessions_of(bars: pl.DataFrame) -> list[pl.DataFrame]:
    return bars.partition_by("session", maintain_order=True)


def totals_by_session(inputs: Frames, profile: Profile) -> pl.DataFrame:
    """The rows that the job session_totals writes for every session."""
    return pl.concat(
        session_totals(raw_STF, dense, daily, profile).with_columns(session=pl.lit(session))
        for session in inputs["minute_bars"]["session"].unique().sort()
        for dense, daily, raw_STF in (raw_session(inputs, session, profile),)
    )


def features_by_session(inputs: Frames, profile: Profile) -> pl.DataFrame:
    """The rows that the job minute_features writes for every session."""
    totals, tables = totals_by_session(inputs, profile), []
    for session in inputs["minute_bars"]["session"].unique().sort():
        dense, daily, raw_STF = raw_session(inputs, session, profile)
        adjust_S = by_symbol(daily, dense.symbols, "adj_factor")
        x_STF = standardise(raw_STF, scales(before(totals, session), dense.symbols, adjust_S, profile), profile)
        tables.append(minute_features(dense, x_STF, profile).with_columns(session=pl.lit(session)))
    return pl.concat(tables)


def before(frame: pl.DataFrame, session: date) -> pl.DataFrame:
    return frame.filter(pl.col("session") < session)


def features_of_last(inputs: Frames, profile: Profile) -> pl.DataFrame:
    """Every symbol and slot of the last session, from its minutes and the daily columns known before the open."""
    daily = market()["daily_bars"].filter(pl.col("session") == LAST)
    opening = daily.select("symbol", "pre_close", "adj_factor", "limit_up", "limit_down")
    symbols = opening["symbol"].to_list()
    dense = grid(inputs["minute_bars"], SMALL, "8", symbols)
    earlier = before(market()["minute_bars"], LAST).filter(
        pl.col("session") >= LAST - timedelta(days=profile.constants.history)
    )
    raw_STF = raw_features(dense, opening, slot_median(sessions_of(earlier), symbols, SMALL, profile), profile)
    scales_SF = scales(earlier_totals(profile), symbols, by_symbol(opening, symbols, "adj_factor"), profile)
    return to_frame(symbols, standardise(raw_STF, scales_SF, profile), profile)


@cache
def earlier_totals(profile: Profile) -> pl.DataFrame:
    return before(totals_by_session(market(), profile), LAST)


def last_minutes() -> Frames:
    return {"minute_bars": market()["minute_bars"].filter(pl.col("session") == LAST).drop("session")}


def factors_by_session(inputs: Frames) -> pl.DataFrame:
    """The rows that the job daily_factors writes for sessions with a whole history."""
    days = inputs["daily_bars"]["session"].unique().sort().to_list()
    return pl.concat(
        daily_factors(inputs["daily_bars"], day).with_columns(session=pl.lit(day)) for day in days if day >= DAILY_FROM
    )


@cache
def minute_leaks(name: str) -> dict[str, int]:
    return leaks(partial(features_of_last, profile=PROFILES[name]), last_minutes(), "slot", range(SLOTS))


@cache
def session_leaks(name: str) -> dict[str, date]:
    cuts = [FIRST + timedelta(days=i) for i in range(5, SESSIONS)]
    return leaks(partial(features_by_session, profile=PROFILES[name]), market(), "session", cuts)


@cache
def factor_leaks() -> dict[str, date]:
    return leaks(factors_by_session, daily_market(), "session", [DAILY_FROM + timedelta(days=i) for i in (0, 3, 8)])


@pytest.mark.parametrize(("name", "feature"), EVERY_FEATURE)
def test_a_feature_does_not_use_later_minutes(name: str, feature: str) -> None:
    assert not {feature, "rows"} & minute_leaks(name).keys()


@pytest.mark.parametrize(("name", "feature"), EVERY_FEATURE)
def test_a_feature_does_not_use_later_sessions(name: str, feature: str) -> None:
    assert not {feature, "rows"} & session_leaks(name).keys()


@pytest.mark.parametrize("factor", DAILY_FACTORS)
def test_a_factor_does_not_use_later_sessions(factor: str) -> None:
    assert not {factor, "rows"} & factor_leaks().keys()


def test_the_checked_tables_have_values() -> None:
    """A column that is null throughout would pass every test above."""
    for profile in PROFILES.values():
        for table in (features_of_last(last_minutes(), profile), features_by_session(market(), profile)):
            assert all(table[feature].drop_nulls().n_unique() > 1 for feature in profile.features)
    factors = factors_by_session(daily_market())
    assert all(factors[factor].drop_nulls().n_unique() > 1 for factor in DAILY_FACTORS)


def test_a_future_split_changes_nothing_before_it() -> None:
    """Adjustment factors accumulate forwards: a future split changes only the factors from its session on."""
    split = {name: with_split(frame, LAST) for name, frame in market().items()}
    for profile in PROFILES.values():
        was, now = (before(features_by_session(frames, profile), LAST) for frames in (market(), split))
        assert was.equals(now, null_equal=True)
    daily = {"daily_bars": with_split(daily_market()["daily_bars"], DAILY_FROM + timedelta(days=4))}
    was, now = (
        before(factors_by_session(inputs), DAILY_FROM + timedelta(days=4)) for inputs in (daily_market(), daily)
    )
    assert was.equals(now, null_equal=True)


def with_split(frame: pl.DataFrame, session: date) -> pl.DataFrame:
    """Every symbol split 3 for 1 at the open of `session`."""
    after, prices = pl.col("session") >= session, [name for name in PRICED if name in frame.columns]
    split = [(pl.col(prices) / pl.when(after).then(3.0).otherwise(1.0))]
    shares = [name for name in ("volume", "adj_factor") if name in frame.columns]
    return frame.with_columns(*split, pl.col(shares) * pl.when(after).then(3.0).otherwise(1.0))


PRICED = ("open", "high", "low", "close", "pre_close", "limit_up", "limit_down")


# --- planted leaks: the same check must catch each --------------------------------------------------------


def centred_window(inputs: Frames) -> pl.DataFrame:
    mean = pl.col("close").rolling_mean(3, min_samples=1, center=True).over("symbol")
    return inputs["minute_bars"].select("symbol", "slot", centred=mean)


def same_session_scale(inputs: Frames) -> pl.DataFrame:
    return inputs["minute_bars"].select(
        "symbol", "slot", volume=pl.col("volume") / pl.col("volume").sum().over("symbol")
    )


def backward_fill(inputs: Frames) -> pl.DataFrame:
    slots = pl.DataFrame({"slot": range(SLOTS)}, schema={"slot": pl.Int16})
    closes = inputs["minute_bars"].select("symbol", "slot", "close")
    dense = closes.select("symbol").unique().join(slots, how="cross").join(closes, on=("symbol", "slot"), how="left")
    return dense.sort("symbol", "slot").with_columns(pl.col("close").fill_null(strategy="backward").over("symbol"))


def label_in_features(inputs: Frames) -> pl.DataFrame:
    days = inputs["daily_bars"]["session"].unique().sort().to_list()
    ends = [(days[number + 1], days[number + 1 + HORIZON]) for number in range(len(days) - HORIZON - 1)]
    frames = [
        labels(inputs["daily_bars"], day, pair).with_columns(session=pl.lit(day))
        for day, pair in zip(days, ends, strict=False)
    ]
    keys = inputs["daily_bars"].select("symbol", "session")
    return keys.join(pl.concat([*frames, LABELLED.clear()]), on=("symbol", "session"), how="left")


LABELLED = pl.DataFrame(schema={"symbol": pl.String, "label": pl.Float64, "session": pl.Date})


@pytest.mark.parametrize("planted", [centred_window, same_session_scale, backward_fill])
def test_a_planted_leak_within_the_session_is_caught(planted: Callable[[Frames], pl.DataFrame]) -> None:
    assert first_leak(planted, last_minutes(), "slot", range(SLOTS)) is not None


def test_a_label_among_the_features_is_caught() -> None:
    leak = first_leak(label_in_features, market(), "session", [LAST - timedelta(days=3)])
    assert leak is not None and leak[0] == "label"


def test_a_scale_that_includes_the_session_is_caught() -> None:
    """The real scales with the session's own totals, which the job's window must exclude."""
    profile = PROFILES["bar_32"]

    def with_own_totals(inputs: Frames) -> pl.DataFrame:
        dense, daily, raw_STF = raw_session({**market(), "minute_bars": minutes_with(inputs)}, LAST, profile)
        own = session_totals(raw_STF, dense, daily, profile).with_columns(session=pl.lit(LAST))
        adjust_S = by_symbol(daily, dense.symbols, "adj_factor")
        scales_SF = scales(pl.concat([earlier_totals(profile), own]), dense.symbols, adjust_S, profile)
        return to_frame(dense.symbols, standardise(raw_STF, scales_SF, profile), profile)

    assert first_leak(with_own_totals, last_minutes(), "slot", [SLOTS - 2]) is not None


def minutes_with(inputs: Frames) -> pl.DataFrame:
    """All earlier minutes, and the last session's minutes in `inputs`."""
    last = inputs["minute_bars"].with_columns(session=pl.lit(LAST))
    return pl.concat([before(market()["minute_bars"], LAST), last], how="diagonal")
