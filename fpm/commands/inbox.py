"""The inbox: what is complete there is ingested, and leaves it with a report.

Loose files of one look are ingested together, as files of one folder are: bars of one session may be spread over them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from traceback import format_exc
from typing import TYPE_CHECKING, Any

from fpm.commands.demo import refuse_other_bars
from fpm.errors import FpmError, InputRefused, TryLater, UsageError
from fpm.ingest.balance import most_first
from fpm.ingest.deliveries import NAMED_TABLES, find
from fpm.ingest.signed_deliveries import require_signed
from fpm.ingest.vendor_files import name_of
from fpm.interruption import stop_if_interrupted
from fpm.store.lake.inbox import QUIET, REFUSED, STALLED, TAKEN, Inbox, Waiting
from fpm.store.log import log
from producers import bars

if TYPE_CHECKING:
    from fpm.ingest.ingest_report import IngestReport
    from fpm.minisign import PublicKey
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

WAITING, LEFT = "waiting", "left"
EMPTY, ONLY_WAITING = 0, 75


@dataclass(frozen=True)
class Verdict:
    """What became of deliveries ingested together: the report, or the error that refused them all.

    `trace`: the stack of an error that is no message of ours.
    """

    report: IngestReport | None = None
    error: FpmError | None = None
    trace: str = ""

    def refusals(self, delivery: Waiting) -> list[dict[str, str]]:
        """Why the delivery, or a file of it, was refused; empty where it was taken."""
        if self.report is None:
            assert self.error is not None
            return [_record(self.error)]
        names = {name_of(file) for file in delivery.files}
        refused = [refusal for refusal in self.report.refused if refusal["file"] in names]
        bars_in = [counts for counts in self.report.files if counts["file"] in names]
        stored = any(counts["stored"] + counts["deduplicated"] for counts in bars_in) or not bars_in
        if refused or stored:
            return refused
        codes = ", ".join(f"{count} x {code}" for code, count in most_first(self.report.quarantined))
        nothing = InputRefused(
            code="FPM-INB-001",
            wrong=f"no row could be stored: {codes}",
            effect="its rows are in quarantine",
            todo="see their reasons there, correct the source and deliver it again",
        )
        return [_record(nothing)]


def _record(error: FpmError) -> dict[str, str]:
    return {"code": error.code, "wrong": error.wrong, "todo": error.todo}


@dataclass
class Look:
    """One look at the inbox, at the moment `now`; `at_once`: nothing waits for a second look."""

    stores: Stores
    inbox: Inbox
    now: datetime
    progress: Progress
    at_once: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)


def look(stores: Stores, now: datetime, progress: Progress, *, at_once: bool = False) -> list[dict[str, Any]]:
    """Take what is complete in the inbox; a row each of its deliveries: file, status, and why or the report.

    Status: taken, refused (moved), waiting, left (a link or a device, or unreadable). A second look at the same time
    waits for the first. Raises UsageError where no inbox is set or it cannot be read, TryLater where the database does
    not answer, FpmError where the machine fails: then what was not moved yet stays.
    """
    if stores.settings.inbox is None:
        raise UsageError(
            code="FPM-CFG-021",
            wrong="no inbox is set",
            effect="nothing was read",
            todo="set FPM_INBOX to a folder where deliveries appear",
        )
    inbox = Inbox(stores.settings.inbox, stores.settings.home / "inbox.json")
    this_look = Look(stores, inbox, now, progress, at_once)
    refuse_other_bars([inbox.root], stores)
    with stores.ledger.lock("inbox", str(inbox.root)):
        try:
            _look(this_look)
        except OSError as wrong:
            raise FpmError(
                code="FPM-INB-002",
                wrong=f"the inbox {inbox.root} cannot be emptied: {wrong}",
                effect="what was not moved stays there",
                todo="see to space and rights, then run the same command again",
            ) from wrong
    return this_look.rows


def exit_code(rows: Sequence[dict[str, Any]]) -> int:
    """0 where something was taken or nothing was there, 1 where something was refused, 75 where all of it waits."""
    statuses = {row["status"] for row in rows}
    if statuses & {REFUSED, LEFT}:
        return 1
    return ONLY_WAITING if statuses == {WAITING} else EMPTY


def _look(this_look: Look) -> None:
    inbox = this_look.inbox
    for report in inbox.recover():
        record = json.loads(report.read_bytes())
        this_look.rows.append({"file": record["file"], "status": record["status"], "report": str(report)})
    deliveries = inbox.waiting()
    since = inbox.since(deliveries, this_look.now)
    complete = []
    for delivery in deliveries:
        why = delivery.fault or ("" if this_look.at_once else _reason(delivery, this_look.now - since[delivery.path]))
        if why:
            _note(this_look, delivery, LEFT if delivery.fault else WAITING, why=why)
        else:
            complete.append(delivery)
    loose = [delivery for delivery in complete if delivery.path.is_file()]
    folders = [[delivery] for delivery in complete if delivery not in loose]
    for together in [loose, *folders] if loose else folders:
        _take(together, this_look)


def _reason(delivery: Waiting, unchanged: timedelta) -> str:
    """Why a delivery has to wait; "" for a complete one."""
    if delivery.marked or unchanged >= STALLED:
        return ""
    if delivery.half_written():
        return f"it looks half-written; unchanged for {unchanged.seconds} s, refused after {STALLED.seconds} s"
    return "" if unchanged >= QUIET else f"unchanged for {unchanged.seconds} s, taken after {QUIET.seconds} s"


def _note(this_look: Look, delivery: Waiting, status: str, **cells: object) -> None:
    this_look.rows.append({"file": delivery.name, "status": status, **cells})
    level = {LEFT: log.warning, REFUSED: log.error}.get(status, log.info)
    level("inbox", file=delivery.name, status=status, **cells)


# --- taking ---------------------------------------------------------------------------------------------------------
def _take(deliveries: Sequence[Waiting], this_look: Look) -> None:
    """Ingest deliveries together and move each, with its report."""
    digests = {}
    for delivery in deliveries:
        try:
            digests[delivery] = delivery.digest()
        except PermissionError as wrong:
            _note(this_look, delivery, LEFT, why=f"it cannot be read: {wrong.strerror}")
        except FileNotFoundError:
            _note(this_look, delivery, WAITING, why="its sender is changing it")
    key = this_look.stores.settings.signing_key
    strange = {delivery: error for delivery in digests if (error := _no_delivery(delivery, key))}
    readable = [delivery for delivery in digests if delivery not in strange]
    verdicts = [([delivery], Verdict(error=error)) for delivery, error in strange.items()]
    for part, verdict in (*verdicts, *_ingest(readable, this_look)):
        for delivery in part:
            _settle(delivery, digests[delivery], verdict, this_look)


def _no_delivery(delivery: Waiting, key: PublicKey | None) -> FpmError | None:
    """The error of a file or folder that no ingest would look at, or that is not as signed: it costs itself alone."""
    try:
        require_signed([delivery.path], key)
        find([delivery.path])
    except (UsageError, InputRefused) as error:
        return error
    return None


def _ingest(deliveries: Sequence[Waiting], this_look: Look) -> list[tuple[Sequence[Waiting], Verdict]]:
    """Ingest deliveries together. What refuses them all is tried apart: bars beside a daily table that does not fit."""
    if not deliveries:
        return []
    arrival = bars.Arrival(this_look.now, this_look.now)
    paths = [delivery.path for delivery in deliveries]
    try:
        report = bars.ingest(paths, arrival, this_look.stores, this_look.progress)
    except (TryLater, OSError):  # no fault of the files
        raise
    except UsageError as error:
        parts = _by_table(deliveries)
        if len(parts) > 1:
            return [answer for part in parts for answer in _ingest(part, this_look)]
        return [(deliveries, Verdict(error=error))]
    except FpmError as error:
        return [(deliveries, Verdict(error=error))]
    except Exception as wrong:  # noqa: BLE001  what breaks a reader must not stop the files behind it in every look
        stop_if_interrupted()
        if len(deliveries) > 1:
            return [answer for delivery in deliveries for answer in _ingest([delivery], this_look)]
        return [(deliveries, Verdict(error=_unforeseen(wrong), trace=format_exc()))]
    return [(deliveries, Verdict(report))]


def _by_table(deliveries: Sequence[Waiting]) -> list[list[Waiting]]:
    """Loose files by the table they hold: bars, daily bars, index members."""
    tables: dict[str, list[Waiting]] = {}
    for delivery in deliveries:
        stem = Path(delivery.path.name).stem
        tables.setdefault(stem if stem in NAMED_TABLES else "", []).append(delivery)
    return list(tables.values())


def _unforeseen(wrong: Exception) -> FpmError:
    return FpmError(
        code="FPM-INB-003",
        wrong=f"the ingest failed: {type(wrong).__name__}: {str(wrong)[:200]}",
        effect="the file was set aside; what it held of complete sessions may be stored",
        todo="send the file and its report, which has the details, to whoever maintains fpm",
    )


def _settle(delivery: Waiting, digest: str, verdict: Verdict, this_look: Look) -> None:
    refusals = verdict.refusals(delivery)
    status = REFUSED if refusals else TAKEN
    account = {
        "sha256": digest,
        "status": status,
        "looked_at": this_look.now.isoformat(),
        "refusals": refusals,
        "ingest": verdict.report.to_dict() if verdict.report else None,
        **({"trace": verdict.trace.splitlines()} if verdict.trace else {}),
    }
    report = this_look.inbox.settle(delivery, status, account, this_look.now)
    if report is None:
        _note(this_look, delivery, WAITING, why="it changed while it was read")
        return
    why = {"why": "; ".join(f"{each['code']} {each['wrong']}" for each in refusals)} if refusals else {}
    _note(this_look, delivery, status, **why, report=str(report))
