"""A file is opened where it is the recorded one, is hashed only where it must be, and is refused otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from fpm.errors import StoreCorrupt
from fpm.store.lake.seals import Seal, Seals, settled_identity

NAME, OLD, NEW = "labels/session=2026-01-05/part-0.parquet", b"old bytes", b"new bytes"


@dataclass
class Recorded:
    """A ledger of one file; `before_answer` runs before each of its answers."""

    seal: Seal | None
    questions: list[str | None] = field(default_factory=list)
    before_answer: Callable[[int], object] = lambda _: None

    def __call__(self, table: str, path: str | None) -> dict[str, Seal]:
        assert table == "labels" and path in (None, NAME)
        self.before_answer(len(self.questions))
        self.questions.append(path)
        return {} if self.seal is None else {NAME: self.seal}


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(OLD)
    return path


def replace(path: Path, content: bytes) -> None:
    beside = path.with_name("beside")
    beside.write_bytes(content)
    beside.replace(path)


def read(seals: Seals, path: Path) -> bytes:
    with seals.opened(path) as stream:
        return stream.read()


def test_a_file_of_the_recorded_identity_is_not_hashed(tmp_path: Path, path: Path) -> None:
    """The recorded sha256 is wrong on purpose: only the identity can have let the file pass."""
    ledger = Recorded(Seal("of nothing", settled_identity(path)))
    seals = Seals(tmp_path, ledger)
    assert read(seals, path) == read(seals, path) == OLD
    assert ledger.questions == [None], "one question for a table"


def test_a_file_of_another_identity_is_hashed_once(tmp_path: Path, path: Path) -> None:
    settled_identity(path)
    ledger = Recorded(Seal(digest(OLD), None))
    seals = Seals(tmp_path, ledger)
    assert read(seals, path) == OLD
    ledger.seal = Seal("of nothing")
    assert read(seals, path) == OLD, "not hashed again"
    assert ledger.questions == [None, NAME]
    replace(path, OLD)
    with pytest.raises(StoreCorrupt, match="FPM-LAKE-111"):
        read(seals, path)


@pytest.mark.parametrize("by", ["replacement", "rewriting", "rewriting and setting the time back", "a link"])
def test_a_forgery_of_equal_size_is_refused_and_named(tmp_path: Path, path: Path, by: str) -> None:
    ledger = Recorded(Seal(digest(OLD), settled_identity(path)))
    seals, before = Seals(tmp_path, ledger), path.stat()
    assert read(seals, path) == OLD
    if by == "replacement":
        replace(path, NEW)
    elif by == "a link":
        (tmp_path / "elsewhere").write_bytes(NEW)
        path.unlink()
        os.link(tmp_path / "elsewhere", path)
    else:
        path.write_bytes(NEW)
    if by.endswith("back"):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    for own in (seals, Seals(tmp_path, ledger)):
        with pytest.raises(StoreCorrupt) as refused:
            read(own, path)
        assert refused.value.code == "FPM-LAKE-111"
        assert all(word in refused.value.wrong for word in (NAME, digest(NEW), digest(OLD)))
        assert "fpm verify" in refused.value.todo


def test_a_file_that_the_ledger_does_not_know_is_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(StoreCorrupt, match="recorded none, the ledger does not know it"):
        read(Seals(tmp_path, Recorded(None)), path)


def test_a_publication_between_two_reads_is_no_forgery(tmp_path: Path, path: Path) -> None:
    ledger = Recorded(Seal(digest(OLD), settled_identity(path)))
    seals = Seals(tmp_path, ledger)
    assert read(seals, path) == OLD
    ledger.seal = Seal(digest(OLD), None, frozenset({digest(NEW)}))  # prepared, then renamed
    assert read(seals, path) == OLD
    replace(path, NEW)
    assert read(seals, path) == NEW
    ledger.seal = Seal(digest(NEW), settled_identity(path))
    assert read(seals, path) == read(Seals(tmp_path, ledger), path) == NEW


def test_a_publication_between_opening_and_the_ledgers_answer_is_no_forgery(tmp_path: Path, path: Path) -> None:
    """The reader has opened the old file; by the time the ledger answers, it knows the new one alone."""
    ledger = Recorded(Seal(digest(OLD), None))

    def publish(question: int) -> None:
        if question == 1:
            replace(path, NEW)
            ledger.seal = Seal(digest(NEW), settled_identity(path))

    ledger.before_answer = publish
    assert read(Seals(tmp_path, ledger), path) == NEW


def test_an_older_version_is_refused_by_a_reader_that_knew_it(tmp_path: Path, path: Path) -> None:
    ledger = Recorded(Seal(digest(OLD), settled_identity(path)))
    seals = Seals(tmp_path, ledger)
    assert read(seals, path) == OLD
    replace(path, NEW)
    ledger.seal = Seal(digest(NEW), settled_identity(path))
    replace(path, OLD)
    with pytest.raises(StoreCorrupt, match=digest(OLD)):
        read(seals, path)
