"""The knowledge history of a partition: its rows at each moment at which something new was known.

A file holds every version of a row; the version at a moment is the last one created by then. So a derived partition
is a pure function of the whole history of its inputs: computed at once or night by night, the bytes are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError, LookAhead
from fpm.schema import CLOCKS, MINUTE_BARS
from fpm.sessions import close, moment
from fpm.store.lake.files import CLOCK, canonical, instant, latest, table_of
from fpm.store.ledger.stores import Output, Stores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from fpm.store.jobs.inputs import Job
    from fpm.table import Table

EVENT, CREATED = CLOCKS


def history_of(job: Job, session: date, stores: Stores, moments: Sequence[datetime]) -> list[Output]:
    """Run the job as known at each moment; returns one canonical frame with clocks for each partition.

    Raises FpmError where the job writes something else than it declares, LookAhead for rows known before their inputs,
    InputRefused for a frame that is not canonical.
    """
    merged: dict[tuple[str, str | None], Output] = {}
    for known_at in moments if job.WRITES else moments[-1:]:  # outside the lake there is only a present
        for output in _run(job, session, stores.as_of(known_at).named(session)):
            key = output.table, output.vintage
            frame = _version(output, known_at, stores)
            if key in merged:
                frame = _append(table_of(output.table), merged[key].frame, frame, known_at)
            merged[key] = Output(output.table, session, output.vintage, frame)
    return [merged[key] for key in sorted(merged, key=str)]


def _run(job: Job, session: date, stores: Stores) -> list[Output]:
    job.run(session, stores)
    tables = {output.table for output in stores.outputs}
    elsewhere = [output.table for output in stores.outputs if output.session != session]
    if tables != set(job.WRITES) or elsewhere:
        raise FpmError(
            code="FPM-JOB-010",
            wrong=f"{job.NAME} of {session} declares {sorted(job.WRITES)}, wrote {sorted(tables)}, "
            f"for other sessions {elsewhere}",
            effect="nothing was published",
            todo="let WRITES and run agree; where there are no rows, write an empty frame",
        )
    return stores.outputs


def _version(output: Output, known_at: datetime, stores: Stores) -> pl.DataFrame:
    """The frame in canonical form, with the clocks that the job left out."""
    table, frame = table_of(output.table), output.frame
    given: list[pl.Expr] = []
    if table.by_vintage and "vintage" not in frame.columns:
        given.append(pl.lit(output.vintage).alias("vintage"))
    if EVENT not in frame.columns:
        given.append(_event(table, output.session, stores))
    if CREATED in frame.columns:
        _refuse_early_knowledge(table, frame, known_at)
    else:
        given.append(instant(known_at).alias(CREATED))
    return canonical(table, frame.with_columns(given))


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
        return instant(close(stores.market, session)).alias(EVENT)
    ends = slot_ends(table, session, stores)
    return pl.col("slot").replace_strict(list(ends), list(ends.values()), return_dtype=CLOCK).alias(EVENT)


def slot_ends(table: Table, session: date, stores: Stores) -> dict[int, datetime]:
    """UTC end of each slot: the market's stored slots for raw bars, those of the profile's view for features."""
    market = stores.market
    if table.name == MINUTE_BARS.name:
        return {slot: moment(market, session, minute) for slot, minute in enumerate(market.slots)}
    merged = zip(market.views[stores.profile.view], market.slots, strict=True)
    return {slot: moment(market, session, minute) for slot, minute in merged if slot >= 0}


def _append(table: Table, before: pl.DataFrame, after: pl.DataFrame, known_at: datetime) -> pl.DataFrame:
    """`before` plus the rows of `after` that are new; a row that disappeared gets a version without values."""
    keys = [*table.keys, EVENT]
    values = [column for column in after.columns if column not in (*keys, CREATED)]
    last_known = latest(table, before, None)
    former = last_known.select(*keys, pl.col(*values).name.suffix(" before"), pl.lit(True).alias(" known"))
    changed = [pl.col(name).ne_missing(pl.col(f"{name} before")) for name in values]
    compared = after.join(former, on=keys, how="left").filter(pl.any_horizontal(pl.col(" known").is_null(), *changed))
    gone = last_known.join(after, on=keys, how="anti").filter(pl.any_horizontal(False, pl.col(*values).is_not_null()))
    nothing = [pl.lit(None, dtype=kind).alias(name) for name, kind in last_known.schema.items() if name in values]
    gone = gone.with_columns(*nothing, instant(known_at).alias(CREATED))
    return canonical(table, pl.concat([before, compared.select(after.columns), gone], how="diagonal"))
