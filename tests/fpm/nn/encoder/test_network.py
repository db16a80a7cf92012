"""The encoder: what it may and may not see, and that a symbol's vector depends on no other symbol."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fpm.errors import ModelRefused, UsageError
from fpm.nn.encoder.network import PRESETS, Encoder, EncoderConfig, config_for_grid, embed
from fpm.nn.encoder.tokens import phases
from fpm.nn.fit import deterministic
from fpm.schema import FEATURES, PRICE_FEATURES
from tests.fpm.nn.encoder.small_sessions import SLOTS, random_sessions

SMALL = EncoderConfig(slots=SLOTS, minutes_per_token=4, layers=2, hidden=64, dropout=0.1, pooling="attention", stem=4)
PLAIN = replace(SMALL, minutes_per_token=1, stem=0, pooling="last")
RAGGED = replace(SMALL, minutes_per_token=7, pooling="mean")  # 7 does not divide 48
UNEVEN = replace(SMALL, whole=64, spread=4)
SHAPES = {
    "several minutes a token": SMALL,
    "spread and whole-session dimensions": UNEVEN,
    "one minute a token": PLAIN,
    "a ragged last token": RAGGED,
}


def an_encoder(config: EncoderConfig = SMALL, profile: str = "l2_32") -> Encoder:
    with deterministic(7):
        encoder = Encoder(config, profile)
        encoder.tokens.calibrate(random_sessions(200, 1).x_NTF)
    return encoder.eval()


def some(count: int, seed: int = 0) -> np.ndarray:
    x = random_sessions(count, seed).x_NTF
    x[np.random.default_rng(seed).random(x.shape) < 0.02] = np.nan
    return x


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_an_input_at_or_after_a_token_changes_nothing_causal_before_it(config: EncoderConfig) -> None:
    encoder, x = an_encoder(config), torch.from_numpy(some(3))
    with torch.no_grad():
        before = encoder.contextualise(encoder.tokens(x), causal=True)
        for slot in range(0, SLOTS, 5):
            changed = x.clone()
            changed[:, slot:] = torch.from_numpy(some(3, seed=slot + 1))[:, slot:] * 3
            after = encoder.contextualise(encoder.tokens(changed), causal=True)
            token = slot // config.minutes_per_token
            assert torch.equal(before[:, :token], after[:, :token])
            assert not torch.equal(before[:, token:], after[:, token:])


def test_the_bidirectional_pass_sees_the_whole_session() -> None:
    encoder, x = an_encoder(), torch.from_numpy(some(3))
    changed = x.clone()
    changed[:, -1] *= 2
    with torch.no_grad():
        before, after = (encoder.contextualise(encoder.tokens(each)) for each in (x, changed))
    assert not torch.equal(before[:, 0], after[:, 0])


def test_a_mask_hides_the_flows_of_its_tokens_and_not_the_prices() -> None:
    encoder, x = an_encoder(), torch.from_numpy(random_sessions(3, 0).x_NTF)
    masked = torch.zeros(3, 12, dtype=torch.bool)
    masked[:, 5] = True
    other_flows, other_prices = x.clone(), x.clone()
    other_flows[:, 20:24, 4:] = 9.0
    other_prices[:, 20:24, :4] = 0.5
    with torch.no_grad():
        original, flows, prices = (
            encoder.contextualise(encoder.tokens(each), masked) for each in (x, other_flows, other_prices)
        )
        unmasked = encoder.contextualise(encoder.tokens(other_flows))
    assert torch.equal(original, flows)
    assert not torch.equal(original, prices)
    assert not torch.equal(original, unmasked)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_a_symbols_vector_does_not_depend_on_its_neighbours(config: EncoderConfig) -> None:
    encoder, x = an_encoder(replace(config, embed_batch=16)), some(50)
    together = embed(encoder, x)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for i in range(len(x)):
        assert embed(encoder, x[i : i + 1]).tobytes() == together[i].tobytes()
    order = np.random.default_rng(3).permutation(50)
    assert embed(encoder, x[order]).tobytes() == together[order].tobytes()


def test_threads_change_no_bit() -> None:
    """Each takes whole batches, and one operation is never cut between two."""
    encoder, x = an_encoder(replace(SMALL, embed_batch=4)), some(50)
    with deterministic(0):
        one = embed(encoder, x)
        assert [embed(encoder, x, threads).tobytes() for threads in (2, 5)] == [one.tobytes()] * 2


def test_a_symbol_without_features_has_no_vector_and_disturbs_nobody() -> None:
    encoder, x = an_encoder(), some(5)
    gap = np.insert(x, 2, np.nan, axis=0)
    z = embed(encoder, gap)
    assert np.isnan(z[2]).all()
    assert np.delete(z, 2, axis=0).tobytes() == embed(encoder, x).tobytes()
    assert embed(encoder, x[:0]).shape == (0, 128)
    assert np.isnan(embed(encoder, np.full_like(x[:1], np.nan))).all()


def test_unavailable_is_not_the_same_as_average_or_zero() -> None:
    encoder, x = an_encoder(), random_sessions(1, 0).x_NTF
    missing, average, zero = x.copy(), x.copy(), x.copy()
    missing[:, 8:16, 5] = np.nan
    average[:, 8:16, 5] = np.expm1(encoder.tokens.location_F[5].item())
    zero[:, 8:16, 5] = 0.0
    vectors = [embed(encoder, each) for each in (missing, average, zero)]
    assert not np.allclose(vectors[0], vectors[1])
    assert not np.allclose(vectors[0], vectors[2])


def test_an_always_unavailable_feature_is_no_obstacle() -> None:
    x = random_sessions(50, 0).x_NTF
    x[:, :, 6] = np.nan
    encoder = an_encoder()
    encoder.tokens.calibrate(x)
    assert encoder.tokens.scale_F[6] == 1.0
    assert np.isfinite(embed(encoder, x)).all()


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
@pytest.mark.parametrize("profile", sorted(FEATURES))
def test_every_pooling_and_profile_gives_128_numbers(pooling: str, profile: str) -> None:
    encoder = an_encoder(replace(SMALL, pooling=pooling), profile)
    assert len(encoder.tokens.prices) == len(PRICE_FEATURES[profile])
    assert embed(encoder, some(3)).shape == (3, 128)


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_a_vector_is_the_pooled_vectors_of_all_tokens(pooling: str) -> None:
    encoder = an_encoder(replace(SMALL, pooling=pooling)).eval()
    x = torch.from_numpy(some(5))
    pooled = encoder.pool(encoder.contextualise(encoder.tokens(x)))
    assert torch.allclose(encoder(x), pooled, atol=1e-5)


def test_poolings_by_hand() -> None:
    h = torch.arange(2 * 12 * 128, dtype=torch.float32).reshape(2, 12, 128)
    assert torch.equal(an_encoder(replace(SMALL, pooling="last")).pool(h), h[:, 11])
    assert torch.allclose(an_encoder(replace(SMALL, pooling="mean")).pool(h), h[:, 0] + 128 * 5.5)
    constant = torch.ones(2, 12, 128)  # whatever the weights, the mean of one vector is that vector
    encoder = an_encoder()
    assert encoder.pooling is not None
    assert torch.allclose(encoder.pool(constant), encoder.pooling.value(constant[:, 0]), atol=1e-5)


def test_whole_dimensions_start_as_the_mean_of_the_session() -> None:
    encoder = an_encoder(UNEVEN)
    assert encoder.pooling is not None
    h = torch.randn(2, 12, 128, generator=torch.Generator().manual_seed(1))
    value = encoder.pooling.value(h)
    pooled = encoder.pool(h)
    assert torch.allclose(pooled[:, :64], value[..., :64].mean(dim=1), atol=1e-6)
    centre, position = (np.arange(8) + 0.5) / 8, (np.arange(12) + 0.5) / 12
    weight = np.exp(-(((position[:, None] - centre) * 8) ** 2) / 2)
    weight /= weight.sum(axis=0)
    parts = np.einsum("nh,bnhe->bhe", weight, value[..., 64:].detach().numpy().reshape(2, 12, 8, 8))
    assert np.allclose(pooled[:, 64:].detach().numpy(), parts.reshape(2, 64), atol=1e-6)


def test_the_spread_units_are_the_unevenness_of_a_mix_over_a_tokens_minutes() -> None:
    encoder, x = an_encoder(UNEVEN), torch.from_numpy(random_sessions(3, 0).x_NTF)
    tokens = encoder.tokens
    assert tokens.mix is not None
    with torch.no_grad():
        standard = tokens.standardise(x).numpy().astype(np.float64)
        moves = np.diff(standard[..., :4], axis=1, prepend=standard[:, :1, :4]) / tokens.change_P.numpy()
        mixed = np.concatenate([moves, np.abs(moves), standard[..., 4:]], axis=-1) @ tokens.mix.weight.numpy().T
        uneven = np.log(mixed.reshape(3, 12, 4, 4).std(axis=2) + 0.05)
        expected = uneven @ tokens.flow_projection.weight[:, -4:].numpy().T
        with_them = tokens(x).flow_BND.clone()
        tokens.flow_projection.weight[:, -4:] = 0.0
        assert np.allclose(with_them - tokens(x).flow_BND, expected, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"whole": 60}, {"pool_heads": 7}])
def test_heads_that_cannot_share_the_vector_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="FPM-CFG-056"):
        replace(SMALL, **wrong)


def test_the_projections_start_orthogonal() -> None:
    weight = an_encoder(PLAIN).tokens.flow_projection.weight  # 128 x (28 flows + 28 channels of what is missing)
    assert torch.allclose(weight.T @ weight, torch.eye(56), atol=1e-5)


def test_the_phases_are_open_morning_afternoon_close() -> None:
    assert phases(EncoderConfig(slots=16).tokens).tolist() == [0, 0, *[1] * 6, *[2] * 6, 3, 3]
    assert phases(EncoderConfig(slots=1).tokens).tolist() == [2]


def test_scales_are_those_of_the_available_values() -> None:
    x = some(120)
    encoder = an_encoder()
    encoder.tokens.calibrate(x)
    compressed = np.log1p(x[:, :, 4:].astype(np.float64))
    assert np.allclose(encoder.tokens.location_F[4:], np.nanmean(compressed, axis=(0, 1)), rtol=1e-4)
    assert np.allclose(encoder.tokens.scale_F[4:], np.nanstd(compressed, axis=(0, 1)), rtol=1e-4)
    assert np.allclose(encoder.tokens.scale_F[:4], np.nanstd(x[:, :, :4], axis=(0, 1)), rtol=1e-3)
    moves = np.diff(x[:, :, :4], axis=1) / np.nanstd(x[:, :, :4], axis=(0, 1))
    assert np.allclose(encoder.tokens.change_P, np.sqrt(np.nanmean(np.square(moves), axis=(0, 1))), rtol=1e-3)


def test_another_grid_and_a_vector_that_is_not_finite_are_refused() -> None:
    encoder, x = an_encoder(), some(2)
    with pytest.raises(ModelRefused, match="shape"):
        embed(encoder, x[:, :-1])
    x[0, 3, 7] = np.inf
    with pytest.raises(ModelRefused, match="not finite"):
        embed(encoder, x)


def test_longer_bars_make_tokens_of_the_same_time() -> None:
    """A token of fifteen minutes is fifteen one-minute bars, or one bar of fifteen minutes without spread within it."""
    demo = PRESETS["demo"]
    assert config_for_grid(demo, slots=240, bar_minutes=1) == demo
    quarters = config_for_grid(demo, slots=16, bar_minutes=15)
    assert (quarters.tokens.count, quarters.minutes_per_token, quarters.spread) == (16, 1, 0)
    vector_D = embed(Encoder(quarters, "l2_32"), random_sessions(1, 0, slots=16).x_NTF)[0]
    assert np.isfinite(vector_D).all() and config_for_grid(PRESETS["default"], 16, 15).minutes_per_token == 1


def test_an_unknown_pooling_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="attention"):
        EncoderConfig(pooling="max")


def test_the_default_is_the_reports_encoder() -> None:
    encoder = Encoder(PRESETS["default"], "l2_32")
    assert (len(encoder.blocks), encoder.config.width, encoder.config.minutes_per_token) == (4, 128, 1)
    assert embed(encoder, random_sessions(1, 0, slots=240).x_NTF).shape == (1, 128)
