"""The commands about models: which there are, and a former one in force again."""

from __future__ import annotations

from typing import Annotated

import typer

from fpm.commands.arguments import Json
from fpm.commands.console import home_stores, show
from fpm.sessions import parse_session

models = typer.Typer(help="Vintages and scorers: list them, or put a former one in force again.", no_args_is_help=True)


@models.command("list")
def list_command(as_json: Json = False) -> None:
    """Every encoder and scorer, oldest first: born, trained through, promoted or refused, where a rollback ended it."""
    from fpm.store.ledger.rollbacks import excluded

    stores = home_stores()
    ended = excluded(stores.ledger)
    rows = [
        {
            "kind": kind,
            "id": model.id,
            "born": model.born,
            "through": model.through,
            "status": model.status,
            "excluded_from": ended.get(model.id),
        }
        for kind in ("encoder", "scorer")
        for model in stores.models.list(kind)
    ]
    show(rows, as_json)


@models.command("rollback")
def rollback_command(
    model: Annotated[str, typer.Argument(help="a former encoder or scorer of `fpm models list`")],
    first: Annotated[str, typer.Option("--from", help="the first session that it serves again")],
    reason: Annotated[str, typer.Option(help="why, for the record")],
    by: Annotated[str | None, typer.Option(help="who says so; default: the login")] = None,
    as_json: Json = False,
) -> None:
    """Put a former model and its counterpart in force from a session on; what is trained later takes over again.

    Sessions that were published keep the models that served them.
    """
    from getpass import getuser

    from fpm.commands.night import require_session
    from fpm.store.ledger.rollbacks import roll_back
    from fpm.store.online.publication import published_session

    stores, session = home_stores(), parse_session(first)
    require_session(session, stores)
    rows = roll_back(model, session, reason, by or getuser(), published_session(stores), stores.models)
    show(
        [{"kind": row.kind, "in_force": row.model, "from": row.first, "excluded": row.excluded} for row in rows],
        as_json,
    )
