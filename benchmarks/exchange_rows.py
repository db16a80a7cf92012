"""A synthetic exchange in memory, without a store.

Minute features as the producers compute them, and the simulator's own values for the same symbol-sessions.

Shapes: N symbol-sessions in order of time, K styles, S symbols of one session, T minutes, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from fpm.exchange.lottery_ideals import ideal_reader
from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.exchange.tables import SessionTables
from fpm.features import minute_features
from fpm.features.bars import grid
from fpm.features.minute_features import Profile, by_symbol, raw_features, standardise
from fpm.features.session_totals import scales, session_totals
from fpm.markets import Market
from fpm.nn.encoder.history import SymbolSessions
from fpm.sessions import market

PROFILE, VIEW = "l2_32", "240"
TEST_SHARE = 0.25


@dataclass(frozen=True)
class ExchangeRows:
    """Symbol-sessions with their planted styles and the best estimates of them, (N, K) each.

    `daily`: daily bars with their session. `oracle`: session, symbol, intraday, daily, combined.
    """

    rows: SymbolSessions
    planted_NK: np.ndarray
    ideal_NK: np.ndarray
    daily: pl.DataFrame
    oracle: pl.DataFrame
    test_share: float = TEST_SHARE

    @cached_property
    def days(self) -> list[date]:
        return sorted(set(self.rows.sessions))

    @property
    def first_test(self) -> date:
        """The first session of the test, on which nothing is fitted."""
        return self.days[int((1 - self.test_share) * len(self.days))]

    @cached_property
    def unseen_N(self) -> np.ndarray:  # noqa: N802  shape in the name
        return np.array([session >= self.first_test for session in self.rows.sessions])


@dataclass(frozen=True)
class SessionRows:
    """One session's results in a worker process; the raw features are in a file."""

    tables: SessionTables
    raw: Path
    symbols: list[str]
    totals: pl.DataFrame
    ideal: pl.DataFrame


def exchange_rows(config: ExchangeConfig, preset: str, workers: int = 1) -> ExchangeRows:
    """Return an exchange's symbol-sessions; the number of worker processes does not change the result."""
    profile, reader = Profile(PROFILE, VIEW, minute_features.PRESETS[preset]), ideal_reader(config)
    with TemporaryDirectory() as folder, get_context("spawn").Pool(workers) as pool:
        jobs = ((tables, profile, reader, Path(folder)) for tables in simulate(config))
        results = list(pool.imap(_session, jobs))
        blocks = pool.starmap(_standard, _scaled(results, profile))
    here = [np.isfinite(x_STF).any(axis=(1, 2)) for x_STF in blocks]
    names = [
        [symbol for symbol, present in zip(result.symbols, present_S, strict=True) if present]
        for result, present_S in zip(results, here, strict=True)
    ]
    sessions = [result.tables.session for result, own in zip(results, names, strict=True) for _ in own]
    x_NTF = np.concatenate([x_STF[here_S] for x_STF, here_S in zip(blocks, here, strict=True)])
    return ExchangeRows(
        SymbolSessions(x_NTF, tuple(symbol for own in names for symbol in own), tuple(sessions)),
        np.concatenate([_in_order(result.tables.styles, own) for result, own in zip(results, names, strict=True)]),
        np.concatenate([_in_order(result.ideal, own) for result, own in zip(results, names, strict=True)]),
        pl.concat(result.tables.daily_bars for result in results),
        pl.concat(result.tables.oracle for result in results),
    )


def _session(job: tuple[SessionTables, Profile, Callable[[pl.DataFrame], pl.DataFrame], Path]) -> SessionRows:
    tables, profile, reader, folder = job
    cn = market("cn")
    dense = grid(in_slots(tables.minute_bars, cn), cn, VIEW)
    raw_STF = raw_features(dense, tables.daily_bars, np.full(dense.traded_ST.shape, np.nan), profile)
    totals = session_totals(raw_STF, dense, tables.daily_bars, profile).with_columns(session=pl.lit(tables.session))
    raw = folder / f"{tables.session}.npy"
    np.save(raw, raw_STF)
    return SessionRows(tables, raw, list(dense.symbols), totals, reader(tables.minute_bars))


def _scaled(results: list[SessionRows], profile: Profile) -> Iterator[tuple[Path, np.ndarray, Profile]]:
    for number, result in enumerate(results):
        before = [earlier.totals for earlier in results[max(0, number - profile.constants.window) : number]]
        adjust_S = by_symbol(result.tables.daily_bars, result.symbols, "adj_factor")
        totals = pl.concat(before) if before else pl.DataFrame()
        yield result.raw, scales(totals, result.symbols, adjust_S, profile), profile


def _standard(raw: Path, scales_SF: np.ndarray, profile: Profile) -> np.ndarray:
    return standardise(np.load(raw), scales_SF, profile).astype(np.float16)


def in_slots(bars: pl.DataFrame, market: Market) -> pl.DataFrame:
    """Return bars with the stored slot of their minute."""
    slot = {minute: number for number, minute in enumerate(market.slots)}
    minute = pl.col("minute").dt.hour().cast(pl.Int32) * 60 + pl.col("minute").dt.minute()
    return bars.with_columns(slot=minute.replace_strict(slot, default=None)).drop("minute", "session", strict=False)


def _in_order(styles: pl.DataFrame, names: list[str]) -> np.ndarray:
    order = pl.DataFrame({"symbol": names}, schema={"symbol": pl.String})
    return (
        order.join(styles, on="symbol", how="left", maintain_order="left")
        .drop("symbol", "session", strict=False)
        .to_numpy()
    )
