"""Correlations of the best single-session estimates of the styles, beside naive ones.

Run `PYTHONPATH=. python benchmarks/exchange_ideals.py [symbols] [sessions]`. Correlation with the planted style over
all symbol-sessions of a separate exchange, and over each half of the sessions. The ideal uses the exchange's formula
and not its random draws (`fpm.exchange.ideals`); a probe on fingerprints is measured as a share of it.
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl

from fpm.exchange.ideals import ideals
from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.exchange.styles import STYLES
from tests.fpm.exchange.test_ideals import naive

SEED = 31


def main(symbols: int, sessions: int) -> None:
    estimates, plain, planted = [], [], []
    for tables in simulate(ExchangeConfig(symbols=symbols, sessions=sessions, spoiled_every=0, seed=SEED)):
        estimates.append(ideals(tables.minute_bars).select(list(STYLES)).to_numpy())
        plain.append(naive(tables.minute_bars))
        planted.append(tables.styles.sort("symbol").select(pl.col(list(STYLES))).to_numpy())
    sys.stdout.write(f"{'style':24} {'ideal':>7} {'halves':>15} {'naive':>7}\n")
    half = len(estimates) // 2
    for k, name in enumerate(STYLES):
        ideal, naively = (correlation(part, planted, k) for part in (estimates, plain))
        first, second = (
            correlation(estimates[:half], planted[:half], k),
            correlation(estimates[half:], planted[half:], k),
        )
        sys.stdout.write(f"{name:24} {ideal:7.3f} {first:7.3f} {second:7.3f} {naively:7.3f}\n")


def correlation(estimates: list[np.ndarray], planted: list[np.ndarray], k: int) -> float:
    """Return the correlation of style k over all symbol-sessions."""
    return float(np.corrcoef(np.vstack(estimates)[:, k], np.vstack(planted)[:, k])[0, 1])


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    main(*(numbers or [300, 60]))
