"""Each symbol's number of three sessions' totals."""

from datetime import date

import polars as pl

from fpm.store.jobs.inputs import Window
from fpm.store.ledger.stores import Stores
from tests.simulation.jobs.hashes import numbers

NAME = "scores"
READS = {"labels": Window(back=2)}
WRITES = ("scores",)


def run(session: date, stores: Stores) -> None:
    rows = numbers("labels", "label", session, 2, stores).rename({"number": "score"})
    words = {"stream": "dual", "vintage": "v", "model": "m"}
    stores.write(
        "scores",
        session,
        rows.with_columns(pl.lit(0.0).alias("spread"), *(pl.lit(word).alias(name) for name, word in words.items())),
    )
