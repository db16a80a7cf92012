"""One home, one database: both carry the same random number, and every start compares the two.

The home has it in its file `identity`, the database in `fpm.deployment` with the home's path and its own name. A home
made before there were identities gets one where its files are those that the ledger recorded.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from fpm.errors import FpmError, StoreCorrupt, TryLater, UsageError
from fpm.store.addresses import sealed
from fpm.store.lake.files import PART, has_sha256, sync_folder, write_durably
from fpm.store.world import world

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm.store.postgres.server import Server
    from fpm.store.settings import Settings

FILE, KEY = "identity", "identity"
NUMBER = re.compile("[0-9a-f]{32}")
SAMPLE = 8  # files whose bytes are compared where a home and a database meet for the first time
_LOCK = 4_607_182_418_800_017_409  # key of an advisory lock: two processes give one database its identity in turn
_COMPARED: set[tuple[Path, str]] = set()  # homes and databases that this process found to belong together

RECORDED = """
SELECT (SELECT value FROM fpm.deployment WHERE key = 'identity'), EXISTS (SELECT FROM fpm.ledger),
    EXISTS (SELECT FROM fpm.files)
"""
# a prepared attempt may have renamed its files already
FILES = """
SELECT path, sha256 FROM fpm.files
UNION ALL SELECT file ->> 'path', file ->> 'sha256' FROM fpm.ledger, jsonb_array_elements(files) AS file
WHERE status = 'prepared'
"""


@dataclass(frozen=True)
class Home:
    """A home: its identity, None before it has one, and whether there are files in its lake."""

    path: Path
    identity: str | None
    filled: bool


@dataclass(frozen=True)
class Database:
    """A database: what it is called, and what is recorded in it.

    `identity`, `home` and `place` are None before it has an identity: the number, the home's path and the database's
    name for itself at that time. `here`: its name for itself now. `attempted`: the ledger has a row; `published`: it
    has a file.
    """

    name: str
    here: str
    identity: str | None = None
    home: str | None = None
    place: str | None = None
    attempted: bool = False
    published: bool = False


def home_of(settings: Settings) -> Home:
    """What the home's folder says. Raises StoreCorrupt where its file `identity` holds no identity."""
    filled = next(settings.lake.rglob(PART), None) is not None
    return Home(settings.home, _number(settings.home / FILE), filled)


def database_of(server: Server, connection: psycopg.Connection[tuple[Any, ...]]) -> Database:
    """What the database says; it may be empty."""
    here = _one(connection, "SELECT current_database() || ' on port ' || current_setting('port')")
    if _one(connection, "SELECT to_regclass('fpm.deployment')") is None:
        return Database(server.name, here)
    row = connection.execute(RECORDED).fetchone() or (None, False, False)
    recorded = json.loads(row[0]) if row[0] else {}
    return Database(
        server.name, here, recorded.get("identity"), recorded.get("home"), recorded.get("place"), row[1], row[2]
    )


def fault(home: Home, database: Database) -> FpmError | None:
    """Why a home and a database cannot belong together, by what they say of themselves.

    Where one of the two has no identity yet, their files decide, too (`require_same_files`).
    """
    strangers = database.home != str(home.path) if home.identity is None else home.identity != database.identity
    if database.identity is not None and strangers:
        return _strangers(home, database)
    if home.filled and not database.attempted:
        return empty_database(home.path, database.name)
    if database.published and not home.filled:
        return _refused(
            code="FPM-PG-083",
            wrong=f"the database {database.name} has published sessions and the home {home.path} holds none",
            todo="restore the home's folder from a backup, or correct FPM_HOME or FPM_DATABASE_URL",
        )
    return None


def require_same_files(home: Home, database: Database, recorded: Iterable[tuple[str, str]]) -> None:
    """Raises UsageError where a home's files are not those that a ledger recorded (path below the lake, sha256).

    A file that was deleted to be computed again, a damaged one, or one that a killed command left is no stranger: more
    than half of the home's files must be recorded, and of a sample of these one must have the recorded bytes.
    """
    lake, digests = home.path / "lake", defaultdict(set)
    for path, digest in recorded:
        digests[path].add(digest)
    paths = sorted(path.relative_to(lake).as_posix() for path in lake.rglob(PART))
    known = [path for path in paths if path in digests]
    sample = known[:: max(1, len(known) // SAMPLE)][:SAMPLE]
    same = [path for path in sample if any(has_sha256(lake / path, digest) for digest in digests[path])]
    if 2 * len(known) <= len(paths) or not same:
        raise _refused(
            code="FPM-PG-084",
            wrong=f"the files of the home {home.path} are not those of the database {database.name}, which names "
            f"{len(known)} of {len(paths)} and has the bytes of {len(same)} of {len(sample)}",
            todo="correct FPM_HOME or FPM_DATABASE_URL, or restore the database from the home's last backup",
        )


def empty_database(home: Path, name: str) -> FpmError:
    """The refusal of a database that knows nothing, beside a home that holds files."""
    return _refused(
        code="FPM-PG-082",
        wrong=f"the home {home} holds published sessions and the database {name} knows of none",
        todo="restore the database from a backup, or correct FPM_HOME or FPM_DATABASE_URL",
    )


def require_new(settings: Settings) -> None:
    """Raises UsageError where an embedded server would be made for a home whose database is another, or lost."""
    home = home_of(settings)
    if home.identity or home.filled:
        raise empty_database(home.path, f"below {settings.pg}, which would be a new one,")


def require_pair(settings: Settings, server: Server) -> bool:
    """Whether home and database carry one identity; False where they have none yet and nothing speaks against one.

    Raises UsageError where they do not belong together, TryLater where the database does not answer.
    """
    try:
        with closing(world().connect(server.dsn, autocommit=True, application_name="fpm")) as connection:
            home, database = _checked(settings, server, connection)
    except psycopg.OperationalError as wrong:
        raise TryLater(
            code="FPM-PG-076",
            wrong=f"the database does not answer: {server.words(wrong)}",
            effect="nothing was done",
            todo="see that FPM_DATABASE_URL is right and its server runs",
        ) from sealed(wrong)
    whole = home.identity is not None and (database.home, database.place) == (str(home.path), database.here)
    if whole:
        _COMPARED.add((settings.home, server.name))
    return whole


def pair(settings: Settings, server: Server) -> None:
    """Give home and database their identity, or record that both have moved; the database is migrated.

    The home's file comes first: a database with an identity always has a home with the same one, so another home
    without any is a second one. Killed in between, the next start goes on.
    """
    with world().connect(server.dsn, application_name="fpm") as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        home, database = _checked(settings, server, connection)
        number = home.identity or _written(settings.home / FILE, database.identity or secrets.token_hex(16))
        document = {"identity": number, "home": str(home.path), "place": database.here}
        connection.execute(
            "INSERT INTO fpm.deployment (key, value) VALUES (%s, %s) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (KEY, json.dumps(document)),
        )
    _COMPARED.add((settings.home, server.name))


def require_same_identity(settings: Settings, server: Server) -> None:
    """For readers: raises UsageError where the home's identity is not the database's; asked once in a process.

    Raises OperationalError where the database does not answer.
    """
    if (settings.home, server.name) in _COMPARED:
        return
    home = Home(settings.home, _number(settings.home / FILE), filled=False)
    with closing(world().connect(server.dsn, autocommit=True, application_name="fpm")) as connection:
        database = database_of(server, connection)
    if home.identity != database.identity:
        raise _strangers(home, database)
    _COMPARED.add((settings.home, server.name))


def _checked(
    settings: Settings, server: Server, connection: psycopg.Connection[tuple[Any, ...]]
) -> tuple[Home, Database]:
    """What both say of themselves. Raises UsageError where they do not belong together."""
    home, database = home_of(settings), database_of(server, connection)
    if wrong := fault(home, database):
        raise wrong
    if home.identity is None or database.identity is None:
        if home.filled:
            require_same_files(home, database, connection.execute(FILES).fetchall())
    elif not server.embedded and database.home != str(home.path) and database.place == database.here:
        _require_moved(home, database)
    return home, database


def _require_moved(home: Home, database: Database) -> None:
    """Raises UsageError where the home that the database knows is still there: then this one is its copy."""
    former = Path(database.home or "")
    with suppress(OSError, StoreCorrupt):
        if _number(former / FILE) == home.identity and not former.samefile(home.path):
            raise _refused(
                code="FPM-PG-085",
                wrong=f"the homes {former} and {home.path} are copies, and the database {database.name} is the first's",
                todo=f"copy the database, too, and name the copy in FPM_DATABASE_URL, or remove {former / FILE}",
            )


def _strangers(home: Home, database: Database) -> FpmError:
    theirs = f"{(database.identity or 'none')[:8]} of the home {database.home}" if database.identity else "none"
    return _refused(
        code="FPM-PG-081",
        wrong=f"the home {home.path} has the identity {(home.identity or 'none')[:8]}, the database {database.name} "
        f"has {theirs}",
        todo="correct FPM_HOME or FPM_DATABASE_URL; a home that moves takes its file `identity` with it",
    )


def _number(path: Path) -> str | None:
    """The identity in a home's file; None where there is no file. Raises StoreCorrupt."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    if not NUMBER.fullmatch(text):
        raise StoreCorrupt(
            code="FPM-PG-086",
            wrong=f"{path} holds no identity of a home",
            effect="nothing was done",
            todo="restore it from a backup, or delete it: the next start writes it again",
        )
    return text


def _written(path: Path, number: str) -> str:
    """The number in a new file, or the one that another process wrote first; the file is on the disk."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_durably(unfinished, f"{number}\n".encode())
    with suppress(FileExistsError):
        world().link(unfinished, path)
    world().unlink(unfinished)
    sync_folder(path.parent)
    return _number(path) or number


def _one(connection: psycopg.Connection[tuple[Any, ...]], query: Any) -> Any:
    row = connection.execute(query).fetchone()
    return row and row[0]


def _refused(*, code: str, wrong: str, todo: str) -> UsageError:
    return UsageError(code=code, wrong=wrong, effect="nothing was done", todo=todo)
