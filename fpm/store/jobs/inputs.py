"""The inputs of a job: the files in its windows, its models, settings and code.

They decide what is missing, the digest by which unchanged work is skipped, and the moments at which the knowledge
about a session changed. The environment is no input: an upgrade of a library computes nothing again by itself; the
ledger records its fingerprint (`fpm.environment`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fpm import identities
from fpm.retention import RETIRABLE
from fpm.schema import SYMBOLS, TABLES
from fpm.sessions import cut_off, next_sessions, previous_sessions
from fpm.store.jobs.code_identity import code_digest
from fpm.store.lake.files import LakeFile, parse
from fpm.store.ledger.absences import absences
from fpm.store.ledger.retirements import retired
from fpm.store.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

Span = int | Callable[[Settings], int]
Spans = dict[str, tuple[date, date]]  # of each table the first and the last session
RAW = ("daily_bars", "minute_bars")  # a session without either was never in this deployment, so nobody waits for it
RUNNER = 1  # raise when the plumbing (`code_identity.PLUMBING`) changes what a job's files hold


@dataclass(frozen=True)
class Window:
    """The sessions of a table that a job at session t reads: `back` before, `ahead` after, t itself if `include`.

    `back` and `ahead` may depend on the settings (look-backs come from preset and model file). `among`: of the sessions
    after t, the only ones that count, by their number. With `required=False` the table may be absent or lack sessions.
    Where `applies` says no to the settings, the job does not read the table. `gap`: of the sessions before t the last
    so many are left out, because what they say comes after t.
    """

    back: Span = 0
    ahead: Span = 0
    include: bool = True
    required: bool = True
    among: Callable[[Settings], tuple[int, ...]] | None = None
    applies: Callable[[Settings], bool] | None = None
    gap: Span = 0


class Job(Protocol):
    """A job module.

    A job that computes with a model also has ``MODELS = ("encoder",)``, ``("scorer",)`` or ``("vector_scorer",)``:
    the kinds whose model in force enters its digest and its knowledge time. ``FILES`` names the settings whose files it
    reads, ``SETTINGS`` those whose values it reads beside market, preset and seed. ``in_force`` returns what else its
    result depends on, as known at the session's cut-off: lists in force, what a person said. ``FINAL = True``: what it
    wrote for a session that went online stands, whatever becomes known later.
    """

    @property
    def NAME(self) -> str:  # noqa: N802  a constant of the module
        """The job's name in the ledger."""

    @property
    def READS(self) -> Mapping[str, Window]:  # noqa: N802  a constant of the module
        """The window of each table that it reads."""

    @property
    def WRITES(self) -> tuple[str, ...]:  # noqa: N802  a constant of the module
        """The tables that it writes."""

    def run(self, session: date, stores: Stores) -> None:
        """Read, compute and write one session."""


@dataclass(frozen=True)
class Inputs:
    """What a job needs at a session.

    `digest` covers everything that the result depends on. `moments` are those at which the job computes as known, in
    order; the first is the earliest at which its result can be known: a session whose first copy came after its cut-off
    has no result before. `missing` are required partitions that are not published, `paths` the files that the job
    reads, below the lake's root.
    """

    digest: str
    moments: tuple[datetime, ...]
    missing: tuple[str, ...]
    paths: tuple[str, ...] = ()


def inputs_of(job: Job, session: date, stores: Stores, published: Published | None = None) -> Inputs:
    """The inputs of a job at a session. Raises TryLater where a model is missing.

    `published`: the files of `spans_of` the session, for who asks for many sessions at once; None asks the ledger.
    """
    models = [_model(kind, session, stores) for kind in getattr(job, "MODELS", ())]
    vintage = stores.vintage or next(
        (model.manifest["vintage"] for model in models if "vintage" in model.manifest), None
    )
    reads = windows(job, stores.settings)
    sessions = {table: sessions_of(window, session, stores) for table, window in reads.items()}
    begin, end = _bounds(session, sessions)
    published = published or Published(stores, _spans(session, reads, sessions), _awaited_tables(reads))
    absent = absences(stores.ledger)
    files: list[Recorded] = []
    missing: list[tuple[str, date]] = []
    first = max([cut_off(stores.market, end), *(model.born for model in models)])
    for table, window in reads.items():
        own, days = published.by_day(table, vintage), sessions[table]
        files += [file for day in days for file in own.get(day, ())]
        if not window.required:
            continue
        oldest, now = (bisect_left(days, day) for day in (published.first_session(table, vintage) or session, session))
        back = (day for day in days[oldest:now] if day not in own and published.has_bars(day))
        ahead = [day for day in days[now:] if day == session or day not in absent]  # nobody will ever deliver an absent
        missing += [(table, day) for day in back if day not in absent]
        missing += [(table, day) for day in ahead if day not in own]
        for day in ahead:  # a look-back without a late session was served as it was
            first = max([first, *_first_known(own.get(day, ()))])
    since = first.timestamp()  # moments of two time zones take long to compare, and a window has a thousand files
    fresh = (file for _, newest, file in files if newest > since)
    later = {moment for file in fresh for moment in file.knowledge if moment > first}
    names = _names(session, begin, end, first, stores) if published.names_change else []
    later |= {moment for moment, _ in names if moment > first}
    head = [
        RUNNER,
        job.NAME,
        code_digest(getattr(job, "__file__", None)),
        _deployment(stores),
        stores.vintage,
        *((model.kind, model.id) for model in models),
        *_setting_files(job, stores.settings),
        *_setting_values(job, stores.settings),
    ]
    tail = [*names, *(job.in_force(session, stores) if hasattr(job, "in_force") else ())]
    lines = sorted(line for line, _, _ in files)
    whole = _digest([*map(repr, head), *lines, *map(repr, tail)])
    awaited = tuple(f"{table} {day}" for table, day in _awaited(missing, stores))
    return Inputs(whole, (first, *sorted(later)), awaited, tuple(file.path for _, _, file in files))


def _awaited(missing: Sequence[tuple[str, date]], stores: Stores) -> list[tuple[str, date]]:
    """The missing partitions without those that somebody had removed: what rests on them stands (`freshness`)."""
    gone = retired(stores.ledger) if {table for table, _ in missing} & set(RETIRABLE) else {}
    return [(table, day) for table, day in missing if table not in gone or day >= gone[table]]


def unseen(inputs: Inputs, stores: Stores) -> list[str]:
    """Inputs that this host does not see in the lake: deleted, or its view of a shared folder is behind the ledger."""
    days: dict[str, list[date]] = {}
    for path in inputs.paths:
        table, _, day = parse(path)
        days.setdefault(table, []).append(day)
    spans = {table: (min(own), max(own)) for table, own in days.items()}
    stored = {str(path) for table, span in spans.items() for _, path in stores.lake.files(table, *span)}
    root = str(stores.lake.root)
    return [path for path in inputs.paths if f"{root}/{path}" not in stored]


def published_files(job: Job, sessions: Sequence[date], stores: Stores) -> Published:
    """The published files that a job reads at sessions, which are in order, in one look at the ledger."""
    reads = windows(job, stores.settings)
    spans: Spans = {}
    for session in (sessions[0], sessions[-1]):  # no window of the others begins before or ends after these
        days = {table: sessions_of(window, session, stores) for table, window in reads.items()}
        for table, (begin, end) in _spans(session, reads, days).items():
            first, last = spans.get(table, (begin, end))
            spans[table] = min(first, begin), max(last, end)
    return Published(stores, spans, _awaited_tables(reads))


def _awaited_tables(reads: Mapping[str, Window]) -> list[str]:
    """Of the tables those whose sessions may be missing."""
    return sorted(table for table, window in reads.items() if window.required)


def _spans(session: date, reads: Mapping[str, Window], sessions: Mapping[str, Sequence[date]]) -> Spans:
    """The first and the last session of each table that is looked at: of raw bars those that anybody may wait for."""
    awaited = {table: days for table, days in sessions.items() if reads[table].required}
    days = {**sessions, **{raw: [*_bounds(session, awaited), *sessions.get(raw, ())] for raw in RAW}}
    return {table: (min([session, *own]), max([session, *own])) for table, own in days.items()}


def _bounds(session: date, sessions: Mapping[str, Sequence[date]]) -> tuple[date, date]:
    """The first and the last of a session and the sessions of its windows, each of which is in order."""
    ends = [session, *(day for days in sessions.values() if days for day in (days[0], days[-1]))]
    return min(ends), max(ends)


def windows(job: Job, settings: Settings) -> dict[str, Window]:
    """The windows of the tables that a job reads under these settings."""
    return {table: window for table, window in job.READS.items() if window.applies is None or window.applies(settings)}


def _names(
    session: date, begin: date, end: date, first_known: datetime, stores: Stores
) -> list[tuple[datetime, list[tuple[object, ...]]]]:
    """What the table `symbols` does to the days from `begin` to `end`: as first known, and at every change of it.

    Without the table, or where no company of it changes its name in these days, nothing. So a delivery of the table
    computes the sessions again that it means, and no others.
    """
    if begin == end or not stores.sessions(SYMBOLS.name):
        return []
    later = [moment for moment in stores.identity_moments() if moment > first_known]
    table = identities.NO_TABLE
    changes: list[tuple[datetime, list[tuple[object, ...]]]] = []
    for moment in (first_known, *later):
        rows = identities.in_motion(stores.as_of(moment).identities(), begin, end)
        if rows.equals(table):
            continue
        table, former = rows, changes[-1][1] if changes else []
        spans = identities.within(identities.renames(table, session), begin, end).rows()
        if spans != former:
            changes.append((moment, spans))
    return changes


def _names_change(begin: date, end: date, stores: Stores) -> bool:
    """Whether the table `symbols`, in any of its versions, changes a name in these days."""
    snapshots = (stores.as_of(moment).identities() for moment in stores.identity_moments())
    return any(len(identities.in_motion(table, begin, end)) for table in snapshots)


def _first_known(partition: Sequence[Recorded]) -> list[datetime]:
    """From when the first rows of a partition are known, under any vintage; empty where it has no rows."""
    return sorted(moment for _, _, file in partition for moment in file.knowledge)[:1]


def _deployment(stores: Stores) -> tuple[str, ...]:
    decided = stores.ledger.deployment()
    profile = stores.profile.hash if "profile" in decided else ""
    return stores.market.name, stores.settings.preset, str(stores.settings.seed), profile


def _setting_files(job: Job, settings: Settings) -> list[tuple[str, str]]:
    """Name and hash of the operator's files that the job reads."""
    paths = {name: getattr(settings, name) for name in getattr(job, "FILES", ())}
    return [(name, sha256(path.read_bytes()).hexdigest()) for name, path in paths.items() if path]


def _setting_values(job: Job, settings: Settings) -> list[tuple[str, object]]:
    """Name and value of the settings that the job reads, those without a value left out."""
    values = {name: getattr(settings, name) for name in getattr(job, "SETTINGS", ())}
    return [(name, value) for name, value in values.items() if value is not None]


def _model(kind: str, session: date, stores: Stores) -> Model:
    if kind == "encoder" and stores.vintage:
        return stores.models.record(kind, stores.vintage)
    return stores.models.record_in_force(kind, session, stores.vintage if kind == "vector_scorer" else None)


class Recorded(NamedTuple):
    """A published file with its line of a digest, and the POSIX time at which its newest rows became known."""

    line: str
    newest: float
    file: LakeFile


class Published:
    """The published files of tables, each in its own span of sessions: of two years a job reads most tables for days.

    `awaited`: tables of which sessions may be missing.
    """

    def __init__(self, stores: Stores, spans: Spans, awaited: Sequence[str]) -> None:
        self._first_sessions = stores.ledger.first_sessions(awaited)
        self._files: dict[str, dict[date, dict[str | None, Recorded]]] = {}
        self._by_day: dict[tuple[str, str | None], dict[date, list[Recorded]]] = {}
        for first, last in sorted(set(spans.values())):
            tables = sorted(table for table, span in spans.items() if span == (first, last))
            for file in stores.ledger.current(tables, first, last).values():
                table, vintage, session = parse(file.path)
                newest = max((moment.timestamp() for moment in file.knowledge), default=float("-inf"))
                recorded = Recorded(repr((file.path, file.sha256)), newest, file)
                self._files.setdefault(table, {}).setdefault(session, {})[vintage] = recorded
        begin, end = _bounds(max(last for _, last in spans.values()), spans)
        self.names_change = _names_change(begin, end, stores)

    def by_day(self, table: str, vintage: str | None) -> Mapping[date, Sequence[Recorded]]:
        """The files of a table's partitions, of sessions that have some.

        For a `by_vintage` table without a vintage in force one file a vintage.
        """
        key = table, vintage if TABLES[table].by_vintage else None
        if key not in self._by_day:
            self._by_day[key] = {
                day: own for day, files in self._files.get(table, {}).items() if (own := _of_vintage(files, key[1]))
            }
        return self._by_day[key]

    def first_session(self, table: str, vintage: str | None) -> date | None:
        """The table's first published session, of whatever range: no look-back counts on an earlier one."""
        return self._first_sessions.get((table, vintage if TABLES[table].by_vintage else None))

    def has_bars(self, session: date) -> bool:
        """Whether a session of the range has raw bars: without them nobody waits for it."""
        return any(session in self._files.get(raw, ()) for raw in RAW)


def _of_vintage(files: Mapping[str | None, Recorded], vintage: str | None) -> list[Recorded]:
    """A partition's file of a vintage; without one all of them, in the vintages' order."""
    if vintage is None:
        return [files[key] for key in sorted(files, key=str)]
    return [files[vintage]] if vintage in files else []


def sessions_of(window: Window, session: date, stores: Stores) -> list[date]:
    """The sessions of a window at a session, in order."""
    before = previous_sessions(stores.market, session, _span(window.back, stores))
    before = before[: len(before) - _span(window.gap, stores)]
    after = sessions_ahead(window, session, stores)
    return [*before, *([session] if window.include else []), *after]


def sessions_ahead(window: Window, session: date, stores: Stores) -> list[date]:
    """The sessions of a window after `session`, in order."""
    after = next_sessions(stores.market, session, _span(window.ahead, stores))
    if window.among is None:
        return after
    return [after[number - 1] for number in window.among(stores.settings)]


def _span(span: Span, stores: Stores) -> int:
    return span(stores.settings) if callable(span) else span


def digest(content: Sequence[object]) -> str:
    """Hex sha256 of values by their `repr`."""
    return _digest(map(repr, content))


def _digest(lines: Iterable[str]) -> str:
    return sha256("\n".join(lines).encode()).hexdigest()
