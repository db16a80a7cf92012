"""The stock-days most like one, by fingerprint, among what was known, and what happened next.

Nothing is written but the archive of vectors, which is derived from the lake.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fpm.errors import TryLater, UsageError
from fpm.evaluation import analogues
from fpm.schema import FINGERPRINTS
from fpm.sessions import cut_off, is_session, sessions_between
from fpm.store.frames.vector_archive import vector_archive
from fpm.store.online.neighbours import Shown, published_neighbours, shown
from fpm.symbols import normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpm.evaluation.analogues import AnaloguesConfig, Comparison, Vectors
    from fpm.store.ledger.stores import Stores

NAME = FINGERPRINTS.name


@dataclass(frozen=True)
class Question:
    """What is asked: the k stock-days most like `symbol` in `session`, as known at `before` (None: the cut-off);
    `vintage` only where the query has fingerprints of several.
    """

    symbol: str
    session: date
    before: datetime | None = None
    k: int = 20
    vintage: str | None = None


@dataclass(frozen=True)
class Answer:
    """`analogues`: session, symbol, similarity, nearest first; over history also outcome and matched
    (`analogues.with_outcomes`). `candidates`: how many stock-days were searched, None of the published session.
    `searched`: how.
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
        told: dict[str, Any] = {"symbol": self.symbol, "session": str(self.session), "vintage": self.vintage}
        told |= {"known_at": self.known_at.isoformat(), "candidates": self.candidates, "searched": self.searched}
        told["analogues"] = self.analogues.with_columns(pl.col("session").cast(pl.String)).to_dicts()
        return told | ({"comparison": self.comparison.to_dict()} if self.comparison else {})


@dataclass(frozen=True)
class Query:
    """A stock-day with its fingerprint as known at `known_at`."""

    symbol: str
    session: date
    vintage: str
    known_at: datetime
    vector_D: NDArray[np.float32]


def similar(question: Question, stores: Stores) -> Answer:
    """The nearest stock-days of the whole history of the query's vintage, exactly, and what happened next.

    Only vectors and outcomes known at `before` count, and no outcome that shares a session with the query's own.
    Raises UsageError for a question that cannot be asked, TryLater where the query has no fingerprint or nothing to be
    compared with.
    """
    config = analogues.PRESETS[stores.settings.preset]
    query = _query(question, stores)
    vectors = vector_archive(query.vintage, stores)
    sessions = _sessions(vectors, query, stores)
    embargo = analogues.embargo_bounds(sessions, query.session, config.embargo)
    eligible_N = analogues.eligible(vectors, query.symbol, embargo, round(query.known_at.timestamp() * 1e6))
    row_K, cosine_K = analogues.nearest(vectors, query.vector_D, eligible_N, question.k)
    if not len(row_K):
        raise TryLater(
            code="FPM-ANA-077",
            wrong=f"no other fingerprint of vintage {query.vintage} was known at {query.known_at}",
            effect="nothing was compared",
            todo="give a later --before, or write more history: fpm backfill fingerprints FIRST LAST",
        )
    found = vectors.stock_days(row_K).with_columns(similarity=pl.Series(cosine_K))
    followed, comparison = _followed(found, query, sessions, config, stores)
    return Answer(
        query.symbol, query.session, query.vintage, query.known_at, int(eligible_N.sum()), followed, comparison
    )


def similar_online(question: Question, stores: Stores) -> Answer:
    """The nearest stocks of the published session, by the online index, or exactly while that is behind.

    What happens to them next nobody knows yet.

    Raises what `similar` raises, and UsageError where the query's fingerprint is of another vintage than the session.
    """
    config, of = analogues.PRESETS[stores.settings.preset], shown(stores)
    known_at = question.before or max(of.known, cut_off(stores.market, question.session))
    query = _query(Question(question.symbol, question.session, known_at, question.k, question.vintage), stores, of)
    sessions = sessions_between(stores.market, *sorted((query.session, of.session)))
    avoided = query.symbol if len(sessions) - 1 <= config.embargo else ""
    found, by_index = published_neighbours(query.vector_D.tolist(), of, known_at, avoided, question.k, stores)
    if found.is_empty():
        raise TryLater(
            code="FPM-ANA-077",
            wrong=f"no fingerprint of the published session {of.session} was known at {known_at}",
            effect="nothing was compared",
            todo=f"give --before from {of.known.isoformat()} on, or leave --latest out",
        )
    searched = "by the index, nearly" if by_index else "exactly: the index is behind the publication"
    return Answer(query.symbol, query.session, query.vintage, known_at, None, found, None, searched)


# --- the query ----------------------------------------------------------------------------------------------------


def _query(question: Question, stores: Stores, of: Shown | None = None) -> Query:
    """The query's fingerprint as known then; `of`: the published session it is compared with."""
    if question.k < 1:
        raise UsageError(
            code="FPM-ANA-001", wrong=f"k is {question.k}", effect="nothing was searched", todo="give --k 1 or more"
        )
    if not is_session(stores.market, question.session):
        raise UsageError(
            code="FPM-ANA-002",
            wrong=f"{question.session} is no session of {stores.market.name}",
            effect="nothing was searched",
            todo="give a day on which the market trades",
        )
    reading = normalise(question.symbol, stores.market)
    if reading.symbol is None:
        raise UsageError(
            code="FPM-ANA-003",
            wrong=reading.reason,
            effect="nothing was searched",
            todo="give a symbol such as `fpm export` shows",
        )
    symbol = reading.symbol
    known_at = question.before or cut_off(stores.market, question.session)
    versions = _versions(symbol, question.session, stores)
    known = versions.filter(pl.col("created_timestamp") <= known_at).unique("vintage", keep="last", maintain_order=True)
    known = known.drop_nulls("fingerprint")
    if known.is_empty():
        raise UsageError(
            code="FPM-ANA-004",
            wrong=f"the fingerprint of {symbol} in {question.session} was not known at {known_at.isoformat()}",
            effect="nothing was searched",
            todo=f"give --before from {versions['created_timestamp'].min().isoformat()} on",  # type: ignore[union-attr]
        )
    chosen = _of_one_vintage(known, question.vintage or (of.vintage if of else None))
    if of and chosen["vintage"] != of.vintage:
        raise UsageError(
            code="FPM-ANA-006",
            wrong=f"vintage {chosen['vintage']} is asked for, session {of.session} is published under {of.vintage}",
            effect="vectors of two vintages were not compared",
            todo="leave --vintage or --latest out",
        )
    return Query(symbol, question.session, chosen["vintage"], known_at, np.array(chosen["fingerprint"], np.float32))


def _versions(symbol: str, session: date, stores: Stores) -> pl.DataFrame:
    """vintage, fingerprint, created_timestamp: every version under every vintage, oldest first; at least one vector."""
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
    traded = stores.read("daily_bars", session, session, columns=["symbol"])["symbol"].to_list()
    if symbol in traded:
        raise TryLater(
            code="FPM-ANA-078",
            wrong=f"{symbol} has no fingerprint in {session}",
            effect="nothing was searched",
            todo="ask for a session in which it traded all day, or see its rows in minute_features",
        )
    near = get_close_matches(symbol, sorted({*stored["symbol"].to_list(), *traded}), n=3)
    raise UsageError(
        code="FPM-ANA-003",
        wrong=f"there is no symbol {symbol} in {session}",
        effect="nothing was searched",
        todo=f"did you mean {', '.join(near)}?" if near else "see the symbols: fpm export fingerprints",
    )


def _of_one_vintage(known: pl.DataFrame, vintage: str | None) -> dict[str, Any]:
    """The only row, or that of `vintage`."""
    names = sorted(known["vintage"].to_list())
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
    return known.row(0 if vintage is None else known["vintage"].to_list().index(vintage), named=True)


# --- what happened next -------------------------------------------------------------------------------------------


def _sessions(vectors: Vectors, query: Query, stores: Stores) -> list[date]:
    """The market's sessions from the first in the archive or the query to the last."""
    ends = [date.fromordinal(analogues.EPOCH + int(day)) for day in (vectors.session_N.min(), vectors.session_N.max())]
    return sessions_between(stores.market, min(query.session, ends[0]), max(query.session, ends[1]))


def _followed(
    found: pl.DataFrame, query: Query, sessions: list[date], config: AnaloguesConfig, stores: Stores
) -> tuple[pl.DataFrame, Comparison | None]:
    """The analogues with outcome and matched, and their comparison."""
    then, veil = stores.as_of(query.known_at), analogues.hidden_sessions(sessions, query.session)
    days = sorted(set(found["session"].to_list()) - veil)
    market = pl.concat([_market(day, then) for day in days]) if days else _NO_MARKET
    followed = analogues.with_outcomes(
        found.select("session", "symbol"), market, query.symbol, config.matches, stores.settings.seed
    )
    followed = found.hstack(followed.select("outcome", "matched"))
    return followed, analogues.compare(followed, sessions, config.level)


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
