"""Queries of the GET paths, checked whole: every field known, given once, and of its kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fpm.schema import HISTORIES
from fpm.store.http.requests import RequestRefused, is_text

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_NEIGHBOURS = 1_000
NEIGHBOURS = 20
LONGEST_WAIT = 60  # seconds; proxies give up a silent connection after so many
MOST_ID = 10**18 - 1
WITHIN = {"scores": "stream", "weights": "index"}  # what a stock has several of, by view
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class HistoryRequest:
    """Rows of a stock in a view's history, perhaps of one stream or index, sessions `first` to `last`.

    `known_at` None: what stands now.
    """

    symbol: str
    view: str
    within: str | None
    first: date
    last: date
    known_at: datetime | None


@dataclass(frozen=True)
class IntradayRequest:
    """Rows of the last minute of a running session: of one symbol and one stream, None for all."""

    symbol: str | None
    stream: str | None


def intraday_request(query: bytes) -> IntradayRequest:
    """What a query `symbol=…&stream=…` asks for, either or none. Raises RequestRefused for anything else."""
    fields = _fields(query, ("symbol", "stream"))
    if fields is None or not all(is_text(text) for text in fields.values()):
        raise RequestRefused(
            400,
            code="FPM-HTTP-080",
            wrong="the query is not a symbol, a stream or both",
            todo="write ?symbol=600000.SH&stream=dual, or no query for the whole market",
        )
    return IntradayRequest(fields.get("symbol"), fields.get("stream"))


def nearest_request(query: bytes) -> tuple[str, int]:
    """The symbol and k of a query `symbol=…&k=…`. Raises RequestRefused for anything else."""
    fields = _fields(query, ("symbol", "k"))
    k = fields and _number(fields.get("k", str(NEIGHBOURS)), MOST_NEIGHBOURS)
    symbol = (fields or {}).get("symbol", "")
    if not k or not is_text(symbol):
        raise RequestRefused(
            400,
            code="FPM-HTTP-080",
            wrong="the query is not a symbol and perhaps a k",
            todo=f"write ?symbol=600000.SH&k={NEIGHBOURS}, k from 1 to {MOST_NEIGHBOURS}",
        )
    return symbol, k


def news_request(query: bytes) -> tuple[int, int]:
    """The id and the seconds of a query `after=…&wait=…`. Raises RequestRefused for anything else."""
    fields = _fields(query, ("after", "wait"))
    after, wait = (
        _number((fields or {}).get(name, "0"), most) for name, most in (("after", MOST_ID), ("wait", LONGEST_WAIT))
    )
    if fields is None or after is None or wait is None:
        raise RequestRefused(
            400,
            code="FPM-HTTP-080",
            wrong="the query is not the id of a publication and perhaps seconds to wait",
            todo=f"write ?after=0&wait={LONGEST_WAIT}, at most {LONGEST_WAIT} seconds",
        )
    return after, wait


def history_request(query: bytes) -> HistoryRequest:
    """What a query `symbol=…` of the history asks for. Raises RequestRefused for anything else."""
    fields = _fields(query, ("symbol", "view", *WITHIN.values(), "first", "last", "known_at")) or {}
    view, symbol = fields.get("view", "scores"), fields.get("symbol", "")
    others = set(WITHIN.values()) - {WITHIN.get(view)}
    within = fields.get(WITHIN.get(view, ""))
    try:
        first, last = (_day(fields.get(name, default)) for name, default in _ENDS)
        known_at = _moment(fields["known_at"]) if "known_at" in fields else None
        good = view in HISTORIES and is_text(symbol) and not others & fields.keys() and first <= last
    except ValueError:
        good = False
    if not good or not (within is None or is_text(within)):
        raise RequestRefused(
            400,
            code="FPM-HTTP-080",
            wrong="the query is not a symbol, and perhaps a view, a stream or an index, sessions and a moment",
            todo="write ?symbol=600000.SH&view=scores&stream=dual&first=2024-12-02&last=2024-12-31"
            "&known_at=2024-12-31T12:00:00Z",
        )
    return HistoryRequest(symbol, view, within, first, last, known_at)


_ENDS = (("first", "0001-01-01"), ("last", "9999-12-31"))


def _fields(query: bytes, names: Sequence[str]) -> dict[str, str] | None:
    """The fields of a query; None where it is none, or has others, or one twice."""
    try:
        text = query.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict") if text else []
    except ValueError:
        return None
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) and fields.keys() <= set(names) else None


def _number(text: str, most: int) -> int | None:
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) or int(text) > most:
        return None
    return int(text)


def _day(text: str) -> date:
    if not _DAY.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def _moment(text: str) -> datetime:
    """A moment with a zone, in the form of RFC 3339. Raises ValueError for anything else."""
    if not _MOMENT.fullmatch(text):
        raise ValueError(text)
    return datetime.fromisoformat(text)
