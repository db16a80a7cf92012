"""A seeded exchange of 30 names and 80 sessions with everything that hurts a ledger, and a portfolio walked through it.

Prices have two decimals. There are splits, dividends, both at once, a reverse split, halts with and without rows,
sessions locked at a limit, days of thin volume, amounts in wrong units, a delisting, and a change of stamp duty on the
way.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from fpm.portfolio.book import Book, cents, closes, last_rows
from fpm.portfolio.mandate import Mandate
from fpm.portfolio.session import DayPrices, Decision, Evening, decision_frame, step, targets_frame
from tests.fpm.evaluation.panels import weekdays

SESSIONS = weekdays(date(2023, 7, 3), 80)
SYMBOLS = [*(f"60{number:04d}.SH" for number in range(26)), *(f"68800{number}.SH" for number in range(4))]
GONE = SYMBOLS[3]  # its last session is number 41
LAST_SESSION = 41
EVENTS = {  # (session number, symbol number): shares for one, dividend in yuan a share
    (7, 0): (2.0, 0.0),
    (12, 1): (1.0, 0.137),
    (12, 27): (1.4, 0.0),
    (18, 5): (1.5, 0.25),
    (23, 6): (0.1, 0.0),
    (30, 7): (1.3, 0.0),
    (31, 8): (1.0, 1.5),
    (36, 9): (1.05, 0.1),
    (44, 28): (1.0, 0.0345),
    (50, 0): (1.1, 0.02),
    (61, 10): (3.0, 0.0),
}
HALTS = {11: range(20, 33), 12: range(41, 46), 13: range(5, 7)}  # rows without volume
ABSENT = {14: range(25, 39), 15: range(51, 53)}  # no rows
SPLIT_ABSENT = (34, 14)  # a split while its name has no row
LOCKS = {(6, 16): 1, (11, 17): -1, (16, 18): 1, (21, 19): -1, (26, 20): 1, (31, 1): -1, (56, 0): 1, (66, 3): 1}


def daily_panel(seed: int = 5) -> pl.DataFrame:
    """daily_bars rows of the exchange."""
    generator = np.random.default_rng(seed)
    close = np.round(generator.uniform(4, 80, len(SYMBOLS)), 2)
    factor, total = np.ones(len(SYMBOLS)), np.full(len(SYMBOLS), 1e9)
    rows = []
    for number, session in enumerate(SESSIONS):
        for name, symbol in enumerate(SYMBOLS):
            ratio, dividend = EVENTS.get((number, name), (1.0, 0.0))
            if (number, name) == SPLIT_ABSENT:
                ratio = 2.0
            exact = (close[name] - dividend) / ratio
            factor[name] *= close[name] / exact
            total[name] *= ratio
            reference = round(float(exact) + 1e-9, 2)
            up, down = round(reference * 1.1 + 1e-9, 2), round(reference * 0.9 + 1e-9, 2)
            halted = number in HALTS.get(name, ())
            move = float(np.clip(generator.normal(0.0005, 0.02), -0.09, 0.09))
            last = reference if halted else round(reference * (1 + move), 2)
            lock = 0 if halted else LOCKS.get((number, name), 0)
            last = {0: last, 1: up, -1: down}[lock]
            first = last if lock or halted else round(reference * (1 + move / 3), 2)
            spread = 0.0 if lock or halted else 0.01 * last
            high = min(up, round(max(first, last) + spread, 2))
            low = max(down, round(min(first, last) - spread, 2))
            volume = (
                0.0
                if halted
                else float(np.round(generator.lognormal(9 if name % 5 == 0 and number % 10 == 6 else 15, 0.5)))
            )
            vwap = generator.uniform(low, high) if high > low else last
            wrong_unit = 100 if generator.random() < 0.02 else 1
            close[name] = last
            if number in ABSENT.get(name, ()) or (symbol == GONE and number > LAST_SESSION):
                continue
            announced = symbol == GONE and number > LAST_SESSION - 8
            rows.append(
                {
                    "session": session,
                    "symbol": symbol,
                    "open": first,
                    "high": high,
                    "low": low,
                    "close": last,
                    "pre_close": reference,
                    "volume": volume,
                    "amount": volume * vwap / wrong_unit,
                    "adj_factor": factor[name],
                    "limit_up": up,
                    "limit_down": down,
                    "suspended": halted,
                    "total_shares": total[name],
                    "delist_date": SESSIONS[LAST_SESSION + 1] if announced else None,
                }
            )
    return _first_reference_after_absence(pl.DataFrame(rows, schema_overrides={"delist_date": pl.Date}))


def _first_reference_after_absence(daily: pl.DataFrame) -> pl.DataFrame:
    """A name that comes back has the reference of its last row, split where it was split meanwhile."""
    growth = pl.col("adj_factor") / pl.col("adj_factor").shift(1).over("symbol")
    gap = (pl.col("number") - pl.col("number").shift(1).over("symbol")) > 1
    numbers = pl.DataFrame({"session": SESSIONS, "number": range(len(SESSIONS))})
    reference = (pl.col("close").shift(1).over("symbol") / growth + 1e-9).round(2)
    rows = daily.join(numbers, on="session").sort("symbol", "session")
    return rows.with_columns(pl.when(gap).then(reference).otherwise("pre_close").alias("pre_close")).drop("number")


def benchmark(session: date) -> pl.DataFrame:
    """Equal weights of the names listed."""
    names = [name for name in SYMBOLS if name != GONE or session <= SESSIONS[LAST_SESSION]]
    return pl.DataFrame({"symbol": names, "weight": [1 / len(names)] * len(names)})


def naive_targets(evening: Evening, today: pl.DataFrame, weights: pl.DataFrame, score: np.ndarray) -> pl.DataFrame:
    """Benchmark weights and a tilt in lots; what has no volume today stays as it is."""
    nav, close = evening.nav, closes(evening.last)
    free = set(today.filter(pl.col("volume") > 0)["symbol"].to_list())
    given = dict(weights.iter_rows())
    held = evening.book.shares
    fixed = sum(held.get(name, 0) * cents(close[name]) for name in close if name not in free)
    wish = {
        name: max(0.0, given.get(name, 0.0) * (1 + 0.5 * float(np.tanh(score[number]))))
        for number, name in enumerate(SYMBOLS)
        if name in free and name in given
    }
    budget, total = 0.9995 * nav - fixed, sum(wish.values())
    rows = []
    for number, name in enumerate(SYMBOLS):
        if name not in close:
            continue
        shares = held.get(name, 0)
        if name in free:
            shares = int(budget * wish.get(name, 0.0) / total / cents(close[name])) // 100 * 100
            odd = held.get(name, 0) % 100
            if shares < held.get(name, 0) and odd and shares and name[:3] != "688":
                shares = min(shares + odd, held.get(name, 0)) if number % 2 else shares
            if name[:3] == "688" and 0 < shares < 400:
                shares = 0
        rows.append((name, shares, given.get(name, 0.0), float(score[number]), name in free, f"industry {number % 4}"))
    schema = ["symbol", "shares", "benchmark_weight", "score", "tradable", "industry"]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(size=pl.lit(0.0))


def walk(
    daily: pl.DataFrame, mandate: Mandate, seed: int = 6, sessions: int = len(SESSIONS)
) -> dict[str, pl.DataFrame]:
    """The export's tables, and `blocked`, of weekly naive targets over the first `sessions`."""
    generator = np.random.default_rng(seed)
    by_session = {key[0]: rows for key, rows in daily.partition_by("session", as_dict=True).items()}
    evening = Evening(Book({}, cents(mandate.capital)), last_rows(by_session[SESSIONS[0]]))
    tables: dict[str, list[pl.DataFrame]] = {
        name: []
        for name in (
            "decisions",
            "targets",
            "trades",
            "holdings",
            "nav",
            "actions",
            "blocked",
            "exposures",
            "covariance",
        )
    }
    decision = None
    for number, session in enumerate(SESSIONS[:sessions]):
        today = by_session[session]
        if decision or tables["nav"]:
            prices = DayPrices(today, evening.last)
            done = step(mandate, session, evening.book, prices, benchmark(SESSIONS[number - 1]), decision)
            evening, decision = done.evening, None
            for name in ("trades", "holdings", "nav", "actions", "blocked"):
                tables[name].append(getattr(done, name))
        else:
            evening = Evening(evening.book, last_rows(today, evening.last))
        if number % 5 == 0 and number + 1 < len(SESSIONS):
            names = naive_targets(evening, today, benchmark(session), generator.normal(size=len(SYMBOLS)))
            decision = Decision(session, names)
            rows = targets_frame(mandate.index, session, evening, names)
            tables["targets"].append(rows)
            tables["decisions"].append(decision_frame(mandate, session, SESSIONS[number + 1], "optimal", 0.05, 0.0))
            tables["exposures"].append(
                rows.select("session", "symbol", specific_variance=pl.lit(4e-4), market=pl.lit(1.0))
            )
            tables["covariance"].append(
                pl.DataFrame({"session": [session], "factor": ["market"], "other": ["market"], "value": [1e-4]})
            )
    return {name: pl.concat(frames) for name, frames in tables.items()}


def members() -> pl.DataFrame:
    """index_members rows of every session."""
    return pl.concat([benchmark(each).with_columns(session=pl.lit(each), index=pl.lit("X")) for each in SESSIONS])
