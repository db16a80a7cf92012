"""Sessions whose bars are not whole, as judged by their content, and those that a person accepted as they are."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.store.ledger.ledger import Ledger


def judged(sessions: Sequence[date], ledger: Ledger) -> dict[date, tuple[str, str | None]]:
    """Content and words (None: whole) of the newest judgement of each session that has one."""
    rows = ledger.query(
        "SELECT session, content, words FROM fpm.session_holes WHERE session = ANY(%s)", (list(sessions),)
    )
    return {session: (content, words) for session, content, words in rows}


def note(session: date, content: str, words: str | None, ledger: Ledger) -> None:
    """Record the judgement of a session's bars; whoever only reads judges again the next time."""
    with suppress(psycopg.errors.ReadOnlySqlTransaction):
        ledger.execute(
            "INSERT INTO fpm.session_holes (session, content, words) VALUES (%s, %s, %s) ON CONFLICT (session) DO "
            "UPDATE SET content = excluded.content, words = excluded.words, noted_at = clock_timestamp()",
            (session, content, words),
        )


def accepted(ledger: Ledger) -> dict[date, str]:
    """Sessions whose bars somebody accepted as all that will come, with the reasons."""
    return dict(ledger.query("SELECT session, reason FROM fpm.accepted_sessions ORDER BY session"))


def accept(session: date, reason: str, declared_by: str, ledger: Ledger) -> bool:
    """Record that a session's bars are all that will come; False where somebody did before, whose words stand."""
    added = ledger.execute(
        "INSERT INTO fpm.accepted_sessions (session, reason, declared_by) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (session, reason, declared_by),
    )
    return added == 1
