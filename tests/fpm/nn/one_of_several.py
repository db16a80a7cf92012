"""A short training as one of several processes: run by `test_distributed.py` as a program, and alone in the test.

python -m tests.fpm.nn.one_of_several OUT [--dies STEP] [--device cuda]     under torchrun's environment
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fpm.nn import distributed
from fpm.nn.checkpoint import to_bytes
from fpm.nn.compute import Compute, compute
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.history import SymbolSessions
from fpm.nn.encoder.network import EncoderConfig
from fpm.nn.encoder.pretraining import Pretrained, PretrainingConfig, pretrain, samples
from fpm.nn.fit import FitConfig, Watch
from tests.fpm.nn.encoder.small_sessions import SLOTS, history, surveyed

SHAPE = EncoderConfig(
    slots=SLOTS, minutes_per_token=6, layers=1, hidden=32, dropout=0.0, pooling="attention", pool_heads=4, stem=4
)
CONFIG = PretrainingConfig(
    batch=32,
    decoder=8,
    validation_sessions=3,
    judged=32,
    calibrated=64,
    mixed_rows=60,
    fit=FitConfig(epochs=2, rate=1e-3, warm_up_epochs=0.5),
)


def rows() -> SymbolSessions:
    """14 sessions of 13 symbols, with gaps, of which one process has more than another."""
    whole = history(days=14, symbols=13)
    gaps = np.random.default_rng(1).uniform(size=whole.x_NTF.shape) < np.linspace(0, 0.6, len(whole))[:, None, None]
    return replace(whole, x_NTF=np.where(gaps, np.nan, whole.x_NTF).astype(np.float16))


def trained(checkpoint: Path | None, dies: int | None = None, on: Compute | None = None) -> Pretrained:
    """`dies`: the step at which the last process ends without a word."""

    def progress(done: int, total: int, what: object) -> None:
        if done == dies and distributed.rank() == distributed.processes() - 1:
            os._exit(9)

    all_rows = rows()
    chosen = split(sorted(set(all_rows.sessions)), CONFIG.validation_sessions, CONFIG.purge)
    found = surveyed(all_rows, samples(chosen, CONFIG))
    return pretrain(found, chosen, ("l2_32", SHAPE, CONFIG), Watch(progress, checkpoint), on)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dies", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    on = compute(asked.device, "float32")
    with distributed.joined(on.place):
        result = trained(asked.out / "checkpoint", asked.dies, on)
        number = distributed.rank()
    (asked.out / f"{number}.safetensors").write_bytes(to_bytes(result.encoder.state_dict()))
    (asked.out / f"{number}.json").write_text(json.dumps(result.history))


if __name__ == "__main__":
    main()
