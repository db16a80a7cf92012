"""Totals to the share, the cent and the trade: tolerance is zero."""

from pathlib import Path

import polars as pl
import pytest

from fpm.ticks.files import open_file
from fpm.ticks.reconciliation import reconcile, totals
from fpm.ticks.tape import sid_of
from tests.fpm.ticks.tiny_ticks import CN, DAY, SH

SUMS = {"volume": 300, "amount": 3_003_456, "trades": 3, "after_volume": 50, "after_amount": 500_000, "after_trades": 1}


def exchange_totals(tmp_path: Path, **columns: object) -> pl.DataFrame:
    rows = pl.DataFrame({"symbol": [SH], "session": [DAY], "volume": [300], "amount": [300.35], "trades": [3]})
    rows.with_columns(pl.lit(value).alias(name) for name, value in columns.items()).write_parquet(
        tmp_path / "totals.parquet"
    )
    return totals([open_file(tmp_path / "totals.parquet")], CN)


def verdict(expected: pl.DataFrame, **changes: int) -> tuple[str, str]:
    sums = pl.DataFrame({**SUMS, **changes}).with_columns(sid_of(pl.lit(SH)))
    return reconcile(sums, expected, DAY).select("verdict", "reason").row(0)


def test_equal_means_equal(tmp_path: Path) -> None:
    assert verdict(exchange_totals(tmp_path))[0] == "equal"  # 300.3456 is 300.35 to the cent
    assert (
        verdict(exchange_totals(tmp_path, volume=350, amount=350.35, trades=4))[0] == "equal"
    )  # with those after hours


@pytest.mark.parametrize("change", [{"volume": 299}, {"trades": 4}, {"amount": 3_002_000}])
def test_one_share_one_trade_or_one_cent_less_differs(tmp_path: Path, change: dict[str, int]) -> None:
    outcome, reason = verdict(exchange_totals(tmp_path), **change)
    assert outcome == "differs"
    assert "the exchange's 300" in reason


def test_without_totals_nothing_is_claimed(tmp_path: Path) -> None:
    assert verdict(exchange_totals(tmp_path).clear())[0] == "untold"


def test_two_totals_that_disagree_do_not_spoil_an_equal_pair_but_never_pass_alone(tmp_path: Path) -> None:
    both = pl.concat([exchange_totals(tmp_path), exchange_totals(tmp_path, volume=400)])
    assert verdict(both)[0] == "differs"
