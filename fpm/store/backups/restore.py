"""A restore: a new home and its database from a backup. It replaces nothing.

Everything is made in a folder beside the new home, which gets its name at the end: a killed restore leaves no home. On
the user's own server the database comes in one transaction just before that.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from fpm.errors import StoreCorrupt, UsageError
from fpm.store.backups import database, manifest
from fpm.store.backups.manifest import DATABASE, HOME, Manifest
from fpm.store.lake.files import has_sha256, sync_folder
from fpm.store.places import require_home
from fpm.store.postgres.migrate import newest_revision
from fpm.store.postgres.server import ensure_server, stop_server

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.progress import Progress
    from fpm.store.settings import Settings


def checked(folder: Path, progress: Progress) -> Manifest:
    """What a backup holds, after every byte of it was hashed.

    Raises InputRefused for a folder that is no backup, StoreCorrupt where a file is not what it was.
    """
    whole = manifest.read(folder)
    expected = {DATABASE: whole.database} | {f"{HOME}/{copy.path}": copy.sha256 for copy in whole.files}
    for number, (path, digest) in enumerate(expected.items(), 1):
        progress(number, len(expected), path)
        if not has_sha256(folder / path, digest):
            raise StoreCorrupt(
                code="FPM-BAK-009",
                wrong=f"{folder / path} is missing or not what was written",
                effect="nothing was restored",
                todo="take another backup",
            )
    return whole


def restore(folder: Path, settings: Settings, progress: Progress) -> Manifest:
    """Make the home of `settings`, and its database, from a backup whose every byte was hashed before.

    Raises UsageError for a home or a database that holds anything, or a backup of a newer program; InputRefused for a
    folder that is no backup, StoreCorrupt where one of its files is not what it was.
    """
    _require_absent(settings.home)
    whole = checked(folder, progress)
    _require_known(whole, folder)
    making = settings.home.with_name(f".{settings.home.name}.restoring")
    unfinished = settings.model_copy(update={"home": making})
    stop_server(unfinished)  # a killed restore's
    shutil.rmtree(making, ignore_errors=True)
    require_home(unfinished)
    server = ensure_server(unfinished)  # before the files: an embedded server is made for an empty home alone
    database.require_empty(server)
    for copy in whole.files:
        (making / copy.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / HOME / copy.path, making / copy.path)
    database.restore(server, folder / DATABASE)
    stop_server(unfinished)
    manifest.sync()
    making.rename(settings.home)
    sync_folder(settings.home.parent)
    return whole


def _require_absent(home: Path) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise UsageError(
            code="FPM-BAK-008",
            wrong=f"the home {home} exists already",
            effect="nothing was restored",
            todo="set FPM_HOME to a folder that does not exist: a restore replaces nothing",
        )


def _require_known(whole: Manifest, folder: Path) -> None:
    if whole.revision > newest_revision():
        raise UsageError(
            code="FPM-BAK-010",
            wrong=f"the database in {folder} is at revision {whole.revision}, this version knows {newest_revision()}",
            effect="nothing was restored",
            todo=f"use the version of fpm that made it ({whole.program}) or a newer one",
        )
