"""One session online: publish 158 columns, a 128-vector and three scores a symbol, then read them back.

Run `python benchmarks/bench_publish.py [--symbols 5300] [--stock-symbols 530] [--large] [--repeats 4]`. Floor of
publishing: binary COPY of the same values, two arrays per row, and of the scores, into bare tables without an index.
Sessions go online in turn without and with their entry in the history (`FPM_ONLINE_HISTORY`). Peer: Feast's own
Postgres store, written through `write_to_online_store` with `--stock-symbols` and scaled to all symbols (`--large`:
with all of them); it writes one row per value. Floor of reading a whole market: psycopg, binary, the same query. All
share one embedded server with fsync.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from itertools import cycle
from pathlib import Path
from typing import Any

import measure
import numpy as np
import polars as pl
import psycopg
import wide
from feast import FeatureStore, RepoConfig

from fpm.schema import CLOCKS, FINGERPRINT_SIZE, STREAMS, TABLES
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.online.publication import publish_online, served
from fpm.store.online.tables import online_table
from fpm.store.postgres.binary_copy import HEADER, POSTGRES_EPOCH, TRAILER, encode
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.settings import Settings

VIEWS = ("wide", "fingerprints")
PUBLISHED = (*VIEWS, "scores")
FEATURES = [*(f"wide:{name}" for name in wide.COLUMNS), "fingerprints:fingerprint"]
FLOOR_TABLE = (
    "CREATE TABLE floor_copy (symbol text, factors real[], vector real[], event timestamptz, created timestamptz); "
    "CREATE TABLE floor_scores (symbol text, stream text, score float8, spread float8, vintage text, model text, "
    "event_timestamp timestamptz, created_timestamp timestamptz)"
)
SERVING = """CREATE OR REPLACE VIEW serving.wide AS SELECT held.* FROM online.wide AS held JOIN (
    SELECT session FROM fpm.publications WHERE 'wide' = ANY (views) ORDER BY session DESC, id DESC LIMIT 1
) AS published ON published.session = held.session"""


@dataclass(frozen=True)
class Market:
    """One session's rows of both views."""

    session: date
    frames: dict[str, pl.DataFrame]

    def head(self, symbols: int) -> Market:
        return Market(self.session, {view: frame.head(symbols) for view, frame in self.frames.items()})

    @property
    def symbols(self) -> list[str]:
        return self.frames["wide"]["symbol"].to_list()


def generated(session: date, symbols: int, seed: int) -> Market:
    rng, names = np.random.default_rng(seed), wide.symbols(symbols)
    return Market(
        session,
        {
            "wide": wide.wide(rng, session, names),
            "fingerprints": wide.fingerprints(rng, session, names),
            "scores": wide.scores(rng, session, names),
        },
    )


# --- publish ----------------------------------------------------------------------------------------------------
def copy_arrays(dsn: str, market: Market) -> None:
    """Run the floor: from the same frames to committed rows."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE floor_copy, floor_scores")
        with cursor.copy("COPY floor_copy FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(array_stream(market))
        with cursor.copy("COPY floor_scores FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(encode(market.frames["scores"], online_table("scores").stored))


def array_stream(market: Market) -> bytes:
    """Return COPY's bytes.

    Format: https://www.postgresql.org/docs/18/sql-copy.html, "Binary Format"; arrays as `array_send`.
    """
    factors_NF = market.frames["wide"].select(wide.COLUMNS).to_numpy()
    vectors_ND = market.frames["fingerprints"]["fingerprint"].to_numpy()
    moment = np.dtype([("size", ">i4"), ("value", ">i8")])
    parts = np.zeros(
        len(factors_NF),
        np.dtype(
            [
                ("factors", array_type(wide.WIDTH)),
                ("vector", array_type(FINGERPRINT_SIZE)),
                *((clock, moment) for clock in CLOCKS),
            ]
        ),
    )
    for name, values in (("factors", factors_NF), ("vector", vectors_ND)):
        part, width = parts[name], values.shape[1]
        part["size"], part["dimensions"], part["oid"] = 20 + 8 * width, 1, 700
        part["length"], part["lower"], part["items"]["size"], part["items"]["value"] = width, 1, 4, values
    for clock in CLOCKS:
        parts[clock]["size"] = 8
        parts[clock]["value"] = market.frames["wide"][clock].dt.epoch("us").to_numpy() - POSTGRES_EPOCH
    stream, step, fields = parts.tobytes(), parts.dtype.itemsize, struct.pack(">h", 5)
    rows = []
    for row, symbol in enumerate(market.symbols):
        name = symbol.encode()
        rows += [fields, struct.pack(">i", len(name)), name, stream[row * step : (row + 1) * step]]
    return b"".join([HEADER, *rows, TRAILER])


def array_type(width: int) -> np.dtype[np.void]:
    """Return the type of a one-dimensional real[] without nulls."""
    item = np.dtype([("size", ">i4"), ("value", ">f4")])
    heads = [(name, ">i4") for name in ("size", "dimensions", "flags", "oid", "length", "lower")]
    return np.dtype([*heads, ("items", item, (width,))])


def publish(stores: Stores, market: Market) -> None:
    """Publish the views and the publication's row in one transaction, with guards, types and indexes."""
    publication = Publication(market.session, PUBLISHED, 0, f"{time.time_ns():064x}", wide.VINTAGE, "benchmark")
    if publish_online(publication, market.frames, stores) != "published":
        raise RuntimeError("nothing was published")


def write_stock(store: FeatureStore, frames: dict[str, Any]) -> None:
    for view, frame in frames.items():
        store.write_to_online_store(view, frame)


def compare_publishing(
    stores: Stores, dsn: str, stock: FeatureStore, markets: list[Market], stock_symbols: int
) -> None:
    """Publish later sessions over earlier ones, as every night does: rows are replaced."""
    count = len(markets[0].symbols)
    night = iter(markets)
    publish(stores, next(night))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(FLOOR_TABLE)
    bare = replace(stores, settings=stores.settings.model_copy(update={"online_history": 0}))
    floors, theirs = [], []
    ours: dict[str, list[float]] = {"ours without history": [], "ours": []}
    for market, (way, own) in zip(night, cycle(zip(ours, (bare, stores), strict=True))):
        floors.append(measure.seconds(lambda market=market: copy_arrays(dsn, market), 1))
        ours[way].append(measure.seconds(lambda market=market, own=own: publish(own, market), 1))
    for market in markets[:2]:
        stock_frames = {view: frame for view, frame in market.head(stock_symbols).frames.items() if view in VIEWS}
        frames = {view: pandas(frame) for view, frame in stock_frames.items()}
        theirs.append(measure.seconds(lambda frames=frames: write_stock(stock, frames), 1) * count / stock_symbols)
    floor = min(floors)
    best = {way: min(spent) for way, spent in ours.items()}
    rows = [("binary COPY (floor)", floor), *best.items(), ("Feast's Postgres store, without scores", min(theirs))]
    measure.show(
        f"publish one session, {count:,} x ({wide.WIDTH} + {FINGERPRINT_SIZE} + {len(STREAMS)} scores)",
        ["way", "seconds", "x floor", "x ours"],
        [[way, spent, spent / floor, spent / best["ours"]] for way, spent in rows],
    )
    if stock_symbols < count:
        print(f"Feast's Postgres store: measured with {stock_symbols:,} symbols, scaled to all")


def pandas(frame: pl.DataFrame) -> Any:
    lists = pl.selectors.array()
    return frame.with_columns(lists.arr.to_list()).to_pandas()


# --- read -------------------------------------------------------------------------------------------------------
def compare_online(ours: FeatureStore, served: FeatureStore, stock: FeatureStore, symbols: list[str]) -> None:
    """Compare warm stores: connections open, statements prepared.

    Feast's store holds one connection; ours takes one from its pool for every request. `ours, serving`: the published
    session, as readers get it.
    """
    rows = []
    for count in (1, 100):
        entities = [{"symbol": symbol, "vintage": wide.VINTAGE} for symbol in symbols[:count]]
        stores = {"stock": stock, "ours": ours, "serving": served}
        spent = measure.interleaved({name: sdk(store, entities) for name, store in stores.items()}, 5, inner=20)
        theirs, own, serving = (1e3 * spent[name] for name in stores)
        rows.append([f"{count} keys", theirs, own, serving, own / theirs, serving / theirs])
    heads = ["Feast SDK, 158 + 128", "its own ms", "ours ms", "ours, serving ms", "ours / its own", "serving / its own"]
    measure.show("online read, get_online_features(...).to_dict()", heads, rows)


def sdk(store: FeatureStore, entities: list[dict[str, str]]) -> Callable[[], Any]:
    return lambda: store.get_online_features(features=FEATURES, entity_rows=entities).to_dict()


def compare_bulk(stores: Stores, dsn: str, count: int) -> None:
    spent = measure.interleaved({"raw": lambda: raw(dsn), "ours": lambda: [served(view, stores) for view in VIEWS]}, 5)
    measure.show(
        f"whole market by SQL, {count:,} x ({wide.WIDTH} + {FINGERPRINT_SIZE})",
        ["way", "ms", "x psycopg"],
        [
            ["psycopg, binary rows (floor)", 1e3 * spent["raw"], 1.0],
            ["publication.served, a frame", 1e3 * spent["ours"], spent["ours"] / spent["raw"]],
        ],
    )


def raw(dsn: str) -> list[Any]:
    """Read the same columns as Python rows, vectors as lists."""
    rows: list[Any] = []
    with psycopg.connect(dsn) as connection, connection.cursor(binary=True) as cursor:
        for view in VIEWS:
            kinds = TABLES[view].columns | dict.fromkeys(CLOCKS, "moment")
            columns = ", ".join(f"{name}::real[]" if kind == "vector" else name for name, kind in kinds.items())
            rows += cursor.execute(f"SELECT {columns} FROM serving.{view}").fetchall()
    return rows


# --- both stores ------------------------------------------------------------------------------------------------
def feature_store(folder: Path, online: dict[str, Any]) -> FeatureStore:
    """Return Feast over one online store, with the two views."""
    folder.mkdir()
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store=online,
        offline_store={"type": "fpm.store.frames.offline_store.FpmOfflineStore", "lake": str(folder / "lake")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config, repo_path=folder)
    store.apply(wide.definitions())
    return store


def stock_online(parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "postgres",
        "host": parts["host"],
        "port": int(parts["port"]),
        "database": parts["dbname"],
        "db_schema": "stock",
        "user": parts["user"],
        "password": parts["password"],
        "sslmode": "disable",
        "vector_enabled": True,
    }


def compare(settings: Settings, symbols: int, stock_symbols: int, repeats: int) -> None:
    server = ensure_server(settings)
    stores = open_stores(settings)
    markets = [generated(session, symbols, seed) for seed, session in enumerate(wide.days(1 + 2 * repeats))]
    stock = feature_store(settings.home / "stock", stock_online(server.parts))
    own = {"type": "fpm.store.online.online_store.FpmOnlineStore", "dsn": server.dsn}
    ours = feature_store(settings.home / "ours", own)
    served = feature_store(settings.home / "served", own | {"place": "serving"})
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(SERVING)
    compare_publishing(stores, server.dsn, stock, markets, stock_symbols)
    compare_online(ours, served, stock, markets[0].symbols[:stock_symbols])
    compare_bulk(stores, server.dsn, symbols)
    for store in (ours, served, stock):
        disconnect(store)
    stores.ledger.close()


def disconnect(store: FeatureStore) -> None:
    online = store._get_provider().online_store  # noqa: SLF001  Feast has no public way to its connection
    if hasattr(online, "disconnect"):
        online.disconnect()
    elif online._conn is not None:  # noqa: SLF001  as above
        online._conn.close()  # noqa: SLF001  as above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--stock-symbols", type=int, default=530, help="symbols written through Feast's own store")
    parser.add_argument("--large", action="store_true", help="all symbols through Feast's own store, too")
    parser.add_argument("--repeats", type=int, default=4, help="nights of each way; the least time counts")
    options = parser.parse_args()
    stock_symbols = options.symbols if options.large else min(options.stock_symbols, options.symbols)
    with tempfile.TemporaryDirectory(prefix="bench-publish-") as folder:
        settings = Settings(home=Path(folder) / "home", market="cn", preset="default")
        try:
            compare(settings, options.symbols, stock_symbols, options.repeats)
        finally:
            stop_server(settings)


if __name__ == "__main__":
    main()
