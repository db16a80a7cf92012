"""The commands that tell what the figures are: `evaluate`, `report`, `passport`, `leaks`. `cli` takes them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fpm.commands.arguments import Json
from fpm.commands.console import show, stores
from fpm.commands.model_arguments import Evaluated, Vintage
from fpm.errors import UsageError
from fpm.sessions import parse_session

Passport = Annotated[Path | None, typer.Option("--check", help="a passport.json; default: the home's own")]

First = Annotated[str | None, typer.Option(help="first scored session to look at")]
Last = Annotated[str | None, typer.Option(help="last one")]
Sessions = Annotated[int, typer.Option(min=1, help="sessions to recompute")]
Symbols = Annotated[int, typer.Option(min=1, help="symbols to recompute in each")]


def add_to(app: typer.Typer) -> None:
    """Make them commands of the program."""
    for command in (evaluate, report, passport, leaks):
        app.command()(command)


def evaluate(what: Evaluated = "scores", vintage: Vintage = None, as_json: Json = False) -> None:
    """The figures of every stream over all scored sessions with intervals, or beside its peers, a linear model and
    LightGBM; or an encoder's: has it collapsed?
    """
    from consumers.questions import encoder_report
    from consumers.questions import report as page

    if vintage and what != "encoder":
        raise UsageError(
            code="FPM-CFG-069",
            wrong="scores are of every vintage",
            effect="nothing was judged",
            todo="leave --vintage out",
        )
    if what == "peers":
        return show(_peers(), as_json)
    figures = encoder_report.evaluate(vintage, stores()) if what == "encoder" else page.evaluate(stores())
    show(figures if as_json else {name: part for name, part in figures.items() if name != "streams"}, as_json)


def _peers() -> dict[str, Any]:
    from consumers.questions import peers
    from fpm.progress import bar

    with bar("peers") as progress:
        return peers.evaluate(stores(), progress)


def report(as_json: Json = False) -> None:
    """Write the HTML page, its JSON and Markdown twins, and the passport of its figures."""
    from consumers.questions import report as page

    show({"report": str(page.write(stores()))}, as_json)


def passport(check: Passport = None, as_json: Json = False) -> None:
    """Is everything the passport's figures follow from still what it says? Exit 1 at the first difference, named."""
    from consumers.questions import passport as issued
    from fpm.progress import bar

    of = stores()
    with bar("passport") as progress:
        answer = issued.check(check or of.settings.reports / issued.NAME, of, progress)
    show(answer.to_dict(), as_json)
    if not answer.equal:
        raise typer.Exit(1)


def leaks(
    first: First = None, last: Last = None, sessions: Sessions = 2, symbols: Symbols = 5, as_json: Json = False
) -> None:
    """Does anything stored here know its future? Each check, or its first column and session; exit 1 if one fails."""
    from consumers.questions import leaks as suite
    from fpm.progress import bar

    span = parse_session(first) if first else None, parse_session(last) if last else None
    with bar("leaks") as progress:
        answers = suite.run(span, suite.Width(sessions, symbols), stores(), progress)
    show([answer.to_dict() for answer in answers], as_json)
    if any(answer.finding for answer in answers):
        raise typer.Exit(1)
