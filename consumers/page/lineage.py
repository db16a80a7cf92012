"""Back from a partition to its attempt, its models and the files it was made of; forward to the jobs that read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.errors import FpmError, TryLater
from fpm.page.lineage import File, Made, Model, Origin, Reader
from fpm.schema import SCORES, TABLES
from fpm.store.jobs.code_identity import code_digest
from fpm.store.jobs.inputs import inputs_of, sessions_of, windows
from fpm.store.lake.files import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from fpm.store.jobs.inputs import Job
    from fpm.store.ledger.stores import Stores

FILES = 'SELECT "table", session, path, sha256, rows, job, partition, attempt FROM fpm.files '
VALUES = 12  # rows of one symbol
COLUMNS = 14  # of those rows: a table with more (factors, minutes) is shown elsewhere
NEAR = 90  # sessions on each side among which readers of a partition are looked for


def newest(stores: Stores) -> tuple[list[tuple[str, date, int]], dict[str, Any] | None]:
    """The newest partition of every table with its rows, and the newest publication."""
    rows = stores.ledger.query(
        'SELECT "table", session, sum(rows)::bigint FROM fpm.files JOIN (SELECT "table", max(session) AS session '
        'FROM fpm.files GROUP BY "table") AS last USING ("table", session) GROUP BY "table", session'
    )
    order = list(TABLES)
    tables = sorted(((table, day, count) for table, day, count in rows), key=lambda row: order.index(row[0]))
    return tables, next(iter(publications(None, stores)), None)


def publications(session: date | None, stores: Stores) -> list[dict[str, Any]]:
    """The newest publications, newest first; of a session, or of all."""
    names = ("id", "session", "published_at", "vintage", "model", "replaces")
    rows = stores.ledger.query(
        "SELECT id, session, published_at, vintage, model, replaces FROM fpm.publications "
        "WHERE %s::date IS NULL OR session = %s ORDER BY id DESC LIMIT 10",
        (session, session),
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def gathered(table: str, session: date, symbol: str, jobs: Mapping[str, Job], stores: Stores) -> Origin:
    """Everything about a partition; `jobs`: every job of a night by name."""
    files = [File(*row) for row in stores.ledger.query(FILES + 'WHERE "table" = %s AND session = %s', (table, session))]
    values = _values(table, session, symbol, files, stores)
    file = files[-1] if files else None
    job = jobs.get(file.job) if file else None
    made, reads = _origin(file, job, stores)
    return Origin(
        table,
        session,
        symbol,
        file,
        values,
        made,
        list(_models(table, session, values, job, file, stores)),
        reads,
        list(_readers(table, session, jobs, stores)),
        publications(session, stores) if TABLES[table].online else (),
    )


def _values(table: str, session: date, symbol: str, files: Sequence[File], stores: Stores) -> list[dict[str, Any]]:
    """The symbol's stored rows, every version, of a table narrow enough to be read."""
    declared = TABLES[table]
    names = [name for name, kind in declared.columns.items() if kind != "vector"]
    if not symbol or not files or "symbol" not in declared.columns or declared.open_columns or len(names) > COLUMNS:
        return []
    columns = [*names, "event_timestamp", "created_timestamp"]
    paths = [path for _, path in stores.lake.files(table, session, session)]
    rows = pl.concat([stores.lake.decode(path, columns) for path in paths], how="diagonal") if paths else pl.DataFrame()
    return rows.filter(pl.col("symbol") == symbol).head(VALUES).to_dicts() if len(rows) else []


def _origin(file: File | None, job: Job | None, stores: Stores) -> tuple[Made | None, list[File]]:
    """The attempt and the inputs; a file that came from outside has no inputs."""
    if file is None:
        return None, []
    if job is None:
        return _attempt(file, "", None, "it came from outside: a delivery", stores), []
    return _made(file, job, stores)


def _made(file: File, job: Job, stores: Stores) -> tuple[Made | None, list[File]]:
    """The attempt behind a file, and the files that its job reads for the session now."""
    _, vintage, session = parse(file.path)
    code = code_digest(getattr(job, "__file__", None))
    try:
        inputs = inputs_of(job, session, stores.for_vintage(vintage))
    except FpmError as refusal:  # a model that is gone, a list that cannot be read: the ledger's words still stand
        return _attempt(file, code, None, refusal.wrong, stores), []
    rows = stores.ledger.query(FILES + 'WHERE path = ANY(%s) ORDER BY "table", session DESC', (list(inputs.paths),))
    return _attempt(file, code, inputs.digest, "", stores), [File(*row) for row in rows]


def _attempt(file: File, code: str, digest: str | None, why: str, stores: Stores) -> Made | None:
    """The attempt that wrote a file, beside the digest of its inputs as they are now."""
    rows = stores.ledger.query(
        "SELECT started_at, finished_at, inputs_sha, coalesce(environment, '') FROM fpm.ledger "
        "WHERE job = %s AND partition = %s AND attempt = %s",
        (file.job, file.partition, file.attempt),
    )
    if not rows:
        return None
    started_at, finished_at, inputs, environment = rows[0]
    same = None if digest is None else digest == inputs
    return Made(started_at, finished_at, inputs, environment, code, same, why)


def _models(
    table: str, session: date, values: Sequence[Mapping[str, Any]], job: Job | None, file: File | None, stores: Stores
) -> Iterator[Model]:
    """The models behind the numbers: as the rows name them, else those in force for the job."""
    named = {("scorer", values[-1]["model"])} if values and table == SCORES.name and values[-1]["model"] else set()
    vintage = parse(file.path)[1] if file else None
    if vintage:
        named.add(("encoder", vintage))
    for kind in getattr(job, "MODELS", ()):
        if kind not in {each for each, _ in named}:
            try:
                named.add((kind, stores.models.record_in_force(kind, session).id))
            except TryLater:
                continue
    for kind, model_id in sorted(named, reverse=True):
        try:
            record = stores.models.record(kind, model_id)
        except TryLater:
            continue
        yield _model(record, stores)
        if "vintage" in record.manifest and ("encoder", record.manifest["vintage"]) not in named:
            yield _model(stores.models.record("encoder", record.manifest["vintage"]), stores)


def _model(record: Any, stores: Stores) -> Model:
    """A model's record in the view's form."""
    train = record.manifest.get("folds", {}).get("train")
    seeds = record.manifest.get("seeds") or record.manifest.get("config", {}).get("seeds") or ()
    seeds = seeds or [record.manifest[name] for name in ("seed",) if name in record.manifest]
    hashes = stores.models.hashes(record.kind).get(record.id, {})
    trained = f"{train[0]} to {train[1]}" if train else ""
    weights = hashes.get("weights.safetensors", "")
    return Model(record.kind, record.id, record.born, record.through, tuple(seeds), trained, weights)


def _readers(table: str, session: date, jobs: Mapping[str, Job], stores: Stores) -> Iterator[Reader]:
    """Jobs that read the table, with their published sessions whose windows hold this one."""
    days = stores.sessions("daily_bars")
    near = [day for day in days if day >= session][:NEAR]
    before = [day for day in days if day < session][-NEAR:]
    for name, job in jobs.items():
        window = windows(job, stores.settings).get(table)
        if window is None:
            continue
        published = stores.ledger.published(name)
        candidates = [day for day in (*before, *near) if day in published]
        reached = [day for day in candidates if session in sessions_of(window, day, stores)]
        yield Reader(name, tuple(job.WRITES), reached)
