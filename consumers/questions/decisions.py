"""The newest decision of each index: what it wants, what it had to relax, and whether a person has to say something."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.portfolio.instructions import AWAITING, approval_of, content_of, first_opening, hold_on
from fpm.store.ledger.instructions import recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from fpm.portfolio.instructions import Instruction
    from fpm.store.ledger.stores import Stores

LOOK_BACK = 10  # sessions with a portfolio among which an index's newest decision is looked for


def decisions(session: date | None, stores: Stores) -> list[dict[str, Any]]:
    """One row an index: the decision of a session, or its newest one (None).

    `turnover` is two-sided, `relaxed` bound -> excess, `said` an approval or a hold in words.
    """
    sessions = [day for day in stores.sessions("decisions") if session in (None, day)][-LOOK_BACK:]
    if not sessions:
        return []
    rows = stores.read("decisions", sessions[0], sessions[-1]).drop_nulls("status").sort("session")
    newest = rows.unique("index", keep="last", maintain_order=True).sort("index")
    instructions = recorded(stores.ledger)
    return [_row(cells, instructions, stores) for cells in newest.iter_rows(named=True)]


def _row(cells: Mapping[str, Any], instructions: Sequence[Instruction], stores: Stores) -> dict[str, Any]:
    own = stores.read("targets", cells["session"]).filter(pl.col("index") == cells["index"]).drop_nulls("shares")
    return {
        "index": cells["index"],
        "session": str(cells["session"]),
        "status": cells["status"],
        "fills": str(cells["fill_session"]),
        "tracking_error": cells["tracking_error"],
        "cap": cells["tracking_error_cap"],
        "turnover": float((own["weight"] - own["weight_held"]).abs().sum()),
        "relaxed": json.loads(cells["relaxed"] or "{}"),
        "second_solver": cells.get("second_solver"),
        "said": _said(cells, own, instructions, stores),
    }


def _said(
    cells: Mapping[str, Any], targets: pl.DataFrame, instructions: Sequence[Instruction], stores: Stores
) -> str | None:
    """What a person said about the decision: approved and in which session it fills, held and until when."""
    texts = []
    if cells["status"] == AWAITING:
        approval = approval_of(instructions, cells["index"], cells["session"], content_of(targets))
        if approval:
            fills = max(cells["fill_session"], first_opening(stores.market, approval.known_at))
            texts.append(f"approved by {approval.by}, fills {fills}")
    hold = hold_on(instructions, cells["index"], cells["fill_session"])
    if hold:
        until = f"until {hold.last}" if hold.last else "until it is said"
        texts.append(f"held by {hold.by} from {hold.first} {until}" + (f": {hold.reason}" if hold.reason else ""))
    return "; ".join(texts) or None
