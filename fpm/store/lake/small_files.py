"""Small files beside the lake: each appears whole or not at all."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from fpm.store.lake.files import sync_folder, write_durably
from fpm.store.world import world

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write or replace one file by rename; file and folder survive a power cut. Of two writers the later one wins."""
    _write(path, content, _unfinished(path))


def write_secret(path: Path, content: bytes) -> None:
    """Like `write_whole`; from its first byte on only the owner can read the file."""
    unfinished = _unfinished(path)
    world().make_folder(unfinished.parent)
    unfinished.touch(mode=0o600)
    _write(path, content, unfinished)


def _unfinished(path: Path) -> Path:
    """A name beside it that no other writer has, on this host or another, and no longer than a file system takes."""
    return path.with_name(f".{path.name}.{sha256(world().nonce().encode()).hexdigest()[:8]}.unfinished")


def _write(path: Path, content: bytes, unfinished: Path) -> None:
    try:
        write_durably(unfinished, content)
        world().rename(unfinished, path)
    except OSError:
        world().unlink(unfinished)
        raise
    sync_folder(path.parent)
