"""Where a fingerprint depends on one half-hour and family only, the map lights there and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fpm.nn.encoder.network import Encoder, EncoderConfig, embed
from fpm.nn.encoder.occlusion import Occlusion, feature_families, hide, occlusion, session_parts, typical_distance
from fpm.schema import BAR_32, FEATURES, L2_32
from tests.fpm.nn.encoder.small_sessions import random_sessions

SHAPE = EncoderConfig(slots=240, minutes_per_token=30, layers=1, hidden=32, dropout=0.0, pooling="mean")
CANCEL = [L2_32.index(f"cancel_{unit}") for unit in ("amount", "volume", "count")]
X_NTF = random_sessions(6, seed=5, slots=240).x_NTF


def encoder() -> Encoder:
    torch.manual_seed(3)
    model = Encoder(SHAPE, "l2_32")
    model.tokens.calibrate(X_NTF)
    return model.eval()


class CancelsOnly(Encoder):
    """An encoder that reads only the cancels of the third half-hour: every other value is constant to it."""

    def forward(self, x_BTF: torch.Tensor) -> torch.Tensor:
        cancels_BTF = torch.zeros_like(x_BTF)
        cancels_BTF[:, 60:90, CANCEL] = x_BTF[:, 60:90, CANCEL]
        return super().forward(cancels_BTF)


def occlusion_of(model: Encoder, x_TF: np.ndarray, unit: float = 1.0) -> Occlusion:
    return occlusion(lambda x_STF: embed(model, x_STF), "l2_32", x_TF, unit)


def test_only_the_part_that_is_read_lights() -> None:
    torch.manual_seed(3)
    cancels_only = CancelsOnly(SHAPE, "l2_32")
    cancels_only.tokens.calibrate(X_NTF)
    hidden = occlusion_of(cancels_only, X_NTF[0])
    cancels = hidden.families.index("cancel")
    assert hidden.cell_PU.shape == (8, 12)
    lit = hidden.cell_PU > 0
    assert lit[2, cancels] and lit.sum() == 1
    assert list(np.flatnonzero(hidden.part_P)) == [2] and list(np.flatnonzero(hidden.family_U)) == [cancels]
    assert hidden.part_P[2] == pytest.approx(hidden.cell_PU[2, cancels]) == pytest.approx(hidden.family_U[cancels])


def test_distances_are_those_of_hiding_by_hand() -> None:
    model, unit = encoder(), 0.25
    distances = occlusion_of(model, X_NTF[1], unit)
    by_hand = X_NTF[1].copy()
    by_hand[30:60, L2_32.index("xl_buy_volume")] = np.nan
    by_hand[30:60, L2_32.index("xl_buy_count")] = np.nan
    original, hidden = embed(model, np.stack([X_NTF[1], by_hand])).astype(float)
    assert distances.cell_PU[1, distances.families.index("xl buy")] == pytest.approx(
        np.sqrt(((original - hidden) ** 2).sum()) / unit, rel=1e-6
    )
    assert occlusion_of(model, X_NTF[1], 2 * unit).cell_PU == pytest.approx(distances.cell_PU / 2)


def test_unavailable_values_cannot_be_hidden() -> None:
    absent = X_NTF[2].copy()
    absent[:, CANCEL] = np.nan
    absent[210:, :] = np.nan
    distances = occlusion_of(encoder(), absent)
    cancels = distances.families.index("cancel")
    assert np.isnan(distances.cell_PU[:, cancels]).all() and np.isnan(distances.family_U[cancels])
    assert np.isnan(distances.cell_PU[7]).all() and np.isnan(distances.part_P[7])
    assert np.isfinite(np.delete(distances.cell_PU[:7], cancels, axis=1)).all()


@pytest.mark.parametrize("profile", sorted(FEATURES))
def test_every_feature_is_in_one_family(profile: str) -> None:
    families = feature_families(profile)
    assert sorted(column for columns in families.values() for column in columns) == list(range(32))
    assert next(iter(families)) == "prices"


def test_families_by_name() -> None:
    ticks = {name: [L2_32[i] for i in columns] for name, columns in feature_families("l2_32").items()}
    assert ticks["totals"] == ["amount", "volume", "trade_count", "avg_trade_amount"]
    assert ticks["xl buy"] == ["xl_buy_volume", "xl_buy_count"]
    assert ticks["buy"] == ["buy_amount", "buy_volume", "buy_count"]
    assert ticks["prices"] == ["high", "low", "close", "price_pos"]
    bars = {name: [BAR_32[i] for i in columns] for name, columns in feature_families("bar_32").items()}
    assert bars["up"] == ["up_amount", "up_volume", "up_return_amount"]


def test_parts_cover_a_session() -> None:
    assert session_parts(240, 30)[-1] == slice(210, 240) and len(session_parts(240)) == 8
    assert session_parts(50, 30) == [slice(0, 30), slice(30, 50)]


def test_hiding_changes_a_copy() -> None:
    before = X_NTF[0].copy()
    hidden = hide(X_NTF[0], slice(0, 30), [4, 5])
    assert np.isnan(hidden).sum() == 60 and np.isnan(hidden[:30, [4, 5]]).all() and (X_NTF[0] == before).all()


def test_the_typical_distance_is_the_median_over_pairs() -> None:
    cloud = np.random.default_rng(1).standard_normal((300, 16))
    apart = [np.sqrt(((a - b) ** 2).sum()) for i, a in enumerate(cloud) for b in cloud[:i]]
    assert typical_distance(cloud) == pytest.approx(np.median(apart), rel=0.02)
    assert typical_distance(np.array([[0.0, 0.0], [3.0, 4.0]])) == 5.0
    assert np.isnan(typical_distance(cloud[:1]))
