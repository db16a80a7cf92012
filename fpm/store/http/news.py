"""Publications as news: one connection listens for all who wait, and no one who waits holds a thread or a connection.

A notification is a reason to look, as is every new connection, and a while without either: what a reader gets is what
`serving.publications` has after the id that he names. So nobody misses anything, whoever was away meanwhile.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from fpm.store.http.requests import RequestRefused
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive

CHANNEL = "fpm_published"
MOST_WAITERS = 256
MOST_PUBLICATIONS = 1_000  # of one answer; the next one goes on after its last
LOOK_SECONDS = 10.0  # between looks without a notification: with a full queue a publication goes without one
PAUSE_SECONDS = 1.0  # before the next try where the database is away

SINCE = """
SELECT id AS publication, session::text, views, published_at, vintage, model, replaces
FROM serving.publications WHERE id > %s ORDER BY id LIMIT %s
"""
_NEWEST = "SELECT coalesce(max(id), 0) FROM serving.publications"


def since(after: int, connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """The publications after an id, oldest first. Raises RequestRefused for an id that none has yet."""
    cursor = connection.execute(SINCE, (after, MOST_PUBLICATIONS))
    names = [column.name for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    if not rows and after > (newest := _one(connection.execute(_NEWEST).fetchone())):
        raise RequestRefused(
            409,
            code="FPM-HTTP-090",
            wrong=f"no publication is {after} yet, the newest is {newest}",
            todo="begin again after=0: this is another home, or one from a backup",
        )
    return [row | {"published_at": row["published_at"].isoformat()} for row in rows]


class News:
    """Who waits for a publication in this server; lives in its event loop."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._newest = -1  # the newest id that the listener saw
        self._change = asyncio.Event()
        self._waiting = 0
        self._listener: asyncio.Task[None] | None = None

    def ends_with(self, publication: int) -> bool:
        """Whether the listener saw this publication, and none after it: who has it need not ask before he waits."""
        return publication == self._newest

    async def beyond(self, after: int, seconds: float, receive: Receive) -> None:
        """Return when there is a publication after an id, or after so many seconds, or when the client has gone.

        Raises RequestRefused where too many wait.
        """
        with self._place():
            if self._listener is None or self._listener.done():
                self._listener = asyncio.create_task(self._listen())
            gone = asyncio.create_task(_gone(receive))
            news = asyncio.create_task(self._passed(after))
            try:
                await asyncio.wait((gone, news), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                news.cancel()

    async def _passed(self, after: int) -> None:
        while self._newest <= after:
            await self._change.wait()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._waiting >= MOST_WAITERS:
            raise RequestRefused(
                503,
                code="FPM-HTTP-089",
                wrong=f"{MOST_WAITERS} readers wait for a publication already",
                todo="ask again without wait, or later",
            )
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _listen(self) -> None:
        """Listen for ever; a connection that is lost is made again."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, application_name="fpm serve", connect_timeout=5, tcp_user_timeout=10_000
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    await self._look(connection)
                    while True:
                        async for _ in connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
                            pass
                        await self._look(connection)
            except psycopg.Error as away:
                log.warning("the connection that listens is lost", reason=type(away).__name__)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look(self, connection: psycopg.AsyncConnection[Any]) -> None:
        newest = _one(await (await connection.execute(_NEWEST)).fetchone())
        if newest != self._newest:
            self._newest = newest
            change, self._change = self._change, asyncio.Event()
            change.set()


async def _gone(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _one(row: tuple[Any, ...] | None) -> int:
    assert row is not None, "an aggregate is one row"
    return int(row[0])
