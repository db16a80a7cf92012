"""Answers that take long to compute, kept in the home until something that they were computed from changes."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, LiteralString

from fpm.store.jobs.code_identity import code_digest
from fpm.store.jobs.inputs import digest
from fpm.store.lake.small_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from fpm.store.ledger.stores import Stores

_FILES: LiteralString = """
SELECT encode(sha256(convert_to(string_agg(path || ' ' || sha256, E'\\n' ORDER BY path COLLATE "C"), 'UTF8')), 'hex')
FROM fpm.files WHERE "table" = ANY(%s) AND session <= %s
"""


def content_of(file: str, tables: Sequence[str], last: date, beside: Sequence[object], stores: Stores) -> str:
    """Digest of what an answer depends on: the code of a module, the files of tables up to a session, and the rest."""
    ((files,),) = stores.ledger.query(_FILES, (list(tables), last))
    decided = sorted(stores.ledger.deployment().items())
    return digest([code_digest(file), decided, stores.market.name, stores.settings.preset, files, *beside])


def is_kept(question: Sequence[str], stores: Stores) -> bool:
    """Whether there is an answer to a question, from whatever content."""
    return _file(question, stores).is_file()


def kept(question: Sequence[str], content: str, stores: Stores) -> dict[str, Any] | None:
    """The answer to a question from this content; None where there is none or its file is damaged."""
    try:
        note = json.loads(_file(question, stores).read_bytes())
        body, answer = note["answer"], json.loads(note["answer"])
        is_sound = note["content"] == content and note["sha256"] == sha256(body.encode()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return answer if is_sound and isinstance(answer, dict) else None


def keep(question: Sequence[str], content: str, answer: dict[str, Any], stores: Stores) -> None:
    """Keep the answer to a question, in place of the one before."""
    body = json.dumps(answer)
    note = {"question": list(question), "content": content, "sha256": sha256(body.encode()).hexdigest(), "answer": body}
    write_whole(_file(question, stores), json.dumps(note).encode())


def _file(question: Sequence[str], stores: Stores) -> Path:
    return stores.settings.home / "answers" / f"{digest(question)}.json"
