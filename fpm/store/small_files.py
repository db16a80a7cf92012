"""Small files beside the lake, each appearing whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from fpm.store.lake import sync_folder, write_durably


def place(path: Path, content: bytes) -> None:
    """Write or replace one file by rename; it and its folder survive a power cut."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    write_durably(unfinished, content)
    os.rename(unfinished, path)
    sync_folder(path.parent)
