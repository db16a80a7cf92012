"""Minutes of symbols that no reference data knows: named, in quarantine, and in once the same file comes again."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.ingest.ingest_report import IngestReport
from fpm.store.ledger.stores import Stores
from fpm.universe import Finding
from producers.bars import Arrival, ingest
from producers.delivery_check import Home, check
from producers.listings import Listings
from tests.producers.test_daily_tables import table
from tests.tape import FIRST, SYMBOLS, tape, write

NEXT = date(2026, 1, 6)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAMES = sorted(SYMBOLS["cn"])
NEW = "600000.SH"
ROWS = 241


def silent(done: int, total: int, item: object) -> None:
    """No progress is shown."""


def take(stores: Stores, *paths: Path) -> IngestReport:
    report = ingest(paths, Arrival(NOW, NOW), stores, silent)
    assert report.rows_in == report.rows_out + sum(report.quarantined.values()) + report.deduplicated
    return report


def minutes(folder: Path, day: date = FIRST) -> Path:
    return write(tape("cn", day), folder / f"{day}.parquet")


def daily(folder: Path, rows: pl.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write(rows, folder / "daily_bars.parquet")


def stored(stores: Stores, day: date = FIRST, name: str = "minute_bars") -> list[str]:
    return sorted(set(stores.read(name, day)["symbol"].to_list()))


def said(report: IngestReport, code: str) -> list[tuple[date, tuple[str, ...]]]:
    return [(finding.session, finding.symbols) for finding in report.universe if finding.code == code]


def without(*sessions: date) -> pl.DataFrame:
    return table(*sessions).filter(pl.col("symbol") != NEW)


def test_an_unknown_listing_waits_and_enters_with_its_daily_row(tmp_path: Path, stores: Stores) -> None:
    bars = minutes(tmp_path)
    report = take(stores, bars, daily(tmp_path, without(FIRST)))
    assert report.quarantined == {"FPM-IN-181": ROWS}
    assert said(report, "FPM-IN-181") == [(FIRST, (NEW,))]
    assert stored(stores) == [name for name in NAMES if name != NEW]
    (file,) = (stores.settings.quarantine / "minute_bars" / f"session={FIRST}").glob("*.parquet")
    assert NEW in pl.read_parquet(file)["reason"][0]
    again = take(stores, bars)
    assert not again.skipped and said(again, "FPM-IN-181") == [(FIRST, (NEW,))], "it is judged again, and still unknown"
    own = table(FIRST).filter(pl.col("symbol") == NEW)
    take(stores, daily(tmp_path / "later", own))
    entered = take(stores, bars)
    assert not entered.quarantined and not entered.universe and entered.changed == 1
    assert stored(stores) == stored(stores, name="daily_bars") == NAMES
    assert take(stores, bars).skipped == [bars.name], "nothing waits any more"


def test_a_row_of_symbols_is_reference_data_too(tmp_path: Path, stores: Stores) -> None:
    bars = minutes(tmp_path)
    take(stores, bars, daily(tmp_path, without(FIRST)))
    names = tmp_path / "symbols.csv"
    rows = "".join(f"{name},2020-01-02,,{name}\n" for name in NAMES)
    names.write_text(f"symbol,first,last,identity\n{rows}", encoding="utf-8")
    report = take(stores, bars, names)
    assert not report.quarantined and stored(stores) == NAMES
    assert said(report, "FPM-IN-182") == [(FIRST, (NEW,))], "it has no daily row still"


def test_a_known_stock_without_a_daily_row_is_kept_and_named(tmp_path: Path, stores: Stores) -> None:
    rows = pl.concat([table(FIRST), without(NEXT)])
    report = take(stores, minutes(tmp_path), minutes(tmp_path, NEXT), daily(tmp_path, rows))
    assert not report.quarantined and stored(stores, NEXT) == NAMES
    assert said(report, "FPM-IN-182") == [(NEXT, (NEW,))]


@pytest.mark.parametrize("with_row", [True, False])
def test_a_delisted_stock_that_still_trades_is_kept_and_named(with_row: bool, tmp_path: Path, stores: Stores) -> None:
    rows = pl.concat([table(FIRST), table(NEXT) if with_row else without(NEXT)])
    last_day = pl.when(pl.col("symbol") == NEW).then(pl.lit(FIRST)).alias("delist_date")
    report = take(stores, minutes(tmp_path), minutes(tmp_path, NEXT), daily(tmp_path, rows.with_columns(last_day)))
    assert not report.quarantined and stored(stores, NEXT) == NAMES
    assert [(each.code, each.session, each.symbols) for each in report.universe] == [("FPM-IN-183", NEXT, (NEW,))]
    kept = stores.read("daily_bars", FIRST).filter(pl.col("symbol") == NEW)
    assert kept["delist_date"].to_list() == [FIRST]


def test_minutes_before_any_daily_row_of_their_session_are_stored_and_named_when_it_comes(
    tmp_path: Path, stores: Stores
) -> None:
    take(stores, minutes(tmp_path), daily(tmp_path, table(FIRST)))
    report = take(stores, minutes(tmp_path, NEXT))
    assert not report.quarantined and not report.universe and stored(stores, NEXT) == NAMES
    late = take(stores, daily(tmp_path / "later", without(NEXT)))
    assert said(late, "FPM-IN-182") == [(NEXT, (NEW,))] and stored(stores, NEXT) == NAMES


def test_a_home_of_minutes_alone_judges_nobody(tmp_path: Path, stores: Stores) -> None:
    take(stores, write(tape("cn").filter(pl.col("symbol") != NEW), tmp_path / "few.parquet"))
    report = take(stores, minutes(tmp_path))
    assert not report.quarantined and not report.universe and stored(stores) == NAMES


def test_a_check_says_it_before(tmp_path: Path, stores: Stores) -> None:
    paths = [minutes(tmp_path), daily(tmp_path, without(FIRST))]
    for home in (Home(stores.market), Home(stores.market, stores)):
        answer = check(paths, Arrival(NOW, NOW), home, silent).to_dict()
        assert answer["quarantined"] == {"FPM-IN-181": ROWS}
    assert take(stores, *paths).quarantined == answer["quarantined"]


# --- the rule alone -------------------------------------------------------------------------------------------------
DAYS = [date(2026, 1, day) for day in (5, 6, 7)]
PAIRS = st.sets(st.tuples(st.sampled_from(DAYS), st.sampled_from("ABCDE")))


@settings(deadline=None)  # a busy machine is not the rule's fault
@given(PAIRS, PAIRS, st.sets(st.sampled_from("ABCDE")))
def test_strangers_are_those_without_any_daily_row_in_sessions_that_have_some(
    bars: set[tuple[date, str]], rows: set[tuple[date, str]], named: set[str]
) -> None:
    expected = {
        (day, symbol)
        for day, symbol in bars
        if any(session == day for session, _ in rows)
        and not any(other == symbol for _, other in rows)
        and symbol not in named
    }
    frame = pl.DataFrame(sorted(bars), schema={"session": pl.Date, "symbol": pl.String}, orient="row")
    delivered = {day: frozenset(symbol for session, symbol in rows if session == day) for day, _ in rows}
    listings = Listings(delivered, named=frozenset(named))
    assert set(listings.strangers(frame).iter_rows()) == expected
    found = {(each.session, symbol) for each in listings.findings for symbol in each.symbols}
    assert found == expected and all(isinstance(each, Finding) for each in listings.findings)
