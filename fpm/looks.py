"""Looks at a market's figures that a home does not know of: a CSV file that survives homes (`FPM_LOOKS`).

Columns `date,market,setting,what`: the day of the look, the market's name (`nse15`), the setting as the report names it
or any name of its own, and in words what was looked at. A home counts the settings that were trained in it; each
setting of this file that was not is one more trial of the deflated Sharpe ratio.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from fpm.calendar_overrides import shown, small_text
from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLUMNS = ("date", "market", "setting", "what")


@dataclass(frozen=True)
class Look:
    """One look at the figures of a setting."""

    day: date
    market: str
    setting: str
    what: str


def read_looks(path: Path) -> tuple[Look, ...]:
    """The rows of such a file. Raises UsageError for a file that is not understood; every faulty line is named."""
    try:
        lines = list(csv.reader(io.StringIO(small_text(path)), strict=True))
    except (OSError, ValueError, csv.Error) as wrong:
        raise _refused(f"{path}: {wrong}") from None
    if not lines or tuple(lines[0]) != COLUMNS:
        raise _refused(f"{path}: the first line is not {','.join(COLUMNS)}")
    looks = {number: _look(cells) for number, cells in enumerate(lines[1:], 2)}
    faults = [
        f"line {number} is no day, market, setting and words: {shown(','.join(lines[number - 1]))}"
        for number, look in looks.items()
        if look is None
    ]
    if faults:
        raise _refused(f"{path}: {'; '.join(faults)}")
    return tuple(look for look in looks.values() if look is not None)


def _look(cells: Sequence[str]) -> Look | None:
    """The look of a line; None where it is none."""
    texts = [cell.strip() for cell in cells]
    if len(texts) != len(COLUMNS) or not all(texts):
        return None
    try:
        return Look(date.fromisoformat(texts[0]), *texts[1:])
    except ValueError:
        return None


def _refused(wrong: str) -> UsageError:
    return UsageError(
        code="FPM-CFG-104",
        wrong=f"the file of looks: {wrong}",
        effect="nothing was done",
        todo="write lines date,market,setting,what: see docs/protocol.md",
    )
