"""Facts beside the bytecode: of one key a kind, and none where the file or the folder is not sound."""

from pathlib import Path

import pytest

from fpm import bytecode_cache
from fpm.bytecode_cache import keep, kept


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bytecode_cache, "FOLDER", tmp_path / "kept")
    return tmp_path / "kept"


def test_facts_of_another_key_make_way(folder: Path) -> None:
    assert kept("calendar.58", "4.5 2026-01-05") is None
    keep("calendar.58", "4.5 2026-01-05", {"sessions": ["2026-01-05"]})
    keep("code_identity", "a", {"job": "digest"})
    assert kept("calendar.58", "4.5 2026-01-05") == {"sessions": ["2026-01-05"]}
    keep("calendar.58", "4.5 2026-01-06", {"sessions": []})
    assert kept("calendar.58", "4.5 2026-01-05") is None
    assert kept("code_identity", "a") == {"job": "digest"}
    assert len(list(folder.iterdir())) == 2


def test_a_damaged_file_is_none_and_a_folder_that_cannot_be_is_no_error(folder: Path) -> None:
    keep("code_identity", "a", {"job": "digest"})
    (file,) = folder.iterdir()
    file.write_text(file.read_text()[:-3])
    assert kept("code_identity", "a") is None
    file.unlink()
    folder.rmdir()
    folder.write_text("a file where the folder would be")
    keep("code_identity", "a", {"job": "digest"})
    assert kept("code_identity", "a") is None
