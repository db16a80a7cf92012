"""A switch pays where it brings B nearer to 1: hand numbers, a step that helps, one that does not, one that harms."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from fpm.risk.estimate import PRESETS, RiskConfig
from fpm.risk.switches import Step, steps, verdicts

DAYS = [date(2024, 1, 1) + timedelta(days=number) for number in range(250)]


def rows(z_TP, scale=1.0):
    """Night rows of both families with these realised over predicted."""
    return pl.concat(
        pl.DataFrame(
            {
                "session": [day for day in DAYS[: len(z_TP)] for _ in range(z_TP.shape[1])],
                "family": [family] * z_TP.size,
                "portfolio": [str(number) for number in range(z_TP.shape[1])] * len(z_TP),
                "predicted": np.full(z_TP.size, 0.01 / scale),
                "realised": 0.01 * z_TP.ravel(),
            }
        )
        for family in ("optimised", "random")
    )


def test_every_switch_and_each_half_life_is_a_step_of_its_own():
    config = PRESETS["default"]
    found = {step.name: step for step in steps(config)}
    on = {name for name, step in found.items() if step.is_on}
    assert on == {"leverage", "noise", "score", "regime", "shrinkage"}
    off = {"newey_west", "eigenfactor"}
    assert set(found) - on - off == {
        "volatility half-life 42",
        "correlation half-life 126",
        "specific half-life 84",
    }
    assert found["regime"].other == RiskConfig(regime=0.0)
    assert found["newey_west"].other == RiskConfig(newey_west=2)
    assert found["correlation half-life 126"].other == RiskConfig(correlation=126.0)
    without = {step.name: step for step in steps(config, scored=False)}
    assert "score" not in without and without["noise"].other == RiskConfig(noise=False, score=False)


def test_gains_by_hand():
    """z of ±1 has std(z) = √(4/3) over four sessions: predictions of 1.2 times and 1.5 times it are losses."""
    z_TP = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    unit = np.sqrt(4 / 3)
    on = Step("leverage", is_on=True, other=RiskConfig())
    row = verdicts(rows(z_TP, 1.2 / unit), {"leverage": rows(z_TP, 1.5 / unit)}, [on]).row(0, named=True)
    assert (row["optimised_without"], row["optimised_with"]) == (pytest.approx(1.5), pytest.approx(1.2))
    assert row["gain"] == pytest.approx(0.3) and row["sessions"] == 4 and row["configured"] == "on"
    off = Step("newey_west", is_on=False, other=RiskConfig())
    row = verdicts(rows(z_TP, 1.2 / unit), {"newey_west": rows(z_TP, 1.5 / unit)}, [off]).row(0, named=True)
    assert row["gain"] == pytest.approx(-0.3) and row["verdict"] == "does not pay" and row["configured"] == "off"


def test_a_step_pays_only_where_its_whole_interval_is_above_zero():
    z_TP = np.random.default_rng(0).standard_normal((250, 20))
    plan = [Step(name, is_on=True, other=RiskConfig()) for name in ("helps", "nothing", "harms")]
    others = {"helps": rows(z_TP, 1.3), "nothing": rows(z_TP[::-1].copy(), 1.0), "harms": rows(z_TP, 1.0)}
    table = verdicts(rows(z_TP, 1.0), others, plan[:2])
    assert table["verdict"].to_list() == ["pays", "does not pay"]
    first = table.row(0, named=True)
    assert first["low"] < first["gain"] < first["high"] and first["gain"] == pytest.approx(0.3, abs=0.06)
    harm = verdicts(rows(z_TP, 1.3), others, plan[2:]).row(0, named=True)
    assert harm["high"] < 0 and harm["verdict"] == "does not pay"
