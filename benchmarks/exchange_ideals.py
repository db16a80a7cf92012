"""What the best single-session readings of the styles are worth, beside naive ones.

Run `PYTHONPATH=. python benchmarks/exchange_ideals.py [symbols] [sessions]`. Correlation with the planted style over
every symbol-session of an exchange of its own, and over either half of the sessions. The ideal knows the exchange's
formula and not its draws (`fpm.exchange.ideals`): a probe on fingerprints is judged by its part of it.
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
    read, plain, planted = [], [], []
    for tables in simulate(ExchangeConfig(symbols=symbols, sessions=sessions, spoiled_every=0, seed=SEED)):
        read.append(ideals(tables.minute_bars).select(list(STYLES)).to_numpy())
        plain.append(naive(tables.minute_bars))
        planted.append(tables.styles.sort("symbol").select(pl.col(list(STYLES))).to_numpy())
    sys.stdout.write(f"{'style':24} {'ideal':>7} {'halves':>15} {'naive':>7}\n")
    half = len(read) // 2
    for k, name in enumerate(STYLES):
        ideal, naively = (correlation(part, planted, k) for part in (read, plain))
        first, second = correlation(read[:half], planted[:half], k), correlation(read[half:], planted[half:], k)
        sys.stdout.write(f"{name:24} {ideal:7.3f} {first:7.3f} {second:7.3f} {naively:7.3f}\n")


def correlation(read: list[np.ndarray], planted: list[np.ndarray], k: int) -> float:
    """Of style k, over all symbol-sessions."""
    return float(np.corrcoef(np.vstack(read)[:, k], np.vstack(planted)[:, k])[0, 1])


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    main(*(given or [300, 60]))
