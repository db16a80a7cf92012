"""Lines of the log on a terminal."""

from __future__ import annotations

import sys

import pytest
import structlog

from fpm.store.log import configure, log
from fpm.store.settings import Settings


@pytest.mark.parametrize(("value", "is_coloured"), [("1", False), ("", True)])
def test_no_color_is_obeyed(
    value: str,
    is_coloured: bool,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = structlog.get_config()
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure(settings)
    log.warning("published", rows=3)
    structlog.configure(**before)
    assert ("\x1b[" in capsys.readouterr().err) is is_coloured
