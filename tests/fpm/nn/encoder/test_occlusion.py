"""Sessions whose fingerprint can only depend on one half-hour and family: the map lights there and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fpm.nn.encoder.network import Encoder, EncoderConfig, embed
from fpm.nn.encoder.occlusion import Occlusion, feature_families, occlusion, session_parts, typical_distance, veiled
from fpm.schema import BAR_32, FEATURES, L2_32
from tests.fpm.nn.encoder.small_sessions import sessions

SHAPE = EncoderConfig(slots=240, minutes_per_token=30, layers=1, hidden=32, dropout=0.0, pooling="mean")
CANCEL = [L2_32.index(f"cancel_{unit}") for unit in ("amount", "volume", "count")]
X_NTF = sessions(6, seed=5, slots=240).x_NTF


def encoder() -> Encoder:
    torch.manual_seed(3)
    made = Encoder(SHAPE, "l2_32")
    made.tokens.calibrate(X_NTF)
    return made.eval()


class Deaf(Encoder):
    """An encoder that hears the cancels of the third half-hour alone: every other value is constant to it."""

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        heard_BTF = torch.zeros_like(x_BTF)
        heard_BTF[:, 60:90, CANCEL] = x_BTF[:, 60:90, CANCEL]
        return super().forward(heard_BTF)


def seen_by(of: Encoder, x_TF: np.ndarray, unit: float = 1.0) -> Occlusion:
    return occlusion(lambda x_STF: embed(of, x_STF), "l2_32", x_TF, unit)


def test_only_what_was_heard_lights() -> None:
    torch.manual_seed(3)
    deaf = Deaf(SHAPE, "l2_32")
    deaf.tokens.calibrate(X_NTF)
    found = seen_by(deaf, X_NTF[0])
    cancels = found.families.index("cancel")
    assert found.cell_PU.shape == (8, 12)
    lit = found.cell_PU > 0
    assert lit[2, cancels] and lit.sum() == 1
    assert list(np.flatnonzero(found.part_P)) == [2] and list(np.flatnonzero(found.family_U)) == [cancels]
    assert found.part_P[2] == pytest.approx(found.cell_PU[2, cancels]) == pytest.approx(found.family_U[cancels])


def test_distances_are_those_of_hiding_by_hand() -> None:
    whole, unit = encoder(), 0.25
    found = seen_by(whole, X_NTF[1], unit)
    by_hand = X_NTF[1].copy()
    by_hand[30:60, L2_32.index("xl_buy_volume")] = np.nan
    by_hand[30:60, L2_32.index("xl_buy_count")] = np.nan
    seen, hidden = embed(whole, np.stack([X_NTF[1], by_hand])).astype(float)
    assert found.cell_PU[1, found.families.index("xl buy")] == pytest.approx(
        np.sqrt(((seen - hidden) ** 2).sum()) / unit, rel=1e-6
    )
    assert seen_by(whole, X_NTF[1], 2 * unit).cell_PU == pytest.approx(found.cell_PU / 2)


def test_what_is_not_there_cannot_be_hidden() -> None:
    absent = X_NTF[2].copy()
    absent[:, CANCEL] = np.nan
    absent[210:, :] = np.nan
    found = seen_by(encoder(), absent)
    cancels = found.families.index("cancel")
    assert np.isnan(found.cell_PU[:, cancels]).all() and np.isnan(found.family_U[cancels])
    assert np.isnan(found.cell_PU[7]).all() and np.isnan(found.part_P[7])
    assert np.isfinite(np.delete(found.cell_PU[:7], cancels, axis=1)).all()


@pytest.mark.parametrize("profile", sorted(FEATURES))
def test_every_feature_is_in_one_family(profile: str) -> None:
    named = feature_families(profile)
    assert sorted(place for places in named.values() for place in places) == list(range(32))
    assert next(iter(named)) == "prices"


def test_families_by_name() -> None:
    named = {name: [L2_32[i] for i in places] for name, places in feature_families("l2_32").items()}
    assert named["totals"] == ["amount", "volume", "trade_count", "avg_trade_amount"]
    assert named["xl buy"] == ["xl_buy_volume", "xl_buy_count"]
    assert named["buy"] == ["buy_amount", "buy_volume", "buy_count"]
    assert named["prices"] == ["high", "low", "close", "price_pos"]
    bars = {name: [BAR_32[i] for i in places] for name, places in feature_families("bar_32").items()}
    assert bars["up"] == ["up_amount", "up_volume", "up_return_amount"]


def test_parts_cover_a_session() -> None:
    assert session_parts(240, 30)[-1] == slice(210, 240) and len(session_parts(240)) == 8
    assert session_parts(50, 30) == [slice(0, 30), slice(30, 50)]


def test_hiding_changes_a_copy() -> None:
    before = X_NTF[0].copy()
    hidden = veiled(X_NTF[0], slice(0, 30), [4, 5])
    assert np.isnan(hidden).sum() == 60 and np.isnan(hidden[:30, [4, 5]]).all() and (X_NTF[0] == before).all()


def test_the_typical_distance_is_the_median_over_pairs() -> None:
    cloud = np.random.default_rng(1).standard_normal((300, 16))
    apart = [np.sqrt(((a - b) ** 2).sum()) for i, a in enumerate(cloud) for b in cloud[:i]]
    assert typical_distance(cloud) == pytest.approx(np.median(apart), rel=0.02)
    assert typical_distance(np.array([[0.0, 0.0], [3.0, 4.0]])) == 5.0
    assert np.isnan(typical_distance(cloud[:1]))
