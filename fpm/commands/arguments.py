"""What a person types, as the values the program works with; and the one clock on the wall."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

import typer

from fpm.errors import UsageError
from fpm.sessions import UTC, parse_session

Session = Annotated[str, typer.Argument(help="a session, e.g. 2026-01-05")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
Market = Annotated[str | None, typer.Option(help="cn, cn15, us, nse or crypto; remembered by the home")]
Preset = Annotated[str | None, typer.Option(help="default, demo, short or tiny; remembered by the home")]
KnownAt = Annotated[str | None, typer.Option(help="second clock, e.g. 2026-01-05T20:00+08:00; default: the cut-off")]
Rotate = Annotated[bool, typer.Option("--rotate", help="new passwords for the database's roles and a new HTTP token")]
Role = Annotated[Literal["owner", "producer", "reader"], typer.Option(help="whose rights")]
UrlOnly = Annotated[bool, typer.Option("--url", help="the URL alone, for the shell")]


def now() -> datetime:
    """The wall clock enters the program here and nowhere else."""
    return datetime.now(UTC)


def moment(text: str) -> datetime:
    """An ISO moment with its offset, e.g. 2026-01-05T20:00+08:00. Raises UsageError for anything else, or the future:
    nobody knows yet what will be known then.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        given = None
    if given is None or given.tzinfo is None:
        raise UsageError(
            code="FPM-CFG-010",
            wrong=f"{text!r} is not a moment with an offset",
            effect="nothing was done",
            todo="give 2026-01-05T20:00+08:00",
        )
    if given > now():
        raise UsageError(
            code="FPM-CFG-068",
            wrong=f"{text} lies in the future",
            effect="nothing was done",
            todo="give a moment that has come",
        )
    return given.astimezone(UTC)


def span(first: str, last: str) -> tuple[date, date]:
    """Two sessions in order, none in the future. Raises UsageError."""
    start, end = parse_session(first), parse_session(last)
    if start > end:
        raise UsageError(
            code="FPM-CFG-065",
            wrong=f"{first} lies after {last}",
            effect="nothing was done",
            todo="give the earlier session first",
        )
    if end > now().date():
        raise UsageError(
            code="FPM-CFG-066",
            wrong=f"{last} lies in the future",
            effect="nothing was done",
            todo="give a session that has closed",
        )
    return start, end
