"""Every statistic by hand on sessions of four minutes, whose edge is one minute."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fpm.features.intraday_statistics import STATISTICS, edge, inputs, intraday_statistics
from fpm.schema import BAR_32, FEATURES, L2_32

NAN = float("nan")
CLOSE = [1.02, 1.04, 1.01, 0.99]  # over the open
VOLUME = [4.0, 2.0, 1.0, 1.0]
R = [math.log(1.02), math.log(1.04 / 1.02), math.log(1.01 / 1.04), math.log(0.99 / 1.01)]
SQUARES = sum(r * r for r in R)


def session(**columns: list[float]) -> np.ndarray:
    """One l2_32 session of four minutes; all other features are unavailable."""
    x_STF = np.full((1, 4, len(L2_32)), NAN)
    for name, values in columns.items():
        x_STF[0, :, L2_32.index(name)] = values
    return x_STF


def statistic(name: str, **columns: list[float]) -> float:
    return float(intraday_statistics(session(**columns), L2_32)[name][0])


PRICES = {"close": [c - 1 for c in CLOSE]}
BY_HAND = [
    # mean time of the volume: (4 * 1/8 + 2 * 3/8 + 1 * 5/8 + 1 * 7/8) / 8 = 2.75 / 8
    ("front_loading", {"volume": VOLUME}, 1 - 2 * 2.75 / 8),
    ("front_loading", {"volume": [0.0, 0.0, 0.0, 9.0]}, -0.75),
    # shares 1/2, 1/4, 1/8, 1/8: entropy 1.75 bits of 2
    ("volume_entropy", {"volume": VOLUME}, 1.75 / 2),
    ("closing_share", {"volume": VOLUME}, 1 / 8),
    ("quiet_share", {"volume": [1.0, 0.0, 0.0, NAN]}, 2 / 3),
    ("morning_return", PRICES, R[0]),
    ("late_reversal", PRICES, -R[3]),  # up to 1.01, then down: a reversal
    ("late_reversal", {"close": [-0.01, -0.02, -0.02, -0.03]}, math.log(0.97 / 0.98)),  # down, and further down
    ("realised_volatility", PRICES, math.sqrt(SQUARES)),
    ("early_variance", PRICES, R[0] ** 2 / SQUARES),
    ("late_variance", PRICES, R[3] ** 2 / SQUARES),
    ("path_efficiency", PRICES, -math.log(0.99) / sum(abs(r) for r in R)),
    ("return_autocorrelation", PRICES, (R[0] * R[1] + R[1] * R[2] + R[2] * R[3]) / SQUARES),
    ("close_position", {**PRICES, "high": [0.03, 0.05, 0.02, 0.0], "low": [0.0, 0.01, 0.0, -0.05]}, 0.04 / 0.10),
    ("cancel_bursts", {"volume": VOLUME, "cancel_volume": [4 * math.e, 2.0, 0.0, 1 / math.e]}, 1.0),
    # large buys at 1/8 and 3/8, large sales at 7/8
    (
        "large_order_direction",
        {
            "xl_buy_volume": [1.0, 0.0, 0.0, 0.0],
            "l_buy_volume": [0.0, 1.0, 0.0, 0.0],
            "xl_sell_volume": [0.0, 0.0, 0.0, 3.0],
            "l_sell_volume": [0.0] * 4,
        },
        7 / 8 - 1 / 4,
    ),
    ("early_imbalance", {"buy_volume": [3.0, 1.0, 1.0, 0.0], "sell_volume": [1.0, 9.0, 9.0, 2.0]}, 1 / 2),
    ("late_imbalance", {"buy_volume": [3.0, 1.0, 1.0, 0.0], "sell_volume": [1.0, 9.0, 9.0, 2.0]}, -1.0),
]


@pytest.mark.parametrize(("name", "columns", "expected"), BY_HAND)
def test_by_hand(name: str, columns: dict[str, list[float]], expected: float) -> None:
    assert statistic(name, **columns) == pytest.approx(expected, rel=1e-12)


def test_correlations_of_volume_with_moves_equal_numpy_s() -> None:
    minutes = {**PRICES, "volume": [4.0, 2.0, 1.0, 0.0]}  # the quiet minute does not count
    log = np.log([4.0, 2.0, 1.0])
    assert statistic("co_movement", **minutes) == pytest.approx(np.corrcoef(log, np.abs(R[:3]))[0, 1], rel=1e-12)
    assert statistic("directed_volume", **minutes) == pytest.approx(np.corrcoef(log, R[:3])[0, 1], rel=1e-12)


def test_every_statistic_has_its_hand_made_answer() -> None:
    assert {name for name, *_ in BY_HAND} | {"co_movement", "directed_volume"} == set(STATISTICS)


def test_unavailable_is_nan_and_what_the_profile_lacks_is_left_out() -> None:
    nothing = intraday_statistics(session(), L2_32)
    assert set(nothing) == set(STATISTICS) and all(np.isnan(value).all() for value in nothing.values())
    untraded = intraday_statistics(session(volume=[0.0] * 4, close=[0.0] * 4), L2_32)
    assert untraded["quiet_share"] == 1.0 and untraded["realised_volatility"] == 0.0
    assert np.isnan(untraded["front_loading"]) and np.isnan(untraded["co_movement"])
    open_bars = intraday_statistics(np.full((2, 4, 32), NAN), BAR_32)
    assert set(STATISTICS) - set(open_bars) == {"cancel_bursts", "large_order_direction"}
    assert all(len(value) == 2 for value in open_bars.values())


def test_the_features_that_statistics_read() -> None:
    assert set(inputs(BAR_32)) == {"close", "high", "low", "volume", "buy_volume", "sell_volume"}
    assert inputs(("volume", "cancel_volume", "buy_volume", "vwap")) == ("volume", "cancel_volume")


@pytest.mark.parametrize(("minutes", "length"), [(4, 1), (48, 12), (240, 60), (390, 60), (1440, 60)])
def test_an_edge_is_an_hour_or_a_quarter(minutes: int, length: int) -> None:
    assert edge(np.zeros((1, minutes))) == length


def test_a_symbol_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(3)
    x_STF = np.abs(rng.standard_normal((5, 40, 32))) * 0.1
    together = intraday_statistics(x_STF, FEATURES["l2_32"])
    for i in range(5):
        alone = intraday_statistics(x_STF[i : i + 1], FEATURES["l2_32"])
        assert all(alone[name][0] == pytest.approx(together[name][i], rel=1e-12) for name in together)
