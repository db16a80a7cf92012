"""Refused rows and files: `quarantine/<table>/session=.../<sha12>.parquet` and `quarantine/files/*.json`.

Names follow from the source's bytes, so a delivery leaves the same files however often it is ingested.
"""

from __future__ import annotations

import io
import json
import os
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PanicException, PolarsError

from fpm.errors import StoreCorrupt
from fpm.json_documents import from_json
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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


def kept_rows(path: Path, columns: Sequence[str] = ("reason_code", "reason")) -> pl.DataFrame:
    """`columns` (texts) of every row in a file of `keep_rows`. Raises StoreCorrupt for a damaged one."""
    try:
        return pl.read_parquet(path, columns=list(columns), glob=False).cast(pl.String)
    except (PolarsError, PanicException, OSError, ValueError) as error:
        raise _damaged(path, error) from None


def kept_refusal(path: Path) -> tuple[str, str, str]:
    """File, code and wrong of a note of `keep_refusal`. Raises StoreCorrupt for a damaged one."""
    try:
        note = from_json(path.read_bytes())
        return str(note["file"]), str(note["code"]), str(note["wrong"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: BaseException) -> StoreCorrupt:
    first = (str(error).splitlines() or [""])[0][:120]
    return StoreCorrupt(
        code="FPM-IN-196",
        wrong=f"{path.name} in quarantine cannot be read ({type(error).__name__}: {first})",
        effect="what it held is not counted",
        todo="delete it; the file it came from leaves it again when it is ingested into an empty home",
    )
