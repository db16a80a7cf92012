"""Tables of what the figures rest on: models, settings tried, data, and rows kept out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.report.cells import Row, Table
from fpm.report.data import SessionRange
from fpm.report.figure_text import ABSENT, count_or_number, number

if TYPE_CHECKING:
    from fpm.report.data import Fold, ReportData


def encoders(report: ReportData) -> Table:
    """Every encoder vintage with the figures of its collapse gate."""
    names = list(dict.fromkeys(name for encoder in report.encoders for name in encoder.figures))
    rows = [
        Row(
            (
                encoder.vintage,
                str(encoder.through),
                encoder.status,
                *(count_or_number(encoder.figures.get(name)) for name in names),
            )
        )
        for encoder in report.encoders
    ]
    columns = ("vintage", "trained through", "status", *(name.replace("_", " ") for name in names))
    return Table(columns, rows, words=(0, 1, 2))


def folds(report: ReportData) -> Table:
    """Sessions of every scorer: train, validation and out of sample."""
    columns = ("scorer", "vintage", "train", "validation", "out of sample", "seeds")
    return Table(columns, [Row(_fold_cells(fold)) for fold in report.folds], words=(0, 1, 2, 3, 4, 5))


def _fold_cells(fold: Fold) -> tuple[str, ...]:
    served = SessionRange(fold.first, fold.last, fold.sessions)
    seeds = ", ".join(map(str, fold.seeds)) or ABSENT
    return fold.model, fold.vintage, _range_text(fold.train), _range_text(fold.validation), _range_text(served), seeds


def _range_text(sessions: SessionRange | None) -> str:
    return ABSENT if sessions is None else f"{sessions.first} to {sessions.last} ({number(sessions.sessions, 0)})"


def tried(report: ReportData) -> Table:
    """Every setting of encoder and scorer that was trained."""
    columns = ("setting", "differs from the first in", "scorers", "first", "last trained through")
    rows = [
        Row((trial.setting, trial.differs or "nothing", number(trial.models, 0), str(trial.first), str(trial.last)))
        for trial in report.tried
    ]
    return Table(columns, rows, words=(0, 1, 3, 4), prose=(1,))


def coverage(report: ReportData) -> Table:
    """Sessions and rows of every table in the lake."""
    rows = [
        Row(
            (
                table.table,
                number(table.sessions, 0),
                number(table.rows, 0),
                str(table.first or ABSENT),
                str(table.last or ABSENT),
            )
        )
        for table in report.coverage
    ]
    return Table(("table", "sessions", "rows", "first", "last"), rows, words=(0, 3, 4), empty="not counted")


def quarantined(report: ReportData) -> Table:
    """Rows kept out of the lake, by table and code."""
    rows = [Row((part.table, part.code, part.reason, number(part.count, 0))) for part in report.quarantined]
    return Table(("table", "code", "reason", "count"), rows, words=(0, 1, 2), prose=(2,), empty="nothing was kept out")
