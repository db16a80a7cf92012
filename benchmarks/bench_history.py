"""Earlier sessions online: entering them, and one stock's scores over all of them, by SQL as a reader.

Run `python benchmarks/bench_history.py [--sessions 500] [--symbols 5300] [--reads 300]`. Three streams a stock, entered
session by session by the publication's own code, without fsync. A read is of another stock each time, through
`serving.scores_known_at`; its floor is the same rows of the bare table by its index, without publications, as text and
in binary. Ways take turns of ten reads; beside the wall the least turn's processor time of the server's process and of
this one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, LiteralString

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
TURN = 10  # reads; psycopg prepares a statement at the sixth, PostgreSQL plans it for good five later
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


@dataclass
class Way:
    """A question over one connection, and the milliseconds of its reads: wall of each, processor time by turns."""

    connection: psycopg.Connection[Any]
    statement: LiteralString
    streams: int
    binary: bool
    wall: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)

    def turn(self, names: list[str], ends: tuple[date, date], sessions: int) -> None:
        """Read each name once."""
        server, client = self._server_time(), time.process_time()
        for name in names:
            started = time.perf_counter()
            with self.connection.cursor(binary=self.binary) as cursor:
                count = len(cursor.execute(self.statement, (name, *ends)).fetchall())
            self.wall.append(1e3 * (time.perf_counter() - started))
            if count != sessions * self.streams:
                raise RuntimeError(f"{count} rows of {name}, not {sessions * self.streams}")
        self.server.append((self._server_time() - server) / len(names))
        self.client.append(1e3 * (time.process_time() - client) / len(names))

    def _server_time(self) -> float:
        """Milliseconds on a processor (proc(5), schedstat)."""
        return int(Path(f"/proc/{self.connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e6


def compare(settings: Settings, count: int, symbols: int, reads: int) -> None:
    stores, names, sessions = open_stores(settings), wide.symbols(symbols), wide.days(count)
    entered = fill(stores, sessions, names)
    stores.ledger.execute("VACUUM (ANALYZE) online.score_history")
    ((size,),) = stores.ledger.query(SIZE)
    rng = np.random.default_rng(1)
    chosen = [names[place] for place in rng.integers(0, symbols, reads)]
    server = ensure_server(settings)
    with (
        psycopg.connect(server.dsn, autocommit=True) as owner,
        psycopg.connect(server.logins["reader"], autocommit=True) as reader,
    ):
        ways = {
            f"{way}, {'binary' if binary else 'text'}": Way(connection, statement, streams, binary)
            for way, connection, statement, streams in (
                ("bare table by its index, all streams", owner, FLOOR, len(STREAMS)),
                ("serving.scores_known_at, all streams", reader, KNOWN, len(STREAMS)),
                ("serving.scores_known_at, one stream", reader, DUAL, 1),
            )
            for binary in (False, True)
        }
        for first in range(0, reads, TURN):
            for way in ways.values():
                way.turn(chosen[first : first + TURN], (sessions[0], sessions[-1]), count)
    measure.show(
        f"one stock of {symbols:,}, {count} sessions, ms",
        ["way", "least", "p50", "p99", "processor", "server", "client"],
        [
            [name, min(way.wall), *np.quantile(way.wall, (0.5, 0.99)).tolist(), sum(least), *least]
            for name, way in ways.items()
            for least in [(min(way.server), min(way.client))]
        ],
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
