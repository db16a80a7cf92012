"""What can be read off a fingerprint by a straight line: every planted style of the synthetic exchange, out of sample.

Run `python benchmarks/bench_fingerprint.py [--symbols 120] [--sessions 150] [--preset demo] [--epochs 10] [--seeds 1]
[--ways trained untrained pca contrastive] [--ablation]`. A ridge is fitted on the fingerprints of the first sessions
and judged on the last, by its correlation with the style. Named ceiling: the best single-session reading of the style
by somebody who knows the exchange's formula (`fpm.exchange_ideals`) on the same symbol-sessions. Peers on the same
inputs: principal components of the 32 x T matrix; the untrained encoder; the same network trained to tell two veiled
views of a session from other sessions (InfoNCE, as in TS2Vec, arXiv 2106.10466, at instance level). `--ablation`: the
encoder's own losses against each other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import measure
import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from fpm import minute_features
from fpm.bars import Grid, grid
from fpm.exchange import ExchangeConfig, simulate
from fpm.exchange_ideals import ideals
from fpm.exchange_styles import STYLES
from fpm.minute_features import Profile, by_symbol, raw_features, standardise
from fpm.nn import encoder as encoders
from fpm.nn import pretraining
from fpm.nn.batches import Split, split
from fpm.nn.collapse import collapse_figures
from fpm.nn.encoder import Encoder, EncoderConfig, embed
from fpm.nn.fit import FitConfig, Loss, Watch, deterministic, fit
from fpm.nn.history import SymbolSessions, survey
from fpm.nn.masking import draw_veil, families
from fpm.nn.pretraining import Pretraining, PretrainingConfig, pretrain, samples
from fpm.session_totals import scales, session_totals
from fpm.sessions import Market, market

PROFILE, VIEW = "l2_32", "240"
TEST_SHARE = 0.25
RIDGES = (1.0, 10.0, 100.0, 1000.0, 10000.0)
COMPONENTS = 128
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Judged:
    """Symbol-sessions in order of time with what was planted in them and the best readings of it, (N, K) each."""

    rows: SymbolSessions
    planted_NK: np.ndarray
    ideal_NK: np.ndarray

    @property
    def days(self) -> list[date]:
        return sorted(set(self.rows.sessions))

    @property
    def first_test(self) -> date:
        """The first session that nothing is fitted on."""
        return self.days[int((1 - TEST_SHARE) * len(self.days))]

    @property
    def unseen_N(self) -> np.ndarray:
        return np.array([session >= self.first_test for session in self.rows.sessions])


# --- the exchange's features, without a store ---------------------------------------------------------------------
def judged(config: ExchangeConfig, preset: str) -> Judged:
    """Features as the producers compute them, in memory."""
    profile, place = Profile(PROFILE, VIEW, minute_features.PRESETS[preset]), market("cn")
    blocks, symbols, sessions, planted, ideal = [], list[str](), list[date](), [], []
    totals: list[pl.DataFrame] = []
    for tables in simulate(config):
        dense = grid(_slots(tables.minute_bars, place), place, VIEW)
        raw_STF = raw_features(
            dense, tables.daily_bars, np.full((len(dense.symbols), dense_slots(dense)), np.nan), profile
        )
        before = pl.concat(totals) if totals else pl.DataFrame()
        scales_SF = scales(before, dense.symbols, by_symbol(tables.daily_bars, dense.symbols, "adj_factor"), profile)
        totals.append(
            session_totals(raw_STF, dense, tables.daily_bars, profile).with_columns(session=pl.lit(tables.session))
        )
        del totals[: -profile.constants.window]
        x_STF = standardise(raw_STF, scales_SF, profile)
        here_S = np.isfinite(x_STF).any(axis=(1, 2))
        blocks.append(x_STF[here_S].astype(np.float16))
        names = [symbol for symbol, here in zip(dense.symbols, here_S, strict=True) if here]
        symbols += names
        sessions += [tables.session] * len(names)
        planted.append(_in_order(tables.styles, names))
        ideal.append(_in_order(ideals(tables.minute_bars), names))
    rows = SymbolSessions(np.concatenate(blocks), tuple(symbols), tuple(sessions))
    return Judged(rows, np.concatenate(planted), np.concatenate(ideal))


def dense_slots(dense: Grid) -> int:
    return int(dense.traded_ST.shape[1])


def _slots(bars: pl.DataFrame, place: Market) -> pl.DataFrame:
    slot = {minute: number for number, minute in enumerate(place.slots)}
    minute = pl.col("minute").dt.hour().cast(pl.Int32) * 60 + pl.col("minute").dt.minute()
    return bars.with_columns(slot=minute.replace_strict(slot, default=None)).drop("minute", "session", strict=False)


def _in_order(styles: pl.DataFrame, names: list[str]) -> np.ndarray:
    asked = pl.DataFrame({"symbol": names}, schema={"symbol": pl.String})
    return asked.join(styles, on="symbol", how="left", maintain_order="left").select(list(STYLES)).to_numpy()


# --- what fingerprints are compared -----------------------------------------------------------------------------
def embedded(encoder: Encoder, of: Judged) -> np.ndarray:
    with deterministic(0):
        return embed(encoder, of.rows.x_NTF.astype(np.float32))


def trained(of: Judged, shape: EncoderConfig, config: PretrainingConfig) -> np.ndarray:
    chosen = training_split(of, config)
    history = survey(of.rows.of, samples(chosen, config), 10**10, lambda done, total, what: None)
    return embedded(pretrain(history, chosen, (PROFILE, shape, config), Watch()).encoder, of)


def untrained(of: Judged, shape: EncoderConfig, config: PretrainingConfig) -> np.ndarray:
    return embedded(_fresh(of, shape, config).encoder, of)


def principal(of: Judged, shape: EncoderConfig, config: PretrainingConfig) -> np.ndarray:
    """Components of the sessions that were seen, log flows, standard columns, what is unavailable at its mean."""
    x_NTF = _fresh(of, shape, config).encoder.tokens.standardise(torch.from_numpy(of.rows.x_NTF.astype(np.float32)))
    flat_ND = np.nan_to_num(x_NTF.numpy().reshape(len(of.rows), -1))
    seen_ND = flat_ND[~of.unseen_N]
    mean_D = seen_ND.mean(axis=0)
    _, _, axes = torch.svd_lowrank(torch.from_numpy(seen_ND - mean_D), q=COMPONENTS + 32, niter=4)
    return np.asarray((flat_ND - mean_D) @ axes[:, :COMPONENTS].numpy())


def contrastive(of: Judged, shape: EncoderConfig, config: PretrainingConfig) -> np.ndarray:
    """The same network, trained to find the other veiled view of a session among those of the batch."""
    with deterministic(config.fit.seed):
        model = Contrast(_fresh(of, shape, config).encoder, config)
    names = set(training_split(of, config).train)
    rows_N = np.flatnonzero([session in names for session in of.rows.sessions])
    fit(model, lambda model, x: model(x), Shuffled(of.rows.x_NTF, rows_N, config.batch), config.fit)
    return embedded(model.encoder.eval(), of)


class Contrast(nn.Module):
    """InfoNCE of two veiled views, on a projection that is thrown away (SimCLR, arXiv 2002.05709)."""

    def __init__(self, encoder: Encoder, config: PretrainingConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.family_G = torch.tensor(families(PROFILE))
        width = encoder.config.width
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x_BTF: Tensor) -> Loss:
        one_BD, other_BD = (functional.normalize(self.head(self._view(x_BTF)), dim=1) for _ in range(2))
        alike_BB = one_BD @ other_BD.T / TEMPERATURE
        self_B = torch.arange(len(x_BTF))
        return Loss((functional.cross_entropy(alike_BB, self_B) + functional.cross_entropy(alike_BB.T, self_B)) / 2)

    def _view(self, x_BTF: Tensor) -> Tensor:
        tokens = self.encoder.tokens
        veil = draw_veil(len(x_BTF), tokens.config.count, self.family_G, 0.5, self.config.by_family)
        parts = tokens(veil.over(x_BTF, tokens.flows, tokens.config.minutes))
        return self.encoder.pool(self.encoder.contextualise(parts, veil.whole_BN))


@dataclass(frozen=True)
class Shuffled:
    """Batches of the rows in a new order each epoch; nothing is held out."""

    x_NTF: np.ndarray
    rows_N: np.ndarray
    size: int

    @property
    def steps(self) -> int:
        return len(self.rows_N) // self.size

    def train(self, epoch: int) -> Iterator[Tensor]:
        order = np.random.default_rng(epoch).permutation(self.rows_N)
        for step in range(self.steps):
            yield torch.from_numpy(self.x_NTF[order[step * self.size : (step + 1) * self.size]].astype(np.float32))

    def validation(self) -> Iterator[Tensor]:
        return iter(())


def training_split(of: Judged, config: PretrainingConfig) -> Split:
    return split([day for day in of.days if day < of.first_test], config.validation_sessions, config.purge)


def _fresh(of: Judged, shape: EncoderConfig, config: PretrainingConfig) -> Pretraining:
    with deterministic(config.fit.seed):
        model = Pretraining(Encoder(shape, PROFILE), config)
        model.calibrate(
            SymbolSessions(of.rows.x_NTF[~of.unseen_N], (), ()).x_NTF[
                :: max(1, int((~of.unseen_N).sum()) // config.calibrated)
            ]
        )
    return model


# --- the probe ---------------------------------------------------------------------------------------------------
def probe(z_ND: np.ndarray, y_N: np.ndarray, unseen_N: np.ndarray) -> float:
    """Out-of-sample correlation of a ridge; its strength is chosen on the last fifth of what it is fitted on."""
    seen = np.flatnonzero(~unseen_N)
    inner = len(seen) * 4 // 5
    best = max(RIDGES, key=lambda ridge: _fitted(z_ND, y_N, seen[:inner], seen[inner:], ridge))
    return _fitted(z_ND, y_N, seen, np.flatnonzero(unseen_N), best)


def _fitted(z_ND: np.ndarray, y_N: np.ndarray, on: np.ndarray, unseen: np.ndarray, ridge: float) -> float:
    mean_D, scale_D = z_ND[on].mean(axis=0), z_ND[on].std(axis=0) + 1e-9
    a, b = (z_ND[on] - mean_D) / scale_D, (z_ND[unseen] - mean_D) / scale_D
    slope_D = np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ (y_N[on] - y_N[on].mean()))
    return float(np.corrcoef(b @ slope_D, y_N[unseen])[0, 1])


def line(name: str, z_ND: np.ndarray, of: Judged, ideal_K: list[float]) -> list[object]:
    """Correlations, their least share of the ideal, and how the unseen fingerprints lie."""
    found_K = [probe(z_ND, of.planted_NK[:, k], of.unseen_N) for k in range(len(STYLES))]
    figures = collapse_figures(z_ND[of.unseen_N][:2048])
    least = min(found / ideal for found, ideal in zip(found_K, ideal_K, strict=True))
    return [name, *found_K, least, figures["rank"], figures["participation"]]


WAYS: dict[str, Callable[[Judged, EncoderConfig, PretrainingConfig], np.ndarray]] = {
    "pca": principal, "untrained": untrained, "contrastive": contrastive, "trained": trained,
}  # fmt: skip
DIRECTIONS: dict[str, dict[str, Any]] = {
    "both": {}, "forward": {"backward_weight": 0.0}, "backward": {"forward_weight": 0.0},
}  # fmt: skip
FORMS: dict[str, dict[str, Any]] = {
    "fixed": {}, "paper": {"penalties": "paper"}, "none": {"penalty_weight": 0.0},
}  # fmt: skip
EXTRAS: dict[str, dict[str, Any]] = {
    "squared error": {"likelihood": False}, "no families": {"by_family": 0.0},
}  # fmt: skip


def variants(ways: list[str], ablation: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    """What is compared: name -> (way, changes of the pre-training)."""
    if not ablation:
        return {way: (way, {}) for way in ways}
    of_losses = {
        f"{form}, {direction}": ("trained", FORMS[form] | DIRECTIONS[direction])
        for form in FORMS
        for direction in DIRECTIONS
    }
    return of_losses | {name: ("trained", change) for name, change in EXTRAS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--sessions", type=int, default=90)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20241122, help="of the exchange")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--ablation", action="store_true")
    asked = parser.parse_args()
    config = ExchangeConfig(symbols=asked.symbols, sessions=asked.sessions, seed=asked.seed, spoiled_every=0)
    of = judged(config, asked.preset)
    shape = replace(encoders.PRESETS[asked.preset], slots=240)
    plain = pretraining.PRESETS[asked.preset]
    plain = replace(plain, fit=replace(plain.fit, epochs=asked.epochs))
    unseen_N = of.unseen_N
    ideal_K = [
        float(np.corrcoef(of.ideal_NK[unseen_N, k], of.planted_NK[unseen_N, k])[0, 1]) for k in range(len(STYLES))
    ]
    table: list[list[object]] = [["ideal", *ideal_K, 1.0, "", ""]]
    for name, (way, change) in variants(asked.ways, asked.ablation).items():
        for seed in range(asked.seeds):
            training = replace(plain, **change)
            training = replace(training, fit=replace(training.fit, seed=FitConfig.seed + seed))
            table.append(line(f"{name}, seed {seed}", WAYS[way](of, shape, training), of, ideal_K))
            print(*table[-1], flush=True)
    heads = ["fingerprint", *STYLES, "least share", "rank", "participation"]
    measure.show(
        f"{len(of.rows):,} symbol-sessions, {int(unseen_N.sum()):,} unseen; {asked.epochs} epochs", heads, table
    )


if __name__ == "__main__":
    main()
