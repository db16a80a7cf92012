"""The GRU over the bars: its bins, a signal that only the order of bars shows, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from fpm.errors import ModelRefused
from fpm.nn.fit import FitConfig, Watch
from fpm.nn.scorer import minute_gru
from fpm.nn.scorer.minute_gru import MinuteGruConfig, bins
from fpm.nn.scorer.panel import LabelledSession, SessionBatches, View, fingerprint_statistics, labelled_sessions, window
from fpm.nn.scorer.panel import panel as scorer_panel
from tests.fpm.nn.scorer.small_panel import small_panel

BINS, FEATURES, SYMBOLS, SESSIONS = 4, 2, 40, 60
CONFIG = MinuteGruConfig(sessions=1, hidden=8, dropout=0.0, fit=FitConfig(epochs=25, rate=1e-2, patience=8))


def test_bins_are_means_of_what_there_is() -> None:
    x_STF = np.random.default_rng(0).normal(size=(3, 50, 2))
    x_STF[0, 4] = np.nan  # a bin with one bar left
    x_STF[1, 10:12, 0] = np.nan  # a bin with none
    expected = np.array(
        [
            [[pl.Series(x_STF[s, t : t + 2, f]).fill_nan(None).mean() for f in range(2)] for t in range(0, 50, 2)]
            for s in range(3)
        ],
        dtype=float,
    )
    assert bins(x_STF).reshape(3, 25, 2) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("bars", "count"), [(16, 16), (25, 25), (30, 30), (31, 16), (240, 30), (288, 29)])
def test_a_session_has_at_most_thirty_bins(bars: int, count: int) -> None:
    assert bins(np.zeros((1, bars, 2))).shape == (1, count * 2)


def test_a_session_without_symbols_has_bins_of_nobody() -> None:
    """A day without bars lies inside a look-back: NSE of 2024-12-27 in a real panel."""
    assert bins(np.zeros((0, 25, 2))).shape == (0, 50)


@dataclass(frozen=True)
class Lesson:
    """Batches to train on, and the sessions of the test."""

    batches: SessionBatches
    test: tuple[LabelledSession, ...]

    def rank_ic(self) -> float:
        """Mean RankIC by scipy of a network trained on the batches."""
        model, _ = minute_gru.train(self.batches, FEATURES, CONFIG, Watch())
        panel, view = self.batches.panel, self.batches.view
        values = [
            stats.spearmanr(
                minute_gru.score(model, window(panel, each.session, each.columns_B, view)), each.label_B.numpy()
            )[0]
            for each in self.test
        ]
        return float(np.mean(values))


def lesson(strength: float) -> Lesson:
    """Labels follow the last bin of a feature less its first; its mean over the session is 0 for all."""
    small = small_panel(sessions=SESSIONS, symbols=SYMBOLS, strength=0.0)
    own = scorer_panel(small.frame, small.sessions)
    random = np.random.default_rng(5)
    x_TSNF = random.normal(size=(SESSIONS, SYMBOLS, BINS, FEATURES)).astype(np.float32)
    x_TSNF -= x_TSNF.mean(axis=2, keepdims=True)
    label_TS = strength * (x_TSNF[:, :, -1, 0] - x_TSNF[:, :, 0, 0]) + random.normal(size=(SESSIONS, SYMBOLS))
    keys = [(session, symbol) for session in small.sessions for symbol in own.symbols]
    labels = pl.DataFrame(keys, schema=["session", "symbol"], orient="row").with_columns(label=label_TS.ravel())
    bars = replace(own, factor_TSF=torch.from_numpy(x_TSNF.reshape(SESSIONS, SYMBOLS, -1)))
    view = View(1, 1, fingerprint_statistics(own, small.sessions[:35]))
    train, validation, test = (
        labelled_sessions(bars, labels, small.sessions[first:last], view)
        for first, last in ((0, 35), (35, 45), (45, SESSIONS))
    )
    return Lesson(SessionBatches(bars, view, train, validation, 512), test)


def test_the_order_of_the_bars_is_learnt() -> None:
    """A driver with a standard deviation of 1.6 x 0.5 beside noise of 1: no reading can have more than about 0.6."""
    assert 0.4 < lesson(0.5).rank_ic() < 0.75


def test_labels_without_a_driver_are_not_predicted() -> None:
    """Mean of 15 correlations over 40 symbols: deviation 1 / sqrt(15 x 39), Pitman 1937."""
    assert abs(lesson(0.0).rank_ic()) < 4 / np.sqrt(15 * 39)


def test_the_same_lesson_gives_the_same_bits() -> None:
    first, second = (minute_gru.train(lesson(0.3).batches, FEATURES, CONFIG, Watch())[0] for _ in range(2))
    assert all(torch.equal(first.state_dict()[name], value) for name, value in second.state_dict().items())


def test_only_the_last_sessions_are_read() -> None:
    own = lesson(0.3)
    model, _ = minute_gru.train(own.batches, FEATURES, CONFIG, Watch())
    view = View(3, 1, own.batches.view.statistics)
    batch = window(own.batches.panel, own.test[0].session, own.test[0].columns_B, view)
    changed = replace(batch, factor_LBF=torch.cat([batch.factor_LBF[:-1] + 1, batch.factor_LBF[-1:]]))
    assert np.array_equal(minute_gru.score(model, batch), minute_gru.score(model, changed))


def test_without_labels_nothing_is_trained() -> None:
    with pytest.raises(ModelRefused, match="FPM-ML-362"):
        minute_gru.train(replace(lesson(0.3).batches, validation_sessions=()), FEATURES, CONFIG, Watch())
