"""Lineage: from a number back to its attempt, model, code, seeds and files; and forward to what rests on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fpm.page.marks import moment
from fpm.page.views import Card, Cell, Row, Table, Tile, View
from fpm.report.figure_text import ABSENT, number, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

SHORT = 12  # digits of a hash


@dataclass(frozen=True)
class File:
    """A published file of the lake, and the attempt that wrote it."""

    table: str
    session: date
    path: str
    sha256: str
    rows: int
    job: str
    partition: str
    attempt: int


@dataclass(frozen=True)
class Made:
    """The attempt that made the file: when, from which inputs, in which environment.

    `same_inputs`: whether the inputs are now what they were then (None: cannot be said, `why`); `code`: digest of the
    job's code as it is now.
    """

    started_at: datetime | None
    finished_at: datetime | None
    inputs: str
    environment: str
    code: str
    same_inputs: bool | None
    why: str = ""


@dataclass(frozen=True)
class Model:
    """A model that the number was computed with."""

    kind: str
    id: str
    born: datetime
    through: date
    seeds: Sequence[int] = ()
    trained: str = ""
    weights: str = ""


@dataclass(frozen=True)
class Reader:
    """A job that reads the table: its published sessions among those whose windows reach this one."""

    job: str
    writes: Sequence[str]
    sessions: Sequence[date]


@dataclass(frozen=True)
class Origin:
    """Everything about one partition, and about one symbol's rows in it. `values`: rows as column -> value."""

    table: str
    session: date
    symbol: str
    file: File | None
    values: Sequence[Mapping[str, Any]] = ()
    made: Made | None = None
    models: Sequence[Model] = ()
    reads: Sequence[File] = ()
    readers: Sequence[Reader] = ()
    publications: Sequence[Mapping[str, Any]] = ()
    beside: Sequence[date] = field(default_factory=tuple)


def address(table: str, session: object, symbol: str = "") -> str:
    """Where a partition's lineage is shown."""
    fields = {"table": table, "session": session} | ({"symbol": symbol} if symbol else {})
    return f"/lineage?{urlencode(fields)}"


def entry(tables: Sequence[tuple[str, date, int]], published: Mapping[str, Any] | None) -> View:
    """Where nobody asked: the newest file of each table."""
    rows: list[Row] = [[Cell(table, address(table, day)), str(day), number(count, 0)] for table, day, count in tables]
    subtitle = "Nothing is published yet"
    if published:
        at = moment(published["published_at"])
        subtitle = f"Published: session {published['session']}, publication {published['id']}, {at}"
    todo = [] if rows else [("The lake is empty:", "fpm ingest PATH")]
    card = Card(
        "Newest partition of each table",
        "Back to files, model, code and seed, and forward to what rests on it; a symbol's score from its own view.",
        Table(("table", "newest session", "rows"), rows, (0, 1)),
    )
    return View("lineage", "Lineage", subtitle, todo=todo, sections=[("", [card])] if rows else [])


def lineage(content: Origin) -> View:
    """Back from a partition, and forward from it."""
    what = f"{content.symbol}, " if content.symbol else ""
    sections = [
        ("The number", [_values(content)] if content.values else []),
        ("Back: how it was made", list(_back(content))),
        ("Forward: what rests on it", list(_forward(content))),
    ]
    todo = (
        []
        if content.file
        else [("This partition was never published, or is no file any more:", f"fpm status {content.session}")]
    )
    return View(
        "lineage",
        f"{content.table}, {what}{content.session}",
        content.file.path if content.file else "no published file",
        list(_tiles(content)),
        todo,
        [(heading, cards) for heading, cards in sections if cards],
        question=content.symbol,
        ends=["Hash everything again: fpm verify. Compute a night again from the store: fpm replay SESSION."],
    )


def _tiles(content: Origin) -> Iterator[Tile]:
    if content.file is not None:
        yield Tile("File", content.file.sha256[:SHORT], ["sha256", f"{number(content.file.rows, 0)} rows"])
        yield Tile(
            "Made by",
            content.file.job,
            [f"attempt {content.file.attempt}", moment(content.made.finished_at) if content.made else ""],
        )
    for model in content.models:
        seeds = f"seeds {', '.join(map(str, model.seeds))}" if model.seeds else "no seed recorded"
        yield Tile(model.kind.capitalize(), model.id, [seeds, f"through {model.through}"])
    if content.publications:
        newest = content.publications[0]
        yield Tile("Published as", str(newest["id"]), [moment(newest["published_at"])])


def _values(content: Origin) -> Card:
    names = [name for name in content.values[0] if name != "symbol"]
    rows: list[Row] = [[_text(row[name]) for name in names] for row in content.values]
    words = tuple(place for place, name in enumerate(names) if not isinstance(content.values[0][name], int | float))
    return Card(f"Rows of {content.symbol}", "Every stored version, with both clocks.", Table(names, rows, words))


def _text(value: object) -> str:
    if isinstance(value, float):
        return number(value, 6)
    return moment(value) if isinstance(value, datetime) else str(value)


def _back(content: Origin) -> Iterator[Card]:
    if content.made is not None:
        attempt = content.made
        verdict = {
            True: "the same as now",
            False: "others than now: a later run may give another result",
            None: attempt.why,
        }[attempt.same_inputs]
        facts: list[Row] = [
            ["attempt began", moment(attempt.started_at)],
            ["published", moment(attempt.finished_at)],
            ["digest of its inputs", attempt.inputs[:SHORT]],
            ["these inputs", verdict],
            ["environment", attempt.environment[:SHORT] or ABSENT],
            ["digest of the job's code now", attempt.code[:SHORT]],
        ]
        yield Card("Attempt", "", Table(("", ""), facts, (0, 1), (1,)), wide=False)
    if content.models:
        models: list[Row] = [
            [f"{model.kind} {model.id}", model.trained, moment(model.born), model.weights[:SHORT]]
            for model in content.models
        ]
        yield Card(
            "Models",
            "Born: from then on it could have existed.",
            Table(("model", "trained on", "born", "weights, sha256"), models, (0, 1, 2, 3), (1,)),
        )
    if content.reads:
        yield Card(
            f"Files that it reads: {number(len(content.reads), 0)}",
            "By table; the newest leads on.",
            _tables(content.reads),
        )
        rows: list[Row] = [
            [
                Cell(str(file.session), address(file.table, file.session, content.symbol)),
                file.table,
                number(file.rows, 0),
                f"{file.job} {file.partition}, {file.attempt}",
                file.sha256[:SHORT],
            ]
            for file in content.reads
        ]
        yield Card(
            "Every file", "", Table(("session", "table", "rows", "attempt", "sha256"), rows, (0, 1, 3, 4)), folded=True
        )


def _tables(files: Sequence[File]) -> Table:
    tables: dict[str, list[File]] = {}
    for file in files:
        tables.setdefault(file.table, []).append(file)
    rows: list[Row] = []
    for table, parts in tables.items():
        first, last = min(part.session for part in parts), max(part.session for part in parts)
        rows.append(
            [
                table,
                str(first),
                Cell(str(last), address(table, last)),
                number(len(parts), 0),
                number(sum(part.rows for part in parts), 0),
            ]
        )
    return Table(("table", "first", "last", "files", "rows"), rows, (0, 1, 2))


def _forward(content: Origin) -> Iterator[Card]:
    rows: list[Row] = []
    for reader in content.readers:
        newest = reader.sessions[-1] if reader.sessions else None
        places = (
            [Cell(str(newest), address(reader.writes[0], newest))]
            if newest and reader.writes
            else [str(newest or "none yet")]
        )
        rows.append(
            [
                reader.job,
                ", ".join(reader.writes) or "nothing in the lake",
                number(len(reader.sessions), 0),
                str(reader.sessions[0]) if reader.sessions else "",
                *places,
            ]
        )
    if rows:
        yield Card(
            "Jobs whose windows reach this session",
            "Their published sessions.",
            Table(("job", "writes", "sessions", "first", "last"), rows, (0, 1, 3, 4), (1,)),
        )
    if content.publications:
        online: list[Row] = [
            [
                str(each["id"]),
                moment(each["published_at"]),
                str(each["vintage"] or ""),
                str(each["model"] or ""),
                "corrects " + str(each["replaces"]) if each["replaces"] else "",
            ]
            for each in content.publications
        ]
        yield Card(
            f"{several(len(online), 'publication')} of the session",
            "",
            Table(("publication", "published", "vintage", "model", ""), online, range(5)),
        )
