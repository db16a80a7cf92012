"""Folds: no model knows its test, and every session is tested once."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm.errors import LookAhead, UsageError
from fpm.schema import HORIZON
from fpm.walk_forward import PRESETS, FoldConfig, folds, require_out_of_sample, split

DAYS = [date(2024, 1, 1) + timedelta(days=i) for i in range(400)]
SMALL = FoldConfig(train=12, least=5, validation=3, purge=6, embargo=5, refit=4)


def test_one_fold_by_hand() -> None:
    """30 sessions, test from the 27th (index 26): labels are known up to index 19, and so on downwards."""
    (fold,) = folds(DAYS[:30], DAYS[26], DAYS[29], SMALL)
    assert fold.test == tuple(DAYS[26:30])
    assert fold.scorer_through == DAYS[25]
    assert fold.encoder_through == DAYS[19]  # 7 sessions before the first test
    assert fold.validation == tuple(DAYS[17:20])  # the label of index 19 ends at index 25
    assert fold.train == tuple(DAYS[0:6])  # 11 sessions (purge 6, embargo 5) lie before index 17
    assert fold.embargoed == tuple(DAYS[6:17]) and fold.purged == tuple(DAYS[20:26])


def test_the_last_fold_is_cut_at_the_end() -> None:
    tests = [fold.test for fold in folds(DAYS[:60], DAYS[40], DAYS[49], SMALL)]
    assert [len(test) for test in tests] == [4, 4, 2]


@st.composite
def plans(draw: st.DrawFn) -> tuple[FoldConfig, int, int, int]:
    config = FoldConfig(
        train=draw(st.integers(5, 40)),
        least=draw(st.integers(1, 5)),
        validation=draw(st.integers(1, 10)),
        purge=HORIZON + 1,
        embargo=draw(st.integers(0, 6)),
        refit=draw(st.integers(1, 30)),
        window=draw(st.sampled_from(["expanding", "sliding"])),
    )
    needed = config.least + config.validation + 2 * config.purge + config.embargo
    first = draw(st.integers(needed, needed + 60))
    last = draw(st.integers(first, first + 90))
    return config, first, last, draw(st.integers(last + 1, last + 20))


@settings(max_examples=200, deadline=None)
@given(plans())
def test_no_fold_knows_its_future(plan: tuple[FoldConfig, int, int, int]) -> None:
    config, first, last, count = plan
    sessions = DAYS[:count]
    at = {session: i for i, session in enumerate(sessions)}
    plan_folds = folds(sessions, sessions[first], sessions[last], config)
    tests = [session for fold in plan_folds for session in fold.test]
    assert tests == sessions[first : last + 1], "every session once, in order"
    for fold in plan_folds:
        first_test, label_end = at[fold.test[0]], HORIZON + 1
        assert at[fold.train[-1]] + label_end < at[fold.validation[0]], "last label of train ends before validation"
        assert at[fold.train[-1]] + label_end + config.embargo < at[fold.validation[0]]
        assert at[fold.validation[-1]] + label_end < first_test, "last label of validation ends before the test"
        assert at[fold.validation[-1]] + label_end <= at[fold.scorer_through], "its labels are known to the scorer"
        assert at[fold.scorer_through] == first_test - 1
        assert at[fold.encoder_through] == first_test - 7
        assert fold.train + fold.embargoed + fold.validation + fold.purged + fold.test == tuple(
            sessions[at[fold.train[0]] : at[fold.test[-1]] + 1]
        ), "together all sessions, each once"
        assert len(fold.train) >= config.least and len(fold.validation) == config.validation
        assert len(fold.test) <= config.refit
        assert fold.train == tuple(sessions[at[fold.train[0]] : at[fold.train[-1]] + 1])
        if config.window == "expanding":
            assert at[fold.train[0]] == 0
        else:
            assert len(fold.train) <= max(config.train, config.least)
        assert split(sessions, fold.scorer_through, config) == split(sessions[:first_test], fold.scorer_through, config)
        require_out_of_sample(sessions, fold.encoder_through, fold.test[0], config.purge)
        require_out_of_sample(sessions, fold.scorer_through, fold.test[0], 0)


def test_too_short_a_history_is_named() -> None:
    with pytest.raises(UsageError, match="FPM-WF-002") as error:
        folds(DAYS[:30], DAYS[24], DAYS[29], SMALL)
    assert "24 sessions" in str(error.value) and "needs 25" in str(error.value)
    assert folds(DAYS[:30], DAYS[25], DAYS[29], SMALL)[0].train == tuple(DAYS[:5])


def test_an_empty_range_is_named() -> None:
    with pytest.raises(UsageError, match="FPM-WF-001"):
        folds(DAYS[:30], DAYS[40], DAYS[45], SMALL)
    with pytest.raises(UsageError, match="FPM-WF-001"):
        folds([], DAYS[0], DAYS[1], SMALL)


@pytest.mark.parametrize("position", [0, 3, 10, 16])
def test_a_session_within_training_or_purge_is_look_ahead(position: int) -> None:
    with pytest.raises(LookAhead, match="FPM-WF-003"):
        require_out_of_sample(DAYS, DAYS[10], DAYS[position], 6)


def test_the_first_session_after_the_purge_is_out_of_sample() -> None:
    require_out_of_sample(DAYS, DAYS[10], DAYS[17], 6)
    require_out_of_sample(DAYS, DAYS[10], DAYS[11], 0)


def test_every_preset_purges_the_label() -> None:
    assert set(PRESETS) == {"default", "demo", "short", "tiny"}
    assert all(config.purge == HORIZON + 1 for config in PRESETS.values())
