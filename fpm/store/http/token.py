"""The feature server's only secret: a random bearer token in the home, in a file of mode 0600."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING

from fpm.store.lake.small_files import write_secret

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.store.settings import Settings


def token_file(settings: Settings) -> Path:
    """The path of the token's file."""
    return settings.home / "http-token"


def ensure_token(settings: Settings) -> Path:
    """The path of the token's file, which is written if it does not exist."""
    if not token_file(settings).exists():
        renew_token(settings)
    return token_file(settings)


def renew_token(settings: Settings) -> None:
    """Write another token. It counts at once: a running server reads the file at every request."""
    write_secret(token_file(settings), secrets.token_urlsafe(32).encode() + b"\n")


def is_token(file: Path, candidate: bytes) -> bool:
    """Whether this is the file's token; the time it takes does not depend on how much of it is right."""
    try:
        token = file.read_bytes().strip()
    except FileNotFoundError:
        return False
    return bool(token) and hmac.compare_digest(token, candidate)
