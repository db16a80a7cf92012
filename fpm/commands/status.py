"""One screen for three in the morning: which nights are open, what is served, what comes next, what to type."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from consumers.questions.decisions import decisions
from fpm.commands.agenda import Night, agenda, expected_next
from fpm.commands.upgrade import refusal
from fpm.errors import UsageError
from fpm.sessions import close, cut_off, sessions_between
from fpm.store.ledger.disk import Disk, disk
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import published_session
from fpm.store.online.running import newest

SHOWN_NIGHTS = 7
ALIVE = ("running", "prepared")


def screen(stores: Stores, now: datetime) -> tuple[dict[str, Any], bool]:
    """The state of the home, and whether anything is red: nights, what is served, what comes next, the disk, jobs.

    `program`: why this program may run no night, where it may not.
    """
    nights = agenda(stores, now)
    other_program = refusal(stores)
    shown = [*nights[-SHOWN_NIGHTS:], *(each for each in nights[:-SHOWN_NIGHTS] if each.state == "red")]
    space = disk(stores.settings, stores.ledger)
    is_short = space.is_short(stores.settings.disk_days)
    answer = {
        **({"program": {"refused": str(other_program)}} if other_program else {}),
        "nights": [_line(each) for each in sorted(shown, key=lambda each: each.session, reverse=True)],
        "served": served(stores, now),
        "intraday": newest(stores) or {"session": None},
        "next": following(stores, now),
        "disk": _space(space, is_short),
        "decisions": decisions(None, stores),
        "jobs": status(stores, None),
    }
    return answer, is_short or other_program is not None or any(each.state == "red" for each in nights)


def _space(space: Disk, is_short: bool) -> dict[str, Any]:
    """The disk's forecast as a line."""
    return {
        "state": "red" if is_short else "green",
        "free_bytes": space.free,
        "session_bytes": space.session,
        "full_in_days": None if space.days is None else round(space.days, 1),
        "todo": "make room, or see what may go: fpm retention" if is_short else "",
    }


def _line(night: Night) -> dict[str, Any]:
    """A night as a row."""
    return {
        "night": str(night.session),
        "state": night.state,
        "since": f"{night.since:%Y-%m-%d %H:%M}Z",
        "open": list(night.open),
        "why": night.why,
        "todo": night.todo,
    }


def served(stores: Stores, now: datetime) -> dict[str, Any]:
    """The session online, and how old it is in hours and in sessions."""
    session = published_session(stores)
    if session is None:
        return {"session": None}
    ((at,),) = stores.ledger.query(
        "SELECT published_at FROM fpm.publications WHERE session = %s ORDER BY id DESC LIMIT 1", (session,)
    )
    today = now.astimezone(stores.market.zone).date()
    try:
        age = len(sessions_between(stores.market, session, max(today, session))) - 1
    except UsageError:  # the calendar ends before today
        age = None
    return {
        "session": str(session),
        "published_at": f"{at:%Y-%m-%d %H:%M}Z",
        "hours": round((now - at).total_seconds() / 3600, 1),
        "sessions_since": age,
    }


def following(stores: Stores, now: datetime) -> dict[str, Any]:
    """The session whose bars come next, when it closes and when it is due."""
    try:
        session = expected_next(stores, now)
    except UsageError as ended:  # the calendar ends
        return {"session": None, "why": str(ended)}
    ends, limit = close(stores.market, session), cut_off(stores.market, session)
    return {"session": str(session), "closes": f"{ends:%Y-%m-%d %H:%M}Z", "cut_off": f"{limit:%Y-%m-%d %H:%M}Z"}


def status(stores: Stores, session: date | None) -> list[dict[str, Any]]:
    """The ledger's rows of one session, or per job and status the number of sessions and the newest of them."""
    rows = [_alive(row, stores) for row in stores.ledger.rows(session)]
    if session is not None:
        return rows
    partitions: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        partitions.setdefault((row["job"], row["status"]), []).append(row["partition"])
    return [
        {"job": job, "status": state, "sessions": len(names), "newest": max(names)}
        for (job, state), names in sorted(partitions.items())
    ]


def _alive(row: dict[str, Any], stores: Stores) -> dict[str, Any]:
    """The row; one that looks alive and whose owner holds no lock was interrupted."""
    if row["status"] not in ALIVE or stores.ledger.is_owned(row["job"], row["partition"]):
        return row
    return {**row, "status": "interrupted", "error": "its process ended; the next run of the job goes on"}


def of_session(session: date, stores: Stores) -> dict[str, Any]:
    """The jobs and decisions of one session."""
    return {"jobs": status(stores, session), "decisions": decisions(session, stores)}


def compact(answer: dict[str, Any]) -> dict[str, Any]:
    """The same for a person: no environments, relaxations as text, no table without rows."""
    jobs = [{name: cell for name, cell in row.items() if name != "environment"} for row in answer["jobs"]]
    decisions = [
        {**row, "relaxed": ", ".join(f"{name} +{excess:.3g}" for name, excess in row["relaxed"].items()) or None}
        for row in answer["decisions"]
    ]
    return {name: rows for name, rows in ({**answer, "jobs": jobs, "decisions": decisions}).items() if rows}
