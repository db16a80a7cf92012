"""Returns of a session from its factors and residuals."""

import polars as pl
import pytest

from fpm.risk.nights import session_returns
from fpm.schema import STYLES

BEFORE = pl.DataFrame(
    {"symbol": ["A", "B", "C"], "industry": ["steel", "banks", "steel"], **dict.fromkeys(STYLES, [0.0] * 3)}
).with_columns(size=pl.Series([1.0, -2.0, 0.5]), score=pl.lit(0.0))
FACTORS = pl.DataFrame({"factor": ["country", "industry:steel", "size"], "return": [0.01, 0.02, 0.003]})
RESIDUALS = pl.DataFrame({"symbol": ["A", "B"], "residual": [0.001, -0.002]})


def test_returns_by_hand() -> None:
    """Country 1 %, steel 2 %, size 0.3 % a deviation; C did not trade."""
    returns = session_returns(BEFORE, FACTORS, RESIDUALS, ["A", "B"])
    assert returns == pytest.approx({"A": 0.01 + 0.02 + 0.003 + 0.001, "B": 0.01 - 0.006 - 0.002})


def test_without_factor_returns_nobody_has_a_return() -> None:
    """After a session in which the whole market was suspended there is no regression."""
    assert session_returns(BEFORE, FACTORS.clear(), RESIDUALS.clear(), ["A", "B"]) == {}
