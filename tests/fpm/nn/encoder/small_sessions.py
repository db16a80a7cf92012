"""Sessions with a known answer: random-walk prices, and a volume whose timing is a latent number."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from fpm.nn.encoder.history import History, SymbolSessions, survey
from fpm.schema import L2_32

CLOSE = L2_32.index("close")
SLOTS = 48


@dataclass(frozen=True)
class RandomSessions:
    """Features x_NTF (float32), each row's latent timing, and its best linear estimate from the log volumes."""

    x_NTF: np.ndarray
    timing_N: np.ndarray
    ideal_N: np.ndarray


def random_sessions(count: int, seed: int, slots: int = SLOTS) -> RandomSessions:
    """`l2_32` rows: each price is a random walk, each flow a noisy share of a volume that leans early or late."""
    rng = np.random.default_rng(seed)
    close_NT = np.cumsum(1e-3 * rng.standard_normal((count, slots)), axis=1)
    clock_T = np.linspace(-1, 1, slots)
    timing_N = rng.uniform(-1.7, 1.7, count)
    log_volume_NT = 0.4 * timing_N[:, None] * clock_T + 0.7 * rng.standard_normal((count, slots))
    volume_NT = np.exp(log_volume_NT)
    volume_NT *= slots / volume_NT.sum(axis=1, keepdims=True)  # no daily total shows the timing
    x_NTF = volume_NT[:, :, None] * np.exp(0.5 * rng.standard_normal((count, slots, len(L2_32))))
    for column in range(4):
        x_NTF[:, :, column] = close_NT
    x_NTF[:, :, 3] = 0.5 + 5 * close_NT
    return RandomSessions(x_NTF.astype(np.float32), timing_N, np.log(volume_NT) @ clock_T)


def symbol_sessions(days: int, symbols: int, seed: int = 0, slots: int = SLOTS) -> SymbolSessions:
    """`days` sessions of the same symbols in half precision, as a training reads them."""
    generated = random_sessions(days * symbols, seed, slots)
    first = date(2024, 1, 2)
    return SymbolSessions(
        generated.x_NTF.astype(np.float16),
        tuple(f"{i % symbols:06d}.SZ" for i in range(days * symbols)),
        tuple(first + timedelta(days=i // symbols) for i in range(days * symbols)),
    )


def history_of(rows: SymbolSessions, samples: Mapping[date, int], budget: int = 10**9) -> History:
    """A history of the rows, surveyed with these samples."""
    return survey(rows.rows_of, samples, budget, lambda done, total, item: None)


def correlation_of_ridge(train: np.ndarray, train_y: np.ndarray, test: np.ndarray, test_y: np.ndarray) -> float:
    """Out-of-sample correlation of a ridge regression: how well y is a linear function."""
    mean, scale = train.mean(axis=0), train.std(axis=0) + 1e-9
    a, b = (train - mean) / scale, (test - mean) / scale
    coefficients = np.linalg.solve(a.T @ a + 30 * np.eye(a.shape[1]), a.T @ (train_y - train_y.mean()))
    return float(np.corrcoef(b @ coefficients, test_y)[0, 1])
