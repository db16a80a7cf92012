"""Requests that are answered: schemathesis draws features and entities apart, and few of its entities have the keys.

Entities that fit the schema get those keys that `x-fpm-keys` says their features need, lists of one length, and one
stock that is published. All others stay as they were drawn. Only schemathesis loads this (`SCHEMATHESIS_HOOKS`).
"""

from __future__ import annotations

from typing import Any

import schemathesis

PUBLISHED = {"symbol": "600000.SH", "stream": "dual", "index": "CSI300"}
LONGEST = 100  # of a list of entities here; the schema's own bound is far beyond


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """The body with entities that its features need, where it has features and entities of the right kind."""
    schema = context.operation.schema.raw_schema["paths"]["/get-online-features"]["post"]["requestBody"]["content"]
    entities = schema["application/json"]["schema"]["properties"]["entities"]
    if not isinstance(body, dict) or not _are_entities(body.get("entities"), entities["properties"]):
        return body
    keys = _keys(body, entities["x-fpm-keys"])
    if not keys:
        return body
    drawn = next(iter(body["entities"].values()))[:LONGEST]
    return body | {"entities": {key: [PUBLISHED.get(key, "v1"), *drawn] for key in keys}}


def _are_entities(entities: Any, keys: dict[str, Any]) -> bool:
    return (
        isinstance(entities, dict)
        and bool(entities)
        and set(entities) <= set(keys)
        and all(isinstance(cells, list) and cells and all(map(_is_key, cells)) for cells in entities.values())
    )


def _is_key(cell: Any) -> bool:
    return isinstance(cell, str) and 0 < len(cell.encode("utf-8", "surrogatepass")) <= LONGEST and "\0" not in cell


def _keys(body: dict[str, Any], keys: dict[str, list[str]]) -> list[str]:
    """The keys of the features or the service that a body asks for; none where it asks for anything unknown."""
    features, service = body.get("features"), body.get("feature_service")
    if isinstance(features, list) and all(isinstance(feature, str) for feature in features):
        names = [feature.split(":")[0] for feature in features]
    else:
        names = [service] if isinstance(service, str) else []
    if not set(names) <= set(keys):
        return []
    return list(dict.fromkeys(key for name in names for key in keys[name]))
