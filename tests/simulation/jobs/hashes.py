"""What the jobs share: numbers from hashes."""

from datetime import date
from hashlib import sha256

import polars as pl

from fpm.errors import InputRefused
from fpm.sessions import previous_sessions
from fpm.store.ledger.stores import Stores

BROKEN: dict[date, str] = {}  # sessions whose totals fail for ever, with the kind of error


def broken(session: date) -> None:
    kind = BROKEN.get(session)
    if kind == "refused":
        raise InputRefused(code="FPM-WLD-002", wrong=f"{session} is broken", effect="nothing", todo="nothing")
    if kind == "bug":
        raise KeyError(session)


def numbers(table: str, column: str, session: date, back: int, stores: Stores) -> pl.DataFrame:
    """A number a symbol, of its rows in `back` sessions before this one and in itself."""
    first = previous_sessions(stores.market, session, back)[0]
    rows = stores.read(table, first, session, columns=["session", "symbol", column])
    texts: dict[str, list[str]] = {}
    for day, symbol, value in rows.iter_rows():
        texts.setdefault(symbol, []).append(f"{day} {value}")
    cells = {
        symbol: int(sha256("\n".join(lines).encode()).hexdigest()[:8], 16) / 2**32 for symbol, lines in texts.items()
    }
    return pl.DataFrame(
        {"symbol": list(cells), "number": list(cells.values())}, schema={"symbol": pl.String, "number": pl.Float64}
    )


def digest(scores: pl.DataFrame) -> str:
    """Of the scores by symbol, as float32: the online table's type."""
    rows = scores.sort("symbol").select("symbol", pl.col("score").cast(pl.Float32))
    return sha256(repr(rows.rows()).encode()).hexdigest()
