"""Every malformed request is refused with its status and words, and nothing else ever happens."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm.store.http.requests import LONGEST_KEY, MOST_ENTITIES, Catalogue, RequestRefused, checked

SERVED = Catalogue(
    {"scores": ["score", "spread", "vintage"], "fingerprints": ["fingerprint"], "weights": ["weight"]},
    {"scores": ["symbol", "stream"], "fingerprints": ["symbol", "vintage"], "weights": ["symbol", "index"]},
    {"scores": ["scores"], "everything": ["scores", "weights"]},
)
GOOD: dict[str, Any] = {"features": ["scores:score"], "entities": {"symbol": ["A", "B"], "stream": ["dual", "dual"]}}
KEYS = GOOD["entities"]


def body(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value is not None}).encode()


def entities(**columns: Any) -> bytes:
    return body(entities={**KEYS, **columns})


def test_a_good_request_passes_unchanged() -> None:
    assert checked(body(), SERVED) == {**GOOD, "full_feature_names": False}
    service = checked(body(features=None, feature_service="scores"), SERVED)
    assert service == {"feature_service": "scores", "entities": KEYS, "full_feature_names": False}
    hostile = "'; drop table online.scores; -- %s {}"
    assert checked(entities(symbol=[hostile, "B"]), SERVED)["entities"]["symbol"][0] == hostile


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (body(features=["score:score"]), 404, "scores"),
        (body(features=["scores:scor"]), 404, "score"),
        (body(features=["scores@v1:score"]), 404, "scores"),
        (body(features=["score"]), 400, "view:feature"),
        (body(features=["scores:score", "scores:score"]), 400, "full_feature_names"),
        (body(features=["scores:vintage", "fingerprints:fingerprint"]), 400, "vintage"),
        (body(features=[]), 422, "list of texts"),
        (body(features="scores:score"), 422, "list of texts"),
        (body(features=[1]), 422, "list of texts"),
        (body(features=["scores:score"] * 501), 413, "500"),
        (body(features=None), 400, "one of the two"),
        (body(feature_service="scores"), 400, "one of the two"),
        (body(features=None, feature_service="scroes"), 404, "scores"),
        (body(features=None, feature_service=["scores"]), 422, "text"),
        (body(full_feature_names="yes"), 422, "true or false"),
        (body(as_of="2024-01-01"), 422, "as_of"),
        (body(entities=None), 400, "symbol, stream"),
        (body(entities=["A"]), 422, "object of lists"),
        (body(entities={"symbol": "A", "stream": "dual"}), 422, "object of lists"),
        (body(entities={"symbol": ["A"]}), 400, "lacks 'stream'"),
        (body(entities={"code": ["A"], "stream": ["dual"]}), 400, "lacks 'symbol'"),
        (entities(index=["x", "y"]), 400, "'index' is no key"),
        (body(entities={"symbol": [], "stream": []}), 400, "no entity"),
        (entities(symbol=[None, "B"]), 422, "symbol number 0"),
        (entities(symbol=["A", 600000]), 422, "symbol number 1"),
        (entities(symbol=["A", True]), 422, "symbol number 1"),
        (entities(symbol=["A", ["B"]]), 422, "symbol number 1"),
        (entities(symbol=["A", ""]), 422, "symbol number 1"),
        (entities(symbol=["A", "B\0"]), 422, "symbol number 1"),
        (entities(symbol=["A", "B" * (LONGEST_KEY + 1)]), 422, "symbol number 1"),
        (entities(symbol=["\ud800", "B"]), 422, "symbol number 0"),
        (body().replace(b'"A"', b"NaN"), 422, "NaN"),
        (body().replace(b'"A"', b"-Infinity"), 422, "Infinity"),
        (entities(symbol=["A"]), 422, "differ in length"),
        (entities(symbol=["A"] * (MOST_ENTITIES + 1), stream=["dual"] * (MOST_ENTITIES + 1)), 413, "fpm export"),
        (b"", 400, "no JSON document"),
        (b"\xff\xfe", 400, "no JSON document"),
        (b"[]", 400, "no JSON object"),
        (b"[" * 20_000, 400, "no JSON document"),
        (b'{"a":' * 20_000, 400, "no JSON document"),
        (b"{" + b",".join(b'"%d":0' % n for n in range(80_000)) + b"}", 422, "no field"),
        (b'{"features": [], "features": []}', 400, "twice"),
        (b"9" * 100_000, 400, "no JSON"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_malformed_request_is_refused_in_words(content: bytes, status: int, words: str) -> None:
    started = time.process_time()  # what others compute meanwhile does not count
    with pytest.raises(RequestRefused) as refusal:
        checked(content, SERVED)
    assert time.process_time() - started < 0.5
    assert refusal.value.status == status and words in f"{refusal.value.wrong} {refusal.value.todo}"
    assert len(str(refusal.value)) < 600


TEXT = st.text("aé:\ud800\0'", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("features", "entities", "feature_service"), JSON)))
def test_any_document_is_accepted_or_refused(document: dict[str, Any]) -> None:
    status = 200
    try:
        checked(json.dumps({**GOOD, **document}).encode(), SERVED)
    except RequestRefused as refusal:
        status = refusal.status
    assert status in (200, 400, 404, 413, 422)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(RequestRefused):
        checked(content, SERVED)
