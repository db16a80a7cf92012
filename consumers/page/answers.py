"""Answers kept by what they were made of, so that a second look costs nothing and a changed home is seen."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from fpm.store.ledger.stores import Stores

Content = TypeVar("Content")
STATE = """
SELECT (SELECT count(*) FROM fpm.ledger), (SELECT max(greatest(started_at, finished_at)) FROM fpm.ledger),
    (SELECT count(*) FROM fpm.publications), (SELECT count(*) FROM fpm.models), (SELECT count(*) FROM fpm.vitals),
    (SELECT count(*) FROM fpm.instructions), (SELECT max(greatest(raised_at, delivered_at)) FROM fpm.alerts)
"""


def state(stores: Stores) -> tuple[object, ...]:
    """What distinguishes the home's present state from every other: its ledger grows with whatever changes."""
    return stores.ledger.query(STATE)[0]


class Answers(Generic[Content]):
    """At most `most` answers. One thread makes an answer at a time: files are decoded once, memory stays small."""

    def __init__(self, most: int) -> None:
        self._most, self._making = most, Lock()
        self._kept: dict[Hashable, Content] = {}

    def of(self, key: Hashable, make: Callable[[], Content]) -> Content:
        """The answer under a key; the oldest one goes where there are too many."""
        if key not in self._kept:
            with self._making:
                if key not in self._kept:
                    content = make()
                    self._kept = dict([*self._kept.items(), (key, content)][-self._most :])
                    return content
        return self._kept.get(key) or make()
