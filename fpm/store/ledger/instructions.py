"""Approvals and holds in the ledger: rows that a person adds and nobody changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.portfolio.instructions import Instruction
from fpm.sessions import UTC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.store.ledger.ledger import Ledger


def record(instructions: Sequence[Instruction], ledger: Ledger) -> None:
    """Add instructions, all or none."""
    with ledger.transaction() as connection:
        for each in instructions:
            connection.execute(
                'INSERT INTO fpm.instructions (kind, "index", first, last, reason, content, "by", known_at) '
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                each.row(),
            )


def recorded(ledger: Ledger) -> tuple[Instruction, ...]:
    """Every instruction, in the order in which they were given."""
    rows = ledger.query(
        'SELECT kind, "index", first, last, reason, content, "by", known_at FROM fpm.instructions ORDER BY id'
    )
    return tuple(
        Instruction(kind, index, first, last, reason, content, by, known_at.astimezone(UTC))
        for kind, index, first, last, reason, content, by, known_at in rows
    )
