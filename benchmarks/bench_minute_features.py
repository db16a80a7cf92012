"""Minute features of one whole session, against reading and writing the same bytes without any computation.

Run `python benchmarks/bench_minute_features.py [--symbols 1500] [--large]`; `--large` is a whole market of 5,300. By
itself: as in a night; one of many: as in a backfill, which reuses the memory of the session before. Floor: read the
session's stored bars from the lake and write a ready result. Ours: the same with the computation between them; scales
and slot medians are inputs, because they come from earlier sessions. Then the whole job through the runner on a small
deployment (ledger, inputs, history, fsync), against reading and writing its files.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import measure
import numpy as np
import polars as pl

from fpm import sessions
from fpm.allocation import memory_reuse
from fpm.features.bars import grid
from fpm.features.minute_features import PRESETS, Profile, minute_features, raw_blocks, standardised
from fpm.features.session_totals import MEDIAN_INPUTS
from fpm.schema import CLOCKS
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.lake.files import Lake, decode
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings
from producers import minute_features as features_job
from producers import session_totals as totals_job

MARKET, FIRST, SMALL = sessions.market("cn"), date(2024, 1, 2), 120
PROFILE = Profile("bar_32", MARKET.default_view)


@dataclass(frozen=True)
class Session:
    """One session's raw bars, by minute and day."""

    day: date
    minutes: pl.DataFrame
    daily: pl.DataFrame

    @property
    def symbols(self) -> int:
        return len(self.daily)


def generated(day: date, symbols: int, seed: int) -> Session:
    """Generate random walks of prices in ticks and skewed volumes in lots; one minute in ten has no trade."""
    rng, slots = np.random.default_rng([seed, day.toordinal()]), len(MARKET.slots)
    names = pl.Series("symbol", [f"{600000 + i}.SH" for i in range(symbols)])
    shape = (symbols, slots)
    close_SN = np.round(20 * np.exp(np.cumsum(rng.normal(0, 8e-4, shape), axis=1)), 2)
    open_SN = np.round(close_SN * np.exp(rng.normal(0, 4e-4, shape)), 2)
    volume_SN = 100 * np.floor(rng.lognormal(3, 1.5, shape)) * (rng.random(shape) > 0.1)
    columns = {
        "open": open_SN,
        "high": np.maximum(open_SN, close_SN) + 0.01,
        "low": np.minimum(open_SN, close_SN) - 0.01,
        "close": close_SN,
        "volume": volume_SN,
        "amount": np.round(volume_SN * (open_SN + close_SN) / 2, 2),
        "trades": np.ceil(volume_SN / 300),
    }
    keys = {
        "symbol": pl.select(pl.lit(names).repeat_by(slots)).to_series().explode(),
        "slot": np.tile(np.arange(slots, dtype=np.int16), symbols),
    }
    minutes = pl.DataFrame(keys | {name: values.ravel() for name, values in columns.items()})
    daily = {
        "symbol": names,
        "open": open_SN[:, 0],
        "high": columns["high"].max(1),
        "low": columns["low"].min(1),
        "close": close_SN[:, -1],
        "pre_close": np.full(symbols, 20.0),
        "volume": volume_SN.sum(1),
        "amount": columns["amount"].sum(1),
        "adj_factor": np.ones(symbols),
        "suspended": np.zeros(symbols, bool),
    }
    return Session(day, minutes, pl.DataFrame(daily))


def stamped(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    moments = (sessions.close(MARKET, day), sessions.cut_off(MARKET, day))
    return frame.with_columns(
        pl.lit(moment, dtype=pl.Datetime("us", "UTC")).alias(name) for name, moment in zip(CLOCKS, moments, strict=True)
    )


FLOOR = "read and write (floor)"


# --- one session ------------------------------------------------------------------------------------------------
def features(minutes: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """Compute the job's result from the session itself."""
    dense = grid(minutes, MARKET, PROFILE.view)
    shape = dense.traded_ST.shape
    rng = np.random.default_rng(0)
    raw = raw_blocks(dense, daily, rng.lognormal(10, 1, shape), PROFILE)
    scales_SF = rng.lognormal(15, 1, (shape[0], len(PROFILE.features)))
    return minute_features(dense, standardised(raw, scales_SF, shape[1], PROFILE), PROFILE)


def compare_session(folder: Path, session: Session) -> None:
    lake = Lake(folder / "lake", folder / "staging")
    raw = lake.relative("minute_bars", session.day)
    lake.stage("minute_bars", stamped(session.minutes, session.day), raw, lake.root)
    result = features(session.minutes, session.daily)

    def read() -> pl.DataFrame:
        return decode(lake.root / raw)

    def write(frame: pl.DataFrame) -> None:
        relative = lake.relative("minute_features", session.day)
        lake.stage("minute_features", stamped(frame, session.day), relative, lake.staging)

    calls: dict[str, Callable[[], object]] = {
        FLOOR: lambda: (read(), write(result)),
        "read, compute, write": lambda: write(features(read(), session.daily)),
        "compute alone": lambda: features(session.minutes, session.daily),
    }
    alone = measure.interleaved({name: memory_reuse()(call) for name, call in calls.items()}, 2)
    with memory_reuse():
        repeated = measure.interleaved(calls, 2)
    measure.show(
        f"minute features, one session of {session.symbols:,} x {MARKET.view_size(PROFILE.view)}",
        ["way", "by itself s", "x floor", "one of many s", "x floor"],
        [[way, alone[way], alone[way] / alone[FLOOR], repeated[way], repeated[way] / repeated[FLOOR]] for way in calls],
    )


# --- the whole job ----------------------------------------------------------------------------------------------
def compare_job(folder: Path, symbols: int) -> None:
    history = PRESETS["demo"].history
    days = sessions.next_sessions(MARKET, FIRST, history + 3)
    with deployment(folder) as stores:
        for day in days:
            session = generated(day, symbols, seed=1)
            tables = {"minute_bars": session.minutes, "daily_bars": session.daily}
            publish_frames("bars", day, tables, stores)
        for day in days[:-1]:
            run_job(totals_job, day, stores)
        spent = [measure.seconds(partial(run, stores, day), 1) for day in days[-3:]]
        floor = measure.seconds(lambda: move(stores, days[-1], history))
    rows = [["read the inputs, write the result (floor)", floor], ["the job through the runner", min(spent)]]
    measure.show(
        f"the whole job, {symbols} symbols, medians of {history} sessions",
        ["way", "seconds", "x floor"],
        [[way, seconds, seconds / floor] for way, seconds in rows],
    )


def run(stores: Stores, day: date) -> None:
    """Run the job without any file decoded before."""
    outcome = run_job(features_job, day, replace(stores, lake=Lake(stores.lake.root, stores.lake.staging)))
    if outcome.status != "published":
        raise RuntimeError(outcome)


def move(stores: Stores, day: date, history: int) -> None:
    """Read every file that the job reads and write its result again, without the runner."""
    lake = stores.lake
    for earlier in sessions.previous_sessions(MARKET, day, history):
        decode(lake.root / lake.relative("minute_bars", earlier), [*MEDIAN_INPUTS, *CLOCKS])
        decode(lake.root / lake.relative("session_totals", earlier))
    for table in ("minute_bars", "daily_bars"):
        decode(lake.root / lake.relative(table, day))
    relative = lake.relative("minute_features", day)
    lake.stage("minute_features", decode(lake.root / relative), relative, lake.staging / "floor")


@contextmanager
def deployment(folder: Path) -> Iterator[Stores]:
    settings = Settings(home=folder / "home", market="cn", preset="demo")
    try:
        stores = open_stores(settings)
        stores.decide_profile(PROFILE.name)
        yield stores
        stores.ledger.close()
    finally:
        stop_server(settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=1500)
    parser.add_argument("--large", action="store_true", help="a whole market of 5,300")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-minute-features-") as folder:
        compare_session(Path(folder), generated(FIRST, 5300 if options.large else options.symbols, seed=0))
        compare_job(Path(folder), SMALL)


if __name__ == "__main__":
    main()
