"""Records of a delivery by session and symbol, so that a day larger than memory is read in parts.

A bucket holds whole symbols. Everything here is scratch: one ingest makes the folder and removes it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

SCATTER = 2_654_435_761  # Knuth's multiplicative hash: neighbouring codes, often of one size, go to different buckets


@dataclass
class Buckets:
    """`count` buckets a session below `folder`, with at most `most` records of a symbol-session.

    `rows` counts the records of each (session, bucket, source), `records` all of each (session, symbol), `left_out`
    those beyond `most`.
    """

    folder: Path
    count: int
    most: int
    rows: dict[tuple[date, int, str], int] = field(default_factory=dict)
    records: dict[tuple[date, int], int] = field(default_factory=dict)
    left_out: int = 0

    def add(self, tape: pl.DataFrame, source: str) -> None:
        """Append the records of one file: columns of the tape, and `session`."""
        tape = self._bounded(tape)
        bucket_number = (pl.col("sid").cast(pl.UInt64) * SCATTER % 2**32 % self.count).cast(pl.Int32).alias("bucket")
        parts = tape.with_columns(bucket_number).partition_by("session", "bucket", as_dict=True, include_key=False)
        for (session, bucket), part in parts.items():
            key = (session, bucket, source)
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as sink:
                part.write_ipc_stream(sink, compression="lz4")
            self.rows[key] = self.rows.get(key, 0) + part.height

    def _bounded(self, tape: pl.DataFrame) -> pl.DataFrame:
        counts = tape.group_by("session", "sid").len()
        over = []
        for session, sid, count in counts.iter_rows():
            self.records[session, sid] = self.records.get((session, sid), 0) + count
            over += [(session, sid)] * (self.records[session, sid] > self.most)
        if not over:
            return tape
        large = pl.DataFrame(over, schema={"session": pl.Date, "sid": pl.Int32}, orient="row")
        bounded = tape.join(large, on=["session", "sid"], how="anti", maintain_order="left")
        self.left_out += tape.height - bounded.height
        return bounded

    def too_large(self, session: date) -> pl.DataFrame:
        """Symbols of the session with more than `most` records: `sid`, `reason_code`, `reason`."""
        rows = [
            (sid, "FPM-RES-143", f"{count} records, more than {self.most}")
            for (day, sid), count in sorted(self.records.items())
            if day == session and count > self.most
        ]
        schema = {"sid": pl.Int32, "reason_code": pl.String, "reason": pl.String}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def drop(self, source: str) -> None:
        """Remove the records of one file, which was refused."""
        for key in [key for key in self.rows if key[2] == source]:
            self._path(key).unlink()
            del self.rows[key]

    def sessions(self) -> list[date]:
        """Every session with records, in order."""
        return sorted({session for session, _, _ in self.rows})

    def numbers(self, session: date) -> list[int]:
        """Numbers of the session's buckets that are not empty, in order."""
        return sorted({bucket for day, bucket, _ in self.rows if day == session})

    def read(self, session: date, bucket: int) -> pl.DataFrame:
        """All records of one bucket, in the order of their arrival."""
        keys = [key for key in self.rows if key[:2] == (session, bucket)]
        return pl.concat([part for key in keys for part in _streams(self._path(key))])

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, key: tuple[date, int, str]) -> Path:
        session, bucket, source = key
        return self.folder / str(session) / f"{bucket}-{source}.arrow"


def _streams(path: Path) -> list[pl.DataFrame]:
    """The frames of a file, which are streams one after the other."""
    parts, size = [], path.stat().st_size
    with pa.OSFile(str(path)) as source:
        while source.tell() < size:
            with pa.ipc.open_stream(source) as stream:
                parts.append(pl.DataFrame(pl.from_arrow(stream.read_all())))
    return parts
