"""B of stored nights: hand numbers, simulated bands, coverage of a perfect model, and a model that is wrong."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from fpm.risk.bias import (
    BiasConfig,
    Cell,
    bias,
    cells,
    energies,
    perfect_energies,
    posterior,
    share_near_one,
    yearly,
)

CONFIG = BiasConfig()


def z_values(random, sessions, portfolios=1, tail=None):
    """z of a perfect model: portfolios that share five movements and, with `tail`, the session's variance."""
    own = random.standard_normal((sessions, portfolios))
    if portfolios > 1:
        shared = random.standard_normal((5, portfolios))
        own = (2 * own + random.standard_normal((sessions, 5)) @ shared) / np.sqrt(4 + np.square(shared).sum(axis=0))
    mixture = np.sqrt((tail - 2) / random.chisquare(tail, (sessions, 1))) if tail else 1.0
    return own * mixture


def test_b_is_the_standard_deviation_of_z():
    z_T1 = np.array([[1.0], [-1.0], [2.0], [0.0], [-0.5]])
    found = bias(z_T1, replace(CONFIG, minimum=5))
    assert found.bias == pytest.approx(1.2041594578792296)  # statistics.stdev([1, -1, 2, 0, -0.5])
    assert found.sessions == 5 and found.share is None and found.share_reason == "5 of 272 sessions"


def test_b_of_several_portfolios_is_that_of_their_mean_variance():
    z_TP = np.array([[1.0, 2.0], [-1.0, -2.0], [1.0, 2.0], [-1.0, -2.0]])  # variances 4/3 and 16/3
    assert bias(z_TP, replace(CONFIG, minimum=4)).bias == pytest.approx(np.sqrt((4 / 3 + 16 / 3) / 2))
    z_TP[0, 1] = np.nan  # the second: mean -2/3, squares (16 + 64 + 16) / 9, one session less
    expected = [1.0, (1 + 16 / 9) / 2, (1 + 64 / 9) / 2, (1 + 16 / 9) / 2]
    np.testing.assert_allclose(energies(z_TP), expected)


def test_only_the_last_year_counts_for_b_and_two_years_for_the_share():
    random = np.random.default_rng(3)
    z_T1 = np.concatenate([9 * random.standard_normal((300, 1)), random.standard_normal((252, 1))])
    found = bias(z_T1, CONFIG)
    assert found.bias == pytest.approx(np.std(z_T1[-252:], ddof=1)) and found.sessions == 252
    slow = [np.std(z_T1[at : at + 252], ddof=1) for at in range(49, 301)]  # 252 windows, the last ends at the end
    assert found.windows == 252
    assert found.share == pytest.approx(np.mean([abs(one - 1) <= np.sqrt(2 / 252) for one in slow]))
    np.testing.assert_allclose(yearly(z_T1[49:], 252), slow)


def test_windows_all_at_once_are_the_windows_one_by_one():
    random = np.random.default_rng(8)
    z_TP = random.standard_normal((80, 6))
    z_TP[random.random(z_TP.shape) < 0.2] = np.nan
    slow = [np.sqrt(energies(z_TP[at : at + 50]).sum() / 49) for at in range(31)]
    np.testing.assert_allclose(yearly(z_TP, 50), slow)


def test_too_few_sessions_are_a_reason_and_no_number():
    random = np.random.default_rng(0)
    few = bias(random.standard_normal((62, 3)), CONFIG)
    assert few.reason == "62 of 63 sessions" and few.inside is None
    assert [few.bias, few.low, few.high, few.share, few.share_low, few.share_high] == [None] * 6
    none = bias(np.empty((0, 1)), CONFIG)
    assert (none.sessions, none.reason) == (0, "0 of 63 sessions")
    still = bias(np.zeros((100, 2)), CONFIG)
    assert still.reason == "no portfolio moved" and still.bias is None
    enough = bias(random.standard_normal((271, 1)), CONFIG)
    assert enough.share is None and enough.share_reason == "271 of 272 sessions"
    assert bias(random.standard_normal((272, 1)), CONFIG).windows == 21


# 104 normal z hardly differ from t(6): the expected log likelihood ratio is 1.4 where the level is free, and 3.4 of
# 252 z. A band that does not know the tails then lies between the band of the normal and that of t(6), 0.82 to 1.215.
SIMULATED = [
    (252, None, (0.91, 1.09), (0.04, 0.045)),
    (252, 5, (0.86, 1.17), (0.04, 0.045)),
    (104, None, (0.86, 1.14), (0.04, 0.075)),
    (104, 5, (0.80, 1.25), (0.04, 0.045)),
]


@pytest.mark.parametrize(("sessions", "tail", "simulated", "apart"), SIMULATED)
def test_bands_are_those_that_simulation_shows(sessions, tail, simulated, apart):
    """The outer answers: 95 % bands of one portfolio's B, simulated with its tails known, normal or t(5).

    Ours do not know the tails, which widens them; `apart`: by how much, at the low end and at the high one.
    """
    random = np.random.default_rng(7)
    found = [bias(z_values(random, sessions, tail=tail), CONFIG) for _ in range(40)]
    assert np.mean([one.low for one in found]) == pytest.approx(simulated[0], abs=apart[0])
    assert np.mean([one.high for one in found]) == pytest.approx(simulated[1], abs=apart[1])


@pytest.mark.parametrize(("sessions", "portfolios", "tail"), [(63, 1, 5), (252, 1, None), (252, 20, 5), (63, 20, None)])
def test_a_perfect_model_is_inside_in_19_of_20_histories(sessions, portfolios, tail):
    """200 histories: fewer than 181 of Binomial(200, 0.95) have a chance of 0.5 %."""
    random = np.random.default_rng(11)
    inside = [bias(z_values(random, sessions, portfolios, tail), CONFIG).inside for _ in range(200)]
    assert sum(map(bool, inside)) >= 181


@pytest.mark.parametrize("portfolios", [1, 20])
@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_a_model_whose_variances_are_twice_or_half_the_truth_is_outside(portfolios, factor):
    random = np.random.default_rng(5)
    for _ in range(20):
        wrong = bias(z_values(random, 252, portfolios, tail=6) / np.sqrt(factor), CONFIG)
        assert wrong.inside is False
        assert wrong.bias == pytest.approx(np.sqrt(1 / factor), rel=0.2)


def test_the_share_of_windows_of_a_perfect_model_is_inside_and_of_a_wrong_one_outside():
    random = np.random.default_rng(2)
    inside = 0
    for _ in range(40):
        z_TP = z_values(random, 503, 20)
        found = bias(z_TP, CONFIG)
        inside += found.share_low <= found.share <= found.share_high
    assert inside >= 34  # of Binomial(40, 0.95) a chance of 0.3 % for fewer
    wrong = bias(1.25 * z_values(random, 503, 20), CONFIG)
    assert wrong.share < wrong.share_low


def test_drawn_energies_have_mean_one_and_the_tails_of_the_posterior():
    random = np.random.default_rng(1)
    chosen = cells(np.square(random.standard_normal(252)), 1, CONFIG)
    assert sum(count for _, count in chosen) == CONFIG.draws
    heavy = cells(np.square(random.standard_t(4.5, 2000)), 1, CONFIG)
    assert sum(count for cell, count in heavy if cell.tail < 4) > 0.9 * CONFIG.draws
    for cell in (Cell(1, 0, 11), Cell(50, 9, 5)):
        drawn_CDT = np.array([perfect_energies(cell, chunk, CONFIG) for chunk in range(60)])
        assert drawn_CDT.mean() == pytest.approx(1, abs=0.01)
    alike_A, weight_AV = posterior(np.square(random.standard_t(4.5, 2000)), 1)
    assert alike_A.tolist() == [1.0] and weight_AV.sum() == pytest.approx(1)
    assert weight_AV[0, :4].sum() > 0.9  # heavy tails are seen
    alike_A, weight_AV = posterior((random.standard_normal((2000, 50)) ** 2).mean(axis=1), 50)
    assert alike_A[weight_AV.sum(axis=1).argmax()] == pytest.approx(50)  # unlike portfolios: d is their number


def test_the_same_z_give_the_same_row():
    z_TP = z_values(np.random.default_rng(4), 300, 5)
    assert asdict(bias(z_TP, CONFIG)) == asdict(bias(z_TP.copy(), CONFIG))
    assert share_near_one(np.array([[1.0, 1.2], [0.9, 1.01]]), 252).tolist() == [0.5, 0.5]
