"""What a person says about decisions: one is approved, or an index is held for some sessions.

An instruction counts from `known_at` on: a decision's fill uses those known before its session opens, a decision those
known by its session's cut-off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from fpm.sessions import next_sessions, opening

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    import polars as pl

    from fpm.markets import Market

APPROVE, HOLD = "approve", "hold"
AWAITING, HELD, KEPT = "awaiting approval", "held", "kept"  # statuses of decisions that are not filled as they stand


@dataclass(frozen=True)
class Instruction:
    """One row of the ledger.

    Of an approval `first` is the decision's session and `content` the digest of the targets that were approved. Of a
    hold `first` and `last` are the sessions without fills (None: until it is said); a later row of the same index and
    `first` replaces it. `by`: who says it.
    """

    kind: str
    index: str
    first: date
    last: date | None
    reason: str
    content: str
    by: str
    known_at: datetime

    def row(self) -> tuple[object, ...]:
        """The cells that a digest counts."""
        return (self.kind, self.index, self.first, self.last, self.reason, self.content, self.by, self.known_at)


def content_of(targets: pl.DataFrame) -> str:
    """Digest of the shares that a decision wants: `targets` has symbol, shares."""
    return sha256(repr(sorted(targets.select("symbol", "shares").iter_rows())).encode()).hexdigest()


def hold_on(instructions: Sequence[Instruction], index: str, session: date) -> Instruction | None:
    """The hold of an index that covers a session; `instructions` in the order in which they were recorded."""
    holds = {each.first: each for each in instructions if each.kind == HOLD and each.index == index}
    covering = (each for _, each in sorted(holds.items()) if each.first <= session)
    return next((each for each in covering if each.last is None or session <= each.last), None)


def approval_of(instructions: Sequence[Instruction], index: str, session: date, content: str) -> Instruction | None:
    """The first approval of these very targets of an index's decision at a session."""
    own = (each for each in instructions if each.kind == APPROVE and (each.index, each.first) == (index, session))
    return next((each for each in own if each.content == content), None)


def first_opening(market: Market, moment: datetime) -> date:
    """The first session that opens after a moment."""
    day = moment.astimezone(market.zone).date()
    return next(each for each in next_sessions(market, day - timedelta(days=1), 2) if opening(market, each) > moment)
