"""Damaged files of every kind through every reader: each is read or refused with a code, and nothing else happens.

Own files (lake, checkpoint) are read with the values that were written, or not at all. A mutant follows from its reader
and its number, so a failure names one that can be made again.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import torch

from fpm import calendar_overrides, markets
from fpm.errors import FpmError
from fpm.exchange import simulate
from fpm.ingest.daily_files import read_daily, read_members
from fpm.ingest.units import Stated
from fpm.ingest.vendor_bars import combine, original_rows, read_bars
from fpm.nn import checkpoint
from fpm.sessions import market, sessions_between
from fpm.store.lake.files import Lake
from fpm.store.retrieval import exports
from fpm.ticks.files import batches, open_file
from fpm.ticks.records import records
from tests.producers.small_ticks import session_ticks
from tests.tape import FIRST, tape, write

NOW = datetime(2026, 6, 1, tzinfo=UTC)
US, CN = market("us"), market("cn")
FEW, MANY = 20, 50_000
WORDS = (
    b"1e309",
    b"-1",
    b"NaN",
    b"\xff\xfe",
    b"\x00",
    b'"',
    b",",
    b"\n",
    b"2026-13-01",
    b"9" * 40,
    b"[[[",
    b"=",
    b"\xe4\xb8",
)


@dataclass(frozen=True)
class Reader:
    """One reader: the name of its file, the file's sound bytes, and what it reads from such a file."""

    name: str
    content: bytes
    read: Callable[[Path], object]
    own: bool = False


def mutant(content: bytes, rng: random.Random) -> bytes:
    """One to three damages: bits, bytes, blocks lost, doubled or moved, the end lost, words where none belong."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, size = rng.randrange(len(damaged) + 1), rng.choice((1, 1, 2, 8, 64))
        if rng.random() < 0.3:  # the ends hold the footers, the headers and the mark
            at = rng.choice((rng.randrange(min(len(damaged), 64) + 1), max(0, len(damaged) - rng.randrange(600) - 1)))
        block = damaged[at : at + size]
        kind = rng.randrange(7)
        if kind == 0 and at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            damaged[at : at + size] = rng.randbytes(len(block))
        elif kind == 2:
            del damaged[at : at + size]
        elif kind == 3:
            damaged[at:at] = block
        elif kind == 4:
            other = rng.randrange(len(damaged) + 1)
            damaged[at : at + size] = damaged[other : other + len(block)]
        elif kind == 5:
            damaged[at:at] = rng.choice(WORDS)
        elif rng.random() < 0.2:
            del damaged[at:]
    return bytes(damaged)


def bars(path: Path) -> None:
    parsed = read_bars(path, US, NOW, stated=Stated(stamp_side="end"))
    combine([parsed], US)
    original_rows(path, parsed.quarantined)


def trades(path: Path) -> None:
    file = open_file(path)
    for batch in batches(file):
        records(batch, file, 0, CN, NOW)


def calendar(path: Path) -> None:
    sessions_between(replace(US, overrides=calendar_overrides.read(path)), FIRST, FIRST + timedelta(days=30))


def own_exchanges(path: Path) -> None:
    own = markets.read_exchanges(path)
    for name in own:
        markets.named(name, own)


def exchange(path: Path) -> None:
    simulate._is_complete(path.parent, {"seed": 1})


def state(path: Path) -> object:
    stored = checkpoint.read(path.parent)
    return {name: value.tolist() for name, value in stored.tensors["weights"].items()}, stored.state


def bytes_of(folder: Path, name: str, frame: pl.DataFrame, **options: object) -> bytes:
    path = folder / name
    if options:
        pq.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), path, **options)
    else:
        write(frame, path)
    return path.read_bytes()


def readers(folder: Path) -> list[Reader]:
    small = pl.concat([tape("us")[:40], tape("us")[391:431]])
    daily = pl.DataFrame(
        {
            "symbol": ["AAPL", "IBM"],
            "session": [FIRST] * 2,
            **{name: [10.0, 11.5] for name in ("open", "high", "low", "close")},
        }
    ).with_columns(volume=pl.lit(100.0), suspended=pl.lit(value=False), adj_factor=pl.lit(1.0))
    members = pl.DataFrame(
        {"index": ["CSI300"] * 2, "session": [FIRST] * 2, "symbol": ["AAPL", "IBM"], "weight": [0.5, 0.5]}
    )
    moments = [datetime(2026, 1, 5, 21, tzinfo=UTC)] * 3
    entities = pl.DataFrame({"symbol": ["AAPL", "IBM", "GE"], "event_timestamp": moments, "order": [1, 2, 3]})
    days = ("date,kind,source", "2026-01-05,closed,x", "2026-01-06,early 13:00,x", "2026-01-07,hours 09:30-11:00,x")
    facts = ("[mine]", 'calendar = "XNYS"', 'suffix = "ME"', "lot = 100", 'cut_off = "21:00"', 'codes = "[A-Z]{1,5}"')
    texts = {
        "calendar.csv": "\n".join((*days, "")).encode(),
        "markets.toml": "\n".join((*facts, "")).encode(),
        "exchange.json": json.dumps({"config": {"seed": 1}, "complete": True}).encode(),
    }
    entities.write_parquet(folder / "entities.parquet")
    entities.write_csv(folder / "entities.csv", datetime_format="%Y-%m-%dT%H:%M:%S%:z")
    one = tape("us").filter(pl.col("symbol") == "IBM")
    generator = torch.Generator().manual_seed(1)
    weights = {"a": torch.randn(40, generator=generator), "b": torch.randn(7, 3, generator=generator)}
    checkpoint.write(folder, checkpoint.Checkpoint({"weights": weights}, {"epoch": 3}))
    lake = Lake(folder / "lake", folder / "staging")
    known = one.drop("minute").with_columns(
        slot=pl.int_range(pl.len(), dtype=pl.Int16),
        event_timestamp=pl.lit(moments[0]),
        created_timestamp=pl.lit(moments[0]),
    )
    file = lake.stage("minute_bars", known, lake.relative("minute_bars", FIRST), lake.staging)
    return [
        Reader("bars.parquet", bytes_of(folder, "bars.parquet", small), bars),
        Reader("summed.parquet", bytes_of(folder, "summed.parquet", small, write_page_checksum=True), bars),
        Reader("bars.csv", bytes_of(folder, "bars.csv", small), bars),
        Reader("daily_bars.parquet", bytes_of(folder, "d.parquet", daily), lambda path: read_daily(path, US)),
        Reader("daily_bars.csv", bytes_of(folder, "d.csv", daily), lambda path: read_daily(path, US)),
        Reader("index_members.parquet", bytes_of(folder, "m.parquet", members), lambda path: read_members(path, US)),
        Reader("index_members.csv", bytes_of(folder, "m.csv", members), lambda path: read_members(path, US)),
        Reader("trades.parquet", bytes_of(folder, "t.parquet", session_ticks(FIRST, 1)["trades"].head(50)), trades),
        Reader("entities.parquet", (folder / "entities.parquet").read_bytes(), exports._read_entities),
        Reader("entities.csv", (folder / "entities.csv").read_bytes(), exports._read_entities),
        Reader("calendar.csv", texts["calendar.csv"], calendar),
        Reader("markets.toml", texts["markets.toml"], own_exchanges),
        Reader("exchange.json", texts["exchange.json"], exchange),
        Reader(checkpoint.FILE, (folder / checkpoint.FILE).read_bytes(), state, True),
        Reader("part-0.parquet", (lake.staging / file.path).read_bytes(), lambda path: lake.decode(path).rows(), True),
    ]


def outcome(reader: Reader, number: int, folder: Path, sound: object) -> str:
    """`read`, or the code of the refusal; fails where a reader does anything else."""
    path = folder / reader.name
    content = mutant(reader.content, random.Random(f"{reader.name} {number}"))
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        answer = reader.read(path)
    except FpmError as error:
        return error.code
    except BaseException as error:
        raise AssertionError(f"mutant {number} of {reader.name}: {type(error).__name__}: {error}") from error
    assert not reader.own or answer == sound, f"mutant {number} of {reader.name} is read with other values"
    return "read"


def check(count: int, folder: Path) -> Counter[str]:
    all_readers, counts = readers(folder), Counter[str]()
    for reader in all_readers:
        own = folder / "mutants" / reader.name.replace(".", "_")
        own.mkdir(parents=True)
        (own / reader.name).write_bytes(reader.content)
        sound = reader.read(own / reader.name)
        counts.update(outcome(reader, number, own, sound) for number in range(math.ceil(count / len(all_readers))))
    assert counts["read"] and len(counts) > 5  # the mutants are neither all harmless nor all refused for one reason
    print(dict(counts.most_common()))
    return counts


def test_mutants_are_read_or_refused(tmp_path: Path) -> None:
    check(FEW * 15, tmp_path)


@pytest.mark.slow
def test_fifty_thousand_mutants(tmp_path: Path) -> None:
    check(MANY, tmp_path)
