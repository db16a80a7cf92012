"""Facts that take long to work out, kept beside Python's own bytecode, as JSON.

The key says everything that the facts follow from; other facts of the same kind make way. Where the folder may not be
written to, nothing is kept and everything is worked out again.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "__pycache__"


def kept(kind: str, key: str) -> Any:
    """The facts of a kind under this key; None where nothing sound is kept."""
    try:
        return json.loads(_file(kind, key).read_bytes())
    except (OSError, ValueError):
        return None


def keep(kind: str, key: str, facts: Any) -> None:
    """Keep facts (JSON values) in place of those of the same kind under another key."""
    file = _file(kind, key)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        FOLDER.mkdir(exist_ok=True)
        unfinished.write_text(json.dumps(facts), encoding="utf-8")
        unfinished.rename(file)
        for other in FOLDER.glob(f"{kind}-*.json"):
            if other != file:
                other.unlink(missing_ok=True)
    except OSError:
        return


def _file(kind: str, key: str) -> Path:
    return FOLDER / f"{kind}-{sha256(key.encode()).hexdigest()[:32]}.json"
