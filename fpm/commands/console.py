"""How every command begins and ends: it opens the home it works on, and prints its answer."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings


def home_settings(market: str | None = None, preset: str | None = None) -> Settings:
    """The settings of this environment; threads of libraries and the log are set up to match."""
    from fpm.store import log
    from fpm.store.settings import load_settings

    settings = load_settings({name: value for name, value in (("market", market), ("preset", preset)) if value})
    for library in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):  # read once, when the library is first imported
        os.environ.setdefault(library, str(settings.threads))
    log.configure(settings)
    return settings


def home_stores(market: str | None = None, preset: str | None = None) -> Stores:
    """The open stores of this environment's home."""
    from fpm.store.ledger.stores import open_stores

    return open_stores(home_settings(market, preset))


def show(answer: dict[str, Any] | list[dict[str, Any]], as_json: bool) -> None:
    """Print one JSON document, or a table for a person."""
    if as_json:
        typer.echo(json.dumps(answer, default=str, indent=2))
        return
    from rich.console import Console

    from fpm.commands.tables import render

    Console(width=None if sys.stdout.isatty() else 160).print(render(answer))
