"""One published session read by the clients that readers have: rows, frames, Arrow.

Run `python benchmarks/bench_clients.py [--symbols 5300] [--repeats 7]`. Floor: psycopg's rows in binary, nothing
made of them. Three questions: three columns, 158 columns, the fingerprints. Every client has its connection before the
clock starts; a vector is asked for as `real[]`, by csv as the text that it is.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import measure
import pandas as pd
import polars as pl
import psycopg
import sqlalchemy as sa
import wide
from bench_publish import SERVING, disconnect, feature_store, generated, publish

from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.server import directions, ensure_server, stop_server
from fpm.store.settings import Settings

QUESTIONS = {
    "3 columns": f'SELECT symbol, "{wide.COLUMNS[0]}", "{wide.COLUMNS[1]}" FROM serving.wide',
    "158 columns": f"SELECT symbol, {', '.join(wide.COLUMNS)} FROM serving.wide",
    "fingerprints": "SELECT symbol, fingerprint::real[] FROM serving.fingerprints",
}


def compare(settings: Settings, symbols: int, repeats: int) -> None:
    """Publish one session and print a table for each question."""
    server = ensure_server(settings)
    stores = open_stores(settings)
    store = feature_store(
        settings.home / "ours", {"type": "fpm.store.online.online_store.FpmOnlineStore", "dsn": server.dsn}
    )
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(SERVING)
        connection.execute("GRANT SELECT ON serving.wide TO fpm_reader")
    publish(stores, generated(wide.days(1)[0], symbols, 0))
    disconnect(store)
    stores.ledger.close()
    url = directions(settings, "reader")["url"]
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1))
    with psycopg.connect(url) as rows, closing(adbc.connect(url)) as arrow, engine.connect() as frames:
        for title, query in QUESTIONS.items():
            calls = clients(query, rows, arrow, frames)
            spent = measure.interleaved(calls, repeats)
            floor = spent["psycopg, binary rows (floor)"]
            measure.show(
                f"{title} of {symbols:,} symbols",
                ["client", "ms", "x floor"],
                [[client, 1e3 * seconds, seconds / floor] for client, seconds in spent.items()],
            )
    engine.dispose()


def clients(
    query: str, rows: psycopg.Connection[Any], arrow: Any, frames: sa.Connection
) -> dict[str, Callable[[], Any]]:
    """Each client's way to the same rows, by name."""

    def binary() -> Any:
        with rows.cursor(binary=True) as cursor:
            return cursor.execute(query.encode()).fetchall()

    def csv() -> pl.DataFrame:
        with rows.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)".encode()) as copy:
            return pl.read_csv(io.BytesIO(b"".join(copy)))

    def table() -> Any:
        with arrow.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

    def duck() -> Any:
        session = table()
        return duckdb.sql("SELECT count(*), max(symbol) FROM session").fetchall(), session

    return {
        "psycopg, binary rows (floor)": binary,
        "COPY as csv, Polars": csv,
        "ADBC, Arrow": table,
        "ADBC, DuckDB over the Arrow table": duck,
        "pandas.read_sql, SQLAlchemy": lambda: pd.read_sql(sa.text(query), frames),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-clients-") as folder:
        settings = Settings(home=Path(folder) / "home", market="cn", preset="default")
        try:
            compare(settings, options.symbols, options.repeats)
        finally:
            stop_server(settings)


if __name__ == "__main__":
    main()
