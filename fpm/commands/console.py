"""What every command begins and ends with: the deployment it works on, and how its answer is shown."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings


def settings(market: str | None = None, preset: str | None = None) -> Settings:
    """The deployment of this environment; libraries and the log are set up for it."""
    from fpm.store import log
    from fpm.store.settings import load_settings

    loaded = load_settings({name: value for name, value in (("market", market), ("preset", preset)) if value})
    for library in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):  # read once, when the library is first imported
        os.environ.setdefault(library, str(loaded.threads))
    log.configure(loaded)
    return loaded


def stores(market: str | None = None, preset: str | None = None) -> Stores:
    """Everything outside the pure code, open."""
    from fpm.store.ledger.stores import open_stores

    return open_stores(settings(market, preset))


def show(answer: dict[str, Any] | list[dict[str, Any]], as_json: bool) -> None:
    """One JSON document, or a table / list of lines for a person."""
    if as_json:
        typer.echo(json.dumps(answer, default=str, indent=2))
        return
    from rich.console import Console

    from fpm.commands.tables import render

    Console(width=None if sys.stdout.isatty() else 160).print(render(answer))
