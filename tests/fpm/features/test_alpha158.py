"""Alpha158 against Qlib's own answers and hand-checked numbers; many sessions at once against each alone."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from fpm.features.alpha158 import alpha158
from fpm.features.daily_factors import HISTORY
from fpm.features.daily_panel import DailyPanel, daily_panel
from fpm.schema import ALPHA158
from tests.fpm.features.qlib_answers import (
    ANSWERS,
    DAYS,
    FIRST,
    LISTED_LATE,
    SESSIONS,
    STILL,
    SUSPENDED,
    SYMBOLS,
    alpha158_bars,
)

SESSION_DAYS = [FIRST + timedelta(days=day) for day in range(SESSIONS)]
QLIB = pl.read_parquet(ANSWERS)
GAP = range(63, 75)


def panel(through: int = SESSIONS - 1, history: int = SESSIONS) -> DailyPanel:
    """The bars that Qlib got, up to one session, with amounts."""
    bars = alpha158_bars().with_columns(pl.col(pl.Float32).cast(pl.Float64))
    days = SESSION_DAYS[max(0, through - history + 1) : through + 1]
    complete = bars.with_columns(amount=pl.col("vwap") * pl.col("volume"), adj_factor=1.0, float_shares=1e9)
    return daily_panel(complete.filter(pl.col("session").is_in(days)), days, SYMBOLS)


def answers(name: str, day: int) -> np.ndarray:
    """Qlib's number for every symbol; NaN where it has no row."""
    rows = QLIB.filter(pl.col("session") == SESSION_DAYS[day]).select("symbol", name)
    numbers = dict(rows.iter_rows())
    return np.array([numbers.get(symbol, np.nan) for symbol in SYMBOLS], float)


def test_the_names_and_their_order_are_qlib_s() -> None:
    assert tuple(QLIB.columns[2:]) == ALPHA158 and set(alpha158(panel())) == set(ALPHA158)
    assert QLIB.height == len(DAYS) * len(SYMBOLS) - sum(day < 40 for day in DAYS)


@pytest.mark.parametrize("name", ALPHA158)
def test_every_factor_equals_qlib_s(name: str) -> None:
    """To 1e-5 of the value, or to 1e-6 for a correlation or a residual near 0.

    Left out: the position of an extreme in a window with a gap, where Qlib answers with the position of the gap.
    """
    ours = alpha158(panel(), SESSIONS)[name]
    assert np.isfinite(ours).any()
    for day in DAYS:
        theirs = answers(name, day)
        if name.startswith(("imax", "imin", "imxd")):
            window = range(day - int(name[4:]) + 1, day + 1)
            theirs = np.where([s == SUSPENDED and bool({28, *GAP} & set(window)) for s in SYMBOLS], ours[day], theirs)
        np.testing.assert_allclose(ours[day], theirs, rtol=1e-5, atol=1e-6, err_msg=f"session {day}")


def test_many_sessions_at_once_equal_each_alone_bit_for_bit() -> None:
    """Sessions before the 60 that a session depends on have no effect."""
    together = alpha158(panel(), 25)
    for day in (SESSIONS - 25, SESSIONS - 7, SESSIONS - 1):
        alone = alpha158(panel(day, HISTORY + 1))
        for name in ALPHA158:
            np.testing.assert_array_equal(together[name][day - SESSIONS], alone[name][-1], err_msg=name)


def test_an_extreme_in_a_window_with_a_gap_has_its_own_position() -> None:
    high = panel().high[:, SYMBOLS.index(SUSPENDED)]
    imax = alpha158(panel())["imax30"][-1, SYMBOLS.index(SUSPENDED)]
    assert np.isnan(high[-30:]).sum() == 12 and imax == (np.nanargmax(high[-30:]) + 1) / 30


def test_by_hand() -> None:
    """Closes 10, 11, 12, 11, 13 with highs 1 above, lows 1 below and volumes 100 to 500: the symbol's first rows."""
    closes = np.array([10.0, 11, 12, 11, 13])
    frame = pl.DataFrame(
        {
            "session": SESSION_DAYS[:5],
            "symbol": "A",
            "open": closes - 0.5,
            "high": closes + 1,
            "low": closes - 1,
            "close": closes,
            "volume": [100.0, 200, 300, 400, 500],
            "amount": closes * [100.0, 200, 300, 400, 500],
            "adj_factor": 1.0,
            "suspended": False,
            "float_shares": 1e9,
        }
    )
    factors = {name: x[-1, 0] for name, x in alpha158(daily_panel(frame, SESSION_DAYS[:5], ["A"])).items()}
    expected = {
        "kmid": 0.5 / 12.5,
        "klen": 2 / 12.5,
        "kmid2": 0.25,
        "kup": 1 / 12.5,
        "klow2": 0.25,
        "ksft": 0.0,
        "open0": 12.5 / 13,
        "high0": 14 / 13,
        "vwap0": 1.0,
        "ma5": 11.4 / 13,
        "max5": 14 / 13,
        "min5": 9 / 13,
        "beta5": 0.6 / 13,
        "resi5": (13 - 12.6) / 13,
        "rsqr5": 0.6**2 * 2 / 1.04,
        "qtlu5": 12.2 / 13,
        "qtld5": 10.8 / 13,
        "rank5": 1.0,
        "rsv5": 0.8,
        "imax5": 1.0,
        "imin5": 0.2,
        "imxd5": 0.8,
        "cntp5": 0.6,
        "cntn5": 0.2,
        "cntd5": 0.4,
        "sump5": 4 / 5,
        "sumn5": 1 / 5,
        "sumd5": 3 / 5,
        "vma5": 300 / 500,
        "vstd5": np.sqrt(25000) / 500,
        "vsump5": 1.0,
        "vsumn5": 0.0,
        "rank60": 1.0,
    }
    for name, value in expected.items():
        assert factors[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    assert np.isnan(factors["roc5"]), "there is no row five sessions before"


def test_a_constant_price_has_no_correlation() -> None:
    still, late = SYMBOLS.index(STILL), SYMBOLS.index(LISTED_LATE)
    factors = alpha158(panel())
    assert all(np.isnan(factors[f"{name}{d}"][-1, still]) for name in ("rsqr", "corr", "cord") for d in (5, 60))
    assert factors["std60"][-1, still] == factors["beta20"][-1, still] == 0
    assert np.isnan(factors["roc60"][-1, late]) and np.isfinite(factors["roc30"][-1, late])
