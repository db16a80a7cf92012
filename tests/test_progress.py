"""Progress off a terminal: a line now and then with the time left, and always the last one."""

import re

import pytest

from fpm.progress import bar


def test_the_last_step_is_always_written_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("minute features") as progress:
        progress(1, 3, "2026-01-05")
        progress(2, 3, "2026-01-06")
        progress(3, 3, "2026-01-07")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1  # three steps within the first seconds: only the end is worth a line
    assert re.fullmatch(r"minute features +3/3 +\d+ s, +0 s left +2026-01-07", lines[0])
