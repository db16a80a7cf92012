"""Level-2 files: recognised by name and columns, refused in words, read a batch at a time."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fpm.errors import InputRefused, UsageError
from fpm.ticks import files as tick_files
from fpm.ticks.files import batches, find, open_file, original_rows, stream_of
from tests.fpm.ticks.tiny_ticks import frame, order, trade

TRADES = frame("trades", [trade("10:00:00", 10.0, 100, 2, 1, seq, side="B") for seq in range(1, 8)])


def write(path: Path, table: pl.DataFrame = TRADES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("trades.parquet", "trades"),
        ("trades-2023-02-01.parquet", "trades"),
        ("orders/2023-02-01.parquet", "orders"),
        ("ticks_SH.parquet", "ticks"),
        ("totals.csv", "totals"),
        ("bars_1min.parquet", None),
        ("tradesman.parquet", None),
        ("ticks/daily_bars.parquet", None),
        ("ticks/part-0.parquet", "ticks"),
    ],
)
def test_the_name_shows_the_stream(path: str, stream: str | None) -> None:
    assert stream_of(Path("/vendor") / path) == stream


def test_a_folder_gives_its_streams_and_its_other_files(tmp_path: Path) -> None:
    trades, bars = write(tmp_path / "2023" / "trades.parquet"), write(tmp_path / "bars_1min.parquet")
    assert find([tmp_path]) == ([trades], [bars])
    with pytest.raises(UsageError, match="FPM-CFG-102"):
        find([bars])
    with pytest.raises(UsageError, match="FPM-CFG-101"):
        find([tmp_path / "nothing"])


def test_names_of_the_exchanges_are_recognised_and_reported(tmp_path: Path) -> None:
    theirs = TRADES.rename(
        {
            "symbol": "SecurityID",
            "time": "TradeTime",
            "price": "TradePrice",
            "volume": "TradeQty",
            "seq": "TradeIndex",
            "buy_order": "TradeBuyNo",
            "sell_order": "TradeSellNo",
            "side": "TradeBSFlag",
            "channel": "TradeChannel",
        }
    ).with_columns(BizIndex=pl.int_range(100, 107), LocalTime=pl.lit("x"))
    file = open_file(write(tmp_path / "trades.parquet", theirs))
    assert file.synonyms["seq"] == "BizIndex"  # it orders trades among orders, which TradeIndex does not
    assert file.ignored == ("TradeIndex", "LocalTime")
    (batch,) = batches(file)
    assert batch["seq"].to_list() == list(range(100, 107))


def test_a_file_is_read_a_batch_at_a_time_with_its_row_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_file(write(tmp_path / "trades.parquet"))
    monkeypatch.setattr(tick_files, "BATCH", 3)
    parts = list(batches(file))
    assert [part.height for part in parts] == [3, 3, 1]
    assert pl.concat(parts)["row"].to_list() == list(range(7))
    faults = pl.DataFrame({"row": [2, 6], "session": [None, None], "reason_code": ["A", "B"], "reason": ["a", "b"]})
    rows = original_rows(file, faults)
    assert rows.select("seq", "reason_code", "source").rows() == [
        (3, "A", "trades.parquet"),
        (7, "B", "trades.parquet"),
    ]


def faulty_file(tmp_path: Path, code: str) -> Path:
    """A file with one fault."""
    path = tmp_path / "trades.parquet"
    tables = {
        "FPM-IN-001": TRADES.clear(),
        "FPM-IN-006": TRADES.drop("buy_order"),
        "FPM-IN-007": TRADES.rename({"price": "pRICE"}),
        "FPM-IN-008": TRADES.with_columns(pl.col("volume").cast(pl.String)),
        "FPM-IN-146": TRADES.with_columns((pl.col("price") * 10_000).cast(pl.Int64)),
        "FPM-RES-145": TRADES.with_columns(pl.lit(0).alias(f"c{i}") for i in range(1001)),
    }
    if code in tables:
        return write(path, tables[code])
    if code == "FPM-IN-002":
        path.write_bytes(write(path).read_bytes()[:-3])
    elif code == "FPM-IN-003":
        content = write(path).read_bytes()
        path.write_bytes(content[:-40] + b"\0" * 32 + content[-8:])
    else:
        path = tmp_path / "trades.csv"
        TRADES.write_csv(path)
    return path


@pytest.mark.parametrize(
    "code",
    [
        "FPM-IN-001",
        "FPM-IN-002",
        "FPM-IN-003",
        "FPM-IN-004",
        "FPM-IN-006",
        "FPM-IN-007",
        "FPM-IN-008",
        "FPM-IN-146",
        "FPM-RES-145",
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path: Path, code: str) -> None:
    with pytest.raises(InputRefused) as error:
        open_file(faulty_file(tmp_path, code))
    assert error.value.code == code
    assert "trades" in error.value.wrong


def test_orders_need_their_own_columns(tmp_path: Path) -> None:
    orders = frame("orders", [order("10:00:00", "B", 10.0, 100, 1, 1)])
    assert open_file(write(tmp_path / "orders.parquet", orders)).stream == "orders"
    with pytest.raises(InputRefused, match="order_no"):
        open_file(write(tmp_path / "orders.parquet", orders.drop("order_no")))


def test_case_44_a_file_that_decodes_to_far_more_than_records_do(tmp_path: Path) -> None:
    one = pl.concat([TRADES[:1]] * 1_000_000).to_arrow(compat_level=pl.CompatLevel.oldest())
    with pq.ParquetWriter(tmp_path / "trades.parquet", one.schema, compression="zstd") as sink:
        for _ in range(9):
            sink.write_table(one)
    assert (tmp_path / "trades.parquet").stat().st_size < 1 << 20
    with pytest.raises(InputRefused, match=r"FPM-RES-144 .* KB that decode to \d+ MB"):
        open_file(tmp_path / "trades.parquet")


def test_case_45_deep_nesting_in_a_column_that_nobody_reads(tmp_path: Path) -> None:
    deep = pa.float64()
    for _ in range(200):
        deep = pa.list_(deep)
    table = TRADES.to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.append_column("more", pa.array([None] * table.num_rows, deep))
    pq.write_table(table, tmp_path / "trades.parquet")
    with pytest.raises(InputRefused, match=r"FPM-IN-003 .*too deeply nested"):
        open_file(tmp_path / "trades.parquet")
