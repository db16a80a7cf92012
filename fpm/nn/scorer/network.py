"""The scorer: recurrent networks from a window of sessions to one score per symbol, K seeds in one batched pass.

Per stream: 2-layer GRU -> fully connected -> LayerNorm -> ReLU -> dropout -> fully connected; the dual stream fuses
one GRU over fingerprints and one over traditional factors. Every parameter has a leading K: K networks of different
seeds see the same batches and share nothing else. Each seed draws its own weights and dropout masks, so that it trains
alone exactly as it does among others.

A step without data leaves the state as it is: the network reads the sessions that a symbol has, in order, and the
others are not filled in. Before the first of them the state is zero.

Shapes: K seeds, L look-back, B symbols, N = L B steps of all symbols (B in a head), F inputs, O outputs, H hidden,
G = 3 H gates in torch's order (reset, update, candidate).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from fpm.model_file import chosen
from fpm.nn.fit import FitConfig
from fpm.nn.scorer.gru import recurrence
from fpm.schema import ALPHA158, CLASSIC, FINGERPRINT_SIZE, SCORER_DAILY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm.nn.scorer.panel import Batch

SEEDS = (42, 2024, 777)
MIX = 0x9E3779B1  # Knuth's multiplicative hash: neighbouring seeds get distant 32-bit starts


@dataclass(frozen=True)
class ScorerConfig:
    """Size, inputs and training of a scorer.

    `projection`: width of a linear layer before each GRU, 0 for none. `minimum_share`: share of the look-back that a
    symbol must have to be scored. `batch`: most symbols of a session in one step. `weight`: the fingerprint's share in
    a fixed or score-level fusion; a stacked one decides it by validation (`fpm.nn.scorer.fusion`). `factors`: the
    columns of daily_factors that the traditional stream reads.
    """

    look_back: int = 20
    minimum_share: float = 0.5
    hidden: int = 128
    layers: int = 2
    projection: int = 0
    dropout: float = 0.3
    input_dropout: float = 0.0
    fusion: Literal["fixed", "gate", "score", "stack"] = "fixed"
    weight: float = 0.5
    loss: str = "rank_correlation"
    batch: int = 512
    seeds: tuple[int, ...] = SEEDS
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=200, rate=1e-4, patience=10))
    factors: tuple[str, ...] = CLASSIC

    def inputs(self, length: int = FINGERPRINT_SIZE) -> dict[str, int]:
        """Number of inputs of each GRU per session, for vectors of `length` numbers."""
        return {"fingerprint": length + len(SCORER_DAILY), "traditional": len(self.factors)}


# Small histories overfit within a few epochs of 270 steps: at a rate of 1e-3 the second was best, at 2e-4 the fifth,
# with a better validation (docs/LOG.md, 28 November). Share of the oracle's RankIC on 120 symbols and 70 training
# sessions (three panels of tests' small_panel, 40 test sessions): with a projection to 16 0.85 fingerprint, 0.77
# traditional, 0.84 dual; without it 0.83 fingerprint. Weight decay 0.1 or 0.3, input dropout 0.2 or 0.3: within 0.02.
PRESETS: dict[str, ScorerConfig] = {
    "default": ScorerConfig(factors=ALPHA158),
    "demo": ScorerConfig(
        look_back=10, hidden=32, projection=16, fit=FitConfig(epochs=60, rate=2e-4, patience=8, warm_up_epochs=1)
    ),
    "short": ScorerConfig(
        look_back=5, hidden=32, projection=16, fit=FitConfig(epochs=60, rate=1e-3, patience=10, warm_up_epochs=3)
    ),
    "tiny": ScorerConfig(
        look_back=3, hidden=8, layers=1, fit=FitConfig(epochs=3, rate=1e-2, patience=3, warm_up_epochs=1)
    ),
}


def scorer_config(preset: str, choices: Mapping[str, Any]) -> ScorerConfig:
    """The configuration of a preset with the choices of a model file's section."""
    return chosen(PRESETS[preset], choices)


STREAM_INPUTS = {
    "fingerprint": ("fingerprint",),
    "traditional": ("traditional",),
    "dual": ("fingerprint", "traditional"),
}


class Scorer(nn.Module):
    """K networks of one stream: `forward(batch) -> score_KB`, of no fixed scale.

    A stacked dual stream is not trained: `stack` fills it with the networks of the single streams.

    `length`: numbers in a vector of the fingerprint stream.
    """

    mix_NK1: Tensor

    def __init__(self, config: ScorerConfig, stream: str, length: int = FINGERPRINT_SIZE) -> None:
        super().__init__()
        start = SeededStart(config.seeds)
        names, inputs = STREAM_INPUTS[stream], config.inputs(length)
        self.config = config
        self.readers = nn.ModuleDict({name: Reader(inputs[name], config, start) for name in names})
        heads = names if config.fusion in ("score", "stack") else (stream,)
        self.heads = nn.ModuleDict({name: Head(config, start) for name in heads})
        self.gate = (
            Linear(2 * config.hidden, config.hidden, start) if config.fusion == "gate" and len(names) > 1 else None
        )
        if config.fusion == "stack" and len(names) > 1:
            self.register_buffer("mix_NK1", torch.ones(len(names), len(config.seeds), 1))

    def forward(self, batch: Batch) -> Tensor:
        """Scores (K, B) of the symbols of one session."""
        inputs = {"fingerprint": batch.fingerprint_LBF, "traditional": batch.factor_LBF}
        states = {name: reader(inputs[name], batch.known_LB) for name, reader in self.readers.items()}
        with torch.autocast(batch.known_LB.device.type, enabled=False):  # ranks need all digits of a score
            if len(self.heads) > 1:
                return self._fuse([head(states[name]) for name, head in self.heads.items()])
            (head,) = self.heads.values()
            score_KB: Tensor = head(self._fuse(list(states.values())))
            return score_KB

    def _fuse(self, states: list[Tensor]) -> Tensor:
        """Fuse two tensors by a fixed share of each, or by a learned share for every hidden unit."""
        if len(states) == 1:
            return states[0]
        fingerprint, traditional = states
        if self.config.fusion == "stack":
            return self.mix_NK1[0] * fingerprint + self.mix_NK1[1] * traditional
        share = self.config.weight if self.gate is None else torch.sigmoid(self.gate(torch.cat(states, dim=-1)))
        return share * fingerprint + (1 - share) * traditional


def stack(dual: Scorer, singles: Mapping[str, Scorer], mix_NK1: Tensor) -> None:
    """Fill a stacked dual stream with the networks of its single streams and the factors of their outputs."""
    for name, single in singles.items():
        dual.readers[name].load_state_dict(single.readers[name].state_dict())
        dual.heads[name].load_state_dict(single.heads[name].state_dict())
    dual.mix_NK1.copy_(mix_NK1)


class Reader(nn.Module):
    """From a window's inputs to the state after its last step: x_LBF -> h_KBH."""

    def __init__(self, inputs: int, config: ScorerConfig, start: SeededStart) -> None:
        super().__init__()
        self.dropout = Dropout(config.input_dropout, config.seeds)
        self.projection = Linear(inputs, config.projection, start) if config.projection else None
        widths = [config.projection or inputs] + [config.hidden] * config.layers
        self.layers = nn.ModuleList(Gru(*pair, start) for pair in pairwise(widths))

    def forward(self, x_LBF: Tensor, known_LB: Tensor) -> Tensor:
        """States h_KBH after the last step."""
        look_back, symbols, inputs = x_LBF.shape
        x_KNF = x_LBF.reshape(1, look_back * symbols, inputs).expand(len(self.dropout.seeds), -1, -1)
        x_KNF = self.dropout(x_KNF)
        if self.projection is not None:
            x_KNF = self.projection(x_KNF)
        x_KLBF = x_KNF.view(-1, look_back, symbols, x_KNF.shape[-1])
        for layer in self.layers:
            x_KLBF = layer(x_KLBF, known_LB)
        h_KBH: Tensor = x_KLBF[:, -1]
        return h_KBH


class Gru(nn.Module):
    """One layer of K GRUs by torch.nn.GRU's equations; a step without data leaves the state as it is."""

    def __init__(self, inputs: int, hidden: int, start: SeededStart) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.input_weight = start.uniform((inputs, 3 * hidden), bound)
        self.state_weight = start.uniform((hidden, 3 * hidden), bound)
        self.input_bias = start.uniform((1, 3 * hidden), bound)
        self.state_bias = start.uniform((1, 3 * hidden), bound)

    def forward(self, x_KLBF: Tensor, known_LB: Tensor) -> Tensor:
        """States h_KLBH after every step."""
        # The input products of all steps are one call; only the recurrence is a loop.
        gates_KNG = torch.baddbmm(self.input_bias, x_KLBF.flatten(1, 2), self.input_weight)
        gates_KLBG = gates_KNG.view(*x_KLBF.shape[:3], -1)
        return recurrence(gates_KLBG, self.state_weight, self.state_bias, known_LB)


class Head(nn.Module):
    """Fully connected, LayerNorm, ReLU, dropout, fully connected: h_KBH -> score_KB."""

    def __init__(self, config: ScorerConfig, start: SeededStart) -> None:
        super().__init__()
        self.connected = Linear(config.hidden, config.hidden, start)
        self.scale = start.constant((1, config.hidden), 1.0)
        self.shift = start.constant((1, config.hidden), 0.0)
        self.dropout = Dropout(config.dropout, config.seeds)
        self.score = Linear(config.hidden, 1, start)

    def forward(self, h_KBH: Tensor) -> Tensor:
        """Scores (K, B)."""
        h_KBH = self.connected(h_KBH)
        h_KBH = nn.functional.layer_norm(h_KBH, h_KBH.shape[-1:]) * self.scale + self.shift
        score_KB1: Tensor = self.score(self.dropout(torch.relu(h_KBH)))
        return score_KB1.squeeze(-1)


class Linear(nn.Module):
    """K fully connected layers: x_KNF -> y_KNO."""

    def __init__(self, inputs: int, outputs: int, start: SeededStart) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = start.uniform((inputs, outputs), bound)
        self.bias = start.uniform((1, outputs), bound)

    def forward(self, x_KNF: Tensor) -> Tensor:
        """Outputs y_KNO."""
        return torch.baddbmm(self.bias, x_KNF, self.weight)


class Dropout(nn.Module):
    """Dropout in which a seed's mask does not depend on the other seeds.

    Each call draws one number from torch's global generator, whose state the checkpoint stores; it and the seed decide
    the mask.
    """

    def __init__(self, probability: float, seeds: Sequence[int]) -> None:
        super().__init__()
        self.probability, self.seeds = probability, tuple(seeds)

    def forward(self, x_KNF: Tensor) -> Tensor:
        """The inputs with some of them set to 0 and the others scaled up; in evaluation the inputs themselves."""
        if not self.training or self.probability == 0:
            return x_KNF
        number = int(torch.randint(2**31, ()))
        mask_KNF = torch.stack([self._mask(x_KNF.shape[1:], seed * MIX ^ number) for seed in self.seeds])
        return x_KNF * mask_KNF.to(x_KNF.device)

    def _mask(self, shape: torch.Size, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed % 2**32)
        mask = torch.empty(shape).bernoulli_(1 - self.probability, generator=generator)
        return mask / (1 - self.probability)


class SeededStart:
    """Initial values of parameters, (K, ...); each lane draws from its own seed's generator, in order of the calls."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def uniform(self, shape: tuple[int, ...], bound: float) -> nn.Parameter:
        """A parameter drawn uniformly from [-bound, bound]."""
        lanes = [torch.empty(shape).uniform_(-bound, bound, generator=generator) for generator in self.generators]
        return nn.Parameter(torch.stack(lanes))

    def constant(self, shape: tuple[int, ...], value: float) -> nn.Parameter:
        """A parameter of one value."""
        return nn.Parameter(torch.full((len(self.generators), *shape), value))
