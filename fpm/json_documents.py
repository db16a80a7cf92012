"""Documents of JSON that may be damaged: any fault is a ValueError, and a sealed one shows every change."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

SEAL = "seal"


def from_json(content: bytes | str) -> Any:
    """The values of a document. NaN, infinity and halves of a UTF-16 pair are no JSON.

    Raises ValueError, for a document that nests without end too.

    >>> from_json(b'{"a": [1, null]}')
    {'a': [1, None]}
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        values = json.loads(text, parse_constant=_no_constant)
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    return values


def sealed(values: dict[str, Any], indent: int | None = None) -> bytes:
    """A document with the digest of its values, for `unsealed`."""
    return json.dumps({**values, SEAL: _digest(values)}, indent=indent).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """The values of a sealed document, without the seal. Raises ValueError where they are not those that were sealed.

    >>> unsealed(sealed({"rows": 3}))
    {'rows': 3}
    """
    values = from_json(content)
    if not isinstance(values, dict) or values.pop(SEAL, None) != _digest(values):
        raise ValueError("it was changed after it was written")
    return values


def _digest(values: dict[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")
