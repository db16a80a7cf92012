"""The ASGI app of `fpm page`: one way in, only reading, words instead of exceptions.

The link that the command prints sets a cookie and is used up; every other request needs that cookie. A `Host` that is
not this address is refused, so that no other site's name can be made to point here (DNS rebinding). Pages hold no
script and no style of their own, and the browser is told to run none but ours.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from contextlib import suppress
from functools import partial
from http.cookies import CookieError, SimpleCookie
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import psycopg
from psycopg_pool import PoolTimeout

from fpm.errors import FpmError, TryLater, UsageError
from fpm.page import messages
from fpm.page.sheets import Sheet, beside, sheet
from fpm.store.log import log, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from fpm.page.views import View

    Answer = Callable[[str, Mapping[str, str]], View | Sheet | None]

ENTER = "/enter"
DOWN = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)
UNANSWERED = ("FPM-PG-075", "FPM-PG-076")  # our own words for a database that does not answer
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
LONGEST = 2_000  # bytes of a query
MOST_FIELDS = 8


class PageDoor:
    """The app. `answer`: the view of a path and its query, None where there is none; `port`: where it listens.

    `announce` is called with every new link: the first, and one for another browser when the one before is used up.
    """

    def __init__(self, answer: Answer, port: int, announce: Callable[[str], None]) -> None:
        self._answer, self._port, self._announce = answer, port, announce
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._cookie, self._session = f"fpm_page_{port}", secrets.token_urlsafe(32)
        self._key = ""
        self._new_link()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            try:
                content, headers = await self._response(scope)
            except asyncio.CancelledError:  # the server ends and waits no longer
                content, headers = sheet(messages.ended(), 503), {}
            await self._deliver(scope, content, headers, send)

    async def _response(self, scope: Scope) -> tuple[Sheet, dict[str, str]]:
        method, path = scope["method"], scope["path"]
        if _header(scope, b"host") not in self._hosts:
            return Sheet(421, b"This page answers to its own address alone.\n", "text/plain"), {}
        if method not in ("GET", "HEAD"):
            return sheet(messages.only_reading(), 405), {"allow": "GET, HEAD"}
        if path in beside():
            return beside()[path], {}
        if path == ENTER:
            return self._entered(scope)
        if not self._is_known(scope):
            return sheet(messages.no_entry(), 401), {}
        return await _apart(partial(self._view, path, scope["query_string"])), {}

    def _view(self, path: str, query: bytes) -> Sheet:
        try:
            fields = dict(parse_qsl(query[:LONGEST].decode("latin-1"), max_num_fields=MOST_FIELDS))
        except ValueError:
            return sheet(messages.nothing_here(), 404)
        try:
            view = self._answer(path, fields)
            if isinstance(view, Sheet):
                return view
            return sheet(messages.nothing_here(), 404) if view is None else sheet(view)
        except FpmError as refusal:
            return _refused(refusal)
        except DOWN as away:
            log.warning("database away", reason=type(away).__name__)
            return sheet(messages.away(), 503)
        except Exception as fault:  # noqa: BLE001  nothing of any exception may reach the page
            number = secrets.token_hex(8)
            log.error("page failed", id=number, exc_info=fault)
            return sheet(messages.failed(number), 500)

    # --- the one way in -------------------------------------------------------------------------------------------
    def _new_link(self) -> None:
        self._key = secrets.token_urlsafe(32)
        self._announce(f"http://127.0.0.1:{self._port}{ENTER}?key={self._key}")

    def _entered(self, scope: Scope) -> tuple[Sheet, dict[str, str]]:
        """The cookie for whoever has the link's key, which is used up by that; looking ahead (HEAD) uses up nothing."""
        given = scope["query_string"].removeprefix(b"key=")
        if scope["method"] != "GET" or not hmac.compare_digest(given, self._key.encode()):
            return sheet(messages.no_entry(), 401), {}
        self._new_link()
        cookie = f"{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"
        return Sheet(303, b"", place="/"), {"set-cookie": cookie}

    def _is_known(self, scope: Scope) -> bool:
        try:
            cookies = SimpleCookie(_header(scope, b"cookie"))
        except CookieError:
            return False
        given = cookies[self._cookie].value if self._cookie in cookies else ""
        return hmac.compare_digest(given.encode(), self._session.encode())

    async def _deliver(self, scope: Scope, content: Sheet, headers: dict[str, str], send: Send) -> None:
        every = {**HEADERS, "content-type": content.kind, "content-length": str(len(content.content)), **headers}
        every |= {"content-security-policy": content.policy} if content.policy else {}
        every |= {"location": content.place} if content.place else {}
        raw = [(name.encode(), value.encode()) for name, value in every.items()]
        await send({"type": "http.response.start", "status": content.status, "headers": raw})
        body = b"" if scope["method"] == "HEAD" else content.content
        await send({"type": "http.response.body", "body": body})


async def _apart(call: Callable[[], Sheet]) -> Sheet:
    """The result of a call in a thread of its own, which does not outlive the process: Ctrl-C waits for no question."""
    loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
    future: asyncio.Future[Sheet] = loop.create_future()

    def settle(content: Sheet) -> None:
        if not future.done():
            future.set_result(content)

    def run() -> None:
        content = call()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, content)

    Thread(target=run, daemon=True).start()
    return await future


def _refused(refusal: FpmError) -> Sheet:
    """A refusal of the command line as a page: what nobody has or nobody wrote yet is not found."""
    if refusal.code in UNANSWERED:
        return sheet(messages.away(), 503)
    status = 404 if isinstance(refusal, UsageError | TryLater) else 500
    words = [without_secrets(text) for text in (refusal.wrong, refusal.effect, refusal.todo)]
    return sheet(messages.refused(refusal.code, *words), status)


def _header(scope: Scope, name: bytes) -> str:
    """The value of a header that came once; "" where it did not come, or several times."""
    values = [value for key, value in scope["headers"] if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""
