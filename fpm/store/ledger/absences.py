"""Sessions whose bars nobody will ever deliver: what waits for them goes on without, for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

    from fpm.store.ledger.ledger import Ledger


def absences(ledger: Ledger) -> dict[date, str]:
    """Declared sessions with their reasons."""
    return dict(ledger.query("SELECT session, reason FROM fpm.absences ORDER BY session"))


def declare(session: date, reason: str, declared_by: str, ledger: Ledger) -> bool:
    """Record that a session's bars will never come; False where somebody did before, whose words stand."""
    added = ledger.execute(
        "INSERT INTO fpm.absences (session, reason, declared_by) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (session, reason, declared_by),
    )
    return added == 1
