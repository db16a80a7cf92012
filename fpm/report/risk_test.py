"""The risk model's forecast test on the page: the newest figures of every index, and B over time within its band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm.report import charts
from fpm.report.cells import Row, Table
from fpm.report.figure_text import ABSENT, number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm.report.data import ReportData, RiskTest

COLUMNS = (
    "index",
    "kind",
    "B",
    "95 % band",
    "within",
    "sessions",
    "share of|windows",
    "its band",
    "windows",
    "why not",
)


def table(report: ReportData) -> Table:
    """Newest test of every index and kind."""
    rows = [Row((test.index, test.kind, *_cells(test)), test.index) for test in report.risk]
    return Table(COLUMNS, rows, words=(0, 1, 4, 9), prose=(9,))


def charts_by_kind(tests: Sequence[RiskTest]) -> dict[str, Any]:
    """Kind -> B of every index over the sessions, with the band dotted."""
    kinds = dict.fromkeys(test.kind for test in tests if test.curve)
    return {kind: charts.bias([test for test in tests if test.kind == kind and test.curve]) for kind in kinds}


def _cells(test: RiskTest) -> tuple[str, ...]:
    reasons = dict.fromkeys(reason for reason in (test.reason, test.share_reason) if reason)
    return (
        number(test.bias),
        _band(number(test.low), number(test.high)),
        {True: "yes", False: "no", None: ABSENT}[test.inside],
        number(test.sessions, 0),
        percent(test.share, 0),
        _band(percent(test.share_low, 0), percent(test.share_high, 0)),
        number(test.windows, 0),
        ", ".join(reasons) or ABSENT,
    )


def _band(low: str, high: str) -> str:
    return ABSENT if ABSENT in (low, high) else f"[{low}, {high}]"
