"""Arguments and options that several commands share, their values, and the wall clock."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fpm.errors import UsageError
from fpm.sessions import UTC, parse_session, require_order

if TYPE_CHECKING:
    from fpm.store.ledger.journal import Head

Session = Annotated[str, typer.Argument(help="a session, e.g. 2026-01-05")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
Market = Annotated[
    str | None, typer.Option(help="cn, us, nse, crypto, one of FPM_MARKETS, or a calendar such as XHKG; remembered")
]
Bar = Annotated[str | None, typer.Option(help="length of a bar: 1m, 3m, 5m, 10m, 15m, 30m or 60m; default: 1m")]
Preset = Annotated[str | None, typer.Option(help="default, demo, short or tiny; remembered by the home")]
KnownAt = Annotated[str | None, typer.Option(help="second clock, e.g. 2026-01-05T20:00+08:00; default: the cut-off")]
VolumeUnit = Annotated[
    Literal["shares", "lots"] | None, typer.Option("--volume-unit", help="where files without amounts cannot show it")
]
Prices = Annotated[Literal["raw", "adjusted"] | None, typer.Option("--prices", help="where files cannot show it")]
StampSide = Annotated[
    Literal["start", "end"] | None, typer.Option("--stamp-side", help="the side of a bar that its time names")
]
Stream = Annotated[
    str | None, typer.Option("--stream", help="stream of scores; default: FPM_STREAM, the mandate's, dual")
]
StreamName = Annotated[
    str | None, typer.Option("--stream", help="name of scores whose file does not say it; default: the file's stem")
]
VintageName = Annotated[
    str | None, typer.Option("--vintage", help="name of another encoder's vectors; default: the file's column vintage")
]
Born = Annotated[
    str | None, typer.Option("--born", help="of --vintage: the last session whose data its encoder has seen")
]
CheckOnly = Annotated[bool, typer.Option("--check", help="say what would go in and what not, and store nothing")]
AcceptUniverse = Annotated[
    bool, typer.Option("--accept-universe", help="take a daily table, index or symbols table that lost over 5 % of it")
]
Rotate = Annotated[bool, typer.Option("--rotate", help="new passwords for the database's roles and a new HTTP token")]
Role = Annotated[Literal["owner", "producer", "reader"], typer.Option(help="whose rights")]
UrlOnly = Annotated[bool, typer.Option("--url", help="the URL alone, for the shell")]


def now() -> datetime:
    """The wall clock; it enters the program here and nowhere else."""
    from fpm.store.world import world

    return world().now()


def moment(text: str) -> datetime:
    """An ISO moment with its offset, in UTC.

    Raises UsageError for anything else, and for the future: nobody knows yet what will be known then.
    """
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        value = None
    if value is None or value.tzinfo is None:
        raise UsageError(
            code="FPM-CFG-010",
            wrong=f"{text!r} is not a moment with an offset",
            effect="nothing was done",
            todo="give 2026-01-05T20:00+08:00",
        )
    if value > now():
        raise UsageError(
            code="FPM-CFG-068",
            wrong=f"{text} lies in the future",
            effect="nothing was done",
            todo="give a moment in the past",
        )
    return value.astimezone(UTC)


def span(first: str, last: str) -> tuple[date, date]:
    """First and last session of a range. Raises UsageError where they are out of order or in the future."""
    start, end = parse_session(first), parse_session(last)
    require_order(start, end)
    if end > now().date():
        raise UsageError(
            code="FPM-CFG-066",
            wrong=f"{last} lies in the future",
            effect="nothing was done",
            todo="give a session that has closed",
        )
    return start, end


def journal_head(text: str | None) -> Head | None:
    """A head of the ledger's journal. Raises UsageError for a text that is none."""
    from fpm.store.ledger.journal import parse_head

    if text is None:
        return None
    head = parse_head(text)
    if head is None:
        raise UsageError(
            code="FPM-CFG-072",
            wrong=f"{text!r} is no head of a journal",
            effect="nothing was done",
            todo="give NUMBER:SHA256 as `fpm verify` or `fpm backup` printed it",
        )
    return head


def require_all(*words: str | None) -> tuple[str, ...]:
    """The arguments of a command that needs all of them. Raises UsageError where one is missing."""
    arguments = tuple(word for word in words if word is not None)
    if len(arguments) < len(words):
        raise UsageError(
            code="FPM-CFG-086",
            wrong=f"{len(arguments)} of {len(words)} arguments are given: {' '.join(arguments) or 'none'}",
            effect="nothing was done",
            todo="say all of them (--help)",
        )
    return arguments
