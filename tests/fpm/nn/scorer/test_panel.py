"""The panel and its windows against a slow reference that reads the frame row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from fpm.errors import LookAhead, ModelRefused
from fpm.nn.scorer.panel import (
    Panel,
    SessionBatches,
    Statistics,
    View,
    daily_window,
    fingerprint_statistics,
    labelled_sessions,
    panel,
    scorable,
    window,
)
from fpm.schema import CLASSIC, FINGERPRINT_SIZE
from tests.fpm.nn.scorer.small_panel import SmallPanel, small_panel

PLAIN = Statistics(torch.zeros(FINGERPRINT_SIZE), torch.ones(FINGERPRINT_SIZE))
VIEW = View(look_back=4, minimum=2, statistics=PLAIN)


@pytest.fixture(scope="module")
def small() -> SmallPanel:
    return small_panel(sessions=14, symbols=9)


@pytest.fixture(scope="module")
def whole(small: SmallPanel) -> Panel:
    return panel(small.frame, small.sessions)


def without(small: SmallPanel, symbol: str, *positions: int) -> pl.DataFrame:
    """The frame with some of a symbol's sessions left out."""
    gone = [small.sessions[t] for t in positions]
    return small.frame.filter(~((pl.col("symbol") == symbol) & pl.col("session").is_in(gone)))


def test_a_window_holds_the_frames_own_values(small: SmallPanel, whole: Panel) -> None:
    session, columns_B = small.sessions[8], np.array([5, 2])
    batch = window(whole, session, columns_B, VIEW)
    assert batch.fingerprint_LBF.shape == (4, 2, FINGERPRINT_SIZE + 6) and batch.factor_LBF.shape == (4, 2, 20)
    for step, day in enumerate(small.sessions[5:9]):
        for position, column in enumerate(columns_B):
            row = small.frame.row(
                by_predicate=(pl.col("session") == day) & (pl.col("symbol") == small.symbols[column]), named=True
            )
            assert batch.fingerprint_LBF[step, position, :FINGERPRINT_SIZE].tolist() == list(row["fingerprint"])
            assert bool(batch.known_LB[step, position])


def test_windows_share_the_panels_memory(whole: Panel) -> None:
    """No sample is copied: a window is a slice of the panel itself."""
    assert whole.fingerprint_TSD[3:7].data_ptr() == whole.fingerprint_TSD[3].data_ptr()


def test_factors_are_scored_within_their_session(small: SmallPanel, whole: Panel) -> None:
    """z-scores by scipy, of values clipped at 3 x 1.4826 median absolute deviations; a missing one is 0."""
    values = small.frame.filter(pl.col("session") == small.sessions[3])["return_5"].to_numpy()
    width = 3 * stats.median_abs_deviation(values, scale=1 / 1.4826)
    expected = stats.zscore(np.clip(values, np.median(values) - width, np.median(values) + width))
    np.testing.assert_allclose(whole.factor_TSF[3, :, 1].numpy(), expected, rtol=1e-5, atol=1e-6)
    missing = small.frame.with_columns(
        pl.when(pl.col("symbol") == small.symbols[0]).then(None).otherwise("return_5").alias("return_5")
    )
    assert panel(missing, small.sessions).factor_TSF[3, 0, 1] == 0


def test_daily_values_by_hand() -> None:
    """Two symbols, two sessions: the z-scores of two values are -1 and 1; each symbol has its own mean flow."""
    nan = np.nan
    daily_LBC = np.array(
        [
            [[1.0, 3.0, 1.0, 2.0, 10.0, nan], [4.0, 4.0, 4.0, 4.0, 40.0, 1.0]],
            [[2.0, 2.0, 2.0, 2.0, 30.0, nan], [5.0, 5.0, 5.0, 5.0, 40.0, 3.0]],
        ]
    )
    relative = daily_window(daily_LBC)
    # p / p_last - 1: symbol 0 -0.5, 0.5, -0.5, 0.0 at the first step, symbol 1 four times -0.2; all 0 at the last
    assert relative[0, :, :4].tolist() == [[-1, 1, -1, 1], [1, -1, 1, -1]]
    assert relative[1, :, :4].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]
    assert relative[:, :, 4].tolist() == [[-1, 1], [1, -1]]  # 0.5 and 1.5 against 1 and 1
    assert relative[:, :, 5].tolist() == [[0, 0], [0, 0]]  # one symbol only has values: nothing to compare with


def test_a_split_changes_no_window(small: SmallPanel) -> None:
    """Prices halve, shares double and the adjustment factor doubles: the adjusted window is the same."""
    later = (pl.col("symbol") == small.symbols[4]) & (pl.col("session") >= small.sessions[7])
    split = small.frame.with_columns(
        *(
            pl.when(later).then(pl.col(name) / 2).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close")
        ),
        pl.when(later).then(pl.col("volume") * 2).otherwise(pl.col("volume")).alias("volume"),
        pl.when(later).then(2.0).otherwise(1.0).alias("adj_factor"),
    )
    before, after = (
        window(panel(frame, small.sessions), small.sessions[8], np.arange(9), VIEW).fingerprint_LBF
        for frame in (small.frame, split)
    )
    torch.testing.assert_close(before, after)


def test_who_is_scored(small: SmallPanel) -> None:
    """Look-back 4, at least 2: a symbol needs the session itself and one more."""
    for missing, expected in (((8,), False), ((5, 6, 7), False), ((5, 6), True), ((7,), True), ((), True)):
        gappy = panel(without(small, small.symbols[3], *missing), small.sessions)
        assert (3 in scorable(gappy, small.sessions[8], VIEW)) is expected, missing


def test_a_symbol_that_appears_has_nothing_before(small: SmallPanel) -> None:
    late = panel(without(small, small.symbols[3], *range(7)), small.sessions)
    batch = window(late, small.sessions[8], np.array([3, 4]), VIEW)
    assert batch.known_LB.tolist() == [[False, True], [False, True], [True, True], [True, True]]
    assert bool(torch.isfinite(batch.fingerprint_LBF).all())


def test_a_window_at_the_start_is_shorter(whole: Panel, small: SmallPanel) -> None:
    assert len(window(whole, small.sessions[1], np.arange(9), VIEW).known_LB) == 2
    assert len(scorable(whole, small.sessions[1], VIEW)) == 9
    assert len(scorable(whole, small.sessions[0], VIEW)) == 0


def test_two_vintages_are_refused(small: SmallPanel) -> None:
    mixed = small.frame.with_columns(
        pl.when(pl.col("session") > small.sessions[5]).then(pl.lit("v2")).otherwise("vintage").alias("vintage")
    )
    with pytest.raises(LookAhead, match=r"FPM-ML-331.*v1, v2"):
        panel(mixed, small.sessions)


def test_the_past_does_not_see_the_future(small: SmallPanel) -> None:
    """Rows after a session, gone or distorted, change no bit of its window."""
    session = small.sessions[8]
    past = window(panel(small.frame, small.sessions), session, np.arange(9), VIEW)
    cut = small.frame.filter(pl.col("session") <= session)
    later = small.frame.filter(pl.col("session") > session).with_columns(pl.selectors.float() * 3)
    for changed in (cut, pl.concat([cut, later])):
        batch = window(panel(changed, small.sessions), session, np.arange(9), VIEW)
        assert torch.equal(past.fingerprint_LBF, batch.fingerprint_LBF)
        assert torch.equal(past.factor_LBF, batch.factor_LBF)


def test_statistics_are_those_of_the_train_sessions(small: SmallPanel, whole: Panel) -> None:
    statistics = fingerprint_statistics(whole, small.sessions[:5])
    stacked_ND = np.stack(small.frame.filter(pl.col("session") < small.sessions[5])["fingerprint"].to_list())
    np.testing.assert_allclose(statistics.mean_D, stacked_ND.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(statistics.scale_D, stacked_ND.std(axis=0), rtol=1e-5)
    with pytest.raises(ModelRefused, match="FPM-ML-330"):
        fingerprint_statistics(whole, small.sessions[3:3])


def test_a_constant_factor_and_a_constant_dimension_become_zero(small: SmallPanel) -> None:
    first = pl.col("fingerprint").arr.to_list().list.head(FINGERPRINT_SIZE - 1)
    still = first.list.concat(pl.lit([7.0], pl.List(pl.Float32)))
    constant = panel(small.frame.with_columns(pl.lit(3.25).alias("log_size"), still), small.sessions)
    view = replace(VIEW, statistics=fingerprint_statistics(constant, constant.sessions))
    batch = window(constant, small.sessions[8], np.arange(9), view)
    assert torch.count_nonzero(batch.fingerprint_LBF[..., FINGERPRINT_SIZE - 1]) == 0
    assert torch.count_nonzero(batch.factor_LBF[..., CLASSIC.index("log_size")]) == 0
    assert bool(torch.isfinite(batch.fingerprint_LBF).all() & torch.isfinite(batch.factor_LBF).all())


def test_an_empty_frame_is_a_panel_of_nothing(small: SmallPanel) -> None:
    empty = panel(small.frame.clear(), small.sessions)
    assert empty.known_TS.shape == (14, 0) and len(scorable(empty, small.sessions[8], VIEW)) == 0


def test_labels_are_matched_by_key_and_scored(small: SmallPanel, whole: Panel) -> None:
    (labelled,) = labelled_sessions(
        whole, small.labels.sample(fraction=1, shuffle=True, seed=1), small.sessions[5:6], VIEW
    )
    values = small.labels.filter(pl.col("session") == small.sessions[5]).sort("symbol")["label"].to_numpy()
    width = 3 * stats.median_abs_deviation(values, scale=1 / 1.4826)
    expected = stats.zscore(np.clip(values, np.median(values) - width, np.median(values) + width))
    np.testing.assert_allclose(labelled.label_B.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_session_with_one_label_is_left_out(small: SmallPanel, whole: Panel) -> None:
    one = small.labels.filter((pl.col("session") != small.sessions[5]) | (pl.col("symbol") == small.symbols[0]))
    trainable = labelled_sessions(whole, one, small.sessions[4:7], VIEW)
    assert [labelled.session for labelled in trainable] == [small.sessions[4], small.sessions[6]]


def test_batches_are_parts_of_one_session(small: SmallPanel, whole: Panel) -> None:
    train = labelled_sessions(whole, small.labels, small.sessions[3:6], VIEW)
    batches = SessionBatches(whole, VIEW, train, train[:1], size=5)
    epochs = [list(batches.train(epoch)) for epoch in (0, 0, 1)]
    assert batches.steps == 6 and [len(epoch) for epoch in epochs] == [6, 6, 6]
    assert sorted(batch.known_LB.shape[1] for batch in epochs[0]) == [4, 4, 4, 5, 5, 5]
    labels = [[label for batch in epoch for label in batch.label_B.tolist()] for epoch in epochs]  # type: ignore[union-attr]
    assert labels[0] == labels[1] != labels[2], "an epoch's order depends on the epoch alone"
    assert sorted(labels[0]) == sorted(labels[2])
    assert len(list(batches.validation())) == 2


def test_sessions_outside_the_panel_are_left_out(small: SmallPanel) -> None:
    """The frame covers more sessions than the panel: nothing of the others enters."""
    short = panel(small.frame, small.sessions[:5])
    extra = pl.DataFrame({"session": [small.sessions[-1] + timedelta(days=9)], "symbol": ["X"], "label": [1.0]})
    assert short.known_TS.shape == (5, 9)
    assert len(labelled_sessions(short, pl.concat([small.labels, extra]), small.sessions[2:4], VIEW)) == 2
