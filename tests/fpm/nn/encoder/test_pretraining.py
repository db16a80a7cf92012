"""The two tasks: strictly causal, in baseline units, without unavailable entries; and the encoder that they train."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from fpm.nn import checkpoint
from fpm.nn.encoder.batches import Split, split
from fpm.nn.encoder.history import SymbolSessions
from fpm.nn.encoder.masking import draw_veil
from fpm.nn.encoder.network import Encoder, EncoderConfig, embed
from fpm.nn.encoder.pretraining import (
    Pretraining,
    PretrainingConfig,
    PretrainingResult,
    Recipe,
    anchors,
    last_known,
    load,
    mean_square,
    pretext,
    pretrain,
    samples,
    surprise,
)
from fpm.nn.fit import FitConfig, Watch, deterministic, fit
from fpm.schema import BAR_32, L2_32
from tests.fpm.nn.encoder.small_sessions import (
    CLOSE,
    SLOTS,
    correlation_of_ridge,
    history_of,
    random_sessions,
    symbol_sessions,
)

SHAPE = EncoderConfig(
    slots=SLOTS, minutes_per_token=6, layers=1, hidden=64, dropout=0.1, pooling="attention", whole=64, stem=4, spread=4
)
CONFIG = PretrainingConfig(
    batch=64,
    decoder=16,
    validation_sessions=2,
    judged=64,
    fit=FitConfig(epochs=3, rate=3e-3, warm_up_epochs=0.3, patience=3),
)
NAN = float("nan")


def a_model(shape: EncoderConfig = SHAPE, x_NTF: np.ndarray | None = None) -> Pretraining:
    with deterministic(5):
        model = Pretraining(Encoder(shape, "l2_32"), CONFIG)
        model.calibrate(random_sessions(300, 1).x_NTF if x_NTF is None else x_NTF)
    return model.eval()


# --- strict causality ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [1, 6, 7])
def test_no_input_at_or_after_a_token_changes_its_prediction(minutes: int) -> None:
    model = a_model(replace(SHAPE, minutes_per_token=minutes))
    with torch.no_grad():
        for parameter in model.price_head.parameters():
            parameter.normal_(
                generator=torch.Generator().manual_seed(0)
            )  # at its initial 0 the test would prove nothing
        x = torch.from_numpy(random_sessions(4, 2).x_NTF)
        before = model.predict(model.encoder.tokens(x))
        for slot in range(SLOTS):
            changed = x.clone()
            changed[:, slot:] = torch.nan if slot % 2 else 7.0
            after = model.predict(model.encoder.tokens(changed))
            first_touched = slot // minutes  # its prediction is entry first_touched - 1
            assert torch.equal(before[:, :first_touched], after[:, :first_touched])


class Peeking(Pretraining):
    """A planted leak: the prediction of a token comes from a pass that has seen it."""

    def predict(self, parts: object) -> Tensor:
        h_BND = self.encoder.contextualise(parts)  # type: ignore[arg-type]
        return self.price_head(h_BND[:, 1:]).reshape(*h_BND[:, 1:].shape[:2], -1, 4)


class Walks:
    """Random walks: no past predicts them."""

    steps = 25

    def __init__(self, x_NTF: np.ndarray) -> None:
        self.x = torch.from_numpy(x_NTF)

    def train(self, epoch: int) -> Iterator[Tensor]:
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(epoch))
        return iter(self.x[rows] for rows in order[: self.steps * 64].split(64))

    def validation(self) -> Iterator[Tensor]:
        return iter(())


def error_over_irreducible(kind: type[Pretraining], minutes: int) -> float:
    """Error of the close on unseen walks, over the irreducible error of 1e-6 per minute."""
    training, unseen = random_sessions(1600, 1).x_NTF, torch.from_numpy(random_sessions(1000, 2).x_NTF)
    shape = replace(SHAPE, minutes_per_token=minutes, dropout=0.0)
    with deterministic(5):
        model = kind(Encoder(shape, "l2_32"), CONFIG)
        model.calibrate(training)
    fit(model, pretext, Walks(training), FitConfig(epochs=4, rate=3e-3, warm_up_epochs=0.5))
    model.eval()
    with torch.no_grad():
        error = (model.predict(model.encoder.tokens(unseen)) - model.changes(unseen)[:, 1:]) * model.change_P
    irreducible = 1e-6 * np.mean(np.arange(1, minutes + 1))
    return float(error[..., CLOSE].square().mean()) / float(irreducible)


@pytest.mark.parametrize("minutes", [2, 6])
def test_random_walks_cannot_be_predicted(minutes: int) -> None:
    assert 0.97 <= error_over_irreducible(Pretraining, minutes) < 1.10


def test_a_planted_peek_is_caught() -> None:
    assert error_over_irreducible(Peeking, 6) < 0.6


# --- the tasks' parts by hand ----------------------------------------------------------------------------------------


def test_the_last_known_value_before_each_token() -> None:
    column = torch.tensor([1.0, 2.0, NAN, NAN, 5.0, NAN, 7.0, 8.0])  # four tokens of two minutes
    assert np.array_equal(last_known(column.reshape(1, 4, 2, 1)).flatten(), [NAN, 2.0, 2.0, 5.0], equal_nan=True)
    late = torch.tensor([NAN, NAN, NAN, 4.0, 5.0, 6.0])
    assert np.array_equal(last_known(late.reshape(1, 3, 2, 1)).flatten(), [NAN, NAN, 4.0], equal_nan=True)


def test_prices_are_predicted_by_the_last_close_and_ratios_by_themselves() -> None:
    assert [L2_32[i] for i in anchors("l2_32")] == ["close", "close", "close", "price_pos"]
    assert [BAR_32[i] for i in anchors("bar_32")] == ["close"] * 7 + ["range_pos"]


def test_unavailable_entries_count_for_nothing() -> None:
    assert mean_square(torch.tensor([1.0, NAN, 3.0])).item() == 5.0
    assert mean_square(torch.tensor([NAN])).item() == 0.0


def test_the_surprise_is_that_of_a_normal_distribution() -> None:
    error, log_variance = torch.tensor([0.5, NAN, -2.0]), torch.tensor([0.3, 9.0, -1.0])
    expected = -stats.norm.logpdf([0.5, -2.0], scale=np.exp([0.15, -0.5])).mean() - 0.5 * np.log(2 * np.pi)
    assert surprise(error, log_variance).item() == pytest.approx(expected, rel=1e-6)
    assert surprise(torch.tensor([NAN]), torch.tensor([1.0])).item() == 0.0


def test_hidden_flows_do_not_reach_the_decoder() -> None:
    model, x = a_model(), torch.from_numpy(random_sessions(64, 1).x_NTF)
    flows, minutes = model.encoder.tokens.flows, SHAPE.minutes_per_token
    with torch.no_grad():
        torch.manual_seed(3)
        veil = draw_veil(64, SLOTS // minutes, model.family_G, CONFIG.mask_ratio, CONFIG.by_family)
        other = x.clone()
        hidden = veil.flows_BNG.repeat_interleave(minutes, dim=1)
        other[..., flows] = torch.where(hidden, 7.0, x[..., flows])
        vectors = []
        for each in (x, other):
            torch.manual_seed(3)
            vectors.append(model.rebuild(each, model.encoder.tokens(each)).z_BD)
    assert torch.equal(*vectors)


def test_an_untrained_head_is_the_baseline_in_baseline_units() -> None:
    x = random_sessions(300, 1).x_NTF
    with deterministic(0):
        loss = a_model(x_NTF=x)(torch.from_numpy(x))
    assert loss.parts["forward"].item() == pytest.approx(loss.parts["forward_baseline"].item(), rel=1e-6)
    assert loss.parts["forward"].item() == pytest.approx(1.0, rel=1e-3)
    assert loss.parts["backward_baseline"].item() == pytest.approx(1.0, abs=0.1)
    assert loss.count == 300


@pytest.mark.parametrize(("likelihood", "task"), [(True, "surprise"), (False, "backward")])
def test_the_loss_is_the_weighted_sum_of_its_parts(likelihood: bool, task: str) -> None:
    weights = replace(CONFIG, forward_weight=2.0, backward_weight=0.5, penalty_weight=0.1, likelihood=likelihood)
    x = torch.from_numpy(random_sessions(64, 1).x_NTF)
    with deterministic(0):
        loss = Pretraining(Encoder(SHAPE, "l2_32"), weights).eval()(x)
    parts = {name: part.item() for name, part in loss.parts.items()}
    penalties = parts["diversity"] + parts["orthogonality"] + parts["uniformity"]
    expected = 2.0 * parts["forward"] + 0.5 * parts[task] + 0.1 * penalties
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_a_session_with_gaps_and_one_without_anything_still_train() -> None:
    x = random_sessions(8, 1).x_NTF
    x[0] = np.nan
    x[1, :20] = np.nan
    x[2, :, 4:] = np.nan
    model = a_model().train()
    loss = model(torch.from_numpy(x))
    loss.total.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert torch.isfinite(loss.total)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


# --- a whole training ------------------------------------------------------------------------------------------------


def train(rows: SymbolSessions, watch: Watch | None = None, config: PretrainingConfig = CONFIG) -> PretrainingResult:
    parts = split(sorted(set(rows.sessions)), config.validation_sessions, config.purge)
    return pretrain(history_of(rows, samples(parts, config)), parts, Recipe("l2_32", SHAPE, config), watch or Watch())


@cache
def trained() -> PretrainingResult:
    longer = replace(CONFIG, fit=replace(CONFIG.fit, epochs=8, patience=8))
    return train(symbol_sessions(days=20, symbols=60), config=longer)


def test_training_passes_the_gate_and_learns_the_flows() -> None:
    result = trained()
    assert result.refused_because is None
    assert result.figures["backward"] < 0.98  # the timing explains about a fifteenth of a minute's flows
    assert 0.9 < result.figures["forward"] < 1.1
    assert {"rank", "dead", "participation", "same_symbol", "same_session"} <= result.figures.keys()
    assert all({"validation/loss", "train/loss", "rank"} <= epoch.keys() for epoch in result.history)
    json.dumps([result.figures, result.untrained, result.history], allow_nan=False)


def test_the_timing_of_volume_is_a_linear_function_of_the_fingerprint() -> None:
    train_on, test_on = random_sessions(800, 11), random_sessions(500, 12)
    z, unseen = embed(trained().encoder, train_on.x_NTF), embed(trained().encoder, test_on.x_NTF)
    correlation = correlation_of_ridge(z, train_on.timing_N, unseen, test_on.timing_N)
    ideal = np.corrcoef(test_on.ideal_N, test_on.timing_N)[0, 1]
    total = test_on.x_NTF[:, :, 5].sum(axis=1)
    assert abs(np.corrcoef(total, test_on.timing_N)[0, 1]) < 0.15  # no daily total shows it
    assert correlation >= 0.8 * ideal


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_killed_training_ends_in_the_same_bits(tmp_path: Path, step: int) -> None:
    rows = symbol_sessions(days=14, symbols=40)

    def kill(done: int, total: int, item: object) -> None:
        if done == step:
            raise Killed

    with pytest.raises(Killed):
        train(rows, Watch(kill, tmp_path))
    torch.manual_seed(1)
    resumed, undisturbed = train(rows, Watch(None, tmp_path)), train(rows)
    assert resumed.history == undisturbed.history
    bits = [checkpoint.to_bytes(each.encoder.state_dict()) for each in (resumed, undisturbed)]
    assert bits[0] == bits[1]


def test_scales_and_weights_do_not_depend_on_the_held_out_sessions() -> None:
    rows = symbol_sessions(days=14, symbols=20)
    parts = split(sorted(set(rows.sessions)), 2, 6)
    later = np.array([session > parts.train[-1] for session in rows.sessions])
    changed = np.where(later[:, None, None], 2 * rows.features, rows.features).astype(np.float16)
    other = replace(rows, features=changed)
    once = replace(CONFIG, fit=replace(CONFIG.fit, epochs=1))
    first, second = (train(each, config=once).encoder.state_dict() for each in (rows, other))
    assert checkpoint.to_bytes(first) == checkpoint.to_bytes(second)


def test_a_collapsed_encoder_is_refused_with_a_reason() -> None:
    rows = symbol_sessions(days=14, symbols=20)
    flat = replace(rows, features=np.zeros_like(rows.features))  # all sessions are alike
    assert train(flat).refused_because is not None


def test_one_symbol_and_one_session() -> None:
    rows = symbol_sessions(days=1, symbols=1)
    alone = Split(tuple(set(rows.sessions)), ())
    result = pretrain(history_of(rows, samples(alone, CONFIG)), alone, Recipe("l2_32", SHAPE, CONFIG), Watch())
    assert result.refused_because == "fewer than two fingerprints to judge by"
    assert np.isfinite(embed(result.encoder, rows.features.astype(np.float32))).all()


def test_a_vintage_is_loaded_from_its_manifest_and_weights() -> None:
    encoder = trained().encoder
    manifest = json.loads(json.dumps({"profile": "l2_32", "encoder": asdict(SHAPE)}))
    loaded = load(manifest, checkpoint.to_bytes(encoder.state_dict()))
    x = random_sessions(5, 3).x_NTF
    assert embed(loaded, x).tobytes() == embed(encoder, x).tobytes()
