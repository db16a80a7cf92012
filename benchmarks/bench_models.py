"""Speed of the two networks on one thread in single precision, relative to the machine and to torch's own layers.

Run `python benchmarks/bench_models.py [--symbols 192] [--steps 4] [--large]`. Encoder: operations per second of
`embed`, counted by torch, over those of a plain 1024 x 1024 matrix product. Scorer: time of five seeds in one batched
pass over that of one seed, and of one seed over a torch.nn.GRU network of the same sizes in the same loop.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import measure
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fpm.nn.encoder import network
from fpm.nn.encoder.network import Encoder, EncoderConfig, embed
from fpm.nn.fit import FitConfig, Loss, fit
from fpm.nn.scorer.losses import LOSSES
from fpm.nn.scorer.network import PRESETS, Scorer, ScorerConfig
from fpm.nn.scorer.panel import Batch
from fpm.schema import FEATURE_COUNT

SEEDS = (42, 2024, 777, 7, 11)
SIDE = 1024


# --- encoder ----------------------------------------------------------------------------------------------------
def operations(encoder: Encoder, config: EncoderConfig) -> float:
    """Return the operations of matrix products and attention for one symbol's session."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), counter:
        encoder(torch.randn(2, config.slots, FEATURE_COUNT))
    return float(counter.get_total_flops()) / 2


def compare_encoder(symbols: int) -> None:
    rows = []
    for preset in ("default", "demo"):
        config = network.PRESETS[preset]
        encoder = Encoder(config, "bar_32").eval()
        x_STF = np.random.default_rng(0).standard_normal((symbols, config.slots, FEATURE_COUNT)).astype(np.float32)
        calls = {"embed": partial(embed, encoder, x_STF), "product": partial(torch.mm, *torch.randn(2, SIDE, SIDE))}
        spent = measure.interleaved(calls, 4)
        count, best = operations(encoder, config), 2 * SIDE**3 / spent["product"]
        reached = symbols * count / spent["embed"]
        rows.append([preset, count / 1e6, 1e3 * spent["embed"] / symbols, reached / 1e9, best / 1e9, reached / best])
    heads = ["preset", "Mflop a symbol", "ms a symbol", "Gflop/s", "matrix product Gflop/s", "share of peak"]
    measure.show(f"encoder inference, {symbols} symbols", heads, rows)


# --- scorer -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sessions:
    """Sessions of random symbols as batches for `fit`, without validation."""

    batches: tuple[Batch, ...]

    @property
    def steps(self) -> int:
        return len(self.batches)

    def train(self, _epoch: int) -> Iterator[Batch]:
        return iter(self.batches)

    def validation(self) -> Iterator[Batch]:
        return iter(())


def generated(config: ScorerConfig, steps: int) -> Sessions:
    random, shape = torch.Generator().manual_seed(0), (config.look_back, config.batch)

    def one() -> Batch:
        fingerprint, factor = (torch.randn(*shape, width, generator=random) for width in config.inputs.values())
        return Batch(fingerprint, factor, torch.ones(*shape, dtype=torch.bool), torch.randn(shape[1], generator=random))

    return Sessions(tuple(one() for _ in range(steps)))


class TorchScorer(nn.Module):
    """The dual stream for one seed, written with torch's own layers."""

    def __init__(self, config: ScorerConfig) -> None:
        super().__init__()
        self.readers = nn.ModuleList(
            nn.GRU(width, config.hidden, num_layers=config.layers) for width in config.inputs.values()
        )
        self.head = nn.Sequential(
            nn.Linear(config.hidden, config.hidden),
            nn.LayerNorm(config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 1),
        )

    def forward(self, batch: Batch) -> Tensor:
        states = [
            reader(x_LBF)[0][-1]
            for reader, x_LBF in zip(self.readers, (batch.fingerprint_LBF, batch.factor_LBF), strict=True)
        ]
        score_B1: Tensor = self.head((states[0] + states[1]) / 2)
        return score_B1.T


def train(model: nn.Module, sessions: Sessions) -> None:
    """Train one epoch in the package's own loop."""

    def loss(model: nn.Module, batch: Batch) -> Loss:
        assert batch.label_B is not None
        total_K = LOSSES["rank_correlation"](model(batch), batch.label_B)
        return Loss(total_K if isinstance(model, Scorer) else total_K.mean())  # lanes, or one network

    fit(model, loss, sessions, FitConfig(epochs=1))


def compare_scorer(steps: int) -> None:
    rows = []
    for preset in ("default", "demo"):
        config = replace(PRESETS[preset], input_dropout=0.0, projection=0)  # torch's GRU has neither
        sessions = generated(config, steps)
        five, one = (Scorer(replace(config, seeds=SEEDS[:count]), "dual") for count in (5, 1))
        models = {"five": five, "one": one, "torch": TorchScorer(config)}
        calls = {name: partial(train, model, sessions) for name, model in models.items()}
        spent = measure.interleaved(calls, 2)
        rows.append(
            [
                preset,
                *(1e3 * spent[name] / steps for name in ("one", "five", "torch")),
                spent["five"] / spent["one"],
                spent["one"] / spent["torch"],
            ]
        )
    size = f"{config.batch} symbols a step"
    heads = ["preset", "1 seed ms", "5 seeds ms", "torch.nn.GRU ms", "5 seeds / 1", "1 seed / torch"]
    measure.show(f"scorer training, dual stream, {size}, milliseconds a step", heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=192, help="embedded by the encoder")
    parser.add_argument("--steps", type=int, default=4, help="training steps of the scorer")
    parser.add_argument("--large", action="store_true", help="a whole market of 5,300 symbols, 50 steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    compare_encoder(5300 if options.large else options.symbols)
    compare_scorer(50 if options.large else options.steps)


if __name__ == "__main__":
    main()
