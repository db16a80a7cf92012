"""`fpm page` in a process of its own, and a plain HTTP client that is let in."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fpm.store.settings import Settings


@dataclass
class Page:
    """The process, and a client with its cookie."""

    settings: Settings
    process: subprocess.Popen[str]
    port: int
    link: str
    cookie: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", cookie: str | None = None, host: str = ""
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of one answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            cookies = self.cookie if cookie is None else cookie
            headers = {"host": host or f"127.0.0.1:{self.port}"} | ({"cookie": cookies} if cookies else {})
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def enter(self) -> None:
        """Use the link up."""
        status, headers, _ = self.ask(self.link[self.link.index("/enter") :])
        assert status == 303 and headers["location"] == "/"
        self.cookie = headers["set-cookie"].partition(";")[0]

    def next_link(self) -> str:
        """The link for another browser."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> tuple[str, str]:
        """Ctrl-C; what it still said."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)


@contextmanager
def opened(settings: Settings) -> Iterator[Page]:
    """The page of a home, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fpm.commands.cli", "page", "--port", "0"],
        env={**os.environ, "FPM_HOME": str(settings.home), "FPM_FSYNC": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    try:
        yield Page(settings, process, int(link.split("/")[2].rpartition(":")[2]), link)
    finally:
        process.kill()
        process.communicate()
