"""Members that never had a bar: in the benchmark, in no portfolio, with the risk that the module states."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from fpm.portfolio.mandate import mandate_of
from fpm.portfolio.problem import UNPRICED
from fpm.portfolio.session import decision_frame
from fpm.portfolio.unpriced import priced, with_unpriced, with_unpriced_bound
from fpm.risk.model import RiskModel

DAY, NEXT = date(2024, 1, 5), date(2024, 1, 8)
RISK = RiskModel(
    ("A", "B", "C"),
    ("country", "size"),
    np.array([[1.0, 0.5], [1.0, -1.0], [1.0, 2.0]]),
    np.diag([4e-4, 1e-4]),
    np.array([1e-4, 3e-4, 50e-4]),
)
NAMES = pl.DataFrame(
    {
        "symbol": RISK.symbols,
        "industry": ["x", "y", "y"],
        "size": [0.5, -1.0, 2.0],
        "buyable": [True] * 3,
        "sellable": [True] * 3,
        "restricted": [False] * 3,
        "benchmark_weight": [0.5, 0.4, None],
    }
)


def test_the_stated_convention_by_hand() -> None:
    benchmark = pl.DataFrame({"symbol": ["A", "B", "Z"], "benchmark_weight": [0.5, 0.4, 0.1]})
    whole = with_unpriced(NAMES, RISK, benchmark)
    assert whole.names["symbol"].to_list() == list(whole.risk.symbols) == ["A", "B", "C", "Z"]
    last = whole.names.row(3, named=True)
    assert (last["buyable"], last["sellable"], last["restricted"], last["industry"]) == (False, False, False, UNPRICED)
    assert last["benchmark_weight"] == 0.1 and last["size"] is None
    # the portfolio lacks Z alone: the market's variance, and the mean specific variance of the members A and B
    lack = np.array([0.0, 0.0, 0.0, -0.1])
    assert whole.risk.variance(lack) == pytest.approx(0.01 * (4e-4 + 2e-4))


def test_an_index_whose_members_all_have_bars_is_as_it_was() -> None:
    whole = with_unpriced(NAMES, RISK, NAMES.select("symbol", "benchmark_weight"))
    assert whole.names is NAMES and whole.risk is RISK


def test_what_has_a_price_is_scaled_to_one() -> None:
    rows = priced(pl.DataFrame({"symbol": ["A", "B", "Z"], "weight": [0.5, 0.4, 0.1]}), {"A", "B", "C"})
    assert rows["weight"].to_list() == pytest.approx([0.5 / 0.9, 0.4 / 0.9])
    assert priced(rows, []).is_empty()


@pytest.mark.parametrize(
    ("missing", "relaxed", "said", "status"),
    [
        (0.03, {}, {"industry": 0.02}, "relaxed"),
        (0.03, {"industry": 0.05}, {"industry": 0.05}, "relaxed"),
        (0.009, {}, {}, "optimal"),
    ],
)
def test_what_is_outside_the_bound_is_named(
    missing: float, relaxed: dict[str, float], said: dict[str, float], status: str
) -> None:
    mandate = replace(mandate_of("X"), industry=0.01)
    targets = pl.DataFrame(
        {"industry": ["x", UNPRICED], "weight": [0.99, 0.0], "benchmark_weight": [1 - missing, missing]}
    )
    before = decision_frame(mandate, DAY, NEXT, "relaxed" if relaxed else "optimal", 0.02, 0.1, relaxed)
    after = with_unpriced_bound(before, targets, mandate).row(0, named=True)
    assert json.loads(after["relaxed"]) == pytest.approx(said) and after["status"] == status
