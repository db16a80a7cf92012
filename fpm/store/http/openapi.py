"""What the door answers, and nothing else, as an OpenAPI document (https://spec.openapis.org/oas/v3.1.1).

Names of views, features and services are those of the catalogue, so a generated client knows them.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fpm.schema import HISTORIES, TABLES
from fpm.store.http.history import MOST_ROWS, columns
from fpm.store.http.intraday import OF_MINUTE
from fpm.store.http.news import MOST_PUBLICATIONS
from fpm.store.http.queries import LONGEST_WAIT, MOST_ID, MOST_NEIGHBOURS, NEIGHBOURS, WITHIN
from fpm.store.http.requests import LONGEST_KEY, MOST_ENTITIES, MOST_FEATURES

if TYPE_CHECKING:
    from fpm.store.http.requests import Catalogue

ALWAYS = {
    "401": "no token or a wrong one",
    "405": "the other method; the header allow names the right one",
    "408": "the head did not arrive in time",
    "500": "our fault; the number in it is in the server's log",
    "503": "the database is away, a session is being published, or none is yet; see the header retry-after",
}
QUERY = {"400": "another query than the described one"}
STALE = {"409": "require=fresh, and a newer session is due"}
BODY = {
    "400": "no JSON, a field twice, no view:feature, a key missing or unknown, no entities",
    "404": "no such view, feature or service; names that are near are given",
    "413": f"longer than 1 MB, more than {MOST_ENTITIES} entities or {MOST_FEATURES} features",
    "415": "a compressed body",
    "422": "a null, a number or NaN as a key; lists of different lengths; an unknown field",
}
TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
NULLABLE = {"type": ["string", "null"]}
FRESH = {
    "name": "require",
    "in": "query",
    "description": "refuse where the published session is older than the newest one that is due",
    "schema": {"type": "string", "enum": ["fresh"]},
}


def openapi(catalogue: Catalogue) -> dict[str, Any]:
    """The document, for the views, features and services of a catalogue."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fpm serve",
            "version": version("fpm"),
            "description": "One published session, for reading. The headers x-fpm-… say which publication it is.",
        },
        "security": [{"token": []}],
        "paths": {
            "/get-online-features": {"post": _reading(catalogue)},
            "/health": {"get": _health("feast_health")},
            "/v1/health": {"get": _health("health")},
            "/metrics": {"get": _metrics("prometheus_metrics")},
            "/v1/metrics": {"get": _metrics("metrics")},
            "/v1/nearest": {"get": _nearest()},
            "/v1/history": {"get": _history()},
            "/v1/intraday": {"get": _intraday()},
            "/v1/publications": {"get": _publications()},
            "/v1/openapi.json": {"get": _itself()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _object(error=_object(code=TEXT, wrong=TEXT, todo=TEXT))},
        },
    }


def _reading(catalogue: Catalogue) -> dict[str, Any]:
    references = [f"{view}:{feature}" for view, features in catalogue.features.items() for feature in features]
    parts = {view: [view] for view in catalogue.keys} | dict(catalogue.services)
    needed = {
        name: list(dict.fromkeys(key for view in views for key in catalogue.keys[view]))
        for name, views in parts.items()
    }
    keys = sorted({key for names in catalogue.keys.values() for key in names})
    cells = {"type": "array", "minItems": 1, "maxItems": MOST_ENTITIES, "items": _key()}
    body = {
        "type": "object",
        "required": ["entities"],
        "additionalProperties": False,
        "properties": {
            "features": {
                "type": ["array", "null"],
                "minItems": 1,
                "maxItems": MOST_FEATURES,
                "items": {"type": "string", "enum": sorted(references)},
            },
            "feature_service": {"type": ["string", "null"], "enum": [*sorted(catalogue.services), None]},
            "entities": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": dict.fromkeys(keys, cells),
                "description": "one list for each key of the views or the service asked for (x-fpm-keys), all of one "
                "length",
                "x-fpm-keys": needed,
            },
            "full_feature_names": {"type": "boolean"},
        },
        "oneOf": [
            {"required": ["features"], "properties": {"features": {"type": "array"}}}
            | {"not": {"required": ["feature_service"], "properties": {"feature_service": {"type": "string"}}}},
            {"required": ["feature_service"], "properties": {"feature_service": {"type": "string"}}}
            | {"not": {"required": ["features"], "properties": {"features": {"type": "array"}}}},
        ],
    }
    column = {
        "type": "object",
        "required": ["values", "statuses"],
        "properties": {
            "values": {"type": "array"},
            "statuses": {"type": "array", "items": {"enum": ["PRESENT", "NOT_FOUND", "NULL_VALUE", "OUTSIDE_MAX_AGE"]}},
            "event_timestamps": {"type": "array", "items": NULLABLE},
        },
    }
    names = _object(feature_names={"type": "array", "items": TEXT})
    answer = {
        "type": "object",
        "required": ["metadata", "results"],
        "properties": {"metadata": names, "results": {"type": "array", "items": column}},
    }
    return {
        "operationId": "get_online_features",
        "summary": "Values of features for entities, by view:feature or by service",
        "parameters": [FRESH],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses(answer, BODY | STALE),
    }


def _health(name: str) -> dict[str, Any]:
    published = _object(id=NUMBER, session=TEXT, published_at=TEXT, vintage=NULLABLE, model=NULLABLE, stale_days=NUMBER)
    return {
        "operationId": name,
        "summary": "The publication that readers see",
        "parameters": [FRESH],
        "responses": _responses(published, QUERY | STALE),
    }


def _metrics(name: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": "The figures for Prometheus",
        "responses": _responses(TEXT, {}, "text/plain"),
    }


def _nearest() -> dict[str, Any]:
    neighbour = _object(symbol=TEXT, similarity={"type": "number"})
    parameters = [
        {"name": "symbol", "in": "query", "required": True, "schema": _key()},
        {
            "name": "k",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_NEIGHBOURS, "default": NEIGHBOURS},
        },
    ]
    return {
        "operationId": "nearest",
        "summary": "The stocks most like one by their fingerprints, itself first; none of an unknown symbol",
        "parameters": parameters,
        "responses": _responses(_object(symbol=TEXT, neighbours={"type": "array", "items": neighbour}), QUERY),
    }


def _history() -> dict[str, Any]:
    """The rows of either view: what both have, and what one of them has."""
    every = [name for view in HISTORIES for name in columns(view)]
    kinds = {name: kind for view in HISTORIES for name, kind in TABLES[view].columns.items()}
    row = {
        "type": "object",
        "required": [name for name in columns("scores") if every.count(name) == len(HISTORIES)],
        "additionalProperties": False,
        "properties": {name: _field(name, kinds.get(name, "string")) for name in dict.fromkeys(every)},
    }
    parameters = [
        {"name": "symbol", "in": "query", "required": True, "schema": _key()},
        {"name": "view", "in": "query", "schema": {"type": "string", "enum": list(HISTORIES), "default": "scores"}},
        *(
            {"name": name, "in": "query", "description": f"of {view}", "schema": _key()}
            for view, name in WITHIN.items()
        ),
        *({"name": name, "in": "query", "schema": {"type": "string", "format": "date"}} for name in ("first", "last")),
        {
            "name": "known_at",
            "in": "query",
            "description": "what readers could see then; without it, what stands",
            "schema": {"type": "string", "format": "date-time"},
        },
    ]
    answer = _object(symbol=TEXT, view=TEXT, known_at=NULLABLE, rows={"type": "array", "items": row})
    return {
        "operationId": "history",
        "summary": "Earlier sessions of one stock, as published and as corrected",
        "parameters": parameters,
        "responses": _responses(answer, QUERY | {"413": f"more than {MOST_ROWS} rows"}),
    }


def _intraday() -> dict[str, Any]:
    number = {"type": ["number", "null"]}
    row = _object(symbol=TEXT, stream=TEXT, score=number, spread=number)
    facts = dict.fromkeys(OF_MINUTE, NULLABLE) | {"publication": {"type": ["integer", "null"]}}
    return {
        "operationId": "intraday",
        "summary": "The last published minute of a running session: scores of one stock, of one stream, or all",
        "parameters": [{"name": name, "in": "query", "schema": _key()} for name in ("symbol", "stream")],
        "responses": _responses(_object(**facts, rows={"type": "array", "items": row}), QUERY),
    }


def _field(name: str, kind: str) -> dict[str, Any]:
    if name == "publication":
        return NUMBER
    if kind.startswith("float"):
        return {"type": ["number", "null"]}
    return NULLABLE if name in ("vintage", "model", "superseded_at") else TEXT


def _publications() -> dict[str, Any]:
    publication = _object(
        publication=NUMBER,
        session=TEXT,
        views={"type": "array", "items": TEXT},
        published_at=TEXT,
        vintage=NULLABLE,
        model=NULLABLE,
        replaces={"type": ["integer", "null"]},
    )
    rows = {"type": "array", "maxItems": MOST_PUBLICATIONS, "items": publication}
    parameters = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "integer", "minimum": 0} | bounds}
        for name, text, bounds in (
            ("after", "the id of the last publication that is known", {"maximum": MOST_ID, "default": 0}),
            ("wait", "seconds to wait for the next one", {"maximum": LONGEST_WAIT, "default": 0}),
        )
    ]
    return {
        "operationId": "publications",
        "summary": "Publications after one, oldest first; `last` is what to give as `after` next",
        "parameters": parameters,
        "responses": _responses(
            _object(publications=rows, last=NUMBER), QUERY | {"409": "no publication has that id yet: begin again"}
        ),
    }


def _itself() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "summary": "This document",
        "responses": _responses({"type": "object", "required": ["openapi", "paths"]}, QUERY),
    }


def _key() -> dict[str, Any]:
    """A text that a key may be; its length counts bytes in truth."""
    return {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[^\\u0000]+$"}


def _responses(schema: dict[str, Any], refusals: dict[str, str], media: str = "application/json") -> dict[str, Any]:
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "200": {"description": "read", "content": {media: {"schema": schema}}},
        **{status: {"description": text, "content": refused} for status, text in sorted((refusals | ALWAYS).items())},
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }
