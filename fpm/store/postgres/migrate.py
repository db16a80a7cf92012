"""Migrations of our own tables; Alembic is configured here instead of in a file."""

from __future__ import annotations

import ast
from importlib import resources
from typing import TYPE_CHECKING

import psycopg

from fpm.errors import FpmError, TryLater, UsageError
from fpm.store.addresses import sealed
from fpm.store.postgres.fence import GROUP
from fpm.store.postgres.server import Server, ensure_server
from fpm.store.world import world

if TYPE_CHECKING:
    from fpm.store.settings import Settings

_LOCK = 4_607_182_418_800_017_408  # key of an advisory lock: two processes migrate one after the other

ROLES = ("fpm_owner", "fpm_producer", "fpm_reader", "fpm_readers")
_GROUNDWORK = """
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user),
    EXISTS (SELECT FROM pg_extension WHERE extname = 'vector'),
    has_database_privilege(current_database(), 'CREATE'),
    ARRAY(SELECT name FROM unnest(%s::text[]) AS name WHERE to_regrole(name) IS NULL),
    quote_ident(current_database()), quote_ident(current_user)
"""


def migrate(settings: Settings, revision: str = "head") -> None:
    """Bring the schema `fpm` to a revision in one transaction; does nothing where it is there already.

    Raises UsageError where a newer version of this program migrated the database.
    """
    import sqlalchemy as sa  # half a second, and rarely needed
    from alembic import command
    from alembic.config import Config

    server = ensure_server(settings)
    _refuse_newer(revision_of(server))
    _require_groundwork(server)
    engine = sa.create_engine("postgresql+psycopg://", connect_args=server.parts, poolclass=sa.NullPool)
    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(sa.text("CREATE SCHEMA IF NOT EXISTS fpm"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _require_groundwork(server: Server) -> None:
    """Raises FpmError where only a superuser can lay what the migrations build on: the extension, schemas, roles."""
    with world().connect(server.dsn, application_name="fpm") as connection:
        row = connection.execute(_GROUNDWORK, (list(ROLES),)).fetchone()
    assert row is not None, "a list of values is one row"
    superuser, may_create_roles, extension, may_create, missing, database, owner = row
    statements = [
        *([] if extension else ["CREATE EXTENSION vector"]),
        *([] if may_create else [f"GRANT CREATE ON DATABASE {database} TO {owner}"]),
        *([] if may_create_roles else [f"CREATE ROLE {name}" + " LOGIN" * (name != GROUP) for name in missing]),
    ]
    if statements and not superuser:
        raise FpmError(
            code="FPM-PG-093",
            wrong=f"the login {owner} may not lay the groundwork of a home in the database {database}",
            effect="nothing was migrated",
            todo=f"have a superuser run there: {'; '.join(statements)}",
        )


def revision_of(server: Server) -> str | None:
    """The database's revision, None before the first migration. Raises TryLater where it does not answer."""
    try:
        with world().connect(server.dsn, application_name="fpm") as connection:
            if connection.execute("SELECT to_regclass('fpm.migration')").fetchone() == (None,):
                return None
            row = connection.execute("SELECT version_num FROM fpm.migration").fetchone()
            return None if row is None else str(row[0])
    except psycopg.OperationalError as wrong:
        raise TryLater(
            code="FPM-PG-076",
            wrong=f"the database does not answer: {server.words(wrong)}",
            effect="nothing was done",
            todo="see that FPM_DATABASE_URL is right and its server runs",
        ) from sealed(wrong)


def newest_revision() -> str:
    """The newest revision that this version of the program knows, from the files' names."""
    revisions = resources.files("migrations").joinpath("versions").iterdir()
    return max(path.name[:4] for path in revisions if path.name[:4].isdigit())


def bring_to_head(settings: Settings, server: Server, *, upgrade: bool = False) -> None:
    """Migrate a new database, and an older one if somebody confirmed it (`upgrade`).

    Raises UsageError where it is ahead of this program, or older and not confirmed.
    """
    revision = revision_of(server)
    _refuse_newer(revision)
    if revision is not None and revision < newest_revision() and not upgrade:
        raise UsageError(
            code="FPM-PG-087",
            wrong=f"an older version of fpm made this home: its database is at revision {revision}, this version makes "
            f"it {newest_revision()}",
            effect="nothing was changed",
            todo="read `fpm setup --plan`, then run `fpm setup --upgrade`",
        )
    if revision != newest_revision():
        migrate(settings)


def require_head(server: Server) -> None:
    """Raises UsageError where the database is not at the revision of this program: for who may not migrate it."""
    revision = revision_of(server)
    _refuse_newer(revision)
    if revision != newest_revision():
        raise UsageError(
            code="FPM-PAGE-002",
            wrong=f"the database is at revision {revision or 'none'}, this version reads {newest_revision()}",
            effect="nothing was opened",
            todo="read `fpm setup --plan`, then run `fpm setup --upgrade`",
        )


def pending(revision: str | None) -> list[tuple[str, str]]:
    """The migrations after a revision, in order, each with the first sentence of what it says about itself."""
    folder = resources.files("migrations").joinpath("versions")
    texts = {path.name[:4]: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name[:4].isdigit()}
    return [
        (number, " ".join((ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].split()))
        for number, text in sorted(texts.items())
        if number > (revision or "")
    ]


def _refuse_newer(revision: str | None) -> None:
    if revision is not None and revision > newest_revision():
        raise UsageError(
            code="FPM-PG-079",
            wrong=f"the database is at revision {revision}, this version knows {newest_revision()}",
            effect="nothing was done",
            todo="run the newer version of fpm that migrated it",
        )
