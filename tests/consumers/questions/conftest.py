"""Commands run in this process, on the home of open stores."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fpm.commands import cli
from fpm.store.ledger.stores import Stores


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it printed."""

    code: int | str | None
    output: str
    errors: str


Command = Callable[..., Answer]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command(stores, *words)` runs `fpm WORDS` on the home of `stores`."""

    def run(stores: Stores, *words: str) -> Answer:
        assert stores.settings.database_url is not None
        monkeypatch.setenv("FPM_HOME", str(stores.settings.home))
        monkeypatch.setenv("FPM_PRESET", stores.settings.preset)
        monkeypatch.setenv("FPM_DATABASE_URL", stores.settings.database_url.get_secret_value())
        monkeypatch.setattr(sys, "argv", ["fpm", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        return Answer(leaving.value.code, *capsys.readouterr())

    return run
