"""Styles that nobody chose: shares of the oracle and of the ideal readings, by seed of a lottery and by way.

Run `python benchmarks/bench_lottery.py OUT.jsonl [--seeds 0 1] [--symbols 60] [--sessions 120] [--epochs 4]
[--ways fingerprint dual ...] [--no-signal]`, again to go on: a line of OUT for every finished seed and way, and those
are not done twice. At the end the table of all lines of that size is printed.

Ways: `fingerprint`, `traditional` and `dual` are the product's streams on trained fingerprints, `stacked` the dual one
with that fusion; `statistics` are hand-made statistics and LightGBM; `pca` and `untrained` the product's scorer on
other vectors; `gru` a GRU trained end to end on the minutes. Share of the oracle: RankIC over that of the styles'
oracle on the same symbol-sessions (of the daily effect for `traditional`, of both for `dual` and `stacked`). Share of
the ideal: the least over the styles, a ridge's correlation with the style in unseen sessions over that of the best
single-session reading (`fpm.exchange.lottery_ideals`).

**Seeds 0 to 5 are for development. Seeds 6 to 11 are run once, at the end, and reported whatever they say**: `--final`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import measure
import numpy as np
import polars as pl
import torch
from bench_fingerprint import ideal_correlations, probe
from exchange_rows import ExchangeRows, exchange_rows
from fingerprint_ways import Way, principal, statistics, trained, untrained
from oracle_share import ORACLE, Answer, answer, lagged, ranked_labels, scores
from torch import Tensor, nn

from fpm import walk_forward
from fpm.evaluation.comparison import oracle_share
from fpm.evaluation.evaluate import PRESETS, evaluate
from fpm.exchange.simulate import ExchangeConfig
from fpm.nn.compute import Compute
from fpm.nn.encoder import network as encoders
from fpm.nn.encoder import pretraining
from fpm.nn.encoder.batches import to_tensor
from fpm.nn.fit import FitConfig, Loss, fit
from fpm.nn.scorer import network as scorers
from fpm.nn.scorer.losses import rank_correlation
from fpm.schema import STREAMS

DEVELOPMENT, FINAL = range(6), range(6, 12)
PRESET = "demo"
GRU_LAGS, GRU_BIN, GRU_HIDDEN = 5, 10, 32
LIGHTGBM = {"objective": "regression", "num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 100, "seed": 1}
ROUNDS, PATIENCE = 400, 30
SOURCES = ORACLE | {"stacked": "combined"}


@dataclass(frozen=True)
class Task:
    """All that the ways of one seed share."""

    exchange: ExchangeRows
    answers: Answer
    how: Way

    def vectors(self, way: Callable[[ExchangeRows, Way], np.ndarray]) -> np.ndarray:
        return way(self.exchange, self.how)

    def by_stream(self, z_ND: np.ndarray, fusion: str) -> pl.DataFrame:
        return scores(z_ND, self.exchange, self.answers, scorers.scorer_config(PRESET, {"fusion": fusion}))


# --- ways: scores of the test, and the vectors of all symbol-sessions where the way has any --------------------------
Scored = tuple[dict[str, pl.DataFrame], np.ndarray | None]


def ours(task: Task) -> Scored:
    z_ND = task.vectors(trained)
    fixed, stacked = (task.by_stream(z_ND, fusion) for fusion in ("fixed", "stack"))
    own = {name: fixed.filter(pl.col("stream") == name) for name in STREAMS}
    return own | {"stacked": stacked.filter(pl.col("stream") == "dual")}, z_ND


def by_scorer(name: str, way: Callable[[ExchangeRows, Way], np.ndarray]) -> Callable[[Task], Scored]:
    def scored(task: Task) -> Scored:
        z_ND = task.vectors(way)
        return {name: task.by_stream(z_ND, "stack").filter(pl.col("stream") == "fingerprint")}, z_ND

    return scored


def boosted(task: Task) -> Scored:
    """LightGBM on the hand-made statistics of the last five sessions; the validation sessions stop it."""
    import lightgbm

    z_ND = task.vectors(statistics)
    kept = z_ND.std(axis=0) > 0
    x_NLD, rank_N, day_N = lagged(z_ND[:, kept], task.exchange), *ranked_labels(task.exchange, task.answers)
    train_N, validation_N = (
        np.isfinite(rank_N) & np.isin(day_N, [task.exchange.days.index(day) for day in part])
        for part in (task.answers.split.train, task.answers.split.validation)
    )
    data = lightgbm.Dataset(x_NLD[train_N], rank_N[train_N])
    held = data.create_valid(x_NLD[validation_N], rank_N[validation_N])
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    model = lightgbm.train(LIGHTGBM | {"verbose": -1, "num_threads": 1}, data, ROUNDS, [held], callbacks=[stop])
    return {"statistics": of_test(task, np.asarray(model.predict(x_NLD)))}, z_ND


def end_to_end(task: Task) -> Scored:
    """A GRU over the last five sessions' minutes, ten at a time, trained on the label itself: no fingerprint."""
    model = MinuteGru(task.exchange.rows.features.shape[2], task.how.config.fit.seed)
    rank_N, day_N = ranked_labels(task.exchange, task.answers)
    batches = MinuteSessions(task.exchange, task.answers, rank_N, day_N)
    fit(model, session_loss, batches, FitConfig(epochs=30, rate=1e-3, patience=5, warm_up_epochs=1))
    score_N = np.full(len(day_N), np.nan)
    with torch.no_grad():
        model.eval()
        for day in task.answers.test:
            rows = np.flatnonzero(day_N == task.exchange.days.index(day))
            score_N[rows] = model(batches.minutes(rows)).numpy()
    return {"gru": of_test(task, score_N)}, None


WAYS: dict[str, Callable[[Task], Scored]] = {
    "fingerprint": ours,
    "traditional": ours,
    "dual": ours,
    "stacked": ours,
    "statistics": boosted,
    "pca": by_scorer("pca", principal),
    "untrained": by_scorer("untrained", untrained),
    "gru": end_to_end,
}


def of_test(task: Task, score_N: np.ndarray) -> pl.DataFrame:
    """Return session, symbol and score of the test sessions."""
    rows = task.exchange.rows
    frame = pl.DataFrame({"symbol": rows.symbols, "session": rows.sessions, "score": score_N})
    return frame.filter(pl.col("session").is_in(list(task.answers.test)))


class MinuteGru(nn.Module):
    """One GRU over all ten-minute bins of the last sessions, oldest first: x_BLF -> score_B."""

    def __init__(self, features: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.norm = nn.LayerNorm(features)
        self.gru = nn.GRU(features, GRU_HIDDEN, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(GRU_HIDDEN, 1))

    def forward(self, x_BLF: Tensor) -> Tensor:
        states_BLH, _ = self.gru(self.norm(x_BLF))
        score_B1: Tensor = self.head(states_BLH[:, -1])
        return score_B1.squeeze(-1)


def session_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Loss:
    x_BLF, rank_B = batch
    return Loss(rank_correlation(model(x_BLF)[None], rank_B)[0])


@dataclass(frozen=True)
class MinuteSessions:
    """Batches of one session each for `fit`."""

    exchange: ExchangeRows
    answers: Answer
    rank_N: np.ndarray
    day_N: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.sessions(self.answers.split.train))

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        sessions = self.sessions(self.answers.split.train)
        for number in np.random.default_rng([2, epoch]).permutation(len(sessions)):
            yield self.batch(sessions[number])

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from map(self.batch, self.sessions(self.answers.split.validation))

    def sessions(self, days: tuple[Any, ...]) -> list[np.ndarray]:
        """Return the rows with a label of each session."""
        numbers = [self.exchange.days.index(day) for day in days]
        rows = [np.flatnonzero((self.day_N == number) & np.isfinite(self.rank_N)) for number in numbers]
        return [each for each in rows if len(each) > 1]

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        return self.minutes(rows), torch.from_numpy(self.rank_N[rows].astype(np.float32))

    def minutes(self, rows: np.ndarray) -> Tensor:
        """Return the bins of the rows' present and earlier sessions, missing ones 0, (B, L, F)."""
        names = self.exchange.rows.symbols
        blocks = []
        for lag in range(GRU_LAGS - 1, -1, -1):
            before = {names[row]: row for row in np.flatnonzero(self.day_N == self.day_N[rows[0]] - lag)}
            x_BTF = np.zeros((len(rows), *self.exchange.rows.features.shape[1:]), np.float32)
            there = [(b, before[names[row]]) for b, row in enumerate(rows) if names[row] in before]
            if there:
                at, source = map(list, zip(*there, strict=True))
                x_BTF[at] = np.nan_to_num(np.array(self.exchange.rows.features[source], dtype=np.float32))
            bins = [
                x_BTF[:, first:last].mean(axis=1) for first, last in pairwise(range(0, x_BTF.shape[1] + 1, GRU_BIN))
            ]
            blocks += bins
        return to_tensor(np.stack(blocks, axis=1), "cpu")


# --- one line per seed and way ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Line:
    """What one way finds on one seed; `settings` are the size and the options that decide it."""

    seed: int
    way: str
    settings: dict[str, Any]
    rank_ic: float | None
    null_band: float | None
    oracle: float | None
    share: float | None
    ideal_share: float | None


def lines(task: Task, way: str, seed: int, settings: dict[str, Any]) -> list[Line]:
    scored, z_ND = WAYS[way](task)
    least = None if z_ND is None else least_share(z_ND, task.exchange)
    made = []
    for name, own in scored.items():
        source = SOURCES.get(name, "intraday")
        oracle = task.exchange.oracle.select("session", "symbol", score=source)
        share = oracle_share(own, oracle, task.answers.labels, PRESETS[PRESET])
        band = evaluate(own, task.answers.labels, PRESETS[PRESET]).null_band
        ideal = None if name == "traditional" else least
        made.append(Line(seed, name, settings, share.rank_ic, band, share.oracle_rank_ic, share.share, ideal))
    return made


def least_share(z_ND: np.ndarray, exchange: ExchangeRows) -> float:
    """Return the least share of an ideal reading over the styles."""
    own_K = [probe(z_ND, planted_N, exchange.unseen_N) for planted_N in exchange.planted_NK.T]
    return min(own / ideal for own, ideal in zip(own_K, ideal_correlations(exchange), strict=True))


def stored(path: Path) -> list[Line]:
    return [Line(**json.loads(text)) for text in path.read_text().splitlines()] if path.exists() else []


def store(path: Path, made: list[Line]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(asdict(line)) + "\n" for line in made)


def prepared(seed: int, options: argparse.Namespace) -> Task:
    config = ExchangeConfig(
        symbols=options.symbols,
        sessions=options.sessions,
        seed=1_000 + seed,
        spoiled_every=0,
        signal=not options.no_signal,
        styles=seed,
    )
    exchange = exchange_rows(config, PRESET, options.workers)
    plain = pretraining.PRESETS[PRESET]
    plain = replace(plain, fit=replace(plain.fit, epochs=options.epochs))
    how = Way(replace(encoders.PRESETS[PRESET], slots=240), plain, Compute())
    return Task(exchange, answer(exchange, walk_forward.PRESETS[PRESET]), how)


def show(done: list[Line]) -> None:
    """Print every line, and each way's median and worst share."""
    rows = [
        [each.way, each.seed, each.rank_ic, each.null_band, each.oracle, each.share, each.ideal_share] for each in done
    ]
    heads = ["way", "seed", "RankIC", "null band", "oracle's", "share", "least share of ideal"]
    measure.show("by seed", heads, sorted(rows, key=lambda row: (row[0], row[1])))
    shares: dict[str, list[float]] = {each.way: [] for each in done}
    for each in done:
        shares[each.way] += [] if each.share is None else [each.share]
    table = [[way, len(own), float(np.median(own)), min(own)] for way, own in shares.items() if own]
    measure.show("share of the oracle", ["way", "seeds", "median", "worst"], table)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--final", action="store_true", help="seeds 6 to 11, which are run once")
    parser.add_argument("--symbols", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=4, help="of the encoder")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-signal", action="store_true")
    options = parser.parse_args()
    if set(options.seeds) & set(FINAL) and not options.final:
        parser.error("seeds 6 to 11 are run once, at the end: --final")
    return options


def main() -> None:
    options = arguments()
    settings = {name: getattr(options, name) for name in ("symbols", "sessions", "epochs", "no_signal")}
    torch.set_num_threads(1)
    for seed in options.seeds:
        task: Task | None = None
        for way in options.ways:
            if not any((each.seed, each.way, each.settings) == (seed, way, settings) for each in stored(options.out)):
                task = task or prepared(seed, options)
                made = lines(task, way, seed, settings)
                store(options.out, made)
                print(
                    *(f"seed {seed} {each.way}: RankIC {each.rank_ic}, {each.share} of the oracle" for each in made),
                    sep="\n",
                    flush=True,
                )
    show([each for each in stored(options.out) if each.settings == settings])


if __name__ == "__main__":
    main()
