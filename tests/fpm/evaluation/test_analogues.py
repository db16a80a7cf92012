"""Analogues against Python loops: eligible rows, nearest rows, matches, and the interval of a difference."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fpm.evaluation import analogues
from fpm.evaluation.analogues import PRESETS, Vectors, day_number
from fpm.nn.scorer import network
from fpm.sessions import market, sessions_between

SESSIONS = sessions_between(market("cn"), date(2024, 3, 1), date(2024, 4, 30))
NEVER = np.iinfo(np.int64).max
SYMBOLS = ("600000.SH", "600001.SH", "600002.SH", "600003.SH")


def vectors(seed: int, rows: int, width: int = 128) -> Vectors:
    """Random versions; a few withdrawn, a few equal."""
    rng = np.random.default_rng(seed)
    vector_ND = rng.normal(size=(rows, width)).astype(np.float32)
    vector_ND[rng.random(rows) < 0.2] = 0.0
    if rows > 3:
        vector_ND[-1] = vector_ND[0]
    known_N = rng.integers(0, 10, rows)
    return Vectors(
        "v",
        SYMBOLS,
        vector_ND,
        np.linalg.norm(vector_ND, axis=1),
        rng.integers(0, len(SYMBOLS), rows).astype(np.int32),
        np.array([day_number(SESSIONS[i]) for i in rng.integers(0, len(SESSIONS), rows)], np.int32),
        known_N,
        np.where(rng.random(rows) < 0.5, known_N + rng.integers(1, 5, rows), NEVER),
    )


def slow_eligible(archive: Vectors, symbol: str, query: date, embargo: int, known_at: int) -> list[bool]:
    answers = []
    for row in range(len(archive.known_N)):
        session = date.fromordinal(date(1970, 1, 1).toordinal() + int(archive.session_N[row]))
        apart = abs(SESSIONS.index(session) - SESSIONS.index(query))
        own = archive.symbols[archive.symbol_N[row]] == symbol and apart <= embargo
        in_force = archive.known_N[row] <= known_at < archive.until_N[row]
        answers.append(bool(in_force and not own and any(archive.vector_ND[row] != 0)))
    return answers


def slow_nearest(archive: Vectors, query: list[float], eligible: list[bool], k: int) -> list[tuple[float, int, str]]:
    rows = []
    for row, usable in enumerate(eligible):
        if usable:
            x = [float(value) for value in archive.vector_ND[row]]
            cosine = math.fsum(a * b for a, b in zip(x, query, strict=True)) / math.sqrt(
                math.fsum(a * a for a in x) * math.fsum(b * b for b in query)
            )
            rows.append((round(-cosine, 9), -int(archive.session_N[row]), archive.symbols[archive.symbol_N[row]]))
    return sorted(rows)[:k]


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 12), st.integers(0, 12), st.integers(0, 20))
def test_the_nearest_are_those_of_a_loop(seed: int, rows: int, k: int, known_at: int, embargo: int) -> None:
    archive, query = vectors(seed, rows), SESSIONS[seed % len(SESSIONS)]
    query_D = np.random.default_rng(seed + 1).normal(size=128).astype(np.float32)
    ends = analogues.embargo_bounds(SESSIONS, query, embargo)
    eligible_N = analogues.eligible(archive, SYMBOLS[0], ends, known_at)
    slow = slow_eligible(archive, SYMBOLS[0], query, embargo, known_at)
    assert eligible_N.tolist() == slow
    row_K, cosine_K = analogues.nearest(archive, query_D, eligible_N, k)
    expected = slow_nearest(archive, [float(value) for value in query_D], slow, k)
    nearest = [
        (round(-float(cosine), 9), -int(archive.session_N[row]), archive.symbols[archive.symbol_N[row]])
        for row, cosine in zip(row_K, cosine_K, strict=True)
    ]
    assert nearest == expected


def test_equal_cosines_do_not_depend_on_the_order_of_the_rows() -> None:
    archive = vectors(5, 40)
    same_ND = np.tile(archive.vector_ND[3], (40, 1)) * (2.0 ** (np.arange(40)[:, None] % 5)).astype(np.float32)
    order = np.random.default_rng(1).permutation(40)
    answers = []
    for rows in (np.arange(40), order):
        symbol_N, session_N = archive.symbol_N[rows], np.array(sorted(archive.session_N), np.int32)[rows]
        moved = Vectors(
            "v",
            SYMBOLS,
            same_ND[rows],
            np.linalg.norm(same_ND[rows], axis=1),
            symbol_N,
            session_N,
            archive.known_N,
            archive.until_N,
        )
        row_K, _ = analogues.nearest(moved, same_ND[0], np.ones(40, bool), 7)
        answers.append(moved.stock_days(row_K)["session"].to_list())
    assert answers[0] == answers[1] == sorted(answers[0], reverse=True)


@pytest.mark.parametrize("position", [0, 3, 20, len(SESSIONS) - 1])
def test_hidden_outcomes_share_a_session_with_the_query_or_its_outcome(position: int) -> None:
    query = SESSIONS[position]
    own = set(range(position, position + 7))  # the query's session, and close(t+1) to close(t+6)
    expected = {day for t, day in enumerate(SESSIONS) if own & set(range(t + 1, t + 7))}
    assert analogues.hidden_sessions(SESSIONS, query) == expected


def test_the_embargo_is_the_scorers_look_back() -> None:
    assert {name: config.embargo for name, config in PRESETS.items()} == {
        name: config.look_back for name, config in network.PRESETS.items()
    }


# --- matching -----------------------------------------------------------------------------------------------------
def stock_days(seed: int, symbols: int) -> pl.DataFrame:
    rng, days = np.random.default_rng(seed), SESSIONS[:3]
    rows = [
        (
            day,
            f"60{number:04d}.SH",
            None if rng.random() < 0.1 else float(rng.integers(0, 6)),
            None if rng.random() < 0.1 else f"industry {rng.integers(0, 2)}",
            None if rng.random() < 0.2 else float(rng.normal()),
        )
        for day in days
        for number in range(symbols)
    ]
    schema = {"session": pl.Date, "symbol": pl.String, "size": pl.Float64, "industry": pl.String, "outcome": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def slow_third(rows: list[dict[str, Any]], row: dict[str, Any]) -> int | None:
    sizes = [other["size"] for other in rows if other["session"] == row["session"] and other["size"] is not None]
    if row["size"] is None:
        return None
    return 3 * sum(size < row["size"] for size in sizes) // len(sizes)


@given(st.integers(0, 10**6), st.integers(1, 25))
def test_matches_are_of_the_session_third_and_industry(seed: int, symbols: int) -> None:
    """With more draws than matches every match is drawn, so the mean is that of a loop."""
    days = stock_days(seed, symbols)
    rows = days.to_dicts()
    sample = days.sample(min(4, len(days)), seed=seed).select("session", "symbol")
    analogue_keys = set(sample.rows())
    query_symbol = "600000.SH"
    rows_with_outcomes = analogues.with_outcomes(sample, days, query_symbol, 1000, seed).to_dicts()
    for analogue in rows_with_outcomes:
        (own,) = [r for r in rows if (r["session"], r["symbol"]) == (analogue["session"], analogue["symbol"])]
        others = [
            r["outcome"]
            for r in rows
            if r["session"] == own["session"]
            and slow_third(rows, r) == slow_third(rows, own)
            and r["industry"] == own["industry"]
            and r["outcome"] is not None
            and r["symbol"] != query_symbol
            and (r["session"], r["symbol"]) not in analogue_keys
        ]
        assert analogue["outcome"] == own["outcome"]
        if own["outcome"] is None or not others:
            assert analogue["matched"] is None
        else:
            assert analogue["matched"] == pytest.approx(sum(others) / len(others))


def test_the_draw_depends_on_the_seed_and_the_analogue_alone() -> None:
    days = stock_days(1, 200).with_columns(industry=pl.lit("one"), size=pl.lit(1.0), outcome=pl.arange(600) / 10)
    one = days.filter(pl.col("symbol").is_in(["600011.SH"])).select("session", "symbol")
    first = analogues.with_outcomes(one, days, "", 5, 0)
    assert (
        analogues.with_outcomes(one.reverse(), days.sample(fraction=1, shuffle=True, seed=3), "", 5, 0)
        .sort("session")
        .equals(first)
    )
    assert not analogues.with_outcomes(one, days, "", 5, 1)["matched"].equals(first["matched"])
    assert first["matched"].n_unique() == 3, "five of two hundred, drawn anew for each session"


def test_an_analogue_outside_the_market_has_no_outcome() -> None:
    days = stock_days(1, 5)
    lost = pl.DataFrame({"session": [SESSIONS[0], SESSIONS[9]], "symbol": ["609999.SH", "600001.SH"]})
    assert analogues.with_outcomes(lost, days, "", 5, 0).select("outcome", "matched").rows() == [(None, None)] * 2


# --- comparison ---------------------------------------------------------------------------------------------------
def with_matches(positions: list[int], outcomes: list[float], matches: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "session": [SESSIONS[position] for position in positions],
            "symbol": [f"60{i:04d}.SH" for i in range(len(positions))],
            "outcome": outcomes,
            "matched": pl.Series(matches, dtype=pl.Float64),
        }
    )


def test_apart_the_interval_is_students() -> None:
    outcomes, matches = [0.1, -0.2, 0.3, 0.05], [0.0, 0.1, 0.1, 0.0]
    answer = analogues.compare(with_matches([0, 5, 10, 15], outcomes, matches), SESSIONS, 0.95)
    difference = np.subtract(outcomes, matches)
    expected = stats.t.interval(0.95, 3, difference.mean(), stats.sem(difference))
    assert answer is not None and (answer.counted, answer.periods) == (4, 4) and answer.interval is not None
    assert (answer.interval.low, answer.interval.high) == pytest.approx(expected)
    assert answer.to_dict()["difference"] == pytest.approx(difference.mean())


def test_outcomes_that_overlap_count_once() -> None:
    """Each analogue three times in neighbouring sessions: the interval of the single ones."""
    outcomes = [0.1, -0.2, 0.3]
    once = analogues.compare(with_matches([0, 8, 16], outcomes, [0.0] * 3), SESSIONS, 0.9)
    thrice = analogues.compare(
        with_matches([0, 1, 2, 8, 9, 10, 16, 17, 18], [x for x in outcomes for _ in range(3)], [0.0] * 9), SESSIONS, 0.9
    )
    assert once is not None and thrice is not None and once.interval is not None and thrice.interval is not None
    assert (thrice.counted, thrice.periods) == (9, 3)
    assert thrice.interval.error == pytest.approx(once.interval.error)


def test_without_two_periods_there_is_no_interval_and_without_matches_nothing() -> None:
    one = analogues.compare(with_matches([0, 4, 8], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0]), SESSIONS, 0.95)
    assert one is not None and one.periods == 1 and one.interval is None and one.to_dict()["low"] is None
    assert analogues.compare(with_matches([0], [0.1], [None]), SESSIONS, 0.95) is None


def test_a_session_is_counted_in_days() -> None:
    assert day_number(date(1970, 1, 1) + timedelta(days=19_000)) == 19_000
