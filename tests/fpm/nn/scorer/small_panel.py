"""A generated panel with a known answer: fingerprints mix slow latents, and one of these drives the label."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from fpm.cross_section import Array
from fpm.schema import DAILY_FACTORS, FINGERPRINT_SIZE

FIRST = date(2024, 1, 1)
RELATIVE = {"open": 0.99, "high": 1.02, "low": 0.98, "close": 1.0}  # prices of a session over its close
PERSISTENCE = 0.9  # of a latent from one session to the next


@dataclass(frozen=True)
class SmallPanel:
    """`frame` and `labels` as `panel` takes them; `oracles`: the label's driver in each stream, (T, S)."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    frame: pl.DataFrame
    labels: pl.DataFrame
    oracles: dict[str, Array]


def small_panel(
    sessions: int = 20,
    symbols: int = 12,
    latents: int = 4,
    strength: float = 0.18,
    factor_strength: float | None = None,
    seed: int = 0,
) -> SmallPanel:
    """A panel in which a latent and a factor each drive `strength` of a day's return, in its standard deviations.

    `factor_strength`: that of the factor, where it is another.
    """
    factor_strength = strength if factor_strength is None else factor_strength
    rng = np.random.default_rng(seed)
    latent_TSE = _slow(rng, (sessions, symbols, latents))
    factor_TS = _slow(rng, (sessions, symbols))
    driver_TS = latent_TSE[:, :, 0]
    driven_TS = strength * driver_TS + factor_strength * factor_TS
    return_TS = 0.02 * (driven_TS + rng.normal(size=(sessions, symbols)))
    label_TS = np.full((sessions, symbols), np.nan)
    for t in range(sessions - 6):  # the return of session u is driven by the state of u - 1
        label_TS[t] = np.sum([return_TS[u - 1] for u in range(t + 2, t + 7)], axis=0)
    mix_ED = rng.normal(size=(latents, FINGERPRINT_SIZE))
    noisy_TSE = latent_TSE + 0.5 * rng.normal(size=latent_TSE.shape)
    fingerprint_TSD = noisy_TSE @ mix_ED + rng.normal(size=(sessions, symbols, FINGERPRINT_SIZE))
    factors_TSF = rng.normal(size=(sessions, symbols, len(DAILY_FACTORS)))
    factors_TSF[:, :, 3] = factor_TS + 0.3 * rng.normal(size=factor_TS.shape)
    days = tuple(FIRST + timedelta(days=t) for t in range(sessions))
    names = tuple(f"{600000 + s}.SH" for s in range(symbols))
    keys = pl.DataFrame({"session": [day for day in days for _ in names], "symbol": list(names) * sessions})
    close_TS = 10 * np.exp(np.cumsum(return_TS, axis=0))
    frame = keys.with_columns(
        pl.lit("v1").alias("vintage"),
        pl.Series("fingerprint", list(fingerprint_TSD.astype(np.float32).reshape(-1, FINGERPRINT_SIZE))),
        pl.lit(1.0).alias("adj_factor"),
        *(pl.Series(name, close_TS.ravel() * by) for name, by in RELATIVE.items()),
        pl.Series("volume", np.exp(rng.normal(size=close_TS.size))),
        pl.Series("turnover", np.exp(rng.normal(size=close_TS.size))),
        *(pl.Series(name, factors_TSF[:, :, f].ravel()) for f, name in enumerate(DAILY_FACTORS)),
    )
    labels = keys.with_columns(pl.Series("label", label_TS.ravel())).filter(pl.col("label").is_not_nan())
    oracles = {"fingerprint": driver_TS, "traditional": factor_TS, "dual": driver_TS + factor_TS}
    return SmallPanel(days, names, frame, labels, oracles)


def _slow(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Unit-variance autoregression along the first axis."""
    steps = rng.normal(size=shape)
    for t in range(1, shape[0]):
        steps[t] = PERSISTENCE * steps[t - 1] + np.sqrt(1 - PERSISTENCE**2) * steps[t]
    return steps
