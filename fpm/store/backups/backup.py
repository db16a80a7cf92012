"""A backup: the database as one snapshot sees it, and of every file the very bytes that this snapshot names.

Nights go on meanwhile. A file that is published anew between snapshot and copy has other bytes than the snapshot says;
then a newer snapshot is taken, for which only what is new since has to be copied, so the second or third one fits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, LiteralString

from fpm.errors import StoreCorrupt, TryLater, UsageError
from fpm.store.backups import database, manifest
from fpm.store.backups.manifest import DATABASE, HOME, Copy, Manifest
from fpm.store.lake.files import has_sha256, sha256_of, write_durably
from fpm.store.ledger.journal import head_of
from fpm.store.postgres.identity import FILE as IDENTITY
from fpm.store.postgres.identity import FILES as LAKE_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import psycopg

    from fpm.progress import Progress
    from fpm.store.postgres.server import Server
    from fpm.store.settings import Settings

ROUNDS = 8  # snapshots that are tried; in each only files that were published since the last one are missing
BLOCK = 1 << 20  # bytes that are copied and hashed at once
UNFINISHED = ".unfinished"  # in a folder whose backup a killed command left: the home's identity

MODEL_FILES: LiteralString = """
SELECT kind || '/' || id || '/' || file.key, file.value FROM fpm.models, jsonb_each_text(files) AS file
"""
ABOUT: LiteralString = """
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), (SELECT version_num FROM fpm.migration)
"""


@dataclass(frozen=True)
class Content:
    """What a snapshot says: its moment, the database's revision, the journal's head, and the digests of files by path.

    A path is below the home. A prepared attempt may have renamed its file already, so there may be two digests.
    """

    moment: str
    revision: str
    head: str
    files: Mapping[str, frozenset[str]]


def back_up(settings: Settings, server: Server, folder: Path, progress: Progress) -> Manifest:
    """Write a backup of a home into a new folder, read all of it again, and return what it holds.

    An unfinished backup of the same home is continued. Raises UsageError for a folder that holds anything else,
    StoreCorrupt where a file is not what the ledger recorded, TryLater where nights were faster than the copies.
    """
    identity = (settings.home / IDENTITY).read_text(encoding="utf-8").strip()
    _claim(folder, identity, settings.home)
    missing: list[str] = []
    for _ in range(ROUNDS):
        with database.snapshot(server) as (connection, name):
            content = _content(connection)
            before, missing = missing, _fetch(content, settings, folder / HOME, progress)
            if not missing:
                database.dump(server, name, folder / DATABASE)
                break
        if missing == before and (damage := _damaged(missing, content, settings, server)):
            raise damage
    else:
        raise TryLater(
            code="FPM-BAK-003",
            wrong=f"{len(missing)} files were published anew in each of {ROUNDS} copies, the first is {missing[0]}",
            effect=f"{folder} holds an unfinished backup",
            todo="run the same command again when fewer jobs run",
        )
    copies = [*_recorded(content, folder / HOME), *_others(settings, folder / HOME)]
    _remove_strangers(folder / HOME, {copy.path for copy in copies})
    whole = Manifest(
        content.moment,
        identity,
        content.revision,
        content.head,
        version("fpm"),
        sha256_of(folder / DATABASE),
        tuple(sorted(copies, key=lambda copy: copy.path)),
    )
    manifest.write(folder, whole)
    (folder / UNFINISHED).unlink()
    return whole


def _claim(folder: Path, identity: str, home: Path) -> None:
    """Make the folder this backup's own. Raises UsageError where it is another's or inside the home."""
    mark = folder / UNFINISHED
    if folder.absolute().is_relative_to(home):
        wrong = f"{folder} lies in the home itself"
    elif folder.exists() and not folder.is_dir():
        wrong = f"{folder} is no folder"
    elif (
        folder.exists()
        and any(folder.iterdir())
        and not (mark.is_file() and mark.read_text(encoding="utf-8") == identity)
    ):
        wrong = f"{folder} is not empty"
    else:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a home is nobody else's to read, nor is its copy
        write_durably(mark, identity.encode())
        return
    raise UsageError(
        code="FPM-BAK-002", wrong=wrong, effect="nothing was written", todo="name a folder that does not exist yet"
    )


def _content(connection: psycopg.Connection[tuple[Any, ...]]) -> Content:
    row = connection.execute(ABOUT).fetchone()
    assert row is not None, "a query without FROM has one row"
    digests: dict[str, set[str]] = {}
    for root, query in (("lake", LAKE_FILES), ("models", MODEL_FILES)):
        for path, digest in connection.execute(query):
            digests.setdefault(f"{root}/{path}", set()).add(str(digest))
    published = {f"lake/{path}" for (path,) in connection.execute("SELECT path FROM fpm.files")}
    return Content(
        str(row[0]),
        str(row[1]),
        str(head_of(connection)),
        {
            path: frozenset(values)
            for path, values in sorted(digests.items())
            if path in published or path.startswith("models/")
        },
    )


def _fetch(content: Content, settings: Settings, target: Path, progress: Progress) -> list[str]:
    """Copy what the target lacks; the paths whose bytes are not, or not any more, what the snapshot says."""
    missing = []
    for number, (path, digests) in enumerate(content.files.items(), 1):
        progress(number, len(content.files), path)
        is_here = (target / path).is_file() and sha256_of(target / path) in digests
        if not is_here and _copied(settings.home / path, target / path) not in digests:
            missing.append(path)
    return missing


def _copied(source: Path, target: Path) -> str | None:
    """Copy one file and return the sha256 of what was read; None where there is no such file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = sha256()
    try:
        with source.open("rb") as reading, target.open("wb") as writing:
            while block := reading.read(BLOCK):
                digest.update(block)
                writing.write(block)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def _damaged(paths: list[str], content: Content, settings: Settings, server: Server) -> StoreCorrupt | None:
    """The refusal for files that are wrong themselves: the ledger still says of them what the snapshot said."""
    with database.snapshot(server) as (connection, _):
        now = _content(connection).files
    wrong = [
        path
        for path in paths
        if now.get(path) == content.files[path]
        and not any(has_sha256(settings.home / path, digest) for digest in content.files[path])
    ]
    if not wrong:
        return None
    return StoreCorrupt(
        code="FPM-BAK-004",
        wrong=f"{len(wrong)} files are not what the ledger recorded, the first is {settings.home / wrong[0]}",
        effect="the backup is not finished: a damaged home would replace a sound one",
        todo="run `fpm verify`, do what it says, and run the same command again",
    )


def _recorded(content: Content, target: Path) -> Iterator[Copy]:
    """The copies of lake and models, read again from where they were written. Raises TryLater for another content."""
    for path, digests in content.files.items():
        digest = sha256_of(target / path)
        if digest not in digests:
            raise TryLater(
                code="FPM-BAK-007",
                wrong=f"{target / path} does not hold what was written there",
                effect="the backup is not finished",
                todo="see that its disk is sound and nobody else writes there, then run the same command again",
            )
        yield Copy(path, digest, (target / path).stat().st_size)


def _others(settings: Settings, target: Path) -> Iterator[Copy]:
    """Copies of what else is in the home: quarantine, reports, settings files; not the server's files, nor links."""
    apart = {settings.lake, settings.models, settings.staging, settings.pg}
    for where, folders, names in os.walk(settings.home):
        here = settings.home / os.path.relpath(where, settings.home)
        folders[:] = sorted(folder for folder in folders if here / folder not in apart)
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or path.is_symlink() or not path.is_file():
                continue  # a probe or a file that is being written
            relative = path.relative_to(settings.home)
            if digest := _copied(path, target / relative):
                yield Copy(relative.as_posix(), digest, (target / relative).stat().st_size)


def _remove_strangers(target: Path, paths: set[str]) -> None:
    """Remove copies that an earlier, unfinished round made and the last snapshot does not name."""
    for where, _, names in os.walk(target):
        for name in names:
            path = target / os.path.relpath(where, target) / name
            if path.relative_to(target).as_posix() not in paths:
                path.unlink()
