"""A factor's passport: what its figures are, and the hashes of everything they follow from, as one sealed document.

Plain JSON in a reader's order. `sha256`, its last key, is the digest of all the others in canonical form (sorted keys,
no spaces): a passport that was edited does not open.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fpm.errors import InputRefused
from fpm.report.data import ReportData, plain
from fpm.report.figure_text import ABSENT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = "fpm.report.passport/1"
SEAL = "sha256"
SERIES = (
    "series",
    "weeks",
    "group_weeks",
    "turnover_weeks",
    "curve",
)  # long, and each a matter of the report's twin, whose hash is told


@dataclass(frozen=True)
class Difference:
    """The first place where a passport and what is found part: keys from the outside in, and both values as text."""

    at: tuple[str, ...]
    stated: str
    found: str

    def __str__(self) -> str:
        return f"{' / '.join(self.at)} is {self.found}, the passport says {self.stated}"


def seal(content: Mapping[str, Any]) -> bytes:
    """The document of `content`, JSON values alone; the same content gives the same bytes."""
    body = {"schema": SCHEMA, **content}
    return (json.dumps(body | {SEAL: _seal(body)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def unseal(document: bytes) -> dict[str, Any]:
    """The content of a passport without schema and seal.

    Raises InputRefused where it is no JSON object, of another schema, or not what was sealed.
    """
    try:
        body = json.loads(document)
    except ValueError as wrong:
        raise _refused("FPM-PASS-001", f"the file is no JSON: {wrong}") from wrong
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise _refused("FPM-PASS-001", f"the file is no passport of schema {SCHEMA}")
    stated = body.pop(SEAL, None)
    if stated != _seal(body):
        raise _refused("FPM-PASS-002", "the passport is not what was sealed: it was changed after it was issued")
    del body["schema"]
    return body


def headline(data: ReportData) -> dict[str, Any]:
    """Every figure with its interval, by stream, pair, oracle and index; whole series left out."""
    return {
        "streams": {name: plain(asdict(each), without=SERIES) for name, each in data.streams.items()},
        "comparisons": {name: plain(asdict(each), without=SERIES) for name, each in data.comparisons.items()},
        "oracles": {name: plain(asdict(each), without=SERIES) for name, each in data.oracles.items()},
        "portfolios": {name: plain(asdict(each), without=SERIES) for name, each in data.portfolios.items()},
    }


def first_difference(stated: Any, found: Any, at: Sequence[str] = ()) -> Difference | None:
    """Where two JSON values first differ, in the order of `stated`; None where they are equal.

    A key that only one of them has is a difference. 1 and 1.0 are equal, nothing else of two types is.
    """
    if isinstance(stated, dict) and isinstance(found, dict):
        for name in dict.fromkeys((*stated, *found)):
            inner = first_difference(stated.get(name, _NOTHING), found.get(name, _NOTHING), (*at, name))
            if inner is not None:
                return inner
        return None
    if isinstance(stated, list) and isinstance(found, list) and len(stated) == len(found):
        pairs = enumerate(zip(stated, found, strict=True))
        return next((inner for n, pair in pairs if (inner := first_difference(*pair, (*at, str(n))))), None)
    return None if _same(stated, found) else Difference(tuple(at), _told(stated), _told(found))


_NOTHING = object()


def _same(stated: Any, found: Any) -> bool:
    return bool(stated == found) and isinstance(stated, bool) is isinstance(found, bool)


def _told(value: Any) -> str:
    return ABSENT if value is _NOTHING else json.dumps(value, ensure_ascii=False)


def _seal(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256(canonical.encode()).hexdigest()


def _refused(code: str, wrong: str) -> InputRefused:
    return InputRefused(
        code=code, wrong=wrong, effect="nothing was compared", todo="give the passport.json that fpm report wrote"
    )
