"""Content of a fingerprint: the planted styles of the synthetic exchange and the returns they drive, out of sample.

Run `python benchmarks/bench_fingerprint.py [--symbols 40] [--sessions 110] [--preset demo] [--epochs 2] [--seeds 1]
[--ways trained untrained contrastive pca statistics] [--ablation] [--device cuda --jobs 4] [--keep FOLDER]`.

Styles: a ridge is fitted on the fingerprints of the first sessions; its figure is the correlation with the style in the
last sessions. The ceiling is the best single-session estimate of the style, which uses the exchange's formula
(`fpm.exchange.ideals`), on the same symbol-sessions. Returns: a ridge on the last five sessions' fingerprints, its
RankIC as a share of the intraday oracle's. Peers on the same inputs (`fingerprint_ways.py`): principal components of
the 32 x T matrix, the untrained encoder, a contrastive encoder, hand-made statistics. `--ablation`: the encoder's own
losses against each other. `--keep`: save the vectors of every way for `bench_oracle.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import measure
import numpy as np
from exchange_rows import ExchangeRows, exchange_rows
from fingerprint_ways import WAYS, Way
from oracle_share import Answer, answer, linear_scores

from fpm import walk_forward
from fpm.evaluation.comparison import oracle_share
from fpm.evaluation.evaluate import PRESETS
from fpm.exchange.simulate import ExchangeConfig
from fpm.exchange.styles import STYLES
from fpm.nn.compute import compute_on
from fpm.nn.encoder import network, pretraining
from fpm.nn.encoder.collapse import collapse_figures
from fpm.nn.encoder.history import SymbolSessions
from fpm.nn.fit import FitConfig

RIDGES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
MOST_VECTORS = 2048
DIRECTIONS: dict[str, dict[str, Any]] = {
    "both": {},
    "forward": {"backward_weight": 0.0},
    "backward": {"forward_weight": 0.0},
}
FORMS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "paper": {"penalties": "paper"},
    "none": {"penalty_weight": 0.0},
}
EXTRAS: dict[str, dict[str, Any]] = {
    "squared error": {"likelihood": False},
    "no families": {"by_family": 0.0},
}


@dataclass(frozen=True)
class Task:
    """One line of the table: a way of making vectors, and a seed."""

    name: str
    way: str
    how: Way
    keep: Path | None


# --- the probe ---------------------------------------------------------------------------------------------------
def probe(z_ND: np.ndarray, y_N: np.ndarray, unseen_N: np.ndarray) -> float:
    """Return the out-of-sample correlation of a ridge, whose strength the last fifth of its training rows decides."""
    seen_N = np.flatnonzero(~unseen_N)
    inner = len(seen_N) * 4 // 5
    best = max(RIDGES, key=lambda ridge: _fitted(z_ND, y_N, seen_N[:inner], seen_N[inner:], ridge))
    return _fitted(z_ND, y_N, seen_N, np.flatnonzero(unseen_N), best)


def _fitted(z_ND: np.ndarray, y_N: np.ndarray, on: np.ndarray, unseen: np.ndarray, ridge: float) -> float:
    mean_D, scale_D = z_ND[on].mean(axis=0), z_ND[on].std(axis=0) + 1e-9
    a, b = (z_ND[on] - mean_D) / scale_D, (z_ND[unseen] - mean_D) / scale_D
    slope_D = np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ (y_N[on] - y_N[on].mean()))
    return float(np.corrcoef(b @ slope_D, y_N[unseen])[0, 1])


def ideal_correlations(exchange: ExchangeRows) -> list[float]:
    """Return the correlation of the best estimate with each style in the test sessions."""
    unseen_N = exchange.unseen_N
    pairs = zip(exchange.ideal_NK[unseen_N].T, exchange.planted_NK[unseen_N].T, strict=True)
    return [float(np.corrcoef(ideal_N, planted_N)[0, 1]) for ideal_N, planted_N in pairs]


def line(task: Task, exchange: ExchangeRows, answers: Answer) -> list[object]:
    """Return correlations, their least share of the ideal, collapse figures, and the share of the oracle's RankIC."""
    z_ND = WAYS[task.way](exchange, task.how)
    if task.keep is not None:
        np.save(task.keep / f"{task.name.replace(', ', '-').replace(' ', '_')}.npy", z_ND.astype(np.float16))
    correlation_K = [probe(z_ND, exchange.planted_NK[:, k], exchange.unseen_N) for k in range(len(STYLES))]
    unseen_ND = z_ND[exchange.unseen_N]
    figures = collapse_figures(unseen_ND[:: max(1, len(unseen_ND) // MOST_VECTORS)][:MOST_VECTORS])
    least = min(own / ideal for own, ideal in zip(correlation_K, ideal_correlations(exchange), strict=True))
    oracle = exchange.oracle.select("session", "symbol", score="intraday")
    share = oracle_share(linear_scores(z_ND, exchange, answers), oracle, answers.labels, PRESETS["demo"])
    return [task.name, *correlation_K, least, figures["rank"], figures["participation"], share.rank_ic, share.share]


# --- several lines at once --------------------------------------------------------------------------------------------
_SHARED: list[Any] = []  # exchange and answers in a process of the pool


def _share(exchange: ExchangeRows, path: str, answers: Answer) -> None:
    x_NTF = np.load(path, mmap_mode="r")
    rows = SymbolSessions(x_NTF, exchange.rows.symbols, exchange.rows.sessions)
    _SHARED[:] = [replace(exchange, rows=rows), answers]


def _line(task: Task) -> list[object]:
    return line(task, *_SHARED)


def lines(tasks: list[Task], exchange: ExchangeRows, answers: Answer, jobs: int) -> Iterator[list[object]]:
    """Yield one line per task, in order; `jobs` processes work at once and share the rows through a file."""
    if jobs == 1:
        yield from (line(task, exchange, answers) for task in tasks)
        return
    with TemporaryDirectory() as folder:
        path = f"{folder}/rows.npy"
        np.save(path, exchange.rows.features)
        rows = SymbolSessions(exchange.rows.features[:0], exchange.rows.symbols, exchange.rows.sessions)
        bare = replace(exchange, rows=rows)
        with get_context("spawn").Pool(jobs, _share, (bare, path, answers)) as pool:
            yield from pool.imap(_line, tasks)


def variants(ways: list[str], ablation: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the lines to compare: name -> (way, changes of the pre-training)."""
    losses = {
        f"{form}, {direction}": ("trained", FORMS[form] | DIRECTIONS[direction])
        for form in FORMS
        for direction in DIRECTIONS
    }
    extras = {name: ("trained", change) for name, change in EXTRAS.items()}
    return {way: (way, {}) for way in ways} | (losses | extras if ablation else {})


def tasks(options: argparse.Namespace) -> list[Task]:
    shape = replace(network.PRESETS[options.preset], slots=240)
    plain = pretraining.PRESETS[options.preset]
    fit = replace(plain.fit, epochs=options.epochs, rate=options.rate or plain.fit.rate)
    plain = replace(plain, batch=options.batch or plain.batch, fit=fit)
    on = compute_on(options.device, options.precision)
    return [
        Task(
            f"{name}, seed {seed}",
            way,
            Way(shape, replace(plain, **change, fit=replace(fit, seed=FitConfig.seed + seed)), on),
            options.keep,
        )
        for seed in range(options.seeds)
        for name, (way, change) in variants(options.ways, options.ablation).items()
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--sessions", type=int, default=110)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20241122, help="of the exchange")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--ablation", action="store_true", help="every form and direction of the losses, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision")
    parser.add_argument("--jobs", type=int, default=1, help="lines of the table at a time")
    parser.add_argument("--workers", type=int, default=1, help="processes that make the exchange")
    parser.add_argument("--keep", type=Path, help="a folder for the vectors")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    config = ExchangeConfig(symbols=options.symbols, sessions=options.sessions, seed=options.seed, spoiled_every=0)
    exchange = exchange_rows(config, options.preset, options.workers)
    answers = answer(exchange, walk_forward.PRESETS[options.preset])
    table: list[list[object]] = [["ideal", *ideal_correlations(exchange), 1.0, "", "", "", ""]]
    for row in lines(tasks(options), exchange, answers, options.jobs):
        table.append(row)
        print(*row, flush=True)
    heads = ["fingerprint", *STYLES, "least share", "rank", "participation", "RankIC", "of the oracle's"]
    unseen = int(exchange.unseen_N.sum())
    measure.show(f"{len(exchange.rows):,} symbol-sessions, {unseen:,} unseen; {options.epochs} epochs", heads, table)


if __name__ == "__main__":
    main()
