"""The answers of a home to its readers, in one process: `python -m tests.home_answers SESSION` prints them as JSON.

HTTP answers come from the door itself, without a socket.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from fpm.schema import DAILY_FACTORS
from fpm.store.http.door import READ, Door
from fpm.store.http.token import ensure_token
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.retrieval import exports, features
from fpm.store.settings import Settings, load_settings

EXPORTED = ("scores", "daily_bars", "daily_factors", "fingerprints")


def answers(session: date, stores: Stores) -> dict[str, Any]:
    """The bodies of HTTP answers as text, columns of the SDK's answer, digests of an exported and a framed file."""
    symbols = stores.read("scores", session)["symbol"].unique().sort().to_list()
    vintage = stores.models.record_in_force("encoder", session).id
    index = stores.read("decisions", session)["index"][0]
    scores = {"symbol": symbols, "stream": ["dual"] * len(symbols)}
    both = {"symbol": symbols, "vintage": [vintage] * len(symbols)}
    named = [f"daily_factors:{name}" for name in reversed(DAILY_FACTORS)]
    requests = {
        "service": {"feature_service": "decisions", "entities": {"index": [index]}},
        "vectors": {"feature_service": "fingerprints", "entities": both},
        "scores": {"features": ["scores:spread", "scores:score", "scores:model"], "entities": scores},
        "factors": {"features": named, "entities": {"symbol": symbols}, "full_feature_names": True},
    }
    rows = stores.read("scores", session).filter(stream="dual").select("symbol", "event_timestamp").sort("symbol")
    with tempfile.TemporaryDirectory() as folder:
        rows.write_parquet(Path(folder, "entities.parquet"))
        out = Path(folder, "out.parquet")
        files = {}
        for table in EXPORTED:
            exports.table(table, None, out, stores)
            files[table] = sha256(out.read_bytes()).hexdigest()
        exports.frame("traditional", Path(folder, "entities.parquet"), None, out, stores)
        files["frame"] = sha256(out.read_bytes()).hexdigest()
    return {
        "http": asyncio.run(_http(requests, stores.settings)),
        "sdk": features.online(stores.settings, "decisions", pl.DataFrame({"index": [index]})).columns,
        "files": files,
    }


async def _http(requests: dict[str, Any], settings: Settings) -> dict[str, str]:
    door = Door(settings)
    try:
        return {name: (await _ask(door, request, settings)).decode() for name, request in requests.items()}
    finally:
        door.close()


async def _ask(door: Door, request: dict[str, Any], settings: Settings) -> bytes:
    token, parts = ensure_token(settings).read_text(encoding="utf-8").strip(), []
    headers = [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "POST", "path": READ, "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps(request).encode(), "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        assert message.get("status", 200) == 200, message
        parts.append(message.get("body", b""))

    await door(scope, receive, send)
    return b"".join(parts)


if __name__ == "__main__":
    print(json.dumps(answers(date.fromisoformat(sys.argv[1]), open_stores(load_settings({})))))
