"""A whole report on random scores, for the tests of its page, its tables and its twins."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from fpm.evaluation.comparison import compare, oracle_share
from fpm.evaluation.coverage import Promise
from fpm.evaluation.evaluate import PRESETS, evaluate
from fpm.evaluation.figures import Surroundings
from fpm.evaluation.outer_names import outer_names
from fpm.portfolio.performance import Performance, performance
from fpm.report.data import Coverage, Encoder, Fold, Quarantined, Rebalance, ReportData, RiskTest, SessionRange, Trial
from tests.fpm.evaluation.panels import long, weekdays

MONDAY = date(2025, 6, 2)


def sample_report(sessions: int = 60, symbols: int = 24) -> ReportData:
    """A report of three streams, one portfolio, one encoder and one fold."""
    generator = np.random.default_rng(1)
    days = weekdays(MONDAY, sessions)
    close_TN = 10 * np.exp(np.cumsum(generator.normal(0, 0.02, (sessions, symbols)), axis=0))
    label_TN = np.full_like(close_TN, np.nan)
    label_TN[:-6] = close_TN[6:] / close_TN[1:-5] - 1
    signal_TN = np.nan_to_num(label_TN) * 20
    scores = {
        name: long(share * signal_TN + generator.normal(size=signal_TN.shape), "score", days)
        for name, share in (("fingerprint", 0.2), ("traditional", 0.1), ("dual", 0.3))
    }
    labels = long(label_TN, "label", days)
    sizes, bars = long(close_TN, "size", days), daily(close_TN, days)
    number = pl.col("symbol").rank("dense") % 3
    surroundings = Surroundings(
        long(close_TN, "close", days),
        sizes,
        bars.with_columns(industry=pl.format("industry {}", number)),
        sizes,
        trials=2,
        factors=long(np.log(close_TN) + generator.normal(size=close_TN.shape), "skewness_20", days),
    )
    newest = scores["dual"].filter(pl.col("session") == days[-1]).select("symbol", "score")
    attributes = {"spread": pl.lit(0.25), "industry": pl.lit("industry & 1"), "size": pl.lit(3.2e9)}
    longs, shorts = outer_names(newest.with_columns(**attributes), 3)
    return ReportData(
        title="A <title> & more",
        as_of="2025-08-22",
        market="cn",
        preset="tiny",
        streams={name: evaluate(frame, labels, PRESETS["tiny"], surroundings) for name, frame in scores.items()},
        comparisons={"dual - fingerprint": compare(scores["dual"], scores["fingerprint"], labels)},
        oracles={"dual": oracle_share(scores["dual"], long(signal_TN, "score", days), labels)},
        spreads={"dual": [(day, 0.25) for day in days]},
        portfolios={"ALL": tracked(days, close_TN)},
        rebalances=[Rebalance("ALL", days[-1], {"turnover": 0.12}, {"active": 2.0, "size": 0.0})],
        risk=[risk_test(kind, days) for kind in ("own", "optimised", "random")],
        coverage=[Coverage("minute_bars", sessions, 1234567, days[0], days[-1])],
        quarantined=[Quarantined("minute_bars", "FPM-IN-023", "price 0 with <volume>", 12)],
        encoders=[Encoder("abc-20250530-def", MONDAY, "promoted", {"effective_rank": 41.2}, [{"forward": 0.9}])],
        folds=[
            Fold(
                "abc-20250530-def",
                "scorer-1",
                days[0],
                days[-1],
                sessions,
                SessionRange(date(2024, 1, 2), date(2025, 3, 3), 280),
                None,
                (42, 7),
            )
        ],
        tried=[Trial("0a0a", "", 2, MONDAY, MONDAY), Trial("1b1b", "scorer.hidden 64", 1, MONDAY, MONDAY)],
        symbols={"scored": [(day, symbols) for day in days]},
        longs=longs,
        shorts=shorts,
        promises={
            "dual": [
                Promise("all", 0.9, 0.912, 0.88, 40, 4000),
                Promise("size: small", 0.9, 0.887, 0.88, 40, 1333),
                Promise("score tenth: 01", 0.9, 0.92, 0.87, 40, 400),
                Promise("score tenth: 02", 0.9, 0.9, 0.89, 40, 400),
            ]
        },
        leaks={"label overlap": None, "one vintage a window": None},
        partitions=1234,
        models=3,
    )


def risk_test(kind: str, days: list[date]) -> RiskTest:
    """B of the sessions from the 21st on, within a band that narrows; too few sessions for windows of a year."""
    curve = [(day, 1.02, 1 - 1 / number, 1 + 1 / number) for number, day in enumerate(days[20:], 5)]
    newest = curve[-1][1:] if curve else (None, None, None)
    share, reasons = (None, None, None), (None if curve else f"{len(days)} of 21 sessions", "60 of 272 sessions")
    return RiskTest("ALL", kind, days[-1], len(days), *newest, bool(curve) or None, 0, *share, *reasons, curve)


def tracked(days: list[date], close_TN: np.ndarray) -> Performance:
    """A portfolio a tenth of a per cent a day beside the mean of all names, one purchase, one trade blocked."""
    gain_T = np.concatenate([[0.0], (close_TN[1:] / close_TN[:-1] - 1).mean(axis=1)])
    noise_T = np.random.default_rng(2).normal(0, 0.001, len(gain_T))
    nav = pl.DataFrame({"session": days, "nav": 1e8 * np.cumprod(1 + gain_T + noise_T), "benchmark_return": gain_T})
    trades = pl.DataFrame({"session": [days[0], days[len(days) // 2]], "amount": [9.9e7, 1e7], "cost": [3e4, 3e3]})
    return performance(nav, trades, pl.DataFrame({"session": [days[len(days) // 2]], "value": [1e6]}))


def daily(close_TN, days, **columns) -> pl.DataFrame:
    """daily_bars rows: open = close = vwap, wide range, no limits; `columns` replace the columns of their names."""
    close_TN = np.asarray(close_TN, dtype=float)
    panels = {
        "close": close_TN,
        "open": close_TN,
        "low": close_TN * 0.9,
        "high": close_TN * 1.1,
        "volume": np.full_like(close_TN, 100.0),
        "amount": close_TN * 100,
        "adj_factor": np.ones_like(close_TN),
        "limit_up": close_TN * 2,
        "limit_down": close_TN / 2,
    }
    panels |= {name: np.asarray(values, dtype=float) for name, values in columns.items() if name != "suspended"}
    frame = long(panels["close"], "close", days)
    for name, values in panels.items():
        frame = frame.with_columns(long(values, name, days)[name])
    suspended = np.asarray(columns.get("suspended", np.zeros_like(close_TN)), dtype=bool)
    return frame.with_columns(pl.Series("suspended", suspended.ravel()))
