"""A history is surveyed once and then read again, session by session."""

from datetime import date

import numpy as np
import pytest

from fpm.errors import StoreCorrupt
from fpm.nn.encoder.history import History, Rows, SymbolSessions, digest, survey
from tests.fpm.nn.encoder.small_sessions import history_of, symbol_sessions

ROWS = symbol_sessions(days=4, symbols=3)
DAYS = sorted(set(ROWS.sessions))
SESSION_BYTES = 3 * 48 * 32 * 2


def silent(done: int, total: int, item: object) -> None:
    assert 0 < done <= total


class Shelf:
    """A source that records its reads and whose content can change."""

    def __init__(self) -> None:
        self.reads: list[date] = []
        self.rows = {day: ROWS.rows_of(day) for day in DAYS}

    def read(self, session: date) -> Rows:
        self.reads.append(session)
        return self.rows[session]


def test_a_survey_reads_each_session_once_and_keeps_an_even_sample() -> None:
    shelf = Shelf()
    surveyed = survey(shelf.read, dict.fromkeys(DAYS, 2), 0, silent)
    assert shelf.reads == DAYS
    assert surveyed.rows(DAYS) == 12
    sample = surveyed.sample(DAYS[:2], 10)
    assert sample.symbols == ("000000.SZ", "000002.SZ") * 2
    assert sample.sessions == (DAYS[0], DAYS[0], DAYS[1], DAYS[1])
    assert np.array_equal(sample.features, ROWS.features[[0, 2, 3, 5]])
    assert surveyed.sample(DAYS, 3).sessions == (DAYS[0], DAYS[2], DAYS[3])  # rows 0, 4 and 7 of eight
    assert surveyed.no_rows().shape == (0, 48, 32)


def test_arrays_stay_in_memory_while_they_fit() -> None:
    for room, again in ((0, 4), (SESSION_BYTES, 3), (3 * SESSION_BYTES + 1, 1), (4 * SESSION_BYTES, 0)):
        shelf = Shelf()
        surveyed = survey(shelf.read, dict.fromkeys(DAYS, 2), room, silent)
        shelf.reads.clear()
        for day in DAYS:
            assert np.array_equal(surveyed.read(day), ROWS.rows_of(day)[1])
        assert len(shelf.reads) == again


@pytest.mark.parametrize("part", ["a value", "a symbol", "a row"])
def test_a_session_that_changed_after_the_survey_is_refused(part: str) -> None:
    shelf = Shelf()
    surveyed = survey(shelf.read, dict.fromkeys(DAYS, 2), 0, silent)
    symbols, x_STF = shelf.rows[DAYS[1]]
    changed = x_STF.copy()
    changed[0, 0, 0] += 1
    shelf.rows[DAYS[1]] = {
        "a value": (symbols, changed),
        "a symbol": (("X", *symbols[1:]), x_STF),
        "a row": (symbols[1:], x_STF[1:]),
    }[part]
    assert len(surveyed.read(DAYS[0])) == 3
    with pytest.raises(StoreCorrupt, match=f"features of {DAYS[1]} have changed"):
        surveyed.read(DAYS[1])


def test_the_digest_depends_on_the_content_alone() -> None:
    def history_digest(rows: SymbolSessions, sample: int = 2, budget: int = 0) -> str:
        return history_of(rows, dict.fromkeys(DAYS, sample), budget).digest

    assert history_digest(ROWS) == history_digest(ROWS, sample=1, budget=10**9)
    other = ROWS.features.copy()
    other[-1, -1, -1] += 1
    assert history_digest(SymbolSessions(other, ROWS.symbols, ROWS.sessions)) != history_digest(ROWS)
    symbols, x_STF = ROWS.rows_of(DAYS[0])
    assert digest(symbols, x_STF) != digest(symbols, x_STF.reshape(3, 32, 48))


def test_sessions_without_rows() -> None:
    nothing = SymbolSessions(ROWS.features[:0], (), ())
    empty: History = history_of(nothing, dict.fromkeys(DAYS, 2))
    assert empty.rows(DAYS) == 0
    assert len(empty.sample(DAYS, 5)) == 0
    assert len(ROWS.sample(2)) == 2
    assert ROWS.sample(2).sessions == (DAYS[0], DAYS[-1])
    assert len(ROWS.sample(100)) == 12
