"""What changed between two moments: counted by partition, scores by how far they moved."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from consumers import scorer, scores
from consumers.questions.diff import Change, diff
from fpm.errors import TryLater, UsageError
from fpm.schema import STREAMS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.stores import Stores
from tests.consumers.small_nights import SESSIONS, SYMBOLS, THROUGH, VINTAGE, correct, silent


def test_a_correction_and_the_scores_it_moved(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    last, corrected = days[SESSIONS - 1], days[SESSIONS - 2]
    tonight, arrival = cut_off(stores.market, last), cut_off(stores.market, days[SESSIONS])
    scorer.train(days[THROUGH], VINTAGE, stores, silent)
    run_job(scores, last, stores)
    correct(stores, corrected, arrival)
    run_job(scores, last, stores)

    answer = diff(tonight, arrival, None, stores)
    changes = [
        change for change in answer.changes if change.table != "labels"
    ]  # those of six sessions back come of age
    moved = 2 * (SYMBOLS - 2)  # the stream of fingerprints does not see daily factors
    assert changes == [
        Change("daily_factors", corrected, None, new=0, changed=SYMBOLS),
        Change("scores", last, None, new=0, changed=moved),
    ]
    then = stores.read("scores", last, known_at=tonight).select("symbol", "stream", before="score")
    now = stores.read("scores", last).select("symbol", "stream", after="score")
    assert set(answer.scores["stream"]) == set(STREAMS) - {"fingerprint"} and answer.scores.height == moved
    assert answer.scores["moved"].abs().is_sorted(descending=True) and (answer.scores["moved"] != 0).all()
    by_hand = {row[:2]: row[3] - row[2] for row in then.join(now, on=["symbol", "stream"]).rows()}
    assert {row[1:3]: row[5] for row in answer.scores.rows()} == {key: by for key, by in by_hand.items() if by}
    assert set(answer.scores["session"]) == {last}

    assert diff(tonight, arrival, corrected, stores).changes == (changes[0],)
    assert diff(arrival, arrival + timedelta(days=900), last, stores).changes == ()
    night = diff(tonight - timedelta(microseconds=1), tonight, last, stores)
    assert {change.table: (change.new, change.changed) for change in night.changes} == {
        "daily_bars": (SYMBOLS, 0),
        "daily_factors": (SYMBOLS, 0),
        "fingerprints": (SYMBOLS - 1, 0),
        "scores": (3 * (SYMBOLS - 2), 0),
    }
    assert night.scores.is_empty(), "a first score has not moved"


def test_what_makes_no_sense_is_named(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    early, late = cut_off(stores.market, days[0]), cut_off(stores.market, days[1])
    with pytest.raises(UsageError, match=r"FPM-DIF-001.*give the earlier first"):
        diff(late, late, None, stores)
    with pytest.raises(UsageError, match=r"FPM-DIF-002.*2024-01-06 is no session"):
        diff(early, late, date(2024, 1, 6), stores)
    with pytest.raises(TryLater, match=r"FPM-DIF-075.*2025-01-06"):
        diff(early, late, date(2025, 1, 6), stores)
