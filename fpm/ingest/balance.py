"""The law of an ingest: rows in = stored + quarantined + deduplicated + out of session, by file and by session."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import FpmError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from fpm.ingest.vendor_bars import Combined, Parsed

OUT_OF_SESSION = ("FPM-IN-027", "FPM-IN-029", "FPM-IN-135")  # another day, no minute of a session, no session at all
OUTCOMES = ("stored", "quarantined", "deduplicated", "out_of_session")
Counts = dict[str, int]


def by_file(files: Sequence[Parsed], combined: Combined) -> list[Counts]:
    """`rows_in` and `OUTCOMES` of every file, in order."""
    counts = [dict.fromkeys(OUTCOMES, 0) for _ in files]
    for outcome, rows in (("stored", combined.frame), ("deduplicated", combined.copies)):
        for source, number in rows.group_by("source").len().iter_rows():
            counts[source][outcome] += number
    for source, code, number in combined.quarantined.group_by("source", "reason_code").len().iter_rows():
        counts[source][_outcome(code)] += number
    for own, file in zip(counts, files, strict=True):
        for code, number in Counter(file.quarantined["reason_code"].to_list()).items():
            own[_outcome(code)] += number
    return [{"rows_in": file.report.rows, **own} for file, own in zip(files, counts, strict=True)]


def by_session(files: Sequence[Parsed], combined: Combined) -> dict[date | None, Counts]:
    """The same of every session (None: rows without a time), where `rows_in` counts the files' rows of that day."""
    counts: dict[date | None, Counts] = {}

    def add(session: date | None, outcome: str, number: int) -> None:
        counts.setdefault(session, dict.fromkeys(("rows_in", *OUTCOMES), 0))[outcome] += number

    parts = [rows.select("session") for file in files for rows in (file.frame, file.quarantined)]
    for rows, outcome in (
        *([(pl.concat(parts), "rows_in")] if parts else []),
        (combined.frame, "stored"),
        (combined.copies, "deduplicated"),
    ):
        for session, number in rows.group_by("session").len().iter_rows():
            add(session, outcome, number)
    faults = [file.quarantined.select("session", "reason_code") for file in files]
    faults.append(combined.quarantined.select("session", "reason_code"))
    for session, code, number in pl.concat(faults).group_by("session", "reason_code").len().iter_rows():
        add(session, _outcome(code), number)
    return counts


def check(counts: Mapping[str, int], name: str) -> None:
    """Raises FpmError where the rows of a file or a session do not balance: some are lost, or counted twice."""
    parts = sum(counts[outcome] for outcome in OUTCOMES)
    if counts["rows_in"] != parts:
        raise FpmError(
            code="FPM-IN-200",
            wrong=f"{name}: {counts['rows_in']} rows in, but {parts} accounted for ({_in_words(counts)})",
            effect="nothing of its batch was stored",
            todo="this is a fault of fpm: report it with the file",
        )


def lost(sessions: Mapping[date | None, Counts], faults: pl.DataFrame) -> dict[str, str]:
    """Sessions of which rows came and none was stored, each with its codes: `faults` has session and reason_code."""
    days = sorted(day for day, counts in sessions.items() if day and counts["rows_in"] and not _kept(counts))
    codes = {day: Counter(faults.filter(faults["session"] == day)["reason_code"].to_list()) for day in days}
    return {str(day): ", ".join(f"{code} x {count}" for code, count in most_first(codes[day])) for day in days}


def most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Names with their counts, the highest first, equal ones by name whatever the order in which they were counted.

    >>> most_first({"b": 1, "a": 1, "c": 2})
    [('c', 2), ('a', 1), ('b', 1)]
    """
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _kept(counts: Counts) -> int:
    return counts["stored"] + counts["deduplicated"]


def _outcome(code: str) -> str:
    return "out_of_session" if code in OUT_OF_SESSION else "quarantined"


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[outcome]} {outcome.replace('_', ' ')}" for outcome in OUTCOMES)
