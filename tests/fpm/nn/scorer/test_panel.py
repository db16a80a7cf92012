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
from tests.fpm.nn.scorer.small_panel import Generated, generated

PLAIN = Statistics(torch.zeros(FINGERPRINT_SIZE), torch.ones(FINGERPRINT_SIZE))
VIEW = View(look_back=4, minimum=2, statistics=PLAIN)


@pytest.fixture(scope="module")
def made() -> Generated:
    return generated(sessions=14, symbols=9)


@pytest.fixture(scope="module")
def whole(made: Generated) -> Panel:
    return panel(made.frame, made.sessions)


def without(made: Generated, symbol: str, *positions: int) -> pl.DataFrame:
    """The frame with some of a symbol's sessions left out."""
    gone = [made.sessions[t] for t in positions]
    return made.frame.filter(~((pl.col("symbol") == symbol) & pl.col("session").is_in(gone)))


def test_a_window_holds_the_frames_own_values(made: Generated, whole: Panel) -> None:
    session, columns_B = made.sessions[8], np.array([5, 2])
    batch = window(whole, session, columns_B, VIEW)
    assert batch.fingerprint_LBF.shape == (4, 2, FINGERPRINT_SIZE + 6) and batch.factor_LBF.shape == (4, 2, 20)
    for step, day in enumerate(made.sessions[5:9]):
        for place, column in enumerate(columns_B):
            row = made.frame.row(
                by_predicate=(pl.col("session") == day) & (pl.col("symbol") == made.symbols[column]), named=True
            )
            assert batch.fingerprint_LBF[step, place, :FINGERPRINT_SIZE].tolist() == list(row["fingerprint"])
            assert bool(batch.known_LB[step, place])


def test_windows_share_the_panels_memory(whole: Panel) -> None:
    """No copy per sample: what a window slices is the panel itself."""
    assert whole.fingerprint_TSD[3:7].data_ptr() == whole.fingerprint_TSD[3].data_ptr()


def test_factors_are_scored_within_their_session(made: Generated, whole: Panel) -> None:
    """z-scores by scipy, of values clipped at 3 x 1.4826 median absolute deviations; a missing one is 0."""
    values = made.frame.filter(pl.col("session") == made.sessions[3])["return_5"].to_numpy()
    width = 3 * stats.median_abs_deviation(values, scale=1 / 1.4826)
    expected = stats.zscore(np.clip(values, np.median(values) - width, np.median(values) + width))
    np.testing.assert_allclose(whole.factor_TSF[3, :, 1].numpy(), expected, rtol=1e-5, atol=1e-6)
    lost = made.frame.with_columns(
        pl.when(pl.col("symbol") == made.symbols[0]).then(None).otherwise("return_5").alias("return_5")
    )
    assert panel(lost, made.sessions).factor_TSF[3, 0, 1] == 0


def test_daily_values_by_hand() -> None:
    """Two symbols, two sessions: z-scores of two values are -1 and 1; a flow's mean over the window is its own."""
    nan = np.nan
    daily_LBC = np.array(
        [
            [[1.0, 3.0, 1.0, 2.0, 10.0, nan], [4.0, 4.0, 4.0, 4.0, 40.0, 1.0]],
            [[2.0, 2.0, 2.0, 2.0, 30.0, nan], [5.0, 5.0, 5.0, 5.0, 40.0, 3.0]],
        ]
    )
    found = daily_window(daily_LBC)
    # p / p_last - 1: symbol 0 -0.5, 0.5, -0.5, 0.0 at the first step, symbol 1 four times -0.2; all 0 at the last
    assert found[0, :, :4].tolist() == [[-1, 1, -1, 1], [1, -1, 1, -1]]
    assert found[1, :, :4].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0]]
    assert found[:, :, 4].tolist() == [[-1, 1], [1, -1]]  # 0.5 and 1.5 against 1 and 1
    assert found[:, :, 5].tolist() == [[0, 0], [0, 0]]  # known of one symbol only: nothing to compare with


def test_a_split_changes_no_window(made: Generated) -> None:
    """Prices halve, shares double and the factor says so: the adjusted window is the same."""
    later = (pl.col("symbol") == made.symbols[4]) & (pl.col("session") >= made.sessions[7])
    split = made.frame.with_columns(
        *(
            pl.when(later).then(pl.col(name) / 2).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close")
        ),
        pl.when(later).then(pl.col("volume") * 2).otherwise(pl.col("volume")).alias("volume"),
        pl.when(later).then(2.0).otherwise(1.0).alias("adj_factor"),
    )
    before, after = (
        window(panel(frame, made.sessions), made.sessions[8], np.arange(9), VIEW).fingerprint_LBF
        for frame in (made.frame, split)
    )
    torch.testing.assert_close(before, after)


def test_who_is_scored(made: Generated) -> None:
    """Look-back 4, at least 2: a symbol needs the session itself and one more."""
    for missing, scored in (((8,), False), ((5, 6, 7), False), ((5, 6), True), ((7,), True), ((), True)):
        of = panel(without(made, made.symbols[3], *missing), made.sessions)
        assert (3 in scorable(of, made.sessions[8], VIEW)) is scored, missing


def test_a_symbol_that_appears_has_nothing_before(made: Generated) -> None:
    of = panel(without(made, made.symbols[3], *range(7)), made.sessions)
    batch = window(of, made.sessions[8], np.array([3, 4]), VIEW)
    assert batch.known_LB.tolist() == [[False, True], [False, True], [True, True], [True, True]]
    assert bool(torch.isfinite(batch.fingerprint_LBF).all())


def test_a_window_at_the_start_is_shorter(whole: Panel, made: Generated) -> None:
    assert len(window(whole, made.sessions[1], np.arange(9), VIEW).known_LB) == 2
    assert len(scorable(whole, made.sessions[1], VIEW)) == 9
    assert len(scorable(whole, made.sessions[0], VIEW)) == 0


def test_two_vintages_are_refused(made: Generated) -> None:
    mixed = made.frame.with_columns(
        pl.when(pl.col("session") > made.sessions[5]).then(pl.lit("v2")).otherwise("vintage").alias("vintage")
    )
    with pytest.raises(LookAhead, match=r"FPM-ML-331.*v1, v2"):
        panel(mixed, made.sessions)


def test_the_past_does_not_see_the_future(made: Generated) -> None:
    """Rows after a session, gone or distorted, change no bit of its window."""
    session = made.sessions[8]
    past = window(panel(made.frame, made.sessions), session, np.arange(9), VIEW)
    cut = made.frame.filter(pl.col("session") <= session)
    later = made.frame.filter(pl.col("session") > session).with_columns(pl.selectors.float() * 3)
    for changed in (cut, pl.concat([cut, later])):
        found = window(panel(changed, made.sessions), session, np.arange(9), VIEW)
        assert torch.equal(past.fingerprint_LBF, found.fingerprint_LBF)
        assert torch.equal(past.factor_LBF, found.factor_LBF)


def test_statistics_are_those_of_the_train_sessions(made: Generated, whole: Panel) -> None:
    found = fingerprint_statistics(whole, made.sessions[:5])
    stacked_ND = np.stack(made.frame.filter(pl.col("session") < made.sessions[5])["fingerprint"].to_list())
    np.testing.assert_allclose(found.mean_D, stacked_ND.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(found.scale_D, stacked_ND.std(axis=0), rtol=1e-5)
    with pytest.raises(ModelRefused, match="FPM-ML-330"):
        fingerprint_statistics(whole, made.sessions[3:3])


def test_a_constant_factor_and_a_constant_dimension_say_nothing(made: Generated) -> None:
    first = pl.col("fingerprint").arr.to_list().list.head(FINGERPRINT_SIZE - 1)
    still = first.list.concat(pl.lit([7.0], pl.List(pl.Float32)))
    of = panel(made.frame.with_columns(pl.lit(3.25).alias("log_size"), still), made.sessions)
    found = window(
        of, made.sessions[8], np.arange(9), replace(VIEW, statistics=fingerprint_statistics(of, of.sessions))
    )
    assert torch.count_nonzero(found.fingerprint_LBF[..., FINGERPRINT_SIZE - 1]) == 0
    assert torch.count_nonzero(found.factor_LBF[..., CLASSIC.index("log_size")]) == 0
    assert bool(torch.isfinite(found.fingerprint_LBF).all() & torch.isfinite(found.factor_LBF).all())


def test_an_empty_frame_is_a_panel_of_nothing(made: Generated) -> None:
    of = panel(made.frame.clear(), made.sessions)
    assert of.known_TS.shape == (14, 0) and len(scorable(of, made.sessions[8], VIEW)) == 0


def test_labels_are_matched_by_key_and_scored(made: Generated, whole: Panel) -> None:
    (found,) = labelled_sessions(whole, made.labels.sample(fraction=1, shuffle=True, seed=1), made.sessions[5:6], VIEW)
    values = made.labels.filter(pl.col("session") == made.sessions[5]).sort("symbol")["label"].to_numpy()
    width = 3 * stats.median_abs_deviation(values, scale=1 / 1.4826)
    expected = stats.zscore(np.clip(values, np.median(values) - width, np.median(values) + width))
    np.testing.assert_allclose(found.label_B.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_session_with_one_label_teaches_nothing(made: Generated, whole: Panel) -> None:
    one = made.labels.filter((pl.col("session") != made.sessions[5]) | (pl.col("symbol") == made.symbols[0]))
    found = labelled_sessions(whole, one, made.sessions[4:7], VIEW)
    assert [labelled.session for labelled in found] == [made.sessions[4], made.sessions[6]]


def test_batches_are_parts_of_one_session(made: Generated, whole: Panel) -> None:
    train = labelled_sessions(whole, made.labels, made.sessions[3:6], VIEW)
    batches = SessionBatches(whole, VIEW, train, train[:1], size=5)
    epochs = [list(batches.train(epoch)) for epoch in (0, 0, 1)]
    assert batches.steps == 6 and [len(epoch) for epoch in epochs] == [6, 6, 6]
    assert sorted(batch.known_LB.shape[1] for batch in epochs[0]) == [4, 4, 4, 5, 5, 5]
    labels = [[label for batch in epoch for label in batch.label_B.tolist()] for epoch in epochs]  # type: ignore[union-attr]
    assert labels[0] == labels[1] != labels[2], "an epoch's order depends on the epoch alone"
    assert sorted(labels[0]) == sorted(labels[2])
    assert len(list(batches.validation())) == 2


def test_sessions_outside_the_panel_are_left_out(made: Generated) -> None:
    """A frame that reaches further than the sessions asked for: nothing of the rest enters."""
    of = panel(made.frame, made.sessions[:5])
    extra = pl.DataFrame({"session": [made.sessions[-1] + timedelta(days=9)], "symbol": ["X"], "label": [1.0]})
    assert of.known_TS.shape == (5, 9)
    assert len(labelled_sessions(of, pl.concat([made.labels, extra]), made.sessions[2:4], VIEW)) == 2
