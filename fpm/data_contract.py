"""What readers of the online store may rely on, as a data contract of the Open Data Contract Standard 3.

https://bitol-io.github.io/open-data-contract-standard/v3.0.2: names, types and keys of the views of schema `serving`,
how soon a session is there and how much of the market it holds. `docs/contract.yaml` is written from it; the promises
are the bounds that a night enforces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm.schema import CLOCKS, FINGERPRINT_SIZE, TABLES

if TYPE_CHECKING:
    from fpm.table import Table

TYPES = {  # name of a type -> the contract's, and PostgreSQL's as `format_type` says it
    "string": ("string", "text"),
    "float32": ("number", "real"),
    "float64": ("number", "double precision"),
    "int16": ("integer", "integer"),
    "int64": ("integer", "bigint"),
    "bool": ("boolean", "boolean"),
    "date": ("date", "date"),
    "moment": ("date", "timestamp with time zone"),
    "vector": ("array", f"vector({FINGERPRINT_SIZE})"),
}
EVERY_ROW = {  # name -> type and meaning, in every view
    "event_timestamp": ("moment", "the moment that the row describes: the session's close"),
    "created_timestamp": ("moment", "the earliest moment at which the row could have been known"),
    "session": ("date", "the trading day"),
    "published_at": ("moment", "when readers could see the session"),
    "publication": ("int64", "id in serving.publications; one for all rows of all views"),
    "vintage": ("string", "the encoder that made the fingerprints"),
    "model": ("string", "the scorer that made the scores"),
    "stale_days": ("int16", "calendar days (UTC) since the session"),
}


def contract(version: str, cut_off: str, scored: float, universe: float, empty: float) -> dict[str, Any]:
    """The document, for a cut-off such as `15:40` on the exchange's clock and the bounds of `PublishConfig`."""
    views = [table for table in TABLES.values() if table.online]
    return {
        "apiVersion": "v3.0.2",
        "kind": "DataContract",
        "id": "urn:fpm:serving",
        "name": "fpm serving",
        "version": version,
        "status": "active",
        "description": {
            "purpose": "The factor of one trading session: scores, fingerprints, factors, portfolios.",
            "usage": "One complete session, never a mixture of two; all views change in one transaction.",
            "limitations": "An incomplete session is not published: readers keep the one before, and stale_days grows.",
        },
        "servers": [{"server": "online", "type": "postgres", "database": "fpm", "schema": "serving"}],
        "schema": [_view(table) for table in views],
        "slaProperties": [
            {"property": "frequency", "value": 1, "unit": "d", "description": "a publication every trading session"},
            {"property": "timeOfAvailability", "value": cut_off, "description": "exchange-local; later is red"},
            {
                "property": "scored",
                "value": scored,
                "description": "share of the traded symbols with a score, at least",
            },
            {"property": "universe", "value": universe, "description": "share of the last session's symbols, at least"},
            {"property": "empty", "value": empty, "description": "share of empty cells of daily factors, at most"},
        ],
    }


def _view(table: Table) -> dict[str, Any]:
    columns = {name: (kind, "") for name, kind in table.columns.items()} | EVERY_ROW
    return {
        "name": table.name,
        "physicalName": f"serving.{table.name}",
        "logicalType": "object",
        "physicalType": "view",
        "properties": [_column(name, *facts, table) for name, facts in columns.items()],
    }


def _column(name: str, kind: str, meaning: str, table: Table) -> dict[str, Any]:
    logical, physical = TYPES[kind]
    column = {
        "name": name,
        "logicalType": logical,
        "physicalType": physical,
        "required": name in (*table.keys, *CLOCKS, "session", "published_at", "publication", "stale_days"),
    }
    if name in table.keys:
        column |= {"primaryKey": True, "primaryKeyPosition": table.keys.index(name) + 1}
    if logical == "array":
        column["items"] = {"logicalType": "number"}
    return column | ({"description": meaning} if meaning else {})
