"""The product's own scorer on the synthetic exchange: each stream's share of its oracle's RankIC, out of sample.

Run `python benchmarks/bench_oracle.py [--symbols 60] [--sessions 120] [--vectors FILE] [--epochs 10] [--no-signal]
[--test-share 0.6 --refit 60]`. The ceiling is the oracle's RankIC on the same symbol-sessions. Peers in the same run:
the single streams, by paired differences with their intervals. `--vectors`: fingerprints saved by `bench_fingerprint.py
--keep` from the same exchange (same symbols, sessions, seed); without it the encoder trains here. `--no-signal`: there
is nothing to find, so every stream must lie inside its null band.
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


def vectors(options: argparse.Namespace, exchange: ExchangeRows) -> np.ndarray:
    if options.vectors is not None:
        vectors_ND = np.load(options.vectors).astype(np.float32)
        if len(vectors_ND) != len(exchange.rows):
            raise SystemExit(
                f"{options.vectors} holds {len(vectors_ND):,} vectors, the exchange {len(exchange.rows):,} rows"
            )
        return vectors_ND
    plain = pretraining.PRESETS[options.preset]
    plain = replace(plain, fit=replace(plain.fit, epochs=options.epochs))
    shape = replace(encoders.PRESETS[options.preset], slots=240)
    return trained(exchange, Way(shape, plain, compute_on(options.device)))


def show(scored: pl.DataFrame, exchange: ExchangeRows, answers: Answer) -> None:
    config = PRESETS["demo"]
    stream_shares = shares(scored, exchange, answers, config)
    figures = {name: evaluate(scored.filter(pl.col("stream") == name), answers.labels, config) for name in STREAMS}
    measure.show(
        f"{len(exchange.rows):,} symbol-sessions, {len(answers.test)} test sessions",
        ["stream", "RankIC", "null band", "oracle's", "share", "low", "high"],
        [
            [name, own.rank_ic, figures[name].null_band, own.oracle_rank_ic, own.share, own.low, own.high]
            for name, own in stream_shares.items()
        ],
    )
    pairs = against(scored, PAIRS, answers, config)
    rows = [[name, pair.difference, *_ends(pair.newey_west)] for name, pair in pairs.items()]
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
    options = parser.parse_args()
    config = ExchangeConfig(
        symbols=options.symbols,
        sessions=options.sessions,
        seed=options.seed,
        spoiled_every=0,
        signal=not options.no_signal,
    )
    exchange = replace(exchange_rows(config, options.preset, options.workers), test_share=options.test_share)
    folds = walk_forward.PRESETS[options.preset]
    answers, z_ND = answer(exchange, folds), vectors(options, exchange)
    parts = by_fold(answers, exchange, replace(folds, refit=options.refit)) if options.refit else [answers]
    show(pl.concat(scores(z_ND, exchange, part, scorers.PRESETS[options.preset]) for part in parts), exchange, answers)


if __name__ == "__main__":
    main()
