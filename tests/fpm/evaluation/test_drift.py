"""Drift of vectors given volatility: none for the same population or a nervous market, seen for another one."""

import numpy as np

from fpm.evaluation.drift import drift, squared_mmd

SESSIONS, ROWS, SIZE = 12, 150, 8


def stock_days(seed: int, rows: int, level: float = 1.0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors whose first half scales with volatility; `level` of the market's volatility, `shift` of everything."""
    rng = np.random.default_rng(seed)
    volatility_N = level * np.exp(rng.normal(0, 0.4, rows))
    z_ND = rng.normal(size=(rows, SIZE))
    z_ND[:, : SIZE // 2] += np.log(volatility_N)[:, None]
    return z_ND + shift, volatility_N


def reference() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    parts = [stock_days(seed, ROWS) for seed in range(SESSIONS)]
    z_ND, volatility_N = (np.concatenate([part[number] for part in parts]) for number in (0, 1))
    return z_ND, volatility_N, np.repeat(np.arange(SESSIONS), ROWS)


def test_the_same_population_lies_in_its_band_and_another_far_outside() -> None:
    same, other = (drift(*reference(), *stock_days(99, 1000, shift=shift)) for shift in (0.0, 0.5))
    assert same is not None and other is not None
    assert abs(same.value) <= same.band and same.covered == 1.0
    assert other.value > 5 * other.band


def test_a_nervous_market_is_no_drift_although_its_vectors_differ() -> None:
    z_ND, volatility_N, session_N = reference()
    today_MD, volatility_M = stock_days(98, 1000, level=1.6)
    nervous = drift(z_ND, volatility_N, session_N, today_MD, volatility_M)
    assert nervous is not None
    blind = squared_mmd(z_ND, today_MD, 4.0)
    assert blind > 0.01
    assert nervous.value < blind / 4


def test_the_discrepancy_is_that_of_a_sum_over_pairs() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)), rng.normal(1, 1, size=(5, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * 1.5**2)))

    within_x = np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    within_y = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert abs(squared_mmd(x, y, 1.5) - (within_x + within_y - 2 * across)) < 1e-12


def test_what_cannot_be_judged_has_no_drift() -> None:
    z_ND, volatility_N, session_N = reference()
    today = stock_days(1, 50)
    one = session_N == 0
    assert drift(z_ND[one], volatility_N[one], session_N[one], *today) is None
    assert drift(z_ND, volatility_N, session_N, today[0] * np.nan, today[1]) is None
    assert drift(z_ND, volatility_N, session_N, today[0][:5], today[1][:5]) is None
