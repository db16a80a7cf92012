"""What readers of the online store may rely on, as a data contract of the Open Data Contract Standard 3.

https://bitol-io.github.io/open-data-contract-standard/v3.0.2: names, types and keys of the views of schema `serving`,
how soon a session is there and how much of the market it holds. `docs/contract.yaml` is written from it; the promises
are the bounds that a night enforces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpm.schema import CLOCKS, FINGERPRINT_SIZE, HISTORIES, INTRADAY_SCORES, TABLES

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

EVERY_VERSION = {name: facts for name, facts in EVERY_ROW.items() if name != "stale_days"} | {
    "publication": ("int64", "id in serving.publications; a correction is a publication of its own"),
    "superseded_at": ("moment", "when the session's next publication took its place; empty for what stands"),
}
OF_MINUTE = {  # of the running session
    "minute": ("string", "end of the last bar read, on the exchange's clock, e.g. 14:30"),
    "event_timestamp": ("moment", "the moment that the row describes: that minute"),
    "created_timestamp": EVERY_ROW["created_timestamp"],
    "session": ("date", "the trading day, which was not over"),
    "publication": ("int64", "id of the minute's publication; no id of serving.publications"),
    "published_at": ("moment", "when readers could see it"),
    "vintage": ("string", "the encoder, and the minute at which its session is cut"),
    "model": EVERY_ROW["model"],
}
OF_LAST_MINUTE = OF_MINUTE | {"stale_days": EVERY_ROW["stale_days"]}
OF_EVERY_MINUTE = OF_MINUTE | {
    "superseded_at": ("moment", "when a correction of the same minute took its place; empty for what stands")
}
REQUIRED = (*CLOCKS, "session", "published_at", "publication", "stale_days")


@dataclass(frozen=True)
class Promises:
    """What a night enforces.

    `cut_off`: on the exchange's clock, e.g. `20:00`; `hours` after it an unfinished night is red. `scored`, `universe`,
    `empty`: the bounds of a publication. `sessions` stay in the histories.
    """

    cut_off: str
    hours: float
    scored: float
    universe: float
    empty: float
    sessions: int


def contract(version: str, promises: Promises) -> dict[str, Any]:
    """The document."""
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
        "schema": [
            *(_view(table.name, table, table.keys, EVERY_ROW) for table in views),
            *(_history(name, TABLES[view]) for view, name in HISTORIES.items()),
            _view("intraday_scores", INTRADAY_SCORES, INTRADAY_SCORES.keys, OF_LAST_MINUTE),
            _view("intraday_score_history", INTRADAY_SCORES, (*INTRADAY_SCORES.keys, "publication"), OF_EVERY_MINUTE),
        ],
        "slaProperties": [
            {"property": "frequency", "value": 1, "unit": "d", "description": "a publication every trading session"},
            {"property": "timeOfAvailability", "value": promises.cut_off, "description": "exchange-local, of the data"},
            {
                "property": "latency",
                "value": promises.hours,
                "unit": "h",
                "description": "after timeOfAvailability; a night that is unfinished then is red",
            },
            {
                "property": "scored",
                "value": promises.scored,
                "description": "share of the traded symbols with a score, at least",
            },
            {
                "property": "universe",
                "value": promises.universe,
                "description": "share of the last session's symbols, less those halted or delisted, at least",
            },
            {
                "property": "empty",
                "value": promises.empty,
                "description": "share of empty cells of daily factors, at most",
            },
            {
                "property": "retention",
                "value": promises.sessions,
                "unit": "sessions",
                "element": ", ".join(HISTORIES.values()),
                "description": "stay readable, at least, from the first that was published",
            },
        ],
    }


def _history(name: str, table: Table) -> dict[str, Any]:
    return _view(name, table, (*table.keys, "session", "publication"), EVERY_VERSION)


def _view(name: str, table: Table, keys: tuple[str, ...], common: dict[str, tuple[str, str]]) -> dict[str, Any]:
    columns = {column: (kind, "") for column, kind in table.columns.items()} | common
    return {
        "name": name,
        "physicalName": f"serving.{name}",
        "logicalType": "object",
        "physicalType": "view",
        "properties": [_column(column, *facts, keys) for column, facts in columns.items()],
    }


def _column(name: str, kind: str, meaning: str, keys: tuple[str, ...]) -> dict[str, Any]:
    logical, physical = TYPES[kind]
    column = {
        "name": name,
        "logicalType": logical,
        "physicalType": physical,
        "required": name in (*keys, *REQUIRED),
    }
    if name in keys:
        column |= {"primaryKey": True, "primaryKeyPosition": keys.index(name) + 1}
    if logical == "array":
        column["items"] = {"logicalType": "number"}
    return column | ({"description": meaning} if meaning else {})
