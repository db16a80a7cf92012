"""`fpm page`: which address shows which view, and what is gathered for it."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import typer

from consumers.page import factor, lineage, names, portfolio
from consumers.page.answers import Answers, state
from consumers.page.served import Served, served
from fpm.commands import jobs
from fpm.commands.night import night_steps, open_steps
from fpm.commands.status import screen, status
from fpm.errors import TryLater, UsageError
from fpm.page import factor as factor_view
from fpm.page import lineage as lineage_view
from fpm.page import portfolio as portfolio_view
from fpm.page.sheets import REPORT_POLICY, Sheet
from fpm.page.tonight import Step, Tonight, tonight
from fpm.page.views import View
from fpm.schema import TABLES
from fpm.sessions import parse_session
from fpm.store.ledger.alerts import recent
from fpm.store.ledger.memory import remembered
from fpm.store.ledger.seals import sealed_lake
from fpm.store.ledger.stores import Stores
from fpm.store.log import log

ALERTS = 8  # newest ones
KEPT, KEPT_SLOW = 200, 50  # views that are kept
ATTENTION = 600.0  # seconds after the last look in which views are kept ready
PAUSE = 15.0  # seconds between two looks at what changed
READY = ("/", "/factor", "/portfolio", "/names")
REPORTS = "/reports/"
Query = Mapping[str, str]


class Page:
    """The views of one home. `clock`: the wall clock; `scratch`: a folder outside the home."""

    def __init__(self, stores: Stores, clock: Callable[[], datetime], scratch: Path) -> None:
        self._stores, self._clock, self._scratch = stores, clock, scratch
        settings = stores.settings
        lake = sealed_lake(settings.lake, settings.staging, stores.ledger)
        self._aside = replace(stores, lake=lake)  # slow questions have a cache of their own
        self._quick, self._slow = Answers[View](KEPT), Answers[View](KEPT_SLOW)
        self._panels = Answers[Served](1)
        self._looked = time.monotonic()
        self._views: dict[str, Callable[[Stores, Query], View]] = {
            "/": self._tonight,
            "/factor": self._factor,
            "/names": self._names,
            "/portfolio": _portfolio,
            "/lineage": _lineage,
        }

    def answer(self, path: str, query: Query) -> View | Sheet | None:
        """The view at an address; None where there is none. Raises FpmError where it cannot be gathered."""
        self._looked = time.monotonic()
        if path.startswith(REPORTS):
            return report(self._stores.settings.reports, path.removeprefix(REPORTS))
        return self._answer(path, query)

    def _answer(self, path: str, query: Query) -> View | None:
        fields = tuple(sorted(query.items()))
        if path in ("/names/explain", "/names/similar"):
            return self._slow.of((path, fields, state(self._stores)), lambda: self._asked(path, query))
        if path not in self._views:
            return None
        minute = self._clock().replace(second=0, microsecond=0) if path == "/" else None
        key = path, fields, minute, state(self._stores)
        return self._quick.of(key, lambda: self._views[path](self._stores, query))

    def keep_ready(self) -> None:
        """Gather the first view; in a thread the others, and what changes, before somebody asks."""
        self._make_ready(READY[0])
        Thread(target=self._keep_ready, daemon=True).start()

    def _keep_ready(self) -> None:
        while True:
            if time.monotonic() - self._looked < ATTENTION:
                for path in READY:
                    self._make_ready(path)
            time.sleep(PAUSE)

    def _make_ready(self, path: str) -> None:
        try:
            self._answer(path, {})
        except Exception as later:  # noqa: BLE001  whoever asks is told
            log.debug("view not ready", path=path, reason=type(later).__name__)

    def _tonight(self, stores: Stores, _query: Query) -> View:
        return tonight(gathered_tonight(stores, self._clock()))

    def _factor(self, stores: Stores, _query: Query) -> View:
        return factor_view.factor(factor.gathered(self._served(stores), stores))

    def _names(self, stores: Stores, query: Query) -> View:
        return names.answered(query.get("q", ""), self._served(stores), stores)

    def _served(self, stores: Stores) -> Served:
        current = stores.ledger.current(["scores", "labels"])
        inputs = frozenset((file.path, file.sha256) for file in current.values())
        return self._panels.of(inputs, lambda: served(stores))

    def _asked(self, path: str, query: Query) -> View:
        from consumers.page import likes  # torch is long in coming, and few ask

        symbol, session = query.get("q", ""), parse_session(query.get("session", ""))
        if path == "/names/explain":
            return likes.explanation(symbol, session, self._aside)
        return likes.nearest(symbol, session, self._scratch, self._aside)


def report(folder: Path, name: str) -> Sheet | None:
    """A page of the home's reports as it was written; None where there is none of that name."""
    named = {path.name: path for path in folder.glob("*.html") if path.is_file() and not path.is_symlink()}
    return Sheet(200, named[name].read_bytes(), policy=REPORT_POLICY) if name in named else None


def _portfolio(stores: Stores, query: Query) -> View:
    session = parse_session(query["session"]) if "session" in query else None
    return portfolio_view.portfolio(portfolio.gathered(session, query.get("index", ""), stores))


def _lineage(stores: Stores, query: Query) -> View:
    if "session" not in query:
        return lineage_view.entry(*lineage.newest(stores))
    session, modules = parse_session(query["session"]), {name: jobs.job(name) for name in jobs.MODULES}
    table = query.get("table") or next(iter(getattr(modules.get(query.get("job", "")), "WRITES", ())), "")
    if table not in TABLES:
        raise UsageError(
            code="FPM-PAGE-003",
            wrong=f"no table of the lake is meant by {query.get('table') or query.get('job') or 'nothing'}",
            effect="nothing was looked up",
            todo="choose one: the view Lineage lists them",
        )
    return lineage_view.lineage(lineage.gathered(table, session, query.get("symbol", ""), modules, stores))


def announcer(*, browser: bool) -> Callable[[str], None]:
    """Prints each link; the first one is opened in the browser, if that is wanted."""
    opened = not browser

    def announce(link: str) -> None:
        nonlocal opened
        typer.echo(link)
        if not opened:
            opened = True
            webbrowser.open(link)

    return announce


# --- tonight ------------------------------------------------------------------------------------------------------


def gathered_tonight(stores: Stores, now: datetime) -> Tonight:
    """What the view Tonight shows."""
    answer, _ = screen(stores, now)
    with_bars = [line["night"] for line in answer["nights"] if line["state"] == "green" or line["open"]]
    newest = next(iter(with_bars), "")
    session = date.fromisoformat(newest) if newest else None
    steps = steps_of(session, stores) if session else []
    return Tonight(stores.market.name, now, answer, newest, steps, recent(stores.ledger, ALERTS))


def steps_of(session: date, stores: Stores) -> list[Step]:
    """The steps of a session's night, in order, with what the ledger says of each."""
    stores = remembered(stores)
    open_jobs = set(open_steps(session, stores))
    try:
        planned = [(step.job, step.session, step.vintage) for step in night_steps(session, stores)]
    except TryLater:  # no scorer: nothing can have ended
        planned = [(name, session, None) for name in jobs.MODULES]
    days = {day for _, day, _ in planned}
    rows = {(row["job"], row["partition"]): row for day in days for row in status(stores, day)}
    return [
        _step(job, day, rows.get((job, f"{vintage}/{day}" if vintage else str(day))), is_open=job in open_jobs)
        for job, day, vintage in planned
    ]


def _step(job: str, day: date, row: Mapping[str, Any] | None, *, is_open: bool) -> Step:
    """A step by its newest row; one that has ended may have to run again for inputs that came later."""
    if row is None:
        return Step(job, str(day), "due" if is_open else "green")
    ended = {"published": "due" if is_open else "green", "waiting": "awaited", "failed": "red", "interrupted": "red"}
    again = "an input has changed since" if is_open and row["status"] == "published" else ""
    return Step(
        job,
        str(day),
        ended.get(row["status"], "running"),
        row["rows"],
        row["started_at"],
        row["finished_at"],
        row["error"] or row["note"] or again,
    )
