"""The facts of one exchange that no calendar has: a dataclass, and the TOML files that hold them, ours and your own."""

from __future__ import annotations

import re
import tomllib
import warnings
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from fpm.calendar_overrides import shown, small_text
from fpm.errors import UsageError
from fpm.price_limits import Limit, limits_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

CODES = "[0-9A-Z][0-9A-Z&._-]*"
RANGES: dict[str, tuple[float, float]] = {  # both ends belong to the range
    "lot": (1, 1_000_000),
    "tick": (0.0, 1e6),
    "max_missing": (0.0, 1.0),
    "sessions_per_year": (1, 366),
}
TIMES = {  # the latest hour of each; the cut-off may lie on the day after
    "opening_call": 24,
    "closing_call": 24,
    "closing_call_begins": 24,
    "cut_off": 47,
}


@dataclass(frozen=True)
class Exchange:
    """Facts of one exchange that its calendar lacks; times are local, `HH:MM`.

    `calendar`: name in exchange_calendars, "" for a venue that never closes (UTC day as session).
    `opening_call`, `closing_call`: label of the bar that holds a call auction alone, where vendors deliver it as one;
    `closing_call_begins`: the continuous auction ends there; `closing_call_since`: symbol suffix -> first day of the
    closing call, before which the last bar was continuous.
    `lot`: shares of a board lot; `volume_unit`: shares | lots where every vendor means that, "" where vendors differ.
    `tick`: smallest price step where one holds for all symbols, 0 otherwise. `whole_shares`: no fraction trades.
    `adjusts`: splits and dividends exist, so prices may be adjusted for them.
    `every_minute`: vendors deliver a row for every minute, so an absent row is a lost one.
    `max_missing`: share of a session's minutes that a symbol may lack before its session is set aside.
    `codes`: the regular expression of a code without its suffix. `limits`: `fpm.price_limits`, none where none hold.
    """

    name: str
    calendar: str
    suffix: str
    currency: str = ""
    opening_call: str = ""
    closing_call: str = ""
    closing_call_begins: str = ""
    closing_call_since: Mapping[str, date] = field(default_factory=dict)
    lot: int = 1
    volume_unit: str = ""
    tick: float = 0.0
    whole_shares: bool = True
    adjusts: bool = True
    every_minute: bool = False
    max_missing: float = 0.25
    codes: str = CODES
    limits: tuple[Limit, ...] = ()
    cut_off: str = "20:00"
    sessions_per_year: int = 252
    sources: tuple[str, ...] = ()


@cache
def shipped() -> dict[str, Exchange]:
    """The exchanges whose facts come with the package, by name."""
    folder = resources.files("fpm").joinpath("exchanges")
    files = sorted((path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)
    return {
        name: each for path in files for name, each in _exchanges(path.read_text(encoding="utf-8"), path.name).items()
    }


def read_exchanges(path: Path) -> dict[str, Exchange]:
    """The operator's exchanges: one TOML section each, named as on the command line.

    Raises UsageError for a file that is not there or a section that is not understood; every fault is named.
    """
    try:
        text = small_text(path)
    except (OSError, ValueError) as wrong:
        raise file_refused(f"{path}: {wrong}") from None
    own = _exchanges(text, str(path))
    import exchange_calendars

    names = {"", *exchange_calendars.get_calendar_names(include_aliases=True)}
    if unknown := [
        f"[{name}] calendar is {shown(each.calendar)}, none of exchange_calendars"
        for name, each in own.items()
        if each.calendar not in names
    ]:
        raise file_refused(f"{path}: {'; '.join(unknown)}")
    return own


def _exchanges(text: str, where: str) -> dict[str, Exchange]:
    try:
        sections = tomllib.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise file_refused(f"{where}: {wrong}") from None
    faults: list[str] = []
    exchanges = {name: _exchange(name, section, faults) for name, section in sections.items()}
    if faults:
        raise file_refused(f"{where}: {'; '.join(faults)}")
    return exchanges


def _exchange(name: str, section: Any, faults: list[str]) -> Exchange:
    """One section; what is wrong with it is added to `faults`."""
    kinds: dict[str, tuple[type, ...]] = {
        each.name: {"int": (int,), "float": (float, int), "bool": (bool,), "str": (str,)}.get(
            str(each.type), (list, dict)
        )
        for each in fields(Exchange)
        if each.name != "name"
    }
    if not isinstance(section, dict) or not re.fullmatch(r"[A-Za-z_]+", name):
        faults.append(f"{name} is not a section named by letters")
        return Exchange(name, "", "")
    typed = {}
    for key, value in section.items():
        if key not in kinds:
            faults.append(f"[{name}] has the unknown key {key}")
        elif not isinstance(value, kinds[key]) or (isinstance(value, bool) and bool not in kinds[key]):
            faults.append(f"[{name}] {key} is {shown(value)}")
        else:
            typed[key] = value
    faults += [f"[{name}] lacks {key}" for key in ("calendar", "suffix") if key not in section]
    faults += _value_faults(name, typed)
    limits = limits_of(name, section.get("limits", []), faults)
    if faults:
        return Exchange(name, "", "")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in section.items()}
    return Exchange(name, **{**values, "limits": limits})


def _value_faults(name: str, section: Mapping[str, Any]) -> Iterable[str]:
    for key, latest in TIMES.items():
        text = str(section.get(key) or "00:00")
        if not re.fullmatch(r"[0-9]{2}:[0-5][0-9]", text) or int(text[:2]) > latest:
            yield f"[{name}] {key} is {shown(section[key])}, not HH:MM"
    if section.get("volume_unit", "") not in ("", "shares", "lots"):
        yield f"[{name}] volume_unit is {shown(section['volume_unit'])}, not shares or lots"
    if not re.fullmatch(r"[A-Z0-9]{1,8}", str(section.get("suffix", "A"))):
        yield f"[{name}] suffix is {shown(section['suffix'])}, not letters and digits"
    for key, (low, high) in RANGES.items():
        if not low <= section.get(key, low) <= high:  # nan is in no range
            yield f"[{name}] {key} is {shown(section[key])}, not from {low:g} to {high:g}"
    yield from _list_faults(name, section)
    try:
        with warnings.catch_warnings(action="error"):  # what another Python would read otherwise
            re.compile(str(section.get("codes", "")))
    except (re.error, OverflowError, RecursionError, FutureWarning, DeprecationWarning) as wrong:
        yield f"[{name}] codes is no regular expression: {wrong}"


def _list_faults(name: str, section: Mapping[str, Any]) -> Iterable[str]:
    sources, since = section.get("sources", []), section.get("closing_call_since", {})
    if not isinstance(sources, list) or not all(isinstance(text, str) for text in sources):
        yield f"[{name}] sources is {shown(sources)}, no list of texts"
    if not isinstance(since, dict):
        yield f"[{name}] closing_call_since is {shown(since)}, no table of suffixes and days"
        return
    for suffix, day in since.items():
        if not isinstance(day, date) or isinstance(day, datetime):
            yield f"[{name}] closing_call_since {shown(suffix)} is {shown(day)}, no day"


def file_refused(wrong: str) -> UsageError:
    """The refusal of a file of exchanges, for the caller to raise."""
    return UsageError(
        code="FPM-CFG-015",
        wrong=f"markets: {wrong}",
        effect="nothing was done",
        todo="write one section an exchange with the keys of fpm/exchange_facts.py: Exchange (docs/markets.md)",
    )
