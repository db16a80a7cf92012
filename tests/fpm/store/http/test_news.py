"""Publications as news: whoever waits hears of them, after a restart of the database, too, and misses none."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from fpm.store.http.news import LOOK_SECONDS, MOST_WAITERS
from fpm.store.postgres.cluster import Cluster
from fpm.store.postgres.server import connect, ensure_server
from tests.fpm.store.http.test_server import Running, served
from tests.small_home import MONDAY, TUESDAY

RECORD = """
INSERT INTO fpm.publications (session, views, attempt, sha256, vintage, model, replaces)
VALUES ('2024-12-03', ARRAY['score_history'], 0, %s, 'v', 'm', 2) RETURNING id
"""
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fpm serve' AND query ~ 'LISTEN|coalesce'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


def news(server: Running, after: int, wait: int = 0) -> tuple[int, Any]:
    status, _, answer = server.ask("GET", f"/v1/publications?after={after}&wait={wait}")
    return status, answer


def heard(server: Running, after: int, wait: int = 0) -> Any:
    """What a reader hears who asks again where he is told to: while connections are made anew the answer is 503."""
    for _ in range(60):
        status, answer = news(server, after, wait)
        if status == 200:
            return answer
        assert status == 503, answer
        time.sleep(0.5)
    raise AssertionError("the database stays away")


def newest(server: Running) -> int:
    return int(heard(server, 0)["last"])


def record(server: Running, *, notify: bool = True) -> int:
    """A publication as `publish_online` records one: its row and the notification, by one COMMIT."""
    with connect(server.settings) as owner:
        row = owner.execute(RECORD, (f"{time.time_ns()}",)).fetchone()
        if notify:
            owner.execute("SELECT pg_notify('fpm_published', '{}')")
        assert row is not None
        return int(row[0])


def wait_for_listener(server: Running) -> None:
    for _ in range(100):
        with connect(server.settings) as owner:
            if owner.execute(LISTENERS).fetchone() != (0,):
                return
        time.sleep(0.1)
    raise AssertionError("nobody listens")


def test_publications_after_one(server: Running) -> None:
    status, answer = news(server, 0)
    assert status == 200 and [each["session"] for each in answer["publications"]] == [str(MONDAY), str(TUESDAY)]
    assert answer["last"] == answer["publications"][-1]["publication"] == 2
    assert set(answer["publications"][0]) == {
        *("publication", "session", "views", "published_at", "vintage", "model", "replaces")
    }
    assert news(server, 1)[1]["publications"] == answer["publications"][1:]
    assert news(server, 2) == (200, {"publications": [], "last": 2})


def test_an_id_that_none_has_yet_is_refused(server: Running) -> None:
    status, answer = news(server, 10_000, wait=60)
    assert status == 409 and answer["error"]["code"] == "FPM-HTTP-090"


def test_who_waits_hears_with_the_commit_and_else_gets_nothing_in_time(server: Running) -> None:
    last = newest(server)
    started = time.monotonic()
    assert news(server, last, wait=1) == (200, {"publications": [], "last": last})
    assert 0.9 < time.monotonic() - started < 10
    with ThreadPoolExecutor(20) as clients:
        answers = [clients.submit(news, server, last, 60) for _ in range(20)]
        wait_for_listener(server)
        time.sleep(0.3)
        assert not [each for each in answers if each.done()]
        started = time.monotonic()
        number = record(server)
        told = [each.result(timeout=30) for each in answers]
    assert all(status == 200 and answer["last"] == number for status, answer in told)
    assert time.monotonic() - started < LOOK_SECONDS / 2, "by the notification, not by a look"


def test_a_publication_without_a_notification_is_seen_at_the_next_look(server: Running) -> None:
    last = newest(server)
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(heard, server, last, 60)
        time.sleep(0.5)
        number = record(server, notify=False)
        assert answer.result(timeout=6 * LOOK_SECONDS)["last"] == number


def test_a_reader_who_waits_through_a_restart_misses_nothing(server: Running) -> None:
    """The database ends and starts again; publications come before the listener is back and after."""
    last = newest(server)
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(heard, server, last, 60)
        wait_for_listener(server)
        cluster = Cluster(server.settings)
        cluster.stop()
        ensure_server(server.settings)
        first = record(server, notify=False)
        assert answer.result(timeout=90)["publications"][0]["publication"] == first
    second = record(server)
    assert [each["publication"] for each in heard(server, first)["publications"]] == [second]


def test_too_many_who_wait_are_told_so_and_those_who_go_make_room(server: Running) -> None:
    last = heard(server, newest(server), wait=1)["last"]  # the listener has seen it
    token = (server.settings.home / "http-token").read_text().strip()
    request = f"GET /v1/publications?after={last}&wait=60 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
    with ExitStack() as lines:
        for _ in range(MOST_WAITERS):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            line.sendall(request.encode())
        for _ in range(20):
            status, answer = news(server, last, wait=1)
            if status == 503:
                break
        assert status == 503 and answer["error"]["code"] == "FPM-HTTP-089"
        assert server.ask("GET", "/v1/health")[0] == 200, "who waits holds no thread and no connection"
        with connect(server.settings) as owner:
            held = owner.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'fpm_server'").fetchone()
            assert held is not None and held[0] < 20
    for _ in range(100):
        status, answer = news(server, last, wait=1)
        if status == 200:
            break
    assert status == 200


def test_the_listener_is_made_anew_where_somebody_ended_it(server: Running) -> None:
    last = newest(server)
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(heard, server, last, 60)
        wait_for_listener(server)
        with connect(server.settings) as owner:
            owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fpm_server'")
        number = record(server, notify=False)
        assert answer.result(timeout=90)["last"] == number
