"""A short training: `test_distributed.py` runs it as a program in several processes, and alone as a function.

python -m tests.fpm.nn.short_training OUT [--dies STEP] [--device cuda]     under torchrun's environment
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
from fpm.nn.compute import Compute, compute_on
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.history import SymbolSessions
from fpm.nn.encoder.network import EncoderConfig
from fpm.nn.encoder.pretraining import PretrainingConfig, PretrainingResult, Recipe, pretrain, samples
from fpm.nn.fit import FitConfig, Watch
from tests.fpm.nn.encoder.small_sessions import SLOTS, history_of, symbol_sessions

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
    """14 sessions of 13 symbols with gaps, unevenly spread over the processes."""
    complete = symbol_sessions(days=14, symbols=13)
    x_NTF = complete.features
    gaps = np.random.default_rng(1).uniform(size=x_NTF.shape) < np.linspace(0, 0.6, len(x_NTF))[:, None, None]
    return replace(complete, features=np.where(gaps, np.nan, x_NTF).astype(np.float16))


def train(checkpoint: Path | None, dies: int | None = None, compute: Compute | None = None) -> PretrainingResult:
    """Train on `rows`; `dies`: the step at which the last process exits without an error."""

    def progress(done: int, total: int, item: object) -> None:
        if done == dies and distributed.rank() == distributed.processes() - 1:
            os._exit(9)

    all_rows = rows()
    parts = split(sorted(set(all_rows.sessions)), CONFIG.validation_sessions, CONFIG.purge)
    history = history_of(all_rows, samples(parts, CONFIG))
    return pretrain(history, parts, Recipe("l2_32", SHAPE, CONFIG), Watch(progress, checkpoint), compute)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dies", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    compute = compute_on(arguments.device, "float32")
    with distributed.process_group(compute.torch_device):
        result = train(arguments.out / "checkpoint", arguments.dies, compute)
        rank = distributed.rank()
    (arguments.out / f"{rank}.safetensors").write_bytes(to_bytes(result.encoder.state_dict()))
    (arguments.out / f"{rank}.json").write_text(json.dumps(result.history))


if __name__ == "__main__":
    main()
