"""Files of every reader, sound and damaged: what vendors, operators and the home itself write.

A mutant follows from its reader and its number, so a failure names one that can be made again.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import polars as pl
import pyarrow.parquet as pq
import torch

from fpm import calendar_overrides, markets, sessions
from fpm.exchange import simulate
from fpm.exchange_facts import read_exchanges
from fpm.ingest.bar_files import order_in
from fpm.ingest.custody_files import read_custody
from fpm.ingest.daily_files import read_daily, read_members
from fpm.ingest.deliveries import batches, find
from fpm.ingest.member_intervals import read_intervals
from fpm.ingest.restriction_files import read_restrictions
from fpm.ingest.score_files import read_scores
from fpm.ingest.symbol_files import read_symbols
from fpm.ingest.units import Stated
from fpm.ingest.vector_files import read_vectors
from fpm.ingest.vendor_bars import combine, original_rows, read_bars
from fpm.model_file import read_model_file
from fpm.nn import checkpoint
from fpm.portfolio.mandate import read_mandates
from fpm.report import passport
from fpm.sessions import market, sessions_between
from fpm.store.frames import vector_archive
from fpm.store.frames.entities import check_columns, clocks, read_entities
from fpm.store.jobs import receipts
from fpm.store.lake.files import Lake
from fpm.store.lake.inbox import Inbox
from fpm.store.settings import load_settings
from fpm.ticks.files import batches as tick_batches
from fpm.ticks.files import open_file
from fpm.ticks.records import records
from tests.producers.small_ticks import session_ticks
from tests.tape import FIRST, tape, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm.store.ledger.stores import Stores

NOW = datetime(2026, 6, 1, tzinfo=UTC)
US, CN = market("us"), market("cn")
WORDS = (
    b"1e309", b"-1", b"NaN", b"\xff\xfe", b"\x00", b'"', b",", b"\n", b"2026-13-01", b"9" * 40, b"9" * 400, b"[[[",
    b"=", b"\xe4\xb8", b"~nobody/", b"0000-00-00", b"..", b"{}", b"null", b"true",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """One reader: the name of its file, the file's sound bytes, and what it reads from such a file.

    `own`: the home wrote it, so it is read with the values that were written, refused, or `lost`: taken as not there.
    """

    name: str
    content: bytes
    read: Callable[[Path], object]
    own: bool = False
    lost: object = ...


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


def of_vendor(read: Callable[[Path], object], path: Path) -> object:
    """What every delivered file passes first: its kind, its days, its order of month and day."""
    order = order_in([path])
    batches(find([path]).bars, order)
    return read(path)


def bars(path: Path) -> None:
    parsed = read_bars(path, US, NOW, stated=Stated(stamp_side="end"))
    combine([parsed], US)
    original_rows(path, parsed.quarantined)


def trades(path: Path) -> None:
    file = open_file(path)
    for batch in tick_batches(file):
        records(batch, file, 0, CN, NOW)


def entities(path: Path) -> None:
    rows = read_entities(path)
    check_columns(rows, ())
    clocks(rows)


def calendar(path: Path) -> None:
    overrides = calendar_overrides.within(calendar_overrides.read(path), US.segments)
    _walk(replace(US, overrides=overrides))


def _walk(own: markets.Market) -> None:
    """Everything that a session is asked for."""
    first = FIRST if own.calendar is None else max(FIRST, sessions_between(own, FIRST, FIRST + timedelta(days=9))[0])
    for session in sessions_between(own, first, FIRST + timedelta(days=30)):
        sessions.session_slots(own, session)
        sessions.last_slot(own, session)
        assert sessions.opening(own, session) < sessions.close(own, session)
        sessions.cut_off(own, session)


def own_exchanges(path: Path) -> None:
    own = read_exchanges(path)
    for name in own:
        for bar in ("", "15"):
            _walk(markets.named(name + bar, own))


def settings(path: Path) -> None:
    """The file's lines as the variables of a process."""
    lines = (line.partition(b"=") for line in path.read_bytes().replace(b"\0", b"").splitlines())
    with variables({b"FPM_" + name: value for name, equals, value in lines if equals}):
        load_settings({}).venue  # noqa: B018  read when it is asked for


@contextmanager
def variables(added: dict[bytes, bytes]) -> Iterator[None]:
    before = dict(os.environb)
    os.environb.update(added)
    try:
        yield
    finally:
        os.environb.clear()
        os.environb.update(before)


def exchange(path: Path) -> None:
    simulate._is_complete(path.parent, {"seed": 1})


def state(path: Path) -> object:
    stored = checkpoint.read(path.parent)
    return {name: value.tolist() for name, value in stored.tensors["weights"].items()}, stored.state


def receipt(path: Path) -> object:
    """A damaged receipt is none: the file would be read again."""
    stores = SimpleNamespace(
        settings=SimpleNamespace(home=path.parent.parent),
        ledger=SimpleNamespace(latest_of_each=lambda _, days, __: dict.fromkeys(days, SimpleNamespace(files=()))),
    )
    return receipts.sessions_ingested(path.stem, cast("Stores", stores))


def remembered_looks(path: Path) -> object:
    inbox = Inbox(path.parent, path)
    return inbox._remembered(NOW) and None


def archive(path: Path) -> object:
    """Beside columns of no row, which the statement is compared with."""
    (path.parent / "1").mkdir(exist_ok=True)
    for column in vector_archive.COLUMNS:
        (path.parent / "1" / f"{column}.raw").touch()
    return vector_archive._contents(path.parent)


def bytes_of(folder: Path, name: str, frame: pl.DataFrame, **options: object) -> bytes:
    path = folder / name
    if options:
        pq.write_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), path, **options)
    else:
        write(frame, path)
    return path.read_bytes()


def both(folder: Path, stem: str, frame: pl.DataFrame, read: Callable[[Path], object]) -> list[Reader]:
    """A vendor's table as Parquet and as CSV."""
    names = (f"{stem}.parquet", f"{stem}.csv")
    return [Reader(name, bytes_of(folder, name, frame), partial(of_vendor, read)) for name in names]


def vendor_readers(folder: Path) -> list[Reader]:
    small = pl.concat([tape("us")[:40], tape("us")[391:431]])
    symbols = ["AAPL", "IBM"]
    day = pl.lit(FIRST)
    prices = {name: [10.0, 11.5] for name in ("open", "high", "low", "close")}
    daily = pl.DataFrame({"symbol": symbols, "session": [FIRST] * 2, **prices}).with_columns(
        volume=pl.lit(100.0), suspended=pl.lit(value=False), adj_factor=pl.lit(1.0)
    )
    members = pl.DataFrame({"index": ["SP500"] * 2, "session": [FIRST] * 2, "symbol": symbols, "weight": [0.5, 0.5]})
    intervals = pl.DataFrame({"index": ["SP500"] * 2, "symbol": symbols}).with_columns(
        day.alias("from"), pl.Series("to", [None, FIRST + timedelta(days=40)])
    )
    names = pl.DataFrame({"symbol": ["FB", "META"], "identity": ["meta"] * 2}).with_columns(
        pl.Series("first", [FIRST, FIRST + timedelta(days=3)]), pl.Series("last", [FIRST + timedelta(days=2), None])
    )
    scores = pl.DataFrame({"symbol": symbols, "score": [0.1, -0.2]}).with_columns(
        session=day, stream=pl.lit("mine"), known_at=pl.lit("2026-01-05T21:00:00+00:00")
    )
    others = pl.DataFrame({"symbol": symbols, "vector": [[0.5, -1.0, 2.0], [1.0, 0.25, 0.0]]}).with_columns(
        session=day, vintage=pl.lit("cnn-3"), known_at=pl.lit("2026-01-05T21:00:00+00:00")
    )
    book = pl.DataFrame({"index": ["SP500"] * 3, "symbol": [*symbols, "CASH"], "shares": [300.0, 7.0, 99.5]})
    lists = pl.DataFrame({"symbol": symbols, "reason": ["sanctions", "limit"], "kind": [None, "no_buy"]}).with_columns(
        day.alias("from"), pl.Series("to", [None, FIRST + timedelta(days=9)]), pl.lit("SP500").alias("index")
    )
    through = sessions_between(US, FIRST, FIRST + timedelta(days=60))[-1]
    summed = bytes_of(folder, "summed.parquet", small, write_page_checksum=True)
    ticks = session_ticks(FIRST, 1)["trades"].head(50)
    return [
        *both(folder, "bars", small, bars),
        Reader("summed.parquet", summed, partial(of_vendor, bars)),
        *both(folder, "daily_bars", daily, lambda path: read_daily(path, US)),
        *both(folder, "index_members", members, lambda path: read_members(path, US)),
        *both(folder, "members_SP500", intervals, lambda path: read_intervals(path, US, through=through)),
        *both(folder, "symbols", names, lambda path: read_symbols(path, US)),
        *both(folder, "scores", scores, lambda path: read_scores(path, US, now=NOW)),
        *both(folder, "holdings", book.with_columns(session=day), lambda path: read_custody(path, US)),
        *both(folder, "restrictions", lists, lambda path: read_restrictions(path, US)),
        Reader(
            "vectors.parquet",
            bytes_of(folder, "vectors.parquet", others),
            partial(of_vendor, lambda path: read_vectors(path, US, now=NOW)),
        ),
        Reader("trades.parquet", bytes_of(folder, "t.parquet", ticks), trades),
    ]


def operator_readers(folder: Path) -> list[Reader]:
    moments = [datetime(2026, 1, 5, 21, tzinfo=UTC)] * 3
    rows = pl.DataFrame({"symbol": ["AAPL", "IBM", "GE"], "event_timestamp": moments, "order": [1, 2, 3]})
    rows.write_parquet(folder / "entities.parquet")
    rows.write_csv(folder / "entities.csv", datetime_format="%Y-%m-%dT%H:%M:%S%:z")
    days = ("date,kind,source", "2026-01-05,closed,x", "2026-01-06,early 13:00,x", '2026-01-07,"hours 09:30-11:00",x')
    facts = ("[mine]", 'calendar = "XSHG"', 'suffix = "ME"', "lot = 100", 'cut_off = "21:00"', 'codes = "[A-Z]{1,5}"')
    calls = ('closing_call = "15:00"', 'closing_call_begins = "14:57"', "sources = ['x']", "tick = 0.01")
    bounds = ("[CSI300]", "capital = 1e8", "active = 0.005", "lot = 100", 'rebalance = "weekly"', "approval = true")
    costs = (
        "half_lives = {volatility = 84, correlation = 252}",
        "costs = [{from = 2023-08-28, side = 'sell', rate = 7e-4}, {from = 2023-08-28, side = 'buy', rate = 2e-4}]",
    )
    choices = (
        "[encoder]", "mask_ratio = 0.3", "likelihood = true", "[scorer]", 'fusion = "gate"', "seeds = [1, 2]",
        "[label]", "horizon = 5", "[folds]", "refit = 60",
    )  # fmt: skip
    texts = {
        "calendar.csv": (days, calendar),
        "markets.toml": ((*facts, *calls), own_exchanges),
        "mandate.toml": ((*bounds, *costs), read_mandates),
        "model.toml": (choices, read_model_file),
        "settings.txt": (
            (
                "HOME=/nowhere/.fpm", "MARKET=cn15", "PRESET=tiny", "THREADS=2", "SEED=7", "FACTORS=classic",
                "STREAM=dual", "TRAINING_MEMORY=1.5", "NIGHT_HOURS=5", "DATABASE_URL=postgresql://u@[::1]/d", "FSYNC=1",
            ),
            settings,
        ),
    }  # fmt: skip
    sealed = passport.seal({"deployment": {"market": "cn"}, "figures": {"dual": [0.1, None, 3]}})
    return [
        *(
            Reader(f"entities.{kind}", (folder / f"entities.{kind}").read_bytes(), entities)
            for kind in ("parquet", "csv")
        ),
        *(Reader(name, "\n".join((*lines, "")).encode(), read) for name, (lines, read) in texts.items()),
        Reader("passport.json", sealed, lambda path: passport.unseal(path.read_bytes()), True),
    ]


def own_readers(folder: Path) -> list[Reader]:
    generator = torch.Generator().manual_seed(1)
    weights = {"a": torch.randn(40, generator=generator), "b": torch.randn(7, 3, generator=generator)}
    checkpoint.write(folder, checkpoint.Checkpoint({"weights": weights}, {"epoch": 3}))
    lake = Lake(folder / "lake", folder / "staging")
    one = tape("us").filter(pl.col("symbol") == "IBM")
    known = one.drop("minute").with_columns(
        pl.lit(datetime(2026, 1, 5, 21, tzinfo=UTC)).alias("event_timestamp"),
        pl.lit(datetime(2026, 1, 5, 21, tzinfo=UTC)).alias("created_timestamp"),
        slot=pl.int_range(pl.len(), dtype=pl.Int16),
    )
    file = lake.stage("minute_bars", known, lake.relative("minute_bars", FIRST), lake.staging)
    stores = SimpleNamespace(settings=SimpleNamespace(home=folder))
    receipts.keep_receipt("bars", Path("b.csv"), "0123", [FIRST], cast("Stores", stores))
    looks = {"bars.csv": ["0f", "2026-01-05T21:00:00+00:00"], "b": ["1e", "2026-01-05T21:01:00+00:00"]}
    statement = vector_archive.Contents(1, 0, ("AAPL", "IBM"), (vector_archive.Part("x", "ab", 0, 0),))
    return [
        Reader("exchange.json", json.dumps({"config": {"seed": 1}, "complete": True}).encode(), exchange),
        Reader(checkpoint.FILE, (folder / checkpoint.FILE).read_bytes(), state, True),
        Reader("part-0.parquet", (lake.staging / file.path).read_bytes(), lambda path: lake.decode(path).rows(), True),
        Reader("0123.json", (folder / "receipts" / "0123.json").read_bytes(), receipt, True, None),
        Reader("inbox.json", json.dumps(looks).encode(), remembered_looks),
        Reader(vector_archive.STATEMENT, vector_archive.statement(statement), archive, True, None),
    ]


def readers(folder: Path) -> list[Reader]:
    """Every reader, whose sound files are written below `folder`."""
    return [*vendor_readers(folder), *operator_readers(folder), *own_readers(folder)]
