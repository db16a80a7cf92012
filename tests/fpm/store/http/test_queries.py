"""A query is taken whole or refused: another field, one twice, another kind, another spelling."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from fpm.store.http.queries import HistoryRequest, history_request, news_request
from fpm.store.http.requests import RequestRefused


def test_a_history_of_everything_and_of_one_stream_at_a_moment() -> None:
    ends = date(1, 1, 1), date(9999, 12, 31)
    assert history_request(b"symbol=A") == HistoryRequest("A", "scores", None, *ends, None)
    asked = b"symbol=A&view=weights&index=CSI300&first=2024-12-02&last=2024-12-02&known_at=2024-12-03T08:00:00%2B08:00"
    day, known_at = date(2024, 12, 2), datetime(2024, 12, 3, tzinfo=UTC)
    assert history_request(asked) == HistoryRequest("A", "weights", "CSI300", day, day, known_at)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "symbol=",
        "symbol=A&symbol=B",
        "symbol=A&k=1",
        "symbol=A&view=decisions",
        "symbol=A&view=weights&stream=dual",
        "symbol=A&index=CSI300",
        "symbol=A&stream=",
        "symbol=A&first=20241202",
        "symbol=A&first=2024-13-01",
        "symbol=A&first=2024-12-03&last=2024-12-02",
        "symbol=A&known_at=2024-12-02",
        "symbol=A&known_at=2024-12-02T10:00:00",
        "symbol=A&known_at=2024-12-02T25:00:00Z",
        "symbol=%00",
        "symbol=%ff",
        "symbol=\u00e9",
    ],
)
def test_any_other_history_is_refused(query: str) -> None:
    with pytest.raises(RequestRefused, match="FPM-HTTP-080") as refusal:
        history_request(query.encode())
    assert refusal.value.status == 400


def test_news_after_an_id() -> None:
    assert news_request(b"") == (0, 0) and news_request(b"after=17&wait=60") == (17, 60)
    for query in (
        b"after=-1",
        b"after=1.0",
        b"wait=61",
        b"after=",
        b"after=1&after=2",
        b"before=1",
        b"after=" + b"9" * 19,
    ):
        with pytest.raises(RequestRefused, match="FPM-HTTP-080"):
            news_request(query)
