"""Whether lake, models and online rows are what the ledger recorded, and the ledger what its journal says.

Every byte is read, in pieces.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from consumers import parity
from consumers.publish import VIEWS
from fpm.errors import FpmError
from fpm.schema import SYMBOLS, TABLES
from fpm.store.lake.files import RAW, parse, sha256_of, table_of
from fpm.store.lake.seals import identity_of, settled_identity
from fpm.store.ledger.journal import breaches
from fpm.store.ledger.models import PURGE
from fpm.store.ledger.seals import keep_identities, recorded_seals
from fpm.store.online.publication import published_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fpm.progress import Progress
    from fpm.store.ledger.journal import Head
    from fpm.store.ledger.stores import Stores

Span = tuple[date, date]
KEPT_TOGETHER = 200  # identities that are written to the ledger at once


@dataclass(frozen=True)
class Fault:
    """One thing that is not as recorded: where it lies, what is wrong, what to run."""

    place: str
    wrong: str
    todo: str


@dataclass(frozen=True)
class Integrity:
    """What was read (`files` and `bytes` of lake and models, rows online) and its faults.

    `head`: of the ledger's journal; None where a table alone was asked for.
    """

    files: int
    bytes: int
    online_rows: int
    faults: tuple[Fault, ...]
    head: str | None = None

    @property
    def sound(self) -> bool:
        """Whether everything is as recorded."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        return {"sound": self.sound, **asdict(self), "faults": [asdict(fault) for fault in self.faults]}


@dataclass(frozen=True)
class _Recorded:
    """A file as the ledger has it, and what to do where it is not so."""

    path: Path
    sha256: str
    todo: str
    name: str | None = None  # its path in the lake; None for a file of a model
    identity: str | None = None


def integrity(
    table: str | None, span: Span | None, stores: Stores, progress: Progress, known: Head | None = None
) -> Integrity:
    """Read again what the ledger recorded, and say what differs.

    `table`: that table alone, without models and journal (None: all). `span`: first and last session (None: all).
    `known`: a head of the ledger's journal that somebody kept.
    A file that is sound and was copied or restored since its publication gets its identity recorded anew, so that
    readers need not hash it. Raises UsageError for an unknown table.
    """
    tables = [table_of(table).name] if table else list(TABLES)
    recorded = [*_lake_files(tables, span, stores), *([] if table else _model_files(stores))]
    faults, size, identities = [], 0, dict[str, tuple[str, str]]()
    for number, file in enumerate(recorded, 1):
        fault, read, identity = _judged(file, stores)
        faults += [fault] if fault else []
        size += read
        if file.name and identity and identity != file.identity:
            identities[file.name] = file.sha256, identity
        if identities and (len(identities) == KEPT_TOGETHER or number == len(recorded)):
            keep_identities(stores.ledger, identities)
            identities = {}
        progress(number, len(recorded), file.path.parent.name)
    faults += _unknown_files(tables, span, stores)
    faults += [] if table else _unknown_model_files(stores)
    rows, online = _online(tables, span, stores)
    head, past = (None, []) if table else _journal(stores, known)
    return Integrity(len(recorded), size, rows, (*faults, *online, *past), head)


def _journal(stores: Stores, known: Head | None) -> tuple[str, list[Fault]]:
    """The head of the ledger's journal, and where the ledger contradicts it."""
    head, wrong = breaches(stores.ledger, known)
    todo = "find out who may write to the database as its owner; restore the last backup whose head is in the chain"
    return str(head), [Fault(breach.place, breach.wrong, todo) for breach in wrong]


def _judged(file: _Recorded, stores: Stores) -> tuple[Fault | None, int, str | None]:
    """The fault of a file or None, the bytes read, and the identity of a sound file."""
    try:
        before = settled_identity(file.path)
        actual, size = sha256_of(file.path), file.path.stat().st_size
        after = identity_of(file.path.stat())
    except FileNotFoundError:
        actual, size, before, after = None, 0, None, None
    except OSError as wrong:
        return Fault(str(file.path), f"it cannot be read: {wrong}", file.todo), 0, None
    if actual == file.sha256:
        return None, size, after if before == after else None
    if file.name and _was_published_meanwhile(file, actual, stores):
        return None, size, None
    if actual is None:
        return Fault(str(file.path), "the file is missing", file.todo), 0, None
    return Fault(str(file.path), f"changed: sha256 {actual}, recorded {file.sha256}", file.todo), size, None


def _was_published_meanwhile(file: _Recorded, actual: str | None, stores: Stores) -> bool:
    """Whether a job has put another file there since the ledger was read."""
    assert file.name is not None
    seal = recorded_seals(stores.ledger, parse(file.name)[0], file.name).get(file.name)
    return seal is not None and (actual in seal.coming or actual == seal.sha256)


def _lake_files(tables: Sequence[str], span: Span | None, stores: Stores) -> list[_Recorded]:
    rows = stores.ledger.query(
        "SELECT path, sha256, identity, job, session, vintage FROM fpm.files "
        'WHERE "table" = ANY(%s) AND session BETWEEN %s AND %s ORDER BY path',
        (list(tables), *(span or (date.min, date.max))),
    )
    return [
        _Recorded(stores.lake.root / path, sha256, _again(parse(path)[0], job, session, vintage), path, identity)
        for path, sha256, identity, job, session, vintage in rows
    ]


def _again(table: str, job: str, session: date, vintage: str | None) -> str:
    """How a partition comes back."""
    if table in (*RAW, SYMBOLS.name):
        return f"restore it from a backup, or delete it and ingest its delivery of {session} again: fpm ingest PATH"
    where = f" (while {vintage} is in force)" if vintage else ""
    return f"restore it from a backup, or delete it and run: fpm run {job} {session}{where}"


def _unknown_files(tables: Sequence[str], span: Span | None, stores: Stores) -> Iterator[Fault]:
    """Files in the folders of the tables that nobody published."""
    for table in tables:
        seals = recorded_seals(stores.ledger, table)
        for name in _names(stores.lake.root / table, stores.lake.root):
            if name in seals or not _is_inside(name, span):
                continue
            if name not in recorded_seals(stores.ledger, table, name):  # asked again: it may be newer
                yield Fault(
                    str(stores.lake.root / name),
                    "the ledger does not know this file",
                    "move it out of the lake; data comes in by `fpm ingest` and jobs alone",
                )


def _names(folder: Path, root: Path) -> list[str]:
    below = ((where, name) for where, _, names in os.walk(folder) for name in names)
    return sorted(os.path.relpath(os.path.join(where, name), root) for where, name in below)  # noqa: PTH118


def _is_inside(name: str, span: Span | None) -> bool:
    """Whether a path belongs to the sessions; one that names no session belongs to every span."""
    if span is None:
        return True
    try:
        return span[0] <= parse(name)[2] <= span[1]
    except (FpmError, ValueError):
        return True


def _model_files(stores: Stores) -> list[_Recorded]:
    return [
        _Recorded(model.path / name, sha256, f"restore it from a backup, or run: fpm train {kind} --through {through}")
        for kind in PURGE
        for models in [stores.models.hashes(kind)]
        for model, through in [(model, model.through) for model in stores.models.list(kind)]
        for name, sha256 in models[model.id].items()
    ]


def _unknown_model_files(stores: Stores) -> Iterator[Fault]:
    """Files in the folders of registered models that were not registered; a killed training's folder is no model."""
    for kind in PURGE:
        for model_id, files in stores.models.hashes(kind).items():
            folder = stores.models.root / kind / model_id
            for name in _names(folder, folder):
                if name not in files:
                    yield Fault(str(folder / name), "no file of this model", "move it out of the model's folder")


def _online(tables: Sequence[str], span: Span | None, stores: Stores) -> tuple[int, list[Fault]]:
    """Rows of the published session's views that were compared with the lake, and their faults."""
    session = published_session(stores)
    if session is None or not set(VIEWS) & set(tables) or (span and not span[0] <= session <= span[1]):
        return 0, []
    todo = f"run: fpm run publish {session}, then fpm run parity {session}"
    try:
        views = [view for view in parity.check(session, stores) if view.view.removeprefix("former_") in tables]
    except FpmError as wrong:
        return 0, [Fault(f"online, session {session}", f"not compared: {wrong.code} {wrong.wrong}", wrong.todo)]
    faults = [
        Fault(f"online {view.view}, session {session}", _difference(view), todo) for view in views if not view.equal
    ]
    return sum(view.rows for view in views), faults


def _difference(view: parity.Parity) -> str:
    columns = f" ({', '.join(view.columns[:5])})" if view.columns else ""
    return (
        f"of {view.rows} rows offline {view.missing} are missing online, {view.extra} are only there, "
        f"{view.different} cells differ{columns}"
    )
