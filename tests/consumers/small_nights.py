"""Thirty nights of generated bars, factors, fingerprints and labels in the lake, with true moments of knowledge."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from fpm.schema import DAILY_FACTORS
from fpm.sessions import cut_off, next_sessions, sessions_between
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.models import Model
from fpm.store.ledger.stores import Stores
from tests.fpm.nn.scorer.small_panel import SmallPanel

SESSIONS = 30
SYMBOLS = 8
ENCODED = 16  # the last session of the encoder's training
THROUGH = 25  # the scorer learns from what was known at this session's cut-off
HALTED, LATE = "600002.SH", "600003.SH"  # without a fingerprint at the last session; with only that one
VINTAGE = "vintage-a"
PRICES = ["open", "high", "low", "close"]


def silent(done: int, total: int, what: object) -> None:
    """No progress bar."""


def calendar(stores: Stores, sessions: int = SESSIONS) -> list[date]:
    return sessions_between(stores.market, date(2024, 1, 2), date(2024, 12, 31))[: sessions + 8]


def save_encoder(stores: Stores, vintage: str, through: date) -> Model:
    return stores.models.save(
        "encoder",
        vintage,
        {"weights.safetensors": b"untouched here"},
        {"vintage": vintage, "profile": "bar_32"},
        cut_off(stores.market, through),
        through,
        "promoted",
    )


def publish(stores: Stores, small: SmallPanel, vintage: str = VINTAGE) -> None:
    """Put a generated panel into the lake, on the market's own sessions, every row known at its cut-off or later."""
    sessions = len(small.sessions)
    days = calendar(stores, sessions)
    encoder = save_encoder(stores, vintage, days[ENCODED])
    shift = pl.col("session").replace_strict(dict(zip(small.sessions, days, strict=False)), return_dtype=pl.Date)
    frame, labels = small.frame.with_columns(shift), small.labels.with_columns(shift)
    frame = frame.with_columns(pl.lit(vintage).alias("vintage"), pl.col("fingerprint").cast(pl.List(pl.Float32)))
    for t, session in enumerate(days[:sessions]):
        today = frame.filter(pl.col("session") == session)
        label = labels.filter(pl.col("session") == session)
        daily = {"daily_bars": today.select("symbol", *PRICES, "volume", "turnover", "adj_factor")}
        publish_frames("bars", session, daily, stores)
        factors = today.select("symbol", *(pl.col(name).cast(pl.Float32) for name in DAILY_FACTORS))
        publish_frames("daily_factors", session, {"daily_factors": factors}, stores)
        born = max(encoder.born, cut_off(stores.market, session))
        encoded = known_from(today.select("symbol", "vintage", "fingerprint"), born).filter(
            (pl.col("symbol") != HALTED) | (t < sessions - 1), (pl.col("symbol") != LATE) | (t == sessions - 1)
        )
        publish_frames("fingerprints", session, {"fingerprints": encoded}, stores.for_vintage(vintage))
        complete = cut_off(stores.market, next_sessions(stores.market, session, 6)[-1])
        publish_frames("labels", session, {"labels": known_from(label.select("symbol", "label"), complete)}, stores)


def known_from(frame: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    return frame.with_columns(pl.lit(moment).dt.cast_time_unit("us").alias("created_timestamp"))


def correct(stores: Stores, session: date, arrival: datetime) -> None:
    """One factor of every symbol turns its sign, known from `arrival`."""
    before = stores.read("daily_factors", session).drop("session")
    revised = known_from(before.with_columns(return_1=-pl.col("return_1")), arrival)
    publish_frames("daily_factors", session, {"daily_factors": pl.concat([before, revised])}, stores)
