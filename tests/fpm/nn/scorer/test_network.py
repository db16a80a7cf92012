"""The K-batched networks against torch.nn, and against themselves one seed at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from fpm.nn.fit import FitConfig, FitResult, Loss, Watch, fit
from fpm.nn.scorer.losses import LOSSES
from fpm.nn.scorer.network import PRESETS, STREAM_INPUTS, Dropout, Gru, Head, Linear, Scorer, ScorerConfig, SeededStart
from fpm.nn.scorer.panel import (
    Batch,
    LabelledSession,
    Panel,
    SessionBatches,
    fingerprint_statistics,
    labelled_sessions,
    panel,
)
from fpm.nn.scorer.streams import panel_view
from fpm.schema import STREAMS
from tests.fpm.nn.scorer.small_panel import small_panel

SEEDS = (42, 2024, 777)
TINY = ScorerConfig(
    look_back=4,
    hidden=6,
    layers=2,
    projection=5,
    dropout=0.3,
    input_dropout=0.2,
    fit=FitConfig(epochs=4, rate=1e-2, patience=10, warm_up_epochs=1),
)


def batch(look_back: int = 5, symbols: int = 7, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(look_back, symbols, 134, generator=random),
        torch.randn(look_back, symbols, 20, generator=random),
        torch.ones(look_back, symbols, dtype=torch.bool),
    )


def torch_gru(layers: list[Gru], lane: int) -> nn.GRU:
    """torch's own GRU with one lane's weights; torch keeps them transposed."""
    gru = nn.GRU(layers[0].input_weight.shape[1], layers[0].state_weight.shape[1], num_layers=len(layers))
    for number, layer in enumerate(layers):
        parts = {
            "weight_ih": layer.input_weight[lane].T,
            "weight_hh": layer.state_weight[lane].T,
            "bias_ih": layer.input_bias[lane, 0],
            "bias_hh": layer.state_bias[lane, 0],
        }
        for name, value in parts.items():
            getattr(gru, f"{name}_l{number}").data.copy_(value)
    return gru


def two_layers() -> list[Gru]:
    start = SeededStart(SEEDS)
    return [Gru(9, 8, start), Gru(8, 8, start)]


def run(layers: list[Gru], x_KLBF: Tensor, known_LB: Tensor) -> Tensor:
    for layer in layers:
        x_KLBF = layer(x_KLBF, known_LB)
    return x_KLBF


def test_k_grus_are_torchs_forward_and_backward() -> None:
    layers = two_layers()
    x_LBF = torch.randn(6, 7, 9)
    ours_KLBH = run(layers, x_LBF.expand(3, -1, -1, -1), torch.ones(6, 7, dtype=torch.bool))
    (ours_KLBH[:, -1] ** 2).sum().backward()  # type: ignore[no-untyped-call]
    for lane in range(3):
        theirs = torch_gru(layers, lane)
        theirs_LBH, _ = theirs(x_LBF)
        (theirs_LBH[-1] ** 2).sum().backward()
        torch.testing.assert_close(ours_KLBH[lane], theirs_LBH, atol=1e-6, rtol=0)
        for layer, number in zip(layers, ("0", "1"), strict=True):
            expected = getattr(theirs, f"weight_hh_l{number}").grad.T
            assert layer.state_weight.grad is not None
            torch.testing.assert_close(layer.state_weight.grad[lane], expected, atol=1e-5, rtol=1e-4)


def test_missing_steps_are_as_if_the_symbol_had_only_the_others() -> None:
    """Symbol 0 lacks steps 1 and 4, symbol 1 appears at step 3: equal to torch's GRU over the steps with data."""
    layers = two_layers()
    x_LBF, known_LB = torch.randn(6, 3, 9), torch.ones(6, 3, dtype=torch.bool)
    known_LB[[1, 4], 0] = False
    known_LB[:3, 1] = False
    ours_KBH = run(layers, x_LBF.expand(3, -1, -1, -1), known_LB)[:, -1]
    for lane in range(3):
        theirs = torch_gru(layers, lane)
        for symbol in range(3):
            _, last_1H = theirs(x_LBF[known_LB[:, symbol], symbol])
            torch.testing.assert_close(ours_KBH[lane, symbol], last_1H[-1], atol=1e-6, rtol=0)


def test_the_values_of_a_missing_step_do_not_matter() -> None:
    one, scorer = batch(), Scorer(TINY, "dual").eval()
    one.known_LB[2, 3] = False
    other = replace(one, fingerprint_LBF=one.fingerprint_LBF.clone(), factor_LBF=one.factor_LBF.clone())
    other.fingerprint_LBF[2, 3] = 99.0
    other.factor_LBF[2, 3] = -99.0
    assert torch.equal(scorer(one), scorer(other))


def test_head_is_torchs() -> None:
    head = Head(TINY, SeededStart(SEEDS)).eval()
    h_KBH = torch.randn(3, 7, 6)
    with torch.no_grad():
        head.scale.uniform_(0.5, 2)
        head.shift.uniform_(-1, 1)
    ours_KB = head(h_KBH)
    for lane in range(3):
        connected, norm, score = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 1)
        connected.weight.data, connected.bias.data = head.connected.weight[lane].T, head.connected.bias[lane, 0]
        norm.weight.data, norm.bias.data = head.scale[lane, 0], head.shift[lane, 0]
        score.weight.data, score.bias.data = head.score.weight[lane].T, head.score.bias[lane, 0]
        theirs_B = nn.Sequential(connected, norm, nn.ReLU(), score)(h_KBH[lane]).squeeze(-1)
        torch.testing.assert_close(ours_KB[lane], theirs_B, atol=1e-6, rtol=0)


@pytest.mark.parametrize("fusion", ["fixed", "gate", "score", "stack"])
@pytest.mark.parametrize("stream", STREAMS)
def test_every_fusion_scores_every_stream(fusion: Literal["fixed", "gate", "score", "stack"], stream: str) -> None:
    config = replace(TINY, fusion=fusion)
    score_KB = Scorer(config, stream).eval()(batch())
    assert score_KB.shape == (3, 7) and bool(torch.isfinite(score_KB).all())
    alone_KB = Scorer(config, stream).eval()(batch(symbols=1))
    assert alone_KB.shape == (3, 1), "a batch of one symbol"


def test_fusion_weight_one_is_the_fingerprint_alone() -> None:
    """Fixed fusion h = w h_fp + (1 - w) h_tr: at w = 1 factors do not matter, at w = 0 fingerprints do not."""
    one = batch()
    factors = replace(one, factor_LBF=one.factor_LBF + 1)
    fingerprints = replace(one, fingerprint_LBF=one.fingerprint_LBF + 1)
    for fusion in ("fixed", "score"):
        only_fingerprint = Scorer(replace(TINY, fusion=fusion, weight=1.0), "dual").eval()
        only_factors = Scorer(replace(TINY, fusion=fusion, weight=0.0), "dual").eval()
        assert torch.equal(only_fingerprint(one), only_fingerprint(factors))
        assert not torch.equal(only_fingerprint(one), only_fingerprint(fingerprints))
        assert torch.equal(only_factors(one), only_factors(fingerprints))


def test_the_gate_is_a_share_of_each_hidden_unit() -> None:
    scorer = Scorer(replace(TINY, fusion="gate"), "dual").eval()
    states = torch.randn(3, 7, 6), torch.randn(3, 7, 6)
    assert isinstance(scorer.gate, Linear)
    with torch.no_grad():
        scorer.gate.weight.zero_()
        scorer.gate.bias.fill_(1.0)
        fused_KBH = scorer._fuse(list(states))
    share = 0.7310585786300049  # 1 / (1 + exp(-1))
    torch.testing.assert_close(fused_KBH, share * states[0] + (1 - share) * states[1])


def test_dropout_of_a_seed_does_not_depend_on_the_others() -> None:
    x_KNF = torch.ones(3, 400, 50)
    torch.manual_seed(5)
    three_KNF = Dropout(0.3, SEEDS)(x_KNF)
    for lane, seed in enumerate(SEEDS):
        torch.manual_seed(5)
        assert torch.equal(Dropout(0.3, (seed,))(x_KNF[:1])[0], three_KNF[lane])
    mask_KNF = three_KNF > 0
    assert mask_KNF.float().mean((1, 2)).tolist() == pytest.approx([0.7] * 3, abs=0.01)
    assert (mask_KNF[0] & mask_KNF[1]).float().mean() == pytest.approx(0.49, abs=0.01), "masks are independent"
    assert float(three_KNF.max()) == pytest.approx(1 / 0.7)


def batches(config: ScorerConfig) -> tuple[Panel, SessionBatches]:
    small = small_panel(sessions=24, symbols=12)
    whole = panel(small.frame, small.sessions)
    view = panel_view(config, fingerprint_statistics(whole, small.sessions[:10]))

    def labelled(first: int, last: int) -> tuple[LabelledSession, ...]:
        return labelled_sessions(whole, small.labels, small.sessions[first:last], view)

    return whole, SessionBatches(whole, view, labelled(0, 10), labelled(14, 18), config.batch)


def trained(config: ScorerConfig, stream: str = "dual", watch: Watch | None = None) -> tuple[Scorer, FitResult]:
    scorer = Scorer(config, stream)

    def loss(model: nn.Module, one: Batch) -> Loss:
        assert one.label_B is not None
        return Loss(LOSSES[config.loss](model(one), one.label_B))

    return scorer, fit(scorer, loss, batches(config)[1], config.fit, watch)


@pytest.mark.parametrize("stream", STREAMS)
def test_three_seeds_in_one_pass_are_three_trainings(stream: str) -> None:
    """Initial weights, dropout, clipping, early stop and best epoch of a seed are those of a training on its own.

    An overshooting rate makes the seeds peak and stop at different epochs. The last bias changes no correlation: its
    gradient is rounding error, which Adam scales up, so it is left out.
    """
    rough = FitConfig(epochs=8, rate=2e-2, patience=2, warm_up_epochs=0, clip=0.05)
    together, result = trained(replace(TINY, fit=rough), stream)
    for lane, seed in enumerate(SEEDS):
        alone, alone_result = trained(replace(TINY, fit=rough, seeds=(seed,)), stream)
        assert alone_result.best_epoch_K == (result.best_epoch_K[lane],)
        assert alone_result.best_K[0] == pytest.approx(result.best_K[lane], abs=1e-5)
        for name, tensor in alone.state_dict().items():
            if not name.endswith(".score.bias"):
                torch.testing.assert_close(together.state_dict()[name][lane], tensor[0], atol=1e-4, rtol=0)
    assert len(set(result.best_epoch_K)) > 1, "the seeds should peak at different epochs, or the test shows little"


def test_seeds_differ() -> None:
    weight_KH1 = trained(TINY)[0].state_dict()["heads.dual.score.weight"]
    assert not torch.equal(weight_KH1[0], weight_KH1[1])


def test_training_repeats_bit_for_bit() -> None:
    one, other = trained(TINY)[0].state_dict(), trained(TINY)[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    """Killed in the third epoch and resumed from its checkpoint, it ends with the same weights."""

    class Killed(Exception):
        pass

    def kill(done: int, total: int, item: object) -> None:
        if done == 2 * batches(TINY)[1].steps + 3:
            raise Killed

    undisturbed, expected = trained(TINY)
    with pytest.raises(Killed):
        trained(TINY, watch=Watch(kill, tmp_path))
    resumed, result = trained(TINY, watch=Watch(None, tmp_path))
    assert result == expected
    states = undisturbed.state_dict(), resumed.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_every_tensor_of_a_scorer_has_the_lanes_first() -> None:
    """`fit` relies on it to clip each lane, and to restore its best epoch, on its own."""
    for preset in PRESETS.values():
        for stream in STREAM_INPUTS:
            assert {len(tensor) for tensor in Scorer(preset, stream).state_dict().values()} == {3}
