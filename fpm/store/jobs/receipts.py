"""The vendor files that were ingested: a known file brings nothing new, whatever corrected it since."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from fpm.json_documents import sealed, unsealed
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fpm.store.ledger.stores import Stores


def keep_receipt(
    job: str, source: Path, sha256: str, sessions: Sequence[date], stores: Stores, vintage: str | None = None
) -> None:
    """Record that every row of a file is published, under the digest of the file's bytes."""
    receipt = {"job": job, "file": source.name, "sessions": [str(day) for day in sorted(sessions)]}
    receipt |= {"vintage": vintage} if vintage else {}
    write_whole(_receipt(sha256, stores), sealed(receipt))


def sessions_ingested(sha256: str, stores: Stores) -> list[date] | None:
    """The sessions of an ingested file; None for a new file, or one whose partitions or receipt are lost."""
    path = _receipt(sha256, stores)
    if not path.is_file():
        return None
    try:
        receipt = unsealed(path.read_bytes())
        days = [date.fromisoformat(text) for text in receipt["sessions"]]
        job = str(receipt["job"])
        above = f"{receipt['vintage']}/" if "vintage" in receipt else ""
    except (ValueError, KeyError, TypeError):
        return None  # a damaged receipt is none: reading the file again changes nothing
    published = stores.ledger.latest_of_each(job, [f"{above}{day}" for day in days], "published")
    files = [stores.lake.root / staged.file.path for attempt in published.values() for staged in attempt.files]
    if len(published) < len(days) or not all(file.is_file() for file in files):
        return None
    return days


def _receipt(sha256: str, stores: Stores) -> Path:
    return stores.settings.home / "receipts" / f"{sha256}.json"
