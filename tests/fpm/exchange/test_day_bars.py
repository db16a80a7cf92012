"""The exchange without minutes: rules of a daily table, dividends that keep an owner's worth, the oracle's RankIC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from fpm.errors import UsageError
from fpm.exchange.simulate import ORACLE, YEARS, ExchangeConfig, simulate, write
from fpm.ingest.deliveries import find

CONFIG = ExchangeConfig(
    symbols=100, sessions=90, spoiled_every=0, daily=True, events=replace(YEARS, dividend=1 / 50, delisting=1 / 2_000)
)


@pytest.fixture(scope="module")
def market() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Daily bars and the oracle's answers."""
    history = list(simulate(CONFIG))
    assert all(tables.minute_bars.is_empty() and tables.correction is None for tables in history)
    daily, answers = (pl.concat([getattr(each, name) for each in history]) for name in ("daily_bars", "oracle"))
    return daily.sort("symbol", "session"), answers


def test_prices_are_ticks_in_order_and_within_the_limits(market: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    traded = market[0].filter(pl.col("volume") > 0)
    low, high, open_, close = (traded[name].to_numpy() for name in ("low", "high", "open", "close"))
    assert (low <= np.minimum(open_, close)).all()
    assert (high >= np.maximum(open_, close)).all()
    assert np.allclose(close * 100, np.rint(close * 100), atol=1e-9)
    bound = traded.drop_nulls("limit_up")
    assert bound.filter(~pl.col("low").ge(pl.col("limit_down")) | ~pl.col("high").le(pl.col("limit_up"))).is_empty()
    vwap = (traded["amount"] / traded["volume"]).to_numpy()
    assert ((vwap >= low - 0.005) & (vwap <= high + 0.005)).all()


def test_some_sessions_that_close_at_a_limit_never_leave_it() -> None:
    """Both limits, about half of such sessions, with little volume; none of the others is of one price."""
    daily = pl.concat([tables.daily_bars for tables in simulate(replace(CONFIG, symbols=400))])
    rows = daily.filter(pl.col("volume") > 0).drop_nulls("limit_up")
    at_limit = {limit: pl.col("close") == pl.col(limit) for limit in ("limit_up", "limit_down")}
    locked = rows.filter(pl.col("high") == pl.col("low"))
    closed = rows.filter(pl.any_horizontal(at_limit.values()))
    assert 0.35 < locked.height / closed.height < 0.65
    assert closed.height > 60
    assert locked.filter(~pl.any_horizontal(at_limit.values())).is_empty()
    assert all(locked.filter(bound).height > 5 for bound in at_limit.values())
    assert locked["volume"].to_numpy().min() >= 1
    assert np.median(locked["volume"].to_numpy()) < 0.2 * np.median(rows["volume"].to_numpy())


def test_adjusted_growth_is_the_change_against_the_reference_price(market: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """What an owner gets: close x adjustment factor grows as close / pre_close does, dividends and splits included."""
    before = pl.col("close", "adj_factor", "total_shares").shift(1).over("symbol").name.suffix("_before")
    rows = market[0].with_columns(before).drop_nulls("close_before")
    adjusted = rows["close"] * rows["adj_factor"] / (rows["close_before"] * rows["adj_factor_before"])
    assert np.allclose(adjusted, rows["close"] / rows["pre_close"], rtol=1e-3)  # splits round to a tick
    paid = rows.filter(
        (pl.col("pre_close") < pl.col("close_before")) & (pl.col("total_shares") == pl.col("total_shares_before"))
    )
    share = 1 - paid["pre_close"] / paid["close_before"]
    assert 60 < len(paid) < 260  # 9,000 symbol-sessions, one in fifty, less those that halt, leave or split
    assert share.min() > 0.005
    assert share.max() < 0.045


def test_the_oracle_knows_what_the_daily_tables_will_say(market: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    adjusted = pl.col("close") * pl.col("adj_factor")
    ahead = market[0].with_columns(
        label=(adjusted.shift(-6) / adjusted.shift(-1) - 1).over("symbol"), volume_ahead=pl.col("volume").shift(-1)
    )
    rows = ahead.join(market[1], on=["symbol", "session"]).drop_nulls("label")
    rank_ic = [spearmanr(day["combined"], day["label"]).statistic for _, day in rows.group_by("session")]
    assert 0.28 < np.mean(rank_ic) < 0.46  # 0.368 (0.008) with minutes, see ExchangeConfig


def test_the_delivery_is_daily_tables_and_scores_alone(tmp_path: Path) -> None:
    config = replace(CONFIG, symbols=6, sessions=5)
    write(config, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    tables = {f"{table}.parquet" for table in ("daily_bars", "index_members", "scores")}
    assert names == {*tables, "answers", "exchange.json"}
    delivery = find([tmp_path])
    assert not delivery.bars and not delivery.refused, "whoever ingests the folder is not shown the answer"
    assert {path.name for path in (*delivery.daily, *delivery.members, *delivery.scores)} == tables
    scores = pl.read_parquet(tmp_path / "scores.parquet")
    assert scores["stream"].unique().to_list() == ["oracle"]
    assert scores["score"].equals(pl.read_parquet(tmp_path / ORACLE)["combined"])


def test_minutes_that_do_not_exist_have_no_ticks() -> None:
    with pytest.raises(UsageError, match="neither ticks nor defects"):
        next(simulate(replace(CONFIG, ticks=True)))


def test_an_exchange_beyond_the_calendar_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FPM-CAL-002"):
        write(replace(CONFIG, sessions=100_000), tmp_path / "exchange")
    assert not (tmp_path / "exchange").exists()
