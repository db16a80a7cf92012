"""The report's tables by name; the page and its Markdown twin show the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.report import factor_tables, portfolio_tables, provenance_tables, risk_test

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm.report.cells import Table
    from fpm.report.data import ReportData

TABLES: Mapping[str, Callable[[ReportData], Table]] = {
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
    "exposures": factor_tables.exposures,
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
    """Every table with rows or a text for their absence, by name."""
    filled = {name: table(report) for name, table in TABLES.items()}
    return {name: table for name, table in filled.items() if table.rows or table.empty}
