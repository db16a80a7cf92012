"""Publications to a webhook: each at least once, in order, signed, whatever the receiver and the process do."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr, ValidationError

from consumers import factor_returns, portfolio
from consumers import publish as publish_job
from fpm.errors import UsageError
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.alerts import Alert, raise_alerts, recent
from fpm.store.ledger.stores import Stores
from fpm.store.online.webhook import announce, undelivered
from fpm.store.settings import Settings, load_settings
from tests.consumers.small_lake import SmallLake
from tests.fpm.store.online.test_publication import MONDAY, SYMBOLS, TUESDAY, VIEWS, publish

SECRET = "hush-T0ken"
FEW = SYMBOLS[:3]


@dataclass
class Receiver:
    """A server that keeps what it gets and answers with `status`."""

    address: str = ""
    status: int = 200
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(kept.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    kept.address = f"http://127.0.0.1:{server.server_port}/{SECRET}"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


def told(stores: Stores, receiver: Receiver, secret: str | None = None) -> Stores:
    """The stores with the receiver as their webhook."""
    update = {"webhook": SecretStr(receiver.address), "webhook_secret": secret and SecretStr(secret)}
    return replace(stores, settings=stores.settings.model_copy(update=update))


def test_every_publication_once_in_order_with_its_key(stores: Stores, receiver: Receiver) -> None:
    stores = told(stores, receiver)
    publish(stores, MONDAY, 1.0, FEW)
    assert announce(stores) == 1 and announce(stores) == 0
    publish(stores, TUESDAY, 2.0, FEW)
    publish(stores, MONDAY, 3.0, FEW, hours=30)
    assert announce(stores) == 2
    assert [each["publication"] for each in receiver.documents] == [1, 2, 3]
    assert [headers["idempotency-key"] for headers, _ in receiver.requests] == [f"publication-{n}" for n in (1, 2, 3)]
    first = receiver.documents[0]
    assert (first["session"], first["views"], first["vintage"]) == (str(MONDAY), list(VIEWS), "v1")
    assert "x-fpm-signature" not in receiver.requests[0][0]


def recent_keys(stores: Stores) -> set[str]:
    """The columns of an alert: `fpm alerts` prints both in one table."""
    raise_alerts("command", {"night 2024-12-02": Alert("red", "parity", {})}, stores.ledger)
    return set(recent(stores.ledger)[0])


def test_what_a_receiver_missed_comes_in_order_when_it_is_back(stores: Stores, receiver: Receiver) -> None:
    stores = told(stores, receiver)
    publish(stores, MONDAY, 1.0, FEW)
    receiver.status = 503
    assert announce(stores) == 0
    publish(stores, TUESDAY, 2.0, FEW)
    assert announce(stores) == 0, "the second does not overtake the first"
    assert stores.ledger.query("SELECT publication, attempts, error FROM fpm.announcements ORDER BY 1") == [
        (1, 2, "HTTP 503"),
        (2, 0, None),
    ]
    listed = [(row["id"], row["finding"], row["attempts"], row["error"]) for row in undelivered(stores.ledger)]
    assert listed == [(2, f"publication {TUESDAY}", 0, None), (1, f"publication {MONDAY}", 2, "HTTP 503")]
    assert undelivered(stores.ledger)[0].keys() == recent_keys(stores)
    receiver.status = 204
    assert announce(stores) == 2
    assert undelivered(stores.ledger) == []
    assert [each["publication"] for each in receiver.documents] == [1, 1, 1, 2]
    assert len({body for _, body in receiver.requests[:3]}) == 1, "every try has the same bytes"


def test_a_process_that_dies_between_publication_and_post_leaves_it_open(stores: Stores, receiver: Receiver) -> None:
    stores = told(stores, receiver)
    publish(stores, MONDAY, 1.0, FEW)
    announce(stores)
    for version in (2.0, 3.0):  # both committed, and nobody lived to announce them
        publish(stores, TUESDAY, version, FEW, hours=int(version))
    assert announce(stores) == 2 and receiver.documents[-1]["replaces"] == 2


def test_a_process_that_dies_after_the_post_sends_again(stores: Stores, receiver: Receiver) -> None:
    stores = told(stores, receiver)
    publish(stores, MONDAY, 1.0, FEW)
    assert stores.settings.database_url is not None
    with psycopg.connect(stores.settings.database_url.get_secret_value(), autocommit=True) as owner:
        owner.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'gone'; END $$; "
            "CREATE TRIGGER die BEFORE UPDATE ON fpm.announcements EXECUTE FUNCTION die()"
        )
        assert announce(stores) == 0
        owner.execute("DROP TRIGGER die ON fpm.announcements")
    assert announce(stores) == 1
    assert [each["publication"] for each in receiver.documents] == [1, 1]


def test_a_receiver_knows_the_sender_by_the_signature(stores: Stores, receiver: Receiver) -> None:
    stores = told(stores, receiver, "k3y")
    publish(stores, MONDAY, 1.0, FEW)
    announce(stores)
    ((headers, body),) = receiver.requests
    assert headers["x-fpm-signature"] == "sha256=" + hmac.new(b"k3y", body, hashlib.sha256).hexdigest()


def test_a_night_publishes_with_a_receiver_that_is_down(
    stores: Stores, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = told(stores, replace(receiver, address=f"http://127.0.0.1:9/{SECRET}"))
    SmallLake().fill(stores, MONDAY, MONDAY)
    for job in (factor_returns, portfolio, publish_job):
        run_job(job, MONDAY, stores)
    latest = stores.ledger.latest("publish", MONDAY.isoformat())
    assert latest is not None and latest.status == "published"
    printed = "".join(capsys.readouterr())
    assert "FPM-ALR-003" in printed and "Connection refused" in printed and SECRET not in printed
    assert announce(told(stores, receiver)) == 1


def test_without_a_webhook_nothing_is_owed_and_a_new_one_begins_with_the_newest(
    stores: Stores, receiver: Receiver
) -> None:
    publish(stores, MONDAY, 1.0, FEW)
    publish(stores, TUESDAY, 2.0, FEW)
    assert announce(stores) == 0
    assert stores.ledger.query("SELECT count(*) FROM fpm.announcements") == [(0,)]
    assert announce(told(stores, receiver)) == 1 and receiver.documents[0]["publication"] == 2


def test_an_address_with_a_password_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (f"https://ada:{SECRET}@example.org/", f"ftp://example.org/{SECRET}"):
        monkeypatch.setenv("FPM_WEBHOOK", address)
        with pytest.raises(UsageError, match="FPM_WEBHOOK") as refusal:
            load_settings({})
        assert SECRET not in str(refusal.value)
    with pytest.raises(ValidationError):
        Settings(webhook=SecretStr("nothing"))
    monkeypatch.delenv("FPM_WEBHOOK")
    assert SECRET not in repr(Settings(webhook_secret=SecretStr(SECRET)))
