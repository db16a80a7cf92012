"""A factor's passport: its figures and the hashes of everything they follow from, as one sealed document.

The document is plain JSON in a reader's order. Its last key, `sha256`, is the digest of all other keys in canonical
form (sorted keys, no spaces), so a passport that was edited is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fpm.errors import InputRefused
from fpm.evaluation.figures import Figures
from fpm.json_documents import from_json
from fpm.report.data import ReportData, plain
from fpm.report.figure_text import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = "fpm.report.passport/1"
SEAL = "sha256"
# long series, left out: they are in the report's JSON twin, whose hash the passport has
SERIES = ("series", "weeks", "group_weeks", "turnover_weeks", "scored", "curve")


@dataclass(frozen=True)
class Difference:
    """The first difference of a passport from the actual values: its keys from the outside in, both values as text."""

    keys: tuple[str, ...]
    stated: str
    actual: str

    def __str__(self) -> str:
        return f"{' / '.join(self.keys)} is {self.actual}, the passport says {self.stated}"


def seal(content: Mapping[str, Any]) -> bytes:
    """Sealed document of JSON values; the same content gives the same bytes."""
    body = {"schema": SCHEMA, **content}
    return (json.dumps(body | {SEAL: _digest(body)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def unseal(document: bytes) -> dict[str, Any]:
    """Content of a passport, without schema and seal.

    Raises InputRefused where it is no JSON object, has another schema, or was changed after it was sealed.
    """
    try:
        body = from_json(document)
    except ValueError as error:
        raise _refused(code="FPM-PASS-001", wrong=f"the file is no JSON: {error}") from error
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise _refused(code="FPM-PASS-001", wrong=f"the file is no passport of schema {SCHEMA}")
    stated = body.pop(SEAL, None)
    if stated != _digest(body):
        raise _refused(
            code="FPM-PASS-002", wrong="the passport was changed after it was issued: its seal does not match"
        )
    del body["schema"]
    return body


def headline(report: ReportData) -> dict[str, Any]:
    """Every figure with its interval, by stream, pair, oracle and index, without series."""
    parts: dict[str, Mapping[str, Any]] = {
        "streams": report.streams,
        "comparisons": report.comparisons,
        "oracles": report.oracles,
        "portfolios": report.portfolios,
    }
    return {
        part: {name: plain(_fields(figures), without=SERIES) for name, figures in by_name.items()}
        for part, by_name in parts.items()
    }


def _fields(figures: Any) -> dict[str, Any]:
    return figures.to_dict() if isinstance(figures, Figures) else asdict(figures)


def first_difference(stated: Any, actual: Any, keys: Sequence[str] = ()) -> Difference | None:
    """First difference of two JSON values in the order of `stated`; None where they are equal.

    A key that only one of them has is a difference. 1 equals 1.0; no other values of different types are equal.
    """
    if isinstance(stated, dict) and isinstance(actual, dict):
        for name in dict.fromkeys((*stated, *actual)):
            inner = first_difference(stated.get(name, _MISSING), actual.get(name, _MISSING), (*keys, name))
            if inner is not None:
                return inner
        return None
    if isinstance(stated, list) and isinstance(actual, list) and len(stated) == len(actual):
        pairs = enumerate(zip(stated, actual, strict=True))
        return next((inner for n, pair in pairs if (inner := first_difference(*pair, (*keys, str(n))))), None)
    return None if _equal(stated, actual) else Difference(tuple(keys), _text(stated), _text(actual))


_MISSING = object()


def _equal(stated: Any, actual: Any) -> bool:
    return bool(stated == actual) and isinstance(stated, bool) is isinstance(actual, bool)


def _text(value: Any) -> str:
    return ABSENT if value is _MISSING else json.dumps(value, ensure_ascii=False)


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256(canonical.encode()).hexdigest()


def _refused(*, code: str, wrong: str) -> InputRefused:
    return InputRefused(
        code=code, wrong=wrong, effect="nothing was compared", todo="give the passport.json that fpm report wrote"
    )
