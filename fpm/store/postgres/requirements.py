"""What the user's own server must be: its version, encoding, zone and durability, asked once a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from fpm.errors import UsageError
from fpm.store.log import log
from fpm.store.world import world

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.store.postgres.server import Server

OLDEST = 14  # https://www.postgresql.org/support/versioning/: 13 ended in November 2025
NAMES = ("server_version_num", "server_encoding", "TimeZone", "fsync", "full_page_writes", "data_checksums")
DURABLE = ("fsync", "full_page_writes")


def require_sound(server: Server, *, fsync: bool = True) -> None:
    """Refuse a server that would store wrong moments or texts, or lose what it said it stored.

    `fsync` False: the caller runs a test and says so. Pages without checksums are only warned of.
    Raises UsageError. A server that does not answer is left to whoever connects next.
    """
    if server.embedded:
        return
    try:
        with world().connect(server.dsn, application_name="fpm", connect_timeout=10) as connection:
            rows = connection.execute(
                "SELECT name, setting, source FROM pg_settings WHERE name = ANY(%s)", (list(NAMES),)
            ).fetchall()
    except psycopg.OperationalError:
        return
    values = {str(name): (str(setting), str(source)) for name, setting, source in rows}
    if wrong := faults(values, fsync=fsync):
        raise UsageError(
            code="FPM-PG-080",
            wrong=f"the server of FPM_DATABASE_URL has {'; '.join(wrong)}",
            effect="nothing was done",
            todo="set this right there, or leave FPM_DATABASE_URL out for the embedded server",
        )
    if values["data_checksums"][0] == "off":
        log.warning("the database has no data checksums: damaged pages are not noticed", todo="pg_checksums --enable")


def faults(values: Mapping[str, tuple[str, str]], *, fsync: bool) -> list[str]:
    """What is wrong with a server's parameters (name -> value and its source), in words.

    Durability that was switched off in the server's command line is a test's, and its starter knows.
    """
    version, encoding, zone = (values[name][0] for name in NAMES[:3])
    off = [name for name in DURABLE if values[name][0] == "off" and values[name][1] != "command line"]
    wrong = []
    if int(version) < OLDEST * 10_000:
        wrong.append(f"version {version}, {OLDEST} is the oldest that is supported")
    if encoding != "UTF8":
        wrong.append(f"encoding {encoding}, not UTF8")
    if zone not in ("UTC", "Etc/UTC"):  # a pooler may drop the session's own zone
        wrong.append(f"time zone {zone} in spite of ours: moments would move")
    if off and fsync:
        wrong.append(f"{' and '.join(off)} off: a power cut would lose what it confirmed")
    return wrong
