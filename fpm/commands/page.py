"""`fpm page`: which address shows which view, and what is gathered for it."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

import typer

from fpm.commands import jobs
from fpm.commands.night import night_steps, open_steps
from fpm.commands.status import screen, status
from fpm.errors import TryLater
from fpm.page.tonight import Step, Tonight, tonight
from fpm.page.views import View
from fpm.store.ledger.alerts import recent
from fpm.store.ledger.memory import remembered
from fpm.store.ledger.stores import Stores

ALERTS = 8  # newest ones


class Page:
    """The views of one home. `clock`: the wall clock."""

    def __init__(self, stores: Stores, clock: Callable[[], datetime]) -> None:
        self._stores, self._clock = stores, clock

    def answer(self, path: str, query: Mapping[str, str]) -> View | None:
        """The view at an address; None where there is none."""
        views: dict[str, Callable[[Mapping[str, str]], View]] = {"/": self._tonight}
        return views[path](query) if path in views else None

    @staticmethod
    def announcer(*, browser: bool) -> Callable[[str], None]:
        """Prints each link; the first is opened in the browser, if that is wanted."""
        opened = not browser

        def announce(link: str) -> None:
            nonlocal opened
            typer.echo(link)
            if not opened:
                opened = True
                webbrowser.open(link)

        return announce

    def _tonight(self, _query: Mapping[str, str]) -> View:
        return tonight(gathered_tonight(self._stores, self._clock()))


def gathered_tonight(stores: Stores, now: datetime) -> Tonight:
    """What the view Tonight shows."""
    answer, _ = screen(stores, now)
    newest = next((line["night"] for line in answer["nights"] if line["state"] != "awaited"), "")
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
    rows = {
        (row["job"], row["partition"]): row for day in {each for _, each, _ in planned} for row in status(stores, day)
    }
    return [
        _step(job, day, rows.get((job, f"{vintage}/{day}" if vintage else str(day))), job in open_jobs)
        for job, day, vintage in planned
    ]


def _step(job: str, day: date, row: Mapping[str, Any] | None, is_open: bool) -> Step:
    """A step by its newest row; one that has ended may have to run again for inputs that came later."""
    if row is None:
        return Step(job, str(day), "due" if is_open else "green")
    state = {"published": "due" if is_open else "green", "waiting": "awaited", "failed": "red", "interrupted": "red"}
    why = (
        row["error"]
        or row["note"]
        or ("an input has changed since" if is_open and row["status"] == "published" else "")
    )
    found = state.get(row["status"], "running")
    return Step(job, str(day), found, row["rows"], row["started_at"], row["finished_at"], why)
