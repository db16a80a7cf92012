"""The synthetic exchange: rules of a real exchange, the oracle's RankIC, corrections, files and determinism."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import spearmanr

from fpm.errors import UsageError
from fpm.exchange.days import draw_universe
from fpm.exchange.simulate import ORACLE, PRESETS, ExchangeConfig, simulate, write
from fpm.exchange.styles import StyleMix
from fpm.exchange.tables import SessionTables
from fpm.ingest.deliveries import find
from fpm.schema import INDICES
from fpm.sessions import cut_off, market
from fpm.symbols import normalise

TINY = PRESETS["tiny"]
WIDE = ExchangeConfig(symbols=100, sessions=90, spoiled_every=0)
SOURCES = ("intraday", "daily", "combined")


@pytest.fixture(scope="module")
def tiny() -> list[SessionTables]:
    return list(simulate(TINY))


@pytest.fixture(scope="module")
def wide() -> list[SessionTables]:
    return list(simulate(WIDE))


@pytest.fixture(scope="module")
def silent() -> list[SessionTables]:
    return list(simulate(replace(WIDE, signal=False)))


def together(history: list[SessionTables], table: str) -> pl.DataFrame:
    frames: list[pl.DataFrame] = [getattr(tables, table) for tables in history]
    return pl.concat(frames)


def true_bars(tables: SessionTables) -> pl.DataFrame:
    """The session's bars with the corrections in place of the first copy."""
    if tables.correction is None:
        return tables.minute_bars
    again = tables.correction.minute_bars
    rest = tables.minute_bars.filter(~pl.col("symbol").is_in(again["symbol"].unique().to_list()))
    return pl.concat([rest, again]).sort("symbol", "minute")


# --- days -----------------------------------------------------------------------------------------


def test_daily_bars_are_the_minutes_of_the_day(tiny: list[SessionTables]) -> None:
    for tables in tiny[::5]:
        from_minutes = (
            true_bars(tables)
            .group_by("symbol", maintain_order=True)
            .agg(
                pl.col("open").first(),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").last(),
                pl.col("volume", "amount").sum(),
            )
        )
        daily = tables.daily_bars.filter(~pl.col("suspended"))
        assert_frame_equal(daily.select(from_minutes.columns), from_minutes, rel_tol=1e-12)


def test_every_event_of_an_exchange_happens(tiny: list[SessionTables]) -> None:
    daily = together(tiny, "daily_bars").sort("symbol", "session")
    assert daily["suspended"].any() and daily["st"].any() and daily["delist_date"].is_not_null().any()
    assert (daily["close"] == daily["limit_up"]).any() and (daily["close"] == daily["limit_down"]).any()
    assert (daily["list_date"] > TINY.first).any()
    splits = daily.filter((pl.col("adj_factor") / pl.col("adj_factor").shift(1)).over("symbol") > 1.0)
    assert len(splits) > 0


def test_reference_price_times_adjustment_is_yesterdays_close(tiny: list[SessionTables]) -> None:
    daily = together(tiny, "daily_bars").sort("symbol", "session")
    before = (pl.col("close") * pl.col("adj_factor")).shift(1).over("symbol")
    off = daily.select((pl.col("pre_close") - before / pl.col("adj_factor")).abs().max()).item()
    assert off <= 0.005 + 1e-9  # half a tick of rounding at a split
    shares = daily.select((pl.col("total_shares") / pl.col("adj_factor")).std().over("symbol").max()).item()
    assert shares < 1.0


def test_prices_stay_within_ten_percent_or_five_or_free(tiny: list[SessionTables]) -> None:
    daily = together(tiny, "daily_bars")
    rate = pl.when("st").then(0.05).otherwise(0.10)
    bound = daily.filter(pl.col("limit_up").is_not_null())
    assert (bound["high"] <= bound["limit_up"]).all() and (bound["low"] >= bound["limit_down"]).all()
    assert bound.select((pl.col("limit_up") - pl.col("pre_close") * (1 + rate)).abs().max()).item() <= 0.005 + 1e-9
    free = daily.filter(pl.col("limit_up").is_null())
    assert (free.group_by("symbol").len()["len"] <= 5).all()
    assert ((free["session"] - free["list_date"]).dt.total_days() < 20).all()


def test_locked_minutes_stay_and_only_sellers_take_at_the_upper_limit(wide: list[SessionTables]) -> None:
    locked = 0
    for tables in wide:
        up = tables.daily_bars.select("symbol", "limit_up")
        bars = tables.minute_bars.join(up, on="symbol").filter(
            (pl.col("low") == pl.col("limit_up")) & (pl.col("volume") > 0)
        )
        locked += len(bars)
        assert (bars["buy_volume"] == 0).all()
    assert locked > 50


def test_suspended_symbols_have_a_daily_row_and_no_minutes(tiny: list[SessionTables]) -> None:
    for tables in tiny:
        halted = tables.daily_bars.filter("suspended")
        assert not set(halted["symbol"]) & set(tables.minute_bars["symbol"])
        assert (halted["volume"] == 0).all() and (halted["close"] == halted["pre_close"]).all()


def test_a_delisting_is_announced_ten_sessions_ahead_and_happens(tiny: list[SessionTables]) -> None:
    daily = together(tiny, "daily_bars")
    announced = daily.filter(pl.col("delist_date").is_not_null() & (pl.col("delist_date") <= tiny[-1].session))
    assert len(announced) > 0
    for (symbol,), rows in announced.group_by("symbol"):
        assert rows["delist_date"].n_unique() == 1 and len(rows) == 11
        sessions = [tables.session for tables in tiny]
        assert sessions[sessions.index(rows["session"].sort()[-1]) + 1] == rows["delist_date"][0]
        assert daily.filter((pl.col("symbol") == symbol) & (pl.col("session") >= rows["delist_date"][0])).is_empty()


def test_index_snapshots_open_each_week_and_weights_sum_to_one(tiny: list[SessionTables]) -> None:
    for before, tables in pairwise(tiny):
        new_week = tables.session.isocalendar().week != before.session.isocalendar().week
        assert new_week == (len(tables.index_members) > 0)
    members = together(tiny, "index_members")
    assert set(members["index"]) == set(INDICES)
    totals = members.group_by("index", "session").agg(pl.col("weight").sum())["weight"]
    assert np.allclose(totals.to_numpy(), 1.0)
    assert not members.select("session", "symbol").is_duplicated().any()


# --- late and wrong deliveries --------------------------------------------------------------------


def test_corrections_repair_the_first_copy(tiny: list[SessionTables]) -> None:
    spoiled = [tables for tables in tiny if tables.correction is not None]
    assert len(spoiled) >= 3
    kinds = set()
    for tables in spoiled:
        assert tables.correction is not None
        assert tables.correction.known_at > cut_off(market("cn"), tables.session)
        again = tables.correction.minute_bars
        first = tables.minute_bars.filter(pl.col("symbol").is_in(again["symbol"].unique().to_list()))
        kinds.add("late" if len(first) < len(again) else "wrong")
        both = first.join(again, on=["symbol", "minute"], suffix="_true")
        ratio = (both["volume"] / both["volume_true"]).drop_nans().unique().sort().to_list()
        assert ratio == ([1.0] if len(first) < len(again) else [1.0, 2.0])
    assert kinds == {"late", "wrong"}


# --- the oracle -----------------------------------------------------------------------------------


def oracle_rank_ic(history: list[SessionTables]) -> dict[str, np.ndarray]:
    """RankIC of each oracle against close(t+6) / close(t+1) - 1 of adjusted prices, by session."""
    close = {
        tables.session: dict(tables.daily_bars.select("symbol", pl.col("close") * pl.col("adj_factor")).iter_rows())
        for tables in history
    }
    sessions = [tables.session for tables in history]
    series: dict[str, list[float]] = {name: [] for name in SOURCES}
    for t, tables in enumerate(history[10:-6], start=10):
        start, end = close[sessions[t + 1]], close[sessions[t + 6]]
        rows = tables.oracle.filter(pl.col("symbol").is_in(list(start.keys() & end.keys())))
        label = [end[symbol] / start[symbol] - 1.0 for symbol in rows["symbol"]]
        for name in SOURCES:
            series[name].append(float(spearmanr(rows[name].to_numpy(), label)[0]))
    return {name: np.array(values) for name, values in series.items()}


def standard_error(series: np.ndarray) -> float:
    """Standard error of a mean of overlapping five-session labels: one value in five is independent."""
    return float(series.std() / np.sqrt(len(series) / 5))


def test_the_oracle_has_its_stated_rank_ic(wide: list[SessionTables]) -> None:
    series = oracle_rank_ic(wide)
    for name, stated in (("intraday", 0.30), ("daily", 0.18), ("combined", 0.36)):
        assert abs(series[name].mean() - stated) < 3.0 * standard_error(series[name]) + 0.01, name
    assert series["combined"].mean() > series["intraday"].mean() > series["daily"].mean()


def test_without_signal_the_oracle_has_no_rank_ic(wide: list[SessionTables], silent: list[SessionTables]) -> None:
    assert_frame_equal(together(wide, "styles"), together(silent, "styles"))
    for name, series in oracle_rank_ic(silent).items():
        assert abs(series.mean()) < 3.0 * standard_error(series), name


def test_the_intraday_oracle_is_the_remainder_of_the_last_five_drivers(wide: list[SessionTables]) -> None:
    """Weights 1, 4/5, .. 1/5 over t, t-1, .. t-4 of the styles, times a constant of the symbol."""
    mix = WIDE.impact.styles
    assert isinstance(mix, StyleMix)
    symbol = wide[0].oracle["symbol"][0]
    driver, expected = [], []
    for tables in wide:
        row = tables.styles.filter(pl.col("symbol") == symbol)
        driver.append(mix.volume_timing * row["volume_timing"][0] + mix.co_movement * row["co_movement"][0])
        expected.append(tables.oracle.filter(pl.col("symbol") == symbol)["intraday"][0])
    by_hand = [sum(driver[t - j] * (5 - j) / 5 for j in range(5)) for t in range(4, len(wide))]
    ratio = np.array(expected[4:]) / np.array(by_hand)
    assert np.allclose(ratio, ratio[0]) and ratio[0] > 0


# --- determinism and files ------------------------------------------------------------------------


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_session_does_not_depend_on_the_number_of_sessions(tiny: list[SessionTables]) -> None:
    for short, long in zip(simulate(replace(TINY, sessions=9)), tiny, strict=False):
        for table in ("minute_bars", "daily_bars", "index_members", "oracle", "styles"):
            assert_frame_equal(getattr(short, table), getattr(long, table), check_exact=True)


def test_same_config_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    config = replace(TINY, sessions=6)
    write(config, tmp_path / "one")
    write(config, tmp_path / "two")
    write(replace(config, seed=1), tmp_path / "other")
    write(replace(config, sessions=4), tmp_path / "shorter")
    one, shorter = digests(tmp_path / "one"), digests(tmp_path / "shorter")
    assert one == digests(tmp_path / "two")
    minutes = {name for name in shorter if name.startswith("minute_bars/")}
    assert len(minutes) == 4 and all(one[name] == shorter[name] for name in minutes)
    assert not set(one.values()) & set(digests(tmp_path / "other").values()) - {one["corrections/known_at.json"]}


def test_an_interrupted_run_is_completed_with_the_same_bytes(tmp_path: Path) -> None:
    config = replace(TINY, sessions=7)
    write(config, tmp_path / "whole")

    def stop_at_four(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(config, tmp_path / "broken", stop_at_four)
    (tmp_path / "broken" / ".daily_bars.parquet.unfinished").write_bytes(b"half a file")
    progress: list[tuple[int, int]] = []
    write(config, tmp_path / "broken", lambda done, total: progress.append((done, total)))
    assert digests(tmp_path / "whole") == digests(tmp_path / "broken")
    assert progress == [(i, 7) for i in range(1, 8)]
    write(config, tmp_path / "broken", lambda done, total: pytest.fail("a complete folder is left alone"))


def test_a_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match="FPM-SIM-002"):
        write(replace(TINY, sessions=1), tmp_path / "mine")
    write(replace(TINY, sessions=1), tmp_path / "other")
    with pytest.raises(UsageError, match="FPM-SIM-002"):
        write(replace(TINY, sessions=2), tmp_path / "other")


def test_files_follow_the_input_contract(tmp_path: Path) -> None:
    config = replace(TINY, sessions=16)
    write(config, tmp_path)
    minutes = sorted((tmp_path / "minute_bars").glob("*.parquet"))
    assert len(minutes) == 16
    schema = pl.read_parquet_schema(minutes[0])
    assert schema["minute"] == pl.Datetime("us") and minutes[0].stem == "2024-01-02"
    for table in ("daily_bars", "index_members", "answers/oracle"):
        assert pl.read_parquet_schema(tmp_path / f"{table}.parquet")["session"] == pl.Date
    assert pl.read_parquet(tmp_path / ORACLE).columns == ["symbol", "session", *SOURCES]
    delivery = find([tmp_path])
    assert sorted(delivery.bars) == minutes and not delivery.refused
    assert [path.name for path in (*delivery.daily, *delivery.members)] == [
        "daily_bars.parquet",
        "index_members.parquet",
    ]
    known_at = json.loads((tmp_path / "corrections" / "known_at.json").read_bytes())
    for name, moment in known_at.items():
        assert (tmp_path / "corrections" / name).exists()
        assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)
    assert len(known_at) == 2


def test_impossible_exchanges_are_refused() -> None:
    for config in (replace(TINY, symbols=2), replace(TINY, sessions=0)):
        with pytest.raises(UsageError, match="FPM-SIM-001"):
            next(iter(simulate(config)))


def test_every_code_of_a_whole_market_is_a_stocks() -> None:
    """Read as the ingest reads them: no index, no fund, none twice."""
    names = draw_universe(5_300, 7).symbols
    assert len(set(names)) == 5_300
    assert [normalise(name, market("cn")).symbol for name in names] == list(names)
