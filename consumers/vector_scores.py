"""Job: the scores of a session under a vintage of vectors from outside, as streams of their own beside ours.

Stream NAME is of the vectors alone, NAME.dual of vectors and traditional factors: what `fingerprint` and `dual` are
under a vintage of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from consumers import scores
from fpm.schema import VECTOR_SCORES

if TYPE_CHECKING:
    from datetime import date

    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

NAME = VECTOR_SCORES.name
MODELS = ("vector_scorer",)
READS = {"vectors" if table == "fingerprints" else table: window for table, window in scores.READS.items()}
WRITES = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the scores of `session` under the vintage of the stores; raises the errors of `consumers.scores.scores`."""
    stores.write(NAME, session, rows(stores.model("vector_scorer", session), session, stores))


def rows(model: Model, session: date, stores: Stores) -> pl.DataFrame:
    """The table's rows for `session` by one scorer, from what the stores know."""
    names = streams_of(model.manifest["vintage"])
    scored = scores.scores(model, session, stores).filter(pl.col("stream").is_in(list(names)))
    return scored.with_columns(pl.col("stream").replace_strict(names))


def streams_of(vintage: str) -> dict[str, str]:
    """The streams of a vintage, by those of ours that they stand beside.

    >>> streams_of("cnn-3")
    {'fingerprint': 'cnn-3', 'dual': 'cnn-3.dual'}
    """
    return {"fingerprint": vintage, "dual": f"{vintage}.dual"}
