"""A ledger that answers each question once: for a reader of many sessions, at one moment of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, LiteralString

from fpm.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.store.ledger.stores import Stores


class RememberedLedger(Ledger):
    """The same ledger, through the same connections, for somebody who only reads, and not for long."""

    def __init__(self, ledger: Ledger) -> None:
        self._dsn, self._pool = ledger._dsn, ledger._pool  # noqa: SLF001  it is the same ledger
        self._answers: dict[tuple[str, str], list[tuple[Any, ...]]] = {}

    def query(self, sql: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that the statement returned when it was first asked."""
        key = (sql, repr(parameters))
        if key not in self._answers:
            self._answers[key] = super().query(sql, parameters)
        return self._answers[key]


def remembered(stores: Stores) -> Stores:
    """The same stores for reading, as the ledger is from now on."""
    ledger = RememberedLedger(stores.ledger)
    return replace(stores, ledger=ledger, models=replace(stores.models, ledger=ledger), outputs=[])
