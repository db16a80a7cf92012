"""Many sessions at once against one session at a time."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.attribution import Day, attribution
from fpm.portfolio.attribution_walk import COLUMNS, walk_lines
from fpm.risk.factor_returns import factor_names
from fpm.risk.model import RiskModel

FIRST, SESSIONS, NAMES = date(2024, 1, 1), 12, 30
INDUSTRIES = ("banks", "metals", "unclassified")


def one_day(session: date, random: np.random.Generator) -> tuple[Day, pl.DataFrame, dict[str, float]]:
    """A session: names that are held, in the index, both, or neither; some without exposures, some without a return."""
    symbols = [f"S{number:02d}" for number in range(NAMES)]
    weight_N = random.dirichlet(np.ones(NAMES)) * (random.random(NAMES) < 0.7)
    benchmark_N = random.dirichlet(np.ones(NAMES)) * (random.random(NAMES) < 0.7)
    gain = [None if random.random() < 0.1 else value for value in random.normal(0, 0.02, NAMES).tolist()]
    columns = {"weight": weight_N, "benchmark_weight": benchmark_N, "blocked": random.normal(0, 0.01, NAMES)}
    names = pl.DataFrame({"symbol": symbols, **columns, "return": pl.Series(gain, dtype=pl.Float64)})
    known = random.random(NAMES) < 0.9
    labels = random.choice(INDUSTRIES, NAMES)
    exposure = pl.DataFrame(
        {"symbol": symbols, "industry": labels, **dict(zip(COLUMNS, random.normal(size=(7, NAMES)), strict=True))}
    ).filter(pl.Series(known))
    gains = dict(zip(factor_names(INDUSTRIES, score=True), random.normal(0, 0.01, 11).tolist(), strict=True))
    del gains["beta"]  # a factor without a return in the session
    own, theirs = random.normal(0, 0.01, 2).tolist()
    return Day(session, names, own, theirs, cost=abs(random.normal(0, 1e-4))), exposure, gains


def model_of(exposure: pl.DataFrame) -> RiskModel:
    factors = factor_names(INDUSTRIES, score=True)
    belongs_NI = (exposure["industry"].to_numpy()[:, None] == np.array(INDUSTRIES)).astype(float)
    exposure_NK = np.hstack([np.ones((exposure.height, 1)), belongs_NI, exposure.select(COLUMNS).to_numpy()])
    zeros_KK = np.zeros((len(factors), len(factors)))
    return RiskModel(tuple(exposure["symbol"]), factors, exposure_NK, zeros_KK, np.zeros(exposure.height))


def test_all_sessions_at_once_are_the_sessions_one_by_one() -> None:
    random = np.random.default_rng(5)
    sessions = [FIRST + timedelta(days=number) for number in range(SESSIONS)]
    days = [one_day(session, random) for session in sessions]
    slow = pl.concat([attribution(day, model_of(exposure), gains) for day, exposure, gains in days])
    fast = walk_lines(
        pl.DataFrame(
            [(day.session, day.portfolio_return, day.benchmark_return, day.cost) for day, _, _ in days],
            schema={"session": pl.Date, **dict.fromkeys(("portfolio_return", "benchmark_return", "cost"), pl.Float64)},
            orient="row",
        ),
        pl.concat([day.names.select(pl.lit(day.session).alias("session"), pl.all()) for day, _, _ in days]),
        pl.concat([rows.select(pl.lit(day.session).alias("session"), pl.all()) for day, rows, _ in days]),
        pl.concat(
            pl.DataFrame({"session": [day.session] * len(gains), "factor": list(gains), "return": list(gains.values())})
            for day, _, gains in days
        ),
    )
    both = slow.join(fast, on=["session", "group", "line"], how="full", suffix=" at once")
    assert both.height == slow.height == fast.height == SESSIONS * (11 + 4)
    assert both["contribution at once"].to_numpy() == pytest.approx(both["contribution"].to_numpy(), abs=1e-15)
    sums = fast.group_by("session").agg(pl.col("contribution").sum()).sort("session")["contribution"].to_list()
    assert sums == pytest.approx([day.excess for day, _, _ in days], abs=1e-14)


def test_without_sessions_there_are_no_lines() -> None:
    day, exposure, gains = one_day(FIRST, np.random.default_rng(1))
    names, known = (frame.select(pl.lit(FIRST).alias("session"), pl.all()).clear() for frame in (day.names, exposure))
    days = {"session": pl.Date, **dict.fromkeys(("portfolio_return", "benchmark_return", "cost"), pl.Float64)}
    factors = pl.DataFrame({"session": [FIRST] * len(gains), "factor": list(gains), "return": list(gains.values())})
    assert walk_lines(pl.DataFrame(schema=days), names, known, factors.clear()).is_empty()
