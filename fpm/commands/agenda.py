"""Which nights a home owes: what the calendar expects, what has come, what has ended, what is late.

A night is green once every step of it has ended with the inputs that are known now. Until then it is due, and red where
its hours are over. A session without bars is awaited until its cut-off and red after it, unless somebody declared that
they will never come. A home owes the nights since its first publication; older sessions are history.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from fpm.commands.night import nightly, open_steps, require_session
from fpm.errors import FpmError, TryLater, UsageError
from fpm.interruption import stop_if_interrupted
from fpm.sessions import close, cut_off, next_sessions, previous_sessions, sessions_between
from fpm.store.jobs.publishing import recover_dead
from fpm.store.ledger.absences import absences, declare
from fpm.store.ledger.holes import accept
from fpm.store.ledger.memory import remembered
from fpm.store.ledger.vitals import record_nights
from fpm.store.log import log
from producers import whole_sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm.store.ledger.stores import Stores

State = Literal["green", "due", "red", "awaited", "absent"]
BARS = "minute_bars"
SINCE = "nights_since"  # the deployment's decision: the session after which the calendar's sessions are owed


@dataclass(frozen=True)
class Night:
    """One session's night. `open`: the jobs that have not ended. `since`: from when on it waits. `why`: in words."""

    session: date
    state: State
    since: datetime
    open: tuple[str, ...] = ()
    why: str = ""
    todo: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        return asdict(self) | {"session": str(self.session), "since": self.since.isoformat(), "open": list(self.open)}


def agenda(stores: Stores, now: datetime) -> list[Night]:
    """The nights that the home owes, as far back as `corrections_back` says, oldest first.

    Sessions with bars since the first publication, and every session that closed since the home runs its nights. A home
    that never published owes the night of its newest session with bars: history is a matter of `walk-forward`.
    """
    reach, stores = stores.settings.corrections_back, remembered(stores)  # twenty nights ask much the same
    ready = [session for session in stores.sessions(BARS) if cut_off(stores.market, session) <= now][-reach:]
    first = stores.ledger.first_published("publish")
    own = [session for session in ready if first and session >= first[0]] if first else ready[-1:]
    since = stores.ledger.deployment().get(SINCE)
    expected = [session for session in _closed(stores, now) if since and session.isoformat() >= since]
    sessions = sorted({*own, *expected})[-reach:]
    look = remembered(stores, sessions)
    return [night(session, look, now) for session in sessions]


def begin(stores: Stores, now: datetime) -> None:
    """Record that this home runs its nights from now on: what the calendar expects after the newest one is owed."""
    ready = [session for session in stores.sessions(BARS) if cut_off(stores.market, session) <= now]
    newest = max(stores.ledger.published("publish"), default=max(ready, default=None))
    if newest is not None and SINCE not in stores.ledger.deployment():
        stores.ledger.decide(SINCE, newest.isoformat())


def night(session: date, stores: Stores, now: datetime) -> Night:
    """The state of one session's night."""
    if stores.lake.files(BARS, session, session):
        return _with_bars(session, stores, now)
    limit = cut_off(stores.market, session)
    reason = absences(stores.ledger).get(session)
    if reason is not None:
        return Night(session, "absent", limit, why=f"declared absent: {reason}")
    state: State = "red" if limit <= now else "awaited"
    todo = f"fpm ingest PATH; where nobody will ever deliver it: fpm absent {session} --reason TEXT"
    return Night(session, state, close(stores.market, session), why="no minute bars have come", todo=todo)


def _with_bars(session: date, stores: Stores, now: datetime) -> Night:
    """The state of a night whose bars are there: a step that failed makes it red at once.

    Only a home that runs its nights is ever late: another one is somebody's research.
    """
    limit = cut_off(stores.market, session)
    fault = whole_sessions.standing(session, stores)
    if fault is not None:
        return _incomplete(session, fault, stores, now)
    pending = tuple(open_steps(session, stores))
    if not pending:
        return Night(session, "green", limit)
    status, why = _reason(session, pending, stores)
    is_over = SINCE in stores.ledger.deployment() and now > limit + timedelta(hours=stores.settings.night_hours)
    late = status == "failed" or is_over
    return Night(session, "red" if late else "due", limit, pending, why, f"fpm nightly --session {session}")


def _incomplete(session: date, fault: str, stores: Stores, now: datetime) -> Night:
    """The state of a night whose bars are not whole: as if the rest of them had not come."""
    is_late = SINCE in stores.ledger.deployment() and cut_off(stores.market, session) <= now
    why = f"the bars are not whole: {fault}"
    return Night(
        session,
        "red" if is_late else "awaited",
        close(stores.market, session),
        why=why,
        todo=whole_sessions.advice(session),
    )


def _reason(session: date, pending: tuple[str, ...], stores: Stores) -> tuple[str, str]:
    """Status and words of the ledger about the first open job that waits or failed."""
    rows = {row["job"]: row for row in stores.ledger.rows(session) if row["status"] in ("failed", "waiting")}
    row = next((rows[name] for name in pending if name in rows), None)
    return (row["status"], f"{row['job']}: {row['error']}") if row else ("due", f"{pending[0]} has not ended")


def _closed(stores: Stores, now: datetime) -> list[date]:
    """Sessions of the calendar that have closed, in order, no more than the agenda looks back."""
    today = now.astimezone(stores.market.zone).date()
    recent = [*previous_sessions(stores.market, today, stores.settings.corrections_back), *_today(stores, today)]
    return [session for session in recent if close(stores.market, session) <= now]


def _today(stores: Stores, today: date) -> list[date]:
    return sessions_between(stores.market, today, today)


def expected_next(stores: Stores, now: datetime) -> date:
    """The session whose bars come next: the first that has not closed yet."""
    today = now.astimezone(stores.market.zone).date()
    following = [*_today(stores, today), *next_sessions(stores.market, today, 2)]
    return next(session for session in following if close(stores.market, session) > now)


def due(stores: Stores, now: datetime) -> list[date]:
    """Sessions whose night can run: bars are there, the cut-off has passed, a step is open; oldest first."""
    return [each.session for each in agenda(stores, now) if each.open and cut_off(stores.market, each.session) <= now]


def run_due(
    stores: Stores, now: datetime, stop: Callable[[], bool] = lambda: False
) -> tuple[list[dict[str, Any]], list[Night]]:
    """Run every night that is due; one that fails or waits delays no other. `stop` ends it between two jobs.

    Returns a row a step, and the nights that are not green after it.
    """
    begin(stores, now)
    recover_dead(stores)
    before = agenda(stores, now)
    open_before = [each for each in before if each.state not in ("green", "absent")]
    rows: list[dict[str, Any]] = []
    for each in open_before:
        if each.open and cut_off(stores.market, each.session) <= now:
            rows += _attempt(each.session, stores, stop)
    look = remembered(stores, [each.session for each in open_before])
    after = [_or_red(night(each.session, look, now), rows) for each in open_before]
    closed = [each for each in before if each.state in ("green", "absent")]
    states = [(each.session, each.state, each.open, each.since, each.why) for each in (*closed, *after)]
    record_nights(states, now, stores.ledger)
    return rows, [each for each in after if each.state != "green"]


def _or_red(after: Night, rows: list[dict[str, Any]]) -> Night:
    """The night, red where it failed in a way that the ledger does not know of."""
    own = [row for row in rows if row["session"] == str(after.session) and row["status"] == "failed" and "why" in row]
    return replace(after, state="red", why=str(own[-1]["why"])) if own and after.state == "due" else after


def _attempt(session: date, stores: Stores, stop: Callable[[], bool]) -> list[dict[str, Any]]:
    """The rows of a night, or one that says why it did not end."""
    try:
        rows = nightly(session, stores, stop)
    except FpmError as error:  # the ledger holds the reason
        later = isinstance(error, TryLater)
        (log.info if later else log.error)("not done", session=str(session), why=str(error))
        return [{"job": "", "session": str(session), "status": "waiting" if later else "failed", "why": str(error)}]
    except Exception as error:  # noqa: BLE001  a bug or a full disk met in one night delays no other
        stop_if_interrupted()
        why = f"{type(error).__name__}: {error}"
        log.error("not done", session=str(session), why=why, exc_info=not isinstance(error, OSError))
        return [{"job": "", "session": str(session), "status": "failed", "why": why}]
    log.info("night done", session=str(session))
    return rows


def declare_absent(session: date, reason: str, declared_by: str, stores: Stores) -> dict[str, Any]:
    """Record that a session will never be delivered. Raises UsageError for a day without trading or one with bars."""
    require_session(session, stores)
    if stores.lake.files(BARS, session, session):
        raise UsageError(
            code="FPM-NGT-002",
            wrong=f"{session} has minute bars",
            effect="nothing was recorded",
            todo="declare a session absent that nobody delivered",
        )
    added = declare(session, reason, declared_by, stores.ledger)
    return {"session": str(session), "reason": absences(stores.ledger)[session], "recorded": added}


def accept_session(session: date, reason: str, accepted_by: str, stores: Stores) -> dict[str, Any]:
    """Record that a session's bars are all that will come. Raises UsageError where nothing is missing of them."""
    require_session(session, stores)
    fault = whole_sessions.fault(session, stores)
    if fault is None:
        raise UsageError(
            code="FPM-NGT-021",
            wrong=f"{session} has no bars, or whole ones",
            effect="nothing was recorded",
            todo="accept a session that `fpm status` says is not whole; one without bars: fpm absent",
        )
    added = accept(session, reason, accepted_by, stores.ledger)
    return {"session": str(session), "accepted": fault, "reason": reason, "recorded": added}


def refusal(nights: list[Night]) -> FpmError | None:
    """The error of nights that are red, or else of nights that still wait; None where there are none."""
    late, waiting = ([each for each in nights if each.state in states] for states in (("red",), ("due", "awaited")))
    if not late and not waiting:
        return None
    if late:
        return FpmError(code="FPM-NGT-010", effect="what was online stays", **_words(late))
    return TryLater(code="FPM-NGT-075", effect="what was online stays", **_words(waiting))


def _words(nights: list[Night]) -> dict[str, str]:
    return {
        "wrong": "; ".join(f"the night of {each.session} is {each.state}: {each.why}" for each in nights),
        "todo": "; ".join(dict.fromkeys(each.todo for each in nights)),
    }
