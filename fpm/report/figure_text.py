"""How figures are spelled for people: an absent one is a dash, never 0; a negative one has a real minus."""

from __future__ import annotations

from math import isfinite
from typing import Protocol

ABSENT = "\u2013"
MINUS = "\u2212"


class Ends(Protocol):
    """Anything with two ends, such as an `Interval`."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def number(value: float | None, digits: int = 3) -> str:
    """-1234.5 -> \u22121,234.500; None, NaN and infinities are absent."""
    return ABSENT if value is None or not isfinite(value) else f"{value:,.{digits}f}".replace("-", MINUS)


def count_or_number(value: float | None) -> str:
    """A whole number from 10 on has no decimals: 512.0 -> 512, 0.5 -> 0.500."""
    return number(value, 0 if value is not None and abs(value) >= 10 and float(value).is_integer() else 3)


def percent(value: float | None, digits: int = 2) -> str:
    """0.1234 -> 12.34 %."""
    return ABSENT if value is None or not isfinite(value) else f"{number(value * 100, digits)} %"


def interval(value: Ends | None, digits: int = 3) -> str:
    """Two ends as "[low, high]"."""
    return ABSENT if value is None else f"[{number(value.low, digits)}, {number(value.high, digits)}]"


def percent_interval(value: Ends | None, digits: int = 1) -> str:
    """The same in percent."""
    return ABSENT if value is None else f"[{percent(value.low, digits)}, {percent(value.high, digits)}]"


def several(count: int, noun: str) -> str:
    """1 session, 2 sessions, 1,000 sessions."""
    return f"{number(count, 0)} {noun}{'' if count == 1 else 's'}"
