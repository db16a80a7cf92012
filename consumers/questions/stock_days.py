"""The session and symbol that a question names, and the refusals where they do not exist or have no fingerprint."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from fpm.errors import TryLater, UsageError
from fpm.sessions import is_session
from fpm.symbols import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from fpm.markets import Market
    from fpm.store.ledger.stores import Stores


def require_session(session: date, market: Market, *, code: str, effect: str) -> None:
    """Raises UsageError for a day without trading."""
    if not is_session(market, session):
        raise UsageError(
            code=code,
            wrong=f"{session} is no session of {market.name}",
            effect=effect,
            todo="give a day on which the market trades",
        )


def canonical_symbol(symbol: str, market: Market, *, code: str, effect: str) -> str:
    """The symbol in the spelling of the lake. Raises UsageError where it is none of this market."""
    reading = normalise(symbol, market)
    if reading.symbol is None:
        raise UsageError(
            code=code, wrong=reading.reason, effect=effect, todo="give a symbol such as `fpm export` shows"
        )
    return reading.symbol


def traded_symbols(session: date, stores: Stores) -> list[str]:
    """Symbols with a daily bar in the session."""
    symbols: list[str] = stores.read("daily_bars", session, session, columns=["symbol"])["symbol"].to_list()
    return symbols


def no_fingerprint(symbol: str, session: date, *, code: str, effect: str) -> TryLater:
    """The error for a symbol that traded in the session and has no fingerprint of it."""
    return TryLater(
        code=code,
        wrong=f"{symbol} has no fingerprint in {session}",
        effect=effect,
        todo="ask for a session in which it traded all day, or see its rows in minute_features",
    )


def no_symbol(symbol: str, session: date, symbols: Iterable[str], *, code: str, effect: str) -> UsageError:
    """The error for a symbol that the session does not have; it names the nearest of those it has."""
    near = get_close_matches(symbol, sorted(set(symbols)), n=3)
    return UsageError(
        code=code,
        wrong=f"there is no symbol {symbol} in {session}",
        effect=effect,
        todo=f"did you mean {', '.join(near)}?" if near else "see the symbols: fpm export fingerprints",
    )
