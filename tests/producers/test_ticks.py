"""Ticks into a real lake: the shipped slice to the share and the cent, and from there to the features."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fpm.features.bars import grid
from fpm.features.minute_features import Profile, raw_features
from fpm.ingest.ingest_report import IngestReport
from fpm.schema import FEATURES, ORDER_FLOWS
from fpm.sessions import previous_sessions
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers import minute_features, session_totals
from tests.databases import fresh_database
from tests.fpm.ticks.tiny_ticks import CN, SH
from tests.producers.small_ticks import bars, deliver, ingest, session_ticks

SLICE = Path(__file__).parent.parent / "data" / "level2"
SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "a_share_level2_sample"
DAYS = [date(2023, 2, day) for day in (1, 2, 3)]
# The exchange's own counters in its last snapshots: volume, turnover, trades (see tests/data/level2/NOTICE).
COUNTERS = {
    DAYS[0]: (3_397_389, 6_244_678_924.61, 27_135),
    DAYS[1]: (2_975_886, 5_465_509_509.98, 23_168),
    DAYS[2]: (3_494_490, 6_324_635_031.35, 28_101),
}
# Its counters of withdrawn orders on 2023-02-01: number, shares, money, buy and sell.
WITHDRAWN = (8_116 + 7_552, 1_355_023 + 1_478_238, 2_473_015_016.35 + 2_726_966_704.99)


@pytest.fixture(scope="module")
def slice_stores(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Any
) -> Iterator[tuple[Stores, IngestReport]]:
    """The shipped slice of Shanghai, ingested once."""
    with fresh_database(postgres_server) as url:
        stores = open_stores(
            Settings(home=tmp_path_factory.mktemp("slice") / "home", market="cn", preset="tiny", database_url=url)
        )
        yield stores, ingest([SLICE / "shanghai"], stores)
        stores.ledger.close()


# --- the shipped slice ------------------------------------------------------------------------------------------
def test_trades_are_the_exchanges_counters_to_the_share_and_the_cent(
    slice_stores: tuple[Stores, IngestReport],
) -> None:
    stores, report = slice_stores
    assert report.ticks["reconciled"] == {"equal": 3}
    assert report.ticks["records"]["used"] == 78_404 + 54_735
    for session, (volume, amount, trades) in COUNTERS.items():
        rows = bars(stores, session, "600519.SH")
        assert (rows["volume"].sum(), rows["trades"].sum()) == (volume, trades)
        assert sum(round(value * 100) for value in rows["amount"]) == round(amount * 100)


def test_cancels_are_the_exchanges_counters_too(slice_stores: tuple[Stores, IngestReport]) -> None:
    rows = bars(slice_stores[0], DAYS[0], "600519.SH")
    assert (rows["cancel_count"].sum(), rows["cancel_volume"].sum()) == WITHDRAWN[:2]
    assert sum(round(value * 100) for value in rows["cancel_amount"]) == round(WITHDRAWN[2] * 100)


def test_minute_bars_equal_those_of_other_code_from_the_same_ticks(slice_stores: tuple[Stores, IngestReport]) -> None:
    """717 bars, every column, no difference: theirs stamp the opening call 09:30 and lack untraded minutes."""
    labels = [570, *range(571, 691), *range(781, 901), 900]
    theirs = pl.read_parquet(SLICE / "shanghai" / "bars_1min.parquet").sort("datetime")
    clock = pl.col("datetime").dt
    compared = 0
    for session in DAYS:
        own = theirs.filter(clock.date() == session)
        ours = bars(slice_stores[0], session, "600519.SH").filter(pl.col("volume") > 0)
        stamped = own.select(clock.hour().cast(pl.Int32) * 60 + clock.minute())["datetime"].to_list()
        assert [labels[slot] for slot in ours["slot"]] == stamped
        names = {name: name for name in ours.columns if name in own.columns and name not in ("symbol", "slot")}
        assert len(names) == 11
        for name in names:
            np.testing.assert_allclose(ours[name].to_numpy(), own[name].to_numpy(), rtol=1.2e-7, err_msg=name)
        if session == DAYS[0]:
            check_orders(own, bars(slice_stores[0], session, "600519.SH"))
        compared += own.height
    assert compared == theirs.height == 717


def check_orders(theirs: pl.DataFrame, ours: pl.DataFrame) -> None:
    """Theirs count adds as published; ours also count an order's fills before its add. Their last bar holds ours of
    15:00 and of the closing call; they have none for 14:58 and 14:59, where nothing trades."""
    merged = (
        ours.with_columns(pl.col("slot").replace({240: 241}))
        .group_by("slot", maintain_order=True)
        .agg(pl.col("order_volume", "cancel_volume", "buy_volume", "sell_volume", "volume").sum())
        .filter(pl.col("volume") > 0)
    )
    added = merged["order_volume"] - merged["buy_volume"] - merged["sell_volume"]
    assert added.to_list() == (theirs["add_buy_volume"] + theirs["add_sell_volume"]).to_list()
    assert merged["cancel_volume"].to_list() == (theirs["cancel_buy_volume"] + theirs["cancel_sell_volume"]).to_list()


def mask(stores: Stores, session: date) -> dict[str, bool]:
    """Feature of `l2_32` -> whether any minute of the session has it."""
    profile = Profile("l2_32", "240")
    dense = grid(stores.read("minute_bars", session), CN, profile.view)
    raw_STF = raw_features(dense, stores.read("daily_bars", session), np.full(dense.traded_ST.shape, np.nan), profile)
    return dict(zip(profile.features, np.isfinite(raw_STF).any(axis=(0, 1)).tolist(), strict=True))


def test_all_32_features_exist_with_orders_and_the_mask_shows_the_others(
    slice_stores: tuple[Stores, IngestReport],
) -> None:
    stores, report = slice_stores
    assert report.profile == "l2_32"
    assert all(mask(stores, DAYS[0]).values())
    for session in DAYS[1:]:
        missing = {name for name, present in mask(stores, session).items() if not present}
        assert missing == {*ORDER_FLOWS, "price_pos"}  # no order records, and no limits known
    assert report.ticks["without_orders"] == 2
    assert not report.unavailable  # one session had all
    assert report.ticks["regimes"] == {"SH trades and orders": 1, "SH trades, orders not delivered": 2}


def test_orders_of_the_closing_call_are_not_lost_where_nothing_trades(
    slice_stores: tuple[Stores, IngestReport],
) -> None:
    dense = grid(slice_stores[0].read("minute_bars", DAYS[0]), CN, "240")
    records = pl.read_parquet(SLICE / "shanghai" / "orders.parquet").filter(pl.col("order_type") == "A")
    trades = pl.read_parquet(SLICE / "shanghai" / "trades.parquet").filter(pl.col("datetime").dt.date() == DAYS[0])
    fills = trades.filter(pl.col("side") != 0)["volume"].sum()
    assert dense.columns["order_volume"].sum() == records["volume"].sum() + fills
    assert (dense.columns["order_volume"][0, -3:] > 0).all()  # 14:58, 14:59 and 15:00


def test_the_same_delivery_again_changes_nothing(slice_stores: tuple[Stores, IngestReport]) -> None:
    report = ingest([SLICE / "shanghai"], slice_stores[0])
    assert (report.changed, report.to_dict()["taken_before"]) == (0, 4)


def test_a_delivery_that_stops_early_has_no_whole_session(stores: Stores) -> None:
    report = ingest([SLICE / "shenzhen"], stores)
    assert set(report.quarantined) == {"FPM-IN-018"}
    assert (report.ticks["records"]["used"], report.ticks["records"]["set_aside"]) == (0, 5_794)
    assert not stores.sessions("minute_bars")


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the project's sample is not beside this checkout")
def test_the_bars_of_the_whole_sample_equal_those_beside_it(stores: Stores) -> None:
    report = ingest([SAMPLE], stores)
    assert report.ticks["reconciled"] == {"equal": 1, "untold": 4}  # snapshots of one session reach its close
    theirs = pl.read_parquet(SAMPLE / "bars_1min.parquet").filter(pl.col("source") == "trades")
    day = pl.col("datetime").dt.date()
    for (symbol, session), own in theirs.group_by("symbol", day, maintain_order=True):
        ours = bars(stores, session, symbol).filter(pl.col("volume") > 0)
        assert ours.height == own.height
        for name in ("open", "high", "low", "close", "volume", "amount", "trades", "buy_amount", "sell_volume"):
            np.testing.assert_allclose(ours[name].to_numpy(), own[name].to_numpy(), rtol=1.2e-7, err_msg=name)


def test_the_command_line_takes_ticks(
    tmp_path: Path, database_url: str, fpm_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    variables = {"FPM_HOME": str(tmp_path), "FPM_DATABASE_URL": database_url, "FPM_PRESET": "tiny"}
    process = fpm_command("ingest", str(SLICE / "shanghai"), "--ticks", "--market", "cn", "--json", **variables)
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert (report["profile"], report["rows_out"], report["ticks"]["reconciled"]) == ("l2_32", 3 * 242, {"equal": 3})


# --- downstream ---------------------------------------------------------------------------------------------------
def test_ticks_run_through_minute_features(tmp_path: Path, stores: Stores) -> None:
    days = [*previous_sessions(CN, date(2024, 3, 8), 4), date(2024, 3, 8)]
    for number, day in enumerate(days):
        tables = session_ticks(day, number)
        volume, price = tables["trades"]["volume"], tables["trades"]["price"]
        daily = pl.DataFrame(
            {
                "symbol": [SH],
                "session": [day],
                "open": [10.0],
                "high": [price.max()],
                "low": [price.min()],
                "close": [10.1],
                "volume": [float(volume.sum())],
                "amount": [(volume * price).sum()],
                "pre_close": [10.0],
                "limit_up": [11.0],
                "limit_down": [9.0],
            }
        )
        ingest([deliver(tmp_path / str(day), **tables, daily_bars=daily)], stores)
        run_job(session_totals, day, stores)
    outcome = run_job(minute_features, days[-1], stores)
    rows = stores.read("minute_features", days[-1])
    assert (outcome.status, rows.height) == ("published", 240)
    assert rows.select(FEATURES["l2_32"]).null_count().sum_horizontal().item() == 0


def test_ticks_that_disagree_with_the_daily_table_go_to_quarantine(tmp_path: Path, stores: Stores) -> None:
    day = date(2024, 3, 8)
    tables = session_ticks(day, 0)
    volume, price = tables["trades"]["volume"], tables["trades"]["price"]
    prices = {"open": [10.0], "high": [price.max()], "low": [price.min()], "close": [10.1], "pre_close": [10.0]}
    daily = pl.DataFrame({"symbol": [SH], "session": [day], **prices, "volume": [float(volume.sum() * 3)]})
    delivery = deliver(tmp_path / "delivery", **tables, daily_bars=daily.with_columns(amount=pl.col("volume") * 10))
    report = ingest([delivery], stores)
    assert set(report.quarantined) == {"FPM-IN-148"} and not stores.sessions("minute_bars")
