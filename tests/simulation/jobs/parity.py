"""Online equals offline, unless a newer session is online."""

from datetime import date

from fpm.errors import StoreCorrupt
from fpm.schema import CLOCKS, TABLES
from fpm.store.jobs.inputs import Window
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import published_session, served
from tests.simulation.jobs.hashes import digest

NAME = "parity"
READS = {"scores": Window()}
WRITES = ()


def run(session: date, stores: Stores) -> None:
    if (published_session(stores) or session) > session:
        return
    offline = stores.as_of(None).read("scores", session).select(*TABLES["scores"].columns, *CLOCKS)
    if digest(offline) != digest(served("scores", stores)):
        raise StoreCorrupt(code="FPM-WLD-001", wrong=f"online differs at {session}", effect="nothing", todo="look")
