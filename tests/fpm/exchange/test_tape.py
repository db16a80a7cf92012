"""Ticks of the synthetic exchange: the ingest reads both exchanges' records back, to the share and the cent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fpm.exchange.simulate import PRESETS, simulate, write
from fpm.exchange.tables import SessionTables
from fpm.schema import ORDER_FLOWS, PRICES
from fpm.sessions import market
from fpm.store.ledger.stores import Stores
from fpm.ticks.files import find, open_file
from producers.bars import Arrival
from producers.ticks import ingest

CN = market("cn")
CONFIG = replace(PRESETS["tiny"], sessions=3, spoiled_every=0, ticks=True)
STREAMS = ("trades", "orders", "ticks", "totals")


@pytest.fixture(scope="module")
def history() -> list[SessionTables]:
    return list(simulate(CONFIG))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ticks")
    write(CONFIG, out)
    return out


def records(tables: SessionTables, stream: str) -> pl.DataFrame:
    assert tables.ticks is not None
    frame: pl.DataFrame = getattr(tables.ticks, stream)
    return frame


def test_minute_flows_of_the_ticks_are_the_minute_bars(
    folder: Path, history: list[SessionTables], stores: Stores
) -> None:
    """Through the files and the real ingest: prices, trades, sides, sizes, orders and cancels, value by value."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    paths = [folder / stream for stream in STREAMS] + [folder / "daily_bars.parquet"]
    report = ingest(paths, Arrival(now, now), stores, lambda done, total, what: None)
    assert (report.to_dict()["quarantined"], report.to_dict()["refused"]) == ({}, [])
    for tables in history:
        stored = stores.read("minute_bars", tables.session)
        local = pl.col("event_timestamp").dt.convert_time_zone("Asia/Shanghai").dt.replace_time_zone(None)
        bars = stored.with_columns(local.alias("minute")).filter(
            pl.col("slot") != 240
        )  # 15:00 before the call: no vendor row
        truth = tables.minute_bars.cast({pl.selectors.integer(): pl.Float64})
        keys = ["symbol", "minute"]
        flows = [name for name in truth.columns if name not in (*keys, *PRICES)]
        both = bars.join(truth, on=keys, how="full", suffix="_true", coalesce=True)
        assert len(both) == len(truth) == len(bars)
        for name in flows:
            assert_frame_equal(bars.sort(keys).select(name), truth.sort(keys).select(name), abs_tol=1e-6)
        traded = both.filter(pl.col("volume_true") > 0)
        for name in PRICES:
            assert (traded[name] == traded[f"{name}_true"]).all(), name


def test_ticks_leave_the_rest_of_the_exchange_as_it_is(history: list[SessionTables]) -> None:
    plain = list(simulate(replace(CONFIG, ticks=False)))
    same = ["close", "volume", "trades", "buy_volume", "buy_count", "sell_volume", "sell_count"]
    same += [
        f"{size}_{side}_{unit}" for size in ("xl", "l") for side in ("buy", "sell") for unit in ("volume", "count")
    ]
    for with_ticks, without in zip(history, plain, strict=True):
        assert without.ticks is None
        keys = ["symbol", "minute"]
        assert_frame_equal(with_ticks.minute_bars.select(*keys, *same), without.minute_bars.select(*keys, *same))
        assert_frame_equal(with_ticks.styles, without.styles)
        near = with_ticks.minute_bars.join(without.minute_bars, on=keys, suffix="_plain")
        assert ((near["amount"] / near["amount_plain"] - 1.0).fill_nan(0.0).abs() < 0.003).all()
        for name in ORDER_FLOWS:
            off = abs(near[name].sum() / near[f"{name}_plain"].sum() - 1.0)
            assert off < (0.3 if name.endswith("count") else 0.01), name


def test_daily_bars_are_the_sums_of_the_ticks(history: list[SessionTables]) -> None:
    for tables in history:
        daily = tables.daily_bars.filter(~pl.col("suspended")).select("symbol", "volume", "amount").sort("symbol")
        totals = records(tables, "totals").select("symbol", "volume", "amount").sort("symbol")
        assert_frame_equal(daily, totals, check_dtypes=False, abs_tol=1e-6)


def test_every_order_comes_before_its_trades_and_never_trades_more_than_its_volume(
    history: list[SessionTables],
) -> None:
    """In Shenzhen, where the exchange publishes every order whole."""
    for tables in history:
        orders = records(tables, "orders").select("symbol", "order_no", "volume", "seq", "side")
        trades = records(tables, "trades")
        used = []
        for name, side in (("buy_order", 1), ("sell_order", 2)):
            joined = trades.filter(pl.col(name) > 0).join(
                orders, left_on=["symbol", name], right_on=["symbol", "order_no"], how="left", suffix="_own"
            )
            assert joined["seq_own"].null_count() == 0 and (joined["seq_own"] < joined["seq"]).all()
            assert (joined["side"] == side).all()
            used.append(joined.select("symbol", pl.col(name).alias("order_no"), "volume"))
        sums = pl.concat(used).group_by("symbol", "order_no").agg(pl.col("volume").sum().alias("used"))
        volumes = sums.join(orders, on=["symbol", "order_no"])
        assert (volumes["used"] <= volumes["volume"]).all()


def test_numbers_run_without_a_gap_in_every_channel_and_time_never_runs_back(history: list[SessionTables]) -> None:
    for tables in history:
        shenzhen = pl.concat([records(tables, name).select("channel", "seq", "time") for name in ("trades", "orders")])
        for whole in (shenzhen, records(tables, "ticks").select("channel", "seq", "time")):
            for _, part in whole.sort("seq").group_by("channel", maintain_order=True):
                assert part["seq"].to_list() == list(range(1, len(part) + 1)) and part["time"].is_sorted()


def test_shanghai_publishes_only_the_remainder_of_an_aggressive_order(history: list[SessionTables]) -> None:
    ticks = records(history[0], "ticks")
    adds, trades = (ticks.filter(pl.col("record_type") == kind) for kind in ("A", "T"))
    buys = trades.filter(pl.col("side") == "B").select("symbol", pl.col("buy_order"), "seq")
    last = buys.group_by("symbol", "buy_order").agg(pl.col("seq").max())
    after = last.join(adds.filter(pl.col("side") == "B"), on=["symbol", "buy_order"], how="left", suffix="_add")
    assert after["seq_add"].null_count() > 0.5 * len(after)  # most were matched whole
    assert (after.drop_nulls("seq_add")["seq_add"] > after.drop_nulls("seq_add")["seq"]).all()


def test_the_ingest_of_ticks_finds_the_files(folder: Path) -> None:
    streams, others = find([folder])
    assert {path.parent.name for path in streams} == set(STREAMS) and len(streams) == 4 * CONFIG.sessions
    assert {open_file(path).stream for path in streams} == set(STREAMS)
    assert {path.stem for path in others} >= {"daily_bars", "index_members"}
