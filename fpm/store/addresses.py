"""Addresses with passwords: parsed before anything uses them, and hidden in every text that others may read.

libpq and the drivers repeat an address that they do not understand, and a password with a bare @ or / in it becomes a
host, a port or a database that they name. So an address is refused here, in words that repeat nothing of it.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

# PostgreSQL 18, https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS
SECRET_PARTS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
SHORTEST_HIDDEN = 4  # characters: hiding every "a" would leave no text
HIDDEN = "***"
SCHEME = re.compile(r"\W*([A-Za-z][\w+.:-]*)://")
URL = re.compile(r"postgres(?:ql)?://(?:[^@/]*@)?(?P<places>[^@/?]*)(?:/[^@?]*)?(?:\?[^@]*)?")
PLACE = re.compile(r"(?P<host>[\w.%-]*|\[[\w:.%]+\])(?::(?P<port>\d{0,5}))?")
HOST = re.compile(r"[\w.:%-]*|[/@]\S*")  # a name, a number, or a socket's folder
VERIFIED = "verify-full"  # the one mode in which libpq knows whom it talks to
USAGE = "write postgresql://USER:PASSWORD@HOST:PORT/NAME"
ENCODING = "in a password write @ as %40, / as %2F, : as %3A, ? as %3F, # as %23, % as %25 and a space as %20"


class Hidden(str):
    """A text that is not shown where a structure around it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


def database_address(text: str) -> str:
    """An address of a Postgres server, as a URL or as libpq's `name=value` pairs, without spaces around it.

    Raises ValueError where libpq would not understand it or could take a part of the password for something else; the
    message repeats nothing of the address.
    """
    address = text.strip()
    if not address:
        raise ValueError(f"it is empty: {USAGE}, or leave it out")
    scheme = SCHEME.match(address)
    if scheme:
        _require_url(address)
    elif "=" not in address:
        raise ValueError(f"no address of a database: {USAGE}")
    parts = _parts(address)
    if parts is None:
        raise ValueError(f"libpq does not understand it: {USAGE if scheme else 'write name=value pairs'}; {ENCODING}")
    hosts, ports = (str(parts.get(name) or "").split(",") for name in ("host", "port"))
    if not all(HOST.fullmatch(host) for host in hosts) or not all(_is_port(port) for port in ports):
        raise ValueError(f"its host or port is none: {USAGE}; {ENCODING}")
    return address


def require_verified(address: str) -> None:
    """Raises ValueError for a database beyond this machine whose certificate and name libpq would not check.

    What the address leaves open, libpq takes from its own variables (PGHOST, PGSSLMODE, PGSERVICE). A service named in
    the address may lead anywhere. https://www.postgresql.org/docs/18/libpq-ssl.html#LIBPQ-SSL-PROTECTION
    """
    from psycopg.pq import Conninfo

    given = {name: str(value) for name, value in (_parts(address) or {}).items() if value}
    open_parts = (
        {}
        if "service" in given
        else {option.keyword.decode(): option.val.decode() for option in Conninfo.get_defaults() if option.val}
    )
    parts = open_parts | given
    places = (parts.get("hostaddr") or parts.get("host") or "").split(",")
    near = "service" not in given and all(_is_here(place) for place in places)
    if not near and parts.get("sslmode") != VERIFIED:
        raise ValueError(
            f"its server is beyond this machine and nothing would prove that it is the right one: add "
            f"sslmode={VERIFIED} and sslrootcert=FILE, or allow it by FPM_ALLOW_UNVERIFIED_DATABASE=1"
        )


def _is_here(place: str) -> bool:
    """Whether a host of libpq's is this machine: a socket's folder, `localhost`, or a loopback address."""
    if not place or place.startswith(("/", "@")) or place == "localhost":
        return True
    try:
        return ip_address(place).is_loopback
    except ValueError:  # a name: who answers to it, the network says
        return False


def _require_url(address: str) -> None:
    """Raises ValueError for a URL that is none of Postgres, or in which a password's signs are not encoded."""
    if not address.startswith(("postgresql://", "postgres://")):
        raise ValueError(f"it begins with quotes or with another scheme than postgresql: {USAGE}")
    if re.search(r"[\s\x00-\x1f\x7f]", address):
        raise ValueError(f"there is a space or a line's end in it: {ENCODING}")
    url = URL.fullmatch(address)
    places = [PLACE.fullmatch(place) for place in url["places"].split(",")] if url else [None]
    if not all(place and _is_port(place["port"] or "") for place in places):
        raise ValueError(f"its parts cannot be told apart: {USAGE}; {ENCODING}")


def _is_port(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16)


def _parts(address: str) -> dict[str, object] | None:
    """The parts of an address; None where libpq refuses it, whose words are lost on purpose: they repeat it."""
    import psycopg.conninfo  # a tenth of a second, and only a server of one's own has an address

    try:
        return dict(psycopg.conninfo.conninfo_to_dict(address))
    except (psycopg.ProgrammingError, ValueError):  # ValueError: signs that are no UTF-8
        return None


def secrets_of(address: str) -> tuple[str, ...]:
    """What is secret in an address: its passwords and keys, and itself."""
    parts = _parts(address) or {}
    return (address, *(str(parts[name]) for name in SECRET_PARTS if parts.get(name)))


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret as ***, also where JSON, Python or a URL wrote it; the shortest ones stay."""
    forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST_HIDDEN}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def sealed(error: BaseException) -> BaseException:
    """A driver's error without the parameters of its connection, which psycopg keeps in it with the password."""
    link: BaseException | None = error
    while link is not None:
        if "_pgconn" in vars(link):
            vars(link)["_pgconn"] = None
        link = link.__cause__ or link.__context__
    return error


def _forms(secret: str) -> tuple[str, ...]:
    return (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""), unquote(secret))
