"""Earlier sessions online: entering them, and one stock's scores over all of them, by SQL as a reader.

Run `python benchmarks/bench_history.py [--sessions 500] [--symbols 5300] [--reads 300]`. Three streams a stock, entered
session by session by the publication's own code, without fsync. A read is of another stock each time, through
`serving.scores_known_at`; its floor is the same rows of the bare table by its index, without publications.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import measure
import numpy as np
import psycopg
import wide

from fpm.schema import STREAMS
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.online import history
from fpm.store.postgres.server import ensure_server, stop_server
from fpm.store.settings import Settings

KNOWN = "SELECT session, stream, score, spread, publication FROM serving.scores_known_at(%s, %s, %s)"
DUAL = KNOWN + " WHERE stream = 'dual'"
FLOOR = (
    "SELECT session, stream, score, spread, publication FROM online.score_history "
    "WHERE symbol = %s AND session >= %s AND session <= %s"
)
SIZE = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('online.score_history')"


def fill(stores: Stores, sessions: list[date], names: list[str]) -> list[float]:
    """Enter the sessions; the seconds of each."""
    spent, rng = [], np.random.default_rng(0)
    for number, session in enumerate(sessions):
        frames = {"scores": wide.scores(rng, session, names)}
        started = time.perf_counter()
        publication = Publication(session, ("scores",), 0, f"{number}", wide.VINTAGE, "benchmark")
        with stores.ledger.transaction() as connection:
            history.enter(connection, stores.ledger.record_publication(connection, publication), session, frames)
        spent.append(time.perf_counter() - started)
    return spent


def times(ask: Callable[[str], list[Any]], names: list[str], rows: int) -> list[float]:
    spent = []
    for name in names:
        started = time.perf_counter()
        count = len(ask(name))
        spent.append(1e3 * (time.perf_counter() - started))
        if count != rows:
            raise RuntimeError(f"{count} rows of {name}, not {rows}")
    return spent


def compare(settings: Settings, count: int, symbols: int, reads: int) -> None:
    stores, names, sessions = open_stores(settings), wide.symbols(symbols), wide.days(count)
    entered = fill(stores, sessions, names)
    stores.ledger.execute("VACUUM (ANALYZE) online.score_history")
    ((size,),) = stores.ledger.query(SIZE)
    rng = np.random.default_rng(1)
    chosen = [names[place] for place in rng.integers(0, symbols, reads)]
    ends = (sessions[0], sessions[-1])
    rows = []
    server = ensure_server(settings)
    with (
        psycopg.connect(server.dsn, autocommit=True) as owner,
        psycopg.connect(server.logins["reader"], autocommit=True) as reader,
    ):
        for way, connection, statement, streams in (
            ("bare table by its index, all streams", owner, FLOOR, len(STREAMS)),
            ("serving.scores_known_at, all streams", reader, KNOWN, len(STREAMS)),
            ("serving.scores_known_at, one stream", reader, DUAL, 1),
        ):
            ask = lambda name, c=connection, s=statement: c.execute(s, (name, *ends)).fetchall()  # noqa: E731  one question a way
            first, warm = (times(ask, chosen, count * streams) for _ in range(2))
            rows.append([way, *(float(np.quantile(part, q)) for part in (first, warm) for q in (0.5, 0.99))])
    measure.show(
        f"one stock of {symbols:,}, {count} sessions, ms",
        ["way", "first p50", "p99", "again p50", "p99"],
        rows,
    )
    print(
        f"entering a session: median {np.median(entered):.3f} s; {int(size) / count / 1e6:.1f} MB a session on the disk"
    )
    stores.ledger.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--symbols", type=int, default=5300)
    parser.add_argument("--reads", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-history-") as folder:
        settings = Settings(home=Path(folder) / "home", market="cn", preset="default", fsync=False, log_level="error")
        try:
            compare(settings, options.sessions, options.symbols, options.reads)
        finally:
            stop_server(settings)


if __name__ == "__main__":
    main()
