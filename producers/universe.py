"""What is to be said of a session's symbols: those it lacks without a reason, and those it has against the reference.

One kind of finding, by session and symbol, for the report of an ingest. `fpm.universe` has the rule.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from fpm.universe import COLUMNS, Finding, delisted, excused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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

    def findings(self, session: date, frames: Mapping[str, pl.DataFrame], *, given: bool) -> list[Finding]:
        """What is to be said of a session that was published with these frames; `given`: daily bars are a vendor's.

        Nothing is set aside here: an absent symbol has no rows, a delisted one keeps its own.
        """
        tables = [table for table in (MINUTES, DAILY) if table in frames]
        for table in tables:
            self.symbols[table, session] = frozenset(frames[table]["symbol"].unique().to_list())
        absent = Finding(
            session,
            code="FPM-IN-180",
            wrong="absent all day, neither halted nor delisted: a publication counts them as missing",
            symbols=tuple(self._absent(tables[0], session, frames)) if tables else (),
        )
        findings = [absent, *(self._against_reference(session, frames) if given and tables else ())]
        self._move_on(session, tables)
        return [finding for finding in findings if finding.symbols]

    def _against_reference(self, session: date, frames: Mapping[str, pl.DataFrame]) -> list[Finding]:
        """Minutes without a daily row where the session has daily rows, and what trades after its delisting."""
        daily, before = self._daily(session, frames), self._daily(self._before(DAILY, session), {})
        minutes, listed = self._symbols(MINUTES, session), frozenset(daily["symbol"].to_list())
        traded = minutes | frozenset(daily.filter(pl.col("volume") > 0)["symbol"].to_list())
        gone = delisted(session - timedelta(days=1), daily, before)
        return [
            Finding(
                session,
                code="FPM-IN-182",
                wrong="minutes without a daily row: no factors, no label and no score",
                symbols=tuple(sorted(minutes - listed - gone)) if listed else (),
            ),
            Finding(
                session,
                code="FPM-IN-183",
                wrong="traded after their delist_date: kept",
                symbols=tuple(sorted(traded & gone)),
            ),
        ]

    def _absent(self, table: str, session: date, frames: Mapping[str, pl.DataFrame]) -> list[str]:
        """Symbols of the stored session before `session` that it lacks, not halted, delisted or renamed; sorted.

        `table` is compared: minutes, or daily rows where the session got no minutes.
        """
        last = self._before(table, session)
        if last is None:
            return []
        before, present = self._symbols(table, last), self._symbols(table, session)
        if before <= present:
            return []
        absent = self._names(before, last, session) - present
        return sorted(absent - excused(session, self._daily(session, frames), self._daily(last, {})))

    def _names(self, symbols: frozenset[str], before: date, session: date) -> frozenset[str]:
        """What the symbols of an earlier session are called in a later one; a company that ended is left out."""
        rows = pl.DataFrame({"session": [before] * len(symbols), "symbol": sorted(symbols)})
        return frozenset(self.stores.named(session).under_names(rows)["symbol"].to_list())

    # --- what is stored, and what this ingest adds ------------------------------------------------------------------
    def _move_on(self, session: date, tables: Sequence[str]) -> None:
        """The session's symbols in place of earlier ones, its day among the stored."""
        for table in tables:
            others = {key: names for key, names in self.symbols.items() if key[0] != table}
            self.symbols = {**others, (table, session): self.symbols[table, session]}
            days = self._days(table)
            if session not in days[bisect_left(days, session) :][:1]:
                insort(days, session)

    def _days(self, table: str) -> list[date]:
        return self.sessions.setdefault(table, self.stores.sessions(table))

    def _before(self, table: str, session: date) -> date | None:
        days = self._days(table)
        position = bisect_left(days, session)
        return days[position - 1] if position else None

    def _symbols(self, table: str, session: date) -> frozenset[str]:
        """Symbols of a table's session; empty where it has none."""
        names = self.symbols.get((table, session))
        if names is None and session in self._days(table):
            names = frozenset(self.stores.read(table, session, columns=("symbol",))["symbol"].unique().to_list())
        return names or frozenset()

    def _daily(self, session: date | None, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """`COLUMNS` of a session's daily rows; without rows where there are none."""
        if DAILY in frames:
            return frames[DAILY].select(name for name in COLUMNS if name in frames[DAILY].columns)
        if session is None or session not in self._days(DAILY):
            return pl.DataFrame(schema={"symbol": pl.String, "volume": pl.Float64})
        return self.stores.read(DAILY, session, columns=COLUMNS)
