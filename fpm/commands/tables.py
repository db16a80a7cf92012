"""Answers as tables for a terminal: a list of records is a table, one record is a list of lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

SHOWN_ROWS = 60
RED = {
    **dict.fromkeys(("failed", "refused", "different", "red", "interrupted"), "red"),
    **dict.fromkeys(("waiting", "awaited", "due"), "yellow"),
}


def render(answer: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> RenderableType:
    """A rich table of the answer; "nothing" where there is nothing to show."""
    if isinstance(answer, Mapping):
        return _record(answer)
    return _records(answer) if answer else "nothing"


def _record(answer: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in answer.items():
        nested = isinstance(value, (Mapping, list)) and value and not isinstance(value, str)
        table.add_row(name, render(value) if nested and _is_tabular(value) else _text(value))
    return table


def _records(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows[:SHOWN_ROWS]:
        table.add_row(*(_text(row.get(name)) for name in names))
    if len(rows) > SHOWN_ROWS:
        return Group(table, f"and {len(rows) - SHOWN_ROWS} more: use --json")
    return table


def _is_tabular(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and all(isinstance(row, Mapping) for row in value))


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value) or "-"
    text = escape(str(value))  # messages hold brackets of their own
    return f"[{RED[text]}]{text}[/]" if text in RED else text
