"""What holds after every step (I1 to I7, I9 of the table in docs/night.md), read from the files and the database."""

from __future__ import annotations

import os
import re
from datetime import date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg

from tests.simulation.turns import Violation

FILE = re.compile(r"(minute_bars|daily_bars|labels|scores)/session=\d{4}-\d\d-\d\d/part-0\.parquet")
FILES = """
SELECT path, sha256, false FROM fpm.files
UNION ALL SELECT file ->> 'path', file ->> 'sha256', true FROM fpm.ledger, jsonb_array_elements(files) AS file
WHERE status = 'prepared'
"""
OWNERS = """
SELECT job, partition FROM fpm.ledger WHERE status IN ('running', 'prepared') GROUP BY 1, 2 HAVING count(*) > 1
"""
ONLINE = """
SELECT (SELECT session FROM fpm.publications ORDER BY session DESC, id DESC LIMIT 1),
    (SELECT sha256 FROM fpm.publications ORDER BY session DESC, id DESC LIMIT 1),
    (SELECT array_agg(symbol ORDER BY symbol) FROM online.scores),
    (SELECT array_agg(score::real::float8 ORDER BY symbol) FROM online.scores),
    (SELECT min(session) FROM online.scores), (SELECT max(event_timestamp) FROM online.scores)
"""


class Invariants:
    """Compares the lake with the ledger, and the online rows with the publication that says they are ready."""

    def __init__(self, lake: Path, watch: psycopg.Connection[Any]) -> None:
        self._lake, self._watch = lake, watch
        self._hashes: dict[tuple[str, int, int, int], str] = {}
        self._newest: tuple[date, datetime] | None = None
        self.checks = 0

    def check(self) -> None:
        """Raises Violation."""
        self.checks += 1
        self._files()
        for job, partition in self._watch.execute(OWNERS).fetchall():
            raise Violation(f"I7: {job} {partition} has two owners")
        self._online()

    def _files(self) -> None:
        current: dict[str, str] = {}
        coming: dict[str, set[str]] = {}
        for path, digest, prepared in self._watch.execute(FILES).fetchall():
            if prepared:
                coming.setdefault(path, set()).add(digest)
            else:
                current[path] = digest
        visible = self._visible()
        for path, digest in visible.items():
            if not FILE.fullmatch(path):
                raise Violation(f"I9: {path} is no file of the lake")
            if digest != current.get(path) and digest not in coming.get(path, ()):
                raise Violation(f"I1: the ledger does not know the bytes of {path}")
        for path, digest in current.items():
            if visible.get(path) != digest and visible.get(path) not in coming.get(path, ()):
                raise Violation(f"I2: {path} is published and {'other' if path in visible else 'no'} bytes are there")

    def _visible(self) -> dict[str, str]:
        """sha256 of every file in the lake by its path."""
        begin = len(str(self._lake)) + 1
        paths = [f"{folder}/{name}" for folder, _, names in os.walk(self._lake) for name in names]
        return {path[begin:]: self._hash(path) for path in paths}

    def _hash(self, path: str) -> str:
        stat = Path(path).stat()
        key = (path, stat.st_ino, stat.st_ctime_ns, stat.st_size)
        if key not in self._hashes:
            self._hashes[key] = sha256(Path(path).read_bytes()).hexdigest()
        return self._hashes[key]

    def _online(self) -> None:
        session, digest, symbols, scores, oldest, event = self._watch.execute(ONLINE).fetchone() or (None,) * 6
        if session is None and not symbols:
            return
        rows = list(zip(symbols or (), scores or (), strict=True))
        if session is None or sha256(repr(rows).encode()).hexdigest() != digest or oldest != session:
            raise Violation(f"I3: the rows online are not those of the publication of {session}")
        if self._newest and (session, event) < self._newest:
            raise Violation(f"I6: {session} is online after {self._newest[0]}")
        self._newest = session, event

    def bytes(self) -> dict[str, str]:
        """sha256 of every visible file, and of the rows online."""
        self.check()
        files = self._visible()
        row = self._watch.execute(ONLINE).fetchone()
        return files | {"online": repr(row and row[:4])}
