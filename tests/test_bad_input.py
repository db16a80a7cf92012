"""The corpus of bad input: each case has its code, its outcome, its quarantine, and rows that balance.

Every case is delivered beside a good file, which must go in all the same; nothing half-written may be visible.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from fpm.errors import InputRefused
from fpm.ingest.ingest_report import IngestReport
from fpm.store.lake.files import sha256_of
from fpm.store.ledger.stores import Stores
from producers.bars import Arrival, ingest
from tests.tape import FIRST, by_start, moved, tape, write

GOOD = date(2026, 1, 6)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROWS = 3 * 241  # three symbols, 241 vendor rows each
Change = Callable[[pl.DataFrame], pl.DataFrame]


def take(paths: list[Path], stores: Stores) -> IngestReport:
    report = ingest(paths, Arrival(NOW, NOW), stores, lambda done, total, what: None)
    assert report.rows_in == report.rows_out + sum(report.quarantined.values()) + report.deduplicated
    _nothing_half_written(stores)
    return report


def _nothing_half_written(stores: Stores) -> None:
    """Every visible file is the ledger's, staging is empty."""
    partitions = stores.ledger.current(["minute_bars", "daily_bars", "index_members"])
    visible = {str(path.relative_to(stores.lake.root)): path for path in stores.lake.root.rglob("*") if path.is_file()}
    assert {path: sha256_of(file) for path, file in visible.items()} == {
        path: file.sha256 for path, file in partitions.items()
    }
    assert not [path for path in stores.lake.staging.rglob("*") if path.is_file()]


def local(text: str) -> datetime:
    """A minute as vendors write it: naive, exchange-local."""
    return datetime.fromisoformat(text)


def good(folder: Path) -> Path:
    return write(tape("cn", GOOD), folder / f"{GOOD}.parquet")


def quarantined(stores: Stores, session: str = str(FIRST)) -> pl.DataFrame:
    files = sorted((stores.settings.quarantine / "minute_bars" / f"session={session}").glob("*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files])


def at(frame: pl.DataFrame, row: int, **cells: object) -> pl.DataFrame:
    """The frame with some cells of one row replaced."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(pl.when(here).then(pl.lit(v)).otherwise(pl.col(k)).alias(k) for k, v in cells.items())


# --- files refused whole ----------------------------------------------------------------------------------------
def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def truncated(path: Path) -> Path:
    path.write_bytes(write(tape("cn"), path).read_bytes()[:-100])
    return path


def damaged_footer(path: Path) -> Path:
    content = bytearray(write(tape("cn"), path).read_bytes())
    content[-40:-8] = b"\xff" * 32
    path.write_bytes(content)
    return path


def unlike_its_sum(path: Path) -> Path:
    """RELIABILITY 3: one bit of a page is another one, and the file still decodes."""
    text = write(tape("cn"), path.with_suffix(".csv"))
    text.with_name(text.name + ".sha256").write_text(f"{sha256_of(text)}  {text.name}\n")
    content = text.read_bytes()
    text.write_bytes(content.replace(b"600000.SH", b"600001.SH", 1))
    return text


def csv_named_parquet(path: Path) -> Path:
    write(tape("cn"), path.with_suffix(".csv")).rename(path)
    return path


def parquet_named_csv(path: Path) -> Path:
    return write(tape("cn"), path).rename(path.with_suffix(".csv"))


def changed_tape(change: Change) -> Callable[[Path], Path]:
    return lambda path: write(change(tape("cn")), path)


def thousands(path: Path) -> Path:
    return write(tape("cn").with_columns(pl.lit("1,234").alias("volume")), path.with_suffix(".csv"))


def separated_by(sign: str) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        tape("cn").write_csv(path.with_suffix(".csv"), separator=sign)
        return path.with_suffix(".csv")

    return make


def workbook(path: Path) -> Path:
    path.with_suffix(".csv").write_bytes(b"PK\x03\x04" + bytes(100))
    return path.with_suffix(".csv")


def ragged(path: Path) -> Path:
    text = write(tape("cn"), path.with_suffix(".csv"))
    text.write_text(text.read_text() + "600000.SH,2026-01-05 15:00:00,1,1,1,1,1,1,1,1,1\n")
    return text


REFUSED = [
    (empty, "FPM-IN-001", "0 bytes"),
    (changed_tape(lambda frame: frame.clear()), "FPM-IN-001", "no rows"),
    (truncated, "FPM-IN-002", "truncated at byte"),
    (damaged_footer, "FPM-IN-003", "unreadable"),
    (unlike_its_sum, "FPM-IN-003", "bad.csv.sha256 says"),
    (csv_named_parquet, "FPM-IN-004", "name says Parquet"),
    (parquet_named_csv, "FPM-IN-004", "content is Parquet"),
    (changed_tape(lambda frame: frame.drop("volume")), "FPM-IN-006", "missing column(s): volume; found: symbol"),
    (
        changed_tape(lambda frame: frame.rename({"close": "Close"})),
        "FPM-IN-007",
        "'Close' is not known, 'close' is near",
    ),
    (
        changed_tape(lambda f: f.rename({"amount": "money"}).with_columns(quote_volume=1.0)),
        "FPM-IN-007",
        "both mean amount",
    ),
    (
        changed_tape(lambda frame: frame.cast({"close": pl.String})),
        "FPM-IN-008",
        "column close is String, expected float64",
    ),
    (changed_tape(lambda frame: frame.cast({"minute": pl.String})), "FPM-IN-008", "column minute is String"),
    (changed_tape(lambda f: f.with_columns(symbol=600000)), "FPM-IN-008", "column symbol is Int32, expected text"),
    (changed_tape(lambda frame: moved(frame, -480)), "FPM-IN-011", "shifted by -8 h?"),
    (changed_tape(lambda frame: frame.filter(pl.col("minute").dt.hour() == 10)), "FPM-IN-013", "not decidable"),
    (changed_tape(lambda frame: moved(frame, 365 * 1440)), "FPM-IN-028", "after 2026-06-01 00:00 UTC"),
    (thousands, "FPM-IN-032", "row 2, column volume: '1,234' is not a number"),
    (separated_by(";"), "FPM-IN-032", "separated by semicolons"),
    (separated_by("\t"), "FPM-IN-032", "separated by tabs"),
    (workbook, "FPM-IN-004", "Excel workbook, name says CSV"),
    (ragged, "FPM-IN-033", "not a readable"),
    (changed_tape(lambda frame: frame.drop("amount")), "FPM-IN-126", "no amount"),
    (
        changed_tape(lambda f: f.with_columns(pl.col("open", "high", "low", "close") * 100)),
        "FPM-IN-126",
        "amount / (volume x price) = 0.01",
    ),
    (
        changed_tape(lambda f: f.with_columns(pl.col("open", "high", "low", "close") * 0.8)),
        "FPM-IN-126",
        "unit of volume",
    ),
]


@pytest.mark.parametrize(
    ("make", "code", "words"), REFUSED, ids=[f"{code[-3:]}-{words[:12]}" for _, code, words in REFUSED]
)
def test_a_file_is_refused_whole_and_the_others_go_on(
    make: Callable[[Path], Path], code: str, words: str, tmp_path: Path, stores: Stores
) -> None:
    bad = make(tmp_path / "bad.parquet")
    report = take([bad, good(tmp_path)], stores)
    assert [(refusal["file"], refusal["code"]) for refusal in report.refused] == [(bad.name, code)]
    assert words in report.refused[0]["wrong"]
    assert stores.sessions("minute_bars") == [GOOD]
    assert (report.rows_in, report.rows_out) == (ROWS, ROWS)
    (note,) = (stores.settings.quarantine / "files").glob("*.json")
    assert json.loads(note.read_bytes())["code"] == code
    assert not list((stores.settings.quarantine / "minute_bars").glob("*"))


def test_nothing_but_bad_files_is_an_error(tmp_path: Path, stores: Stores) -> None:
    with pytest.raises(InputRefused, match="FPM-IN-001"):
        take([empty(tmp_path / "bad.parquet")], stores).require_content()
    assert stores.sessions("minute_bars") == []
    assert "profile" not in stores.ledger.deployment()


# --- rows set aside ---------------------------------------------------------------------------------------------
ROW_CASES: list[tuple[str, dict[str, object], str, str]] = [
    ("high below low", {"high": 1.0}, "FPM-IN-021", "high 1.0"),
    ("close above high", {"close": 999.0}, "FPM-IN-021", "close 999.0"),
    ("open below low", {"open": 0.5}, "FPM-IN-021", "open 0.5"),
    ("negative price", {"low": -1.0}, "FPM-IN-022", "low -1.0"),
    ("negative volume", {"volume": -100.0}, "FPM-IN-022", "volume -100.0"),
    ("negative amount", {"amount": -1.0}, "FPM-IN-022", "a negative number"),
    ("price 0 with volume", {"low": 0.0}, "FPM-IN-023", "low 0.0"),
    ("infinite price", {"high": float("inf")}, "FPM-IN-024", "high inf"),
    ("infinite volume", {"volume": float("inf")}, "FPM-IN-024", "volume inf"),
    ("NaN price", {"close": float("nan")}, "FPM-IN-024", "empty"),
    ("null price", {"close": None}, "FPM-IN-024", "empty"),
    ("null volume", {"volume": None}, "FPM-IN-024", "empty"),
    ("a fraction of a share", {"volume": 1_234.5}, "FPM-IN-009", "a fraction of a share"),
    ("another day", {"minute": local("2026-01-07T10:00")}, "FPM-IN-027", "dated 2026-01-07, the file is of 2026-"),
    ("lunch", {"minute": local("2026-01-05T12:00")}, "FPM-IN-029", "is no minute of the session"),
    ("seconds", {"minute": local("2026-01-05T10:00:07")}, "FPM-IN-029", "is no minute of the session"),
    ("no time", {"minute": None}, "FPM-IN-029", "no time"),
    ("path", {"symbol": "../../etc/passwd"}, "FPM-IN-031", "'../../etc/passwd'"),
    ("full-width", {"symbol": "\uff16\uff10\uff10\uff10\uff10\uff10"}, "FPM-IN-031", "symbol"),
    ("long", {"symbol": "A" * 10_000}, "FPM-IN-031", "AAAA"),
    ("no symbol", {"symbol": None}, "FPM-IN-031", "no symbol"),
    ("ambiguous", {"symbol": "712345"}, "FPM-IN-030", "712345.SH, 712345.SZ or 712345.BJ"),
]


@pytest.mark.parametrize(
    ("cells", "code", "words"), [case[1:] for case in ROW_CASES], ids=[case[0] for case in ROW_CASES]
)
def test_a_bad_row_goes_to_quarantine_as_it_came(
    cells: dict[str, object], code: str, words: str, tmp_path: Path, stores: Stores
) -> None:
    frame = at(tape("cn"), 100, **cells)
    report = take([write(frame, tmp_path / f"{FIRST}.parquet"), good(tmp_path)], stores)
    assert report.quarantined == {code: 1}
    assert report.rows_out == 2 * ROWS - 1
    (name, cell), *_ = cells.items()
    session = "none" if cell is None and name == "minute" else str(cell.date() if isinstance(cell, datetime) else FIRST)
    row = quarantined(stores, session).row(0, named=True)
    assert (row["reason_code"], row["row"], row["source"]) == (code, 100, f"{FIRST}.parquet")
    assert words in row["reason"]
    assert row["volume"] == frame["volume"][100] and row["symbol"] == frame["symbol"][100]
    assert stores.read("minute_bars", FIRST).height == ROWS - 1


@pytest.mark.parametrize(("ending", "kind"), [(".sha256", "sha256"), (".CHECKSUM", "sha256"), (".md5", "md5")])
def test_case_3_a_checksum_that_fits_lets_the_file_in(ending: str, kind: str, tmp_path: Path, stores: Stores) -> None:
    """As `sha256sum` and `md5sum` write them; in capitals and without the name, too."""
    path = good(tmp_path)
    digest = hashlib.new(kind, path.read_bytes()).hexdigest()
    path.with_name(path.name + ending).write_text(f"\ufeff{digest.upper()} *{path.name}\r\n")
    report = take([tmp_path], stores)
    assert (report.rows_out, report.refused) == (ROWS, [])


def test_nan_is_counted(tmp_path: Path, stores: Stores) -> None:
    assert take([write(at(tape("cn"), 100, close=float("nan")), tmp_path / "bars.parquet")], stores).nans == 1


def test_a_day_without_trading_is_no_session(tmp_path: Path, stores: Stores) -> None:
    saturday = tape("cn").head(1).with_columns(minute=local("2026-01-10T10:00"))
    report = take([write(pl.concat([tape("cn"), saturday]), tmp_path / "bars.parquet")], stores)
    assert report.quarantined == {"FPM-IN-135": 1}
    assert stores.sessions("minute_bars") == [FIRST]


def test_missing_minutes_are_counted_or_cost_the_symbol_its_session(tmp_path: Path, stores: Stores) -> None:
    """237 minutes are required: 11 missing are 4.6 %, 12 are 5.1 %."""
    few = tape("cn", FIRST).with_row_index().filter(~pl.col("index").is_between(31, 41)).drop("index")
    many = tape("cn", GOOD).with_row_index().filter(~pl.col("index").is_between(31, 42)).drop("index")
    report = take([write(few, tmp_path / "few.parquet"), write(many, tmp_path / "many.parquet")], stores)
    assert report.missing_minutes == 11
    assert report.quarantined == {"FPM-IN-018": 241 - 12}
    assert stores.read("minute_bars", FIRST)["symbol"].n_unique() == 3
    assert stores.read("minute_bars", GOOD)["symbol"].unique().sort().to_list() == ["000001.SZ", "600519.SH"]
    assert quarantined(stores, str(GOOD))["reason"].unique().to_list() == ["225 of 237 minutes present"]


def test_a_halted_symbol_is_valid(tmp_path: Path, stores: Stores) -> None:
    halted = pl.col("symbol") == "600519.SH"
    none = [pl.when(halted).then(None).otherwise(pl.col(p)).alias(p) for p in ("open", "high", "low", "close")]
    zero = [pl.when(halted).then(0.0).otherwise(pl.col(name)).alias(name) for name in ("volume", "amount")]
    report = take([write(tape("cn").with_columns(*none, *zero), tmp_path / "bars.parquet")], stores)
    assert report.rows_out == ROWS
    daily = stores.read("daily_bars", FIRST).filter(pl.col("symbol") == "600519.SH").row(0, named=True)
    assert daily["suspended"] and daily["volume"] == 0.0 and daily["close"] is None


# --- duplicates -------------------------------------------------------------------------------------------------
def test_an_exact_duplicate_is_kept_once(tmp_path: Path, stores: Stores) -> None:
    frame = tape("cn")
    report = take([write(pl.concat([frame, frame[100:103]]), tmp_path / "bars.parquet")], stores)
    assert (report.deduplicated, report.rows_out, dict(report.quarantined)) == (3, ROWS, {})


def test_duplicates_with_other_values_are_both_set_aside(tmp_path: Path, stores: Stores) -> None:
    frame = tape("cn")
    other = at(frame[100:101], 0, volume=12_300.0)
    report = take([write(pl.concat([frame, other, other]), tmp_path / "bars.parquet")], stores)
    assert (report.deduplicated, dict(report.quarantined)) == (1, {"FPM-IN-015": 2})
    assert sorted(quarantined(stores)["row"]) == [100, ROWS]


def test_files_that_disagree_lose_the_symbols_session(tmp_path: Path, stores: Stores) -> None:
    frame = tape("cn")
    one, two = write(frame, tmp_path / "one.parquet"), write(at(frame, 100, volume=12_300.0), tmp_path / "two.parquet")
    report = take([one, two], stores)
    assert report.deduplicated == ROWS - 1
    assert report.quarantined == {"FPM-IN-034": 242}
    assert stores.read("minute_bars", FIRST)["symbol"].unique().sort().to_list() == ["000001.SZ", "600519.SH"]


# --- the same bars in another dress: the same bytes ----------------------------------------------------------------
def as_csv(folder: Path) -> Path:
    """With a byte-order mark and CRLF, as spreadsheets write it."""
    path = write(tape("cn"), folder / "again.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    return path


def with_zone(folder: Path) -> Path:
    minute = pl.col("minute").dt.replace_time_zone("Asia/Shanghai").dt.convert_time_zone("UTC")
    return write(tape("cn").with_columns(minute), folder / "again.parquet")


def spelled_otherwise(folder: Path) -> Path:
    symbol = pl.col("symbol").replace({"600000.SH": "sh600000", "600519.SH": "600519.XSHG", "000001.SZ": "000001"})
    frame = tape("cn").with_columns(symbol).rename({"symbol": "ts_code", "minute": "trade_time", "volume": "vol"})
    return write(frame, folder / "again.parquet")


def with_float32(folder: Path) -> Path:
    prices = dict.fromkeys(("open", "high", "low", "close"), pl.Float32)
    return write(tape("cn").cast(prices), folder / "again.parquet")


SAME = {
    "shuffled": lambda folder: write(tape("cn").sample(fraction=1.0, shuffle=True, seed=1), folder / "again.parquet"),
    "reversed": lambda folder: write(tape("cn").reverse(), folder / "again.parquet"),
    "milliseconds": lambda folder: write(tape("cn").cast({"minute": pl.Datetime("ms")}), folder / "again.parquet"),
    "nanoseconds": lambda folder: write(tape("cn").cast({"minute": pl.Datetime("ns")}), folder / "again.parquet"),
    "stamped by start": lambda folder: write(by_start("cn"), folder / "again.parquet"),
    "unknown column": lambda folder: write(tape("cn").with_columns(weather=1), folder / "again.parquet"),
    "float32": with_float32,
    "CSV": as_csv,
    "with a zone": with_zone,
    "spelled otherwise": spelled_otherwise,
}


@pytest.mark.parametrize("again", SAME.values(), ids=SAME)
def test_same_bars_give_the_same_bytes(again: Callable[[Path], Path], tmp_path: Path, stores: Stores) -> None:
    take([write(tape("cn"), tmp_path / "bars.parquet")], stores)
    before = stores.ledger.current(["minute_bars", "daily_bars"])
    report = take([again(tmp_path)], stores)
    assert (report.changed, report.unchanged) == (0, 1)
    assert stores.ledger.current(["minute_bars", "daily_bars"]) == before


def test_the_zone_of_the_host_has_no_effect(tmp_path: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    take([write(tape("cn"), tmp_path / "bars.parquet")], stores)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        report = take([write(tape("cn").reverse(), tmp_path / "again.parquet")], stores)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (report.changed, report.unchanged) == (0, 1)


def test_five_minutes_of_clock_difference_are_forgiven(tmp_path: Path, stores: Stores) -> None:
    path = write(tape("cn"), tmp_path / "bars.parquet")
    close = datetime(2026, 1, 5, 7, tzinfo=UTC)
    with pytest.raises(InputRefused, match="FPM-IN-028"):
        ingest([path], Arrival(close, close - timedelta(minutes=6)), stores, lambda *_: None).require_content()
    report = ingest([path], Arrival(close, close - timedelta(minutes=5)), stores, lambda *_: None)
    assert report.changed == 1
