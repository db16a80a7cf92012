"""Every defect of a feed: it shows in the file, and the ingest refuses, quarantines or repairs it; the default is none.

The truth is the same exchange without the defect: accepted bars are a part of it, value by value.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fpm.errors import InputRefused
from fpm.exchange.days import Events
from fpm.exchange.defects import BY_FILE, BY_SYMBOL, Defects
from fpm.exchange.simulate import PRESETS, ExchangeConfig, simulate, write
from fpm.features.bars import grid
from fpm.ingest.deliveries import read_all
from fpm.ingest.vendor_bars import Combined, combine, read_bars
from fpm.sessions import market

CN = market("cn")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOTHING_HAPPENS = Events(split=0, halt=0, jump=0, delisting=0, listing=0, unlisted=0)
QUIET = ExchangeConfig(symbols=12, sessions=1, spoiled_every=0, events=NOTHING_HAPPENS, seed=5)


@dataclass(frozen=True)
class Outcome:
    """The outcome for a file with a defect: quarantined rows by code, removed copies, lost rows, or a refused file."""

    codes: tuple[str, ...] = ()
    copies: bool = False
    loses_rows: bool = False
    refused: str = ""


OUTCOMES = {
    "duplicated_rows": Outcome(copies=True),
    "conflicting_rows": Outcome(codes=("FPM-IN-015",), loses_rows=True),
    "missing_minutes": Outcome(loses_rows=True),
    "broken_off": Outcome(codes=("FPM-IN-018",), loses_rows=True),
    "late_symbols": Outcome(loses_rows=True),
    "wrong_prices": Outcome(codes=("FPM-IN-026",), loses_rows=True),
    "inverted_prices": Outcome(codes=("FPM-IN-021",), loses_rows=True),
    "negative_cells": Outcome(codes=("FPM-IN-022",), loses_rows=True),
    "empty_cells": Outcome(codes=("FPM-IN-024",), loses_rows=True),
    "infinite_cells": Outcome(codes=("FPM-IN-024",), loses_rows=True),
    "priced_at_zero": Outcome(codes=("FPM-IN-023",), loses_rows=True),
    "lunch_rows": Outcome(codes=("FPM-IN-029",)),
    "other_day_rows": Outcome(codes=("FPM-IN-027",)),
    "strange_codes": Outcome(codes=("FPM-IN-031",)),
    "start_stamped": Outcome(),
    "in_lots": Outcome(),
    "unordered": Outcome(),
    "spelled_otherwise": Outcome(),
    "extra_column": Outcome(),
    "other_zone": Outcome(refused="FPM-IN-011"),
    "without_volume": Outcome(refused="FPM-IN-006"),
    "volume_as_text": Outcome(refused="FPM-IN-008"),
    "truncated_file": Outcome(refused="FPM-IN-002"),
    "half_day": Outcome(codes=("FPM-IN-018",), loses_rows=True),
}
# Defects whose outcome does not concern rows; each has its own test below.
OTHERS = {"quoted_minutes", "stale_rows", "without_a_flow", "other_values", "late_file"}


def with_defect(name: str, rate: float = 1.0) -> ExchangeConfig:
    """A quiet exchange with one defect."""
    return replace(QUIET, defects=replace(Defects(), **{name: rate}))


def first_file(config: ExchangeConfig, folder: Path) -> Path:
    write(config, folder)
    return folder / "minute_bars" / f"{config.first}.parquet"


def accepted(path: Path) -> Combined:
    parsed, refused = read_all([path], CN, NOW, None)
    if refused:
        raise refused[0].refusal
    return combine(parsed, CN)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return first_file(QUIET, tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def truth(clean: Path) -> pl.DataFrame:
    return accepted(clean).frame.drop("row", "source")


def test_every_defect_has_a_stated_outcome_and_none_is_on_by_default() -> None:
    names = {field.name for field in fields(Defects)}
    assert names == set(OUTCOMES) | OTHERS == set(BY_FILE) | set(BY_SYMBOL) | {"stale_rows"}
    for config in PRESETS.values():
        assert not any(asdict(config.defects).values())


@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_a_defect_is_in_the_file_and_meets_its_outcome(
    name: str, tmp_path: Path, clean: Path, truth: pl.DataFrame
) -> None:
    path, expected = first_file(with_defect(name, 0.5 if name == "late_symbols" else 1.0), tmp_path), OUTCOMES[name]
    assert path.read_bytes() != clean.read_bytes()
    if expected.refused:
        with pytest.raises(InputRefused, match=expected.refused):
            read_bars(path, CN, NOW)
        return
    parsed = read_bars(path, CN, NOW)
    combined = combine([parsed], CN)
    assert (combined.deduplicated > 0) == expected.copies
    codes = Counter([*parsed.quarantined["reason_code"], *combined.quarantined["reason_code"]])
    assert tuple(codes) == expected.codes
    bars = combined.frame.drop("row", "source")
    assert (len(bars) < len(truth)) == expected.loses_rows
    remaining = truth.join(bars, on=["session", "symbol", "slot"], how="semi", maintain_order="left")
    assert_frame_equal(bars.select(truth.columns), remaining, rel_tol=1e-12, check_dtypes=False)


@pytest.mark.parametrize("name", sorted(BY_SYMBOL))
def test_a_rate_is_the_share_of_symbols_with_the_defect(name: str, tmp_path: Path) -> None:
    config = replace(with_defect(name, 0.4), symbols=60, sessions=3)
    plain = {tables.session: tables.minute_bars for tables in simulate(replace(config, defects=Defects()))}
    rows = 0
    for tables in simulate(config):
        symbols = plain[tables.session]["symbol"].unique()
        for symbol in symbols:
            mine = pl.col("symbol") == symbol
            rows += not tables.minute_bars.filter(mine).equals(plain[tables.session].filter(mine))
    if name != "strange_codes":  # its copies carry no known symbol
        assert 0.2 < rows / (60 * 3) < 0.6


def test_a_quote_in_an_untraded_minute_changes_no_computed_value(tmp_path: Path, clean: Path) -> None:
    bars, plain = (accepted(path).frame for path in (first_file(with_defect("quoted_minutes"), tmp_path), clean))
    still = plain["volume"] == 0
    assert (bars.filter(still)["close"] != plain.filter(still)["close"]).all() and still.sum() >= 24
    one, other = grid(bars, CN, "240"), grid(plain, CN, "240")
    for name, values in one.columns.items():
        assert (values == other.columns[name]).all(), name


def test_stale_rows_of_a_suspended_symbol_are_a_session_without_a_trade(tmp_path: Path) -> None:
    config = replace(with_defect("stale_rows"), events=replace(NOTHING_HAPPENS, halt=0.2))
    halted = next(iter(simulate(replace(config, defects=Defects())))).daily_bars.filter("suspended")
    assert len(halted) > 0
    bars = accepted(first_file(config, tmp_path)).frame
    for symbol, close in halted.select("symbol", "close").iter_rows():
        mine = bars.filter(pl.col("symbol") == symbol)
        assert len(mine) == 241 and mine["volume"].sum() == 0 and mine["close"].unique().to_list() == [close]
        assert not grid(bars, CN, "240", [symbol]).traded_ST.any()


def test_a_file_without_a_flow_has_no_column_for_it(tmp_path: Path, truth: pl.DataFrame) -> None:
    parsed = read_bars(first_file(with_defect("without_a_flow"), tmp_path), CN, NOW)
    assert "cancel_amount" not in parsed.frame.columns
    assert set(truth.columns) - set(parsed.frame.columns) == {"cancel_amount"}


def test_other_values_are_corrected(tmp_path: Path, truth: pl.DataFrame) -> None:
    path = first_file(with_defect("other_values"), tmp_path)
    first = accepted(path).frame
    assert (first["volume"] >= truth["volume"]).all() and first["volume"].sum() > 1.03 * truth["volume"].sum()
    again = accepted(tmp_path / "corrections" / "minute_bars" / path.name).frame.drop("row", "source")
    assert_frame_equal(again, truth)


def test_a_late_file_comes_with_the_corrections_only(tmp_path: Path, truth: pl.DataFrame) -> None:
    path = first_file(with_defect("late_file"), tmp_path)
    assert not path.exists()
    again = accepted(tmp_path / "corrections" / "minute_bars" / path.name).frame.drop("row", "source")
    assert_frame_equal(again, truth)


@pytest.mark.parametrize("name", sorted({*BY_FILE, *BY_SYMBOL} - {"quoted_minutes"}))
def test_spoiled_rows_are_delivered_again(name: str, tmp_path: Path, truth: pl.DataFrame) -> None:
    """The corrections, and the accepted rows without a correction, make the truth."""
    path = first_file(with_defect(name, 0.99), tmp_path)
    again = tmp_path / "corrections" / "minute_bars" / path.name
    paths = [again] if OUTCOMES.get(name, Outcome()).refused else [again, path]
    parts = [accepted(file).frame for file in paths if file.exists()]
    keys = ["session", "symbol", "slot"]
    both = pl.concat(parts, how="diagonal_relaxed").unique(keys, keep="first", maintain_order=True).sort(keys)
    ours = pl.col("symbol").is_in(truth["symbol"].to_list())
    assert_frame_equal(both.filter(ours).select(truth.columns), truth, rel_tol=1e-12, check_dtypes=False)


def test_a_defect_changes_nothing_else(tmp_path: Path) -> None:
    """One defect's random draws do not depend on other defects, and the truth depends on none."""
    some = Defects(duplicated_rows=0.3, missing_minutes=0.3)
    config = replace(QUIET, sessions=3, symbols=20)
    for alone, both, plain in zip(
        simulate(replace(config, defects=replace(some, duplicated_rows=0.0))),
        simulate(replace(config, defects=some)),
        simulate(config),
        strict=True,
    ):
        assert (
            both.minute_bars.unique(["symbol", "minute"])
            .sort("symbol", "minute")
            .equals(alone.minute_bars.sort("symbol", "minute"))
        )
        assert_frame_equal(both.daily_bars, plain.daily_bars)
        assert_frame_equal(both.styles, plain.styles)


def test_an_exchange_can_have_no_event_at_all() -> None:
    daily = pl.concat([tables.daily_bars for tables in simulate(replace(QUIET, sessions=30))])
    assert len(daily) == 12 * 30 and not daily["suspended"].any() and not daily["st"].any()
    assert daily["delist_date"].null_count() == len(daily) and daily["adj_factor"].unique().to_list() == [1.0]
    assert daily["limit_up"].null_count() == 0 and (daily["list_date"] < QUIET.first).all()


@pytest.mark.parametrize("event", ["split", "halt", "jump", "delisting", "listing"])
def test_each_event_is_switched_on_alone(event: str) -> None:
    often = {"split": 0.05, "halt": 0.05, "jump": 0.2, "delisting": 0.05, "listing": 0.2}[event]
    events = replace(NOTHING_HAPPENS, **{event: often}, **({"unlisted": 0.3} if event == "listing" else {}))
    history = list(simulate(replace(QUIET, sessions=30, events=events)))
    daily = pl.concat([tables.daily_bars for tables in history])
    locked = pl.concat(
        [
            tables.minute_bars.join(tables.daily_bars.select("symbol", "limit_up", "limit_down"), on="symbol").filter(
                (pl.col("low") == pl.col("limit_up")) | (pl.col("high") == pl.col("limit_down"))
            )
            for tables in history
        ]
    )
    happened = {
        "split": daily["adj_factor"].max() != 1.0,
        "halt": daily["suspended"].any(),
        "jump": len(locked) > 100,
        "delisting": daily["delist_date"].is_not_null().any(),
        "listing": (daily["list_date"] > QUIET.first).any(),
    }
    others = [name for name in happened if name not in (event, "jump")]
    assert happened[event] and not any(happened[name] for name in others)
