"""The portfolios of a session, as its morning page has them, and the tests of the risk model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.questions import morning
from fpm.page.portfolio import Portfolio

if TYPE_CHECKING:
    from datetime import date

    from fpm.store.ledger.stores import Stores

SESSIONS = 15  # that can be chosen
INDEX_COLUMN = "index"


def gathered(session: date | None, index: str, stores: Stores) -> Portfolio:
    """What the view shows of a session; None: the newest with a portfolio. Raises what `morning.gather` raises."""
    sessions = stores.sessions("weights")
    if not sessions:
        return Portfolio(None)
    chosen = session or sessions[-1]
    content = morning.gather(chosen, stores)
    tested = [day for day in stores.sessions("risk_tests") if day <= chosen]
    tests = stores.read("risk_tests", tested[-1]).sort(INDEX_COLUMN, "kind").to_dicts() if tested else []
    return Portfolio(content, index, sessions[: -SESSIONS - 1 : -1], tested[-1] if tested else None, tests)
