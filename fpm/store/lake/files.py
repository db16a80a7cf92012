"""The lake: one Parquet file per table and session, replaced by rename only.

``<root>/<table>/[vintage=<id>/]session=YYYY-MM-DD/part-0.parquet``: ``timestamp[us, UTC]``, zstd, page checksums and
checksums by column (`fpm.store.lake.checksums`). Rows are in canonical order (keys, event_timestamp,
created_timestamp), so equal rows are equal bytes. The session is in the path, not in the file. A reader that opens a
file during its replacement sees the old or the new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fpm.errors import InputRefused, StoreCorrupt, UsageError
from fpm.row_order import above_before, ascending, has_no_null
from fpm.schema import CLOCKS, FINGERPRINT_SIZE, TABLES
from fpm.sessions import parse_session
from fpm.store.lake.checksums import verified_columns, with_checksums
from fpm.store.lake.seals import identity_of
from fpm.store.world import world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.store.lake.seals import Seals
    from fpm.table import Table

PART, SESSION = "part-0.parquet", "session="
TYPES: dict[str, pl.DataType] = {
    "float64": pl.Float64(),
    "float32": pl.Float32(),
    "int16": pl.Int16(),
    "int64": pl.Int64(),
    "string": pl.String(),
    "bool": pl.Boolean(),
    "date": pl.Date(),
    "vector": pl.Array(pl.Float32(), FINGERPRINT_SIZE),
    "floats": pl.List(pl.Float32()),
}
CLOCK = pl.Datetime("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RAW = ("minute_bars", "daily_bars", "index_members", "intraday_bars")  # a declared column that a vendor lacks is null
_FEW = 8  # keys and clocks: for at most so many columns of a large file only their own bytes are read
_LARGE = 1 << 20  # bytes; below, Polars takes longer to open a path than to decode what is in memory
_CACHE_BYTES = 256 << 20  # trailing windows read each partition again and again


@dataclass(frozen=True)
class LakeFile:
    """One stored or staged file of a partition.

    `path` is relative to the lake's root; `knowledge` are the file's distinct created_timestamps in order.
    """

    path: str
    sha256: str
    rows: int
    knowledge: tuple[datetime, ...]


def table_of(name: str) -> Table:
    """The declaration of a table. Raises UsageError for an unknown name."""
    if name not in TABLES:
        raise UsageError(
            code="FPM-CFG-003",
            wrong=f"unknown table {name!r}",
            effect="nothing was done",
            todo=f"use one of {', '.join(TABLES)}",
        )
    return TABLES[name]


def instant(moment: datetime) -> pl.Expr:
    """A moment as a literal of the type `CLOCK`; Polars takes a millisecond for its own of one with a time zone."""
    return pl.lit((moment - EPOCH) // timedelta(microseconds=1)).cast(CLOCK)


def empty(table: Table) -> pl.DataFrame:
    """A frame without rows, with the declared columns and both clocks."""
    return pl.DataFrame(
        schema={**{name: TYPES[kind] for name, kind in table.columns.items()}, **dict.fromkeys(CLOCKS, CLOCK)}
    )


def canonical(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the declared columns first, in their types and order, NaN as null, rows sorted.

    Raises InputRefused for a missing or undeclared column, a value that does not fit its type, an empty key,
    an infinite value, two rows with equal keys and clocks, or knowledge before the event.
    """
    _check_columns(table, frame)
    typed = _typed(table, frame)
    if _is_canonical(table, typed):
        return typed
    ordered = typed.with_columns(pl.selectors.float().fill_nan(None))
    if not ascending(ordered, (*table.keys, *CLOCKS)):
        ordered = ordered.sort(*table.keys, *CLOCKS, maintain_order=True)
        _check_keys(table, ordered)
    _check_values(table, ordered)
    return ordered


def _typed(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """The declared columns first, in their types and order, null where absent; the same frame where it is so."""
    columns = {name: TYPES[kind] for name, kind in table.columns.items()}
    schema = columns | {name: kind for name, kind in frame.schema.items() if name not in (*columns, *CLOCKS)}
    schema |= dict.fromkeys(CLOCKS, CLOCK)
    if list(frame.schema.items()) == list(schema.items()):
        return frame
    cells = [
        (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(kind, strict=True)
        for name, kind in schema.items()
    ]
    try:
        return frame.select(
            cell.fill_nan(None) if kind.is_float() else cell for cell, kind in zip(cells, schema.values(), strict=True)
        )
    except pl.exceptions.PolarsError as wrong:
        raise _refused(code="FPM-LAKE-004", table=table, wrong=f"a column does not fit its type: {wrong}") from wrong


def _is_canonical(table: Table, frame: pl.DataFrame) -> bool:
    """Whether rows in their types are canonical; one question, because a small table costs what it is asked."""
    keys = (*table.keys, *CLOCKS)
    is_finite, is_late = pl.selectors.float().is_finite(), pl.col("created_timestamp") >= pl.col("event_timestamp")
    is_sound = pl.all_horizontal(is_finite.all(), is_late.all(), above_before(keys).all())
    return has_no_null(frame, keys) and bool(frame.select(is_sound).item())


def _check_columns(table: Table, frame: pl.DataFrame) -> None:
    unknown = set(frame.columns) - set(table.columns) - set(CLOCKS)
    if unknown and not table.open_columns:
        raise _refused(code="FPM-LAKE-001", table=table, wrong=f"undeclared columns {sorted(unknown)}")
    missing = set(table.keys if table.name in RAW else table.columns) - set(frame.columns)
    if missing:
        raise _refused(code="FPM-LAKE-002", table=table, wrong=f"missing columns {sorted(missing)}")


def _check_keys(table: Table, frame: pl.DataFrame) -> None:
    if frame.select(pl.any_horizontal(pl.col(*table.keys, *CLOCKS).is_null().any())).item():
        raise _refused(code="FPM-LAKE-005", table=table, wrong="an empty key or clock")
    if frame.select(pl.struct(*table.keys, *CLOCKS).is_duplicated().any()).item():
        raise _refused(code="FPM-LAKE-006", table=table, wrong=f"two rows of equal {', '.join(table.keys)} and clocks")


def _check_values(table: Table, frame: pl.DataFrame) -> None:
    if frame.select((pl.col("created_timestamp") < pl.col("event_timestamp")).any()).item():
        raise _refused(code="FPM-LAKE-007", table=table, wrong="rows known before their event")
    floats = frame.select(pl.selectors.float().is_infinite().any())
    if infinite := [name for name in floats.columns if floats[name].item()]:
        raise _refused(code="FPM-LAKE-008", table=table, wrong=f"infinite values in {infinite}")


def _refused(*, code: str, table: Table, wrong: str) -> InputRefused:
    return InputRefused(
        code=code,
        wrong=f"{table.name}: {wrong}",
        effect="the partition was not written",
        todo="correct the job that writes it",
    )


@lru_cache(maxsize=1 << 16)  # a walk asks for the same thousands in every session
def parse(relative: str) -> tuple[str, str | None, date]:
    """Table, vintage (None without one) and session of a path in the lake."""
    table, *above, folder, _ = relative.split("/")
    vintage = above[0].removeprefix("vintage=") if above else None
    return table, vintage, parse_session(folder.removeprefix("session="))


def latest(table: Table, frame: pl.DataFrame, known_at: datetime | None) -> pl.DataFrame:
    """Each key and event in its latest version: the last `created_timestamp` up to `known_at` (None: of all)."""
    if frame.is_empty():
        return frame
    created = frame["created_timestamp"]
    first, last = created.min(), created.max()
    if known_at is not None and last > known_at:  # type: ignore[operator]  # polars types min/max loosely
        frame = frame.filter(pl.col("created_timestamp") <= known_at)
    if first == last:
        return frame
    return frame.unique([*table.keys, "event_timestamp"], keep="last", maintain_order=True)


def sha256_of(path: Path) -> str:
    """Hex digest of a whole file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def has_sha256(path: Path, sha256: str) -> bool:
    """Whether there is a file with this digest."""
    return path.is_file() and sha256_of(path) == sha256


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Write a new file, with the folders it needs, and force it to the disk."""
    world().make_folder(path.parent)
    with world().create(path) as stream:
        stream.write(content)
        stream.flush()
        world().fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Force a folder's entries (a rename, a new file) to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        world().fsync(handle)
    finally:
        os.close(handle)


class DecodedFiles:
    """A cache of decoded files, at most `limit` bytes. Its key has the file's identity: a changed file is another."""

    def __init__(self, limit: int = _CACHE_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._frames: OrderedDict[tuple[object, ...], pl.DataFrame] = OrderedDict()

    def read(self, path: Path, columns: tuple[str, ...] | None, seals: Seals | None = None) -> pl.DataFrame:
        """Columns of one file, without those that it lacks; None means all. Raises StoreCorrupt."""
        key = (str(path), identity_of(path.stat()), columns)
        if key in self._frames:
            self._frames.move_to_end(key)
            return self._frames[key]
        frame = decode(path, columns, seals)
        self._frames[key] = frame
        self._size += int(frame.estimated_size())
        while self._size > self._limit and len(self._frames) > 1:
            self._size -= int(self._frames.popitem(last=False)[1].estimated_size())
        return frame


def decode(path: Path, columns: Sequence[str] | None = None, seals: Seals | None = None) -> pl.DataFrame:
    """Columns of one file, checksums verified, without those that it lacks; None means all.

    Raises StoreCorrupt, also for a file that breaks its seal; without `seals` nothing but the checksums is looked at.
    """
    try:
        with path.open("rb") if seals is None else seals.opened(path) as stream:
            if columns is None or len(columns) > _FEW or os.fstat(stream.fileno()).st_size < _LARGE:
                content = stream.read()  # one copy costs less than the page faults of a whole file
                return _decoded(memoryview(content), content, columns)
            opened = Path(f"/proc/self/fd/{stream.fileno()}")  # by its path it might be another file by now
            return _decoded(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)), opened, columns)
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as wrong:
        if isinstance(wrong, FileNotFoundError):
            raise
        raise StoreCorrupt(
            code="FPM-LAKE-110",
            wrong=f"{path} cannot be read: {wrong}",
            effect="nothing was returned",
            todo="restore the file from a backup, or delete it and run its job again",
        ) from wrong


def _decoded(content: memoryview, source: bytes | Path, columns: Sequence[str] | None) -> pl.DataFrame:
    """Columns of a file, read by Polars if its checksums could be verified, else by Arrow, which checks each page."""
    names = verified_columns(content, columns)
    if names is not None:
        return pl.read_parquet(source, columns=_present(columns, names), hive_partitioning=False, glob=False)
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as stored:
        present = _present(columns, stored.schema_arrow.names)
        return pl.DataFrame(pl.from_arrow(stored.read(columns=present, use_threads=False)))


def _present(columns: Sequence[str] | None, names: list[str]) -> list[str]:
    return names if columns is None else [name for name in columns if name in set(names)]


@lru_cache(maxsize=1 << 16)  # as above
def _path(text: str) -> Path:
    return Path(text)


def _names_in(folder: str) -> list[str]:
    """Names in a folder; none where there is no such folder."""
    try:
        return os.listdir(folder)  # noqa: PTH208  a night lists long folders a dozen times: no objects
    except FileNotFoundError:
        return []


@dataclass(frozen=True)
class Lake:
    """The files under `root`; new ones are written under `staging`, and `put` renames them.

    What is read are files that the ledger published (`seals`). Without a ledger (None: benchmarks, tests of the store)
    every file is read.
    """

    root: Path
    staging: Path
    seals: Seals | None = field(default=None, compare=False, repr=False)
    _decoded: DecodedFiles = field(default_factory=DecodedFiles, compare=False, repr=False)

    def relative(self, table: str, session: date, vintage: str | None = None) -> str:
        """Path of a partition below the root. Raises UsageError where a vintage is missing or too many."""
        declared = table_of(table)
        if declared.by_vintage is (vintage is None):
            raise UsageError(
                code="FPM-LAKE-003",
                wrong=f"{table} with vintage {vintage}",
                effect="nothing was done",
                todo="name a vintage exactly for tables that have one",
            )
        above = f"vintage={vintage}/" if vintage else ""
        return f"{table}/{above}session={session.isoformat()}/{PART}"

    def vintages(self, table: str) -> list[str]:
        """The vintages with at least one published session, sorted."""
        return sorted(path.name.removeprefix("vintage=") for path in (self.root / table).glob("vintage=*"))

    def sessions(self, table: str, vintage: str | None = None) -> list[date]:
        """Sessions of a table in the lake, in order; of a `by_vintage` table those of one vintage, or of any."""
        return sorted({day for day, _ in self._stored(table, date.min, date.max, vintage)})

    def files(self, table: str, first: date, last: date, vintage: str | None = None) -> list[tuple[date, Path]]:
        """Existing files of a table from `first` to `last`, both inclusive, by session, then vintage."""
        if first == last:  # looked up by its path: a ten-year folder has thousands of entries
            vintages = [vintage] if vintage or not table_of(table).by_vintage else self.vintages(table)
            paths = [self.root / self.relative(table, first, name) for name in vintages]
            return [(first, path) for path in paths if path.exists()]
        return [(day, _path(text)) for day, text in self._stored(table, first, last, vintage)]

    def _stored(self, table: str, first: date, last: date, vintage: str | None) -> list[tuple[date, str]]:
        """`files` of a span, as text: a night reads a dozen spans of long tables, and a `Path` takes longer to make."""
        low, high = (f"{SESSION}{day.isoformat()}" for day in (first, last))
        below = [""] if not table_of(table).by_vintage else [f"vintage={name}/" for name in self.vintages(table)]
        below = [f"vintage={vintage}/"] if vintage else below
        folder = f"{self.root}/{table}/"
        names = sorted((name, place) for place in below for name in _names_in(folder + place) if low <= name <= high)
        paths = [(name, f"{folder}{place}{name}/{PART}") for name, place in names]
        present = ((name, path) for name, path in paths if os.path.exists(path))  # noqa: PTH110  a `Path` takes longer
        return [(parse_session(name.removeprefix(SESSION)), path) for name, path in present]

    def decode(self, path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All versions in one file, through the cache. Raises StoreCorrupt."""
        return self._decoded.read(path, None if columns is None else tuple(columns), self.seals)

    def decode_once(self, path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """All versions in one file that nobody will read again soon. Raises StoreCorrupt."""
        return decode(path, columns, self.seals)

    def stage(self, table: str, frame: pl.DataFrame, relative: str, folder: Path) -> LakeFile:
        """Write a partition under `folder` (in staging) and force it to the disk; returns its description.

        Raises InputRefused for a frame that is not canonical (see `canonical`).
        """
        ordered = canonical(table_of(table), frame)
        sink = pa.BufferOutputStream()
        pq.write_table(
            ordered.to_arrow(compat_level=pl.CompatLevel.oldest()),
            sink,
            compression="zstd",
            compression_level=1,
            write_page_checksum=True,
            coerce_timestamps="us",
            use_dictionary=[name for name, kind in ordered.schema.items() if not kind.is_float()],  # 39 -> 17 ms
        )
        content = memoryview(with_checksums(memoryview(sink.getvalue())))
        write_durably(folder / relative, content)
        knowledge = tuple(ordered["created_timestamp"].unique().sort())
        return LakeFile(relative, hashlib.sha256(content).hexdigest(), ordered.height, knowledge)

    def put(self, staged: Path, relative: str) -> None:
        """Publish one staged file by rename; it is durable when this returns."""
        target = self.root / relative
        world().make_folder(target.parent)
        self.sync(target)  # a file never moves into a folder that a power cut can take
        world().rename(staged, target)
        sync_folder(target.parent)

    def sync(self, target: Path) -> None:
        """Force a rename, and every folder that it needed, the lake's own included, to the disk."""
        for folder in target.parents:
            sync_folder(folder)
            if folder == self.root.parent:
                break
