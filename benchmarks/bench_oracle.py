"""The product's own scorer on the synthetic exchange: each stream's share of its oracle's RankIC, out of sample.

Run `python benchmarks/bench_oracle.py [--symbols 60] [--sessions 120] [--vectors FILE] [--epochs 10] [--no-signal]
[--test-share 0.6 --refit 60]`.
Named ceiling: the oracle's RankIC on the same symbol-sessions. Peers in the same run: the single streams, by paired
differences with their intervals. `--vectors`: fingerprints that `bench_fingerprint.py --keep` left of the same
exchange (same symbols, sessions, seed); without it the encoder is trained here. `--no-signal`: nothing is to be found,
so every stream has to lie inside its null band.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import measure
import numpy as np
import polars as pl
from exchange_rows import TEST_SHARE, ExchangeRows, exchange_rows
from fingerprint_ways import Way, trained
from oracle_share import Answer, against, answer, by_fold, scores, shares

from fpm import walk_forward
from fpm.evaluation.evaluate import PRESETS, evaluate
from fpm.evaluation.intervals import Interval
from fpm.exchange.simulate import ExchangeConfig
from fpm.nn.compute import compute_on
from fpm.nn.encoder import network as encoders
from fpm.nn.encoder import pretraining
from fpm.nn.scorer import network as scorers
from fpm.schema import STREAMS

PAIRS = (("dual", "fingerprint"), ("dual", "traditional"), ("fingerprint", "traditional"))


def vectors(asked: argparse.Namespace, of: ExchangeRows) -> np.ndarray:
    if asked.vectors is not None:
        kept = np.load(asked.vectors).astype(np.float32)
        if len(kept) != len(of.rows):
            raise SystemExit(f"{asked.vectors} holds {len(kept):,} vectors, the exchange {len(of.rows):,} rows")
        return kept
    plain = pretraining.PRESETS[asked.preset]
    plain = replace(plain, fit=replace(plain.fit, epochs=asked.epochs))
    shape = replace(encoders.PRESETS[asked.preset], slots=240)
    return trained(of, Way(shape, plain, compute_on(asked.device)))


def show(scored: pl.DataFrame, of: ExchangeRows, to: Answer) -> None:
    config = PRESETS["demo"]
    told = shares(scored, of, to, config)
    figures = {name: evaluate(scored.filter(pl.col("stream") == name), to.labels, config) for name in STREAMS}
    measure.show(
        f"{len(of.rows):,} symbol-sessions, {len(to.test)} test sessions",
        ["stream", "RankIC", "null band", "oracle's", "share", "low", "high"],
        [
            [name, each.rank_ic, figures[name].null_band, each.oracle_rank_ic, each.share, each.low, each.high]
            for name, each in told.items()
        ],
    )
    pairs = against(scored, PAIRS, to, config)
    rows = [[name, each.difference, *_ends(each.newey_west)] for name, each in pairs.items()]
    measure.show("paired differences of RankIC, Newey-West", ["pair", "difference", "low", "high"], rows)


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=120)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--epochs", type=int, default=10, help="of the encoder")
    parser.add_argument("--seed", type=int, default=20241122, help="of the exchange")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--test-share", type=float, default=TEST_SHARE, help="last part of the sessions, unseen")
    parser.add_argument("--refit", type=int, help="sessions between two trainings of the scorer; default: one training")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--no-signal", action="store_true")
    asked = parser.parse_args()
    config = ExchangeConfig(
        symbols=asked.symbols, sessions=asked.sessions, seed=asked.seed, spoiled_every=0, signal=not asked.no_signal
    )
    of = replace(exchange_rows(config, asked.preset, asked.workers), test_share=asked.test_share)
    folds = walk_forward.PRESETS[asked.preset]
    to, z_ND = answer(of, folds), vectors(asked, of)
    parts = by_fold(to, of, replace(folds, refit=asked.refit)) if asked.refit else [to]
    show(pl.concat(scores(z_ND, of, part, scorers.PRESETS[asked.preset]) for part in parts), of, to)


if __name__ == "__main__":
    main()
