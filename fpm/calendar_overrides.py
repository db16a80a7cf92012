"""What an exchange announced after the calendar library was made: a CSV file of the operator's, sources included.

Columns `date,kind,source`; `kind` is one of
- ``closed``: no session on that day (a typhoon, a holiday of a new year);
- ``open``: a session the calendar does not have;
- ``early HH:MM``: a half day that ends at that local minute;
- ``through``: the file knows every closing up to that day, so weekdays behind the calendar's end are sessions, too.

Nothing is guessed: without a ``through`` line the calendar ends where the library's does.
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
    """One announced fact about a day; `kind` as in the file, `source` where it was announced."""

    day: date
    kind: str
    source: str

    @property
    def ends(self) -> int | None:
        """The local minute of the day at which a half day ends, None for any other kind."""
        found = EARLY.fullmatch(self.kind)
        return int(found[1]) * 60 + int(found[2]) if found else None


def read(path: Path) -> tuple[Override, ...]:
    """The overrides of a file, by day. Raises UsageError for a missing file or a line that is not understood."""
    if not path.is_file():
        raise _refused(f"there is no file {path}")
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.DictReader(file)
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise _refused(f"{path} has columns {lines.fieldnames}, not {', '.join(COLUMNS)}")
        found = [_override(line, f"{path}, line {number}") for number, line in enumerate(lines, start=2)]
    days = [each.day for each in found if each.kind != "through"]
    if len(set(days)) < len(days):
        raise _refused(f"{path} says something twice about {max(days, key=days.count)}")
    return tuple(sorted(found, key=lambda each: (each.day, each.kind)))


def applied(
    sessions: Sequence[date], early: Mapping[date, int], overrides: Sequence[Override]
) -> tuple[tuple[date, ...], dict[date, int]]:
    """Sessions in order and the minute at which each half day ends, after the overrides."""
    known, ends = set(sessions), dict(early)
    for each in overrides:
        if each.kind == "through" and sessions:
            behind = (sessions[-1] + timedelta(days=i) for i in range(1, (each.day - sessions[-1]).days + 1))
            known |= {day for day in behind if day.weekday() < 5}
    for each in overrides:
        if each.kind == "closed":
            known.discard(each.day)
            ends.pop(each.day, None)
        elif each.kind != "through":
            known.add(each.day)
            ends.pop(each.day, None)
            if each.ends is not None:
                ends[each.day] = each.ends
    return tuple(sorted(known)), ends


def _override(line: Mapping[str, str | None], where: str) -> Override:
    kind, source = (line["kind"] or "").strip(), (line["source"] or "").strip()
    try:
        day = date.fromisoformat((line["date"] or "").strip())
    except ValueError:
        raise _refused(f"{where}: {line['date']!r} is no ISO date") from None
    if kind not in ("closed", "open", "through") and not EARLY.fullmatch(kind):
        raise _refused(f"{where}: {kind!r} is no kind")
    if not source:
        raise _refused(f"{where}: where was it announced?")
    return Override(day, kind, source)


def _refused(wrong: str) -> UsageError:
    todo = "write date,kind,source; kind is closed, open, early HH:MM or through"
    return UsageError(code="FPM-CAL-003", wrong=f"calendar overrides: {wrong}", effect="nothing was done", todo=todo)
