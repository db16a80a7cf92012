"""Half-lives of the risk model that a mandate sets, in sessions; what it leaves out is the home's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from fpm.calendar_overrides import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm.risk.estimate import RiskConfig

RANGE = (5.0, 1000.0)  # a week, within which nothing can be estimated, to twice the estimation's window


@dataclass(frozen=True)
class HalfLives:
    """Half-lives of factor volatilities, factor correlations and specific variances; None: as the home's preset."""

    volatility: float | None = None
    correlation: float | None = None
    specific: float | None = None

    def of(self, config: RiskConfig) -> RiskConfig:
        """The settings with these half-lives; equal settings are equal models."""
        return replace(config, **{name: value for name, value in asdict(self).items() if value is not None})


OF_THE_HOME = HalfLives()
KEYS = tuple(each.name for each in fields(HalfLives))


def half_lives(value: Any) -> HalfLives:
    """The half-lives of a table without `faults`."""
    return HalfLives(**{name: float(number) for name, number in value.items()})


def faults(value: Any) -> Iterator[str]:
    """What is wrong with a table of half-lives, a text each."""
    if not isinstance(value, dict):
        yield f"is {shown(value)}, no table of {', '.join(KEYS)}"
        return
    low, high = RANGE
    for key, number in value.items():
        if key not in KEYS:
            yield f"has the unknown key {key}"
        elif isinstance(number, bool) or not isinstance(number, int | float):
            yield f"{key} is {shown(number)}, no number"
        elif not low <= number <= high:  # nan is in no range
            yield f"{key} is {shown(number)}, not from {low:g} to {high:g}"
