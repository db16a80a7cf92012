"""A table as wide as a real factor library, and sessions of it: the data of the store's benchmarks.

`wide` has 158 float32 columns per symbol; the package's own `fingerprints` is the other table. Only this process
declares `wide`; it is not part of the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Float32, String

from fpm import sessions
from fpm.schema import FINGERPRINT_SIZE, FINGERPRINTS, STREAMS, TABLES, Table
from fpm.store.lake.files import Lake

WIDTH, VINTAGE = 158, "benchmark"
COLUMNS = tuple(f"factor_{i:03d}" for i in range(WIDTH))
WIDE = Table("wide", ("symbol",), {"symbol": "string", **dict.fromkeys(COLUMNS, "float32")}, view=True, online=True)
TABLES[WIDE.name] = WIDE
MARKET = sessions.market("cn")
FIRST = date(2016, 1, 4)  # ten years of sessions fit before the calendar ends


def days(count: int) -> list[date]:
    """Return `count` sessions of the Chinese market from 2016 on."""
    return sessions.next_sessions(MARKET, FIRST, count)


def symbols(count: int) -> list[str]:
    return [f"{600000 + i}.SH" for i in range(count)]


def clocks(day: date) -> dict[str, datetime]:
    """Return the close, and the cut-off at which a row could first be known."""
    return {"event_timestamp": sessions.close(MARKET, day), "created_timestamp": sessions.cut_off(MARKET, day)}


def wide(rng: np.random.Generator, day: date, names: list[str]) -> pl.DataFrame:
    """Return one session of `wide`."""
    values_FN = rng.standard_normal((WIDTH, len(names)), dtype=np.float32)
    return _with_clocks(pl.DataFrame({"symbol": names} | dict(zip(COLUMNS, values_FN, strict=True))), day)


def fingerprints(rng: np.random.Generator, day: date, names: list[str]) -> pl.DataFrame:
    """Return one session of `fingerprints`."""
    values_ND = rng.standard_normal((len(names), FINGERPRINT_SIZE), dtype=np.float32)
    vectors = pl.Series("fingerprint", values_ND, dtype=pl.Array(pl.Float32, FINGERPRINT_SIZE))
    return _with_clocks(pl.DataFrame({"symbol": names, "vintage": VINTAGE, "fingerprint": vectors}), day)


def scores(rng: np.random.Generator, day: date, names: list[str]) -> pl.DataFrame:
    """Return one session of `scores`, every stream."""
    rows = pl.DataFrame({"symbol": np.repeat(names, len(STREAMS)), "stream": list(STREAMS) * len(names)})
    values = rng.standard_normal((2, len(rows)))
    return _with_clocks(
        rows.with_columns(
            score=values[0], spread=np.abs(values[1]), vintage=pl.lit(VINTAGE), model=pl.lit("benchmark")
        ),
        day,
    )


def fill(lake: Lake, count: int, names: list[str], with_fingerprints: bool, seed: int = 0) -> None:
    """Put `count` sessions into the lake, in the lake's own format."""
    rng = np.random.default_rng(seed)
    for day in days(count):
        for table, frame, vintage in _partitions(rng, day, names, with_fingerprints):
            relative = lake.relative(table, day, vintage)
            lake.stage(table, frame, relative, lake.staging)
            lake.put(lake.staging / relative, relative)


def _partitions(
    rng: np.random.Generator, day: date, names: list[str], with_fingerprints: bool
) -> Iterator[tuple[str, pl.DataFrame, str | None]]:
    yield WIDE.name, wide(rng, day, names), None
    if with_fingerprints:
        yield FINGERPRINTS.name, fingerprints(rng, day, names), VINTAGE


def _with_clocks(frame: pl.DataFrame, day: date) -> pl.DataFrame:
    stamped = (pl.lit(moment, dtype=pl.Datetime("us", "UTC")).alias(name) for name, moment in clocks(day).items())
    return frame.with_columns(*stamped)


def entities(day: date, names: list[str], with_vintage: bool) -> pl.DataFrame:
    """Return one session's entity rows: the close, as known at the cut-off."""
    keys = {"symbol": names} | ({"vintage": VINTAGE} if with_vintage else {})
    return _with_clocks(pl.DataFrame(keys), day).rename({"created_timestamp": "known_at"})


def definitions(folders: Mapping[str, Path] | None = None) -> list[Entity | FeatureView]:
    """Return Feast's entities and views of the two tables.

    `folders`: the folders of the tables' files for Feast's own stores; only these tables get a view.
    """
    symbol, vintage = (
        Entity(name=name, join_keys=[name], value_type=ValueType.STRING) for name in ("symbol", "vintage")
    )
    vector = Field(name="fingerprint", dtype=Array(Float32), vector_length=FINGERPRINT_SIZE)
    factors = [Field(name=name, dtype=Float32) for name in COLUMNS]
    paths = {name: name for name in ("wide", "fingerprints")} if folders is None else folders
    views = {"wide": ([symbol], factors), "fingerprints": ([symbol, vintage], [vector])}
    return [symbol, vintage, *(_view(name, str(path), *views[name]) for name, path in paths.items())]


def _view(name: str, path: str, keys: list[Entity], fields: list[Field]) -> FeatureView:
    source = FileSource(
        name=name,
        path=path,
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    keyed = [Field(name=key.join_key, dtype=String) for key in keys]
    return FeatureView(
        name=name, entities=keys, schema=[*keyed, *fields], source=source, ttl=timedelta(days=10), online=True
    )
