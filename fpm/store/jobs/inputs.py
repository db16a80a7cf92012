"""What a job's result depends on: the files in its windows, the models it uses, its settings, its code.

From these follow what is missing, the digest by which unchanged work is skipped, and the moments at which the
knowledge about a session changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

from fpm.schema import TABLES
from fpm.sessions import cut_off, next_sessions, previous_sessions
from fpm.store.jobs.code_identity import code_digest
from fpm.store.lake.files import LakeFile, parse
from fpm.store.settings import Settings

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

Span = int | Callable[[Settings], int]
RAW = ("daily_bars", "minute_bars")  # a session without either never was in this deployment: nobody waits for it
RUNNER = 1  # raise when the plumbing (`code_identity.PLUMBING`) changes what a job's files hold


@dataclass(frozen=True)
class Window:
    """Which sessions of a table a job at session t reads: `back` before, `ahead` after, t itself if `include`.

    `back` and `ahead` may depend on the settings (look-backs come from the preset). `required=False`: a table that
    may be absent altogether, or lack sessions.
    """

    back: Span = 0
    ahead: Span = 0
    include: bool = True
    required: bool = True


class Job(Protocol):
    """A job module. A job that computes with a model also has ``MODELS = ("encoder",)`` or ``("scorer",)``: the kinds
    whose model in force enters its digest and its knowledge time.
    """

    @property
    def NAME(self) -> str: ...
    @property
    def READS(self) -> Mapping[str, Window]: ...
    @property
    def WRITES(self) -> tuple[str, ...]: ...

    def run(self, session: date, stores: Stores) -> None:
        """Read, compute, write one session."""


@dataclass(frozen=True)
class Inputs:
    """`digest`: of everything the result depends on; `moments`: when it has to be computed as known, in order, the
    first being the earliest moment it can be known at all; `missing`: required partitions that are not published.
    """

    digest: str
    moments: tuple[datetime, ...]
    missing: tuple[str, ...]


def inputs_of(job: Job, session: date, stores: Stores) -> Inputs:
    """The inputs of a job at a session.

    Raises TryLater where a model it needs is not there.
    """
    models = [_model(kind, session, stores) for kind in getattr(job, "MODELS", ())]
    vintage = stores.vintage or next(
        (model.manifest["vintage"] for model in models if "vintage" in model.manifest), None
    )
    wanted = {table: _sessions(window, session, stores) for table, window in job.READS.items()}
    every = [session, *(each for sessions in wanted.values() for each in sessions)]
    published = _Published(stores, sorted({*job.READS, *RAW}), min(every), max(every))
    files: list[LakeFile] = []
    missing: list[str] = []
    for table, window in job.READS.items():
        for each in wanted[table]:
            found = published.files(table, vintage, each)
            files += found
            if not found and window.required and (each >= session or published.expected(table, vintage, each)):
                missing.append(f"{table} {each}")
    first = max([cut_off(stores.market, max(every)), *(model.born for model in models)])
    later = {moment for file in files for moment in file.knowledge if moment > first}
    content = [
        RUNNER,
        job.NAME,
        code_digest(getattr(job, "__file__", None)),
        _deployment(stores),
        stores.vintage,
        *((model.kind, model.id) for model in models),
        *sorted((file.path, file.sha256) for file in files),
    ]
    return Inputs(digest(content), (first, *sorted(later)), tuple(missing))


def _deployment(stores: Stores) -> tuple[str, ...]:
    decided = stores.ledger.deployment()
    profile = stores.profile.hash if "profile" in decided else ""
    return stores.market.name, stores.settings.preset, str(stores.settings.seed), profile


def _model(kind: str, session: date, stores: Stores) -> Model:
    if kind == "encoder" and stores.vintage:
        return stores.models.record(kind, stores.vintage)
    return stores.models.record_in_force(kind, session)


class _Published:
    """The published files of some tables in a range of sessions."""

    def __init__(self, stores: Stores, tables: Sequence[str], first: date, last: date) -> None:
        self._begun = stores.ledger.first_sessions(tables)
        self._files: dict[tuple[str, date], dict[str | None, LakeFile]] = {}
        for file in stores.ledger.current(tables, first, last).values():
            table, vintage, session = parse(file.path)
            self._files.setdefault((table, session), {})[vintage] = file

    def files(self, table: str, vintage: str | None, session: date) -> list[LakeFile]:
        """The partition's files: one; of a `by_vintage` table without a vintage in force, one a vintage."""
        found = self._files.get((table, session), {})
        if vintage is None or not TABLES[table].by_vintage:
            return [found[key] for key in sorted(found, key=str)]
        return [found[vintage]] if vintage in found else []

    def expected(self, table: str, vintage: str | None, session: date) -> bool:
        """Whether a look-back may count on the session: raw bars of it exist, and the table had begun by then."""
        begun = self._begun.get((table, vintage if TABLES[table].by_vintage else None))
        return begun is not None and session >= begun and any((raw, session) in self._files for raw in RAW)


def _sessions(window: Window, session: date, stores: Stores) -> list[date]:
    """Sessions of a window, in order."""
    before = previous_sessions(stores.market, session, _span(window.back, stores))
    after = next_sessions(stores.market, session, _span(window.ahead, stores))
    return [*before, *([session] if window.include else []), *after]


def _span(span: Span, stores: Stores) -> int:
    return span(stores.settings) if callable(span) else span


def digest(content: Sequence[object]) -> str:
    """Hex sha256 of values by their spelling."""
    return sha256("\n".join(map(repr, content)).encode()).hexdigest()
