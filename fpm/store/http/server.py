"""Feast's feature server behind a door of ours: a bearer token, two reading endpoints, words instead of exceptions.

Feast 0.67 itself asks nobody for a name, writes and materialises for anyone, and answers a mistake with the exception.
Here its app is only reached by a request that was checked whole. What it reads is schema ``serving``
as the reader, so an answer is of one published session; `_unmixed` asks again where a publication came in between.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import fpm.store.retrieval.quick_feast  # noqa: F401  before all others that import Feast

# isort: split
import psycopg
import sqlalchemy as sa
import uvicorn
from feast.feature_server import get_app
from feast.infra.registry.sql import FeastRegistrySchemaError
from psycopg_pool import ConnectionPool, PoolTimeout

from fpm import sessions
from fpm.errors import TryLater, UsageError
from fpm.schema import TABLES
from fpm.store.http import token as http_token
from fpm.store.http.patience import PatientProtocol
from fpm.store.http.requests import Catalogue, RequestRefused, checked
from fpm.store.log import log
from fpm.store.online.online_store import check
from fpm.store.postgres.server import ensure_server
from fpm.store.retrieval.features import PATIENCE, serving_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from feast import FeatureStore
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from fpm.store.settings import Settings

READ, HEALTH = "/get-online-features", "/health"
METHODS = {READ: "POST", HEALTH: "GET"}
LONGEST_BODY = 1_000_000
LONGEST_HEADERS = 16_384
BODY_SECONDS = 10.0  # then a body that trickles in is given up
CATALOGUE_SECONDS = 60.0  # as long as Feast's own registry cache
LONGEST_HOLIDAY = 30  # days; the longest closure of any of our markets since 1990 took 18
TRIES = 3  # publications are minutes apart: a second one during one request is no accident any more
DOWN = (psycopg.OperationalError, PoolTimeout, sa.exc.OperationalError, sa.exc.InterfaceError, TryLater)

NEWEST = """
SELECT id, session, published_at, vintage, model, stale_days FROM serving.publications
ORDER BY session DESC, id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Answer:
    """What goes back: always JSON."""

    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """The publication that readers see."""

    id: int
    session: str
    published_at: str
    vintage: str | None
    model: str | None
    stale_days: int

    @property
    def headers(self) -> dict[str, str]:
        return {f"x-fpm-{name.replace('_', '-')}": str(value) for name, value in vars(self).items() if name != "id"} | {
            "x-fpm-publication": str(self.id)
        }


class Door:
    """The ASGI app that stands before Feast's; `open` and `close` come with the server's life."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._market, self._clock = settings.venue, clock
        self._store = serving_store(settings)
        self._feast: ASGIApp = get_app(self._store, registry_ttl_sec=0)  # its refresher dies with the first failure
        self._token_file = http_token.ensure_token(settings)
        self._closed_paths = {getattr(route, "path", "") for route in getattr(self._feast, "routes", [])} - set(METHODS)
        self._pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = ConnectionPool(
            ensure_server(settings).for_role("reader").dsn,
            min_size=0,
            max_size=4,
            timeout=PATIENCE,
            open=True,
            reconnect_timeout=PATIENCE,
            check=check,
            kwargs={"autocommit": True, "application_name": "fpm serve"},
        )
        self._catalogue: tuple[float, Catalogue] | None = None

    def close(self) -> None:
        """Give the connections back."""
        self._pool.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._feast(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _send(await self._answer(scope, receive), send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            self._authorise(scope)
            _admit(scope, self._closed_paths)
            fresh = _requires_fresh(scope)
            if scope["path"] == HEALTH:
                return _health(await asyncio.to_thread(self._newest, fresh))
            body = await _body(scope, receive)
            asked, before = await asyncio.to_thread(lambda: (checked(body, self._served()), self._newest(fresh)))
            return await self._unmixed(scope, asked, before, fresh)
        except RequestRefused as refused:
            return _refusal(refused)
        except DOWN as wrong:
            log.warning("database away", reason=type(wrong).__name__)
            return _words(503, "FPM-HTTP-085", "the database does not answer", "ask again", {"retry-after": "5"})
        except Exception as wrong:  # the door itself: nothing of an exception may reach a stranger
            number = secrets.token_hex(8)
            log.error("request failed", id=number, exc_info=wrong)
            return _words(
                500, "FPM-HTTP-086", f"something failed here, number {number}", "give the operator the number"
            )

    def _authorise(self, scope: Scope) -> None:
        scheme, _, given = _header(scope, b"authorization").partition(b" ")
        if scheme.lower() != b"bearer" or not http_token.is_token(self._token_file, given.strip()):
            raise RequestRefused(401, "FPM-HTTP-081", "no valid token", "send Authorization: Bearer TOKEN")

    async def _unmixed(self, scope: Scope, asked: dict[str, Any], before: Published, fresh: bool) -> Answer:
        """Feast's answer, all of it read while one and the same publication was in force."""
        for _ in range(TRIES):
            status, content = await self._ask_feast(scope, asked)
            if status >= 500:
                raise RuntimeError(f"Feast answered {status}: {content[:2000]!r}")
            if status != 200:
                log.warning("Feast refused", status=status, content=content[:2000])
                raise RequestRefused(
                    422, "FPM-HTTP-079", "the request was refused", "compare it with docs/consumers.md"
                )
            after = await asyncio.to_thread(self._newest, fresh)
            if after.id == before.id:
                return Answer(200, content, after.headers)
            before = after
        return _words(503, "FPM-HTTP-083", "a session is being published", "ask again", {"retry-after": "1"})

    async def _ask_feast(self, scope: Scope, asked: dict[str, Any]) -> tuple[int, bytes]:
        body, parts, status = json.dumps(asked).encode(), [], 500
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        await self._feast({**scope, "headers": headers, "query_string": b""}, receive, send)
        return status, b"".join(parts)

    def _newest(self, fresh: bool) -> Published:
        """Raises RequestRefused before the first publication, and where a `fresh` one is asked for and is not there."""
        with self._pool.connection() as connection:
            row = connection.execute(NEWEST).fetchone()
        if row is None:
            raise RequestRefused(503, "FPM-HTTP-084", "nothing is published yet", "ask again after the first night")
        published = Published(row[0], row[1].isoformat(), row[2].isoformat(), *row[3:])
        if fresh and row[1] < (due := due_session(self._market, self._clock())):
            raise RequestRefused(
                409,
                "FPM-HTTP-087",
                f"session {row[1]} is published, {row[5]} days old; {due} is due since "
                f"{sessions.cut_off(self._market, due).isoformat()}",
                "ask again later, or without require=fresh for the session that there is",
                published.headers,
            )
        return published

    def _served(self) -> Catalogue:
        """What is served, from Feast's registry; looked up again after a while."""
        now = time.monotonic()
        if self._catalogue is None or now - self._catalogue[0] > CATALOGUE_SECONDS:
            self._catalogue = now, catalogue(self._store)
        return self._catalogue[1]


def due_session(market: sessions.Market, now: datetime) -> date:
    """The newest session whose cut-off has passed: what a reader may expect, once its night is done."""
    today = now.astimezone(market.zone).date()
    days = sessions.sessions_between(market, today - timedelta(days=LONGEST_HOLIDAY), today)
    return max(day for day in days if sessions.cut_off(market, day) <= now)


def catalogue(store: FeatureStore) -> Catalogue:
    """The views that are online, their keys, and the services that need no other view."""
    views = [view for view in store.list_feature_views() if view.name in TABLES and TABLES[view.name].online]
    names = {view.name for view in views}
    services = {
        service.name: [one.name for one in service.feature_view_projections]
        for service in store.list_feature_services()
    }
    return Catalogue(
        {view.name: [feature.name for feature in view.features] for view in views},
        {view.name: [column.name for column in view.entity_columns] for view in views},
        {name: behind for name, behind in services.items() if names.issuperset(behind)},
    )


def serve(settings: Settings, host: str, port: int, insecure: bool, announce: Callable[[dict[str, Any]], None]) -> None:
    """Serve until interrupted. `announce` is told the address and the token's file once the port is ours.

    Raises UsageError for a host that others can reach (unless `insecure`), and for a port that is taken.
    """
    if not insecure and not _is_loopback(host):
        raise UsageError(
            code="FPM-HTTP-001",
            wrong=f"{host} can be reached from other machines, and the token would travel unencrypted",
            effect="nothing was served",
            todo="use 127.0.0.1 behind a proxy with TLS, or say --insecure-bind",
        )
    with _bound(host, port) as listening:
        door = _door(settings)
        configuration = uvicorn.Config(
            door,
            http=PatientProtocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=LONGEST_HEADERS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
        )
        address = f"[{host}]" if ":" in host else host
        announce(
            {
                "url": f"http://{address}:{listening.getsockname()[1]}",
                "token_file": str(http_token.token_file(settings)),
            }
        )
        try:
            uvicorn.Server(configuration).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has shut down by then, and hands the signal on
            log.info("server stopped")
        finally:
            door.close()


def _door(settings: Settings) -> Door:
    try:
        return Door(settings)
    except FeastRegistrySchemaError as wrong:
        raise TryLater(
            code="FPM-HTTP-003",
            wrong="the feature definitions are not applied",
            effect="nothing was served",
            todo="run `fpm setup`",
        ) from wrong


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as wrong:
        raise UsageError(
            code="FPM-HTTP-002",
            wrong=f"cannot listen on {host}:{port}: {wrong.strerror}",
            effect="nothing was served",
            todo="choose another --port, or stop what listens there",
        ) from wrong


def _requires_fresh(scope: Scope) -> bool:
    """Whether the query says `require=fresh`. Raises RequestRefused where it says anything else."""
    query = scope["query_string"]
    if query not in (b"", b"require=fresh"):
        raise RequestRefused(400, "FPM-HTTP-080", "the query is not require=fresh", "use it, or no query at all")
    return bool(query)


def _admit(scope: Scope, closed_paths: set[str]) -> None:
    """Two endpoints, one method each."""
    path, method = scope["path"], scope["method"]
    if path in closed_paths:
        raise RequestRefused(403, "FPM-HTTP-081", "this server only reads", f"use POST {READ}")
    if path not in METHODS:
        raise RequestRefused(404, "FPM-HTTP-080", "there is nothing here", f"use POST {READ} or GET {HEALTH}")
    if method != METHODS[path]:
        raise RequestRefused(405, "FPM-HTTP-080", f"{path} takes {METHODS[path]}", f"use {METHODS[path]}")


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, as long as it is plain, short and comes in time."""
    if _header(scope, b"content-encoding") not in (b"", b"identity"):
        raise RequestRefused(415, "FPM-HTTP-077", "the body is compressed", "send it as it is")
    announced = _header(scope, b"content-length")
    if announced.isdigit() and int(announced) > LONGEST_BODY:
        raise _too_long()
    try:
        return await asyncio.wait_for(_read(receive), BODY_SECONDS)
    except TimeoutError:
        raise RequestRefused(408, "FPM-HTTP-077", f"no whole body in {BODY_SECONDS:g} s", "send it again") from None


async def _read(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestRefused(400, "FPM-HTTP-077", "the body ended early", "send it again")
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > LONGEST_BODY:
            raise _too_long()
    return b"".join(parts)


def _too_long() -> RequestRefused:
    return RequestRefused(413, "FPM-HTTP-077", f"the body is longer than {LONGEST_BODY} bytes", "ask in parts")


def _header(scope: Scope, name: bytes) -> bytes:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key.lower() == name), b"")


def _health(published: Published) -> Answer:
    return Answer(200, json.dumps(vars(published)).encode(), published.headers)


def _refusal(refused: RequestRefused) -> Answer:
    extra = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "60"}}.get(refused.status, {})
    return _words(refused.status, refused.code, refused.wrong, refused.todo, {**refused.headers, **extra})


def _words(status: int, code: str, wrong: str, todo: str, headers: dict[str, str] | None = None) -> Answer:
    content = json.dumps({"error": {"code": code, "wrong": wrong, "todo": todo}}).encode()
    return Answer(status, content, headers or {})


async def _send(answer: Answer, send: Send) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(answer.content)), **answer.headers}
    raw = [(name.encode(), value.encode()) for name, value in {**headers, "cache-control": "no-store"}.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.content})
