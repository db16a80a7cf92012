"""The fingerprints of one vintage as one memory-mapped matrix, for exact search.

``home/vectors/<vintage>/archive.json`` is its statement: the generation, the number of rows, and the partitions (with
the ledger's sha256) that the rows came from. ``<generation>/<column>.raw`` hold the columns; rows are only appended.

Everything comes from the lake. New partitions are appended; a partition that changed is appended again, and its former
rows no longer count. Where too many rows do not count, or a file is damaged, a new generation is written. Rows beyond
the stated number do not exist. The statement is replaced by rename, so a reader sees the archive before an update or
after it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.errors import StoreCorrupt, TryLater
from fpm.evaluation.analogues import Vectors, day_number
from fpm.json_documents import sealed, unsealed
from fpm.schema import FINGERPRINT_SIZE, FINGERPRINTS
from fpm.store.lake.files import Lake, LakeFile, parse, sha256_of, sync_folder
from fpm.store.lake.seals import Seal, refusal
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date
    from pathlib import Path

    from fpm.store.ledger.stores import Stores

STATEMENT = "archive.json"
COLUMNS: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "vector": (np.float32, (FINGERPRINT_SIZE,)),
    "length": (np.float32, ()),
    "symbol": (np.int32, ()),
    "session": (np.int32, ()),
    "known": (np.int64, ()),
    "until": (np.int64, ()),
}
NEVER = np.iinfo(np.int64).max
LEAST_LIVE = 0.75  # share of the rows that count; below it a new generation is written
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Part:
    """One partition in the archive: the path and hash the ledger had, and its rows."""

    path: str
    sha256: str
    first: int
    rows: int


@dataclass(frozen=True)
class Contents:
    """The statement: `rows` of a generation, of which those in `parts` count; `symbols` by their number."""

    generation: int
    rows: int
    symbols: tuple[str, ...]
    parts: tuple[Part, ...]


def vector_archive(vintage: str, stores: Stores, scratch: Path | None = None) -> Vectors:
    """All versions of all fingerprints of a vintage that the ledger knows; the archive is brought up to date first.

    With `scratch` the home's archive stays as it is: one that is behind is made again in that folder.
    Raises TryLater where the vintage has no fingerprint, StoreCorrupt where a partition is not what the ledger recorded
    or holds vectors of another vintage.
    """
    folder = stores.settings.home / "vectors" / vintage
    if scratch is not None and not _stands(folder, vintage, stores):
        folder = scratch / vintage
    with stores.ledger.lock("vectors", vintage):
        contents = _brought_up_to_date(folder, vintage, stores)
        if contents.rows == 0:
            raise TryLater(
                code="FPM-VEC-075",
                wrong=f"vintage {vintage} has no fingerprint yet",
                effect="nothing was searched",
                todo="run the job that writes them: fpm backfill fingerprints FIRST LAST",
            )
        return _mapped(folder, vintage, contents)


def _stands(folder: Path, vintage: str, stores: Stores) -> bool:
    contents = _contents(folder)
    return contents is not None and _is_current(contents, _published(vintage, stores))


def _brought_up_to_date(folder: Path, vintage: str, stores: Stores) -> Contents:
    published, contents = _published(vintage, stores), _contents(folder)
    if contents is not None and _is_current(contents, published):
        return contents
    try:
        return _updated(folder, contents, published, stores.lake)
    except (StoreCorrupt, FileNotFoundError):
        again = _published(vintage, stores)
        if again == published:
            raise
        return _updated(folder, contents, again, stores.lake)  # a partition was published anew meanwhile


def _published(vintage: str, stores: Stores) -> dict[str, LakeFile]:
    files = stores.ledger.current([FINGERPRINTS.name])
    return {path: files[path] for path in sorted(files) if parse(path)[1] == vintage}


def statement(contents: Contents) -> bytes:
    """The statement as it is written."""
    return sealed(asdict(contents))


def _contents(folder: Path) -> Contents | None:
    """The statement; None where there is none, or where the files are shorter than it says."""
    try:
        values = unsealed((folder / STATEMENT).read_bytes())
        parts = tuple(Part(**part) for part in values["parts"])
        contents = Contents(int(values["generation"]), int(values["rows"]), tuple(values["symbols"]), parts)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    whole = all(_size(_file(folder, contents.generation, name)) >= contents.rows * _width(name) for name in COLUMNS)
    return contents if whole else None


def _is_current(contents: Contents, published: dict[str, LakeFile]) -> bool:
    archive = {part.path: part.sha256 for part in contents.parts}
    return archive == {path: file.sha256 for path, file in published.items()}


def _updated(folder: Path, former: Contents | None, published: dict[str, LakeFile], lake: Lake) -> Contents:
    """Append what is new, or write a new generation; the caller holds the lock."""
    base = former or Contents(0, 0, (), ())
    live = tuple(part for part in base.parts if part.path in published and published[part.path].sha256 == part.sha256)
    if former is None or sum(part.rows for part in live) < LEAST_LIVE * base.rows:
        base, live = Contents(_unused_generation(folder), 0, (), ()), ()
    live_paths = {part.path for part in live}
    new_files = [file for path, file in published.items() if path not in live_paths]
    contents = _appended(folder, Contents(base.generation, base.rows, base.symbols, live), new_files, lake)
    write_whole(folder / STATEMENT, statement(contents))
    for other in folder.iterdir():
        if other.is_dir() and other.name != str(contents.generation):
            shutil.rmtree(other, ignore_errors=True)  # a reader that mapped it keeps its pages
    return contents


def _unused_generation(folder: Path) -> int:
    return 1 + max((int(path.name) for path in folder.glob("[0-9]*") if path.name.isdecimal()), default=0)


def _appended(folder: Path, contents: Contents, files: Iterable[LakeFile], lake: Lake) -> Contents:
    """The contents with the files' rows after their own; all of it is on the disk when this returns."""
    generation = folder / str(contents.generation)
    generation.mkdir(parents=True, exist_ok=True)
    numbers = {symbol: number for number, symbol in enumerate(contents.symbols)}
    rows, parts = contents.rows, list(contents.parts)
    streams = {name: (generation / f"{name}.raw").open("ab") for name in COLUMNS}
    try:
        for name, stream in streams.items():
            stream.truncate(contents.rows * _width(name))  # drops what an interrupted update left
        for file in files:
            arrays = _arrays(_verified(file, lake), parse(file.path)[2], numbers)
            for name, stream in streams.items():
                stream.write(np.ascontiguousarray(arrays[name], dtype=COLUMNS[name][0]).data)
            parts.append(Part(file.path, file.sha256, rows, len(arrays["known"])))
            rows += len(arrays["known"])
        for stream in streams.values():
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        for stream in streams.values():
            stream.close()
    sync_folder(generation)
    return Contents(contents.generation, rows, tuple(numbers), tuple(sorted(parts, key=lambda part: part.path)))


def _verified(file: LakeFile, lake: Lake) -> pl.DataFrame:
    """All versions in a partition whose bytes are those of the ledger."""
    path = lake.root / file.path
    actual = sha256_of(path) if path.is_file() else None
    if actual != file.sha256:
        raise refusal(path, Seal(file.sha256), actual, "the archive stayed as it was")
    frame = lake.decode_once(path, ["symbol", "vintage", "fingerprint", "created_timestamp"])
    _, vintage, _ = parse(file.path)
    if others := sorted(set(frame["vintage"].unique().to_list()) - {vintage}):
        raise StoreCorrupt(
            code="FPM-VEC-110",
            wrong=f"{path} holds vectors of vintage {', '.join(others)}",
            effect="the archive stayed as it was",
            todo="delete it and run its job again: vectors of two vintages live in two spaces",
        )
    return frame


def _arrays(frame: pl.DataFrame, session: date, numbers: dict[str, int]) -> Arrays:
    """The columns of one partition; new symbols get the next numbers. A version ends where the next one begins."""
    rows = frame.sort("symbol", "created_timestamp").with_columns(
        pl.col("created_timestamp").dt.epoch("us").alias("known"),
        pl.col("created_timestamp").dt.epoch("us").shift(-1).over("symbol").fill_null(NEVER).alias("until"),
    )
    for symbol in rows["symbol"].unique(maintain_order=True).to_list():
        numbers.setdefault(symbol, len(numbers))
    vector_ND = np.zeros((rows.height, FINGERPRINT_SIZE), np.float32)
    present_N = rows["fingerprint"].is_not_null().to_numpy()
    if present_N.any():
        vector_ND[present_N] = rows["fingerprint"].drop_nulls().to_numpy()
    return {
        "vector": vector_ND,
        "length": np.sqrt((vector_ND.astype(np.float64) ** 2).sum(axis=1)),
        "symbol": np.array([numbers[symbol] for symbol in rows["symbol"].to_list()], np.int32),
        "session": np.full(rows.height, day_number(session), np.int32),
        "known": rows["known"].to_numpy(),
        "until": rows["until"].to_numpy(),
    }


def _mapped(folder: Path, vintage: str, contents: Contents) -> Vectors:
    """The columns, mapped; rows that do not count end before they begin, so they are never in force."""
    mapped = {
        f"{name}_{'ND' if shape else 'N'}": np.memmap(
            _file(folder, contents.generation, name), kind, "c" if name == "until" else "r", 0, (contents.rows, *shape)
        )
        for name, (kind, shape) in COLUMNS.items()
    }
    end = 0
    for part in sorted(contents.parts, key=lambda part: part.first):
        mapped["until_N"][end : part.first] = np.iinfo(np.int64).min
        end = part.first + part.rows
    mapped["until_N"][end:] = np.iinfo(np.int64).min
    return Vectors(vintage=vintage, symbols=contents.symbols, **mapped)


def _file(folder: Path, generation: int, column: str) -> Path:
    return folder / str(generation) / f"{column}.raw"


def _width(column: str) -> int:
    kind, shape = COLUMNS[column]
    return int(np.dtype(kind).itemsize * np.prod(shape, dtype=int))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
