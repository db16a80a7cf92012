"""An older home: what a newer program would migrate and compute again, and the word that lets it.

Nothing is migrated, and no night runs with other code, before `fpm setup --upgrade`.
"""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import psycopg

from fpm.commands.jobs import MODULES
from fpm.errors import UsageError
from fpm.store.jobs.code_identity import code_digest
from fpm.store.ledger.programs import Program, confirmed
from fpm.store.postgres.migrate import newest_revision, pending, revision_of
from fpm.store.postgres.server import connect, ensure_server

if TYPE_CHECKING:
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

_PUBLISHED = """
SELECT job, count(DISTINCT right(partition, 10)) FROM fpm.ledger
WHERE status = 'published' AND right(partition, 10) >= (
    SELECT min(session) FROM (
        SELECT DISTINCT session FROM fpm.publications ORDER BY session DESC LIMIT %s) AS recent)::text
GROUP BY job
"""


def this_program() -> Program:
    """The program at work; no job is imported for it."""
    specs = {name: find_spec(module) for name, module in MODULES.items()}
    return Program(version("fpm"), {name: code_digest(spec.origin) for name, spec in specs.items() if spec})


def plan(settings: Settings) -> dict[str, Any]:
    """What `fpm setup --upgrade` would do to a home; nothing is changed.

    `migrations`: revisions that are not applied yet. `jobs`: those whose code is not the confirmed one ("unknown"
    before anything was confirmed), with the sessions within the night's look-back that would be computed again; what
    rests on them follows where their bytes change.
    """
    server = ensure_server(settings)
    revision = revision_of(server)
    former, sessions = None, dict[str, int]()
    if revision is not None:
        with connect(settings) as connection:
            connection.read_only = True
            former = _confirmed(connection)
            sessions = dict(connection.execute(_PUBLISHED, (settings.corrections_back,)).fetchall())
    program = this_program()
    changed = list(program.code) if former is None else former.changes(program)
    return {
        "home": str(settings.home),
        "version": {"confirmed": former and former.version, "this": program.version},
        "revision": {"is": revision, "becomes": newest_revision()},
        "migrations": [{"revision": number, "what": what} for number, what in pending(revision)],
        "jobs": [
            {"job": name, "code": "unknown" if former is None else "changed", "sessions": sessions[name]}
            for name in changed
            if sessions.get(name)
        ],
    }


def require_confirmed(stores: Stores) -> None:
    """Raises UsageError where jobs compute otherwise than somebody confirmed; a home without a word may run."""
    if wrong := refusal(stores):
        raise wrong


def refusal(stores: Stores) -> UsageError | None:
    """Why this program may run no night of a home; None where it may."""
    former = confirmed(stores.ledger)
    changed = former.changes(this_program()) if former else []
    if not changed:
        return None
    return UsageError(
        code="FPM-NGT-030",
        wrong=f"this program computes {', '.join(changed)} otherwise than the one that this home's nights ran with",
        effect="no night was run",
        todo="read `fpm setup --plan`, then run `fpm setup --upgrade`",
    )


def _confirmed(connection: psycopg.Connection[tuple[Any, ...]]) -> Program | None:
    """As `programs.confirmed`, of a database that may be too old for the table."""
    if connection.execute("SELECT to_regclass('fpm.programs')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version, code FROM fpm.programs ORDER BY id DESC LIMIT 1").fetchone()
    return Program(*row) if row else None
