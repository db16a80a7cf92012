"""The file of looks: what it says, and everything that it may not say."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from fpm.errors import UsageError
from fpm.looks import Look, read_looks

HEAD = "date,market,setting,what\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "looks.csv"
    path.write_text(text)
    return path


def test_rows_are_looks(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + '2026-11-29,nse15,short,"one fold, ten periods"\n2026-11-30,cn15,0a1b2c3d,peers\n')
    assert read_looks(path) == (
        Look(date(2026, 11, 29), "nse15", "short", "one fold, ten periods"),
        Look(date(2026, 11, 30), "cn15", "0a1b2c3d", "peers"),
    )
    assert read_looks(written(tmp_path, HEAD)) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the first line is not date,market,setting,what"),
        ("day,market,setting,what\n", "the first line is not"),
        (HEAD + "2026-13-01,nse15,short,a\n", "line 2"),
        (HEAD + "2026-11-01,nse15,short,a\n2026-11-01,nse15,short\n", "line 3"),
        (HEAD + "2026-11-01,nse15,,a\n", "line 2"),
        (HEAD + '2026-11-01,nse15,"short\n', "looks.csv"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match="FPM-CFG-104") as refusal:
        read_looks(written(tmp_path, text))
    assert words in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file of this name"):
        read_looks(tmp_path / "none.csv")
