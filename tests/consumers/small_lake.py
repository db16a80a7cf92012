"""A small deployment with all inputs of the consumers: bars, index, factors, fingerprints, scores, models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import polars as pl

from fpm.schema import DAILY_FACTORS, FINGERPRINT_SIZE, STREAMS
from fpm.sessions import cut_off, sessions_between
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores

VINTAGE, SCORER = "abc123-20241115-0f0f0f0f", "scorer-1"
FIRST, LAST = date(2024, 12, 2), date(2024, 12, 31)


@dataclass(frozen=True)
class SmallLake:
    """Sessions of December 2024 (22 of them), `symbols` stocks, an index of the first eight tenths."""

    symbols: int = 12
    index: str | None = "CSI300"
    seed: int = 1
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(f"60{number:04d}.SH" for number in range(self.symbols)))

    def rng(self, session: date, *table: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, session.toordinal(), *table])

    def daily_bars(self, session: date) -> pl.DataFrame:
        days = sessions_of_december()
        walk = np.cumsum(
            [self.rng(day).normal(0, 0.02, self.symbols) for day in days[: days.index(session) + 1]], axis=0
        )
        close = 10 * np.exp(walk[-1])
        columns = {
            name: close * share for name, share in (("open", 0.999), ("high", 1.02), ("low", 0.98), ("close", 1))
        }
        return pl.DataFrame({"symbol": self.names, **columns}).with_columns(
            pre_close=pl.Series(10 * np.exp(walk[-2] if len(walk) > 1 else 0 * walk[-1])),
            volume=pl.lit(1e9),
            amount=pl.col("close") * 1e9,
            turnover=pl.lit(0.01),
            adj_factor=pl.lit(1.0),
            limit_up=pl.col("close") * 1.1,
            limit_down=pl.col("close") * 0.9,
            suspended=pl.lit(False),
            st=pl.lit(False),
            total_shares=pl.lit(1e9),
            float_shares=pl.lit(1e9),
            industry=pl.Series([f"industry {number % 3}" for number in range(self.symbols)]),
            list_date=pl.lit(date(2010, 1, 4)),
            delist_date=pl.lit(None, dtype=pl.Date),
        )

    def index_members(self) -> pl.DataFrame:
        members = self.names[: self.symbols * 8 // 10]
        return pl.DataFrame({"index": self.index, "symbol": members, "weight": 1 / len(members)})

    def daily_factors(self, session: date) -> pl.DataFrame:
        values = self.rng(session, 1).normal(size=(self.symbols, len(DAILY_FACTORS))).astype(np.float32)
        return pl.DataFrame({"symbol": self.names}).hstack(pl.DataFrame(values, schema=list(DAILY_FACTORS)))

    def fingerprints(self, session: date) -> pl.DataFrame:
        values = self.rng(session, 2).normal(size=(self.symbols, FINGERPRINT_SIZE)).astype(np.float32)
        return pl.DataFrame({"symbol": self.names, "vintage": VINTAGE}).with_columns(
            pl.Series("fingerprint", values, dtype=pl.Array(pl.Float32, FINGERPRINT_SIZE))
        )

    def scores(self, session: date) -> pl.DataFrame:
        return pl.concat(
            pl.DataFrame(
                {
                    "symbol": self.names,
                    "stream": stream,
                    "score": self.rng(session, 3, number).normal(size=self.symbols),
                    "spread": np.full(self.symbols, 0.1),
                    "vintage": VINTAGE,
                    "model": SCORER,
                }
            )
            for number, stream in enumerate(STREAMS)
        )

    def labels(self, session: date) -> pl.DataFrame:
        """Returns that follow the dual score."""
        dual = self.scores(session).filter(pl.col("stream") == "dual")["score"].to_numpy()
        return pl.DataFrame(
            {"symbol": self.names, "label": 0.02 * (dual + self.rng(session, 4).normal(size=self.symbols))}
        )

    def fill(self, stores: Stores, first: date = FIRST, last: date = LAST) -> list[date]:
        """Put every table of these sessions into the lake, and both models; returns the sessions."""
        _models(stores)
        sessions = [session for session in sessions_of_december() if first <= session <= last]
        for session in sessions:
            put("bars", session, {"daily_bars": self.daily_bars(session)}, stores)
            put("daily_factors", session, {"daily_factors": self.daily_factors(session)}, stores)
            put("fingerprints", session, {"fingerprints": self.fingerprints(session)}, stores.for_vintage(VINTAGE))
            put("scores", session, {"scores": self.scores(session)}, stores)
        if self.index:
            put("members", sessions[0], {"index_members": self.index_members()}, stores)
        return sessions


def sessions_of_december() -> list[date]:
    from fpm.sessions import market

    return sessions_between(market("cn"), FIRST, LAST)


def put(job: str, session: date, frames: Mapping[str, pl.DataFrame], stores: Stores) -> None:
    """Publish whole partitions as the named job would."""
    publish_frames(job, session, frames, stores)


def _models(stores: Stores) -> None:
    through = date(2024, 11, 15)
    born = cut_off(stores.market, through)
    stores.models.save(
        "encoder",
        VINTAGE,
        {"weights.safetensors": b"e"},
        {"figures": {"effective_rank": 40.0}},
        born,
        through,
        "promoted",
    )
    stores.models.save("scorer", SCORER, {"weights.safetensors": b"s"}, {"vintage": VINTAGE}, born, through, "promoted")
