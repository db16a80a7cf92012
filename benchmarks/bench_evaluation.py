"""Every figure of one factor, against scipy's rank correlation alone, session by session.

Run `python benchmarks/bench_evaluation.py [--symbols 2000] [--sessions 240] [--peer PYTHON]`. Floors on the same dense
panels: ranks by argsort and a product, and `scipy.stats.spearmanr` in a loop. Ours starts from long frames and gives
every figure with its interval, with more and more additional inputs. `--peer`: an interpreter that has
alphalens-reloaded, for its quantiles, information coefficient, returns and turnover (`alphalens_figures.py`) of the
same rows.
"""

from __future__ import annotations

import argparse
import tempfile
from datetime import date
from functools import partial
from pathlib import Path

import measure
import numpy as np
import polars as pl
from scipy import stats

from fpm import sessions
from fpm.evaluation.comparison import compare
from fpm.evaluation.evaluate import PRESETS, evaluate
from fpm.evaluation.figures import Surroundings
from fpm.panels import Floats, axes, pivot

REACH = PRESETS["default"].horizon + 1  # sessions from a score to the end of its label
INDUSTRIES, STYLES, MISSING = 30, 3, 0.03
MARKET, FIRST = sessions.market("cn"), date(2020, 1, 2)


def generated(names: int, count: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, Surroundings]:
    """Generate scores correlated with labels; some values are missing, some symbols halt or close at a limit."""
    rng, days = np.random.default_rng(seed), sessions.next_sessions(MARKET, FIRST, count + REACH)
    shape = (len(days), names)
    close_TN = 20 * np.exp(np.cumsum(rng.normal(0, 0.02, shape), axis=0))
    label_TN = close_TN[REACH:] / close_TN[1 : -REACH + 1] - 1
    score_TN = 3 * label_TN + rng.normal(size=label_TN.shape)
    open_TN, volume_TN = close_TN * np.exp(rng.normal(0, 0.005, shape)), np.floor(rng.lognormal(10, 1, shape))
    volume_TN[rng.random(shape) < MISSING / 5] = 0
    keys = pl.DataFrame({"session": np.repeat(np.array(days, "datetime64[D]"), names)}).with_columns(
        symbol=pl.Series([f"{600000 + i}.SH" for i in range(names)] * len(days))
    )
    industry_N = np.array([f"industry {i}" for i in rng.integers(0, INDUSTRIES, names)])
    daily = keys.with_columns(
        open=open_TN.ravel(),
        close=close_TN.ravel(),
        volume=volume_TN.ravel(),
        amount=(volume_TN * (open_TN + close_TN) / 2).ravel(),
        adj_factor=1.0,
        suspended=volume_TN.ravel() == 0,
        limit_up=(close_TN * np.where(rng.random(shape) < 0.01, 1, 1.1)).ravel(),
        industry=np.tile(industry_N, len(days)),
    )
    scored = keys[: label_TN.size]
    styles = scored.with_columns(pl.Series(f"style {k}", rng.normal(size=label_TN.size)) for k in range(STYLES))
    sizes = scored.with_columns(size=(rng.lognormal(10, 1, names) * close_TN[:-REACH]).ravel())
    scores = scored.with_columns(score=score_TN.ravel()).filter(rng.random(label_TN.size) >= MISSING)
    labels = scored.with_columns(label=label_TN.ravel()).filter(rng.random(label_TN.size) >= MISSING)
    around = Surroundings(daily.select("session", "symbol", "close"), sizes, daily, styles, trials=3)
    return scores, labels, around


def argsorts(score_TN: Floats, label_TN: Floats) -> Floats:
    """The least work for rank correlations of whole panels: no ties, no missing values."""
    ranks = (
        np.argsort(np.argsort(np.nan_to_num(x_TN), axis=1), axis=1).astype(np.float64) for x_TN in (score_TN, label_TN)
    )
    return np.asarray(np.einsum("tn,tn->t", *ranks))


def spearman(score_TN: Floats, label_TN: Floats) -> list[float]:
    both_TN = np.isfinite(score_TN) & np.isfinite(label_TN)
    rows = zip(score_TN, label_TN, both_TN, strict=True)
    return [float(stats.spearmanr(score_N[both_N], label_N[both_N])[0]) for score_N, label_N, both_N in rows]


def peer(python: str, scores: pl.DataFrame, labels: pl.DataFrame) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-evaluation-") as folder:
        rows = Path(folder) / "rows.parquet"
        scores.join(labels, on=["session", "symbol"]).write_parquet(rows)
        program = Path(__file__).with_name("alphalens_figures.py")
        seconds = measure.in_process(str(program), rows, PRESETS["default"].groups, python=python)
    return {f"alphalens-reloaded: {way}": spent for way, spent in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=240)
    parser.add_argument("--peer", help="a Python that has alphalens-reloaded")
    options = parser.parse_args()
    scores, labels, around = generated(options.symbols, options.sessions, seed=0)
    at = axes(scores)
    panels = pivot(scores, "score", *at), pivot(labels, "label", *at)
    levels = {
        "scores and labels": Surroundings(),
        "and closes, sizes": Surroundings(around.closes, around.sizes),
        "and daily bars, styles": around,
    }
    ours = {
        f"every figure: {level}": partial(evaluate, scores, labels, surroundings=inputs)
        for level, inputs in levels.items()
    }
    ours["paired difference of two factors"] = partial(
        compare, scores, scores.with_columns(pl.col("score") ** 2), labels
    )
    ways = {
        "argsorts of both panels (floor)": partial(argsorts, *panels),
        "scipy's spearmanr": partial(spearman, *panels),
    }
    spent = measure.interleaved(ways | ours)
    spent |= peer(options.peer, scores, labels) if options.peer else {}
    floor, scipys, *_ = spent.values()
    measure.show(
        f"figures of one factor, {options.symbols:,} symbols x {options.sessions} sessions",
        ["way", "seconds", "x floor", "x scipy's"],
        [[way, seconds, seconds / floor, seconds / scipys] for way, seconds in spent.items()],
    )


if __name__ == "__main__":
    main()
