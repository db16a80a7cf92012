"""Announcements of an exchange that the calendar library lacks: the operator's CSV file, sources included.

Columns `date,kind,source`; `kind` is one of
- ``closed``: no session on that day (a typhoon, a holiday of a new year);
- ``open``: a session that the calendar lacks;
- ``early HH:MM``: a half day that ends at that local minute;
- ``through``: the file has every closing up to that day, so later weekdays than the calendar's last are sessions too.

Nothing is guessed: without a ``through`` line the calendar ends where the library's ends.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COLUMNS = ("date", "kind", "source")
EARLY = re.compile(r"early ([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class Override:
    """One announcement about a day; `kind` as in the file, `source` says who announced it and where."""

    day: date
    kind: str
    source: str

    @property
    def early_close(self) -> int | None:
        """The local minute of the day at which a half day ends; None for any other kind."""
        match = EARLY.fullmatch(self.kind)
        return int(match[1]) * 60 + int(match[2]) if match else None


def read(path: Path) -> tuple[Override, ...]:
    """The overrides of a file, by day.

    Raises UsageError for a missing file, other columns, an invalid line, or two statements about one day.
    """
    if not path.is_file():
        raise _refusal(f"there is no file {path}")
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise _refusal(f"{path} has columns {lines.fieldnames}, not {', '.join(COLUMNS)}")
        overrides = [_override(line, f"{path}, line {number}") for number, line in enumerate(lines, start=2)]
    days = [override.day for override in overrides if override.kind != "through"]
    if len(set(days)) < len(days):
        raise _refusal(f"{path} has two lines about {max(days, key=days.count)}")
    return tuple(sorted(overrides, key=lambda override: (override.day, override.kind)))


def amend(
    sessions: Sequence[date], early_closes: Mapping[date, int], overrides: Sequence[Override]
) -> tuple[tuple[date, ...], dict[date, int]]:
    """Sessions in order, and by half day the minute at which it ends, after the overrides."""
    days, closes = set(sessions), dict(early_closes)
    for override in overrides:
        if override.kind == "through" and sessions:
            later = (sessions[-1] + timedelta(days=i) for i in range(1, (override.day - sessions[-1]).days + 1))
            days |= {day for day in later if day.weekday() < 5}
    for override in overrides:
        if override.kind == "closed":
            days.discard(override.day)
            closes.pop(override.day, None)
        elif override.kind != "through":
            days.add(override.day)
            closes.pop(override.day, None)
            if override.early_close is not None:
                closes[override.day] = override.early_close
    return tuple(sorted(days)), closes


def _override(line: Mapping[str, str | None], where: str) -> Override:
    kind, source = (line["kind"] or "").strip(), (line["source"] or "").strip()
    try:
        day = date.fromisoformat((line["date"] or "").strip())
    except ValueError:
        raise _refusal(f"{where}: {line['date']!r} is no ISO date") from None
    if kind not in ("closed", "open", "through") and not EARLY.fullmatch(kind):
        raise _refusal(f"{where}: {kind!r} is no kind")
    if not source:
        raise _refusal(f"{where}: the source is empty")
    return Override(day, kind, source)


def _refusal(wrong: str) -> UsageError:
    return UsageError(
        code="FPM-CAL-003",
        wrong=f"calendar overrides: {wrong}",
        effect="nothing was done",
        todo="write date,kind,source; kind is closed, open, early HH:MM or through",
    )
