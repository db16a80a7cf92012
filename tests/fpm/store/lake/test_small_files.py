"""Small files are whole whoever writes them at once, and nothing is left beside them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fpm.store.lake.small_files import write_secret, write_whole


@pytest.mark.parametrize("write", [write_whole, write_secret])
def test_of_many_writers_at_once_each_is_whole(write: object, tmp_path: Path) -> None:
    assert callable(write)
    path = tmp_path / "folder" / "receipt.json"
    contents = [bytes([number]) * 50_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        writing = [pool.submit(write, path, content) for content in contents * 20]
        while not all(each.done() for each in writing):
            assert not path.exists() or path.read_bytes() in contents
        for each in writing:
            each.result()
    assert path.read_bytes() in contents
    assert [each.name for each in path.parent.iterdir()] == ["receipt.json"]


def test_a_secret_is_the_owners_alone(tmp_path: Path) -> None:
    write_secret(tmp_path / "token", b"secret")
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "receipt.json", b"{}")
    assert [each.name for each in tmp_path.iterdir()] == ["receipt.json"]
