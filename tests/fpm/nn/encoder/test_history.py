"""A history that is surveyed once and read again session by session."""

from datetime import date

import numpy as np
import pytest

from fpm.errors import StoreCorrupt
from fpm.nn.encoder.history import History, Rows, SymbolSessions, digest, survey
from tests.fpm.nn.encoder.small_sessions import history, surveyed

ROWS = history(days=4, symbols=3)
DAYS = sorted(set(ROWS.sessions))
SESSION_BYTES = 3 * 48 * 32 * 2


def silent(done: int, total: int, what: object) -> None:
    assert 0 < done <= total


class Shelf:
    """A source that counts its reads and whose content may be changed."""

    def __init__(self) -> None:
        self.reads: list[date] = []
        self.rows = {day: ROWS.of(day) for day in DAYS}

    def read(self, session: date) -> Rows:
        self.reads.append(session)
        return self.rows[session]


def test_a_survey_reads_each_session_once_and_remembers_an_even_few() -> None:
    shelf = Shelf()
    found = survey(shelf.read, dict.fromkeys(DAYS, 2), 0, silent)
    assert shelf.reads == DAYS
    assert found.rows(DAYS) == 12
    few = found.few(DAYS[:2], 10)
    assert few.symbols == ("000000.SZ", "000002.SZ") * 2
    assert few.sessions == (DAYS[0], DAYS[0], DAYS[1], DAYS[1])
    assert np.array_equal(few.x_NTF, ROWS.x_NTF[[0, 2, 3, 5]])
    assert found.few(DAYS, 3).sessions == (DAYS[0], DAYS[2], DAYS[3])  # rows 0, 4 and 7 of eight
    assert found.none().shape == (0, 48, 32)


def test_arrays_are_kept_while_they_fit() -> None:
    for room, again in ((0, 4), (SESSION_BYTES, 3), (3 * SESSION_BYTES + 1, 1), (4 * SESSION_BYTES, 0)):
        shelf = Shelf()
        found = survey(shelf.read, dict.fromkeys(DAYS, 2), room, silent)
        shelf.reads.clear()
        for day in DAYS:
            assert np.array_equal(found.read(day), ROWS.of(day)[1])
        assert len(shelf.reads) == again


@pytest.mark.parametrize("part", ["a value", "a symbol", "a row"])
def test_a_session_that_changed_meanwhile_is_refused(part: str) -> None:
    shelf = Shelf()
    found = survey(shelf.read, dict.fromkeys(DAYS, 2), 0, silent)
    symbols, x_STF = shelf.rows[DAYS[1]]
    changed = x_STF.copy()
    changed[0, 0, 0] += 1
    shelf.rows[DAYS[1]] = {
        "a value": (symbols, changed),
        "a symbol": (("X", *symbols[1:]), x_STF),
        "a row": (symbols[1:], x_STF[1:]),
    }[part]
    assert len(found.read(DAYS[0])) == 3
    with pytest.raises(StoreCorrupt, match=f"features of {DAYS[1]} are not those"):
        found.read(DAYS[1])


def test_the_digest_is_of_the_content_alone() -> None:
    def of(rows: SymbolSessions, few: int = 2, budget: int = 0) -> str:
        return surveyed(rows, dict.fromkeys(DAYS, few), budget).digest

    assert of(ROWS) == of(ROWS, few=1, budget=10**9)
    other = ROWS.x_NTF.copy()
    other[-1, -1, -1] += 1
    assert of(SymbolSessions(other, ROWS.symbols, ROWS.sessions)) != of(ROWS)
    symbols, x_STF = ROWS.of(DAYS[0])
    assert digest(symbols, x_STF) != digest(symbols, x_STF.reshape(3, 32, 48))


def test_sessions_without_rows() -> None:
    nothing = SymbolSessions(ROWS.x_NTF[:0], (), ())
    empty: History = surveyed(nothing, dict.fromkeys(DAYS, 2))
    assert empty.rows(DAYS) == 0
    assert len(empty.few(DAYS, 5)) == 0
    assert len(ROWS.spread(2)) == 2
    assert ROWS.spread(2).sessions == (DAYS[0], DAYS[-1])
    assert len(ROWS.spread(100)) == 12
