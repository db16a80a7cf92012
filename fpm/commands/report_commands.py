"""The commands about figures: `evaluate`, `report`, `morning`, `passport`, `leaks`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from fpm.commands.arguments import Json, KnownAt, moment
from fpm.commands.console import home_stores, show
from fpm.commands.model_arguments import Ablation, Evaluated, PageFile, TableFile, Vintage
from fpm.errors import UsageError
from fpm.sessions import parse_session

Passport = Annotated[Path | None, typer.Option("--check", help="a passport.json; default: the home's own")]

First = Annotated[str | None, typer.Option(help="first scored session to look at")]
Last = Annotated[str | None, typer.Option(help="last one")]
Sessions = Annotated[int, typer.Option(min=1, help="sessions to recompute")]
Symbols = Annotated[int, typer.Option(min=1, help="symbols to recompute in each")]

commands = typer.Typer()


@commands.command("evaluate")
def evaluate_command(
    what: Evaluated = "scores",
    vintage: Vintage = None,
    ablation: Ablation = False,
    out: TableFile = None,
    as_json: Json = False,
) -> None:
    """Figures with intervals: of every stream, of its peers, of an encoder, or of the risk model's forecasts.

    protocol: the dual stream beside every peer of docs/protocol.md, with books after costs.
    """
    if (ablation and what != "risk") or (out and not ablation):
        raise UsageError(
            code="FPM-CFG-082",
            wrong="--ablation is of the risk model's switches, --out of their table",
            effect="nothing was judged",
            todo="use fpm evaluate risk --ablation --out TABLE.parquet",
        )
    if vintage and what != "encoder":
        raise UsageError(
            code="FPM-CFG-069",
            wrong="scores are of every vintage",
            effect="nothing was judged",
            todo="leave --vintage out",
        )
    judges: dict[str, Callable[[], dict[str, Any]]] = {
        "scores": _scores,
        "encoder": lambda: _encoder(vintage),
        "peers": _peers,
        "protocol": _protocol,
        "risk": lambda: _switches(out) if ablation else _risk(),
    }
    figures = judges[what]()
    if not as_json:
        figures.pop("streams", None)  # long: for programs only
    show(figures, as_json)


def _scores() -> dict[str, Any]:
    from consumers.questions import report

    return report.evaluate(home_stores())


def _encoder(vintage: str | None) -> dict[str, Any]:
    from consumers.questions import encoder_report

    return encoder_report.evaluate(vintage, home_stores())


def _peers() -> dict[str, Any]:
    from consumers.questions import peers
    from fpm.progress import bar

    with bar("peers") as progress:
        return peers.evaluate(home_stores(), progress)


def _protocol() -> dict[str, Any]:
    from consumers.questions import protocol
    from fpm.progress import bar

    with bar("peers of the protocol") as progress:
        return protocol.evaluate(home_stores(), progress)


def _risk() -> dict[str, Any]:
    from consumers.questions import risk

    return risk.evaluate(home_stores())


def _switches(out: Path | None) -> dict[str, Any]:
    import polars as pl

    from consumers.questions import switches
    from fpm.progress import bar
    from fpm.store.retrieval.exports import check_writable

    if out:
        check_writable(out)
    stores = home_stores()
    with bar("switches of the risk model") as progress:
        figures = switches.evaluate(stores, progress)
    if out:
        pl.DataFrame(figures["switches"]).write_parquet(out)
    return figures


@commands.command("report")
def report_command(as_json: Json = False) -> None:
    """Write the HTML page, its JSON and Markdown twins, and the passport of its figures."""
    from consumers.questions import report

    show({"report": str(report.write(home_stores()))}, as_json)


@commands.command("morning")
def morning_command(
    session: Annotated[str | None, typer.Argument(help="default: the newest with a portfolio")] = None,
    known_at: KnownAt = None,
    out: PageFile = None,
    as_json: Json = False,
) -> None:
    """Write the page of a session: today's orders with reason and cost, bounds, fills, curves, where the excess was."""
    from consumers.questions import morning
    from consumers.questions.explain_page import require_page

    require_page(out)
    stores = home_stores().as_of(moment(known_at) if known_at else None)
    day = parse_session(session) if session else morning.newest_session(stores)
    show({"session": str(day), "page": str(morning.write(day, out, stores))}, as_json)


@commands.command("passport")
def passport_command(check: Passport = None, as_json: Json = False) -> None:
    """Is everything the passport's figures follow from still what it says? Exit 1 at the first difference, named."""
    from consumers.questions import passport
    from fpm.progress import bar

    stores = home_stores()
    with bar("passport") as progress:
        answer = passport.check(check or stores.settings.reports / passport.NAME, stores, progress)
    show(answer.to_dict(), as_json)
    if not answer.equal:
        raise typer.Exit(1)


@commands.command("leaks")
def leaks_command(
    first: First = None, last: Last = None, sessions: Sessions = 2, symbols: Symbols = 5, as_json: Json = False
) -> None:
    """Does anything stored here know its future? Each check, or its first column and session; exit 1 if one fails."""
    from consumers.questions import leaks
    from fpm.progress import bar

    span = parse_session(first) if first else None, parse_session(last) if last else None
    with bar("leaks") as progress:
        answers = leaks.run(span, leaks.Width(sessions, symbols), home_stores(), progress)
    show([answer.to_dict() for answer in answers], as_json)
    if any(answer.finding for answer in answers):
        raise typer.Exit(1)
