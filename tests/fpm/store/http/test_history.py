"""A stock's history over HTTP is what SQL says of it, bounded, as it stands and as it was known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from fpm.schema import STREAMS
from fpm.store.http import history
from fpm.store.http.queries import history_request
from fpm.store.http.requests import RequestRefused
from fpm.store.postgres.server import connect
from tests.fpm.store.http.test_server import LAKE, Running, served
from tests.small_home import MONDAY, TUESDAY

SYMBOL = LAKE.names[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


def ask(server: Running, query: str) -> Any:
    status, _, answer = server.ask("GET", f"/v1/history?{query}")
    assert status == 200, answer
    return answer


def test_both_sessions_of_every_stream(server: Running) -> None:
    rows = ask(server, f"symbol={SYMBOL}")["rows"]
    assert {(row["session"], row["stream"]) for row in rows} == {
        (str(session), stream) for session in (MONDAY, TUESDAY) for stream in STREAMS
    }
    for row in rows:
        scores = LAKE.scores(MONDAY if row["session"] == str(MONDAY) else TUESDAY)
        own = scores.filter((scores["symbol"] == SYMBOL) & (scores["stream"] == row["stream"]))
        assert (row["score"], row["vintage"], row["superseded_at"]) == (
            own["score"].item(),
            own["vintage"].item(),
            None,
        )
        assert row["event_timestamp"].endswith("07:00:00+00:00") and row["publication"] in (1, 2)


def test_one_stream_one_session_and_the_weights(server: Running) -> None:
    (row,) = ask(server, f"symbol={SYMBOL}&stream=dual&first={TUESDAY}&last={TUESDAY}")["rows"]
    assert (row["session"], row["stream"]) == (str(TUESDAY), "dual")
    weights = ask(server, f"symbol={SYMBOL}&view=weights&index=CSI300")["rows"]
    assert [each["session"] for each in weights] == [str(MONDAY), str(TUESDAY)]
    assert {"weight", "benchmark_weight", "index"} <= set(weights[0])
    assert ask(server, "symbol=999999.SH")["rows"] == []


def test_what_was_known_before_tuesday_came(server: Running) -> None:
    with connect(server.settings) as owner:
        (first,), (second,) = owner.execute("SELECT published_at FROM fpm.publications ORDER BY id").fetchall()
    for moment, count in ((first - timedelta(seconds=1), 0), (first, 1), (second, 2)):
        known_at = moment.isoformat().replace("+", "%2B")
        answer = ask(server, f"symbol={SYMBOL}&stream=dual&known_at={known_at}")
        assert len(answer["rows"]) == count and answer["known_at"] is not None


def test_refusals(server: Running) -> None:
    assert server.ask("GET", f"/v1/history?symbol={SYMBOL}", token="guessed")[0] == 401
    assert server.ask("POST", "/v1/history", b"")[0] == 405
    assert server.ask("GET", "/v1/history")[2]["error"]["code"] == "FPM-HTTP-080"


def test_more_rows_than_an_answer_holds_are_refused(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_ROWS", 5)
    with (
        connect(server.settings, "reader") as reader,
        pytest.raises(RequestRefused, match=r"FPM-HTTP-076 .*serving.score_history") as refusal,
    ):
        history.answer(history_request(f"symbol={SYMBOL}".encode()), reader)
    assert refusal.value.status == 413
