"""Analogues: the stock-days with the most similar fingerprints, and their outcomes beside those of matched stock-days.

Similarity is the plain cosine. Measured on two synthetic exchanges (120 symbols x 150 sessions, demo preset, vectors
out of sample, 46 query sessions each), the mean oracle value of 20 analogues correlates with the query's own by 0.512
and 0.590 (plain), 0.512 and 0.591 (centred), 0.507 and 0.590 (centred and scaled), 0.501 and 0.562 (whitened), each
+- 0.009. Pre-training already keeps vectors nearly centred and of one scale, and statistics that are not used cannot
leak the future.

Shapes: N stored vectors, D numbers per vector, C candidates, K analogues, R runs of analogues.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import polars as pl

from fpm.evaluation.intervals import Interval, interval
from fpm.schema import HORIZON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EPOCH = date(1970, 1, 1).toordinal()
BLOCK = 131_072  # rows per product: 44 ms for 1.3 M x 128 on one thread, as with 4 k; two threads wait less often
ROUNDING = 2e-5  # between two float32 cosines of 128 numbers: 2 x 128 x 2^-24, and the divisions


@dataclass(frozen=True)
class AnaloguesConfig:
    """Settings of the search and the comparison.

    `embargo`: sessions before and after the query in which its own symbol is left out; it equals the scorer's look-back
    because overlapping windows are similar by construction. `matches`: matched stock-days per analogue, at most.
    """

    embargo: int = 20
    matches: int = 20
    level: float = 0.95


PRESETS = {
    "default": AnaloguesConfig(),
    "demo": AnaloguesConfig(embargo=10),
    "short": AnaloguesConfig(embargo=5),
    "tiny": AnaloguesConfig(embargo=3),
}


@dataclass(frozen=True)
class Vectors:
    """Every version of every fingerprint of one vintage.

    `symbol_N`: positions in `symbols`. `session_N`: days since 1970. `length_N`: norm of the vector, 0 where it was
    withdrawn. A version is in force from `known_N` until before `until_N` (microseconds since 1970, UTC).
    """

    vintage: str
    symbols: tuple[str, ...]
    vector_ND: NDArray[np.float32]
    length_N: NDArray[np.float32]
    symbol_N: NDArray[np.int32]
    session_N: NDArray[np.int32]
    known_N: NDArray[np.int64]
    until_N: NDArray[np.int64]

    def stock_days(self, row_K: NDArray[np.int64]) -> pl.DataFrame:
        """Session and symbol of rows, in their order."""
        days = [date.fromordinal(EPOCH + int(day)) for day in self.session_N[row_K]]
        names = [self.symbols[code] for code in self.symbol_N[row_K]]
        return pl.DataFrame({"session": days, "symbol": names}, schema={"session": pl.Date, "symbol": pl.String})


def day_number(session: date) -> int:
    """Days from 1970-01-01 to a session."""
    return session.toordinal() - EPOCH


def embargo_bounds(sessions: Sequence[date], query: date, embargo: int) -> tuple[date, date]:
    """First and last session in which the query's own symbol is left out.

    `sessions`: the market's, in order and including the query.
    """
    position = sessions.index(query)
    return sessions[max(0, position - embargo)], sessions[min(len(sessions) - 1, position + embargo)]


def eligible(vectors: Vectors, symbol: str, embargo: tuple[date, date], known_at: int) -> NDArray[np.bool_]:
    """Rows in force at `known_at` that are not of the query's symbol within the embargo (N,)."""
    usable_N = (vectors.known_N <= known_at) & (known_at < vectors.until_N) & (vectors.length_N > 0)
    if symbol in vectors.symbols:
        own = np.flatnonzero(vectors.symbol_N == vectors.symbols.index(symbol))
        first, last = map(day_number, embargo)
        usable_N[own[(vectors.session_N[own] >= first) & (vectors.session_N[own] <= last)]] = False
    return usable_N


def nearest(
    vectors: Vectors, query_D: NDArray[np.float32], eligible_N: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k eligible rows of the largest cosine, exactly, and their cosines; all where there are fewer.

    A float32 pass selects every candidate, float64 decides. Ties go to the later session, then by symbol, so the answer
    does not depend on the order of the stored rows.
    """
    count = min(k, int(eligible_N.sum()))
    if count == 0:
        return np.empty(0, np.int64), np.empty(0)
    cosine_N = _cosines(vectors, query_D)
    cosine_N[~eligible_N] = -np.inf
    least = np.partition(cosine_N, len(cosine_N) - count)[-count]
    row_C = np.flatnonzero((cosine_N >= least - ROUNDING) & eligible_N)
    exact_CD, query = vectors.vector_ND[row_C].astype(np.float64), query_D.astype(np.float64)
    cosine_C = (exact_CD * query).sum(axis=1) / np.sqrt((exact_CD**2).sum(axis=1) * (query**2).sum())
    names = np.array(vectors.symbols)[vectors.symbol_N[row_C]]
    order = np.lexsort((names, -vectors.session_N[row_C], -cosine_C))[:count]
    return row_C[order], cosine_C[order]


def _cosines(vectors: Vectors, query_D: NDArray[np.float32]) -> NDArray[np.float32]:
    cosine_N = np.empty(len(vectors.length_N), np.float32)
    direction_D = (query_D / np.linalg.norm(query_D.astype(np.float64))).astype(np.float32)
    for start in range(0, len(cosine_N), BLOCK):
        part = slice(start, start + BLOCK)
        np.dot(vectors.vector_ND[part], direction_D, out=cosine_N[part])
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine_N /= vectors.length_N
    return cosine_N


# --- outcomes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """Mean outcome of the analogues beside that of their matched stock-days.

    `counted`: analogues with both. `periods`: runs of analogues whose outcomes share no session with another run's;
    with fewer than two there is no interval.
    """

    counted: int
    periods: int
    analogues: float
    matched: float
    difference: float
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """JSON values of the fields, the interval as `low` and `high`."""
        ends = {"low": self.interval and self.interval.low, "high": self.interval and self.interval.high}
        return {name: value for name, value in asdict(self).items() if name != "interval"} | ends


def hidden_sessions(sessions: Sequence[date], query: date, horizon: int = HORIZON) -> set[date]:
    """Sessions whose outcome overlaps the query's session or its own outcome, and would give it away.

    An outcome runs from close(t+1) to close(t+1+horizon). `sessions`: the market's, in order and including the query.
    """
    position = sessions.index(query)
    return set(sessions[max(0, position - horizon - 1) : position + horizon + 1])


def with_size_third(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows (session, size, ...) with `third`: 0, 1 or 2 by size within the session; null without a size."""
    position = pl.col("size").rank("min").over("session") - 1
    return rows.with_columns(third=(3 * position / pl.col("size").count().over("session")).floor().cast(pl.Int8))


def with_outcomes(
    analogues: pl.DataFrame, market: pl.DataFrame, query_symbol: str, draws: int, seed: int
) -> pl.DataFrame:
    """`analogues` (session, symbol) with `outcome` and `matched`, the mean outcome of up to `draws` random stock-days.

    `market`: session, symbol, size, industry and outcome (null where unknown) in the analogues' sessions; a session
    without rows has no outcomes. A match shares the analogue's session (so that the market's move cancels), size third
    and industry (an unknown industry counts as one); it is no analogue itself and not of `query_symbol`. The draw
    depends only on the seed and the analogue. `matched` is null without an outcome or without a match.
    """
    markets = {day: part for (day,), part in with_size_third(market).partition_by("session", as_dict=True).items()}
    by_session = analogues.group_by("session").agg("symbol")
    excluded = {day: {query_symbol, *symbols} for day, symbols in by_session.rows()}
    rows = [_outcomes(day, symbol, markets.get(day), excluded[day], draws, seed) for day, symbol in analogues.rows()]
    return analogues.with_columns(
        outcome=pl.Series([outcome for outcome, _ in rows], dtype=pl.Float64),
        matched=pl.Series([mean for _, mean in rows], dtype=pl.Float64),
    )


def _outcomes(
    session: date, symbol: str, market: pl.DataFrame | None, excluded: set[str], draws: int, seed: int
) -> tuple[float | None, float | None]:
    """Outcome of one analogue and the mean outcome of its matches."""
    own = None if market is None else market.filter(pl.col("symbol") == symbol)
    if market is None or own is None or own.is_empty() or own["outcome"].item() is None:
        return None, None
    same = [pl.col(name).eq_missing(pl.lit(own[name].item(), own.schema[name])) for name in ("third", "industry")]
    pool = market.filter(*same, ~pl.col("symbol").is_in(excluded)).drop_nulls("outcome").sort("symbol")["outcome"]
    if pool.is_empty():
        return float(own["outcome"].item()), None
    generator = np.random.default_rng([seed, session.toordinal(), crc32(symbol.encode())])
    matches = generator.choice(pool.to_numpy(), min(draws, len(pool)), replace=False)
    return float(own["outcome"].item()), float(matches.mean())


def compare(
    analogues: pl.DataFrame, sessions: Sequence[date], level: float, horizon: int = HORIZON
) -> Comparison | None:
    """Mean of outcome - matched over the analogues with both, and its interval; None without any.

    Analogues less than `horizon` sessions apart share part of their outcome, so each run of them counts as one
    observation (errors clustered by run, Liang and Zeger 1986; Student t with runs - 1 degrees of freedom).
    `analogues`: session, symbol, outcome, matched. `sessions`: the market's, in order.
    """
    both = analogues.drop_nulls(["outcome", "matched"]).sort("session", "symbol")
    if both.is_empty():
        return None
    positions = {day: position for position, day in enumerate(sessions)}
    position_K = np.array([positions[day] for day in both["session"].to_list()])
    run_K = np.concatenate([[0], np.cumsum(np.diff(position_K) >= horizon)])
    difference_K = (both["outcome"] - both["matched"]).to_numpy()
    runs = int(run_K[-1]) + 1
    error = None
    if runs > 1:
        sum_R = np.bincount(run_K, difference_K - difference_K.mean())
        error = float(np.sqrt(runs / (runs - 1) * (sum_R**2).sum()) / len(difference_K))
    mean = {name: float(both[name].to_numpy().mean()) for name in ("outcome", "matched")}
    return Comparison(
        len(both),
        runs,
        mean["outcome"],
        mean["matched"],
        float(difference_K.mean()),
        interval(difference_K, error, runs, level, "clustered"),
    )
