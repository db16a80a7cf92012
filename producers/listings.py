"""Minutes of a symbol that no reference data knows: a new listing, or no stock of this market at all.

Where a session has daily rows of a vendor, minutes of a symbol without one are judged by what else is known of it. A
symbol with a daily row in any session, or a row of the table `symbols`, is known: its minutes are stored, and the
report names them (`producers.universe`). Any other waits in quarantine: ingested again once its reference data has
come, the same file brings its rows. A session of which no daily row came yet judges nobody: the table may come later.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from fpm.ingest.quarantine import FAULT_COLUMNS, Check, first_faults
from fpm.universe import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from fpm.ingest.vendor_bars import Combined
    from fpm.store.ledger.stores import Stores

DAILY = "daily_bars"
KEYS = ["session", "symbol"]
UNKNOWN = "FPM-IN-181"


@dataclass
class Listings:
    """Whom the reference data of a home and of one delivery knows.

    `delivered`: session -> symbols of the delivery's daily rows; `named`: symbols of its table `symbols`; `stores`
    None: a new home. `unknown`: symbols that were looked for in vain; `findings`: those that were named, by session.
    """

    delivered: Mapping[date, frozenset[str]]
    stores: Stores | None = None
    named: frozenset[str] = frozenset()
    known: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)

    def without_strangers(self, combined: Combined) -> Combined:
        """The bars of a batch without those of unknown symbols, which go to quarantine."""
        strangers = self.strangers(combined.frame)
        if strangers.is_empty():
            return combined
        frame = combined.frame.join(strangers, on=KEYS, how="anti", maintain_order="left")
        faults = stranger_faults(combined.frame, strangers)
        return replace(combined, frame=frame, quarantined=pl.concat([combined.quarantined, faults]))

    def strangers(self, bars: pl.DataFrame) -> pl.DataFrame:
        """session, symbol of the bars (session, symbol, ...) of unknown symbols, in sessions that have daily rows.

        They are added to `findings`.
        """
        pairs = bars.select(KEYS).unique().sort(KEYS)
        parts, stored = [pairs.clear()], set(self.stores.sessions(DAILY)) if self.stores else set()
        for (session,), part in pairs.partition_by("session", as_dict=True, maintain_order=True).items():
            listed = self._listed(session, is_stored=session in stored)
            lacking = set(part["symbol"].to_list()) - listed if listed else set()
            parts.append(part.filter(pl.col("symbol").is_in(sorted(self._unknown(lacking)))))
        strangers = pl.concat(parts)
        self.findings += _findings(strangers)
        return strangers

    def _listed(self, session: date, *, is_stored: bool) -> frozenset[str]:
        """Symbols with a daily row in the session, of the delivery or stored."""
        stored = frozenset[str]()
        if self.stores and is_stored:
            stored = frozenset(self.stores.read(DAILY, session, columns=["symbol"])["symbol"].to_list())
        return stored | self.delivered.get(session, frozenset())

    def _unknown(self, symbols: set[str]) -> set[str]:
        """Those of `symbols` without any daily row and any row of `symbols`; the newest sessions know most of them."""
        left = symbols - self.known - self.unknown
        if left:
            elsewhere = left.intersection(self.named.union(*self.delivered.values()))
            if self.stores:
                elsewhere |= left.intersection(self.stores.identities()["symbol"].to_list())
            missing = left - elsewhere
            if self.stores:
                missing = without_daily_row(missing, self.stores)
            self.unknown |= missing
            self.known |= left - missing
        return symbols & self.unknown


def without_daily_row(symbols: Iterable[str], stores: Stores) -> set[str]:
    """Those of `symbols` without a daily bar in any session; the newest sessions have nearly all."""
    left = set(symbols)
    for session in reversed(stores.sessions(DAILY)):
        if not left:
            break
        left -= set(stores.read(DAILY, session, columns=["symbol"])["symbol"].to_list())
    return left


def stranger_faults(bars: pl.DataFrame, strangers: pl.DataFrame) -> pl.DataFrame:
    """The faults (`quarantine.FAULT_COLUMNS`) of all rows of these symbol-sessions."""
    rows = bars.join(strangers, on=KEYS, how="semi", maintain_order="left").select("source", "row", *KEYS)
    check = Check(
        code="FPM-IN-181",
        condition=pl.lit(value=True),
        wrong="{symbol} is unknown: the session has daily rows, and no session has one of it",
    )
    return first_faults(rows, [check], ("source", "row", "session")).select(FAULT_COLUMNS)


def _findings(strangers: pl.DataFrame) -> list[Finding]:
    """Unknown symbols by session, for the report."""
    by_session: dict[date, list[str]] = defaultdict(list)
    for session, symbol in strangers.iter_rows():
        by_session[session].append(symbol)
    return [
        Finding(
            session,
            code="FPM-IN-181",
            wrong="unknown: no daily row in any session. Give daily_bars or symbols, then ingest the same files again",
            symbols=tuple(symbols),
        )
        for session, symbols in by_session.items()
    ]
