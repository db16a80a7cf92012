"""Documents to other programs: JSON by POST to a webhook, or on the standard input of a command.

Both have a time limit that nobody at the other end can stretch, and say what went wrong without any part of the
address: a webhook's path is its password.
"""

from __future__ import annotations

import hmac
import json
import os
import shlex
import signal
import subprocess
import urllib.error
import urllib.request
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 10.0  # for one document, whatever the other end does
USAGE = "write https://HOST/PATH, or file:PATH of a file that holds it"


def web_address(text: str) -> str:
    """An address of a webhook. Raises ValueError for anything else than http(s) with a host; repeats nothing of it."""
    address = text.strip()
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or any(sign.isspace() or not sign.isprintable() for sign in address):
        raise ValueError(f"no address of a webhook: {USAGE}")
    return address


def without_user(address: str) -> str:
    """The address. Raises ValueError where a user or a password stands before the host; repeats nothing of it."""
    if "@" in urlsplit(address).netloc:
        raise ValueError("a webhook takes no user or password before its host: use its path, or FPM_WEBHOOK_SECRET")
    return address


def signature(document: Mapping[str, Any], secret: str) -> str:
    """`sha256=` and HMAC-SHA-256 in hexadecimal (RFC 2104) over the bytes that `post` sends."""
    return "sha256=" + hmac.new(secret.encode(), _body(document), "sha256").hexdigest()


def post(
    address: str,
    document: Mapping[str, Any],
    seconds: float = SECONDS,
    headers: Mapping[str, str] | None = None,
) -> str | None:
    """POST a document as JSON; what went wrong, or None where the other end answered 2xx. Follows no redirection."""
    answer: list[str | None] = []
    thread = Thread(target=lambda: answer.append(_post(address, document, seconds, headers or {})), daemon=True)
    thread.start()
    thread.join(seconds)  # a socket's own limit begins anew with every byte that comes
    return answer[0] if answer else f"no answer in {seconds:g} s"


def _body(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, default=str).encode()


def _post(address: str, document: Mapping[str, Any], seconds: float, headers: Mapping[str, str]) -> str | None:
    every = {"Content-Type": "application/json", "User-Agent": "fpm", **headers}
    request = urllib.request.Request(address, _body(document), every, method="POST")  # noqa: S310  `web_address` let it through
    try:
        with urllib.request.build_opener(_NoRedirection).open(request, timeout=seconds) as answer:
            return None if 200 <= answer.status < 300 else f"HTTP {answer.status}"
    except urllib.error.HTTPError as wrong:
        wrong.close()
        return f"HTTP {wrong.code}"
    except urllib.error.URLError as wrong:
        reason = wrong.reason
        return (reason.strerror if isinstance(reason, OSError) else None) or type(reason).__name__
    except Exception as wrong:  # noqa: BLE001  whatever a stranger's server makes of the protocol; texts may hold the path
        return type(wrong).__name__


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Nobody but the configured host gets the document."""


def pipe(command: str, document: Mapping[str, Any], seconds: float = SECONDS) -> str | None:
    """Run a command, without a shell, with a document on its standard input; what went wrong, or None for exit code 0.

    After the time limit it is killed with all its children.
    """
    try:
        process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as wrong:
        return f"it cannot be started: {getattr(wrong, 'strerror', None) or type(wrong).__name__}"
    try:
        process.communicate(json.dumps(document, default=str).encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"killed after {seconds:g} s"
    return None if process.returncode == 0 else f"exit code {process.returncode}"
