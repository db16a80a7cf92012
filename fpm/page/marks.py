"""States as a word and a shape, so that nobody needs their colour; moments and ages as text."""

from __future__ import annotations

from datetime import UTC, datetime

MARKS = {
    "green": "\u25cf",
    "red": "\u25b2",
    "due": "\u25d0",
    "awaited": "\u25cb",
    "running": "\u25b6",
    "absent": "\u25a1",
}
"""State -> the shape before its word."""


def moment(at: datetime | None) -> str:
    """A moment to the minute, in UTC as everywhere in the program."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def age(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> age(42), age(3720), age(200_000)
    ('42 s', '1 h 2 min', '2 d 7 h')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def size(count: float) -> str:
    """Bytes for a person.

    >>> size(999), size(3_200_000), size(88e9)
    ('999 B', '3.2 MB', '88.0 GB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
