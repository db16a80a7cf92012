"""The ledger to a lineage server or a file, at least once; what cannot be sent now is sent at the next look."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fpm.commands.jobs import MODULES, job
from fpm.errors import FpmError, UsageError
from fpm.store.channels import post
from fpm.store.ledger.lineage import Run, events, mark_sent, unsent
from fpm.store.ledger.stores import Stores
from fpm.store.log import log
from fpm.store.postgres.identity import KEY

AT_ONCE = 200  # attempts of one look: a first look at a long history takes several


def watch(stores: Stores) -> None:
    """`send`, where a target is set; what fails is logged, and nothing raises."""
    if stores.settings.lineage is None:
        return
    try:
        send(stores)
    except Exception as wrong:  # noqa: BLE001  the night goes on, whoever reads its lineage
        log.error("no lineage", why=str(wrong) if isinstance(wrong, FpmError) else type(wrong).__name__)


def send(stores: Stores) -> int:
    """Send the events of finished attempts that were not sent yet, oldest first; the number of attempts.

    Raises UsageError where no target is set, FpmError where it takes nothing.
    """
    if stores.settings.lineage is None:
        raise UsageError(
            code="FPM-LIN-001",
            wrong="no target of lineage events is set",
            effect="nothing was sent",
            todo="set FPM_LINEAGE to a file or to the address of a server, e.g. http://localhost:5000/api/v1/lineage",
        )
    target = stores.settings.lineage.get_secret_value()
    runs, namespace = unsent(stores.ledger, AT_ONCE), _namespace(stores)
    documents = [events(run, _reads(run), namespace) for run in runs]
    sent = _post(target, runs, documents, stores) if "://" in target else _append(Path(target), runs, documents, stores)
    log.info("lineage sent", attempts=sent)
    return sent


def _namespace(stores: Stores) -> str:
    """The home's own, by its identity, so that no two homes have a run in common."""
    recorded = json.loads(stores.ledger.deployment()[KEY])
    return f"fpm-{recorded['identity'][:12]}"


def _reads(run: Run) -> list[str]:
    """The tables that a job reads; an ingest reads none."""
    return list(job(run.job).READS) if run.job in MODULES else []


def _append(path: Path, runs: list[Run], documents: list[list[dict[str, Any]]], stores: Stores) -> int:
    """Add lines to a file, in one write each look, on the disk before the ledger says so."""
    lines = "".join(json.dumps(event, default=str) + "\n" for pair in documents for event in pair)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as wrong:
        raise _refused(f"{path}: {wrong.strerror}") from None
    mark_sent(runs, stores.ledger)
    return len(runs)


def _post(address: str, runs: list[Run], documents: list[list[dict[str, Any]]], stores: Stores) -> int:
    """One event a request, as OpenLineage's HTTP transport sends them."""
    for run, pair in zip(runs, documents, strict=True):
        for event in pair:
            wrong = post(address, event)
            if wrong is not None:
                raise _refused(f"the server: {wrong}")
        mark_sent([run], stores.ledger)
    return len(runs)


def _refused(wrong: str) -> FpmError:
    return FpmError(
        code="FPM-LIN-002",
        wrong=f"lineage events were not taken by {wrong}",
        effect="they are sent again at the next look",
        todo="see FPM_LINEAGE; try it: fpm lineage",
    )
