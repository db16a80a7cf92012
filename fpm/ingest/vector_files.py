"""Files of another encoder's vectors -> rows of the table `vectors`: one vintage and one length a file.

A vector is a Parquet list of float32 or float64; it is kept in single precision.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from fpm.errors import UsageError
from fpm.ingest.bar_files import SYNONYMS, RawFile, read_file
from fpm.ingest.daily_files import ReferenceRows
from fpm.ingest.quarantine import Check, first_faults
from fpm.ingest.score_files import NAMES as SCORE_NAMES
from fpm.ingest.score_files import days_of, known_moments, nothing, without_repeats
from fpm.ingest.stamps import sessions_of
from fpm.ingest.time_spellings import NO_ORDER, Order
from fpm.ingest.vendor_files import refusal
from fpm.schema import STREAMS, VECTORS, VINTAGE_NAME
from fpm.sessions import cut_off
from fpm.symbols import with_symbols

if TYPE_CHECKING:
    from datetime import date, datetime
    from pathlib import Path

    from fpm.ingest.columns import Synonyms
    from fpm.markets import Market

NAMES: Synonyms = {
    **SYNONYMS,
    "session": SCORE_NAMES["session"],
    "known_at": SCORE_NAMES["known_at"],
    "vector": ("embedding", "fingerprint"),
}
KEYS = ("session", *VECTORS.keys)
LONGEST = 4096  # numbers of a vector


def require_vintage_name(name: str) -> None:
    """Raises UsageError 221 for what is no name of a vintage from outside."""
    if wrong := _no_vintage(name):
        raise UsageError(
            code="FPM-IN-221",
            wrong=wrong,
            effect="nothing was read",
            todo="use letters, digits, - and _, at most 58, e.g. --vintage my-encoder-3",
        )


def read_vectors(
    path: Path, market: Market, order: Order = NO_ORDER, *, now: datetime, vintage: str | None = None
) -> ReferenceRows:
    """Vectors of a file: row, session, symbol, vintage, vector (float32, all of one length), known_at (UTC or null).

    The vintage is `vintage`, else the file's column. A known_at without a zone is exchange-local. Symbols, the vintage
    itself and its length in other files are judged by `producers.vectors`.
    Raises InputRefused as `bar_files.read_file` does; 221 no name of a vintage, 222 another vintage than `vintage` or
    several, 223 vectors of several lengths.
    """
    read = partial(
        read_file, path, ("symbol", "session", "vector"), ("known_at", "vintage"), order, (), NAMES, lists=("vector",)
    )  # fmt: skip
    raw = read()
    name = _vintage_of(raw, vintage)
    known, no_moment = known_moments(raw, market, order)
    typed = raw.frame.select("row", "symbol", days_of(raw, market), "vector", vintage=pl.lit(name))
    rows = with_symbols(typed.with_columns(known, no_moment), market)
    sessions = sessions_of(path, rows["session"], market)
    limits = _limits(sessions, market)
    limit = pl.col("session").replace_strict(limits, default=None, return_dtype=pl.Datetime("us", "UTC"))
    checks = [
        Check(code=pl.col("symbol_code"), condition=pl.col("symbol").is_null(), wrong="{symbol_reason}"),
        Check(
            code="FPM-IN-135",
            condition=~pl.col("session").is_in(sessions).fill_null(False),
            wrong="no session of the market",
        ),
        Check(code="FPM-IN-224", condition=~_is_whole(), wrong="no vector, or a number in it that is not finite"),
        Check(code="FPM-IN-225", condition=pl.col("no_moment"), wrong="known_at is no moment"),
        Check(code="FPM-IN-225", condition=pl.col("known_at") > now, wrong="known_at {known_at} is yet to come"),
        Check(
            code="FPM-IN-226",
            condition=pl.col("known_at") > limit,
            wrong="known_at {known_at} is later than the cut-off of {session}",
        ),
    ]
    faults = first_faults(rows, checks)
    good = rows.join(faults, on="row", how="anti", maintain_order="left")
    _require_one_length(path, good["vector"])
    kept, conflicts, copies = without_repeats(good, KEYS, ("vector", "known_at"))
    kept = kept.select("row", *KEYS, "vector", "known_at").sort(*KEYS)
    file = ReferenceRows(
        path, VECTORS.name, raw.sha256, raw.frame.height, kept, nothing(raw), raw.synonyms, raw.ignored, read
    )
    return replace(
        file,
        quarantined=file.with_faults(pl.concat([faults, conflicts]).sort("row")),
        deduplicated=copies,
    )


def length_of(file: ReferenceRows) -> int:
    """Numbers in each vector of a file; 0 where it has no good row."""
    return len(file.frame["vector"][0]) if file.frame.height else 0


def _no_vintage(name: str) -> str:
    if name in STREAMS:
        return f"{name} is a stream of fpm's own"
    return "" if re.fullmatch(VINTAGE_NAME, name) else f"{name!r} is no name of a vintage"


def _vintage_of(raw: RawFile, vintage: str | None) -> str:
    """The one vintage of a file. Raises InputRefused 221, 222."""
    own = []
    if "vintage" in raw.frame.columns:
        own = raw.frame["vintage"].cast(pl.String).unique().sort().to_list()
    names = [str(name) for name in dict.fromkeys([*([vintage] if vintage else []), *own])]
    if len(names) > 1:
        raise refusal(
            raw.path,
            code="FPM-IN-222",
            wrong=f"vectors of {len(names)} vintages ({', '.join(names[:3])})",
            todo="deliver each vintage in a file of its own: the vectors of two trainings cannot be compared",
        )
    wrong = _no_vintage(names[0]) if names else "it does not name the vintage of its vectors"
    if wrong:
        raise refusal(raw.path, code="FPM-IN-221", wrong=wrong, todo="say --vintage NAME, or add a column vintage")
    return names[0]


def _is_whole() -> pl.Expr:
    """Whether a cell is a vector of finite numbers, not too long."""
    finite = pl.col("vector").list.eval(pl.element().is_finite().fill_null(False)).list.all()
    return (pl.col("vector").list.len().is_between(1, LONGEST) & finite).fill_null(False)


def _require_one_length(path: Path, vectors: pl.Series) -> None:
    lengths = vectors.list.len().unique().sort().to_list()
    if len(lengths) > 1:
        raise refusal(
            path,
            code="FPM-IN-223",
            wrong=f"vectors of {len(lengths)} lengths ({', '.join(map(str, lengths[:3]))})",
            todo="deliver vectors of one length: those of another are another vintage's",
        )


def _limits(sessions: list[date], market: Market) -> dict[date, datetime]:
    return {session: cut_off(market, session) for session in sessions}
