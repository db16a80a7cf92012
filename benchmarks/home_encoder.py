"""An encoder of any size on a home's own minute features: figures of unseen sessions, and speed.

Run `python benchmarks/home_encoder.py HOME [--preset default] [--epochs 3] [--batch 64] [--last 8] [--device cuda]
[--precision bfloat16]`.
HOME has `minute_features` (`fpm backfill minute_features FIRST LAST`). Effective rank and the other figures of the
fingerprints of its last sessions, which are not trained on, beside those of the untrained encoder, the floor. Speed:
rows per second in training, including validation, and their operations relative to a plain matrix product in the same
precision, with three times an embedding's operations for a row's training.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import measure
import torch
from bench_models import operations

from fpm.features.minute_features import from_frame
from fpm.nn.compute import PRECISIONS, Compute, compute_on
from fpm.nn.encoder import network, pretraining
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.history import survey
from fpm.nn.encoder.network import Encoder
from fpm.nn.fit import Watch
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import load_settings

SIDE = 4096
ALL_IN_MEMORY = 10**11


def peak(on: Compute) -> float:
    """Return the operations per second of a plain product in the training's precision."""
    kind = torch.bfloat16 if on.precision == "bfloat16" else torch.float32
    left, right = (torch.randn(SIDE, SIDE, device=on.torch_device, dtype=kind) for _ in range(2))

    def product() -> None:
        left @ right
        if on.device == "cuda":
            torch.cuda.synchronize()

    return 2 * SIDE**3 / measure.seconds(product, 5)


def run(stores: Stores, options: argparse.Namespace) -> None:
    profile, market, plain = stores.profile, stores.market, pretraining.PRESETS[options.preset]
    schedule = replace(pretraining.PRESETS["demo"].fit, epochs=options.epochs, patience=options.epochs)
    config = replace(plain, fit=schedule, batch=options.batch, validation_sessions=options.last, purge=1)
    shape = network.config_for_grid(network.PRESETS[options.preset], market.view_size(profile.view), market.bar_minutes)
    sessions = stores.sessions("minute_features")
    parts, on = split(sessions, options.last, config.purge), compute_on(options.device, options.precision)

    def read(session: Any) -> Any:
        symbols, x_STF = from_frame(stores.read("minute_features", session, session), profile)
        return symbols, x_STF.astype("float16")

    history = survey(read, pretraining.samples(parts, config), ALL_IN_MEMORY, lambda *_: None)
    start = time.perf_counter()
    trained = pretraining.pretrain(
        history, parts, pretraining.Recipe(profile.name, shape, config), Watch(print_line), on
    )
    spent = time.perf_counter() - start
    names, figures = list(trained.untrained), {"trained": trained.figures, "untrained": trained.untrained}
    rows = f"{history.rows(parts.train):,} rows to train on, {history.rows(parts.validation):,} unseen"
    schedule_text = f"{options.epochs} epochs of batches of {options.batch}"
    title = f"{len(sessions)} sessions, {rows}, preset {options.preset}, {schedule_text}"
    measure.show(
        title, ["encoder", *names], [[encoder, *(row[name] for name in names)] for encoder, row in figures.items()]
    )
    rows = options.epochs * history.rows(parts.train)
    needed = 3 * operations(Encoder(shape, profile.name), shape) * rows / spent
    speed = [rows / spent, needed / 1e9, needed / peak(on)]
    measure.show(
        f"training on {on.torch_device}, {on.precision}",
        ["", "rows/s", "Gflop/s", "share of a product"],
        [["", *speed]],
    )


def print_line(done: int, total: int, what: object) -> None:
    if done % 20 == 0:
        print(f"{done}/{total} {what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--last", type=int, default=8, help="sessions that are not trained on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS)
    options = parser.parse_args()
    run(open_stores(load_settings({"home": options.home})), options)


if __name__ == "__main__":
    main()
