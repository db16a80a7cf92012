"""A delivery at the command line: taken in, or checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpm.commands.console import checked_home, delivery_stores
from fpm.commands.demo import refuse_other_bars
from fpm.errors import UsageError
from fpm.ingest.units import Stated
from fpm.progress import bar
from fpm.store.ledger.journal import override
from producers import bars, delivery_check, ticks

if TYPE_CHECKING:
    from fpm.ingest.ingest_report import IngestReport
    from fpm.store.ledger.ledger import Ledger


@dataclass(frozen=True)
class Request:
    """One call of `fpm ingest`, by a person. `level2`: ticks instead of bars."""

    paths: Sequence[Path]
    arrival: bars.Arrival
    by: str
    level2: bool = False
    market: str | None = None
    preset: str | None = None


def ingest_delivery(request: Request) -> IngestReport:
    """Ingest bars or ticks. Raises what the ingest raises, UsageError where the home or the words do not fit."""
    if request.level2 and request.arrival.stated != Stated():
        raise _bars_only("--volume-unit, --prices and --stamp-side")
    stores = delivery_stores(request.market, request.preset)
    refuse_other_bars(request.paths, stores)
    _record_overrides(request, stores.ledger)
    ingest = ticks.ingest if request.level2 else bars.ingest
    with bar("ingest") as progress:
        return ingest(request.paths, request.arrival, stores, progress)


def _record_overrides(request: Request, ledger: Ledger) -> None:
    """Rows about words against a rule: from when the files are known, that a smaller universe is right."""
    names, arrival = ", ".join(str(path) for path in request.paths), request.arrival
    if arrival.known_at_stated:
        override("known-at", names, f"known from {arrival.known_at.isoformat()}", request.by, ledger)
    if arrival.acceptance is not None:
        override("accept-universe", names, "", request.by, ledger)


def check_delivery(request: Request) -> delivery_check.DeliveryCheck:
    """What an ingest would do. Raises UsageError for ticks, whose files are judged together, and as an ingest does."""
    if request.level2:
        raise _bars_only("--check")
    home = checked_home(request.market, request.preset)
    if home.stores:
        refuse_other_bars(request.paths, home.stores)
    with bar("check") as progress:
        return delivery_check.check(request.paths, request.arrival, home, progress)


def _bars_only(options: str) -> UsageError:
    return UsageError(
        code="FPM-CFG-019",
        wrong=f"{options} with --ticks",
        effect="nothing was read",
        todo="leave one of them out: they are about bars",
    )
