"""The OpenAPI document is behind the token, names exactly what is answered, and every answer fits it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from fpm.store.postgres.fence import Limits
from fpm.store.postgres.readers import add
from fpm.store.postgres.server import (
    connect,
    consumer_directions,
    ensure_server,
    hold_fence,
    rotate_passwords,
)
from tests.fpm.store.http.test_server import GOOD, Running, columns, expected, served
from tests.small_home import TUESDAY


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def document(server: Running) -> dict[str, Any]:
    status, _, answer = server.ask("GET", "/v1/openapi.json")
    assert status == 200
    return dict(answer)


def check(document: dict[str, Any], method: str, path: str, status: int, answer: Any) -> None:
    """The answer has the fields that the document requires; `tests/fuzz` holds it to the whole schema."""
    responses = document["paths"][path][method.lower()]["responses"]
    schema = responses[str(status)]["content"]["application/json"]["schema"]
    schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    assert set(schema["required"]) <= set(answer), path
    if schema.get("additionalProperties") is False:
        assert set(answer) == set(schema["properties"]), path


def recovered(server: Running) -> Any:
    """The answer to `GOOD` once connections that the test ended are made anew; a busy machine says 503 before."""
    for _ in range(20):
        status, _, answer = server.read(GOOD)
        if status == 200:
            break
        time.sleep(0.5)
    assert status == 200, answer
    return answer


def test_it_is_behind_the_token_and_a_document_of_its_own(server: Running, document: dict[str, Any]) -> None:
    assert server.ask("GET", "/v1/openapi.json", token="guessed")[0] == 401
    assert server.ask("GET", "/openapi.json")[0] == 403, "Feast's own names what is closed"
    assert document["openapi"].startswith("3.1") and document["security"] == [{"token": []}]
    assert not {"/push", "/materialize", "/search"} & set(document["paths"])


def test_every_path_of_it_answers_and_no_other_does(server: Running, document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        ((method, _),) = operations.items()
        status, _, answer = server.ask("POST" if method == "get" else "GET", path)
        assert status == 405 and answer["error"]["todo"] == f"use {method.upper()}"
        if path.endswith("metrics"):
            continue  # text
        body = json.dumps(GOOD).encode() if method == "post" else None
        query = {"/v1/nearest": "?symbol=600000.SH&k=3", "/v1/history": "?symbol=600000.SH"}.get(path, "")
        status, _, answer = server.ask(method.upper(), path + query, body)
        assert status == 200, path
        check(document, method, path, status, answer)
    assert {status for path in ("/", "/v1", "/v1/", "/v2/health") for status in [server.ask("GET", path)[0]]} == {404}


def test_it_names_every_feature_and_refusals_are_as_it_says(server: Running, document: dict[str, Any]) -> None:
    schema = document["paths"]["/get-online-features"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"scores:score", "weights:weight"} <= set(schema["properties"]["features"]["items"]["enum"])
    assert not [name for name in schema["properties"]["features"]["items"]["enum"] if name.startswith("daily_bars")]
    entities = schema["properties"]["entities"]
    assert set(entities["properties"]) >= {"symbol", "stream", "index", "vintage"}
    needed = entities["x-fpm-keys"]
    assert needed["scores"] == ["symbol", "stream"] and needed["decisions"] == ["index"]
    changes: list[dict[str, Any]] = [
        {"features": ["scores:nothing"]},
        {"features": ["daily_bars:close"]},
        {"entities": {"symbol": [None], "stream": ["dual"]}},
        {"entities": {}},
        {"feature_service": "weights"},
        {"limit": 1},
        {"full_feature_names": "yes"},
    ]
    for change in changes:
        status, _, answer = server.read(GOOD | change)
        assert 400 <= status < 500, change
        check(document, "post", "/get-online-features", status, answer)


def test_neighbours_of_a_stock_itself_first_and_none_of_an_unknown_one(server: Running) -> None:
    status, headers, answer = server.ask("GET", "/v1/nearest?symbol=600000.SH&k=3")
    assert status == 200 and headers["x-fpm-session"] == "2024-12-03"
    similarities = [row["similarity"] for row in answer["neighbours"]]
    assert answer["neighbours"][0]["symbol"] == "600000.SH" and len(similarities) == 3
    assert similarities == sorted(similarities, reverse=True) and similarities[0] == pytest.approx(1)
    assert server.ask("GET", "/v1/nearest?symbol=999999.SH")[2]["neighbours"] == []
    for query in (
        "",
        "?k=3",
        "?symbol=",
        "?symbol=A&k=0",
        "?symbol=A&k=1001",
        "?symbol=A&k=²",
        "?symbol=A&symbol=B",
        "?x=1",
    ):
        assert server.ask("GET", "/v1/nearest" + query.replace("²", "%C2%B2"))[0] == 400, query


def test_rotated_passwords_are_read_by_a_running_server(server: Running) -> None:
    assert server.read(GOOD)[0] == 200
    with connect(server.settings) as owner:
        rotate_passwords(server.settings)
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('fpm_server', 'fpm_producer')"
        )
    assert columns(recovered(server))["score"] == expected(TUESDAY)
    assert server.ask("GET", "/health")[0] == 200


def test_a_limit_of_connections_is_called_one(server: Running) -> None:
    """Other readers cannot use up this server's connections: 32 of them meet their own limit of 30."""
    other = ensure_server(server.settings).for_role("reader").dsn
    with ExitStack() as lines:
        for _ in range(30):
            lines.enter_context(psycopg.connect(other))
        with pytest.raises(psycopg.OperationalError, match='too many connections for role "fpm_reader"'):
            psycopg.connect(other)
        assert server.read(GOOD)[0] == 200
    with connect(server.settings) as owner:
        owner.execute("ALTER ROLE fpm_server CONNECTION LIMIT 0")
        owner.commit()
        owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fpm_server'")
    status, headers, answer = server.ask("GET", "/health")
    assert (status, headers["retry-after"], answer["error"]["code"]) == (503, "5", "FPM-HTTP-088")
    assert "connection" in answer["error"]["wrong"] and "fpm_server" not in answer["error"]["wrong"]
    hold_fence(server.settings, ensure_server(server.settings))
    assert columns(recovered(server))["score"] == expected(TUESDAY)


def test_what_one_consumer_does_to_itself_the_server_does_not_feel(server: Running) -> None:
    add("vandal", Limits(), "Ada", server.settings)

    with psycopg.connect(consumer_directions(server.settings, "vandal")["url"], autocommit=True) as vandal:
        vandal.execute("SET default_transaction_read_only = off")
        vandal.execute("ALTER ROLE fpm_reader_vandal SET extra_float_digits = -12")
        vandal.execute("ALTER ROLE fpm_reader_vandal PASSWORD 'mine'")
        for login in ("fpm_reader", "fpm_server", "fpm_readers"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                vandal.execute(f"ALTER ROLE {login} SET extra_float_digits = -12")
    assert columns(recovered(server))["score"] == expected(TUESDAY)
