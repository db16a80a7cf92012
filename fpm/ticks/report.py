"""The account of a delivery of ticks, in numbers that balance.

Records in = used + status + after hours + quarantined + deduplicated + too many (of a symbol-session too large) + set
aside (of a symbol-session that failed a check) + cut (of a minute that the feed does not cover whole, or for which its
channel lacks numbers).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.errors import FpmError
from fpm.ticks.minute_flows import Minutes, streams_of
from fpm.ticks.tape import EXCHANGES, of_exchange, regime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

OUTCOMES = ("used", "status", "after_hours", "deduplicated", "too_many", "set_aside", "cut")


@dataclass
class TickAccount:
    """Counts of one delivery, filled while it is read.

    `regimes` counts sessions by the streams at hand, `symbol_sessions` by outcome: made, or the code that set it aside.
    `reconciled` counts symbol-sessions by the exchange's totals: equal, differs, untold (no totals). `channels`: judged
    for gaps or not (an excerpt shows nothing); `worst_share` of their numbers is missing. `counts`: `unknown` trades
    with an order that has no submission, `unvalued` orders and cancels without a price, `backwards` records behind the
    clock, symbol-sessions `without_orders`, whose order legs are unavailable. `snapshots`: in = used + those in
    quarantine, by code. `missing`: numbers that judged channels lack; `lost_minutes`: of a channel, that lack too many.
    """

    records: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    regimes: Counter[str] = field(default_factory=Counter)
    symbol_sessions: Counter[str] = field(default_factory=Counter)
    reconciled: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    snapshots: Counter[str] = field(default_factory=Counter)
    worst_share: float = 0.0
    missing: int = 0
    lost_minutes: int = 0
    totals_without_ticks: int = 0
    ignored: list[str] = field(default_factory=list)

    def add_batch(self, rows: int, status: int, faults: pl.DataFrame) -> None:
        """Count one batch of a file: its rows, its records of trading status, its faults."""
        self.records.update({"in": rows, "status": status})
        self.quarantined.update(faults["reason_code"].to_list())

    def add_minutes(self, parts: Sequence[Minutes]) -> None:
        """Count the records of one session by their outcome."""
        for part in parts:
            self.records.update({"after_hours": part.after_hours, "deduplicated": part.deduplicated})
            if part.symbols.height:
                sums = part.symbols.select(pl.col("records", "unknown", "unvalued", "backwards").sum()).row(
                    0, named=True
                )
                self.records["used"] += sums.pop("records")
                self.counts.update(sums)
            self.quarantined.update(part.faults["reason_code"].to_list())

    def add_unused(self, counts: pl.DataFrame, faults: pl.DataFrame, whole: pl.DataFrame) -> None:
        """Take records whose minute is not stored from the used ones: those of symbols set aside, and of cut minutes.

        `counts`: sid, slot, records; `faults`: sid; `whole`: the rows of `counts` whose minutes the feed covers.
        """
        aside = int(counts.join(faults, on="sid", how="semi")["records"].sum())
        kept = int(whole.join(faults, on="sid", how="anti")["records"].sum())
        cut = int(counts["records"].sum()) - aside - kept
        self.records.update({"set_aside": aside, "cut": cut, "used": -aside - cut})

    def add_hollow(self, records: int) -> None:
        """Take the records of symbol-sessions that lack too many minutes from the used ones."""
        self.records.update({"set_aside": records, "used": -records})

    def add_snapshots(self, rows: int, faults: pl.DataFrame, used: int) -> None:
        """Count snapshots: rows of a file, or those judged."""
        self.snapshots.update({"in": rows, "used": used})
        self.snapshots.update(faults["reason_code"].to_list())

    def check(self) -> None:
        """Raises FpmError where records or snapshots are lost, or counted twice."""
        records = {name: self.records[name] for name in OUTCOMES} | {"quarantined": sum(self.quarantined.values())}
        snapshots = {name: count for name, count in self.snapshots.items() if name != "in"}
        for kind, rows, parts in (
            ("records", self.records["in"], records),
            ("snapshots", self.snapshots["in"], snapshots),
        ):
            if rows != sum(parts.values()):
                raise FpmError(
                    code="FPM-IN-201",
                    wrong=f"{rows} {kind} in, but {sum(parts.values())} accounted for: {parts}",
                    effect="the report is not written; what was stored is whole",
                    todo="this is a fault of fpm: report it with the files",
                )

    def add_session(
        self,
        session: date,
        symbols: pl.DataFrame,
        gaps: pl.DataFrame,
        lost: pl.DataFrame,
        verdicts: pl.DataFrame,
        faults: pl.DataFrame,
    ) -> None:
        """Count one session's symbols and verdicts, missing numbers (`gaps`) and lost minutes (`lost`) of channels."""
        for exchange in EXCHANGES:
            if symbols.filter(of_exchange(exchange)).height:
                self.regimes[regime(exchange, session, streams_of(symbols, exchange))] += 1
        self.counts["without_orders"] += int((~symbols["has_orders"]).sum())
        self.symbol_sessions.update(
            {"made": symbols.join(faults, on="sid", how="anti").height, **Counter(faults["reason_code"].to_list())}
        )
        self.reconciled.update(verdicts["verdict"].to_list())
        self.channels.update({"judged": gaps["share"].count(), "not_judged": gaps["share"].null_count()})
        self.lost_minutes += lost.height
        judged = gaps.filter(pl.col("share").is_not_null())
        self.missing += int((judged["expected"].cast(pl.Int64) - judged["records"].cast(pl.Int64)).sum())
        worst = gaps["share"].max()
        self.worst_share = max(self.worst_share, worst if isinstance(worst, float) else 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        records = {name: self.records[name] for name in ("in", *OUTCOMES)}
        return {
            "records": {**records, "quarantined": sum(self.quarantined.values())},
            "quarantined": dict(sorted(self.quarantined.items())),
            "regimes": dict(sorted(self.regimes.items())),
            "symbol_sessions": dict(sorted(self.symbol_sessions.items())),
            "reconciled": dict(sorted(self.reconciled.items())),
            "totals_without_ticks": self.totals_without_ticks,
            "channels": {
                **dict(sorted(self.channels.items())),
                "missing": self.missing,
                "minutes_lost": self.lost_minutes,
                "worst_share_missing": round(self.worst_share, 6),
            },
            "unknown_orders": self.counts["unknown"],
            "unvalued": self.counts["unvalued"],
            "clock_backwards": self.counts["backwards"],
            "without_orders": self.counts["without_orders"],
            **({"snapshots": dict(sorted(self.snapshots.items()))} if self.snapshots else {}),
            "files_ignored": self.ignored,
        }
