"""Figures of a session, and the nights as the newest look saw them: rows behind `serving.metrics`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    from fpm.store.ledger.ledger import Ledger


@dataclass(frozen=True)
class Vital:
    """One figure: the metric's name without `fpm_`, its labels, its value."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def record_vitals(session: date, vitals: Iterable[Vital], ledger: Ledger) -> None:
    """Put the figures of a session in place of those that it had."""
    with ledger.transaction() as connection:
        connection.execute("DELETE FROM fpm.vitals WHERE session = %s", (session,))
        connection.cursor().executemany(
            "INSERT INTO fpm.vitals (session, name, labels, value) VALUES (%s, %s, %s, %s)",
            [(session, each.name, Jsonb(dict(each.labels)), each.value) for each in vitals],
        )


def vitals(session: date, ledger: Ledger) -> list[Vital]:
    """The figures of a session, by name and labels."""
    rows = ledger.query(
        "SELECT name, value, labels FROM fpm.vitals WHERE session = %s ORDER BY name, labels", (session,)
    )
    return [Vital(name, value, labels) for name, value, labels in rows]


def record_nights(
    nights: Sequence[tuple[date, str, Sequence[str], datetime, str]], looked_at: datetime, ledger: Ledger
) -> None:
    """Record what a look saw: session, state, open steps, since when, why. Nights of former looks stay as they were."""
    with ledger.transaction() as connection:
        connection.cursor().executemany(
            "INSERT INTO fpm.nights (session, state, open, since, why, looked_at) VALUES (%s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (session) DO UPDATE SET state = excluded.state, open = excluded.open, since = excluded.since, "
            "why = excluded.why, looked_at = excluded.looked_at",
            [(session, state, list(steps), since, why, looked_at) for session, state, steps, since, why in nights],
        )
