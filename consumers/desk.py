"""What the desk says, as the job `portfolio` reads it at a session: the real book, restrictions, approvals, holds.

A decision knows what was known at its session's cut-off. A fill knows what was known before its session opened, so
that what is said later changes the next session only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import InputRefused
from fpm.portfolio.book import closes
from fpm.portfolio.costs import CENTS
from fpm.portfolio.custody import differences, real_book
from fpm.portfolio.instructions import APPROVE, HOLD, Instruction, approval_of, content_of, first_opening, hold_on
from fpm.portfolio.restrictions import in_force
from fpm.sessions import cut_off, next_sessions, opening, previous_sessions
from fpm.store.ledger.instructions import recorded
from fpm.store.log import log

if TYPE_CHECKING:
    from datetime import date

    from fpm.markets import Market
    from fpm.portfolio.book import Action, Book
    from fpm.portfolio.restrictions import Restriction
    from fpm.store.ledger.stores import Stores

GAP = 10  # sessions over which a book is carried and a decision waits


@dataclass(frozen=True)
class Desk:
    """Instructions known by the session's cut-off; restrictions in force in it and in the next session.

    `fill_restrictions`: of the session, as known before it opened. `restrictions`: of the next one, at the cut-off.
    """

    market: Market
    session: date
    instructions: tuple[Instruction, ...]
    fill_restrictions: pl.DataFrame
    restrictions: pl.DataFrame

    @property
    def fill_session(self) -> date:
        """The session in which tonight's decisions are filled."""
        return next_sessions(self.market, self.session, 1)[0]

    @cached_property
    def before_opening(self) -> tuple[Instruction, ...]:
        """Instructions that the session's fills know."""
        moment = opening(self.market, self.session)
        return tuple(each for each in self.instructions if each.known_at < moment)

    def forbidden(self, index: str) -> dict[str, Restriction]:
        """Restrictions by symbol of the session's fills."""
        return in_force(self.fill_restrictions, index, self.session)

    def restricted(self, index: str) -> dict[str, Restriction]:
        """Restrictions by symbol of tonight's decision, which is filled in the next session."""
        return in_force(self.restrictions, index, self.fill_session)

    def withheld(self, index: str) -> str:
        """Why the session fills nothing of an index; "" where it does."""
        hold = hold_on(self.before_opening, index, self.session)
        return words(hold) if hold else ""

    def hold(self, index: str) -> Instruction | None:
        """The hold of an index that covers the fill of tonight's decision."""
        return hold_on(self.instructions, index, self.fill_session)

    def filled_in(self, index: str, decided: date, fill_session: date, targets: pl.DataFrame) -> date | None:
        """The session that fills a decision which waited for approval: the first to open after it.

        None where these targets (symbol, shares) are not approved yet.
        """
        approval = approval_of(self.instructions, index, decided, content_of(targets))
        return max(fill_session, first_opening(self.market, approval.known_at)) if approval else None

    def content(self) -> list[object]:
        """Everything of it, for a digest."""
        rows = (*self.fill_restrictions.rows(), *self.restrictions.rows())
        return [*(each.row() for each in self.instructions), *rows]


def words(hold: Instruction) -> str:
    """A hold in words, for the rows that it explains."""
    return f"held by {hold.by}" + (f": {hold.reason}" if hold.reason else "")


def desk(session: date, stores: Stores) -> Desk:
    """What was said by a session's cut-off and matters to its fills or its decision, whatever is known since."""
    market, limit = stores.market, cut_off(stores.market, session)
    following = next_sessions(market, session, 1)[0]
    instructions = [each for each in recorded(stores.ledger) if each.known_at <= limit]
    oldest = previous_sessions(market, session, GAP)[0]
    own = [each for each in instructions if each.kind == APPROVE and oldest <= each.first < session]
    own += [each for each in instructions if each.kind == HOLD and each.first <= following]
    lists = []
    for moment, day in ((opening(market, session), session), (limit, following)):
        rows = stores.as_of(moment).named(session).snapshot("restrictions")
        spans = pl.col("first") <= day, (pl.col("last") >= day).fill_null(True)
        lists.append(rows.filter(*spans).sort("symbol", "index", "first") if len(rows) else rows)
    return Desk(market, session, tuple(own), *lists)


# --- the real book ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Morning:
    """The book that a session starts from; `actions` lead to it from the simulated one."""

    book: Book
    actions: tuple[Action, ...] = ()
    is_real: bool = False


def morning(index: str, simulated: Book, since: date | None, last: pl.DataFrame, books: pl.DataFrame) -> Morning:
    """The custodian's newest book where it is no older than the simulated one of the close `since`, else that one.

    `books`: the index's rows of `custody` in the sessions before, `last`: the newest row of every symbol. A book that
    cannot be used is said, and the simulated one stays.
    """
    newest = books["session"].max()
    if newest is None or (since is not None and newest < since):  # type: ignore[operator]  # polars types max loosely
        if newest is not None:
            log.warning("no book from the custodian, the simulated one goes on", index=index, newest=str(newest))
        return Morning(simulated)
    price = closes(last)
    try:
        real = real_book(books.filter(pl.col("session") == newest), frozenset(price))
    except InputRefused as refusal:
        log.error("a book is refused, the one before is kept", index=index, session=str(newest), reason=str(refusal))
        return Morning(simulated)
    actions = differences(simulated, real, price)
    worth = (real.value(price) - simulated.value(price)) / CENTS
    names = sum(each.shares_before != each.shares_after for each in actions)
    log.info("the custodian's book", index=index, session=str(newest), names_that_differ=names, worth=worth)
    return Morning(real, actions, is_real=True)
