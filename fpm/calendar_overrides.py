"""Announcements of an exchange that the calendar library lacks: the operator's CSV file, sources included.

Columns `date,kind,source`; `kind` is one of
- ``closed``: no session on that day (a typhoon, a holiday of a new year);
- ``open``: a session that the calendar lacks, with the ordinary hours;
- ``early HH:MM``: a half day that ends at that local minute;
- ``late HH:MM``: a session that begins at that local minute (a typhoon that passes);
- ``hours HH:MM-HH:MM[,HH:MM-HH:MM]``: a session with hours of its own (a drill of two windows, an evening session);
- ``through``: the file has every closing up to that day, so later weekdays than the calendar's last are sessions too.

Nothing is guessed: without a ``through`` line the calendar ends where the library's ends.
"""

from __future__ import annotations

import csv
import io
import re
import stat
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COLUMNS = ("date", "kind", "source")
MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"
MOST_TEXT = 1 << 20  # bytes
SECRET = re.compile(r"(?i)://|password|passwd|secret|token")
TRADES = re.compile(rf"open|early {MINUTE}|late {MINUTE}|hours {MINUTE}-{MINUTE}(?:,{MINUTE}-{MINUTE})*")
Segments = tuple[tuple[int, int], ...]  # start and end minute of each stretch of trading


@dataclass(frozen=True)
class Override:
    """One announcement about a day; `kind` as in the file, `source` says who announced it and where."""

    day: date
    kind: str
    source: str

    def hours(self, ordinary: Segments) -> Segments:
        """The stretches of trading on that day, where it is a session."""
        word, _, times = self.kind.partition(" ")
        if word == "hours":
            return tuple(
                (_minute(start), _minute(end)) for start, end in (part.split("-") for part in times.split(","))
            )
        first, last = ordinary[0][0], ordinary[-1][1]
        first, last = (_minute(times), last) if word == "late" else (first, _minute(times) if word == "early" else last)
        return tuple((max(start, first), min(end, last)) for start, end in ordinary if start < last and first < end)


def _minute(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def read(path: Path) -> tuple[Override, ...]:
    """The overrides of a file, by day.

    Raises UsageError for a missing file, other columns, an invalid line, or two statements about one day.
    """
    try:
        text = small_text(path)
        lines = csv.DictReader(io.StringIO(text, newline=""))
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise _refusal(f"{path} has columns {str(lines.fieldnames)[:200]}, not {', '.join(COLUMNS)}")
        overrides = [_override(line, f"{path}, line {number}") for number, line in enumerate(lines, start=2)]
    except (OSError, ValueError, csv.Error) as wrong:
        raise _refusal(f"{path}: {wrong}") from None
    days = Counter(override.day for override in overrides if override.kind != "through")
    if twice := [day for day, count in days.most_common(1) if count > 1]:
        raise _refusal(f"{path} has two lines about {twice[0]}")
    return tuple(sorted(overrides, key=lambda override: (override.day, override.kind)))


def within(overrides: Sequence[Override], ordinary: Segments) -> tuple[Override, ...]:
    """The overrides, whose hours lie within the ordinary ones: a session is stored in the market's grid.

    Raises UsageError for a session that would begin earlier, end later, or have no minute at all.
    """
    for override in overrides:
        if override.kind in ("closed", "through"):
            continue
        own = override.hours(ordinary)
        overlapping = [
            sum(max(0, min(end, stop) - max(start, first)) for first, stop in ordinary) for start, end in own
        ]
        if not own or own[0][0] < ordinary[0][0] or own[-1][1] > ordinary[-1][1] or not all(overlapping):
            shown_hours = ", ".join(
                f"{start // 60:02d}:{start % 60:02d}-{end // 60:02d}:{end % 60:02d}" for start, end in ordinary
            )
            raise _refusal(f"{override.kind!r} of {override.day} does not lie within the market's {shown_hours}")
    return tuple(overrides)


def small_text(path: Path) -> str:
    """The text of a file that a person writes: a plain one, in UTF-8, of at most `MOST_TEXT` bytes.

    Raises OSError or ValueError with what is wrong.
    """
    if not path.exists():
        raise ValueError("there is no file of this name")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no plain file")
    with path.open("rb") as file:
        content = file.read(MOST_TEXT + 1)
    if len(content) > MOST_TEXT:
        raise ValueError(f"it has more than {MOST_TEXT >> 20} MB, ten years of announcements have a few kB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise ValueError(f"line {line} is not UTF-8 text: convert the file") from None


def shown(value: object) -> str:
    """A value of such a file for a message, in short; what may hold a password is not repeated.

    >>> shown("HK!"), shown("postgresql://me:hush@host/db")
    ("'HK!'", 'a text that looks like a secret')
    """
    text = repr(value)
    return "a text that looks like a secret" if SECRET.search(text) else text[:80]


def amend(
    sessions: Sequence[date], special: Mapping[date, Segments], ordinary: Segments, overrides: Sequence[Override]
) -> tuple[tuple[date, ...], dict[date, Segments]]:
    """Sessions in order, and the hours of those that are not `ordinary`, after the overrides."""
    days, hours = set(sessions), dict(special)
    for override in overrides:
        if override.kind == "through" and sessions:
            later = (sessions[-1] + timedelta(days=i) for i in range(1, (override.day - sessions[-1]).days + 1))
            days |= {day for day in later if day.weekday() < 5}
    for override in overrides:
        if override.kind == "through":
            continue
        hours.pop(override.day, None)
        if override.kind == "closed":
            days.discard(override.day)
            continue
        days.add(override.day)
        if (own := override.hours(ordinary)) != ordinary:
            hours[override.day] = own
    return tuple(sorted(days)), hours


def _override(line: Mapping[str, str | None], where: str) -> Override:
    kind, source = (line["kind"] or "").strip(), (line["source"] or "").strip()
    try:
        day = date.fromisoformat((line["date"] or "").strip())
    except ValueError:
        raise _refusal(f"{where}: {str(line['date'])[:40]!r} is no ISO date") from None
    if None in line:
        raise _refusal(f"{where}: more than {len(COLUMNS)} cells")
    if kind not in ("closed", "through") and not TRADES.fullmatch(kind):
        raise _refusal(f"{where}: {kind[:40]!r} is no kind")
    if kind.startswith("hours") and (stretches := sum(Override(day, kind, "").hours(()), ())) != tuple(
        sorted(set(stretches))
    ):
        raise _refusal(f"{where}: the hours {kind[6:46]!r} overlap, or end before they begin")
    if not source:
        raise _refusal(f"{where}: the source is empty")
    return Override(day, kind, source)


def _refusal(wrong: str) -> UsageError:
    return UsageError(
        code="FPM-CAL-003",
        wrong=f"calendar overrides: {wrong}",
        effect="nothing was done",
        todo="write date,kind,source; kind is closed, open, early HH:MM, late HH:MM, hours HH:MM-HH:MM or through",
    )
