"""Tonight: which nights are open and why, the steps of the newest, what is served, what comes next, what to type."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from fpm.page.marks import age, moment, size
from fpm.page.views import Card, Cell, Row, Table, Tile, View
from fpm.report.figure_text import number, percent, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

DECADE = 3650.0  # days
ENDS = ("Moments are UTC. The same in a terminal: fpm status, fpm status SESSION, fpm alerts.",)


@dataclass(frozen=True)
class Step:
    """One job of a night. `state`: green, red, running, awaited or due; `why`: in the ledger's words."""

    job: str
    session: str
    state: str
    rows: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    why: str = ""


@dataclass(frozen=True)
class Tonight:
    """What the view shows: the screen of `fpm status`, the steps of the `night`, the newest alerts."""

    market: str
    now: datetime
    screen: Mapping[str, Any]
    night: str = ""
    steps: Sequence[Step] = ()
    alerts: Sequence[Mapping[str, Any]] = ()


def tonight(content: Tonight) -> View:
    """The view."""
    screen = content.screen
    sections = [
        (f"The night of {content.night}", [_steps(content)]) if content.steps else ("", []),
        ("Nights", [_nights(screen["nights"])] if screen["nights"] else []),
        ("Newest decisions", [_decisions(screen["decisions"])] if screen["decisions"] else []),
        ("Newest alerts", [_alerts(content)] if content.alerts else []),
    ]
    return View(
        "tonight",
        "Tonight",
        f"Market {content.market} · as of {moment(content.now)}",
        list(_tiles(content)),
        list(_todo(screen)),
        [(heading, cards) for heading, cards in sections if cards],
        ends=ENDS,
        refreshes=True,
    )


def _tiles(content: Tonight) -> Iterator[Tile]:
    screen = content.screen
    yield _verdict(screen["nights"])
    yield _served(screen["served"])
    ahead = screen["next"]
    if ahead["session"] is None:
        yield Tile("Next session", "none", [ahead["why"]], "due")
    else:
        lines = [f"closes {ahead['closes']}", f"due after {ahead['cut_off']}"]
        yield Tile("Next session", ahead["session"], lines, "awaited")
    disk = screen["disk"]
    yield Tile("Disk free", size(disk["free_bytes"]), [_lasts(disk["full_in_days"])], disk["state"])


def _lasts(days: float | None) -> str:
    """How long the disk lasts; nobody plans further than ten years."""
    if days is None:
        return "no session measured yet"
    return f"full in {number(days, 0)} days" if days < DECADE else "lasts for ten years and more"


def _verdict(nights: Sequence[Mapping[str, Any]]) -> Tile:
    states = Counter(night["state"] for night in nights)
    shown = f"of the {several(len(nights), 'night')} below"
    for state in ("red", "due", "awaited"):
        if states[state]:
            return Tile("Nights", f"{states[state]} {state}", [shown], state)
    if not nights:
        return Tile("Nights", "none owed", ["no session has bars, or none was due yet"], "awaited")
    return Tile("Nights", "all green", [shown], "green")


def _served(served: Mapping[str, Any]) -> Tile:
    if served["session"] is None:
        return Tile("Served", "nothing", ["nothing is published yet"], "awaited")
    behind = served["sessions_since"]
    since = "the calendar ends before today" if behind is None else f"{several(behind, 'session')} ago"
    hours = served["hours"]
    at = f"published {served['published_at']}, {age(hours * 3600) if hours >= 1 else 'less than an hour'} ago"
    return Tile("Served session", served["session"], [since, at], "green" if behind in (0, 1) else "due")


def _todo(screen: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "program" in screen:
        yield screen["program"]["refused"], "fpm setup --plan"
    open_nights = [night for night in screen["nights"] if night["todo"]]
    for (state, why), group in groupby(open_nights, key=lambda night: (night["state"], night["why"])):
        alike = list(group)  # newest first
        which = f"Night of {alike[0]['night']}"
        if len(alike) > 1:
            which = f"{len(alike)} nights, {alike[-1]['night']} to {alike[0]['night']}"
        yield f"{which}, {state}: {why}", alike[-1]["todo"]
    if screen["disk"]["todo"]:
        yield "The disk is soon full:", screen["disk"]["todo"]
    if screen["served"]["session"] is None:
        yield (
            "Nothing is served. Bars come in, models are trained, a night publishes:",
            ("fpm ingest PATH; fpm walk-forward FIRST LAST; fpm nightly"),
        )


def _steps(content: Tonight) -> Card:
    states = Counter(step.state for step in content.steps)
    words = ", ".join(f"{count} {state}" for state, count in states.items())
    rows: list[Row] = [
        [
            Cell(step.job, f"/lineage?job={step.job}&session={step.session}" if step.rows else ""),
            Cell(step.state, mark=step.state),
            step.session,
            number(step.rows, 0) if step.rows else "",
            _took(step),
            moment(step.finished_at),
            "" if step.finished_at is None else age((content.now - step.finished_at).total_seconds()),
            step.why,
        ]
        for step in content.steps
    ]
    columns = ("step", "state", "session", "rows", "took", "ended", "age", "why")
    return Card(f"Steps: {words}", "", Table(columns, rows, (0, 1, 2, 7), (7,)))


def _took(step: Step) -> str:
    if step.started_at is None or step.finished_at is None:
        return ""
    seconds = (step.finished_at - step.started_at).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else age(seconds)


def _nights(nights: Sequence[Mapping[str, Any]]) -> Card:
    rows: list[Row] = [
        [
            night["night"],
            Cell(night["state"], mark=night["state"]),
            night["since"],
            ", ".join(night["open"]),
            night["why"],
        ]
        for night in nights
    ]
    return Card(
        "The newest, and every red one", "", Table(("session", "state", "since", "open", "why"), rows, range(5), (3, 4))
    )


def _decisions(decisions: Sequence[Mapping[str, Any]]) -> Card:
    rows: list[Row] = [
        [
            Cell(made["index"], f"/portfolio?session={made['session']}"),
            made["session"],
            made["status"],
            made["fills"],
            percent(made["tracking_error"]),
            percent(made["cap"]),
            percent(made["turnover"]),
            ", ".join(f"{name} +{excess:.3g}" for name, excess in made["relaxed"].items()),
            made["said"] or "",
        ]
        for made in decisions
    ]
    columns = (
        "index",
        "session",
        "status",
        "fills",
        "tracking error,|yearly",
        "cap",
        "turnover,|two-sided",
        "relaxed",
        "said",
    )
    return Card("Of each index", "", Table(columns, rows, (0, 1, 2, 3, 7, 8), (7, 8)))


def _alerts(content: Tonight) -> Card:
    rows: list[Row] = [
        [
            moment(alert["raised_at"]),
            Cell(alert["state"], mark="red" if alert["state"] == "red" else "green"),
            str(alert["finding"]),
            str(alert["channel"]),
            moment(alert["delivered_at"]) or f"not yet, {alert['attempts']} tried",
            str(alert["error"] or ""),
        ]
        for alert in content.alerts
    ]
    return Card(
        "Told", "", Table(("raised", "state", "finding", "channel", "delivered", "error"), rows, range(6), (2, 5))
    )
