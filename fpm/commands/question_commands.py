"""The commands that answer one question; those about figures are in `report_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fpm.commands.arguments import Json, KnownAt, Session, Stream, moment, require_all, span
from fpm.commands.console import home_stores, show
from fpm.commands.instruction_arguments import Approve, Hold, HoldFrom, HoldReason, HoldUntil, OnlyIndex, SaidBy
from fpm.commands.model_arguments import PageFile, Symbol, Vintage
from fpm.sessions import parse_session

Replayed = Annotated[Literal["scores", "portfolio"], typer.Option("--of", help="what is computed again")]

commands = typer.Typer()


@commands.command("enhance")
def enhance_command(
    index: Annotated[str | None, typer.Argument(help="CSI300, CSI500, CSI1000, another ingested index, or ALL")] = None,
    first: Annotated[str | None, typer.Argument(help="a session, e.g. 2026-01-05")] = None,
    last: Annotated[str | None, typer.Argument(help="a session, e.g. 2026-01-05")] = None,
    folder: Annotated[Path | None, typer.Option("--export", help="folder for the eight tables of an audit")] = None,
    stream: Stream = None,
    approve: Approve = None,
    only: OnlyIndex = None,
    hold: Hold = None,
    begin: HoldFrom = None,
    until: HoldUntil = None,
    reason: HoldReason = "",
    by: SaidBy = None,
    as_json: Json = False,
) -> None:
    """An index's portfolio by session, a real book with lots and costs, and the six figures of the report's table.

    With --approve or --hold it computes nothing: what a person says about decisions becomes a row of the ledger.
    """
    from consumers.questions.enhance import enhance, export
    from fpm.commands.instructions import Words, say
    from fpm.progress import bar

    said = Words(approve, only, hold, begin, until, reason, by)
    if said.given((index, first, last, folder)):
        show(say(said, home_stores()), as_json)
        return
    index, first, last = require_all(index, first, last)
    (start, end), stores = span(first, last), home_stores(stream=stream)
    with bar(f"enhance {index}") as progress:
        figures = enhance(index, start, end, stores, progress)
    if folder:
        figures["export"] = export(index, start, end, folder, stores)
    show(figures, as_json)


@commands.command("frame")
def frame_command(
    name: Annotated[str, typer.Argument(metavar="SERVICE_OR_VIEW")],
    entities: Annotated[Path, typer.Option(help="Parquet or CSV: symbol, event_timestamp or session, perhaps vintage")],
    out: Annotated[Path, typer.Option(help="Parquet file to write")],
    known_at: Annotated[str | None, typer.Option(help="second clock; default: each row's event_timestamp")] = None,
    as_json: Json = False,
) -> None:
    """A point-in-time frame through Feast, written in blocks, in the order of the entities."""
    from fpm.progress import bar
    from fpm.store.retrieval import exports

    with bar(f"frame {name}") as progress:
        rows = exports.frame(name, entities, moment(known_at) if known_at else None, out, home_stores(), progress)
    show({"rows": rows, "out": str(out)}, as_json)


@commands.command("export")
def export_command(
    table: Annotated[str, typer.Argument(help="any table of the lake")],
    first: Annotated[str | None, typer.Argument()] = None,
    last: Annotated[str | None, typer.Argument()] = None,
    out: Annotated[Path, typer.Option(help="Parquet file to write")] = Path("export.parquet"),
    as_json: Json = False,
) -> None:
    """Any table as Parquet, the latest version of every row."""
    from fpm.store.retrieval import exports

    sessions = span(first, last or first) if first else None
    rows = exports.table(table, sessions, out, home_stores())
    show({"table": table, "rows": rows, "out": str(out)}, as_json)


@commands.command("replay")
def replay_command(
    session: Session, known_at: KnownAt = None, what: Replayed = "scores", as_json: Json = False
) -> None:
    """That night's scores, or its portfolio, again from the store as known then; exit 1 where a value differs."""
    from consumers.questions.replay import replay
    from consumers.questions.replay_portfolio import replay_portfolio

    question = parse_session(session), moment(known_at) if known_at else None, home_stores()
    answer = replay(*question) if what == "scores" else replay_portfolio(*question)
    show(answer.to_dict(), as_json)
    if not answer.equal:
        raise typer.Exit(1)


@commands.command("diff")
def diff_command(
    before: Annotated[str, typer.Argument(metavar="K1", help="a moment, e.g. 2026-01-05T20:00+08:00")],
    after: Annotated[str, typer.Argument(metavar="K2", help="a later one")],
    session: Annotated[str | None, typer.Argument(help="default: all")] = None,
    as_json: Json = False,
) -> None:
    """What changed between two moments of knowledge: rows by table and session, and the scores that moved."""
    from consumers.questions.diff import diff

    answer = diff(moment(before), moment(after), parse_session(session) if session else None, home_stores())
    show(answer.to_dict(), as_json)


@commands.command("similar")
def similar_command(
    symbol: Symbol,
    session: Session,
    before: KnownAt = None,
    k: Annotated[int, typer.Option(help="how many stock-days")] = 20,
    vintage: Annotated[str | None, typer.Option(help="needed where the query has fingerprints of several")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="among the published session, online")] = False,
    as_json: Json = False,
) -> None:
    """The stock-days most like one, as known then, and what happened next beside matched random ones."""
    from consumers.questions.similar import Question, similar, similar_online

    question = Question(symbol, parse_session(session), moment(before) if before else None, k, vintage)
    answer = (similar_online if latest else similar)(question, home_stores())
    show(answer.to_dict(), as_json)


@commands.command("explain")
def explain_command(
    symbol: Symbol, session: Session, vintage: Vintage = None, out: PageFile = None, as_json: Json = False
) -> None:
    """What the encoder saw in one session: its fingerprint by half-hour and family, and in words; a page."""
    from consumers.questions.explain import explain
    from consumers.questions.explain_page import require_page, write

    require_page(out)
    stores = home_stores()
    explanation = explain(symbol, parse_session(session), vintage, stores)
    answer = explanation.to_dict() if as_json else explanation.short()
    show({**answer, "page": str(write(explanation, out, stores))}, as_json)
