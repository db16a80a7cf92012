"""Ingest of the table `vectors`: what another encoder wrote, each vintage under the name that it was given.

A vintage is registered at its first delivery, with its length and the last session that its encoder has seen; later
deliveries must agree with both. First copies are known as all are (`fpm.first_copies`), corrections from their arrival,
and nothing before the vintage was born.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from fpm.errors import UsageError
from fpm.first_copies import NOTES, known_from, rule_of
from fpm.ingest import balance
from fpm.ingest.deliveries import Refused
from fpm.ingest.vector_files import KEYS, length_of
from fpm.ingest.vendor_files import refusal
from fpm.schema import CLOCKS, STREAM_SCORES, VECTORS
from fpm.sessions import close, cut_off, is_session
from fpm.store.jobs.publishing import Partition, attempt, ownership, publish, stage
from fpm.store.jobs.receipts import keep_receipt
from fpm.store.lake.files import CLOCK, instant, latest
from fpm.store.lake.quarantine import keep_refusal, keep_rows
from fpm.store.ledger.stores import Output
from producers import stream_scores

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date, datetime

    from fpm.ingest.daily_files import ReferenceRows
    from fpm.ingest.ingest_report import IngestReport
    from fpm.markets import Market
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

NAME = KIND = VECTORS.name
EVENT, CREATED = CLOCKS


class Statement(NamedTuple):
    """What a caller says about files of vectors: the vintage, and the last session that its encoder has seen."""

    vintage: str | None = None
    born: date | None = None


def require_session(born: date | None, market: Market, now: datetime) -> None:
    """Raises UsageError 227 where `born` is no session whose cut-off has passed by `now`."""
    if born is not None and (not is_session(market, born) or cut_off(market, born) > now):
        raise UsageError(
            code="FPM-IN-227",
            wrong=f"--born {born} is no past session of {market.name}",
            effect="nothing was read",
            todo="name the last session whose data the encoder has seen",
        )


# --- what is good ---------------------------------------------------------------------------------------------------
def judged(
    files: Sequence[ReferenceRows], delivered: Collection[str], born: date | None, stores: Stores | None
) -> tuple[list[ReferenceRows], list[Refused]]:
    """The files without symbols that no session ever had and keys on which two differ, and those refused whole.

    `delivered`: symbols of bars in the same delivery. Refused are a vintage of unknown birth (228), of another birth
    (229) or length (223), and the name of a stream of scores that the home has (230).
    """
    registered = {model.id: model for model in stores.models.list(KIND)} if stores else {}
    lengths = {name: int(model.manifest["length"]) for name, model in registered.items()}
    taken = _streams_of_scores(stores) if stores else set()
    good, refused = [], []
    for file in files:
        name = str(file.frame["vintage"][0]) if file.frame.height else ""
        wrong = _wrong(file, registered.get(name), lengths.get(name), born, taken) if name else None
        if wrong:
            refused.append(wrong)
            continue
        if name:
            lengths.setdefault(name, length_of(file))
        good.append(file)
    rows = stream_scores.without_unknown(good, delivered, stores)
    return stream_scores.agreed(rows, KEYS, ("vector", "known_at")), refused


def _wrong(
    file: ReferenceRows, model: Model | None, length: int | None, born: date | None, taken: set[str]
) -> Refused | None:
    name, own = file.frame["vintage"][0], length_of(file)
    wrong = None
    if model is None and born is None:
        wrong = refusal(
            file.path,
            code="FPM-IN-228",
            wrong=f"vintage {name} is new, and nobody says what its encoder has seen",
            todo="say --born SESSION, the last session whose data the encoder has seen",
        )
    elif model is not None and born not in (None, model.through):
        wrong = refusal(
            file.path,
            code="FPM-IN-229",
            wrong=f"vintage {name} was born of sessions through {model.through}, not {born}",
            todo="give the vectors of another training another name",
        )
    elif length not in (None, own):
        wrong = refusal(
            file.path,
            code="FPM-IN-223",
            wrong=f"vectors of {own} numbers, vintage {name} has {length}",
            todo="give vectors of another length another name",
        )
    elif model is None and {name, f"{name}.dual"} & taken:
        wrong = refusal(
            file.path,
            code="FPM-IN-230",
            wrong=f"{name} is the name of a stream of scores from outside",
            todo="give the vintage another name: its scores are a stream of that name",
        )
    return Refused(file.path, wrong) if wrong else None


def _streams_of_scores(stores: Stores) -> set[str]:
    days = stores.sessions(STREAM_SCORES.name)
    paths = [path for _, path in stores.lake.files(STREAM_SCORES.name, days[0], days[-1])] if days else []
    return {name for path in paths for name in stores.lake.decode(path, ["stream"])["stream"].unique().to_list()}


# --- what is stored -------------------------------------------------------------------------------------------------
def take(
    files: Sequence[ReferenceRows],
    arrival: stream_scores.Arrival,
    statement: Statement,
    stores: Stores,
    report: IngestReport,
) -> None:
    """Register new vintages, publish the vectors of new files session by session, and account for every row.

    A file with a symbol that is not known yet is read again the next time. Raises FpmError where a row is lost.
    """
    files, refused = judged(files, (), statement.born, stores)
    report.add_refused(refused)
    for wrong in refused:
        keep_refusal(stores.settings.quarantine, wrong.path, wrong.digest, wrong.refusal)
    for file in files:
        counts = {"rows_in": file.rows_in, "stored": file.frame.height, "deduplicated": file.deduplicated}
        balance.check({**counts, "quarantined": file.quarantined.height, "out_of_session": 0}, file.path.name)
        report.add_reference(NAME, file.rows_in, file.quarantined, file.deduplicated)
        report.add_faults(NAME, file.quarantined)
        keep_rows(stores.settings.quarantine, NAME, file.quarantined, file.sha256)
        if file.frame.height:
            _take(file, arrival, statement, stores, report)


def _take(
    file: ReferenceRows, arrival: stream_scores.Arrival, statement: Statement, stores: Stores, report: IngestReport
) -> None:
    vintage = _registered(file, statement.born, stores)
    days = file.frame.partition_by("session", as_dict=True, maintain_order=True)
    for (day,), part in days.items():
        _publish(day, part, vintage, arrival, stores)
        report.sessions.add(day)
    sessions = [day for (day,) in days]
    report.add_stream(vintage.id, sessions, file.frame.height)
    if stream_scores.UNKNOWN not in file.quarantined["reason_code"].to_list():
        key = stream_scores.receipt(file.sha256, statement.vintage)
        keep_receipt(NAME, file.path, key, sessions, stores, vintage.id)


def _registered(file: ReferenceRows, born: date | None, stores: Stores) -> Model:
    """The vintage of a file, registered where it is new."""
    name = str(file.frame["vintage"][0])
    models = {model.id: model for model in stores.models.list(KIND)}
    if name in models:
        return models[name]
    assert born is not None  # `judged` refuses a new vintage without
    manifest = {"origin": "outside", "length": length_of(file)}
    return stores.models.save(KIND, name, {}, manifest, cut_off(stores.market, born), born, "promoted")


def _publish(session: date, rows: pl.DataFrame, vintage: Model, arrival: stream_scores.Arrival, stores: Stores) -> None:
    partition, limit = Partition(NAME, session, vintage.id), cut_off(stores.market, session)
    rule = rule_of(session, arrival.first_published, stated=arrival.stated)
    least = max(limit, vintage.born)
    with ownership(partition, stores):
        files = stores.lake.files(NAME, session, session, vintage.id)
        stored = stores.lake.decode(files[0][1]) if files else None
        first = max(least, known_from(rule, limit, arrival.known_at))
        moments = Moments(close(stores.market, session), least, first, max(least, arrival.known_at))
        frame = versions(stored, rows, moments)
        if stored is not None and frame.height == stored.height and frame.equals(stored.select(frame.columns)):
            return
        with attempt(partition, "", stores) as this_attempt:
            if stored is None:
                stores.ledger.note(this_attempt, NOTES[rule])
            output = Output(NAME, session, vintage.id, frame)
            publish(partition, this_attempt, stage(partition, [output], stores), stores)


class Moments(NamedTuple):
    """Of a session's vectors: `event` their close, `least` before which none is known, `first` copies, `correction`."""

    event: datetime
    least: datetime
    first: datetime
    correction: datetime


def versions(stored: pl.DataFrame | None, rows: pl.DataFrame, moments: Moments) -> pl.DataFrame:
    """All versions of a session's vectors of one vintage after a delivery (`rows`: symbol, vintage, vector, known_at).

    A first copy is known from what its row states, else from `first`; new and differing vectors of a session that is
    there from `correction`; equal ones change nothing. A version known at the very same moment is replaced.
    """
    keys, event = list(VECTORS.keys), instant(moments.event).alias(EVENT)
    order = [*keys, "vector", EVENT, CREATED]
    incoming = rows.select(*keys, "vector", "known_at").with_columns(event)
    if stored is None or stored.is_empty():
        stated = pl.max_horizontal(pl.col("known_at").cast(CLOCK), instant(moments.least))
        clock = pl.when(pl.col("known_at").is_null()).then(instant(moments.first)).otherwise(stated)
        return incoming.with_columns(clock.alias(CREATED)).select(order).sort(*keys)
    current = latest(VECTORS, stored, None).select(*keys, before="vector")
    compared = incoming.join(current, on=keys, how="left", maintain_order="left")
    changed = compared.filter(pl.col("vector").ne_missing(pl.col("before")))
    added = changed.with_columns(instant(moments.correction).alias(CREATED)).select(order)
    kept = stored.select(order).join(added, on=[*keys, EVENT, CREATED], how="anti", maintain_order="left")
    return pl.concat([kept, added]).sort(*keys, EVENT, CREATED)
