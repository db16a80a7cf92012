"""A universe that shrinks: the symbols of the session before that a session lacks without a reason."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.store.ledger.stores import Stores

MINUTES, DAILY = "minute_bars", "daily_bars"


@dataclass
class Universe:
    """Symbols by session of one ingest: those stored before it, and those that it adds.

    `sessions`: table -> its sessions in order, read once; `symbols`: (table, session) -> its symbols, the last ones.
    """

    stores: Stores
    sessions: dict[str, list[date]] = field(default_factory=dict)
    symbols: dict[tuple[str, date], frozenset[str]] = field(default_factory=dict)

    def missing(self, session: date, frames: Mapping[str, pl.DataFrame]) -> list[str]:
        """Symbols of the stored session before `session` that it lacks, not suspended, delisted or renamed; sorted.

        `frames`: the session's tables as published; its minutes are compared, its daily rows where it has no minutes.
        """
        table = next((name for name in (MINUTES, DAILY) if name in frames), None)
        if table is None:
            return []
        present = frozenset(frames[table]["symbol"].unique().to_list())
        days = self.sessions.setdefault(table, self.stores.sessions(table))
        position = bisect_left(days, session)
        before = self._symbols(table, days[position - 1]) if position else frozenset()
        if position == len(days) or days[position] != session:
            insort(days, session)
        self.symbols = {(table, session): present} | {key: old for key, old in self.symbols.items() if key[0] != table}
        if before <= present:
            return []
        absent = self._names(before, days[position - 1], session) - present
        return sorted(absent - self._excused(session, days[position - 1], frames))

    def _names(self, symbols: frozenset[str], before: date, session: date) -> frozenset[str]:
        """What the symbols of an earlier session are called in a later one; a company that ended is left out."""
        rows = pl.DataFrame({"session": [before] * len(symbols), "symbol": sorted(symbols)})
        return frozenset(self.stores.named(session).under_names(rows)["symbol"].to_list())

    def _symbols(self, table: str, session: date) -> frozenset[str]:
        names = self.symbols.get((table, session))
        if names is None:
            rows = self.stores.read(table, session, columns=("symbol",))
            names = frozenset(rows["symbol"].unique().to_list())
        return names

    def _excused(self, session: date, before: date, frames: Mapping[str, pl.DataFrame]) -> frozenset[str]:
        """Symbols suspended or delisted by the session, by its daily rows and those of the session before."""
        today = frames.get(DAILY)
        if today is None:
            today = self._daily(session)
        gone = [
            rows.filter(pl.col("delist_date") <= session)
            for rows in (today, self._daily(before))
            if "delist_date" in rows.columns
        ]
        halted = [today.filter("suspended")] if "suspended" in today.columns else []
        return frozenset(symbol for rows in (*gone, *halted) for symbol in rows["symbol"].to_list())

    def _daily(self, session: date) -> pl.DataFrame:
        if session not in self.sessions.setdefault(DAILY, self.stores.sessions(DAILY)):
            return pl.DataFrame({"symbol": []}, schema={"symbol": pl.String})
        return self.stores.read(DAILY, session, columns=("symbol", "suspended", "delist_date"))
