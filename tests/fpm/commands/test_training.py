"""Walk-forward plans as people see them."""

from datetime import date, timedelta

import pytest

from fpm.commands import training
from fpm.errors import UsageError
from fpm.walk_forward import FoldConfig, folds

DAYS = [date(2024, 1, 1) + timedelta(days=i) for i in range(30)]
CONFIG = FoldConfig(train=12, least=5, validation=3, purge=6, embargo=5, refit=4)


def test_a_plan_says_what_is_left_out() -> None:
    """A test from the 27th session: labels are known to the 20th, and 11 sessions lie between train and validation."""
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(30)]
    config = FoldConfig(train=12, least=5, validation=3, purge=6, embargo=5, refit=4)
    (fold,) = folds(days, days[26], days[29], config)
    assert training.describe(fold) == {
        "train": "2024-01-01 .. 2024-01-06 (6)",
        "embargoed": "2024-01-07 .. 2024-01-17 (11)",
        "validation": "2024-01-18 .. 2024-01-20 (3)",
        "purged": "2024-01-21 .. 2024-01-26 (6)",
        "test": "2024-01-27 .. 2024-01-30 (4)",
        "encoder_through": "2024-01-20",
        "scorer_through": "2024-01-26",
    }


def test_the_earliest_test_is_the_first_that_has_a_fold() -> None:
    """5 + 3 + 2 x 6 + 5 = 25 sessions lie before it; the session before that one is refused."""
    first = training.earliest(DAYS, CONFIG)
    assert first == DAYS[25] and folds(DAYS, first, DAYS[29], CONFIG)[0].test[0] == first
    with pytest.raises(UsageError, match="FPM-WF-002"):
        folds(DAYS, DAYS[24], DAYS[29], CONFIG)


def test_too_short_a_history_is_refused_with_the_number_it_needs() -> None:
    with pytest.raises(UsageError, match=r"FPM-WF-004.*25 sessions with features, a first test needs 25 before it"):
        training.earliest(DAYS[:25], CONFIG)
