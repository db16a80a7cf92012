"""Answers kept in the home: given again for the same content only, and never from a damaged file."""

from fpm.store.jobs import answers
from fpm.store.ledger.stores import Stores
from tests.fpm.store.jobs.test_runner import CORRECTED_AT
from tests.fpm.store.small_bars import SESSIONS, ingest

QUESTION = ("enhance", "CSI300", "2026-01-05", "2026-01-09")
ANSWER = {"sessions": 4, "tracking_error": 0.04, "cost": None}


def content(stores: Stores, *beside: object) -> str:
    return answers.content_of(__file__, ["daily_bars"], SESSIONS[3], beside, stores)


def test_an_answer_stands_until_a_file_of_its_span_changes(stores: Stores) -> None:
    ingest(stores)
    before = content(stores)
    assert not answers.is_kept(QUESTION, stores) and answers.kept(QUESTION, before, stores) is None
    answers.keep(QUESTION, before, ANSWER, stores)
    assert answers.kept(QUESTION, content(stores), stores) == ANSWER
    assert answers.kept((*QUESTION[:3], "2026-01-12"), before, stores) is None
    assert answers.kept(QUESTION, content(stores, "another stream"), stores) is None
    ingest(stores, (SESSIONS[6], CORRECTED_AT, {"A": 70.0}))  # behind the span
    assert content(stores) == before
    ingest(stores, (SESSIONS[1], CORRECTED_AT, {"A": 6.0}))
    assert content(stores) != before


def test_a_damaged_answer_is_none(stores: Stores) -> None:
    ingest(stores)
    answers.keep(QUESTION, content(stores), ANSWER, stores)
    (file,) = (stores.settings.home / "answers").glob("*.json")
    whole = file.read_text()
    for broken in (whole[:-5], whole.replace("0.04", "0.01"), "[]", '{"answer": 3}'):
        file.write_text(broken)
        assert answers.kept(QUESTION, content(stores), stores) is None
