"""Whether each switch of the risk model pays: the forecast test with it and without it, session by session.

A setting's loss is the mean |B - 1| of optimised and random active portfolios, B = mean over portfolios of std(z). What
a step gains is the loss without it less the loss with it, with a paired interval: both settings meet the same
sessions, drawn in blocks with replacement. Shapes: T sessions, P portfolios, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.risk.estimate import switched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.panels import Floats
    from fpm.risk.estimate import RiskConfig

FAMILIES = ("optimised", "random")
AS_CONFIGURED = "as configured"
HALF_LIVES = ("volatility", "correlation", "specific")
BLOCK = 5  # sessions drawn together: volatility that is missed is missed for days
DRAWS = 1000


@dataclass(frozen=True)
class Step:
    """One switch: `is_on` as configured, and the settings with it the other way.

    A shorter half-life is a step that is off: it is tried, and pays or not.
    """

    name: str
    is_on: bool
    other: RiskConfig


def steps(config: RiskConfig, scored: bool = True) -> list[Step]:
    """Every switch of the settings, each half-life halved; without scores the score is none of them."""
    config = config if scored else replace(config, score=False)
    ways = {name: other for name, other in switched(config).items() if hasattr(config, name)}
    single = [
        Step(name, bool(getattr(config, name)), other) for name, other in ways.items() if scored or name != "score"
    ]
    shorter = {name: getattr(config, name) / 2 for name in HALF_LIVES}
    return single + [
        Step(f"{name} half-life {value:g}", is_on=False, other=replace(config, **{name: value}))
        for name, value in shorter.items()
    ]


def verdicts(configured: pl.DataFrame, others: Mapping[str, pl.DataFrame], chosen: list[Step]) -> pl.DataFrame:
    """A row a step: what it was, B without and with it, gain, low, high, and whether it pays.

    `configured`, `others` by step: rows as `forecast_test.night_rows` of the same sessions. A step pays where the whole
    95 % interval of its gain is above 0.
    """
    rows = []
    for step in chosen:
        without, with_it = (others[step.name], configured) if step.is_on else (configured, others[step.name])
        before, after = ({name: _z(frame, name) for name in FAMILIES} for frame in (without, with_it))
        count = len(next(iter(before.values())))
        weight_DT = np.vstack([np.ones((1, count)), _draws(count)])
        gain_D = _loss(before, weight_DT) - _loss(after, weight_DT)
        low, high = np.quantile(gain_D[1:], [0.025, 0.975])
        bias = {
            f"{name}_{way}": float(_bias(z[name], weight_DT[:1])[0])
            for name in FAMILIES
            for way, z in (("without", before), ("with", after))
        }
        head = {"switch": step.name, "configured": "on" if step.is_on else "off"}
        gain = {"gain": float(gain_D[0]), "low": float(low), "high": float(high)}
        rows.append({**head, **bias, **gain, "sessions": count, "verdict": "pays" if low > 0 else "does not pay"})
    return pl.DataFrame(rows)


def _z(rows: pl.DataFrame, family: str) -> Floats:
    """Realised over predicted (T, P) of the portfolios present in every session."""
    own = rows.filter(pl.col("family") == family).select(
        "session", "portfolio", z=pl.col("realised") / pl.col("predicted")
    )
    wide = own.pivot(on="portfolio", index="session", values="z", sort_columns=True).sort("session").drop("session")
    z_TP = wide.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return z_TP[:, np.isfinite(z_TP).all(axis=0)]


def _draws(sessions: int) -> Floats:
    """How often each session is drawn (D, T): blocks of `BLOCK` consecutive ones, the last followed by the first."""
    random, blocks = np.random.default_rng(0), -(-sessions // BLOCK)
    start_DB = random.integers(0, sessions, (DRAWS, blocks))
    drawn_DT = ((start_DB[:, :, None] + np.arange(BLOCK)) % sessions).reshape(DRAWS, -1)[:, :sessions]
    return np.stack([np.bincount(drawn_T, minlength=sessions) for drawn_T in drawn_DT]).astype(np.float64)


def _loss(z: Mapping[str, Floats], weight_DT: Floats) -> Floats:
    return np.asarray(np.mean([np.abs(_bias(z[name], weight_DT) - 1) for name in FAMILIES], axis=0))


def _bias(z_TP: Floats, weight_DT: Floats) -> Floats:
    """Mean over the portfolios of std(z) (D,) with sessions counted as often as they were drawn."""
    count = len(z_TP)
    mean_DP, square_DP = weight_DT @ z_TP / count, weight_DT @ np.square(z_TP) / count
    variance_DP = np.maximum(square_DP - np.square(mean_DP), 0) * count / (count - 1)
    return np.asarray(np.sqrt(variance_DP).mean(axis=1), dtype=np.float64)
