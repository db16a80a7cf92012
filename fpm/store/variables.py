"""The environment's `FPM_` variables by name: a misspelt one would silently leave its setting at the default."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# feature_store.yaml reads these: `fpm connection --feast` prints them for the `feast` command, nothing here uses them
FEAST = tuple(f"FPM_FEAST_{part}" for part in ("REGISTRY", "LAKE", "LEDGER", "ONLINE", "PLACE"))
FAULT = "FPM_FAULT"  # of tests, see `faults`


def require_known(environment: Mapping[str, str], settings: Iterable[str]) -> None:
    """Refuse a variable that belongs to none of the settings. Raises UsageError with the name most like it."""
    variables = {*(f"FPM_{name}".upper() for name in settings), FAULT, *FEAST}
    unknown = sorted(name for name in environment if name.upper().startswith("FPM_") and name.upper() not in variables)
    if unknown:
        names = "; ".join(f"{name} ({_suggestion(name.upper(), variables)})" for name in unknown)
        raise UsageError(
            code="FPM-CFG-001",
            wrong=f"unknown setting {names}",
            effect="nothing was done",
            todo=f"use {', '.join(sorted(variables))}",
        )


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "no setting has a similar name"
