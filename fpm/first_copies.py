"""From when the first copy of a session is known: by the convention of bulk history, its arrival, or a statement.

A home that serves nobody yet may load years at once, and no replay can tell when each session would have arrived: its
first copies count as known at the cut-off. From the first published session on there are nights to be replayed, and a
night must not know what came later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import date, datetime

Rule = Literal["cut_off", "arrival", "stated"]
NOTES: dict[Rule, str] = {  # as the ledger keeps them with the attempt
    "cut_off": "known from the cut-off: history in bulk",
    "arrival": "known from the arrival",
    "stated": "known from a stated moment",
}


def rule_of(session: date, first_published: date | None, *, stated: bool) -> Rule:
    """The rule for first copies of `session` in a home whose first publication was of `first_published`, if any.

    >>> from datetime import date
    >>> rule_of(date(2026, 1, 6), date(2026, 1, 5), stated=False), rule_of(date(2026, 1, 5), None, stated=False)
    ('arrival', 'cut_off')
    """
    if stated:
        return "stated"
    return "arrival" if first_published is not None and session > first_published else "cut_off"


def known_from(rule: Rule, cut_off: datetime, arrival: datetime) -> datetime:
    """The moment from which a first copy is known: never before the session's cut-off."""
    return cut_off if rule == "cut_off" else max(cut_off, arrival)
