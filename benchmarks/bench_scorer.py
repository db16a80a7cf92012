"""The scorer's training on one thread, from the panel to the end of an epoch, beside Qlib's GRU on the same data.

Run `python benchmarks/bench_scorer.py [--symbols 500] [--sessions 20] [--epochs 2] [--qlib PYTHON]`; `--qlib`: an
interpreter that has `pyqlib` (0.9.7), which runs `qlib_gru.py`. Same windows (134 inputs, 20 sessions), sizes (2 layers
of 128), batch (512), loss (MSE) and epochs. The content of an epoch is each product's own: both validate, and Qlib also
evaluates the training sessions. The shortest of several epochs counts. Floor: the training's products at the speed of a
plain 1024 x 1024 product in the same precision. One seed and five, in single precision and with products in bfloat16.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import measure
import numpy as np
import polars as pl
import torch

from fpm.nn.compute import compute_on
from fpm.nn.fit import FitConfig, Loss, fit
from fpm.nn.scorer.losses import LOSSES
from fpm.nn.scorer.network import PRESETS, Scorer
from fpm.nn.scorer.panel import Batch, Panel, SessionBatches, View, fingerprint_statistics, labelled_sessions
from fpm.schema import FINGERPRINT_SIZE, SCORER_DAILY

CONFIG = replace(PRESETS["default"], loss="mean_squared_error")
SEEDS = (42, 2024, 777, 7, 11)
SIDE = 1024
FIRST = date(2024, 1, 1)


@dataclass(frozen=True)
class Data:
    """Random values, the same for both products; `train` and `validation` sessions have a whole look-back."""

    panel: Panel
    label_TS: np.ndarray
    train: tuple[date, ...]
    validation: tuple[date, ...]

    def batches(self) -> Timed:
        view = View(CONFIG.look_back, CONFIG.look_back, fingerprint_statistics(self.panel, self.train))
        parts = [labelled_sessions(self.panel, self.labels(), days, view) for days in (self.train, self.validation)]
        return Timed(self.panel, view, *parts, CONFIG.batch)

    def keys(self) -> pl.DataFrame:
        sessions, symbols = self.panel.sessions, self.panel.symbols
        return pl.DataFrame(
            {
                "session": [day for day in sessions for _ in symbols],
                "symbol": list(symbols) * len(sessions),
            }
        )

    def labels(self) -> pl.DataFrame:
        return self.keys().with_columns(label=pl.Series(self.label_TS.ravel()))

    def write(self, path: Path) -> None:
        """Write the data in the peer's format."""
        fingerprint = self.panel.fingerprint_TSD.flatten(0, 1).numpy()
        daily = self.panel.daily_TSC.reshape(len(fingerprint), -1).astype(np.float32)
        inputs = pl.DataFrame(np.hstack([fingerprint, daily]), schema=[f"x{i}" for i in range(INPUTS)])
        keys = self.keys().select(pl.col("session").cast(pl.Datetime("ns")).alias("datetime"), instrument="symbol")
        keys.hstack(inputs).with_columns(label=pl.Series(self.label_TS.ravel(), dtype=pl.Float32)).write_parquet(path)


INPUTS = FINGERPRINT_SIZE + len(SCORER_DAILY)


def generated(symbols: int, sessions: int) -> Data:
    """Generate `sessions` for training and a quarter as many for validation."""
    before, validation = CONFIG.look_back - 1, sessions // 4
    shape = (before + sessions + validation, symbols)
    random, days = np.random.default_rng(0), tuple(FIRST + timedelta(days=t) for t in range(shape[0]))
    panel = Panel(
        days,
        tuple(f"{600000 + s}.SH" for s in range(symbols)),
        "v",
        torch.from_numpy(random.standard_normal((*shape, FINGERPRINT_SIZE), np.float32)),
        np.exp(0.1 * random.standard_normal((*shape, len(SCORER_DAILY)))),
        torch.zeros(*shape, len(CONFIG.factors)),
        np.ones(shape, dtype=np.bool_),
    )
    return Data(panel, random.standard_normal(shape), days[before : before + sessions], days[before + sessions :])


@dataclass(frozen=True)
class Timed(SessionBatches):
    """Batches that record the start of every epoch."""

    starts: list[float] = field(default_factory=list)

    def train(self, epoch: int) -> Iterator[Batch]:
        self.starts.append(time.perf_counter())
        return super().train(epoch)


def epoch(data: Data, seeds: int, precision: str, epochs: int) -> float:
    """Return the seconds of the fingerprint stream's shortest epoch but the last, whose end is not recorded."""

    def loss(scorer: Scorer, batch: Batch) -> Loss:
        assert batch.label_B is not None
        return Loss(LOSSES[CONFIG.loss](scorer(batch), batch.label_B))

    scorer, batches = Scorer(replace(CONFIG, seeds=SEEDS[:seeds]), "fingerprint"), data.batches()
    fit(scorer, loss, batches, FitConfig(epochs=epochs + 1), compute=compute_on("cpu", precision))
    return min(end - begin for begin, end in pairwise(batches.starts))


def floor(data: Data, seeds: int, precision: str) -> float:
    """Return the seconds of an epoch's products at the speed of a large one: 3 per training row, 1 to validate."""
    kind = getattr(torch, precision)
    left, right = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))
    speed = 2 * SIDE**3 / measure.interleaved({"product": partial(torch.mm, left, right)}, 5)["product"]
    widths = [INPUTS] + [CONFIG.hidden] * (CONFIG.layers - 1)
    a_sample = sum(2 * CONFIG.look_back * (width + CONFIG.hidden) * 3 * CONFIG.hidden for width in widths)
    samples = len(data.panel.symbols) * (3 * len(data.train) + len(data.validation))
    return seeds * a_sample * samples / speed


def theirs(data: Data, python: Path, epochs: int) -> float:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.parquet"
        data.write(path)
        sizes = (CONFIG.look_back, CONFIG.hidden, CONFIG.batch, epochs)
        arguments = [path, data.train[-1], data.validation[0], *sizes]
        script = Path(__file__).with_name("qlib_gru.py")
        done = subprocess.run(
            [python, script, *(str(argument) for argument in arguments)],
            check=True,
            capture_output=True,
            text=True,
            cwd=folder,
        )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=20, help="to train on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--qlib", type=Path, help="an interpreter with pyqlib")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = generated(options.symbols, options.sessions)
    peer = theirs(data, options.qlib, options.epochs) if options.qlib else None
    rows = []
    for precision in ("float32", "bfloat16"):
        one = epoch(data, 1, precision, options.epochs)
        for seeds, spent in ((1, one), (5, epoch(data, 5, precision, options.epochs))):
            rows.append(
                [precision, seeds, spent, spent / floor(data, seeds, precision), spent / one, peer and peer / spent]
            )
    if peer is not None:
        rows.append(["Qlib, float32", 1, peer, peer / floor(data, 1, "float32"), None, 1.0])
    size = f"{options.symbols} symbols x {options.sessions} sessions, {INPUTS} inputs, look-back {CONFIG.look_back}"
    heads = ["products", "seeds", "s an epoch", "x floor", "x one seed", "times as fast as Qlib"]
    measure.show(f"scorer training, fingerprint stream, {size}", heads, rows)


if __name__ == "__main__":
    main()
