"""Eighteen planted leaks of the future into a factor, each beside its honest version.

Three symbols over ten sessions (thirty over a hundred where statistics are needed), six minutes in the last one. Inputs
are cut at session T or minute MINUTE. Each bug states the column and session that its finding must name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from fpm.leaks.checks import Finding, Frames, duplicates, future_leak, stored_leak
from fpm.leaks.records import (
    FoldBounds,
    corrections,
    label_overlap,
    one_vintage,
    out_of_sample,
    survivors,
    two_clocks,
    unique_rows,
)
from fpm.leaks.scores import label_window, ridge, shifted_calendar, shuffled_labels

DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(10)]
T, MINUTE = DAYS[5], 3
SYMBOLS = ("A", "B", "C")
DELISTED = "C"  # has its last row at T


@dataclass(frozen=True)
class Bug:
    """`leaky` and `honest` run the same check on the two versions; the rest is what the finding must name."""

    name: str
    leaky: Callable[[], Finding | None]
    honest: Callable[[], Finding | None]
    check: str
    column: str
    session: Any


# --- the market ----------------------------------------------------------------------------------------------------


def daily() -> pl.DataFrame:
    """A splits two for one at the open of the eighth session; C has no rows after T."""
    rng = np.random.default_rng(1)
    rows = [
        (day, symbol, float(rng.uniform(9, 11)), float(rng.integers(100, 900)), 2.0 if symbol == "A" and n > 6 else 1.0)
        for n, day in enumerate(DAYS)
        for symbol in SYMBOLS
        if symbol != DELISTED or day <= T
    ]
    return pl.DataFrame(rows, schema=["session", "symbol", "close", "volume", "adj_factor"], orient="row")


def minutes() -> pl.DataFrame:
    """Six minutes of three symbols; B has no bar at MINUTE."""
    rng = np.random.default_rng(2)
    rows = [
        (slot, symbol, float(rng.uniform(9, 11)), float(rng.integers(1, 9)))
        for slot in range(6)
        for symbol in SYMBOLS
        if (slot, symbol) != (MINUTE, "B")
    ]
    return pl.DataFrame(rows, schema=["slot", "symbol", "close", "volume"], orient="row")


def daily_finding(function: Callable[[Frames], pl.DataFrame]) -> Finding | None:
    return future_leak("daily_factors", function, {"daily_bars": daily()}, "session", T)


def minute_finding(function: Callable[[Frames], pl.DataFrame]) -> Finding | None:
    return future_leak("minute_features", function, {"minute_bars": minutes()}, "slot", MINUTE)


# --- within the session --------------------------------------------------------------------------------------------


def window(inputs: Frames, *, centred: bool) -> pl.DataFrame:
    mean = pl.col("close").rolling_mean(3, min_samples=1, center=centred).over("symbol")
    return inputs["minute_bars"].select("symbol", "slot", smoothed=mean)


def share_of_session(inputs: Frames) -> pl.DataFrame:
    return inputs["minute_bars"].select(
        "symbol", "slot", volume=pl.col("volume") / pl.col("volume").sum().over("symbol")
    )


def share_so_far(inputs: Frames) -> pl.DataFrame:
    so_far = pl.col("volume").cum_sum().over("symbol")
    return inputs["minute_bars"].select("symbol", "slot", volume=pl.col("volume") / so_far)


def complete_minutes(inputs: Frames, *, strategy: Any) -> pl.DataFrame:
    """Every minute of every symbol, missing ones filled."""
    every = pl.DataFrame({"slot": range(6)}).join(pl.DataFrame({"symbol": SYMBOLS}), how="cross")
    minutes = every.join(inputs["minute_bars"], on=("slot", "symbol"), how="left").sort("symbol", "slot")
    return minutes.select("symbol", "slot", pl.col("close").fill_null(strategy=strategy).over("symbol"))


# --- across sessions -----------------------------------------------------------------------------------------------


def past_return(inputs: Frames, *, sessions: int) -> pl.DataFrame:
    """Return over the last `sessions` sessions; with a negative number, over the next ones."""
    before = pl.col("close").shift(sessions).over("symbol", order_by="session")
    return inputs["daily_bars"].select("session", "symbol", label=(pl.col("close") / before - 1) * np.sign(sessions))


def adjusted_price(inputs: Frames, *, forward: bool) -> pl.DataFrame:
    """Prices on a share basis; forward: that of the last session, so that a later split changes all of them."""
    last = pl.col("adj_factor").last().over("symbol", order_by="session")
    basis = last if forward else pl.lit(1.0)
    return inputs["daily_bars"].select("session", "symbol", price=pl.col("close") * pl.col("adj_factor") / basis)


def scaled_volume(inputs: Frames, *, whole: bool) -> pl.DataFrame:
    """Volume over its mean of all sessions (whole), or of the sessions up to each."""
    ordered = inputs["daily_bars"].sort("symbol", "session")
    mean = pl.col("volume").mean() if whole else pl.col("volume").cum_sum() / pl.col("session").cum_count()
    return ordered.select("session", "symbol", scaled=pl.col("volume") / mean.over("symbol"))


def label(inputs: Frames, *, entry: int) -> pl.DataFrame:
    """Label of the third session: from the close `entry` sessions later to that of T."""
    closes = inputs["daily_bars"].filter(pl.col("symbol") != DELISTED)
    first, last = (closes.filter(pl.col("session") == DAYS[number]) for number in (2 + entry, 5))
    joined = first.join(last, on="symbol", suffix="_exit")
    return joined.select("symbol", session=pl.lit(DAYS[2]), label=pl.col("close_exit") / pl.col("close") - 1)


def volume_by_industry(inputs: Frames, *, unique: bool) -> pl.DataFrame:
    """Volumes joined to a table of names and summed; unless unique, a symbol listed twice counts twice."""
    names = inputs["names"].unique() if unique else inputs["names"]
    bars = inputs["daily_bars"].unique(["session", "symbol"], keep="first") if unique else inputs["daily_bars"]
    joined = bars.join(names, on="symbol", maintain_order="left").sort("session", "symbol")
    return joined.group_by("session", "industry", maintain_order=True).agg(pl.col("volume").sum())


def doubled_join(*, unique: bool) -> Finding | None:
    inputs = {"daily_bars": daily(), "names": pl.DataFrame({"symbol": SYMBOLS, "industry": ["I", "I", "K"]})}
    return duplicates("industry_volume", partial(volume_by_industry, unique=unique), inputs, "session")


# --- records -------------------------------------------------------------------------------------------------------


def with_clocks(rows: pl.DataFrame, hour: int = 20) -> pl.DataFrame:
    """Rows with both clocks: they describe three in the afternoon and are known from `hour` on."""
    moment = pl.col("session").dt.combine(time(hour)).dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    event = pl.col("session").dt.combine(time(15)).dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    return rows.with_columns(event_timestamp=event, created_timestamp=moment)


def clock_finding(hour: int) -> Finding | None:
    """Factors stamped at `hour`, of bars that arrive at eight in the evening."""
    earliest = {day: datetime.combine(day, time(20), UTC) for day in DAYS}
    early = with_clocks(daily().filter(pl.col("session") == T), hour)
    rows = pl.concat([with_clocks(daily().filter(pl.col("session") != T)), early])
    return two_clocks("daily_factors", rows, earliest)


def correction_finding(*, appended: bool) -> Finding | None:
    """A volume of T is restated, as a new version or over the original under its clock."""
    before = with_clocks(daily())
    here = (pl.col("session") == T) & (pl.col("symbol") == "B")
    restated = before.with_columns(volume=pl.when(here).then(pl.col("volume") + 1).otherwise(pl.col("volume")))
    later = restated.filter(here).with_columns(pl.col("created_timestamp") + timedelta(days=2))
    return corrections("daily_bars", before, pl.concat([before, later]) if appended else restated)


def recomputation_finding(*, overwritten: bool) -> Finding | None:
    """A stored factor; once its inputs are overwritten, they no longer give the same value."""
    rows = scaled_volume({"daily_bars": daily()}, whole=False)
    here = (pl.col("session") == T) & pl.lit(overwritten)
    inputs = {"daily_bars": daily().with_columns(pl.when(here).then(1.0).otherwise(pl.col("volume")).alias("volume"))}
    return stored_leak("daily_factors", rows, partial(scaled_volume, whole=False), inputs, T)


def out_of_sample_finding(through: date) -> Finding | None:
    """Scores of an encoder trained through a session."""
    served = pl.DataFrame({"session": DAYS[4:], "vintage": "v"})
    return out_of_sample(served, {"v": through}, DAYS, purge=2)


def look_back_finding(vintages: list[str]) -> Finding | None:
    rows = pl.DataFrame({"session": DAYS[4:6], "symbol": "A", "vintage": vintages})
    return one_vintage(rows, T, "new")


def fold_finding(*, purge: int) -> Finding | None:
    """A fold with `purge` sessions between train and validation; a label is complete two sessions after its own."""
    parts = FoldBounds("m", (DAYS[0], DAYS[2]), (DAYS[3 + purge], DAYS[5]), DAYS[8])
    return label_overlap([parts], DAYS, reach=2)


def survivor_finding(symbols: pl.DataFrame) -> Finding | None:
    rows = daily().join(symbols, on="symbol", how="semi")
    return survivors("daily_factors", rows, daily())


def repetition_finding(times: int) -> Finding | None:
    rows = with_clocks(daily())
    return unique_rows(
        "daily_bars", pl.concat([rows, *[rows.filter(pl.col("session") == T)] * (times - 1)]), ["symbol"]
    )


# --- scores --------------------------------------------------------------------------------------------------------

LONG = [date(2024, 1, 1) + timedelta(days=number) for number in range(100)]
MANY = [f"{number:03d}" for number in range(30)]


def panel(name: str, values_TN: np.ndarray) -> pl.DataFrame:
    keys = pl.DataFrame({"session": LONG[: len(values_TN)]}).join(pl.DataFrame({"symbol": MANY}), how="cross")
    return keys.with_columns(pl.Series(name, values_TN.ravel()))


def shift_finding(*, by: int) -> Finding | None:
    """The session's own return as a score, joined `by` sessions early."""
    moves_TN = np.random.default_rng(3).normal(0, 0.02, (100, 30))
    closes = panel("close", 10 * np.exp(np.cumsum(moves_TN, axis=0)))
    return shifted_calendar("scores.score", panel("score", np.roll(moves_TN, -by, axis=0)[:94]), closes)


def training_finding(*, test: list[date]) -> Finding | None:
    """A ridge on forty noise features, trained on the first sixty sessions."""
    noise_TNF = np.random.default_rng(4).normal(size=(100, 30, 40))
    names = [f"noise_{number}" for number in range(40)]
    features = panel("x", np.zeros((100, 30))).with_columns(
        pl.Series(name, noise_TNF[:, :, number].ravel()) for number, name in enumerate(names)
    )
    labels = panel("label", np.random.default_rng(5).normal(size=(100, 30)))
    return shuffled_labels("ridge", ridge(features, names, [(LONG[:60], test)]), labels)


BUGS = [
    Bug(
        "centred window",
        lambda: minute_finding(partial(window, centred=True)),
        lambda: minute_finding(partial(window, centred=False)),
        "truncation",
        "minute_features.smoothed",
        2,
    ),
    Bug(
        "scale of the session itself",
        lambda: minute_finding(share_of_session),
        lambda: minute_finding(share_so_far),
        "truncation",
        "minute_features.volume",
        0,
    ),
    Bug(
        "backward fill",
        lambda: minute_finding(partial(complete_minutes, strategy="backward")),
        lambda: minute_finding(partial(complete_minutes, strategy="forward")),
        "truncation",
        "minute_features.close",
        MINUTE,
    ),
    Bug(
        "label among the features",
        lambda: daily_finding(partial(past_return, sessions=-2)),
        lambda: daily_finding(partial(past_return, sessions=2)),
        "truncation",
        "daily_factors.label",
        DAYS[4],
    ),
    Bug(
        "forward-adjusted prices",
        lambda: daily_finding(partial(adjusted_price, forward=True)),
        lambda: daily_finding(partial(adjusted_price, forward=False)),
        "truncation",
        "daily_factors.price",
        DAYS[0],
    ),
    Bug(
        "scale fitted on all sessions",
        lambda: daily_finding(partial(scaled_volume, whole=True)),
        lambda: daily_finding(partial(scaled_volume, whole=False)),
        "truncation",
        "daily_factors.scaled",
        DAYS[0],
    ),
    Bug(
        "label joined off by one",
        lambda: label_window(partial(label, entry=0), daily(), DAYS[2], DAYS[3:6]),
        lambda: label_window(partial(label, entry=1), daily(), DAYS[2], DAYS[3:6]),
        "label window",
        "labels.label",
        DAYS[2],
    ),
    Bug(
        "encoder that has seen its test",
        lambda: out_of_sample_finding(DAYS[3]),
        lambda: out_of_sample_finding(DAYS[1]),
        "one vintage a window",
        "scores.vintage",
        DAYS[4],
    ),
    Bug(
        "two vintages in a window",
        lambda: look_back_finding(["old", "new"]),
        lambda: look_back_finding(["new", "new"]),
        "one vintage a window",
        "fingerprints.vintage",
        DAYS[4],
    ),
    Bug(
        "correction over the original",
        lambda: correction_finding(appended=False),
        lambda: correction_finding(appended=True),
        "two clocks",
        "daily_bars.volume",
        T,
    ),
    Bug(
        "factor of an original that is gone",
        lambda: recomputation_finding(overwritten=True),
        lambda: recomputation_finding(overwritten=False),
        "truncation",
        "daily_factors.scaled",
        T,
    ),
    Bug(
        "known before its inputs",
        lambda: clock_finding(16),
        lambda: clock_finding(20),
        "two clocks",
        "daily_factors.created_timestamp",
        T,
    ),
    Bug(
        "today's members only",
        lambda: survivor_finding(daily().filter(pl.col("session") == DAYS[-1])),
        lambda: survivor_finding(daily()),
        "survivorship",
        "daily_factors.symbol",
        DAYS[0],
    ),
    Bug(
        "rows joined twice",
        lambda: doubled_join(unique=False),
        lambda: doubled_join(unique=True),
        "duplicated rows",
        "industry_volume.volume",
        DAYS[0],
    ),
    Bug(
        "rows stored twice",
        lambda: repetition_finding(2),
        lambda: repetition_finding(1),
        "duplicated rows",
        "daily_bars.symbol",
        T,
    ),
    Bug(
        "fold without purge",
        lambda: fold_finding(purge=0),
        lambda: fold_finding(purge=2),
        "label overlap",
        "scorer m",
        DAYS[3],
    ),
    Bug(
        "score a session early",
        lambda: shift_finding(by=1),
        lambda: shift_finding(by=0),
        "shifted calendar",
        "scores.score",
        None,
    ),
    Bug(
        "trained on its own test",
        lambda: training_finding(test=LONG[40:60]),
        lambda: training_finding(test=LONG[60:]),
        "shuffled labels",
        "ridge",
        None,
    ),
]
