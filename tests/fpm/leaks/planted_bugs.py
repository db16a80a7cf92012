"""Eighteen ways in which the future gets into a factor, each beside its honest version.

Three symbols over ten sessions (a hundred sessions where figures are needed), six minutes in the last one. T is the
session at which the inputs are cut, MINUTE the minute. Each bug says which column is to be named, and which session.
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
GONE = "C"  # has its last row at T


@dataclass(frozen=True)
class Bug:
    """`leaky` and `honest` run the same check on the two versions."""

    name: str
    leaky: Callable[[], Finding | None]
    honest: Callable[[], Finding | None]
    check: str
    column: str
    session: Any


# --- the market ----------------------------------------------------------------------------------------------------


def daily() -> pl.DataFrame:
    """A splits two for one at the open of the eighth session; C is gone after T."""
    rng = np.random.default_rng(1)
    rows = [
        (day, symbol, float(rng.uniform(9, 11)), float(rng.integers(100, 900)), 2.0 if symbol == "A" and n > 6 else 1.0)
        for n, day in enumerate(DAYS)
        for symbol in SYMBOLS
        if symbol != GONE or day <= T
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


def of_day(function: Callable[[Frames], pl.DataFrame]) -> Finding | None:
    return future_leak("daily_factors", function, {"daily_bars": daily()}, "session", T)


def of_minute(function: Callable[[Frames], pl.DataFrame]) -> Finding | None:
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


def filled(inputs: Frames, *, strategy: Any) -> pl.DataFrame:
    """Every minute of every symbol; those without a bar filled."""
    every = pl.DataFrame({"slot": range(6)}).join(pl.DataFrame({"symbol": SYMBOLS}), how="cross")
    known = every.join(inputs["minute_bars"], on=("slot", "symbol"), how="left").sort("symbol", "slot")
    return known.select("symbol", "slot", pl.col("close").fill_null(strategy=strategy).over("symbol"))


# --- across sessions -----------------------------------------------------------------------------------------------


def moved(inputs: Frames, *, sessions: int) -> pl.DataFrame:
    """The return over so many sessions; fewer than none: of those to come."""
    before = pl.col("close").shift(sessions).over("symbol", order_by="session")
    return inputs["daily_bars"].select("session", "symbol", label=(pl.col("close") / before - 1) * np.sign(sessions))


def adjusted(inputs: Frames, *, forward: bool) -> pl.DataFrame:
    """Forward: prices on the share basis of the last session there is; a split to come changes them all."""
    last = pl.col("adj_factor").last().over("symbol", order_by="session")
    basis = last if forward else pl.lit(1.0)
    return inputs["daily_bars"].select("session", "symbol", price=pl.col("close") * pl.col("adj_factor") / basis)


def standard(inputs: Frames, *, of_all: bool) -> pl.DataFrame:
    """Volume over its mean of all sessions, or of those up to each."""
    ordered = inputs["daily_bars"].sort("symbol", "session")
    mean = pl.col("volume").mean() if of_all else pl.col("volume").cum_sum() / pl.col("session").cum_count()
    return ordered.select("session", "symbol", scaled=pl.col("volume") / mean.over("symbol"))


def label(inputs: Frames, *, entry: int) -> pl.DataFrame:
    """Label of the third session: from the close `entry` sessions later to that of T."""
    closes = inputs["daily_bars"].filter(pl.col("symbol") != GONE)
    first, last = (closes.filter(pl.col("session") == DAYS[place]) for place in (2 + entry, 5))
    joined = first.join(last, on="symbol", suffix="_exit")
    return joined.select("symbol", session=pl.lit(DAYS[2]), label=pl.col("close_exit") / pl.col("close") - 1)


def volume_by_industry(inputs: Frames, *, once: bool) -> pl.DataFrame:
    """Volumes joined to a table of names and summed: a symbol that is listed twice counts twice."""
    names = inputs["names"].unique() if once else inputs["names"]
    bars = inputs["daily_bars"].unique(["session", "symbol"], keep="first") if once else inputs["daily_bars"]
    joined = bars.join(names, on="symbol", maintain_order="left").sort("session", "symbol")
    return joined.group_by("session", "industry", maintain_order=True).agg(pl.col("volume").sum())


def join_twice(*, once: bool) -> Finding | None:
    inputs = {"daily_bars": daily(), "names": pl.DataFrame({"symbol": SYMBOLS, "industry": ["I", "I", "K"]})}
    return duplicates("industry_volume", partial(volume_by_industry, once=once), inputs, "session")


# --- records -------------------------------------------------------------------------------------------------------


def known(rows: pl.DataFrame, hour: int = 20) -> pl.DataFrame:
    """Both clocks: described at three in the afternoon, known from `hour` on."""
    moment = pl.col("session").dt.combine(time(hour)).dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    event = pl.col("session").dt.combine(time(15)).dt.replace_time_zone("UTC").dt.cast_time_unit("us")
    return rows.with_columns(event_timestamp=event, created_timestamp=moment)


def stamped(hour: int) -> Finding | None:
    """Factors of bars that arrive at eight in the evening."""
    earliest = {day: datetime.combine(day, time(20), UTC) for day in DAYS}
    early = known(daily().filter(pl.col("session") == T), hour)
    rows = pl.concat([known(daily().filter(pl.col("session") != T)), early])
    return two_clocks("daily_factors", rows, earliest)


def corrected(*, appended: bool) -> Finding | None:
    """A volume of T is restated: as a version of its own, or over the original and under its clock."""
    before = known(daily())
    here = (pl.col("session") == T) & (pl.col("symbol") == "B")
    restated = before.with_columns(volume=pl.when(here).then(pl.col("volume") + 1).otherwise(pl.col("volume")))
    later = restated.filter(here).with_columns(pl.col("created_timestamp") + timedelta(days=2))
    return corrections("daily_bars", before, pl.concat([before, later]) if appended else restated)


def computed_from_original(*, overwritten: bool) -> Finding | None:
    """The factor was stored from the original; inputs that are other now do not give it again."""
    rows = standard({"daily_bars": daily()}, of_all=False)
    here = (pl.col("session") == T) & pl.lit(overwritten)
    inputs = {"daily_bars": daily().with_columns(pl.when(here).then(1.0).otherwise(pl.col("volume")).alias("volume"))}
    return stored_leak("daily_factors", rows, partial(standard, of_all=False), inputs, T)


def served_by(through: date) -> Finding | None:
    served = pl.DataFrame({"session": DAYS[4:], "vintage": "v"})
    return out_of_sample(served, {"v": through}, DAYS, purge=2)


def look_back(vintages: list[str]) -> Finding | None:
    rows = pl.DataFrame({"session": DAYS[4:6], "symbol": "A", "vintage": vintages})
    return one_vintage(rows, T, "new")


def fold(*, purge: int) -> Finding | None:
    """A label is complete two sessions after its own."""
    parts = FoldBounds("m", (DAYS[0], DAYS[2]), (DAYS[3 + purge], DAYS[5]), DAYS[8])
    return label_overlap([parts], DAYS, reach=2)


def universe(symbols: pl.DataFrame) -> Finding | None:
    rows = daily().join(symbols, on="symbol", how="semi")
    return survivors("daily_factors", rows, daily())


def twice(times: int) -> Finding | None:
    rows = known(daily())
    return unique_rows(
        "daily_bars", pl.concat([rows, *[rows.filter(pl.col("session") == T)] * (times - 1)]), ["symbol"]
    )


# --- scores --------------------------------------------------------------------------------------------------------

LONG = [date(2024, 1, 1) + timedelta(days=number) for number in range(100)]
MANY = [f"{number:03d}" for number in range(30)]


def panel(name: str, values_TN: np.ndarray) -> pl.DataFrame:
    keys = pl.DataFrame({"session": LONG[: len(values_TN)]}).join(pl.DataFrame({"symbol": MANY}), how="cross")
    return keys.with_columns(pl.Series(name, values_TN.ravel()))


def shifted(*, by: int) -> Finding | None:
    """The session's own return, joined to the calendar `by` sessions early."""
    moves_TN = np.random.default_rng(3).normal(0, 0.02, (100, 30))
    closes = panel("close", 10 * np.exp(np.cumsum(moves_TN, axis=0)))
    return shifted_calendar("scores.score", panel("score", np.roll(moves_TN, -by, axis=0)[:94]), closes)


def learnt(*, test: list[date]) -> Finding | None:
    """A ridge of forty noises, trained on the first sixty sessions."""
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
        lambda: of_minute(partial(window, centred=True)),
        lambda: of_minute(partial(window, centred=False)),
        "truncation",
        "minute_features.smoothed",
        2,
    ),
    Bug(
        "scale of the session itself",
        lambda: of_minute(share_of_session),
        lambda: of_minute(share_so_far),
        "truncation",
        "minute_features.volume",
        0,
    ),
    Bug(
        "backward fill",
        lambda: of_minute(partial(filled, strategy="backward")),
        lambda: of_minute(partial(filled, strategy="forward")),
        "truncation",
        "minute_features.close",
        MINUTE,
    ),
    Bug(
        "label among the features",
        lambda: of_day(partial(moved, sessions=-2)),
        lambda: of_day(partial(moved, sessions=2)),
        "truncation",
        "daily_factors.label",
        DAYS[4],
    ),
    Bug(
        "forward-adjusted prices",
        lambda: of_day(partial(adjusted, forward=True)),
        lambda: of_day(partial(adjusted, forward=False)),
        "truncation",
        "daily_factors.price",
        DAYS[0],
    ),
    Bug(
        "scale fitted on all sessions",
        lambda: of_day(partial(standard, of_all=True)),
        lambda: of_day(partial(standard, of_all=False)),
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
        lambda: served_by(DAYS[3]),
        lambda: served_by(DAYS[1]),
        "one vintage a window",
        "scores.vintage",
        DAYS[4],
    ),
    Bug(
        "two vintages in a window",
        lambda: look_back(["old", "new"]),
        lambda: look_back(["new", "new"]),
        "one vintage a window",
        "fingerprints.vintage",
        DAYS[4],
    ),
    Bug(
        "correction over the original",
        lambda: corrected(appended=False),
        lambda: corrected(appended=True),
        "two clocks",
        "daily_bars.volume",
        T,
    ),
    Bug(
        "factor of an original that is gone",
        lambda: computed_from_original(overwritten=True),
        lambda: computed_from_original(overwritten=False),
        "truncation",
        "daily_factors.scaled",
        T,
    ),
    Bug(
        "known before its inputs",
        lambda: stamped(16),
        lambda: stamped(20),
        "two clocks",
        "daily_factors.created_timestamp",
        T,
    ),
    Bug(
        "today's members only",
        lambda: universe(daily().filter(pl.col("session") == DAYS[-1])),
        lambda: universe(daily()),
        "survivorship",
        "daily_factors.symbol",
        DAYS[0],
    ),
    Bug(
        "rows joined twice",
        lambda: join_twice(once=False),
        lambda: join_twice(once=True),
        "duplicated rows",
        "industry_volume.volume",
        DAYS[0],
    ),
    Bug("rows stored twice", lambda: twice(2), lambda: twice(1), "duplicated rows", "daily_bars.symbol", T),
    Bug("fold without purge", lambda: fold(purge=0), lambda: fold(purge=2), "label overlap", "scorer m", DAYS[3]),
    Bug(
        "score a session early", lambda: shifted(by=1), lambda: shifted(by=0), "shifted calendar", "scores.score", None
    ),
    Bug(
        "trained on its own test",
        lambda: learnt(test=LONG[40:60]),
        lambda: learnt(test=LONG[60:]),
        "shuffled labels",
        "ridge",
        None,
    ),
]
