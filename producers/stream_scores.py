"""Ingest of the table `stream_scores`: a portfolio manager's own scores, each stream under the name that it was given.

The first copy of a stream's session is known as all first copies are (`fpm.first_copies`), or from the moment that its
row states; a correction from its arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import polars as pl

from fpm.first_copies import NOTES, known_from, rule_of
from fpm.ingest import balance
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.score_files import KEYS
from fpm.schema import CLOCKS, STREAM_SCORES
from fpm.sessions import close, cut_off
from fpm.store.jobs.publishing import Partition, attempt, ownership, publish, stage
from fpm.store.jobs.receipts import keep_receipt
from fpm.store.lake.files import CLOCK, instant, latest
from fpm.store.lake.quarantine import keep_rows
from fpm.store.ledger.stores import Output
from producers.listings import without_daily_row

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date, datetime

    from fpm.ingest.daily_files import ReferenceRows
    from fpm.ingest.ingest_report import IngestReport
    from fpm.store.ledger.stores import Stores

NAME = STREAM_SCORES.name
UNKNOWN = "FPM-IN-161"
EVENT, CREATED = CLOCKS


@dataclass(frozen=True)
class Arrival:
    """From when a delivery's rows are known: `known_at`, the call's moment or, where `stated`, somebody's word."""

    known_at: datetime
    stated: bool
    first_published: date | None


def receipt(digest: str, stream: str | None) -> str:
    """The key of a file's receipt: the same file under another name is another stream."""
    return sha256(f"{digest} {stream}".encode()).hexdigest() if stream else digest


# --- what is good ---------------------------------------------------------------------------------------------------
def judged(files: Sequence[ReferenceRows], delivered: Collection[str], stores: Stores | None) -> list[ReferenceRows]:
    """The files with the rows set aside that a file alone does not show.

    These are symbols that no session ever had (`delivered`: those of bars in the same delivery), keys on which two
    files disagree, streams of vectors from outside, sessions whose scores tell no symbol from another. Equal rows
    of several files count once.
    """
    files = agreed(without_unknown(files, delivered, stores), KEYS, ("score", "known_at"))
    vintages = [model.id for model in stores.models.list("vectors")] if stores else []
    files = [_set_aside(file, _of_vectors(file.frame, vintages)) for file in files]
    flat = _flat(files, stores)
    return [_set_aside(file, _flat_faults(file.frame, flat)) for file in files]


def without_unknown(
    files: Sequence[ReferenceRows], delivered: Collection[str], stores: Stores | None
) -> list[ReferenceRows]:
    """The files, rows of symbols set aside that no session ever had and that are not among `delivered`."""
    unpriced = {symbol for file in files for symbol in file.frame["symbol"].unique().to_list()} - set(delivered)
    unknown = sorted(without_daily_row(unpriced, stores) if stores else unpriced)
    return [_set_aside(file, _unknown(file.frame, unknown)) for file in files]


def _unknown(rows: pl.DataFrame, symbols: Sequence[str]) -> pl.DataFrame:
    is_traded = pl.col("symbol").is_in(symbols)
    return first_faults(
        rows, [Check(code="FPM-IN-161", condition=is_traded, wrong="{symbol} has no bar in any session")]
    )


def _of_vectors(rows: pl.DataFrame, vintages: Sequence[str]) -> pl.DataFrame:
    is_taken = pl.col("stream").str.strip_suffix(".dual").is_in(vintages)
    wrong = "{stream} is the stream of vectors from outside"
    return first_faults(rows, [Check(code="FPM-IN-231", condition=is_taken, wrong=wrong)])


def _conflicts(rows: pl.DataFrame) -> pl.DataFrame:
    every = pl.col("row").is_not_null()
    return first_faults(
        rows, [Check(code="FPM-IN-034", condition=every, wrong="conflicting sources: two files disagree")]
    )


def _set_aside(file: ReferenceRows, faults: pl.DataFrame) -> ReferenceRows:
    if faults.is_empty():
        return file
    good = file.frame.join(faults, on="row", how="anti", maintain_order="left")
    return replace(file, frame=good, quarantined=file.with_faults(faults))


def agreed(files: Sequence[ReferenceRows], keys: Sequence[str], values: Sequence[str]) -> list[ReferenceRows]:
    """The files without keys on which they disagree, and each row in the first file that has it."""
    if len(files) < 2:
        return list(files)
    rows = pl.concat([file.frame.with_columns(source=pl.lit(number)) for number, file in enumerate(files)])
    distinct = pl.struct(*values).n_unique().over(*keys)
    differing = rows.filter(distinct > 1)
    extra = rows.filter(distinct == 1).filter(pl.col("source") > pl.col("source").min().over(*keys))
    answer = []
    for number, file in enumerate(files):
        conflicts = _conflicts(differing.filter(pl.col("source") == number))
        copies = extra.filter(pl.col("source") == number)
        good = file.frame.join(copies, on="row", how="anti", maintain_order="left")
        counted = replace(file, frame=good, deduplicated=file.deduplicated + copies.height)
        answer.append(_set_aside(counted, conflicts))
    return answer


def _flat(files: Sequence[ReferenceRows], stores: Stores | None) -> pl.DataFrame:
    """session, stream of sessions whose scores are all equal, stored ones of other symbols included."""
    frames = [file.frame.select(*KEYS, "score") for file in files]
    rows = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(KEYS, pl.String))
    if rows.is_empty():
        return rows.select("session", "stream")
    by_stream = ("session", "stream")
    flat = rows.group_by(by_stream).agg(pl.col("score").n_unique().alias("scores")).filter(pl.col("scores") < 2)
    stored = set(stores.sessions(NAME)) if stores else set()
    before = [
        stores.read(NAME, day, columns=[*KEYS[1:], "score"])
        for day in flat["session"].unique()
        if stores and day in stored
    ]
    if before:
        merged = pl.concat([rows.join(flat, on=by_stream, how="semi"), *(part.select(rows.columns) for part in before)])
        merged = merged.unique(list(KEYS), keep="first", maintain_order=True)
        flat = flat.join(
            merged.group_by(by_stream).agg(pl.col("score").n_unique().alias("all")).filter(pl.col("all") < 2),
            on=by_stream,
            how="semi",
        )
    return flat.select(by_stream)


def _flat_faults(rows: pl.DataFrame, flat: pl.DataFrame) -> pl.DataFrame:
    bad = rows.join(flat, on=["session", "stream"], how="semi", maintain_order="left")
    wrong = "all scores of {stream} on {session} are equal or missing: they tell no symbol from another"
    return first_faults(bad, [Check(code="FPM-IN-162", condition=pl.col("row").is_not_null(), wrong=wrong)])


# --- what is stored -------------------------------------------------------------------------------------------------
def take(
    files: Sequence[ReferenceRows], arrival: Arrival, stores: Stores, report: IngestReport, stream: str | None = None
) -> None:
    """Publish the scores of new files session by session, and account for every row. `stream`: the caller's name.

    A file with a symbol that is not known yet is read again the next time. Raises FpmError where a row is lost.
    """
    files = judged(files, (), stores)
    for file in files:
        counts = {"rows_in": file.rows_in, "stored": file.frame.height, "deduplicated": file.deduplicated}
        balance.check({**counts, "quarantined": file.quarantined.height, "out_of_session": 0}, file.path.name)
        report.add_reference(NAME, file.rows_in, file.quarantined, file.deduplicated)
        report.add_faults(NAME, file.quarantined)
        keep_rows(stores.settings.quarantine, NAME, file.quarantined, file.sha256)
    frames = [file.frame for file in files]
    rows = pl.concat(frames) if frames else pl.DataFrame()
    for (day,), part in rows.partition_by("session", as_dict=True, maintain_order=True).items() if len(rows) else ():
        _publish(day, part, arrival, stores)
        report.sessions.add(day)
    for (name,), part in rows.partition_by("stream", as_dict=True).items() if len(rows) else ():
        report.add_stream(name, part["session"].unique().sort().to_list(), part.height)
    for file in files:
        if file.frame.height and UNKNOWN not in file.quarantined["reason_code"].to_list():
            key = receipt(file.sha256, stream)
            keep_receipt(NAME, file.path, key, file.frame["session"].unique().to_list(), stores)


def _publish(session: date, rows: pl.DataFrame, arrival: Arrival, stores: Stores) -> None:
    partition, limit = Partition(NAME, session), cut_off(stores.market, session)
    rule = rule_of(session, arrival.first_published, stated=arrival.stated)
    event = close(stores.market, session)
    with ownership(partition, stores):
        files = stores.lake.files(NAME, session, session)
        stored = stores.lake.decode(files[0][1]) if files else None
        first = known_from(rule, limit, arrival.known_at)
        frame = versions(stored, rows, event, first, max(limit, arrival.known_at))
        if stored is not None and frame.height == stored.height and frame.equals(stored.select(frame.columns)):
            return
        with attempt(partition, "", stores) as this_attempt:
            if stored is None:
                stores.ledger.note(this_attempt, NOTES[rule])
            publish(partition, this_attempt, stage(partition, [Output(NAME, session, None, frame)], stores), stores)


def versions(
    stored: pl.DataFrame | None, rows: pl.DataFrame, event: datetime, first: datetime, correction: datetime
) -> pl.DataFrame:
    """All versions of a session's scores after a delivery of `rows` (symbol, stream, score, known_at).

    A stream that is new in the session is known from `first`, or from what its row states, never before `event`, the
    session's close. Of a stream that is there, new and differing scores are known from `correction`, or later where the
    row says so; equal ones change nothing. A version known at the very same moment is replaced.
    """
    keys = list(STREAM_SCORES.keys)
    incoming = rows.select(*keys, "score", "known_at").with_columns(instant(event).alias(EVENT))
    own = pl.col("known_at").cast(CLOCK)
    as_first = pl.max_horizontal(own.fill_null(instant(first)), EVENT)
    as_correction = pl.max_horizontal(own, instant(correction), EVENT)
    order = [*keys, "score", EVENT, CREATED]
    if stored is None or stored.is_empty():
        return incoming.with_columns(as_first.alias(CREATED)).select(order).sort(*keys)
    here = pl.col("stream").is_in(stored["stream"].unique().to_list())
    fresh = incoming.filter(~here).with_columns(as_first.alias(CREATED))
    late = incoming.filter(here).with_columns(as_correction.alias(CREATED))
    current = latest(STREAM_SCORES, stored, None).select(*keys, "score")
    changed = late.join(current, on=[*keys, "score"], how="anti", maintain_order="left")
    added = pl.concat([fresh, changed]).select(order)
    kept = stored.select(order).join(added, on=[*keys, EVENT, CREATED], how="anti", maintain_order="left")
    return pl.concat([kept, added]).sort(*keys, EVENT, CREATED)
