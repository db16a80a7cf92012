"""Responses as data: the status, the content and the headers, and how they are sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Send

    from fpm.store.http.requests import RequestRefused


@dataclass(frozen=True)
class Answer:
    """A response; the content is JSON, but for the metrics."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


def document(content: Any, headers: dict[str, str] | None = None) -> Answer:
    """A JSON document that was read: moments in UTC and days as text."""
    return Answer(200, json.dumps(content, default=_moment_text).encode(), headers or {})


def between() -> Answer:
    """The refusal while publications follow one another."""
    return error(
        503,
        code="FPM-HTTP-083",
        wrong="a session is being published",
        todo="ask again",
        headers={"retry-after": "1"},
    )


def refused(refusal: RequestRefused) -> Answer:
    """A refusal as a response."""
    extra = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "60"}}.get(refusal.status, {})
    return error(
        refusal.status,
        code=refusal.code,
        wrong=refusal.wrong,
        todo=refusal.todo,
        headers={**refusal.headers, **extra},
    )


def error(status: int, *, code: str, wrong: str, todo: str, headers: dict[str, str] | None = None) -> Answer:
    """A refusal in words."""
    content = json.dumps({"error": {"code": code, "wrong": wrong, "todo": todo}}).encode()
    return Answer(status, content, headers or {})


async def deliver(answer: Answer, send: Send) -> None:
    """Send a response; nobody may keep it."""
    headers = {"content-type": "application/json", "content-length": str(len(answer.content)), **answer.headers}
    raw = [(name.encode(), value.encode()) for name, value in {**headers, "cache-control": "no-store"}.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.content})


@lru_cache(maxsize=4096)  # the rows of a publication share their moments
def _moment_text(moment: date) -> str:
    return (moment.astimezone(UTC) if isinstance(moment, datetime) else moment).isoformat()
