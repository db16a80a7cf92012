"""Ledger rows as OpenLineage events (spec 2-0-2): who read and wrote which table, when, with which bytes.

One finished attempt gives two events, START and COMPLETE, FAIL or ABORT, under one run id that follows from the
attempt: what is sent twice is the same event, and a receiver keeps one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from fpm.sessions import UTC
from fpm.store.lake.files import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from fpm.store.ledger.ledger import Ledger

PRODUCER = "https://pypi.org/project/fpm"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = "https://openlineage.io/spec/facets/"
ENDS = {"published": "COMPLETE", "failed": "FAIL", "waiting": "ABORT"}  # waiting: an input is missing, it comes again


@dataclass(frozen=True)
class Run:
    """A finished attempt as the ledger has it."""

    job: str
    partition: str
    attempt: int
    status: str
    files: Sequence[Mapping[str, Any]]
    error: str | None
    started_at: datetime
    finished_at: datetime
    environment: str | None


def unsent(ledger: Ledger, count: int) -> list[Run]:
    """The oldest finished attempts of which no event was sent."""
    rows = ledger.query(
        "SELECT job, partition, attempt, status, files, error, started_at, finished_at, environment FROM fpm.ledger "
        "WHERE status IN ('published', 'failed', 'waiting') AND finished_at IS NOT NULL AND NOT EXISTS ("
        "SELECT FROM fpm.lineage AS sent WHERE sent.job = ledger.job AND sent.partition = ledger.partition "
        "AND sent.attempt = ledger.attempt) ORDER BY finished_at, job, partition LIMIT %s",
        (count,),
    )
    return [Run(*row) for row in rows]


def mark_sent(runs: Sequence[Run], ledger: Ledger) -> None:
    """Record that the events of these attempts were sent."""
    with ledger.transaction() as connection:
        connection.cursor().executemany(
            "INSERT INTO fpm.lineage (job, partition, attempt) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            [(run.job, run.partition, run.attempt) for run in runs],
        )


def events(run: Run, reads: Sequence[str], namespace: str) -> list[dict[str, Any]]:
    """The two events of an attempt. `reads`: the tables that its job reads; `namespace`: the home's own."""
    key = f"{namespace}/{run.job}/{run.partition}/{run.attempt}"
    session = run.partition[-10:]
    facets = {
        "nominalTime": _facet("1-0-1/NominalTimeRunFacet", nominalStartTime=f"{session}T00:00:00Z"),
        "fpm_attempt": _facet(None, partition=run.partition, attempt=run.attempt, environment=run.environment or ""),
    }
    if run.error is not None:
        facets["errorMessage"] = _facet("1-0-1/ErrorMessageRunFacet", message=run.error, programmingLanguage="Python")
    shared = {
        "run": {"runId": str(uuid5(NAMESPACE_URL, key)), "facets": facets},
        "job": {"namespace": namespace, "name": run.job, "facets": {"jobType": _job_type()}},
        "inputs": [{"namespace": namespace, "name": table} for table in reads],
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
    }
    tables: dict[str, list[Mapping[str, Any]]] = {}
    for file in run.files:
        tables.setdefault(parse(file["path"])[0], []).append(file)
    outputs = [_output(table, files, namespace) for table, files in sorted(tables.items())]
    start = {"eventType": "START", "eventTime": _moment(run.started_at), **shared, "outputs": []}
    end = {"eventType": ENDS[run.status], "eventTime": _moment(run.finished_at), **shared, "outputs": outputs}
    return [start, end]


def _output(table: str, files: Sequence[Mapping[str, Any]], namespace: str) -> dict[str, Any]:
    """A table that the attempt wrote: rows, number of files, and the hash of its bytes as version."""
    rows = sum(int(file["rows"]) for file in files)
    return {
        "namespace": namespace,
        "name": table,
        "facets": {"version": _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=files[-1]["sha256"])},
        "outputFacets": {
            "outputStatistics": _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=rows, fileCount=len(files))
        },
    }


def _job_type() -> dict[str, Any]:
    return _facet("2-0-3/JobTypeJobFacet", processingType="BATCH", integration="FPM", jobType="JOB")


def _facet(schema: str | None, **values: object) -> dict[str, Any]:
    url = f"{FACETS}{schema}.json#/$defs/{schema.rpartition('/')[2]}" if schema else f"{PRODUCER}/#attempt"
    return {"_producer": PRODUCER, "_schemaURL": url, **values}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
