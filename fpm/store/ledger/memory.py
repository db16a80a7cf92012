"""A ledger that answers each question once: for a reader of hundreds of sessions, at one moment of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, LiteralString

from fpm.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.store.ledger.stores import Stores


class RememberedLedger(Ledger):
    """The ledger `of`, through the same connections; whoever writes needs the ledger itself."""

    def __init__(self, of: Ledger) -> None:
        self._of = of
        self._answers: dict[tuple[str, str], list[tuple[Any, ...]]] = {}

    def query(self, sql: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows that the statement returned when it was first asked."""
        key = (sql, repr(parameters))
        if key not in self._answers:
            self._answers[key] = self._of.query(sql, parameters)
        return self._answers[key]


def remembered(stores: Stores) -> Stores:
    """The same stores for reading, as the ledger is from now on."""
    ledger = RememberedLedger(stores.ledger)
    return replace(stores, ledger=ledger, models=replace(stores.models, ledger=ledger), outputs=[])
