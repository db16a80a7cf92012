"""Which vendor files were taken in: a file ingested before is no news, whatever corrected it since."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fpm.store.ledger.stores import Stores


def keep_receipt(job: str, source: Path, sha256: str, sessions: Sequence[date], stores: Stores) -> None:
    """Note that every row of a file is published; named by the file's bytes."""
    folder = stores.settings.home / "receipts"
    content = json.dumps({"job": job, "file": source.name, "sessions": [str(each) for each in sorted(sessions)]})
    write_whole(folder / f"{sha256}.json", content.encode())


def sessions_ingested(sha256: str, stores: Stores) -> list[date] | None:
    """Sessions a file was published into; None for a file never taken in, or taken into partitions since lost."""
    note = stores.settings.home / "receipts" / f"{sha256}.json"
    if not note.is_file():
        return None
    receipt = json.loads(note.read_bytes())
    published = stores.ledger.published_attempts(receipt["job"], receipt["sessions"])
    files = [stores.lake.root / each.file.path for attempt in published.values() for each in attempt.files]
    if len(published) < len(receipt["sessions"]) or not all(file.is_file() for file in files):
        return None
    return [date.fromisoformat(text) for text in receipt["sessions"]]
