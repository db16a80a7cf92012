"""Which stream of scores portfolios and the risk model use, and its rows: one of ours, or one from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import UsageError
from fpm.portfolio.mandate import read_mandates
from fpm.schema import SCORES, STREAM_SCORES, STREAMS, VECTOR_SCORES, VECTORS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

DUAL = "dual"
COLUMNS = ["symbol", "stream", "score"]


def stream_of(settings: Settings) -> str:
    """The stream of the risk model's score factor: the setting's, else dual."""
    return settings.stream or DUAL


def table_of_stream(stream: str, stores: Stores) -> str:
    """The table that has a stream's scores."""
    if stream in STREAMS:
        return SCORES.name
    return VECTOR_SCORES.name if stream.removesuffix(".dual") in outside_vintages(stores) else STREAM_SCORES.name


def outside_vintages(stores: Stores) -> dict[str, date]:
    """The vintages of vectors from outside by name, each with the last session that its encoder has seen."""
    return {model.id: model.through for model in stores.models.list(VECTORS.name)}


def served_beside(first: date, last: date, columns: Sequence[str], stores: Stores) -> pl.DataFrame:
    """Scores under vectors from outside of a span, each session as known at its own cut-off."""
    names = stores.lake.vintages(VECTOR_SCORES.name)
    parts = [stores.for_vintage(name).read_served(VECTOR_SCORES.name, first, last, columns=columns) for name in names]
    return pl.concat(parts) if parts else stores.read(VECTOR_SCORES.name, first, last, columns=columns)


def risk_reads_scores(settings: Settings) -> bool:
    """Whether the risk model's stream is one of ours."""
    return stream_of(settings) in STREAMS


def risk_reads_stream_scores(settings: Settings) -> bool:
    """Whether the risk model's stream is one from outside."""
    return not risk_reads_scores(settings)


def portfolios_read_scores(settings: Settings) -> bool:
    """Whether some portfolio's stream may be one of ours: an index without a mandate has dual."""
    return settings.stream is None or settings.stream in STREAMS


def portfolios_read_stream_scores(settings: Settings) -> bool:
    """Whether some portfolio's stream is one from outside."""
    if settings.stream is not None:
        return settings.stream not in STREAMS
    mandates = read_mandates(settings.mandate).values() if settings.mandate else ()
    return any(mandate.stream not in STREAMS for mandate in mandates)


def stream_rows(first: date, last: date, stores: Stores) -> pl.DataFrame:
    """session, symbol, stream, score of all streams that the settings' portfolios and risk model may use."""
    settings = stores.settings
    outside = portfolios_read_stream_scores(settings)
    reads = {SCORES.name: portfolios_read_scores(settings), STREAM_SCORES.name: outside, VECTOR_SCORES.name: outside}
    return pl.concat([stores.read(table, first, last, columns=COLUMNS) for table, applies in reads.items() if applies])


def streams_there(stores: Stores) -> list[str]:
    """Every stream that the home has scores of: ours where a session is scored, then those from outside."""
    own = list(STREAMS) if stores.sessions(SCORES.name) else []
    outside = {name for table in (STREAM_SCORES.name, VECTOR_SCORES.name) for name in _names_in(table, stores)}
    return [*own, *sorted(outside)]


def _names_in(table: str, stores: Stores) -> set[str]:
    days = stores.sessions(table)
    paths = [path for _, path in stores.lake.files(table, days[0], days[-1])] if days else []
    return {name for path in paths for name in stores.lake.decode(path, ["stream"])["stream"].unique().to_list()}


def scored_sessions(stream: str, first: date, last: date, stores: Stores) -> list[date]:
    """The sessions of a span with scores of a stream, in order."""
    table = table_of_stream(stream, stores)
    days = [day for day in stores.sessions(table) if first <= day <= last]
    if table == SCORES.name:
        return days
    files = ((day, path) for day in days for _, path in stores.lake.files(table, day, day))
    return [day for day, path in files if stream in stores.lake.decode(path, ["stream"])["stream"]]


def require_stream(stores: Stores) -> None:
    """Raises UsageError where the setting names a stream that the home has no scores of."""
    stream = stores.settings.stream
    if stream is None or stream in STREAMS:
        return
    there = streams_there(stores)
    if stream not in there:
        raise UsageError(
            code="FPM-PF-042",
            wrong=f"no scores of a stream {stream!r}",
            effect="nothing was computed",
            todo=f"use one of {', '.join(there)}"
            if there
            else "ingest its scores first: fpm ingest PATH --stream NAME",
        )
