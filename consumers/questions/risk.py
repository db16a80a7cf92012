"""Whether the risk model's forecasts came true: a command's table, the report's section, rows for a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm.errors import TryLater
from fpm.report.data import RiskTest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    import polars as pl

    from fpm.store.ledger.stores import Stores

FIGURES = ("bias", "low", "high", "share", "share_low", "share_high", "sessions", "windows")
CURVE = ("session", "bias", "low", "high")


def evaluate(stores: Stores) -> dict[str, Any]:
    """The newest forecast test of every index and kind of portfolio. Raises TryLater where there is none."""
    rows = _newest(stores).drop("event_timestamp", "created_timestamp")
    return {"risk": [row | {"session": str(row["session"])} for row in rows.rows(named=True)]}


def metrics(stores: Stores) -> list[dict[str, Any]]:
    """name, labels and value of the newest tests, as a monitor reads them; what is null has no row.

    `fpm_risk_inside` is 1 or 0. Raises TryLater where there is no test.
    """
    rows = []
    for row in _newest(stores).rows(named=True):
        labels = {"index": row["index"], "kind": row["kind"]}
        values = {name: row[name] for name in (*FIGURES, "inside")}
        rows += [
            {"name": f"fpm_risk_{name}", "labels": labels, "value": float(value)}
            for name, value in values.items()
            if value is not None
        ]
    return rows


def tests(sessions: Sequence[date], stores: Stores) -> list[RiskTest]:
    """The tests of every index and kind as served in the given sessions, with their curves; newest figures."""
    if not sessions:
        return []
    served = stores.read_served("risk_tests", sessions[0], sessions[-1]).sort("index", "kind", "session")
    groups = served.partition_by("index", "kind", maintain_order=True)
    return [_test(rows.drop("event_timestamp", "created_timestamp")) for rows in groups]


def _test(rows: pl.DataFrame) -> RiskTest:
    return RiskTest(**rows.row(-1, named=True), curve=tuple(rows.drop_nulls("bias").select(CURVE).rows()))


def _newest(stores: Stores) -> pl.DataFrame:
    """Rows of the newest session with a test."""
    for session in reversed(stores.sessions("risk_tests")):
        rows = stores.read("risk_tests", session)
        if len(rows):
            return rows
    raise TryLater(
        code="FPM-RISK-075",
        wrong="no forecast was tested yet",
        effect="nothing was judged",
        todo="run fpm enhance INDEX FIRST LAST, or a night after one with a decision",
    )
