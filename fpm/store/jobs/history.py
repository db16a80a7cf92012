"""The knowledge history of a partition: what its rows were at each moment at which something new was known.

A file holds every version of a row; the version at a moment is the last one created by then. So a derived partition
is a pure function of the whole history of its inputs: computed in one go or night by night, the bytes are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError, LookAhead
from fpm.schema import CLOCKS, MINUTE_BARS, Table
from fpm.sessions import close, moment
from fpm.store.lake.files import CLOCK, canonical, latest, table_of
from fpm.store.ledger.stores import Stores, Output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from fpm.store.jobs.inputs import Job

EVENT, CREATED = CLOCKS


def history_of(job: Job, session: date, stores: Stores, moments: Sequence[datetime]) -> list[Output]:
    """Run the job as known at each moment and merge the answers into one frame a partition, canonical, with clocks.

    Raises FpmError where the job writes what it does not declare, or not all it declares.
    """
    merged: dict[tuple[str, str | None], Output] = {}
    for known_at in moments if job.WRITES else moments[-1:]:  # outside the lake there is only a present
        for written in _run(job, session, stores.as_of(known_at)):
            key = written.table, written.vintage
            frame = _version(written, known_at, stores)
            if key in merged:
                frame = _append(table_of(written.table), merged[key].frame, frame, known_at)
            merged[key] = Output(written.table, session, written.vintage, frame)
    return [merged[key] for key in sorted(merged, key=str)]


def _run(job: Job, session: date, stores: Stores) -> list[Output]:
    job.run(session, stores)
    written = {each.table for each in stores.outputs}
    elsewhere = [each.table for each in stores.outputs if each.session != session]
    if written != set(job.WRITES) or elsewhere:
        raise FpmError(
            code="FPM-JOB-010",
            wrong=f"{job.NAME} of {session} declares {sorted(job.WRITES)}, wrote {sorted(written)}, elsewhere {elsewhere}",
            effect="nothing was published",
            todo="let WRITES and run agree; where there is nothing to say, write an empty frame",
        )
    return stores.outputs


def _version(written: Output, known_at: datetime, stores: Stores) -> pl.DataFrame:
    """The frame with its clocks filled where the job left them out, in canonical form."""
    table, frame = table_of(written.table), written.frame
    if table.by_vintage and "vintage" not in frame.columns:
        frame = frame.with_columns(pl.lit(written.vintage).alias("vintage"))
    if EVENT not in frame.columns:
        frame = frame.with_columns(_event(table, written.session, stores))
    if CREATED in frame.columns:
        _refuse_early_knowledge(table, frame, known_at)
    else:
        frame = frame.with_columns(pl.lit(known_at, dtype=CLOCK).alias(CREATED))
    return canonical(table, frame)


def _refuse_early_knowledge(table: Table, frame: pl.DataFrame, known_at: datetime) -> None:
    early = frame.filter(pl.col(CREATED) < known_at).height
    if early:
        raise LookAhead(
            code="FPM-PIT-010",
            wrong=f"{early} rows of {table.name} claim to be known before their inputs ({known_at})",
            effect="nothing was published",
            todo="leave created_timestamp to the runner",
        )


def _event(table: Table, session: date, stores: Stores) -> pl.Expr:
    """Event time of each row: the end of its minute, or the session's close."""
    if "slot" not in table.columns:
        return pl.lit(close(stores.market, session), dtype=CLOCK).alias(EVENT)
    ends = slot_ends(table, session, stores)
    return pl.col("slot").replace_strict(list(ends), list(ends.values()), return_dtype=CLOCK).alias(EVENT)


def slot_ends(table: Table, session: date, stores: Stores) -> dict[int, datetime]:
    """UTC end of each slot: of the market's stored slots for raw bars, of the profile's view for features."""
    of = stores.market
    if table.name == MINUTE_BARS.name:
        return {slot: moment(of, session, minute) for slot, minute in enumerate(of.slots)}
    merged = zip(of.views[stores.profile.view], of.slots, strict=True)
    return {slot: moment(of, session, minute) for slot, minute in merged if slot >= 0}


def _append(table: Table, before: pl.DataFrame, after: pl.DataFrame, known_at: datetime) -> pl.DataFrame:
    """`before` plus the rows of `after` that say something new; a row that is gone gets a version without values."""
    keys = [*table.keys, EVENT]
    values = [column for column in after.columns if column not in (*keys, CREATED)]
    known = latest(table, before, None)
    former = known.select(*keys, pl.col(*values).name.suffix(" before"), pl.lit(True).alias(" known"))
    changed = [pl.col(name).ne_missing(pl.col(f"{name} before")) for name in values]
    compared = after.join(former, on=keys, how="left").filter(pl.any_horizontal(pl.col(" known").is_null(), *changed))
    gone = known.join(after, on=keys, how="anti").filter(pl.any_horizontal(False, pl.col(*values).is_not_null()))
    nothing = [pl.lit(None, dtype=kind).alias(name) for name, kind in known.schema.items() if name in values]
    gone = gone.with_columns(*nothing, pl.lit(known_at, dtype=CLOCK).alias(CREATED))
    return canonical(table, pl.concat([before, compared.select(after.columns), gone], how="diagonal"))
