"""Digests of code kept beside Python's own bytecode: to read a job's syntax trees takes seconds of processor time.

The name of the file holds the bytes of every source, so any change of any of them makes another file, as a change of a
module makes another bytecode. Where the folder may not be written to, nothing is kept.
"""

from __future__ import annotations

import json
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIX = "code_identity-"


def kept_digests(root: Path, packages: Collection[str]) -> dict[str, str]:
    """Digests of modules by their path, as kept for these very sources; none where nothing sound is kept."""
    try:
        digests = json.loads(_file(root, tuple(packages)).read_bytes())
    except (OSError, ValueError):
        return {}
    return digests if isinstance(digests, dict) else {}


def keep_digests(root: Path, packages: Collection[str], digests: Mapping[str, str]) -> None:
    """Keep digests for these sources, in place of those of other sources."""
    file = _file(root, tuple(packages))
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(exist_ok=True)
        unfinished.write_text(json.dumps(digests, sort_keys=True))
        unfinished.rename(file)
        for other in file.parent.glob(f"{PREFIX}*.json"):
            if other != file:
                other.unlink(missing_ok=True)
    except OSError:
        return


@cache
def _file(root: Path, packages: tuple[str, ...]) -> Path:
    """The file for the sources as they are when it is first asked for, as the running code was read then."""
    content = sha256(str(root).encode())
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            source = path.read_bytes()
            content.update(f"{path.relative_to(root)} {len(source)}\n".encode())
            content.update(source)
    return root / packages[0] / "__pycache__" / f"{PREFIX}{content.hexdigest()[:32]}.json"
