"""A home of a whole market on the evening before a night: seeded tables of every look-back, untrained models.

Tables hold random values in the shape of real ones; only the night that comes is computed. Jobs whose earlier sessions
a night looks at again (`looks_back`) are seeded under the digests of their inputs, so that the night finds them done.
Minute features of earlier sessions are files of one symbol: nothing of a night reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import bench_ingest
import bench_minute_features
import numpy as np
import polars as pl
import torch

from consumers import neighbours, portfolio, publish
from fpm.features.minute_features import PRESETS as MINUTES
from fpm.features.minute_features import Profile
from fpm.nn.checkpoint import to_bytes
from fpm.nn.encoder import network
from fpm.nn.encoder.network import Encoder
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import PRESETS as SCORERS
from fpm.nn.scorer.network import Scorer
from fpm.nn.scorer.panel import Statistics
from fpm.risk.styles import HISTORY
from fpm.schema import DAILY_FACTORS, FINGERPRINT_SIZE, HORIZON, INDICES, STREAMS, STYLES
from fpm.sessions import cut_off, market, next_sessions, previous_sessions
from fpm.store.jobs.inputs import Job
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from fpm.store.retrieval import features
from producers import daily_factors, fingerprints, minute_features, session_totals

DAY, MARKET = bench_ingest.DAY, market("cn")  # a Friday: every index decides
PRESET, VINTAGE, SCORER, INDUSTRIES = "default", "seeded-encoder", "seeded-scorer", 31
BEFORE = previous_sessions(MARKET, DAY, HISTORY + 1)
TRAINED = BEFORE[-120:-100]  # the vintage's training window, read by the vital sign of drift
MEMBERS = {"CSI300": slice(0, 300), "CSI500": slice(300, 800), "CSI1000": slice(800, 1800)}
assert set(MEMBERS) == set(INDICES)


@dataclass(frozen=True)
class Seeded:
    """Random tables of so many symbols; every close of the last session before the night is 10."""

    symbols: int

    @property
    def names(self) -> list[str]:
        return [f"{600000 + number:06d}.SH" for number in range(self.symbols)]

    def rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([2024, *key])

    def daily_bars(self) -> Iterator[tuple[date, pl.DataFrame]]:
        """Daily bars of every session before the night."""
        rng = self.rng(0)
        market_T = rng.normal(0, 0.01, len(BEFORE))
        walk_TN = np.cumsum(market_T[:, None] + rng.normal(0, 0.02, (len(BEFORE), self.symbols)), axis=0)
        close_TN = 10 * np.exp(walk_TN - walk_TN[-1])
        before_TN = np.vstack([close_TN[:1], close_TN[:-1]])
        for day, close_N, before_N in zip(BEFORE, close_TN, before_TN, strict=True):
            prices = {"open": before_N, "high": np.maximum(close_N, before_N) * 1.01}
            prices |= {"low": np.minimum(close_N, before_N) * 0.99, "close": close_N}
            volume_N = np.exp(rng.normal(16, 1, self.symbols))
            rows = pl.DataFrame({"symbol": self.names, **prices, "pre_close": before_N, "volume": volume_N})
            yield day, self.reference(rows.with_columns(amount=pl.col("volume") * pl.col("close")))

    def reference(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Daily rows with the columns that only a vendor knows."""
        return rows.with_columns(
            turnover=pl.col("volume") / 1e9,
            adj_factor=1.0,
            limit_up=pl.col("pre_close") * 1.1,
            limit_down=pl.col("pre_close") * 0.9,
            suspended=False,
            st=False,
            industry=pl.Series([f"industry {number % INDUSTRIES:02d}" for number in range(self.symbols)]),
            total_shares=pl.Series(np.exp(self.rng(1).normal(21, 1, self.symbols))),
            float_shares=pl.Series(np.exp(self.rng(1).normal(21, 1, self.symbols))),
            list_date=date(2010, 1, 4),
        )

    def members(self) -> pl.DataFrame:
        """Three indices, sizes as their names say while there are enough symbols."""
        parts = [(index, self.names[place]) for index, place in MEMBERS.items()]
        return pl.concat(
            pl.DataFrame({"index": index, "symbol": names, "weight": 1 / len(names)}) for index, names in parts if names
        )

    def minute_bars(self, day: date) -> pl.DataFrame:
        """Stored minutes; the last one has no row, its label is the closing call's, before which nothing trades."""
        minutes = bench_minute_features.generated(day, self.symbols, seed=1).minutes.drop("trades")
        unlabelled = [slot for slot, pair in enumerate(pairwise(MARKET.slots)) if pair[0] == pair[1]]
        ends = MARKET.slots[0], MARKET.slots[-1]
        quiet = [slot for slot, minute in enumerate(MARKET.slots) if minute in MARKET.calls and minute not in ends]
        traded = pl.when(pl.col("slot").is_in(quiet)).then(0.0).otherwise(pl.col("volume", "amount"))
        return minutes.filter(~pl.col("slot").is_in(unlabelled)).with_columns(traded.name.keep())

    def session_totals(self, day: date, profile: Profile) -> pl.DataFrame:
        rng = self.rng(day.toordinal(), 2)
        flows = {flow: np.exp(rng.normal(17, 0.3, self.symbols)) for flow in profile.flows}
        return pl.DataFrame({"symbol": self.names, "profile": profile.name, "adj_factor": 1.0}).hstack(
            pl.DataFrame(flows)
        )

    def minute_features(self, profile: Profile) -> pl.DataFrame:
        slots = MARKET.view_size(profile.view)
        keys = {"symbol": self.names[:1] * slots, "slot": range(slots), "profile": profile.name}
        return pl.DataFrame(keys).with_columns(pl.lit(0.0, pl.Float32).alias(name) for name in profile.features)

    def daily_factors(self, day: date) -> pl.DataFrame:
        values_FN = self.rng(day.toordinal(), 3).random((len(DAILY_FACTORS), self.symbols), np.float32)
        return pl.DataFrame({"symbol": self.names, **dict(zip(DAILY_FACTORS, values_FN, strict=True))})

    def fingerprints(self, day: date) -> pl.DataFrame:
        z_ND = self.rng(day.toordinal(), 4).standard_normal((self.symbols, FINGERPRINT_SIZE), np.float32)
        vector = pl.Series("fingerprint", z_ND, dtype=pl.Array(pl.Float32, FINGERPRINT_SIZE))
        return pl.DataFrame({"symbol": self.names, "vintage": VINTAGE, "fingerprint": vector})

    def scores(self, day: date) -> pl.DataFrame:
        rng = self.rng(day.toordinal(), 5)
        return pl.concat(
            pl.DataFrame({"symbol": self.names, "stream": stream, "score": rng.standard_normal(self.symbols)})
            for stream in STREAMS
        ).with_columns(spread=0.1, vintage=pl.lit(VINTAGE), model=pl.lit(SCORER))

    def risk(self, day: date) -> dict[str, pl.DataFrame]:
        """Factor returns and residuals of a session, and the forecasts of its test portfolios."""
        rng = self.rng(day.toordinal(), 6)
        factors = ["country", *(f"industry:industry {n:02d}" for n in range(INDUSTRIES)), *STYLES, "score"]
        returns = {"return": rng.normal(0, 0.003, len(factors)), "noise": np.full(len(factors), 1e-7)}
        residual_N = rng.normal(0, 0.02, self.symbols)
        kinds = [(kind, f"{n:02d}") for kind in ("optimised", "random") for n in range(50)] + [("own", "0")]
        forecasts = pl.DataFrame(
            [(index, *kind, day) for index in INDICES for kind in kinds],
            schema=["index", "kind", "portfolio", "decided"],
            orient="row",
        )
        realised = pl.Series(rng.normal(0, 0.003, forecasts.height))
        return {
            "factor_returns": pl.DataFrame({"factor": factors, **returns}),
            "residuals": pl.DataFrame({"symbol": self.names, "residual": residual_N, "leverage": 0.01}),
            "risk_forecasts": forecasts.with_columns(predicted=0.003, realised=realised),
        }

    def exposures(self, day: date) -> pl.DataFrame:
        rng = self.rng(day.toordinal(), 7)
        columns = {name: rng.standard_normal(self.symbols) for name in (*STYLES, "score")}
        reference = self.reference(pl.DataFrame({"symbol": self.names, "volume": 1.0, "pre_close": 10.0}))
        capitalisation = (10 * reference["float_shares"]).alias("capitalisation")
        return reference.select("symbol", "industry").hstack(pl.DataFrame(columns)).with_columns(capitalisation)


# --- the home -----------------------------------------------------------------------------------------------------
def seed(stores: Stores, symbols: int) -> None:
    """Fill an empty home up to the evening before the night; that evening's portfolio and publication are real."""
    seeded, yesterday = Seeded(symbols), BEFORE[-1]
    stores.ledger.decide("market", MARKET.name)
    stores.ledger.decide("preset", PRESET)
    stores.decide_profile("bar_32")
    features.apply(stores.settings)
    models(stores)
    profile, constants = stores.profile, MINUTES[PRESET]
    minutes, looked_at = BEFORE[-constants.history :], BEFORE[-SCORERS[PRESET].look_back + 1 :]
    stored = set(stores.sessions("daily_bars"))
    for day, bars in seeded.daily_bars():
        if day in stored:
            continue
        frames = {"daily_bars": bars, **seeded.risk(day)}
        if day in minutes:
            frames["minute_bars"] = seeded.minute_bars(day)
        if day in BEFORE[-constants.window :] and day not in looked_at:
            frames["session_totals"] = seeded.session_totals(day, profile)
        if day in BEFORE[-60 - HORIZON :]:
            frames["scores"] = seeded.scores(day)
            frames["labels"] = seeded.scores(day)[:symbols].select("symbol", label=pl.col("score") / 50)
        if day == BEFORE[-HORIZON - 1]:
            del frames["labels"]  # the night's own
        if day in TRAINED:
            frames["daily_factors"] = seeded.daily_factors(day)
        if day == yesterday:
            frames |= {"exposures": seeded.exposures(day), "index_members": seeded.members()}
        publish_frames("seeded", day, frames, stores)
        if day in TRAINED:
            publish_frames("seeded", day, {"fingerprints": seeded.fingerprints(day)}, stores.for_vintage(VINTAGE))
    for day in looked_at:
        done(session_totals, day, {"session_totals": seeded.session_totals(day, profile)}, stores)
        done(minute_features, day, {"minute_features": seeded.minute_features(profile)}, stores)
        done(daily_factors, day, {"daily_factors": seeded.daily_factors(day)}, stores)
        done(fingerprints, day, {"fingerprints": seeded.fingerprints(day)}, stores.for_vintage(VINTAGE))
    for job in (portfolio, publish, neighbours):
        run_job(job, yesterday, stores)


def done(job: ModuleType, day: date, frames: dict[str, pl.DataFrame], stores: Stores) -> None:
    """Publish frames as the job's result of a session, under the digest of its inputs."""

    def run(session: date, stores: Stores) -> None:
        for table, frame in frames.items():
            stores.write(table, session, frame)

    stand_in: Job = SimpleNamespace(**{**vars(job), "run": run})  # type: ignore[assignment]  # a job is a module
    run_job(stand_in, day, stores)


def models(stores: Stores) -> None:
    """An encoder and a scorer of the preset's size, as they are before training."""
    torch.manual_seed(0)
    through, profile = TRAINED[-1], stores.profile
    shape = network.config_for_grid(network.PRESETS[PRESET], MARKET.view_size(profile.view), MARKET.bar_minutes)
    manifest = {
        "encoder": asdict(shape),
        "profile": profile.name,
        "profile_hash": profile.hash,
        "figures": {"effective_rank": 40.0},
        "folds": {"train": [str(TRAINED[0]), str(through), len(TRAINED)]},
    }
    weights = to_bytes(Encoder(shape, profile.name).state_dict())
    born = cut_off(MARKET, through)
    stores.models.save("encoder", VINTAGE, {"weights.safetensors": weights}, manifest, born, through, "promoted")
    config = SCORERS[PRESET]
    config = replace(config, seeds=tuple(seed + stores.settings.seed for seed in config.seeds))
    statistics = Statistics(torch.zeros(FINGERPRINT_SIZE), torch.ones(FINGERPRINT_SIZE))
    scorer = streams.Streams(config, statistics, {name: Scorer(config, name) for name in STREAMS})
    manifest = {**streams.manifest(scorer, {}), "vintage": VINTAGE, "profile": profile.hash}
    files = {"weights.safetensors": scorer.to_bytes()}
    stores.models.save("scorer", SCORER, files, manifest, born, through, "promoted")


def deliver(folder: Path, symbols: int) -> Path:
    """The night's raw files: minutes, and the daily table with every column of a vendor."""
    bench_ingest.deliver(folder, symbols)
    daily = folder / "daily_bars.parquet"
    rows = pl.read_parquet(daily).with_columns(pre_close=10.0)
    Seeded(symbols).reference(rows).write_parquet(daily)
    return folder


def label_session() -> date:
    """The session whose label is complete in the night."""
    return previous_sessions(MARKET, DAY, HORIZON + 1)[0]


assert next_sessions(MARKET, BEFORE[-1], 1) == [DAY]
