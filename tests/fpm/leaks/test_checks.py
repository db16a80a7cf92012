"""Every planted bug is found, its honest version passes; the checks' own arithmetic by hand."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from fpm.errors import InputRefused
from fpm.leaks.checks import Finding, Frames, differences, distort, duplicates
from fpm.leaks.records import two_clocks
from fpm.leaks.scores import planted_scores, shifted_calendar, shuffle, shuffled_labels
from tests.fpm.leaks.planted_bugs import BUGS, DAYS, LONG, MANY, Bug, daily, panel, with_clocks


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_named_and_its_honest_version_passes(bug: Bug) -> None:
    finding = bug.leaky()
    assert finding is not None and (finding.check, finding.column) == (bug.check, bug.column)
    assert finding.session == bug.session if bug.session is not None else finding.session in LONG
    assert bug.honest() is None


def test_at_least_ten_different_checks_of_the_future_are_planted() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 10
    assert {bug.check for bug in BUGS} == {
        "truncation",
        "label window",
        "shuffled labels",
        "shifted calendar",
        "duplicated rows",
        "two clocks",
        "label overlap",
        "one vintage a window",
        "survivorship",
    }


def test_distortion_changes_every_later_number_and_nothing_else() -> None:
    frame = pl.DataFrame({"slot": range(9), "x": np.arange(1, 10, dtype=np.float32), "n": range(9)})
    changed = distort(frame, pl.col("slot") > 2)
    assert changed["slot"].to_list() == [0, 1, 2, 4, 5, 7, 8], "every third later row is gone"
    assert changed.schema == frame.schema and changed["n"].to_list() == changed["slot"].to_list()
    joined = frame.join(changed, on="slot", suffix="_now")
    same = (joined["x"] == joined["x_now"]).to_list()
    assert same[:3] == [True] * 3 and not any(same[3:])


def test_bits_count_and_missing_or_repeated_rows_are_found() -> None:
    rows = pl.DataFrame({"session": DAYS[:3], "x": [0.0, None, float("nan")]})
    assert differences(rows, rows, "session") == {}
    assert differences(rows, rows.with_columns(x=-pl.col("x")), "session") == {"x": DAYS[0]}, "0.0 is not -0.0"
    assert differences(rows, rows.with_columns(pl.col("x").fill_nan(None)), "session") == {"x": DAYS[2]}
    assert differences(rows, rows[:2], "session") == {"rows": DAYS[2]}
    assert differences(rows, pl.concat([rows, rows[1:2]]), "session") == {"rows": DAYS[1]}


def test_duplicates_that_are_refused_by_name_are_no_finding() -> None:
    def refuses(inputs: Frames) -> pl.DataFrame:
        if inputs["daily_bars"].is_duplicated().any():
            raise InputRefused(code="FPM-X", wrong="twice", effect="nothing", todo="once")
        return inputs["daily_bars"]

    assert duplicates("daily_bars", refuses, {"daily_bars": daily()}, "session") is None
    assert duplicates("daily_bars", lambda inputs: inputs["daily_bars"], {"daily_bars": daily()}, "session") == Finding(
        "duplicated rows", "daily_bars.rows", DAYS[0], "appears or disappears when later rows change"
    )


def test_labels_are_shuffled_within_their_session() -> None:
    labels = panel("label", np.arange(3000.0).reshape(100, 30))
    shuffled = shuffle(labels, 0)
    assert shuffled.select("session", "symbol").equals(labels.select("session", "symbol"))
    for (session,), part in shuffled.partition_by("session", as_dict=True).items():
        own = labels.filter(pl.col("session") == session)["label"].to_list()
        assert sorted(part["label"].to_list()) == own != part["label"].to_list()


def test_the_null_band_is_that_of_all_orders() -> None:
    """Variance of the rank correlation over every order of five symbols is 1 / 4, with ties, too."""
    from itertools import permutations

    for labels in ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.0, 2.0, 3.0, 3.0]):
        correlations = [spearmanr([3.0, 1.0, 4.0, 1.0, 5.0], order).statistic for order in permutations(labels)]
        assert np.mean(correlations) == pytest.approx(0, abs=1e-12) and np.var(correlations) == pytest.approx(1 / 4)


def test_only_a_score_that_learns_the_shuffled_labels_is_found() -> None:
    labels = panel("label", np.random.default_rng(0).normal(size=(100, 30)))
    assert shuffled_labels("x", lambda _: labels.rename({"label": "score"}), labels) is None
    finding = shuffled_labels("x", lambda shuffled: shuffled.rename({"label": "score"}), labels)
    assert finding is not None and finding.explanation.startswith("predicts shuffled labels")


@pytest.mark.parametrize("lag", [1, 3, 6])
def test_the_lag_of_an_implausible_score_is_named(lag: int) -> None:
    moves_TN = np.random.default_rng(1).normal(0, 0.02, (100, 30))
    closes = panel("close", 10 * np.exp(np.cumsum(moves_TN, axis=0)))
    score = panel("score", np.roll(moves_TN, -lag, axis=0)[: 100 - lag])
    finding = shifted_calendar("scores.score", score, closes)
    assert finding is not None and f"1.00 with the return of {lag} session" in finding.explanation


def test_a_forecast_as_good_as_the_best_published_ones_is_no_finding() -> None:
    rng = np.random.default_rng(2)
    moves_TN = rng.normal(0, 0.02, (100, 30))
    closes = panel("close", 10 * np.exp(np.cumsum(moves_TN, axis=0)))
    forecast = panel("score", 0.4 * moves_TN[1:] / 0.02 + rng.normal(size=(99, 30)))
    assert shifted_calendar("scores.score", forecast, closes) is None
    assert len(MANY) == 30 and shifted_calendar("planted", planted_scores(closes), closes) is not None


def test_a_row_known_before_the_moment_it_describes() -> None:
    rows = with_clocks(daily())
    assert two_clocks("daily_bars", rows, {}) is None
    early = rows.with_columns(created_timestamp=pl.col("event_timestamp") - timedelta(seconds=1))
    finding = two_clocks("daily_bars", early, {})
    assert finding is not None and (finding.session, "the moment it describes" in finding.explanation) == (
        DAYS[0],
        True,
    )
