"""Online features over HTTP, on loopback: `fpm serve` beside Feast's own feature server on its own Postgres store.

Run `python benchmarks/bench_http.py [--symbols 530] [--clients 1 4 16]`. Both servers have one process, the same rows
of the published factors and fingerprints, the same embedded Postgres, and are warm. Ours checks a token and the
request, reads as the reader from the serving views, and names the publication of an answer, which takes two more
queries; Feast's does none of this. Floor: psycopg, the same rows by one statement, without HTTP.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import measure
import numpy as np
import polars as pl
import psycopg

VINTAGE = "benchmark"


@dataclass(frozen=True)
class Server:
    """A port and a token, "" for a server without one."""

    port: int
    token: str = ""

    def client(self, request: dict[str, Any]) -> Callable[[], bytes]:
        """Return a client with one connection; a call sends the request. Raises RuntimeError for any status but 200."""
        line, body = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60), json.dumps(request).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}

        def ask() -> bytes:
            line.request("POST", "/get-online-features", body, headers)
            answer = line.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {content[:500]!r}")
            return content

        return ask


@contextmanager
def feasts(folder: Path) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("feast")), "-c", str(folder), "serve", "--host", "127.0.0.1"]
    options = ["--port", str(port), "--no-access-log", "--max-requests", "0"]  # by default a worker ends after 1,000
    process = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
    try:
        _wait(port, process)
        yield Server(port)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def ours(home: Path) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "fpm.commands.cli", "serve", "--port", "0", "--json"],
        env={**os.environ, "FPM_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        answer = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        yield Server(int(answer["url"].rpartition(":")[2]), Path(answer["token_file"]).read_text().strip())
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.2)
    raise RuntimeError("Feast's server ended")


# --- the data -----------------------------------------------------------------------------------------------------
def frames(symbols: int, clocks: dict[str, Any]) -> dict[str, pl.DataFrame]:
    from fpm.schema import DAILY_FACTORS_TABLE, FINGERPRINT_SIZE

    rng, names = np.random.default_rng(0), [f"{number:06d}.SZ" for number in range(symbols)]
    moments = [pl.lit(moment, pl.Datetime("us", "UTC")).alias(name) for name, moment in clocks.items()]
    factors = {
        name: rng.standard_normal(symbols)
        for name, kind in DAILY_FACTORS_TABLE.columns.items()
        if kind in ("float32", "float64")
    }
    vectors = pl.Series(rng.standard_normal((symbols, FINGERPRINT_SIZE), dtype=np.float32)).cast(pl.List(pl.Float32))
    return {
        "daily_factors": pl.DataFrame({"symbol": names, **factors}).with_columns(moments),
        "fingerprints": pl.DataFrame({"symbol": names, "vintage": VINTAGE, "fingerprint": vectors}).with_columns(
            moments
        ),
    }


def prepare(home: Path, stock: Path, symbols: int) -> str:
    """Fill both stores; returns the owner's connection string."""
    import yaml
    from feast import FeatureStore

    from feature_repo import definitions
    from fpm.sessions import close, cut_off, market
    from fpm.store.ledger.ledger import Publication
    from fpm.store.ledger.stores import open_stores
    from fpm.store.online.publication import publish_online
    from fpm.store.postgres.server import ensure_server
    from fpm.store.retrieval import features
    from fpm.store.settings import Settings

    settings = Settings(home=home, market="cn", preset="default", log_level="error")
    stores, cn = open_stores(settings), market("cn")
    stores.ledger.decide("market", "cn")
    features.apply(settings)
    day = date(2024, 12, 2)
    rows = frames(symbols, {"event_timestamp": close(cn, day), "created_timestamp": cut_off(cn, day)})
    publish_online(Publication(day, tuple(rows), 0, "0", VINTAGE, "benchmark"), rows, stores)
    stores.ledger.close()
    server = ensure_server(settings)
    stock.mkdir()
    parts = server.parts
    configured = {
        "project": "stock",
        "provider": "local",
        "registry": str(stock / "registry.db"),
        "entity_key_serialization_version": 3,
        "offline_store": {"type": "file"},
        "online_store": {
            "type": "postgres",
            "host": parts["host"],
            "port": int(parts["port"]),
            "database": parts["dbname"],
            "db_schema": "stock",
            "user": parts["user"],
            "password": parts["password"],
            "sslmode": "disable",
        },
    }
    (stock / "feature_store.yaml").write_text(yaml.safe_dump(configured))
    store = FeatureStore(repo_path=str(stock))
    store.apply([*definitions.ENTITIES.values(), definitions.daily_factors, definitions.fingerprints])
    for view, frame in rows.items():
        store.write_to_online_store(view, frame.to_pandas())
    return server.dsn


# --- the run ------------------------------------------------------------------------------------------------------
def compare(dsn: str, servers: dict[str, Server], symbols: int, clients: Sequence[int]) -> None:
    from fpm.schema import DAILY_FACTORS_TABLE, TABLES

    columns = [name for name, kind in DAILY_FACTORS_TABLE.columns.items() if name not in TABLES["daily_factors"].keys]
    names = [f"{number:06d}.SZ" for number in range(symbols)]
    for count in (1, 100):
        request = {
            "features": [*(f"daily_factors:{name}" for name in columns), "fingerprints:fingerprint"],
            "entities": {"symbol": names[:count], "vintage": [VINTAGE] * count},
        }
        spent: dict[str, list[float]] = {"psycopg (floor)": _timed(_raw(dsn, columns, names[:count]), 200)}
        for name, server in servers.items():
            ask = server.client(request)
            for _ in range(20):
                ask()
            spent[name] = _timed(ask, 200)
        rates = {name: [_rate(server, request, each, 3.0) for each in clients] for name, server in servers.items()}
        theirs = float(np.quantile(spent["Feast's own server"], 0.5))
        rows = [
            [
                name,
                *(1e3 * float(np.quantile(seconds, q)) for q in (0.5, 0.99)),
                float(np.quantile(seconds, 0.5)) / theirs,
                *rates.get(name, [""] * len(clients)),
            ]
            for name, seconds in spent.items()
        ]
        measure.show(
            f"HTTP, {count} keys x ({len(columns)} + 128)",
            ["way", "p50 ms", "p99 ms", "x Feast's own", *(f"requests/s, {each} at once" for each in clients)],
            rows,
        )


def _timed(call: Callable[[], Any], repeats: int) -> list[float]:
    return [measure.seconds(call, 1) for _ in range(repeats)]


def _rate(server: Server, request: dict[str, Any], clients: int, seconds: float) -> float:
    """Return the answers per second to `clients` that send requests without a pause."""
    end, counts = time.monotonic() + seconds, [0] * clients

    def hammer(client: int) -> None:
        ask = server.client(request)
        while time.monotonic() < end:
            ask()
            counts[client] += 1

    threads = [threading.Thread(target=hammer, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def _raw(dsn: str, columns: list[str], names: list[str]) -> Callable[[], Any]:
    connection = psycopg.connect(dsn, autocommit=True)
    selected = ", ".join(f'f."{name}"' for name in columns)
    statement: Any = (
        f"SELECT {selected}, p.fingerprint FROM serving.daily_factors f JOIN serving.fingerprints p USING (symbol) "
        "WHERE symbol = ANY(%s)"
    )

    def read() -> Any:
        with connection.cursor(binary=True) as cursor:
            return cursor.execute(statement, (names,)).fetchall()

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=530)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    from fpm.store.postgres.server import stop_server
    from fpm.store.settings import Settings

    with tempfile.TemporaryDirectory(prefix="bench-http-") as folder:
        home, stock = Path(folder) / "home", Path(folder) / "stock"
        try:
            dsn = prepare(home, stock, options.symbols)
            with feasts(stock) as theirs, ours(home) as own:
                compare(dsn, {"Feast's own server": theirs, "fpm serve": own}, options.symbols, options.clients)
        finally:
            stop_server(Settings(home=home))


if __name__ == "__main__":
    main()
