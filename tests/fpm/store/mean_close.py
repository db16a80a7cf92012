"""The smallest job: the label of a session is the mean close in a window of daily bars.

Worker processes import it by name, so it is a module and not a class in a test.
"""

from datetime import date

import polars as pl

from fpm.sessions import next_sessions, previous_sessions
from fpm.store.jobs.inputs import Window
from fpm.store.ledger.stores import Stores

NAME = "labels"
READS = {"daily_bars": Window(back=2, ahead=1)}
WRITES = ("labels",)


def run(session: date, stores: Stores) -> None:
    first = previous_sessions(stores.market, session, 2)[0]
    last = next_sessions(stores.market, session, 1)[0]
    bars = stores.read("daily_bars", first, last, columns=["session", "symbol", "close"])
    wide = bars.pivot("session", index="symbol", values="close").sort("symbol")
    stores.write("labels", session, wide.select("symbol", pl.mean_horizontal(pl.exclude("symbol")).alias("label")))
