"""The report's tables by name; the page and its Markdown twin show the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.report import factor_tables, portfolio_tables, provenance_tables, risk_test, trading_tables
from fpm.report.cells import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm.report.cells import Table
    from fpm.report.data import ReportData

TABLES: Mapping[str, Callable[[ReportData], Table]] = {
    "longs": trading_tables.longs,
    "shorts": trading_tables.shorts,
    "headline": factor_tables.headline,
    "certainty": factor_tables.certainty,
    "hits": factor_tables.hits,
    "earned": factor_tables.earned,
    "oracle": factor_tables.oracle,
    "paired": factor_tables.paired,
    "by-group": factor_tables.by_group,
    "by-size": factor_tables.by_size,
    "by-year": factor_tables.by_year,
    "variants": factor_tables.variants,
    "bases": factor_tables.bases,
    "correlations": factor_tables.correlations,
    "by-month": factor_tables.by_month,
    "by-industry": factor_tables.by_industry,
    "promises": factor_tables.promises,
    "persistence": factor_tables.persistence,
    "costs": trading_tables.costs,
    "trades": trading_tables.trades,
    "capacity": trading_tables.capacity,
    "portfolios": portfolio_tables.portfolios,
    "rebalances": portfolio_tables.rebalances,
    "risk": risk_test.table,
    "encoders": provenance_tables.encoders,
    "folds": provenance_tables.folds,
    "tried": provenance_tables.tried,
    "coverage": provenance_tables.coverage,
    "quarantined": provenance_tables.quarantined,
}


def tables(report: ReportData) -> dict[str, Table]:
    """Every table with rows or a text for their absence, by name, without rows and columns of dashes alone."""
    filled = {name: compact(table(report)) for name, table in TABLES.items()}
    return {name: table for name, table in filled.items() if table.rows or table.empty}
