"""One look at the ledger: a question that was asked before has the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from fpm.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence


class Glance(Ledger):
    """The same ledger for somebody who only reads, and not for long: every query is asked once."""

    def __init__(self, ledger: Ledger) -> None:
        self._dsn, self._pool = ledger._dsn, ledger._pool  # noqa: SLF001  it is the same ledger
        self._answers: dict[tuple[str, str], list[tuple[Any, ...]]] = {}

    def query(self, sql: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that one statement returns, as they were when it was asked for the first time."""
        question = sql, repr(parameters)
        if question not in self._answers:
            self._answers[question] = super().query(sql, parameters)
        return self._answers[question]
