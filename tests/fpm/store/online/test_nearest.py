"""`serving.nearest` against cosines of numpy: by the index, while that is behind, and of a symbol that nobody knows."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from fpm.schema import FINGERPRINT_SIZE
from fpm.sessions import close, cut_off, market
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores
from fpm.store.online.neighbours import index_published
from fpm.store.online.publication import publish_online
from fpm.store.postgres.server import connect

CN, MONDAY, TUESDAY = market("cn"), date(2024, 12, 2), date(2024, 12, 3)
SYMBOLS = [f"60{number:04d}.SH" for number in range(300)]


def publish(stores: Stores, session: date, seed: int) -> np.ndarray:
    """The published vectors, shape (N, D); the last symbol has none."""
    x_ND = np.random.default_rng(seed).normal(size=(len(SYMBOLS), FINGERPRINT_SIZE)).astype(np.float32)
    vectors = [*x_ND[:-1].tolist(), None]
    rows = pl.DataFrame(
        {
            "symbol": SYMBOLS,
            "vintage": "v1",
            "fingerprint": pl.Series(vectors, dtype=pl.List(pl.Float32)),
            "event_timestamp": pl.Series([close(CN, session)] * len(SYMBOLS), dtype=pl.Datetime("us", "UTC")),
            "created_timestamp": pl.Series([cut_off(CN, session)] * len(SYMBOLS), dtype=pl.Datetime("us", "UTC")),
        }
    )
    publish_online(Publication(session, ("fingerprints",), 0, f"{seed}", "v1", "m1"), {"fingerprints": rows}, stores)
    return x_ND[:-1]


def exact(x_ND: np.ndarray, query: int, k: int) -> list[tuple[str, float]]:
    unit_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    cosines = unit_ND @ unit_ND[query]
    return [(SYMBOLS[row], float(cosines[row])) for row in np.argsort(-cosines)[:k]]


def nearest(stores: Stores, symbol: str | None, k: int | None) -> list[tuple[str, float, date, bool]]:
    with connect(stores.settings, "reader") as reader:
        query = "SELECT symbol, similarity, session, behind FROM serving.nearest(%s, %s)"
        return reader.execute(query, (symbol, k)).fetchall()


def test_neighbours_by_the_index_and_while_it_is_behind_are_the_exact_ones(stores: Stores) -> None:
    for session, seed in ((MONDAY, 1), (TUESDAY, 2)):
        x_ND = publish(stores, session, seed)
        for behind in (True, False):
            if not behind:
                index_published(stores)
            rows = nearest(stores, SYMBOLS[7], 25)
            expected = exact(x_ND, 7, 25)
            assert [row[0] for row in rows] == [symbol for symbol, _ in expected]
            assert [row[1] for row in rows] == pytest.approx([cosine for _, cosine in expected], abs=1e-5)
            assert {row[2:] for row in rows} == {(session, behind)}
    assert len(nearest(stores, SYMBOLS[7], 250)) == 250, "more than the index looks at by default"


def test_an_unknown_symbol_and_a_stock_without_a_fingerprint_have_no_neighbours(stores: Stores) -> None:
    assert nearest(stores, SYMBOLS[0], 20) == [], "nothing is published"
    publish(stores, MONDAY, 1)
    for indexed in (False, True):
        if indexed:
            index_published(stores)
        for symbol, k in (("999999.SH", 20), (SYMBOLS[-1], 20), (None, 20), (SYMBOLS[0], 0), (SYMBOLS[0], None)):
            assert nearest(stores, symbol, k) == [], (symbol, k)
