"""The ASGI app in front of Feast's feature server: a bearer token, reading endpoints, words instead of exceptions.

Feast 0.67 itself asks for no credentials, writes and materialises for anyone, and answers a mistake with the exception.
Its app only gets requests that were checked whole here. It reads schema ``serving`` as the reader, so an answer is of
one published session: each statement says which one was in force, so no other question has to.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fpm.store.retrieval.quick_feast  # noqa: F401  before all others that import Feast

# isort: split
import psycopg
import sqlalchemy as sa
from feast.feature_server import get_app
from psycopg_pool import ConnectionPool, PoolTimeout

from fpm.errors import TryLater
from fpm.schema import TABLES
from fpm.store.http import history, intraday
from fpm.store.http.news import News, since
from fpm.store.http.openapi import openapi
from fpm.store.http.published import Published, nothing, published, require_fresh
from fpm.store.http.queries import history_request, intraday_request, nearest_request, news_request
from fpm.store.http.requests import Catalogue, RequestRefused, checked
from fpm.store.http.responses import Answer, between, deliver, document, error, refused
from fpm.store.http.token import ensure_token, is_token
from fpm.store.log import log
from fpm.store.online.metrics import CONTENT_TYPE, QUERY, exposition
from fpm.store.online.online_store import WITNESS, check
from fpm.store.postgres.server import ensure_server
from fpm.store.retrieval.features import PATIENCE, serving_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from feast import FeatureStore
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from fpm.store.http.published import Published
    from fpm.store.http.queries import HistoryRequest, IntradayRequest
    from fpm.store.settings import Settings

READ = "/get-online-features"
HEALTH, METRICS = ("/health", "/v1/health"), ("/metrics", "/v1/metrics")  # Feast's and Prometheus' paths, and ours
NEAREST, OPENAPI = "/v1/nearest", "/v1/openapi.json"
HISTORY, INTRADAY, PUBLICATIONS = "/v1/history", "/v1/intraday", "/v1/publications"
METHODS = {READ: "POST", **dict.fromkeys((*HEALTH, *METRICS, NEAREST, HISTORY, INTRADAY, PUBLICATIONS, OPENAPI), "GET")}
LONGEST_BODY = 1_000_000  # bytes
SMALL_BODY = 20_000
BODY_SECONDS = 10.0  # for the whole body to arrive
CATALOGUE_SECONDS = 60.0  # as long as Feast's own registry cache
TRIES = 3  # publications are minutes apart: three during one request are no accident
DOWN = (psycopg.OperationalError, PoolTimeout, sa.exc.OperationalError, sa.exc.InterfaceError, TryLater)

NEIGHBOURS = "SELECT symbol, similarity, publication FROM serving.nearest(%s, %s)"
TAKEN = ("too many connections", "too many clients", "remaining connection slots")  # PostgreSQL's words for a limit


class Door:
    """The ASGI app in front of Feast's. `close` it when the server ends."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._market, self._clock = settings.venue, clock
        self._store = serving_store(settings)
        self._feast: ASGIApp = get_app(self._store, registry_ttl_sec=0)  # its refresher dies with the first failure
        self._token_file = ensure_token(settings)
        self._closed_paths = {getattr(route, "path", "") for route in getattr(self._feast, "routes", [])} - set(METHODS)
        self._dsn = ensure_server(settings).for_role("server").dsn
        self._pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = ConnectionPool(
            self._dsn,
            min_size=0,
            max_size=4,
            timeout=PATIENCE,
            open=True,
            reconnect_timeout=PATIENCE,
            check=check,
            kwargs={"autocommit": True, "application_name": "fpm serve"},
        )
        self._last: Published | None = None
        self._catalogue: tuple[float, Catalogue] | None = None
        self._news = News(self._dsn)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._feast(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await deliver(await self._answer(scope, receive), send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            self._authorise(scope)
            _admit(scope, self._closed_paths)
            if scope["path"] in METRICS:
                return await asyncio.to_thread(self._metrics)
            if scope["path"] == OPENAPI:
                _require_no_query(scope)
                return await asyncio.to_thread(lambda: document(openapi(self._served())))
            if scope["path"] == NEAREST:
                return await asyncio.to_thread(self._nearest, *nearest_request(scope["query_string"]))
            if scope["path"] == HISTORY:
                return await asyncio.to_thread(self._history, history_request(scope["query_string"]))
            if scope["path"] == INTRADAY:
                return await asyncio.to_thread(self._intraday, intraday_request(scope["query_string"]))
            if scope["path"] == PUBLICATIONS:
                return await self._publications(receive, *news_request(scope["query_string"]))
            fresh = _requires_fresh(scope)
            if scope["path"] in HEALTH:
                held = await asyncio.to_thread(self._newest, fresh)
                return document(vars(held), held.headers)
            body = await _body(scope, receive)
            at_once = len(body) <= SMALL_BODY and self._is_catalogue_fresh()  # a thread takes longer than the check
            request = self._checked(body) if at_once else await asyncio.to_thread(self._checked, body)
            return await self._unmixed(scope, request, fresh)
        except RequestRefused as refusal:
            return refused(refusal)
        except DOWN as away:
            log.warning("database away", reason=type(away).__name__)
            return await asyncio.to_thread(self._away)
        except Exception as fault:  # noqa: BLE001  nothing of any exception may reach a stranger
            number = secrets.token_hex(8)
            log.error("request failed", id=number, exc_info=fault)
            return error(
                500,
                code="FPM-HTTP-086",
                wrong=f"something failed here, number {number}",
                todo="give the operator the number",
            )

    def _authorise(self, scope: Scope) -> None:
        scheme, _, token = _header(scope, b"authorization").partition(b" ")
        if scheme.lower() != b"bearer" or not is_token(self._token_file, token.strip()):
            raise RequestRefused(
                401, code="FPM-HTTP-081", wrong="no valid token", todo="send Authorization: Bearer TOKEN"
            )

    async def _unmixed(self, scope: Scope, request: dict[str, Any], fresh: bool) -> Answer:
        """Feast's answer, all of it read while one and the same publication was in force, as its statements say."""
        for _ in range(TRIES):
            witness: list[int | None] = []
            WITNESS.set(witness)
            status, content = await self._ask_feast(scope, request)
            if status >= 500:
                raise RuntimeError(f"Feast answered {status}: {content[:2000]!r}")
            if status != 200:
                log.warning("Feast refused", status=status, content=content[:2000])
                raise RequestRefused(
                    422,
                    code="FPM-HTTP-079",
                    wrong="the request was refused",
                    todo="compare it with docs/consumers.md",
                )
            if len(set(witness)) == 1:
                return Answer(200, content, (await self._witnessed(witness[0], fresh)).headers)
        return between()

    async def _witnessed(self, number: int | None, fresh: bool) -> Published:
        """The publication of an id that a statement saw; the last one is remembered, it never changes."""
        if number is None:
            raise nothing()
        held = self._last
        if held is None or held.id != number:
            held = self._last = await asyncio.to_thread(self._published, number)
        held = held.at(self._clock())
        if fresh:
            require_fresh(held, self._market, self._clock())
        return held

    async def _ask_feast(self, scope: Scope, request: dict[str, Any]) -> tuple[int, bytes]:
        body, parts, status = json.dumps(request).encode(), [], 500
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        await self._feast({**scope, "headers": headers, "query_string": b""}, receive, send)
        return status, b"".join(parts)

    def _away(self) -> Answer:
        """Why there is no connection: the database is away, or lends this login no more of them."""
        try:
            psycopg.connect(self._dsn, connect_timeout=2).close()
        except psycopg.OperationalError as refusal:
            if any(words in str(refusal) for words in TAKEN):
                return error(
                    503,
                    code="FPM-HTTP-088",
                    wrong="every connection that the database lends this server's login is taken",
                    todo="ask again; an operator sees them in pg_stat_activity, and the limit in pg_roles",
                    headers={"retry-after": "5"},
                )
        return error(
            503,
            code="FPM-HTTP-085",
            wrong="the database does not answer",
            todo="ask again",
            headers={"retry-after": "5"},
        )

    def _nearest(self, symbol: str, k: int) -> Answer:
        """The stocks most like one, itself first; none of a symbol without a published fingerprint."""
        for _ in range(TRIES):
            with self._pool.connection() as connection:
                rows = connection.execute(NEIGHBOURS, (symbol, k)).fetchall()
            held = self._newest(fresh=False)
            if all(row[2] == held.id for row in rows):
                neighbours = [{"symbol": row[0], "similarity": row[1]} for row in rows]
                return document({"symbol": symbol, "neighbours": neighbours}, held.headers)
        return between()

    def _history(self, request: HistoryRequest) -> Answer:
        """Earlier sessions of a stock, by one statement."""
        with self._pool.connection() as connection:
            return document(history.answer(request, connection))

    def _intraday(self, request: IntradayRequest) -> Answer:
        """The last minute of a running session, by one statement."""
        with self._pool.connection() as connection:
            return document(intraday.answer(request, connection))

    async def _publications(self, receive: Receive, after: int, seconds: int) -> Answer:
        """The publications after one; where there are none, the first that comes within so many seconds."""
        rows = [] if seconds and self._news.ends_with(after) else await asyncio.to_thread(self._since, after)
        if not rows and seconds:
            await self._news.beyond(after, seconds, receive)
            rows = await asyncio.to_thread(self._since, after)
        return document({"publications": rows, "last": rows[-1]["publication"] if rows else after})

    def _since(self, after: int) -> list[dict[str, Any]]:
        with self._pool.connection() as connection:
            return since(after, connection)

    def _metrics(self) -> Answer:
        """The figures for Prometheus: a reader's own view, so this door needs no other right."""
        with self._pool.connection() as connection:
            rows = connection.execute(QUERY).fetchall()
        return Answer(200, exposition(rows), {"content-type": CONTENT_TYPE})

    def _newest(self, fresh: bool) -> Published:
        """The newest publication. Raises RequestRefused where there is none, or where it must be `fresh` and is not."""
        held = self._published()
        if fresh:
            require_fresh(held, self._market, self._clock())
        return held

    def _published(self, number: int | None = None) -> Published:
        with self._pool.connection() as connection:
            return published(connection, number)

    def _checked(self, body: bytes) -> dict[str, Any]:
        return checked(body, self._served())

    def _served(self) -> Catalogue:
        """The catalogue of Feast's registry, read again after a while."""
        held = self._catalogue
        if held is None or not self._is_catalogue_fresh():
            held = self._catalogue = time.monotonic(), catalogue(self._store)
        return held[1]

    def _is_catalogue_fresh(self) -> bool:
        return self._catalogue is not None and time.monotonic() - self._catalogue[0] <= CATALOGUE_SECONDS


def catalogue(store: FeatureStore) -> Catalogue:
    """The views that are online, their keys, and the services that need no other view."""
    views = [view for view in store.list_feature_views() if view.name in TABLES and TABLES[view.name].online]
    names = {view.name for view in views}
    services = {
        service.name: [projection.name for projection in service.feature_view_projections]
        for service in store.list_feature_services()
    }
    return Catalogue(
        {view.name: [feature.name for feature in view.features] for view in views},
        {view.name: [column.name for column in view.entity_columns] for view in views},
        {name: service_views for name, service_views in services.items() if names.issuperset(service_views)},
    )


def _requires_fresh(scope: Scope) -> bool:
    """Whether the query says `require=fresh`. Raises RequestRefused where it says anything else."""
    query = scope["query_string"]
    if query not in (b"", b"require=fresh"):
        raise RequestRefused(
            400, code="FPM-HTTP-080", wrong="the query is not require=fresh", todo="use it, or no query at all"
        )
    return bool(query)


def _require_no_query(scope: Scope) -> None:
    if scope["query_string"]:
        raise RequestRefused(400, code="FPM-HTTP-080", wrong="there is a query", todo="use none")


def _admit(scope: Scope, closed_paths: set[str]) -> None:
    """Let through our endpoints, one method each. Raises RequestRefused."""
    path, method = scope["path"], scope["method"]
    if path in closed_paths:
        raise RequestRefused(403, code="FPM-HTTP-081", wrong="this server only reads", todo=f"use POST {READ}")
    if path not in METHODS:
        raise RequestRefused(
            404, code="FPM-HTTP-080", wrong="there is nothing here", todo=f"use POST {READ} or GET {OPENAPI}"
        )
    if method != METHODS[path]:
        raise RequestRefused(
            405,
            code="FPM-HTTP-080",
            wrong=f"{path} takes {METHODS[path]}",
            todo=f"use {METHODS[path]}",
            headers={"allow": METHODS[path]},
        )


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises RequestRefused where it is compressed, too long or too slow."""
    if _header(scope, b"content-encoding") not in (b"", b"identity"):
        raise RequestRefused(415, code="FPM-HTTP-077", wrong="the body is compressed", todo="send it as it is")
    length = _header(scope, b"content-length")
    if length.isdigit() and int(length) > LONGEST_BODY:
        raise _too_long()
    try:
        return await asyncio.wait_for(_read(receive), BODY_SECONDS)
    except TimeoutError:
        raise RequestRefused(
            408, code="FPM-HTTP-077", wrong=f"no whole body in {BODY_SECONDS:g} s", todo="send it again"
        ) from None


async def _read(receive: Receive) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestRefused(400, code="FPM-HTTP-077", wrong="the body ended early", todo="send it again")
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > LONGEST_BODY:
            raise _too_long()
    return b"".join(parts)


def _too_long() -> RequestRefused:
    return RequestRefused(
        413, code="FPM-HTTP-077", wrong=f"the body is longer than {LONGEST_BODY} bytes", todo="ask in parts"
    )


def _header(scope: Scope, name: bytes) -> bytes:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key.lower() == name), b"")
