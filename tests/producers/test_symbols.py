"""The table `symbols` from a delivery to factors and labels: renames carry their history, from when they are known.

Facebook becomes META at the thirteenth session; a fund had that ticker until the ninth.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fpm.ingest.ingest_report import IngestReport
from fpm.sessions import cut_off, market, sessions_between
from fpm.store.jobs.inputs import inputs_of
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import Settings
from producers import daily_factors, labels
from producers.bars import Arrival, ingest
from producers.previous_closes import previous_closes

US = market("us")
SESSIONS = sessions_between(US, date(2022, 5, 20), date(2022, 6, 30))
FUND_ENDS, RENAME = SESSIONS[8], SESSIONS[12]
LAST = SESSIONS[22]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
RENAMED = [("FB", date(2012, 5, 18), SESSIONS[11], "facebook"), ("META", RENAME, None, "facebook")]
EARLIER = [("FB", date(2012, 5, 18), None, "facebook")]


def close_of(symbol: str, number: int) -> float | None:
    """Facebook's closes are 100, 101, ...; the fund's 10, 11, ...; those of another stock 50, 51, ..."""
    if symbol == "FB":
        return 100.0 + number if number < 12 else None
    if symbol == "META":
        return 100.0 + number if number >= 12 else 10.0 + number if number <= 8 else None
    return 50.0 + number


def daily_bars() -> pl.DataFrame:
    cells = [(day, name, close_of(name, i)) for i, day in enumerate(SESSIONS) for name in ("FB", "META", "T")]
    frame = pl.DataFrame(cells, schema=["session", "symbol", "close"], orient="row").drop_nulls()
    price = pl.col("close")
    return frame.with_columns(open=price, high=price, low=price, volume=pl.lit(100.0), amount=price * 100)


def snapshot(rows: list[tuple[str, date, date | None, str]], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema=["symbol", "first", "last", "identity"], orient="row").write_csv(path)
    return path


def take(path: Path, stores: Stores, known_at: datetime = NOW, *, stated: bool = False) -> IngestReport:
    arrival = Arrival(known_at, NOW, known_at_stated=stated)
    return ingest([path], arrival, stores, lambda done, total, item: None)


def factor(
    stores: Stores, name: str, session: date = LAST, known_at: datetime | None = None
) -> dict[str, float | None]:
    rows = stores.as_of(known_at).read("daily_factors", session, columns=["symbol", name])
    return {symbol: value and round(value, 5) for _, symbol, value in rows.rows()}


def identities(stores: Stores, known_at: datetime | None = None) -> list[tuple[str, date, date | None, str]]:
    return [(symbol, first, last, who) for symbol, first, last, who in stores.as_of(known_at).identities().rows()]


@pytest.fixture
def us(tmp_path: Path, settings: Settings) -> Iterator[Stores]:
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    folder = tmp_path / "raw"
    folder.mkdir()
    daily_bars().write_parquet(folder / "daily_bars.parquet")
    take(folder, stores)
    yield stores
    stores.ledger.close()


NAMED = [(f"{symbol}.US", first, last, who) for symbol, first, last, who in RENAMED]


def test_a_renamed_company_has_its_own_factors(tmp_path: Path, us: Stores) -> None:
    report = take(snapshot(RENAMED, tmp_path / "symbols.csv"), us)
    assert report.reference["symbols"] == {"rows_in": 2, "rows_out": 2, "quarantined": 0}
    run_job(daily_factors, LAST, us)
    assert factor(us, "return_20") == {"META.US": round(122 / 102 - 1, 5), "T.US": round(72 / 52 - 1, 5)}
    run_job(daily_factors, RENAME, us)
    assert factor(us, "return_1", RENAME)["META.US"] == round(112 / 111 - 1, 5)


def test_without_the_table_a_reused_ticker_takes_the_other_companys_prices(us: Stores) -> None:
    """What the table is for: 122 of Facebook over 12 of the fund."""
    run_job(daily_factors, LAST, us)
    assert factor(us, "return_20")["META.US"] == round(122 / 12 - 1, 5)


def test_labels_follow_a_company_through_its_rename(tmp_path: Path, us: Stores) -> None:
    run_job(labels, SESSIONS[8], us)
    assert "FB.US" not in us.read("labels", SESSIONS[8])["symbol"].to_list()
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us)
    run_job(labels, SESSIONS[8], us)
    stored = dict(us.read("labels", SESSIONS[8], columns=["symbol", "label"]).drop("session").rows())
    assert stored["FB.US"] == pytest.approx(114 / 109 - 1)
    assert set(stored) == {"FB.US", "T.US"}, "the fund's ticker goes on without it"


def test_the_previous_close_is_the_companys(tmp_path: Path, us: Stores) -> None:
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us)
    closes = dict(previous_closes(RENAME, us, None).select("symbol", "close").rows())
    assert closes == {"META.US": 111.0, "T.US": 61.0}


def test_a_table_without_a_word_about_the_window_changes_no_digest(tmp_path: Path, us: Stores) -> None:
    before = inputs_of(daily_factors, LAST, us)
    take(snapshot([("OLD", date(2001, 1, 1), date(2005, 1, 3), "old"), *EARLIER], tmp_path / "symbols.csv"), us)
    assert us.sessions("symbols") and inputs_of(daily_factors, LAST, us) == before


def test_a_changed_table_computes_again_what_it_means_and_no_more(tmp_path: Path, us: Stores) -> None:
    take(snapshot(EARLIER, tmp_path / "symbols.csv"), us)
    for session in (SESSIONS[10], LAST):
        run_job(daily_factors, session, us)
    take(snapshot(RENAMED, tmp_path / "later" / "symbols.csv"), us)
    assert run_job(daily_factors, SESSIONS[10], us).status == "unchanged"
    assert run_job(daily_factors, LAST, us).status == "published"
    assert run_job(daily_factors, LAST, us).status == "unchanged"


def test_a_rename_is_used_from_when_it_is_known(tmp_path: Path, us: Stores) -> None:
    """The night of the last session did not know the rename; it is learnt three days later."""
    learnt = cut_off(US, LAST) + timedelta(days=3)
    take(snapshot(EARLIER, tmp_path / "symbols.csv"), us)
    run_job(daily_factors, LAST, us)
    former = us.as_of(cut_off(US, LAST)).read("daily_factors", LAST)
    take(snapshot(RENAMED, tmp_path / "later" / "symbols.csv"), us, learnt)
    run_job(daily_factors, LAST, us)
    for moment in (cut_off(US, LAST), learnt - timedelta(microseconds=1)):
        assert us.as_of(moment).read("daily_factors", LAST).equals(former)
        assert identities(us, moment) == [("FB.US", date(2012, 5, 18), None, "facebook")]
    assert factor(us, "return_20", known_at=learnt)["META.US"] == round(122 / 102 - 1, 5)
    assert identities(us, learnt) == NAMED


def test_rows_that_a_table_withdraws_are_withdrawn(tmp_path: Path, us: Stores) -> None:
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us)
    run_job(daily_factors, LAST, us)
    take(snapshot([("T", date(1984, 1, 1), None, "att")], tmp_path / "again" / "symbols.csv"), us)
    run_job(daily_factors, LAST, us)
    assert factor(us, "return_20")["META.US"] == round(122 / 12 - 1, 5)
    assert factor(us, "return_20", known_at=cut_off(US, LAST))["META.US"] == round(122 / 102 - 1, 5)


def test_a_first_table_in_bulk_is_known_from_its_first_day(tmp_path: Path, us: Stores) -> None:
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us)
    assert us.sessions("symbols") == [date(2012, 5, 18)]
    assert identities(us, cut_off(US, date(2012, 5, 18))) == NAMED
    assert identities(us, cut_off(US, date(2012, 5, 17))) == []


def test_a_table_of_a_home_that_publishes_is_known_from_its_arrival(tmp_path: Path, us: Stores) -> None:
    us.ledger.publish(us.ledger.begin("publish", SESSIONS[2].isoformat(), ""), ())
    arrival = cut_off(US, LAST) + timedelta(hours=3)
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us, arrival)
    assert us.sessions("symbols") == [LAST]
    assert identities(us, arrival - timedelta(microseconds=1)) == [] and identities(us, arrival) == NAMED


def test_a_stated_moment_counts(tmp_path: Path, us: Stores) -> None:
    stated = cut_off(US, SESSIONS[20]) + timedelta(minutes=1)
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us, stated, stated=True)
    assert identities(us, stated - timedelta(microseconds=1)) == [] and identities(us, stated) == NAMED


def test_dated_snapshots_are_known_from_their_cut_off(tmp_path: Path, us: Stores) -> None:
    dated = [(RENAME, *EARLIER[0]), (LAST, *RENAMED[0]), (LAST, *RENAMED[1])]
    pl.DataFrame(dated, schema=["session", "symbol", "first", "last", "identity"], orient="row").write_parquet(
        tmp_path / "symbols.parquet"
    )
    take(tmp_path / "symbols.parquet", us)
    assert identities(us, cut_off(US, RENAME)) == [("FB.US", date(2012, 5, 18), None, "facebook")]
    assert identities(us, cut_off(US, LAST)) == NAMED


def test_the_same_table_again_is_no_news(tmp_path: Path, us: Stores) -> None:
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us)
    before = us.ledger.current(["symbols"])
    take(snapshot(RENAMED[::-1], tmp_path / "again" / "symbols.csv"), us)
    assert us.ledger.current(["symbols"]) == before
    assert take(tmp_path / "again" / "symbols.csv", us).skipped == ["symbols.csv"]


def test_exports_and_raw_reads_keep_symbols_as_delivered(tmp_path: Path, us: Stores) -> None:
    before = us.read("daily_bars", SESSIONS[0], LAST)
    take(snapshot(RENAMED, tmp_path / "symbols.csv"), us)
    assert us.read("daily_bars", SESSIONS[0], LAST).equals(before)
    assert us.named(LAST).as_delivered().read("daily_bars", SESSIONS[0], LAST).equals(before)
    named = us.named(LAST).read("daily_bars", SESSIONS[0], LAST, columns=["symbol", "close"])
    meta = named.filter(pl.col("symbol") == "META.US")["close"].to_list()
    assert meta == [100.0 + number for number in range(23)]


def test_a_renamed_symbol_is_not_missing(tmp_path: Path, settings: Settings) -> None:
    """Only the fund is, whose end nobody explains."""
    folder = snapshot(RENAMED, tmp_path / "raw" / "symbols.csv").parent
    daily_bars().write_parquet(folder / "daily_bars.parquet")
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    report = take(folder, stores)
    stores.ledger.close()
    assert [(each.session, each.code, each.symbols) for each in report.universe] == [
        (SESSIONS[9], "FPM-IN-180", ("META.US",))
    ]
