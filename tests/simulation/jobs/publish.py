"""The session's scores online, by the real publication."""

from datetime import date

from fpm.schema import CLOCKS, TABLES
from fpm.store.jobs.inputs import Window
from fpm.store.ledger.ledger import Publication
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import publish_online
from tests.simulation.jobs.hashes import digest

NAME = "publish"
READS = {"scores": Window()}
WRITES = ()


def run(session: date, stores: Stores) -> None:
    frame = stores.as_of(None).read("scores", session).select(*TABLES["scores"].columns, *CLOCKS)
    attempt = stores.ledger.latest(NAME, session.isoformat())
    publication = Publication(session, ("scores",), attempt.attempt if attempt else 0, digest(frame), "v", "m")
    publish_online(publication, {"scores": frame}, stores)
