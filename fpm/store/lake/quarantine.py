"""Refused rows and files: `quarantine/<table>/session=.../<sha12>.parquet` and `quarantine/files/*.json`.

Names follow from the source's bytes, so a delivery leaves the same files however often it is ingested.
"""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from fpm.errors import FpmError

NO_SESSION = "none"
LONG_NAME = 200  # bytes of a file's name


def keep_rows(folder: Path, table: str, rows: pl.DataFrame, sha256: str) -> None:
    """Write the refused rows of one source, in files by session.

    Columns of `rows`: those of the original row under our names, `session` (may be null), `reason_code`, `reason`,
    `source`, `row`.
    """
    for (session,), part in rows.sort("row").partition_by("session", as_dict=True, maintain_order=True).items():
        sink = io.BytesIO()
        part.drop("session").write_parquet(sink, compression="zstd", compression_level=1)
        write_whole(folder / table / f"session={session or NO_SESSION}" / f"{sha256[:12]}.parquet", sink.getvalue())


def keep_refusal(folder: Path, source: Path, sha256: str, refusal: FpmError) -> None:
    """Write a note about a file that was refused whole; the file itself stays where it is."""
    name = os.fsencode(source.name).decode("utf-8", "backslashreplace")
    note = {"file": name, "sha256": sha256, "code": refusal.code, "wrong": refusal.wrong, "todo": refusal.todo}
    content = json.dumps(note, indent=1, ensure_ascii=False).encode()
    label = name.encode()[:LONG_NAME].decode(errors="ignore")  # leaves room for the rest
    write_whole(folder / "files" / f"{label}-{sha256[:12]}.json", content)
