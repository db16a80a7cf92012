"""What each fusion of the two streams costs where one is noise, and brings where both know something.

Run `PYTHONPATH=. python benchmarks/bench_fusion.py [--panels 3] [--symbols 60] [--sessions 110] [--fusions fixed]`.
Generated panels (tests' `small_panel`) in which a latent of the fingerprints and a factor drive the label, each by a
stated part of a day's standard deviation, or not at all. Floor of each panel: the better single stream, trained beside
the dual one. Mean RankIC by scipy over the test sessions, after those that training and validation know.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import measure
import numpy as np
import polars as pl
from scipy.stats import spearmanr

from fpm.nn.fit import FitConfig, Watch
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import ScorerConfig
from fpm.nn.scorer.panel import panel
from fpm.schema import STREAMS
from fpm.walk_forward import FoldConfig, split
from tests.fpm.nn.scorer.small_panel import small_panel

FUSIONS = ("fixed", "gate", "score", "stack")
STRENGTHS = ((0.18, 0.0), (0.0, 0.18), (0.18, 0.18), (0.25, 0.08))  # of fingerprint and factor
CONFIG = ScorerConfig(
    look_back=5,
    hidden=16,
    layers=1,
    projection=8,
    dropout=0.1,
    seeds=(42, 2024),
    fit=FitConfig(epochs=20, rate=3e-3, patience=5, warm_up_epochs=1),
)
FOLDS = FoldConfig(least=10, validation=15, embargo=0)
TRAINED = 0.6  # share of the sessions before the test
REACH = 6  # sessions after which a label is complete


def rank_ics(options: argparse.Namespace, strength: tuple[float, float], seed: int) -> dict[str, float]:
    """Return the mean RankIC of the single streams, and of the dual stream by its fusion."""
    size: dict[str, Any] = {"sessions": options.sessions, "symbols": options.symbols, "seed": seed}
    small = small_panel(strength=strength[0], factor_strength=strength[1], **size)
    whole, last = panel(small.frame, small.sessions), int(TRAINED * options.sessions)
    by_stream: dict[str, float] = {}
    for fusion in options.fusions:
        config = replace(CONFIG, fusion=fusion)
        scorer, _ = streams.train(
            whole, small.labels, split(small.sessions, small.sessions[last], FOLDS), config, Watch()
        )
        days: dict[str, list[float]] = {name: [] for name in STREAMS}
        for session in small.sessions[last + 1 : -REACH]:
            labels = small.labels.filter(pl.col("session") == session)
            both = streams.scores(scorer, whole, session)[0].join(labels, on="symbol")
            for name, values in days.items():
                own = both.filter(pl.col("stream") == name)
                values.append(float(spearmanr(own["score"], own["label"])[0]))
        by_stream |= {fusion if name == "dual" else name: float(np.mean(values)) for name, values in days.items()}
    return by_stream


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=110)
    parser.add_argument("--fusions", nargs="+", default=list(FUSIONS), choices=FUSIONS)
    options = parser.parse_args()
    rows = []
    for strength in STRENGTHS:
        panels = [rank_ics(options, strength, seed) for seed in range(options.panels)]
        floor = [max(each["fingerprint"], each["traditional"]) for each in panels]
        for name in ("fingerprint", "traditional", *options.fusions):
            apart = [each[name] - best for each, best in zip(panels, floor, strict=True)]
            mean = float(np.mean([each[name] for each in panels]))
            rows.append([f"{strength[0]}, {strength[1]}", name, mean, float(np.mean(apart)), min(apart)])
            print(*rows[-1], flush=True)
    heads = ["fingerprint, factor", "stream", "RankIC", "to the better single", "worst panel"]
    measure.show(f"{options.panels} panels of {options.symbols} symbols x {options.sessions} sessions", heads, rows)


if __name__ == "__main__":
    main()
