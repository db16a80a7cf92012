"""An encoder of any size on a home's own minute features: what it holds of sessions it has not seen, and how fast.

Run `python benchmarks/home_encoder.py HOME [--preset default] [--epochs 3] [--batch 64] [--last 8] [--device cuda]
[--precision bfloat16]`.
HOME has `minute_features` (`fpm backfill minute_features FIRST LAST`). Effective rank and the other figures of the
fingerprints of its last sessions, which are not trained on, beside those of the untrained encoder, the named floor.
Speed: rows a second in training, validation included, and their share of a plain matrix product's operations in the
same precision, a row's training being three times its embedding.
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
from fpm.nn.encoder import network as encoders
from fpm.nn.encoder import pretraining
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.history import survey
from fpm.nn.encoder.network import Encoder
from fpm.nn.fit import Watch
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.settings import load_settings

SIDE = 4096
ALL_IN_MEMORY = 10**11


def peak(on: Compute) -> float:
    """Operations a second of a plain product in the training's precision."""
    kind = torch.bfloat16 if on.precision == "bfloat16" else torch.float32
    left, right = (torch.randn(SIDE, SIDE, device=on.torch_device, dtype=kind) for _ in range(2))

    def product() -> None:
        left @ right
        if on.device == "cuda":
            torch.cuda.synchronize()

    return 2 * SIDE**3 / measure.seconds(product, 5)


def run(stores: Stores, asked: argparse.Namespace) -> None:
    profile, market, plain = stores.profile, stores.market, pretraining.PRESETS[asked.preset]
    schedule = replace(pretraining.PRESETS["demo"].fit, epochs=asked.epochs, patience=asked.epochs)
    config = replace(plain, fit=schedule, batch=asked.batch, validation_sessions=asked.last, purge=1)
    shape = encoders.config_for_grid(encoders.PRESETS[asked.preset], market.view_size(profile.view), market.bar_minutes)
    sessions = stores.sessions("minute_features")
    chosen, on = split(sessions, asked.last, config.purge), compute_on(asked.device, asked.precision)

    def read(session: Any) -> Any:
        symbols, x_STF = from_frame(stores.read("minute_features", session, session), profile)
        return symbols, x_STF.astype("float16")

    history = survey(read, pretraining.samples(chosen, config), ALL_IN_MEMORY, lambda done, total, what: None)
    begun = time.perf_counter()
    trained = pretraining.pretrain(
        history, chosen, pretraining.Recipe(profile.name, shape, config), Watch(print_line), on
    )
    spent = time.perf_counter() - begun
    names, told = list(trained.untrained), {"trained": trained.figures, "untrained": trained.untrained}
    rows = f"{history.rows(chosen.train):,} rows to train on, {history.rows(chosen.validation):,} unseen"
    title = (
        f"{len(sessions)} sessions, {rows}, preset {asked.preset}, {asked.epochs} epochs of batches of {asked.batch}"
    )
    measure.show(title, ["encoder", *names], [[who, *(each[name] for name in names)] for who, each in told.items()])
    rows = asked.epochs * history.rows(chosen.train)
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
    asked = parser.parse_args()
    run(open_stores(load_settings({"home": asked.home})), asked)


if __name__ == "__main__":
    main()
