"""Webhooks and commands: what arrives, what is said where nothing does, and the time limit that nobody stretches."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fpm.errors import UsageError
from fpm.store.channels import pipe, post
from fpm.store.settings import load_settings

SECRET = "hush-T0ken"


class Webhook(BaseHTTPRequestHandler):
    """Keeps what it gets; answers by the last word of the path."""

    received: list[dict[str, object]] = []  # noqa: RUF012  one list a server class, emptied by each test

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(json.loads(body))
        word = self.path.rsplit("/", 1)[-1]
        if word == "drip":
            self.wfile.write(b"HTTP/1.1 ")
            for _ in range(100):
                self.wfile.write(b"2")
                time.sleep(0.1)
        elif word == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "/200")
            self.end_headers()
        else:
            self.send_response(int(word))
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def webhook() -> Iterator[str]:
    Webhook.received.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that leaves is no error here
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{SECRET}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_the_document_and_its_refusals_are_said_without_its_path(webhook: str) -> None:
    assert post(f"{webhook}/204", {"state": "red"}) is None
    assert Webhook.received == [{"state": "red"}]
    assert post(f"{webhook}/500", {}) == "HTTP 500"
    assert post(f"{webhook}/elsewhere", {}) == "HTTP 302"
    assert len(Webhook.received) == 3  # nothing went to the other place
    assert post("http://127.0.0.1:9/" + SECRET, {}) == "Connection refused"


def test_an_answer_that_drips_ends_at_the_limit(webhook: str) -> None:
    started = time.monotonic()
    assert post(f"{webhook}/drip", {}, seconds=0.5) == "no answer in 0.5 s"
    assert time.monotonic() - started < 3


def test_a_command_reads_the_document_and_is_killed_with_its_children(tmp_path: Path) -> None:
    out = tmp_path / "out"
    copy = f'{sys.executable} -c \'import sys; open("{out}", "w").write(sys.stdin.read())\''
    assert pipe(copy, {"state": "red"}) is None
    assert json.loads(out.read_text()) == {"state": "red"}
    assert pipe("false", {}) == "exit code 1"
    assert pipe("no-such-program --really", {}) == "it cannot be started: No such file or directory"
    assert pipe("unfinished 'quote", {}) == "it cannot be started: ValueError"
    started = time.monotonic()
    assert pipe("sh -c 'sleep 60 & sleep 60'", {}, seconds=0.5) == "killed after 0.5 s"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "wrong",
    ["ftp://host/x", f"https:///{SECRET}", f"{SECRET}.example", f"https://a b/{SECRET}", "https://host:99999/x"],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(wrong: str) -> None:
    with pytest.raises(UsageError, match="FPM_ALERT_URL: no address of a webhook") as refused:
        load_settings({"alert_url": wrong})
    assert SECRET not in str(refused.value) and "host" not in str(refused.value).replace("HOST", "")


def test_an_address_from_a_file_is_no_part_of_any_text(tmp_path: Path) -> None:
    file = tmp_path / "webhook"
    file.write_text(f"https://hooks.example/{SECRET}\n")
    settings = load_settings({"alert_url": f"file:{file}"})
    assert settings.alert_url is not None and settings.alert_url.get_secret_value().endswith(SECRET)
    assert SECRET not in f"{settings!r}"
    assert any(SECRET in text for text in settings.secrets)  # the log hides it
    assert load_settings({"alert_url": ""}).alert_url is None
