"""What a file of a delivery is, by its name and the names of its columns; the columns decide where the name is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.errors import InputRefused
from fpm.ingest.bar_files import SYNONYMS
from fpm.ingest.decoder import decode
from fpm.ingest.member_intervals import NAMES as INTERVAL_NAMES
from fpm.ingest.score_files import NAMES as SCORE_NAMES
from fpm.ingest.vector_files import NAMES as VECTOR_NAMES
from fpm.schema import PRICES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

BARS, DAILY, MEMBERS, INTERVALS, SYMBOLS, SCORES, HOLDINGS, RESTRICTIONS, VECTORS = (
    "minute_bars",
    "daily_bars",
    "index_members",
    "member_intervals",
    "symbols",
    "scores",
    "holdings",
    "restrictions",
    "vectors",
)
CLOCK_TIMES = ("minute", "time")  # a column of times makes bars of what would else be days


def kind_of_table(path: Path) -> str:
    """The kind of one plain file; `BARS` for whatever is nothing else, so that its refusal is that of bars."""
    if path.stem in (DAILY, SYMBOLS, HOLDINGS, RESTRICTIONS):
        return path.stem
    if path.parent.name == BARS:
        return BARS
    try:
        facts, _ = decode("fpm.ingest.table_files:names_of", path)
        kind = kind_of_columns(facts["header"])
    except InputRefused:
        kind = BARS  # reading it for its rows says why
    return path.stem if kind == BARS and path.stem in (MEMBERS, SCORES, VECTORS) else kind


def kind_of_columns(header: Iterable[str]) -> str:
    """The kind of a table with these columns.

    >>> kind_of_columns(["symbol", "date", "score"]), kind_of_columns(["ticker", "from", "to"])
    ('scores', 'member_intervals')
    >>> kind_of_columns(["symbol", "date", "open", "high", "low", "close", "volume"])
    'daily_bars'
    >>> kind_of_columns(["index", "date", "code", "shares"]), kind_of_columns(["symbol", "from", "to", "reason"])
    ('holdings', 'restrictions')
    """
    words = {name.strip().lower() for name in header}
    prices = set(PRICES) <= words
    if not prices and _has(words, ("symbol", "session", "vector"), VECTOR_NAMES):
        return VECTORS
    if not prices and _has(words, ("symbol", "session", "score"), SCORE_NAMES):
        return SCORES
    if not prices and {"from", "to", "reason"} <= words and _has(words, ("symbol",), SYNONYMS):
        return RESTRICTIONS  # before the intervals of members, which have the same days
    if not prices and "identity" not in words and _has(words, ("symbol", "first", "last"), INTERVAL_NAMES):
        return INTERVALS
    if any(_has(words, (name,), SYNONYMS) for name in CLOCK_TIMES):
        return BARS
    if _has(words, ("index", "session", "symbol", "weight"), SYNONYMS):
        return MEMBERS
    if not prices and _has(words, ("index", "session", "symbol", "shares"), SYNONYMS):
        return HOLDINGS
    return DAILY if prices and _has(words, ("symbol", "session", "volume"), SYNONYMS) else BARS


def _has(words: set[str], names: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> bool:
    return all(words & {name, *synonyms.get(name, ())} for name in names)
