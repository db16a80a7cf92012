"""A mandate: what one index's portfolio may do, read from a file that the manager writes.

    [CSI300]
    capital = 1e8
    tracking_error = 0.03
    rebalance = "weekly"
    costs = [{from = 2023-08-28, side = "sell", rate = 0.00076, minimum = 0.0}]
    half_lives = {volatility = 84, correlation = 252, specific = 84}

Every key may be left out: the default is that of SCIENCE section 10 for the index. Keys that are not known are refused.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from fpm.calendar_overrides import shown, small_text
from fpm.errors import UsageError
from fpm.portfolio.costs import A_SHARE, SIDES, Cost
from fpm.risk import half_lives
from fpm.risk.half_lives import OF_THE_HOME, HalfLives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

INDEX = re.compile(r"[^\s\x00-\x1f]([^\x00-\x1f]{0,62}[^\s\x00-\x1f])?")
STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
CHOICES = {"rebalance": ("weekly", "daily"), "candidates": ("market", "members")}
COST_KEYS = {"from", "side", "rate", "minimum"}
RANGES: dict[str, tuple[float, float]] = {  # both ends belong to the range
    "active": (1e-6, 1.0),
    "industry": (0.0, 1.0),
    "size": (0.0, 10.0),
    "style": (0.0, 10.0),
    "members": (0.0, 1.0),
    "turnover": (1e-6, 2.0),
    "tracking_error": (1e-6, 1.0),
    "cash": (0.0, 1.0),
    "capital": (1.0, 1e13),
    "participation": (1e-6, 1.0),
    "lot": (1, 1_000_000),
    "decimals": (0, 12),
    "impact": (0.0, 10.0),
    "risk_aversion": (0.0, 1e6),
    "second_solver": (0, 10_000),
}


@dataclass(frozen=True)
class Mandate:
    """What the portfolio of one index may do; weights are shares of 1, money is in the market's currency.

    `active`: most |weight - benchmark weight| of a name. `industry`, `size`, `style`: most active exposure to an
    industry, to size and to every other style (standard deviations). `members`: least weight of the index's members.
    `turnover`: most two-sided turnover of a rebalance. `tracking_error`: most per year. `cash`: most that lots leave.
    `participation`: most of a session's volume that a trade takes. `impact`: cost of a trade in daily volatilities at a
    whole session's volume, growing with the square root of its share.
    `decimals`: of a price at which a trade is booked. `stream`: name of the scores. `approval`: whether a decision
    waits for a person before it is filled. `half_lives`: of the index's risk model. `second_solver`: one decision of so
    many is solved again by another solver, 0 none.
    """

    index: str
    active: float = 0.01
    industry: float = 0.01
    size: float = 0.1
    style: float = 0.5
    members: float = 0.8
    turnover: float = 0.30
    tracking_error: float = 0.05
    cash: float = 0.01
    capital: float = 1e8
    participation: float = 0.1
    lot: int = 100
    decimals: int = 2
    costs: tuple[Cost, ...] = A_SHARE
    impact: float = 1.0
    risk_aversion: float = 50.0
    rebalance: str = "weekly"
    candidates: str = "market"
    stream: str = "dual"
    approval: bool = False
    half_lives: HalfLives = OF_THE_HOME
    second_solver: int = 20


def decimals_of(tick: float) -> int:
    """Decimals of prices on an exchange with this tick; 8 where it has none of its own (0).

    >>> decimals_of(0.01), decimals_of(0.05), decimals_of(0.0)
    (2, 2, 8)
    """
    return next((places for places in range(2, 8) if tick * 10**places >= 1 - 1e-9), 8) if tick else 8


def mandate_of(index: str) -> Mandate:
    """The default mandate of an index (SCIENCE section 10).

    >>> mandate_of("CSI300").active, mandate_of("CSI500").active
    (0.005, 0.01)
    """
    return replace(Mandate(index), active=0.005, tracking_error=0.03) if index == "CSI300" else Mandate(index)


def read_mandates(path: Path, default: Callable[[str], Mandate] = mandate_of) -> dict[str, Mandate]:
    """Mandates by index from a TOML file, one section an index; what it does not say is that of `default`.

    Raises UsageError for a file that is not there or a section that is not understood; every fault is named.
    """
    try:
        sections = tomllib.loads(small_text(path))
    except (OSError, ValueError, RecursionError) as wrong:
        raise _refused(f"{path}: {wrong}") from None
    faults = [] if sections else ["there is no section"]
    typed = {index: _typed(index, section, faults) for index, section in sections.items()}
    if faults:
        raise _refused(f"{path}: {'; '.join(faults)}")
    return {index: replace(default(index), **values) for index, values in typed.items()}


def _typed(index: str, section: Any, faults: list[str]) -> dict[str, Any]:
    """The values of one section as a mandate holds them; what is wrong with it is added to `faults`."""
    if not isinstance(section, dict) or not INDEX.fullmatch(index):
        faults.append(f"{index!r} is not a section named as an index")
        return {}
    kinds = {each.name: str(each.type) for each in fields(Mandate) if each.name != "index"}
    values: dict[str, Any] = {}
    for key, value in section.items():
        if key not in kinds:
            faults.append(f"[{index}] has the unknown key {key}")
        elif key == "costs":
            values[key] = _costs(index, value, faults)
        elif key == "half_lives":
            said = [f"[{index}] half_lives {text}" for text in half_lives.faults(value)]
            faults += said
            values[key] = OF_THE_HOME if said else half_lives.half_lives(value)
        elif wrong := _fault(key, kinds[key], value):
            faults.append(f"[{index}] {key} is {shown(value)}, {wrong}")
        else:
            values[key] = float(value) if kinds[key] == "float" else value
    return values


def _fault(key: str, kind: str, value: Any) -> str | None:
    """What is wrong with a plain value; None for nothing."""
    if kind == "str":
        if not isinstance(value, str):
            return "no text"
        if key in CHOICES and value not in CHOICES[key]:
            return f"not {' or '.join(CHOICES[key])}"
        return None if key in CHOICES or STREAM.fullmatch(value) else "no name of a stream"
    if kind == "bool":
        return None if isinstance(value, bool) else "not true or false"
    if not _is_number(value) or (kind == "int" and not isinstance(value, int)):
        return "no whole number" if kind == "int" else "no number"
    low, high = RANGES[key]
    return None if low <= value <= high else f"not from {low:g} to {high:g}"


def _costs(index: str, value: Any, faults: list[str]) -> tuple[Cost, ...]:
    rows = value if isinstance(value, list) else []
    wrong = [f"[{index}] costs row {number}: {text}" for number, row in enumerate(rows, 1) for text in _row_faults(row)]
    if not wrong:
        costs = tuple(
            Cost(row["from"], row["side"], float(row["rate"]), float(row.get("minimum", 0.0))) for row in rows
        )
        if len({(cost.since, cost.side) for cost in costs}) < len(costs):
            wrong = [f"[{index}] costs has two rows of one side and date"]
        elif {cost.side for cost in costs} == set(SIDES):
            return costs
        else:
            wrong = [f"[{index}] costs needs rows of both sides, buy and sell"]
    faults += wrong
    return ()


def _row_faults(row: Any) -> Iterator[str]:
    if not isinstance(row, dict):
        yield f"{shown(row)} is no table of from, side, rate, minimum"
        return
    yield from (f"the key {key} is unknown" for key in row if key not in COST_KEYS)
    since = row.get("from")
    if not isinstance(since, date) or isinstance(since, datetime):
        yield f"from is {shown(since)}, no date"
    if row.get("side") not in SIDES:
        yield f"side is {shown(row.get('side'))}, not buy or sell"
    for key, most in (("rate", 0.1), ("minimum", 1e6)):
        number: Any = row.get(key, 0.0 if key == "minimum" else None)
        if not _is_number(number) or not 0 <= number <= most:
            yield f"{key} is {shown(number)}, not from 0 to {most:g}"


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and (isinstance(value, int) or isfinite(value))
    )


def _refused(wrong: str) -> UsageError:
    return UsageError(
        code="FPM-PF-021",
        wrong=f"mandates: {wrong}",
        effect="nothing was done",
        todo="write one section an index with the keys of fpm/portfolio/mandate.py: Mandate",
    )
