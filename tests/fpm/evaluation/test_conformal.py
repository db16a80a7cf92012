"""Intervals of forward ranks: hand-checked bounds, a slow reference, coverage, and labels that were known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from fpm.evaluation.conformal import ConformalConfig, group_of, intervals, outer_quantiles, places
from fpm.panels import Floats

SMALL = ConformalConfig(level=0.8, window=8, groups=4, step=0.1, minimum=3, judged=5)
REACH = 2


def sample(seed: int, sessions: int, symbols: int, signal: float) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    score_TN = rng.normal(size=(sessions, symbols))
    return score_TN, signal * score_TN + rng.standard_t(3, size=score_TN.shape)


def test_places_are_average_ranks() -> None:
    values = np.array([[1.0, 2.0, 2.0, 7.0], [4.0, np.nan, 0.0, 4.0]])
    for row, own in zip(values, places(values), strict=True):
        known = np.isfinite(row)
        assert own[known] == pytest.approx((rankdata(row[known]) - 1) / (known.sum() - 1))
        assert np.isnan(own[~known]).all()


def test_groups_share_the_places() -> None:
    place = np.array([[0.0, 0.24, 0.25, 0.5, 0.99, 1.0, np.nan]])
    assert group_of(place, 4).tolist() == [[0, 0, 1, 2, 3, 3, -1]]


@pytest.mark.parametrize(
    ("count", "miss", "bounds"),
    [(9, 0.2, (0.1, 0.9)), (9, 0.4, (0.2, 0.8)), (9, 0.1, (0.0, 1.0)), (0, 0.2, (0.0, 1.0)), (19, 0.1, (0.05, 0.95))],
)
def test_bounds_by_hand(count: int, miss: float, bounds: tuple[float, float]) -> None:
    """Nine tenths of ten leave the outermost of nine out on neither side: rank ceil(10 x 0.9) = 9."""
    grid = np.arange(1, count + 1) / (count + 1)
    assert outer_quantiles(grid[::-1], miss) == pytest.approx(bounds)


def reference(score_TN: Floats, label_TN: Floats, reach: int, config: ConformalConfig) -> tuple[Floats, Floats]:
    """The same, symbol by symbol and session by session."""
    sessions, symbols = score_TN.shape
    u: dict[tuple[int, int], int] = {}
    y: dict[tuple[int, int], float] = {}
    for t in range(sessions):
        scored = [n for n in range(symbols) if np.isfinite(score_TN[t, n])]
        labelled = [n for n in scored if np.isfinite(label_TN[t, n])]
        if len({score_TN[t, n] for n in scored}) > 1:
            ranks = (rankdata([score_TN[t, n] for n in scored]) - 1) / (len(scored) - 1)
            u |= {(t, n): min(int(r * config.groups), config.groups - 1) for n, r in zip(scored, ranks, strict=True)}
        if len({label_TN[t, n] for n in labelled}) > 1:
            ranks = (rankdata([label_TN[t, n] for n in labelled]) - 1) / (len(labelled) - 1)
            y |= {(t, n): r for n, r in zip(labelled, ranks, strict=True)}

    def bound(t: int, group: int, miss: float) -> tuple[float, float] | None:
        days = range(max(0, t - reach - config.window + 1), t - reach + 1)
        if sum(any((d, n) in u and (d, n) in y for n in range(symbols)) for d in days) < config.minimum:
            return None
        past = sorted(y[d, n] for d in days for n in range(symbols) if (d, n) in y and u.get((d, n)) == group)
        rank = int(np.ceil((len(past) + 1) * (1 - miss / 2) - 1e-9))
        return (0.0, 1.0) if rank > len(past) else (past[len(past) - rank], past[rank - 1])

    miss = 1 - config.level
    for t in range(max(0, sessions - reach - config.judged), sessions - reach):
        labelled = [n for n in range(symbols) if (t, n) in u and (t, n) in y]
        hits = [own[0] <= y[t, n] <= own[1] for n in labelled if (own := bound(t, u[t, n], miss)) is not None]
        if hits:
            miss = float(np.clip(miss + config.step * (1 - config.level - (1 - np.mean(hits))), 1e-3, 0.5))
    low, high = np.full(symbols, np.nan), np.full(symbols, np.nan)
    for n in range(symbols):
        if (sessions - 1, n) in u and (own := bound(sessions - 1, u[sessions - 1, n], miss)) is not None:
            low[n], high[n] = own
    return low, high


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), sessions=st.integers(1, 14), symbols=st.integers(1, 9), holes=st.floats(0, 0.6))
def test_the_slow_way_gives_the_same(seed: int, sessions: int, symbols: int, holes: float) -> None:
    score_TN, label_TN = sample(seed, sessions, symbols, 0.5)
    rng = np.random.default_rng(seed + 1)
    score_TN[rng.random(score_TN.shape) < holes] = np.nan
    label_TN[rng.random(label_TN.shape) < holes] = np.nan
    for own, slow in zip(
        intervals(score_TN, label_TN, REACH, SMALL), reference(score_TN, label_TN, REACH, SMALL), strict=True
    ):
        np.testing.assert_allclose(own, slow, equal_nan=True)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_only_labels_that_are_complete_count(seed: int) -> None:
    """Labels of the last `reach` sessions are not known yet: whatever they are, the interval is the same."""
    score_TN, label_TN = sample(seed, 12, 20, 0.5)
    before = intervals(score_TN, label_TN, REACH, SMALL)
    changed = label_TN.copy()
    changed[-REACH:] = np.random.default_rng(seed + 1).normal(size=changed[-REACH:].shape)
    for own, again in zip(before, intervals(score_TN, changed, REACH, SMALL), strict=True):
        np.testing.assert_array_equal(own, again)


def test_the_newest_complete_label_counts() -> None:
    score_TN, label_TN = sample(1, 12, 20, 0.5)
    changed = label_TN.copy()
    changed[-REACH - 1] = -label_TN[-REACH - 1]
    ways = zip(intervals(score_TN, label_TN, REACH, SMALL), intervals(score_TN, changed, REACH, SMALL), strict=True)
    assert any((own != again).any() for own, again in ways)


def test_a_constant_score_and_a_short_history_have_no_interval() -> None:
    score_TN, label_TN = sample(1, 12, 20, 0.5)
    flat = score_TN.copy()
    flat[-1] = 3.0
    assert np.isnan(intervals(flat, label_TN, REACH, SMALL)[0]).all()
    assert np.isnan(intervals(score_TN[-4:], label_TN[-4:], REACH, SMALL)[0]).all()


def coverage(score_TN: Floats, label_TN: Floats, first: int, config: ConformalConfig) -> tuple[float, float]:
    """Share of the places from session `first` on inside their intervals, and the intervals' mean width."""
    covered, width, reach = [], [], 6
    for t in range(first, len(score_TN)):
        begin = max(0, t - config.history(reach) + 1)
        low, high = intervals(score_TN[begin : t + 1], label_TN[begin : t + 1], reach, config)
        place = places(label_TN[t : t + 1])[0]
        covered.append(np.mean((low <= place) & (place <= high)))
        width.append(np.mean(high - low))
    return float(np.mean(covered)), float(np.mean(width))


@pytest.mark.parametrize(("signal", "widest"), [(0.0, 0.93), (0.3, 0.93), (2.0, 0.75)])
def test_intervals_cover_what_they_state(signal: float, widest: float) -> None:
    """A score that knows nothing promises nine tenths of all places, one that knows much a narrow part of them."""
    share, width = coverage(*sample(7, 90, 120, signal), 60, ConformalConfig())
    assert share == pytest.approx(0.9, abs=0.02) and width < widest


def test_a_score_that_turns_is_followed() -> None:
    score_TN, label_TN = sample(7, 110, 120, 2.0)
    label_TN[60:] = sample(8, 110, 120, 0.0)[1][60:]  # it no longer knows anything
    adaptive, fixed = (
        coverage(score_TN, label_TN, 75, ConformalConfig(step=step, window=120))[0] for step in (0.05, 0.0)
    )
    assert fixed < adaptive - 0.03 and adaptive > 0.84
