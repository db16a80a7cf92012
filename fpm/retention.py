"""Retention: how many sessions of a table stay, and what still needs an older one.

Only the tables of minutes may lose sessions: they are nearly all of a home's bytes, and no score, decision or replay
reads them once fingerprints and daily bars are there; those of running sessions, nobody reads the day after but the
leak check. Every other table is history that something still asks for.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

RETIRABLE = ("minute_bars", "session_totals", "minute_features", "intraday_bars", "intraday_minute_features")
USAGE = f"write TABLE=SESSIONS, ..., of {', '.join(RETIRABLE)}, e.g. minute_bars=500, minute_features=1500"
State = Literal["nothing", "removable", "needed"]


@dataclass(frozen=True)
class Need:
    """Somebody who reads a table from `since` on, and who that is, in words."""

    table: str
    since: date
    why: str


@dataclass(frozen=True)
class Excess:
    """What a table holds beyond its policy: its sessions before `before`, and the need that forbids to remove them."""

    table: str
    keep: int
    before: date | None
    sessions: tuple[date, ...]
    need: Need | None

    @property
    def state(self) -> State:
        """Whether anything is there to be removed, and whether it may be."""
        if not self.sessions:
            return "nothing"
        return "removable" if self.need is None else "needed"


def policy(text: str) -> dict[str, int]:
    """Sessions to keep by table. Raises ValueError for anything else than `USAGE` says.

    >>> policy("minute_bars=500, minute_features = 1500")
    {'minute_bars': 500, 'minute_features': 1500}
    """
    kept: dict[str, int] = {}
    for part in text.split(","):
        table, _, count = (word.strip() for word in part.partition("="))
        if table not in RETIRABLE or table in kept or not count.isdecimal() or int(count) == 0:
            raise ValueError(f"{part.strip()!r}: {USAGE}")
        kept[table] = int(count)
    return kept


def excess(table: str, keep: int, sessions: Sequence[date], needs: Iterable[Need]) -> Excess:
    """The sessions of a table (in order) before the last `keep`, and the earliest need among them, if any."""
    if len(sessions) <= keep:
        return Excess(table, keep, None, (), None)
    before = sessions[-keep]
    old = tuple(sessions[: bisect_left(sessions, before)])
    own = [need for need in needs if need.table == table and need.since < before]
    return Excess(table, keep, before, old, min(own, key=lambda need: need.since, default=None))
