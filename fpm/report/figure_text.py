"""Figures as text for people: an absent figure is a dash, never 0; a negative one has a real minus sign."""

from __future__ import annotations

from math import isfinite
from typing import Protocol

ABSENT = "\u2013"
MINUS = "\u2212"


class Ends(Protocol):
    """Anything with two ends, such as an `Interval`."""

    @property
    def low(self) -> float:
        """Lower end."""
        ...

    @property
    def high(self) -> float:
        """Upper end."""
        ...


def number(value: float | None, digits: int = 3) -> str:
    """A number with its thousands separated; None, NaN and infinities are absent.

    >>> number(1234.5), number(-0.05, 2), number(None)
    ('1,234.500', '\u22120.05', '\u2013')
    """
    return ABSENT if value is None or not isfinite(value) else f"{value:,.{digits}f}".replace("-", MINUS)


def count_or_number(value: float | None) -> str:
    """A number, without decimals if it is whole and at least 10: 512.0 -> 512, 0.5 -> 0.500."""
    return number(value, 0 if value is not None and abs(value) >= 10 and float(value).is_integer() else 3)


def percent(value: float | None, digits: int = 2) -> str:
    """A share in percent: 0.1234 -> 12.34 %."""
    return ABSENT if value is None or not isfinite(value) else f"{number(value * 100, digits)} %"


def interval(value: Ends | None, digits: int = 3) -> str:
    """Two ends as '[low, high]'."""
    return ABSENT if value is None else f"[{number(value.low, digits)}, {number(value.high, digits)}]"


def percent_interval(value: Ends | None, digits: int = 1) -> str:
    """Two ends in percent, as '[low %, high %]'."""
    return ABSENT if value is None else f"[{percent(value.low, digits)}, {percent(value.high, digits)}]"


def several(count: int, noun: str) -> str:
    """A count with its noun: 1 session, 2 sessions, 1,000 sessions."""
    return f"{number(count, 0)} {noun}{'' if count == 1 else 's'}"
