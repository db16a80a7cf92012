"""The program that a home's nights may run with: its version, and a digest of each job's code.

Another version of a job computes everything within the night's look-back again. A person confirms that first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm.store.ledger.ledger import Ledger


@dataclass(frozen=True)
class Program:
    """A version of this program; `code` is the digest of what each job computes, by the job's name."""

    version: str
    code: Mapping[str, str]

    def changes(self, other: Program) -> list[str]:
        """Jobs that another program computes differently, or for the first time, in its order."""
        return [name for name, digest in other.code.items() if self.code.get(name) != digest]


def confirmed(ledger: Ledger) -> Program | None:
    """The last program that somebody confirmed; None for a home that never ran a night."""
    rows = ledger.query("SELECT version, code FROM fpm.programs ORDER BY id DESC LIMIT 1")
    return Program(*rows[0]) if rows else None


def confirm(program: Program, by: str, ledger: Ledger) -> None:
    """Record a program; the one that is confirmed already adds no row."""
    if confirmed(ledger) != program:
        ledger.execute(
            'INSERT INTO fpm.programs (version, code, "by") VALUES (%s, %s, %s)',
            (program.version, Jsonb(dict(program.code)), by),
        )
