"""Collapse figures of clouds with known answers, and the gate."""

import math

import numpy as np
import pytest
from scipy.spatial import KDTree

from fpm.nn.encoder.collapse import chance_share, collapse_figures, figures_by_session, gate, nearest, spectrum

RNG = np.random.default_rng(0)
CLOUD = RNG.standard_normal((1000, 128))


def test_a_full_cloud_has_nearly_full_rank() -> None:
    figures = collapse_figures(CLOUD)
    assert 115 < figures["rank"] <= 128
    assert 105 < figures["participation"] <= 128  # 128 / (1 + 128 / 1000) by Marchenko and Pastur
    assert figures["dead"] == 0.0
    assert figures["top_eigenvalue"] < 0.02
    assert figures["correlation"] == pytest.approx(math.sqrt(2 / math.pi / 1000), rel=0.05)
    assert figures["uniformity"] == pytest.approx(-4 + 8 / 128, abs=0.1)  # log E exp(4 cos), cos of variance 1 / 128


def test_figures_of_a_space_of_known_rank() -> None:
    plane = RNG.standard_normal((400, 2)) @ np.linalg.qr(RNG.standard_normal((128, 2)))[0].T
    figures = collapse_figures(plane)
    assert figures["rank"] == pytest.approx(2.0, abs=0.05)
    assert figures["participation"] == pytest.approx(2.0, abs=0.1)


def test_dead_dimensions_are_counted() -> None:
    half = CLOUD * (np.arange(128) < 96) + 3.0
    assert collapse_figures(half)["dead"] == 0.25


def test_neighbours_against_a_tree() -> None:
    cloud = RNG.standard_normal((300, 5))
    assert (nearest(cloud) == KDTree(cloud).query(cloud, 2)[1][:, 1]).all()


def test_neighbours_of_the_same_symbol_and_session() -> None:
    centres = 10 * RNG.standard_normal((4, 6))
    cloud = centres[np.arange(40) % 4] + 0.01 * RNG.standard_normal((40, 6))
    figures = collapse_figures(cloud, symbols=[f"S{i % 4}" for i in range(40)], sessions=list(range(40)))
    assert figures["same_symbol"] == 1.0
    assert figures["same_session"] == 0.0


@pytest.mark.parametrize(
    ("name", "vectors"),
    [
        ("one point", np.ones((200, 128))),
        ("one line", RNG.standard_normal((200, 1)) * np.ones(128)),
        ("a point with dust", np.ones((200, 128)) + 1e-4 * RNG.standard_normal((200, 128))),
        ("half dead", CLOUD[:200] * (np.arange(128) < 64)),
        ("one dimension rules", CLOUD[:200] * np.where(np.arange(128) == 0, 100.0, 1.0)),
    ],
)
def test_the_gate_refuses_a_collapsed_encoder(name: str, vectors: np.ndarray) -> None:
    assert gate(collapse_figures(vectors), collapse_figures(CLOUD)) is not None, name


def test_the_gate_lets_a_healthy_encoder_pass_and_refuses_silence() -> None:
    untrained = collapse_figures(0.3 * CLOUD + 1.0)
    assert gate(collapse_figures(CLOUD), untrained) is None
    assert gate({}, {}) is not None
    assert gate({**collapse_figures(CLOUD), "rank": math.nan}, untrained) is not None


def test_one_vector_has_no_figures() -> None:
    assert collapse_figures(CLOUD[:1]) == {}


def test_neighbours_of_the_same_industry_against_chance() -> None:
    centres = 10 * RNG.standard_normal((2, 6))
    industries = ["bank" if i % 3 else "steel" for i in range(60)]
    cloud = centres[[i % 2 for i in range(60)]] + 0.01 * RNG.standard_normal((60, 6))
    neighbour = nearest(cloud)
    expected = np.mean([industries[i] == industries[neighbour[i]] for i in range(60)])
    assert collapse_figures(cloud, industries=industries)["same_industry"] == pytest.approx(expected)
    pairs = [industries[i] == industries[j] for i in range(60) for j in range(60) if i != j]
    assert chance_share(industries) == pytest.approx(np.mean(pairs))
    assert chance_share(["alone"]) == 0.0


def test_each_session_has_its_own_figures() -> None:
    sessions = ["monday"] * 100 + ["tuesday"] * 100 + ["friday"]
    cloud = np.concatenate([CLOUD[:100], np.ones((100, 128)), CLOUD[:1]])
    figures = figures_by_session(cloud, sessions)
    assert list(figures) == ["monday", "tuesday", "friday"]
    assert figures["monday"] == collapse_figures(CLOUD[:100]) and figures["tuesday"]["rank"] < 1.01
    assert figures["friday"] == {}


def test_the_spectrum_is_that_of_the_covariance() -> None:
    cloud = CLOUD[:300, :5] * [5, 1, 3, 2, 4] + 7
    values = np.sort(np.linalg.eigvalsh(np.cov(cloud.T)))[::-1]
    assert spectrum(cloud) == pytest.approx(values / values.sum(), rel=1e-9)
