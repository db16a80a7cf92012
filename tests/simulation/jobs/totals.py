"""Each symbol's number of this session's and the former session's bars."""

from datetime import date

from fpm.store.jobs.inputs import Window
from fpm.store.ledger.stores import Stores
from tests.simulation.jobs.hashes import broken, numbers

NAME = "totals"
READS = {"minute_bars": Window(back=1)}
WRITES = ("labels",)


def run(session: date, stores: Stores) -> None:
    broken(session)
    stores.write("labels", session, numbers("minute_bars", "close", session, 1, stores).rename({"number": "label"}))
