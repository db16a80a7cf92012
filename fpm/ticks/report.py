"""The account of a delivery of ticks, in numbers that balance.

Records in = used + status + after hours + quarantined + deduplicated + set aside (of a symbol-session too large).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.ticks.minute_flows import Minutes, streams_of
from fpm.ticks.tape import EXCHANGES, of_exchange, regime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date


@dataclass
class TickAccount:
    """Filled while ticks are taken in.

    `regimes` counts sessions by what was at hand. `symbol_sessions` counts by outcome: made, or the code that set it
    aside. `reconciled`: with the exchange's totals, in symbol-sessions: equal, differs, untold (no totals given).
    `channels` judged for gaps or not (an excerpt says nothing), with the worst share of numbers missing; `unknown`
    trades name an order nobody heard of, `unvalued` orders and cancels have no price at all, `backwards` records run
    behind the clock. `without_orders`: symbol-sessions whose order legs are unavailable.
    """

    records: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    regimes: Counter[str] = field(default_factory=Counter)
    symbol_sessions: Counter[str] = field(default_factory=Counter)
    reconciled: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    worst_share: float = 0.0
    totals_without_ticks: int = 0
    ignored: list[str] = field(default_factory=list)

    def add_batch(self, rows: int, status: int, faults: pl.DataFrame) -> None:
        """Count one batch of a file as it was read."""
        self.records.update({"in": rows, "status": status})
        self.quarantined.update(faults["reason_code"].to_list())

    def add_minutes(self, parts: Sequence[Minutes]) -> None:
        """Count what became of the records of one session."""
        for part in parts:
            self.records.update({"after_hours": part.after_hours, "deduplicated": part.deduplicated})
            if part.symbols.height:
                sums = part.symbols.select(pl.col("records", "unknown", "unvalued", "backwards").sum()).row(
                    0, named=True
                )
                self.records["used"] += sums.pop("records")
                self.found.update(sums)
            self.quarantined.update(part.faults["reason_code"].to_list())

    def add_session(
        self, session: date, symbols: pl.DataFrame, gaps: pl.DataFrame, judged: pl.DataFrame, aside: pl.DataFrame
    ) -> None:
        """Count one session's symbols and verdicts."""
        for exchange in EXCHANGES:
            if symbols.filter(of_exchange(exchange)).height:
                self.regimes[regime(exchange, session, streams_of(symbols, exchange))] += 1
        self.found["without_orders"] += int((~symbols["has_orders"]).sum())
        self.symbol_sessions.update({"made": symbols.height - aside.height, **Counter(aside["reason_code"].to_list())})
        self.reconciled.update(judged["verdict"].to_list())
        self.channels.update({"judged": gaps["share"].count(), "not_judged": gaps["share"].null_count()})
        worst = gaps["share"].max()
        self.worst_share = max(self.worst_share, worst if isinstance(worst, float) else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told = {
            name: self.records[name] for name in ("in", "used", "status", "after_hours", "deduplicated", "too_many")
        }
        return {
            "records": {**told, "quarantined": sum(self.quarantined.values())},
            "quarantined": dict(sorted(self.quarantined.items())),
            "regimes": dict(sorted(self.regimes.items())),
            "symbol_sessions": dict(sorted(self.symbol_sessions.items())),
            "reconciled": dict(sorted(self.reconciled.items())),
            "totals_without_ticks": self.totals_without_ticks,
            "channels": {**dict(sorted(self.channels.items())), "worst_share_missing": round(self.worst_share, 6)},
            "unknown_orders": self.found["unknown"],
            "unvalued": self.found["unvalued"],
            "clock_backwards": self.found["backwards"],
            "without_orders": self.found["without_orders"],
            "files_ignored": self.ignored,
        }
