"""Intervals of a score's forward rank: how often they hold, and what one session of a market costs.

Run `python benchmarks/bench_intervals.py [--symbols 300] [--sessions 200] [--market 5300]`. Returns have heavy tails
and common moves by industry; the score knows as much of them as the RankIC beside it says, in the last case only to the
middle. The floor of the time is one sort of the window's labelled places.
"""

from __future__ import annotations

import argparse

import measure
import numpy as np

from fpm.evaluation.conformal import ConformalConfig, intervals, places
from fpm.evaluation.rank_ic import rank_ic
from fpm.panels import Floats

REACH, INDUSTRIES = 6, 10
CASES = {"nothing": 0.0, "a little": 0.08, "much": 0.4, "much, to the middle": 0.4}


def sample(name: str, sessions: int, symbols: int) -> tuple[Floats, Floats]:
    """Scores and returns of one case, (T, N)."""
    rng = np.random.default_rng(5)
    score_TN = rng.normal(size=(sessions, symbols))
    common_TN = rng.normal(size=(sessions, INDUSTRIES))[:, np.arange(symbols) % INDUSTRIES]
    signal_T1 = np.full((sessions, 1), CASES[name])
    if "middle" in name:
        signal_T1[sessions // 2 :] = 0.0
    return score_TN, signal_T1 * score_TN + common_TN + rng.standard_t(3, size=score_TN.shape)


def coverage(score_TN: Floats, label_TN: Floats, config: ConformalConfig) -> tuple[float, float, float]:
    """Share that held and mean width from the first session with a full history on; widest miss of a month."""
    place_TN, held, width = places(label_TN), [], []
    for t in range(config.history(REACH), len(score_TN)):
        part = slice(t + 1 - config.history(REACH), t + 1)
        low_N, high_N = intervals(score_TN[part], label_TN[part], REACH, config)
        held.append(np.mean((low_N <= place_TN[t]) & (place_TN[t] <= high_N)))
        width.append(np.mean(high_N - low_N))
    months = [np.mean(held[first : first + 21]) for first in range(0, len(held) - 20, 21)]
    worst = max(months, key=lambda share: abs(share - config.level)) if months else np.nan
    return float(np.mean(held)), float(np.mean(width)), float(worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=300)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--market", type=int, default=5300)
    options = parser.parse_args()
    config, rows = ConformalConfig(), []
    for name in CASES:
        score_TN, label_TN = sample(name, options.sessions, options.symbols)
        fixed = ConformalConfig(step=0.0)
        shares = (*coverage(score_TN, label_TN, config), coverage(score_TN, label_TN, fixed)[2])
        rows.append((name, float(np.nanmean(rank_ic(score_TN, label_TN))), config.level, *shares))
    heads = ("the score knows", "RankIC", "stated", "held", "width", "farthest month", "the same, level fixed")
    measure.show(f"intervals, {options.symbols} symbols, {options.sessions} sessions", heads, rows)

    score_TN, label_TN = sample("a little", config.history(REACH), options.market)
    window_SN = places(label_TN[: config.window])
    spent = measure.interleaved(
        {
            "one session's intervals": lambda: intervals(score_TN, label_TN, REACH, config),
            "one sort": lambda: np.sort(window_SN, axis=None),
        }
    )
    floor = spent["one sort"]
    timed = [(name, value, value / floor) for name, value in spent.items()]
    measure.show(f"one stream of {options.market:,} symbols", ("what", "s", "x floor"), timed)


if __name__ == "__main__":
    main()
