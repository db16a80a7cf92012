"""The running session's last minute over HTTP is what SQL says of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import pytest

from fpm.running_session import cut
from fpm.schema import CLOCKS, STREAMS
from fpm.store.http.queries import intraday_request
from fpm.store.http.requests import RequestRefused
from fpm.store.ledger.stores import open_stores
from fpm.store.online.running import publish_running
from tests.fpm.store.http.test_server import LAKE, Running, served
from tests.small_home import TUESDAY

SYMBOL = LAKE.names[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("served")) as running:
        yield running


def test_before_the_first_minute_there_is_nothing(server: Running) -> None:
    status, _, answer = server.ask("GET", "/v1/intraday")
    assert status == 200
    assert answer.pop("rows") == [] and set(answer.values()) == {None}


def test_the_last_minute_of_one_stock_of_one_stream_or_of_all(server: Running) -> None:
    """Scores of the table, published as those of a minute."""
    stores = open_stores(server.settings)
    scores = LAKE.scores(TUESDAY).select("symbol", "stream", "score", "spread", "vintage", "model")
    for text, factor in (("10:30", 2.0), ("14:30", 1.0)):
        at = cut(TUESDAY, text, stores.market, stores.market.default_view)
        moments = zip(CLOCKS, (at.moment, at.moment + timedelta(minutes=1)), strict=True)
        rows = scores.with_columns(pl.col("score") * factor, *(pl.lit(each).alias(name) for name, each in moments))
        publish_running(at, rows, stores)
    stores.ledger.close()

    status, _, answer = server.ask("GET", f"/v1/intraday?symbol={SYMBOL}&stream=dual")
    own = scores.filter((pl.col("symbol") == SYMBOL) & (pl.col("stream") == "dual"))
    assert status == 200
    assert answer["rows"] == [own.select("symbol", "stream", "score", "spread").row(0, named=True)]
    assert (answer["minute"], answer["session"], answer["publication"]) == ("14:30", str(TUESDAY), 2)
    assert answer["event_timestamp"].endswith("T06:30:00+00:00")
    assert answer["created_timestamp"].endswith("T06:31:00+00:00")
    assert (answer["vintage"], answer["model"]) == own.select("vintage", "model").row(0)

    for query, count in (("", len(scores)), (f"?symbol={SYMBOL}", len(STREAMS)), ("?stream=dual", len(LAKE.names))):
        assert len(server.ask("GET", f"/v1/intraday{query}")[2]["rows"]) == count
    assert server.ask("GET", "/v1/intraday?symbol=999999.SH")[2]["rows"] == []


def test_refusals(server: Running) -> None:
    assert server.ask("GET", "/v1/intraday", token="guessed")[0] == 401
    assert server.ask("POST", "/v1/intraday", b"")[0] == 405
    for query in ("?minute=14:30", "?symbol=", "?symbol=a&symbol=b", "?symbol=%00", "?dual"):
        assert server.ask("GET", f"/v1/intraday{query}")[2]["error"]["code"] == "FPM-HTTP-080", query
    with pytest.raises(RequestRefused, match="a stream or both"):
        intraday_request(b"k=3")
