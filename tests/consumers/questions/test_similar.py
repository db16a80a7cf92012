"""Analogues through the stores: only what was known, one vintage, the embargo, outcomes, and every refusal by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from consumers import neighbours
from consumers.questions.similar import Answer, Question, similar, similar_online
from fpm.errors import FpmError, TryLater, UsageError
from fpm.evaluation.analogues import PRESETS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import publish_online
from tests.consumers.questions.conftest import Command
from tests.consumers.small_nights import ENCODED, HALTED, LATE, SESSIONS, SYMBOLS, VINTAGE, known_from, save_encoder

SCANNED, INDEXED = "exactly: the index is behind the publication", "by the index, nearly"
Filled = tuple[Stores, list[date]]
SYMBOL = "600001.SH"
QUERY = SESSIONS - 2
EMBARGO = PRESETS["tiny"].embargo


def vector(stores: Stores, session: date, symbol: str) -> np.ndarray | None:
    rows = stores.read("fingerprints", session, columns=["symbol", "fingerprint"], vintage=VINTAGE)
    vectors = rows.filter(pl.col("symbol") == symbol)["fingerprint"].to_list()
    return np.array(vectors[0], float) if vectors else None


def slow(stores: Stores, days: list[date], at: int, known_at: datetime, k: int) -> list[tuple[date, str]]:
    """The nearest by a loop over the lake."""
    query = vector(stores, days[at], SYMBOL)
    assert query is not None
    cosines = []
    for position, session in enumerate(days[:SESSIONS]):
        for row in stores.read("fingerprints", session, vintage=VINTAGE, known_at=known_at).to_dicts():
            if row["symbol"] == SYMBOL and abs(position - at) <= EMBARGO:
                continue
            other = np.array(row["fingerprint"], float)
            cosine = float(query @ other) / float(np.linalg.norm(query) * np.linalg.norm(other))
            cosines.append((-cosine, session, row["symbol"]))
    return [(session, symbol) for _, session, symbol in sorted(cosines)[:k]]


def pairs(answer: Answer) -> list[tuple[date, str]]:
    return answer.analogues.select("session", "symbol").rows()


@pytest.mark.parametrize("at", [ENCODED + 1, QUERY])
def test_the_nearest_of_what_was_known_at_the_cut_off(filled: Filled, at: int) -> None:
    stores, days = filled
    answer = similar(Question(SYMBOL, days[at], k=15), stores)
    moment = cut_off(stores.market, days[at])
    assert answer.known_at == moment and answer.vintage == VINTAGE
    assert pairs(answer) == slow(stores, days, at, moment, 15)
    assert max(session for session, _ in pairs(answer)) <= days[at]


def test_later_knowledge_changes_nothing(filled: Filled) -> None:
    """Sessions, corrections and labels that came later leave the answer as it was."""
    stores, days = filled
    question = Question(SYMBOL, days[QUERY], k=10)
    before = similar(question, stores).to_dict()
    later = cut_off(stores.market, days[SESSIONS + 1])
    for table, column in (("fingerprints", "fingerprint"), ("labels", "label"), ("daily_factors", "log_size")):
        own = stores.for_vintage(VINTAGE) if table == "fingerprints" else stores
        for session in own.sessions(table):
            rows = own.read(table, session).drop("session")
            changed = known_from(rows.with_columns(pl.col(column).reverse()), later)
            publish_frames(table, session, {table: pl.concat([rows, changed])}, own)
    assert similar(question, stores).to_dict() == before
    assert similar(Question(SYMBOL, days[QUERY], later, 10), stores).to_dict() != before


def test_outcomes_are_the_labels_known_then_and_clear_of_the_query(filled: Filled) -> None:
    stores, days = filled
    moment = cut_off(stores.market, days[QUERY])
    rows = similar(Question(SYMBOL, days[QUERY], k=1000), stores).analogues.to_dicts()
    assert len(rows) > 150
    for row in rows:
        position = days.index(row["session"])
        overlaps = position + 6 >= QUERY  # close(t+6) is of the query's session or later
        label = stores.read("labels", row["session"], row["session"], known_at=moment)
        value = dict(label.select("symbol", "label").rows()).get(row["symbol"])
        assert row["outcome"] == (None if overlaps else value)
    assert any(row["outcome"] is not None for row in rows) and any(row["outcome"] is None for row in rows)


def test_an_outcome_known_by_then_is_hidden_where_it_overlaps(filled: Filled) -> None:
    stores, days = filled
    at, moment = 8, cut_off(stores.market, days[SESSIONS + 5])
    rows = similar(Question(SYMBOL, days[at], moment, 1000), stores).analogues.to_dicts()
    visible = {days.index(row["session"]) for row in rows if row["outcome"] is not None}
    assert visible and not visible & set(range(at - 6, at + 6)) and max(visible) >= at + 6


def test_matched_days_and_the_difference(filled: Filled) -> None:
    """Eight symbols without industries: a match is one of the other two or so of the same size."""
    stores, days = filled
    answer = similar(Question(SYMBOL, days[QUERY], k=12), stores)
    comparison = answer.comparison
    assert comparison is not None
    both = answer.analogues.drop_nulls(["outcome", "matched"])
    assert comparison.counted == len(both) > 0
    assert comparison.difference == pytest.approx((both["outcome"] - both["matched"]).mean())
    assert similar(Question(SYMBOL, days[QUERY], k=12), stores).to_dict() == answer.to_dict()


def test_the_embargo_holds_for_the_company_under_every_name(filled: Filled) -> None:
    """600001 becomes 600002 a session before the query; until then 600002 was another company."""
    stores, days = filled
    former, name, renamed = SYMBOL, "600002.SH", days[QUERY - 1]
    rows = [(former, days[0], days[QUERY - 2], "x"), (name, renamed, None, "x"), (name, days[0], days[QUERY - 2], "y")]
    table = pl.DataFrame(rows, schema=["symbol", "first", "last", "identity"], orient="row")
    question = Question(name, days[QUERY], k=1000)
    without = set(pairs(similar(question, stores)))
    publish_frames("symbols", days[0], {"symbols": table}, stores)
    answer = similar(question, stores)
    near = set(days[QUERY - EMBARGO : QUERY + 1])
    own = {(day, former if day < renamed else name) for day in near}
    others = {(day, name) for day in near if day < renamed}
    assert not own & set(pairs(answer)) and own & without, "a former name is of the same company"
    assert others <= set(pairs(answer)) and not others & without, "the same name was another company's"
    assert answer.comparison is not None


# --- online -------------------------------------------------------------------------------------------------------
def put_online(stores: Stores, session: date, vintage: str = VINTAGE) -> pl.DataFrame:
    rows = stores.read("fingerprints", session, vintage=VINTAGE).drop("session")
    frames = {"fingerprints": rows.with_columns(vintage=pl.lit(vintage))}
    publish_online(Publication(session, ("fingerprints",), 1, f"of {session}", vintage), frames, stores)
    return rows


def test_the_nearest_of_the_published_session(filled: Filled) -> None:
    stores, days = filled
    put_online(stores, days[QUERY - 1])
    rows = put_online(stores, days[QUERY])
    for session in (days[QUERY], days[ENCODED + 1]):
        query = vector(stores, session, SYMBOL)
        assert query is not None
        answer = similar_online(Question(SYMBOL, session, k=5), stores)
        assert answer.to_dict()["searched"] == SCANNED
        cosines = {
            row["symbol"]: float(query @ np.array(row["fingerprint"], float))
            / float(np.linalg.norm(query) * np.linalg.norm(row["fingerprint"]))
            for row in rows.to_dicts()
            if row["symbol"] != SYMBOL or session != days[QUERY]
        }
        assert answer.analogues["symbol"].to_list() == sorted(cosines, key=lambda name: -cosines[name])[:5]
        assert answer.analogues["similarity"].to_list() == pytest.approx(sorted(cosines.values(), reverse=True)[:5])
        assert set(answer.analogues["session"]) == {days[QUERY]} and "comparison" not in answer.to_dict()


def test_the_index_finds_what_the_scan_finds_until_it_is_behind(filled: Filled) -> None:
    """Eight vectors: an index of them is exact. Another publication leaves it behind, which the answer says."""
    stores, days = filled
    neighbours.run(days[QUERY], stores)
    assert behind(stores) == []
    put_online(stores, days[QUERY - 1])
    question = Question(SYMBOL, days[QUERY - 1], k=5)
    scanned = similar_online(question, stores)
    neighbours.run(days[QUERY - 1], stores)
    by_index = similar_online(question, stores)
    assert (scanned.searched, by_index.searched) == (SCANNED, INDEXED) and behind(stores) == [(False,)]
    assert by_index.analogues.equals(scanned.analogues)
    put_online(stores, days[QUERY])
    neighbours.run(days[QUERY - 1], stores)  # no longer what is online: left alone
    assert behind(stores) == [(True,)]
    later = similar_online(question, stores)
    assert later.searched == SCANNED and set(later.analogues["session"]) == {days[QUERY]}
    neighbours.run(days[QUERY], stores)
    assert pairs(similar_online(question, stores)) == pairs(later) and behind(stores) == [(False,)]


def behind(stores: Stores) -> list[tuple[object, ...]]:
    """What a reader sees of the index's state."""
    return stores.ledger.query("SELECT DISTINCT behind FROM serving.nearest_fingerprints")


def test_online_refusals(filled: Filled) -> None:
    stores, days = filled
    question = Question(SYMBOL, days[QUERY])
    refused(stores, question, TryLater, "FPM-ANA-076", similar_online)
    put_online(stores, days[QUERY])
    early = Question(SYMBOL, days[ENCODED + 1], cut_off(stores.market, days[ENCODED + 2]))
    refused(stores, early, TryLater, "FPM-ANA-077", similar_online)
    save_encoder(stores, "another", days[ENCODED])
    put_online(stores, days[QUERY + 1], "another")
    refused(stores, question, UsageError, "FPM-ANA-006", similar_online)


# --- refusals -----------------------------------------------------------------------------------------------------
def refused(
    stores: Stores,
    question: Question,
    kind: type[FpmError],
    code: str,
    ask: Callable[[Question, Stores], Answer] = similar,
) -> str:
    with pytest.raises(kind) as wrong:
        ask(question, stores)
    assert wrong.value.code == code and wrong.value.exit_code in (2, 75)
    return str(wrong.value)


def test_every_bad_question_is_refused_by_name(filled: Filled) -> None:
    stores, days = filled
    good, night = days[QUERY], cut_off(stores.market, days[QUERY])
    refused(stores, Question(SYMBOL, good, k=0), UsageError, "FPM-ANA-001")
    refused(stores, Question(SYMBOL, date(2024, 1, 6)), UsageError, "FPM-ANA-002")
    refused(stores, Question("../../x", good), UsageError, "FPM-ANA-003")
    assert "did you mean" in refused(stores, Question("600009.SH", good), UsageError, "FPM-ANA-003")
    early = Question(SYMBOL, good, night - timedelta(microseconds=1))
    assert night.isoformat() in refused(stores, early, UsageError, "FPM-ANA-004")
    refused(stores, Question(SYMBOL, days[2]), UsageError, "FPM-ANA-004")  # the encoder was born later
    refused(stores, Question(SYMBOL, days[SESSIONS + 3]), TryLater, "FPM-ANA-075")
    refused(stores, Question(HALTED, days[SESSIONS - 1]), TryLater, "FPM-ANA-078")
    refused(stores, Question(SYMBOL, good, vintage="another"), UsageError, "FPM-ANA-006")


def test_two_vintages_are_not_mixed(filled: Filled) -> None:
    stores, days = filled
    other = "vintage-b"
    save_encoder(stores, other, days[ENCODED])
    rows = stores.read("fingerprints", days[QUERY], vintage=VINTAGE).drop("session")
    rows = rows.with_columns(vintage=pl.lit(other), fingerprint=pl.col("fingerprint").reverse())
    publish_frames("fingerprints", days[QUERY], {"fingerprints": rows}, stores.for_vintage(other))
    message = refused(stores, Question(SYMBOL, days[QUERY]), UsageError, "FPM-ANA-005")
    assert VINTAGE in message and other in message
    assert similar(Question(SYMBOL, days[QUERY], vintage=VINTAGE), stores).vintage == VINTAGE
    answer = similar(Question(SYMBOL, days[QUERY], vintage=other), stores)
    assert set(answer.analogues["session"]) == {days[QUERY]} and answer.candidates == SYMBOLS - 2


def test_no_history(filled: Filled) -> None:
    """A vintage that has encoded one symbol of one session."""
    stores, days = filled
    save_encoder(stores, "vintage-c", days[ENCODED])
    rows = stores.read("fingerprints", days[SESSIONS - 1], vintage=VINTAGE).drop("session")
    alone = rows.filter(pl.col("symbol") == LATE).with_columns(vintage=pl.lit("vintage-c"))
    publish_frames("fingerprints", days[SESSIONS - 1], {"fingerprints": alone}, stores.for_vintage("vintage-c"))
    refused(stores, Question(LATE, days[SESSIONS - 1], vintage="vintage-c"), TryLater, "FPM-ANA-077")


def test_the_command(filled: Filled, command: Command) -> None:
    stores, days = filled
    answer = command(stores, "similar", "600001", str(days[QUERY]), "--k", "3", "--json")
    assert answer.code == 0
    document = json.loads(answer.output)
    assert document["symbol"] == SYMBOL and len(document["analogues"]) == 3 and document["candidates"] > 100
    answer = command(stores, "similar", SYMBOL, str(days[QUERY]), "--k", "-1")
    assert answer.code == 2 and "FPM-ANA-001" in answer.errors
    assert command(stores, "similar", SYMBOL, str(days[QUERY]), "--latest").code == 75
    answer = command(stores, "similar", SYMBOL, str(days[QUERY]))
    assert answer.code == 0 and "similarity" in answer.output
