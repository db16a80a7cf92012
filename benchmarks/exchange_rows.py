"""A synthetic exchange in memory, without a store: minute features as the producers compute them, and all that only
the simulator knows of the same symbol-sessions.

Shapes: N symbol-sessions in order of time, K styles, S symbols of one session, T minutes, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from fpm.exchange.ideals import ideals
from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.exchange.styles import STYLES
from fpm.exchange.tables import SessionTables
from fpm.features import minute_features
from fpm.features.bars import grid
from fpm.features.minute_features import Profile, by_symbol, raw_features, standardise
from fpm.features.session_totals import scales, session_totals
from fpm.nn.encoder.history import SymbolSessions
from fpm.sessions import Market, market

PROFILE, VIEW = "l2_32", "240"
TEST_SHARE = 0.25


@dataclass(frozen=True)
class ExchangeRows:
    """Symbol-sessions with what was planted in them and the best readings of it, (N, K) each; daily bars with their
    session; the oracle's scores (session, symbol, intraday, daily, combined).
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
        """The first session that nothing is fitted on."""
        return self.days[int((1 - self.test_share) * len(self.days))]

    @cached_property
    def unseen_N(self) -> np.ndarray:
        return np.array([session >= self.first_test for session in self.rows.sessions])


@dataclass(frozen=True)
class SessionRows:
    """What one process makes of one session; the raw features lie in a file."""

    tables: SessionTables
    raw: Path
    symbols: list[str]
    totals: pl.DataFrame
    ideal: pl.DataFrame


def exchange_rows(config: ExchangeConfig, preset: str, workers: int = 1) -> ExchangeRows:
    """An exchange's symbol-sessions; sessions are worked on by so many processes, with the same outcome."""
    profile = Profile(PROFILE, VIEW, minute_features.PRESETS[preset])
    with TemporaryDirectory() as folder, get_context("spawn").Pool(workers) as pool:
        jobs = ((tables, profile, Path(folder)) for tables in simulate(config))
        made = list(pool.imap(_session, jobs))
        blocks = pool.starmap(_standard, _scaled(made, profile))
    here = [np.isfinite(x_STF).any(axis=(1, 2)) for x_STF in blocks]
    names = [
        [symbol for symbol, kept in zip(each.symbols, here_S, strict=True) if kept]
        for each, here_S in zip(made, here, strict=True)
    ]
    sessions = [each.tables.session for each, own in zip(made, names, strict=True) for _ in own]
    x_NTF = np.concatenate([x_STF[here_S] for x_STF, here_S in zip(blocks, here, strict=True)])
    return ExchangeRows(
        SymbolSessions(x_NTF, tuple(symbol for own in names for symbol in own), tuple(sessions)),
        np.concatenate([_in_order(each.tables.styles, own) for each, own in zip(made, names, strict=True)]),
        np.concatenate([_in_order(each.ideal, own) for each, own in zip(made, names, strict=True)]),
        pl.concat(each.tables.daily_bars for each in made),
        pl.concat(each.tables.oracle for each in made),
    )


def _session(of: tuple[SessionTables, Profile, Path]) -> SessionRows:
    tables, profile, folder = of
    place = market("cn")
    dense = grid(_slots(tables.minute_bars, place), place, VIEW)
    raw_STF = raw_features(dense, tables.daily_bars, np.full(dense.traded_ST.shape, np.nan), profile)
    totals = session_totals(raw_STF, dense, tables.daily_bars, profile).with_columns(session=pl.lit(tables.session))
    raw = folder / f"{tables.session}.npy"
    np.save(raw, raw_STF)
    return SessionRows(tables, raw, list(dense.symbols), totals, ideals(tables.minute_bars))


def _scaled(made: list[SessionRows], profile: Profile) -> Iterator[tuple[Path, np.ndarray, Profile]]:
    for place, each in enumerate(made):
        before = [earlier.totals for earlier in made[max(0, place - profile.constants.window) : place]]
        adjust_S = by_symbol(each.tables.daily_bars, each.symbols, "adj_factor")
        yield (
            each.raw,
            scales(pl.concat(before) if before else pl.DataFrame(), each.symbols, adjust_S, profile),
            profile,
        )


def _standard(raw: Path, scales_SF: np.ndarray, profile: Profile) -> np.ndarray:
    return standardise(np.load(raw), scales_SF, profile).astype(np.float16)


def _slots(bars: pl.DataFrame, place: Market) -> pl.DataFrame:
    slot = {minute: number for number, minute in enumerate(place.slots)}
    minute = pl.col("minute").dt.hour().cast(pl.Int32) * 60 + pl.col("minute").dt.minute()
    return bars.with_columns(slot=minute.replace_strict(slot, default=None)).drop("minute", "session", strict=False)


def _in_order(styles: pl.DataFrame, names: list[str]) -> np.ndarray:
    asked = pl.DataFrame({"symbol": names}, schema={"symbol": pl.String})
    return asked.join(styles, on="symbol", how="left", maintain_order="left").select(list(STYLES)).to_numpy()
