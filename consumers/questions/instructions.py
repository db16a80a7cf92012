"""What a person says about decisions becomes rows of the ledger: `fpm enhance --approve` and `--hold`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from consumers import publish
from consumers.benchmark import EVERY_NAME
from fpm.errors import UsageError
from fpm.first_copies import rule_of
from fpm.portfolio.instructions import (
    APPROVE,
    AWAITING,
    HOLD,
    Instruction,
    approval_of,
    content_of,
    first_opening,
    hold_on,
)
from fpm.sessions import cut_off, previous_sessions
from fpm.store.ledger.instructions import record, recorded

if TYPE_CHECKING:
    from datetime import date, datetime

    from fpm.store.ledger.stores import Stores


def approve(session: date, index: str | None, by: str, now: datetime, stores: Stores) -> list[dict[str, Any]]:
    """Approve what an index's decision of a session wants (None: of every index where one waits); one row an index.

    What is approved are these very shares: a decision that was computed again since is another one. Approving twice
    changes nothing. Raises UsageError where nothing waits, or a later decision has taken its place.
    """
    waiting = _waiting(session, index, stores)
    instructions = recorded(stores.ledger)
    answers, new = [], []
    for name, fill_session in waiting.select("index", "fill_session").sort("index").iter_rows():
        targets = stores.read("targets", session).filter(pl.col("index") == name).drop_nulls("shares")
        content = content_of(targets)
        approval = approval_of(instructions, name, session, content)
        if approval is None:
            known_at = _known_at(fill_session, cut_off(stores.market, session), now, stores)
            approval = Instruction(APPROVE, name, session, None, "", content, by, known_at)
            new.append(approval)
        fills = max(fill_session, first_opening(stores.market, approval.known_at))
        answers.append({**_answer(approval), "fills": str(fills)})
    record(new, stores.ledger)
    return answers


def hold(
    index: str, span: tuple[date | None, date | None], reason: str, by: str, now: datetime, stores: Stores
) -> dict[str, Any]:
    """Fill nothing of an index in the sessions of `span`: its first (None: the next to open) and its last (None: open).

    A hold that covers the next session is changed where no first session is said: so `last` ends it. Raises UsageError
    for an index that this home does not have, or a reversed span.
    """
    _require_index(index, stores)
    upcoming = first_opening(stores.market, now)
    former = hold_on(recorded(stores.ledger), index, upcoming) if span[0] is None else None
    first, last = span[0] or (former.first if former else upcoming), span[1]
    if last is not None and last < first:
        raise UsageError(
            code="FPM-PF-053",
            wrong=f"the hold of {index} begins on {first} and ends on {last}",
            effect="nothing was recorded",
            todo="give --until a session that is not before --from",
        )
    evening = cut_off(stores.market, previous_sessions(stores.market, first, 1)[0])
    known_at = _known_at(first, min(evening, now), now, stores)
    said = Instruction(HOLD, index, first, last, reason, "", by, known_at)
    record([said], stores.ledger)
    return {**_answer(said), "until": str(last) if last else None, "reason": reason}


def _answer(said: Instruction) -> dict[str, Any]:
    return {"index": said.index, "session": str(said.first), "by": said.by, "counts_from": said.known_at.isoformat()}


def _known_at(session: date, evening: datetime, now: datetime, stores: Stores) -> datetime:
    """From when an instruction counts: as history in bulk does in a home that serves nobody, else from now on.

    `session`: the first one whose fills it changes.
    """
    first_published = stores.ledger.first_published(publish.NAME)
    rule = rule_of(session, first_published and first_published[0], stated=False)
    return evening if rule == "cut_off" else now


def _waiting(session: date, index: str | None, stores: Stores) -> pl.DataFrame:
    """Newest decisions (index, fill_session, ...) of a session that wait for approval."""
    sessions = [day for day in stores.sessions("decisions") if day >= session]
    rows = stores.read("decisions", session, max(sessions, default=session)).drop_nulls("status")
    own = rows if index is None else rows.filter(pl.col("index") == index)
    waiting = own.filter(pl.col("session") == session, pl.col("status") == AWAITING)
    later = own.filter(pl.col("session") > session).join(waiting.select("index"), on="index", how="semi")
    if waiting.is_empty():
        statuses = dict(own.filter(pl.col("session") == session).select("index", "status").iter_rows())
        raise UsageError(
            code="FPM-PF-050",
            wrong=f"no decision of {session} awaits approval"
            + (f" ({', '.join(f'{name}: {status}' for name, status in sorted(statuses.items()))})" if statuses else ""),
            effect="nothing was recorded",
            todo="see `fpm status`; only mandates with approval = true wait",
        )
    superseded = later["index"].unique().sort().to_list()
    if len(superseded) == waiting.height:
        newest = max(later["session"].to_list())
        raise UsageError(
            code="FPM-PF-051",
            wrong=f"the decision of {session} for {', '.join(superseded)} has been replaced by one of {newest}",
            effect="nothing was recorded",
            todo="approve the newest decision (`fpm status`)",
        )
    return waiting.filter(~pl.col("index").is_in(superseded))


def _require_index(index: str, stores: Stores) -> None:
    sessions = stores.sessions("index_members")
    rows = (stores.read("index_members", session, columns=["index"])["index"] for session in sessions)
    indices = set().union(*(part.unique().to_list() for part in rows)) or {EVERY_NAME}
    if index not in indices:
        raise UsageError(
            code="FPM-PF-052",
            wrong=f"this home has no index {index!r}",
            effect="nothing was recorded",
            todo=f"use one of {', '.join(sorted(indices))}",
        )
