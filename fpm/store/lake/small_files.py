"""Small files beside the lake: each appears whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.store.lake.files import sync_folder, write_durably
from fpm.store.world import world

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write or replace one file by rename; file and folder survive a power cut."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    write_durably(unfinished, content)
    world().rename(unfinished, path)
    sync_folder(path.parent)


def write_secret(path: Path, content: bytes) -> None:
    """Like `write_whole`; from its first byte on only the owner can read the file."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    world().unlink(unfinished)
    world().make_folder(unfinished.parent)
    unfinished.touch(mode=0o600)
    write_whole(path, content)
