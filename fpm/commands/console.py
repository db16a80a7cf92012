"""How every command begins and ends: it opens the home it works on, and prints its answer."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fpm.errors import UsageError

if TYPE_CHECKING:
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings
    from producers.delivery_check import Home


def home_settings(
    market: str | None = None, preset: str | None = None, bar: str | None = None, stream: str | None = None
) -> Settings:
    """The settings of this environment; threads of libraries and the log are set up to match.

    `bar`: the length of a bar, e.g. `5m`, as a part of the market's name. `stream`: of scores, for portfolios.
    """
    from fpm.markets import with_bar
    from fpm.store import log
    from fpm.store.settings import load_settings

    if bar:
        market = with_bar(market or load_settings({}).market, bar)
    options = {"market": market, "preset": preset, "stream": stream}
    settings = load_settings({name: value for name, value in options.items() if value})
    for library in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):  # read once, when the library is first imported
        os.environ.setdefault(library, str(settings.threads))
    log.configure(settings)
    return settings


def home_stores(market: str | None = None, preset: str | None = None, stream: str | None = None) -> Stores:
    """The open stores of this environment's home."""
    from fpm.store.ledger.stores import open_stores

    return open_stores(home_settings(market, preset, stream=stream))


def delivery_stores(market: str | None = None, preset: str | None = None) -> Stores:
    """The open stores of a home that takes a delivery.

    Raises UsageError where neither the home nor the call names a market: bars of another exchange would fit by chance.
    """
    from fpm.ingest import decoder
    from fpm.store.ledger.stores import open_stores

    settings = home_settings(market, preset)
    decoder.start()  # its imports take as long as opening the home does
    nameless = "market" not in settings.model_fields_set
    if nameless and settings.database_url is None and not settings.pg.exists():
        raise _no_market(settings)
    stores = open_stores(settings)
    if nameless and "market" not in stores.ledger.deployment():
        raise _no_market(settings)
    return stores


def checked_home(market: str | None = None, preset: str | None = None) -> Home:
    """The home that a check of a delivery is made for; without a home its market alone, and no database is started.

    Raises UsageError as `delivery_stores`.
    """
    from producers.delivery_check import Home

    settings = home_settings(market, preset)
    if (settings.pg if settings.database_url is None else settings.home).exists():
        stores = delivery_stores(market, preset)
        return Home(stores.market, stores)
    if "market" not in settings.model_fields_set:
        raise _no_market(settings)
    return Home(settings.venue, key=settings.signing_key)


def _no_market(settings: Settings) -> UsageError:
    return UsageError(
        code="FPM-CFG-023",
        wrong=f"{settings.home} is a new home and no market is named",
        effect="nothing was read",
        todo="say --market, e.g. --market cn (or us, nse, crypto, a calendar such as XHKG); the home remembers it",
    )


def program() -> str:
    """The words that start fpm here: `fpm` where the shell's path leads to it, else as it was called."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{Path(sys.executable).name} -m fpm"
    command = shutil.which("fpm")
    return "fpm" if command is not None and Path(command).resolve() == called.resolve() else str(called)


_is_answered = False


def begin() -> None:
    """A command begins: nothing of it is on standard output yet."""
    global _is_answered  # noqa: PLW0603  a process has one standard output
    _is_answered = False


def is_answered() -> bool:
    """Whether standard output has its JSON document: a refusal after it is no second one."""
    return _is_answered


def show(answer: dict[str, Any] | list[dict[str, Any]], as_json: bool) -> None:
    """Print one JSON document, or a table for a person."""
    global _is_answered  # noqa: PLW0603  a process has one standard output
    if as_json:
        _is_answered = True
        typer.echo(json.dumps(answer, default=str, indent=2))
        return
    from rich.console import Console

    from fpm.commands.tables import render

    Console(width=None if sys.stdout.isatty() else 160).print(render(answer))


def show_lines(answer: dict[str, Any], as_json: bool) -> None:
    """Print one JSON document, or a line for each value, which is never wrapped: it is to be copied."""
    if as_json:
        show(answer, as_json)
        return
    width = max(len(name) for name in answer)
    for name, value in answer.items():
        typer.echo(f"{name:<{width}}  {'-' if value is None else value}")
