"""The stock-days most like one by fingerprint, among those known at a moment, and what happened next.

Writes only the archive of vectors, which is derived from the lake.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers.questions.stock_days import (
    canonical_symbol,
    no_fingerprint,
    no_symbol,
    require_session,
    traded_symbols,
)
from fpm.errors import TryLater, UsageError
from fpm.evaluation import analogues
from fpm.identities import names_of
from fpm.schema import FINGERPRINTS
from fpm.sessions import cut_off, sessions_between
from fpm.store.frames.vector_archive import vector_archive
from fpm.store.online.neighbours import OnlineFingerprints, online_fingerprints, published_neighbours

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fpm.evaluation.analogues import AnaloguesConfig, Comparison, Vectors
    from fpm.store.ledger.stores import Stores

NAME = FINGERPRINTS.name


@dataclass(frozen=True)
class Question:
    """The k stock-days most like `symbol` in `session`, as known at `before` (None: the cut-off).

    `vintage`: needed only where the query has fingerprints of several.
    """

    symbol: str
    session: date
    before: datetime | None = None
    k: int = 20
    vintage: str | None = None


@dataclass(frozen=True)
class Answer:
    """The nearest stock-days.

    `analogues`: session, symbol, similarity, nearest first; over history also outcome and matched
    (`analogues.with_outcomes`). `candidates`: number of stock-days searched; None for the published session.
    `searched`: the way of searching, in words.
    """

    symbol: str
    session: date
    vintage: str
    known_at: datetime
    candidates: int | None
    analogues: pl.DataFrame
    comparison: Comparison | None
    searched: str = "exactly"

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        document: dict[str, Any] = {"symbol": self.symbol, "session": str(self.session), "vintage": self.vintage}
        document |= {"known_at": self.known_at.isoformat(), "candidates": self.candidates, "searched": self.searched}
        document["analogues"] = self.analogues.with_columns(pl.col("session").cast(pl.String)).to_dicts()
        return document | ({"comparison": self.comparison.to_dict()} if self.comparison else {})


@dataclass(frozen=True)
class Query:
    """A stock-day with its fingerprint as known at `known_at`."""

    symbol: str
    session: date
    vintage: str
    known_at: datetime
    vector_D: NDArray[np.float32]


def similar(question: Question, stores: Stores, scratch: Path | None = None) -> Answer:
    """The nearest stock-days in the whole history of the query's vintage, by exact search, and what happened next.

    `scratch`: where an archive is made while the home's own is behind, for who may not write in the home.
    Only vectors and outcomes known at `before` count, and no outcome that shares a session with the query's own.
    Raises UsageError for a question that makes no sense, TryLater where the query has no fingerprint or there is
    nothing to compare it with.
    """
    config = analogues.PRESETS[stores.settings.preset]
    query = _query(question, stores)
    vectors = vector_archive(query.vintage, stores, scratch)
    sessions = _sessions(vectors, query, stores)
    embargo = analogues.embargo_bounds(sessions, query.session, config.embargo)
    eligible_N = _eligible(vectors, query, embargo, stores)
    row_K, cosine_K = analogues.nearest(vectors, query.vector_D, eligible_N, question.k)
    if not len(row_K):
        raise TryLater(
            code="FPM-ANA-077",
            wrong=f"no other fingerprint of vintage {query.vintage} was known at {query.known_at}",
            effect="nothing was compared",
            todo="give a later --before, or write more history: fpm backfill fingerprints FIRST LAST",
        )
    nearest = vectors.stock_days(row_K).with_columns(similarity=pl.Series(cosine_K))
    rows, comparison = _outcomes(nearest, query, sessions, config, stores)
    return Answer(query.symbol, query.session, query.vintage, query.known_at, int(eligible_N.sum()), rows, comparison)


def similar_online(question: Question, stores: Stores) -> Answer:
    """The nearest stocks of the published session, by the online index, or by exact search while that is behind.

    What happens to them next is not known yet.

    Raises what `similar` raises, and UsageError where the query's fingerprint is of another vintage than the session.
    """
    config, online = analogues.PRESETS[stores.settings.preset], online_fingerprints(stores)
    known_at = question.before or max(online.known_at, cut_off(stores.market, question.session))
    query = _query(replace(question, before=known_at), stores, online)
    sessions = sessions_between(stores.market, *sorted((query.session, online.session)))
    excluded = _name(query, online.session, stores) if len(sessions) - 1 <= config.embargo else ""
    rows, by_index = published_neighbours(query.vector_D.tolist(), online, known_at, excluded, question.k, stores)
    if rows.is_empty():
        raise TryLater(
            code="FPM-ANA-077",
            wrong=f"no fingerprint of the published session {online.session} was known at {known_at}",
            effect="nothing was compared",
            todo=f"give --before from {online.known_at.isoformat()} on, or leave --latest out",
        )
    searched = "by the index, nearly" if by_index else "exactly: the index is behind the publication"
    return Answer(query.symbol, query.session, query.vintage, known_at, None, rows, None, searched)


# --- the query's company ------------------------------------------------------------------------------------------


def _names(query: Query, stores: Stores) -> list[tuple[str, date, date]]:
    """Every name of the query's company as known then, with its first and last day."""
    return names_of(stores.as_of(query.known_at).identities(), query.symbol, query.session)


def _name(query: Query, session: date, stores: Stores) -> str:
    """The name of the query's company in another session; "" where it has none then."""
    return next((name for name, first, last in _names(query, stores) if first <= session <= last), "")


def _eligible(vectors: Vectors, query: Query, embargo: tuple[date, date], stores: Stores) -> NDArray[np.bool_]:
    """Rows in force at the query's moment that are not of its company, under any name, within the embargo (N,)."""
    known_at = round(query.known_at.timestamp() * 1e6)
    eligible_N = np.ones(len(vectors.length_N), np.bool_)
    for name, first, last in _names(query, stores):
        days = max(first, embargo[0]), min(last, embargo[1])
        eligible_N &= analogues.eligible(vectors, name, days, known_at)
    return eligible_N


# --- the query ----------------------------------------------------------------------------------------------------


def _query(question: Question, stores: Stores, online: OnlineFingerprints | None = None) -> Query:
    """The query's fingerprint as known then; `online`: the published session that is searched, if one is."""
    effect = "nothing was searched"
    if question.k < 1:
        raise UsageError(code="FPM-ANA-001", wrong=f"k is {question.k}", effect=effect, todo="give --k 1 or more")
    require_session(question.session, stores.market, code="FPM-ANA-002", effect=effect)
    symbol = canonical_symbol(question.symbol, stores.market, code="FPM-ANA-003", effect=effect)
    known_at = question.before or cut_off(stores.market, question.session)
    versions = _versions(symbol, question.session, stores)
    rows = versions.filter(pl.col("created_timestamp") <= known_at).unique("vintage", keep="last", maintain_order=True)
    rows = rows.drop_nulls("fingerprint")
    if rows.is_empty():
        raise UsageError(
            code="FPM-ANA-004",
            wrong=f"the fingerprint of {symbol} in {question.session} was not known at {known_at.isoformat()}",
            effect=effect,
            todo=f"give --before from {versions['created_timestamp'].min().isoformat()} on",  # type: ignore[union-attr]
        )
    row = _of_one_vintage(rows, question.vintage or (online.vintage if online else None))
    if online and row["vintage"] != online.vintage:
        raise UsageError(
            code="FPM-ANA-006",
            wrong=f"the query is of vintage {row['vintage']}, session {online.session} online is of {online.vintage}",
            effect="vectors of two vintages were not compared",
            todo="leave --vintage or --latest out",
        )
    return Query(symbol, question.session, row["vintage"], known_at, np.array(row["fingerprint"], np.float32))


def _versions(symbol: str, session: date, stores: Stores) -> pl.DataFrame:
    """Every version under every vintage, oldest first, at least one with a vector.

    Columns vintage, fingerprint, created_timestamp. Raises TryLater or UsageError where there is no vector.
    """
    files = stores.lake.files(NAME, session, session)
    if not files:
        raise TryLater(
            code="FPM-ANA-075",
            wrong=f"session {session} has no fingerprints",
            effect="nothing was searched",
            todo=f"write them: fpm run fingerprints {session}",
        )
    columns = ("symbol", "vintage", "fingerprint", "created_timestamp")
    stored = pl.concat(stores.lake.decode(path, columns) for _, path in files)
    versions = stored.filter(pl.col("symbol") == symbol).sort("created_timestamp", "vintage")
    if versions["fingerprint"].count():
        return versions
    effect, traded = "nothing was searched", traded_symbols(session, stores)
    if symbol in traded:
        raise no_fingerprint(symbol, session, code="FPM-ANA-078", effect=effect)
    raise no_symbol(symbol, session, [*stored["symbol"].to_list(), *traded], code="FPM-ANA-003", effect=effect)


def _of_one_vintage(rows: pl.DataFrame, vintage: str | None) -> dict[str, Any]:
    """The only row, or that of `vintage`. Raises UsageError where that is not one row."""
    names = sorted(rows["vintage"].to_list())
    if vintage is None and len(names) > 1:
        raise UsageError(
            code="FPM-ANA-005",
            wrong=f"the query has fingerprints of vintages {', '.join(names)}",
            effect="vectors of two vintages were not compared",
            todo="name one with --vintage",
        )
    if vintage is not None and vintage not in names:
        raise UsageError(
            code="FPM-ANA-006",
            wrong=f"the query has no fingerprint of vintage {vintage} that was known then",
            effect="vectors of two vintages were not compared",
            todo=f"it has {', '.join(names)}",
        )
    return rows.row(0 if vintage is None else rows["vintage"].to_list().index(vintage), named=True)


# --- what happened next -------------------------------------------------------------------------------------------


def _sessions(vectors: Vectors, query: Query, stores: Stores) -> list[date]:
    """The market's sessions from the first in the archive or the query to the last."""
    ends = [date.fromordinal(analogues.EPOCH + int(day)) for day in (vectors.session_N.min(), vectors.session_N.max())]
    return sessions_between(stores.market, min(query.session, ends[0]), max(query.session, ends[1]))


def _outcomes(
    nearest: pl.DataFrame, query: Query, sessions: list[date], config: AnaloguesConfig, stores: Stores
) -> tuple[pl.DataFrame, Comparison | None]:
    """The analogues with outcome and matched, and their comparison."""
    then, hidden = stores.as_of(query.known_at), _hidden(sessions, query.session, stores)
    days = sorted(set(nearest["session"].to_list()) - hidden)
    market = pl.concat([_market(day, then) for day in days]) if days else _NO_MARKET
    outcomes = pl.concat(
        analogues.with_outcomes(part, market, own, config.matches, stores.settings.seed)
        for own, part in _by_own_name(nearest.select("session", "symbol"), query, stores)
    )
    rows = nearest.join(outcomes, on=["session", "symbol"], how="left", maintain_order="left")
    return rows, analogues.compare(rows, sessions, config.level, stores.settings.model_choices.horizon)


def _hidden(sessions: list[date], session: date, stores: Stores) -> set[date]:
    """Sessions whose outcome shares a day with the query's own."""
    return analogues.hidden_sessions(sessions, session, stores.settings.model_choices.horizon)


def _by_own_name(nearest: pl.DataFrame, query: Query, stores: Stores) -> list[tuple[str, pl.DataFrame]]:
    """The analogues by the name that the query's company had in their sessions."""
    names = {day: _name(query, day, stores) for day in nearest["session"].unique().to_list()}
    parts = nearest.with_columns(own=pl.col("session").replace_strict(names, return_dtype=pl.String))
    return [(str(name), part.drop("own")) for (name,), part in parts.partition_by("own", as_dict=True).items()]


_NO_MARKET = pl.DataFrame(
    schema={"session": pl.Date, "symbol": pl.String, "industry": pl.String, "size": pl.Float32, "outcome": pl.Float64}
)


def _market(session: date, then: Stores) -> pl.DataFrame:
    """session, symbol, industry, size and outcome of everything that traded in a session, as known then."""
    bars, factors, labels = (
        then.read(table, session, session, columns=["symbol", *columns]).drop("session")
        for table, columns in (("daily_bars", ["industry"]), ("daily_factors", ["log_size"]), ("labels", ["label"]))
    )
    if "industry" not in bars.columns:
        bars = bars.with_columns(industry=pl.lit(None, pl.String))
    joined = bars.join(factors, on="symbol", how="left").join(labels, on="symbol", how="left")
    return joined.select(
        pl.lit(session).alias("session"), "symbol", "industry", size="log_size", outcome=pl.col("label")
    )
