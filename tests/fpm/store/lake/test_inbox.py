"""The files of an inbox: what is complete, what is never touched, and a move that a kill cannot split."""

import errno
import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from fpm.errors import StoreCorrupt, UsageError
from fpm.json_documents import sealed
from fpm.store.lake.inbox import FAULTPOINTS, QUIET, REPORT, TAKEN, Inbox, Waiting

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.fpm.store.lake.test_inbox"])


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    (tmp_path / "inbox").mkdir()
    return Inbox(tmp_path / "inbox", tmp_path / "looks.json")


def deliver(inbox: Inbox, name: str, content: bytes = b"a,b\n1,2\n") -> Path:
    path = inbox.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def settled(inbox: Inbox, delivery: Waiting, now: datetime = NOW) -> Path:
    report = inbox.settle(delivery, TAKEN, {"sha256": delivery.digest(), "status": TAKEN}, now)
    assert report is not None
    return report


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


# --- looking ------------------------------------------------------------------------------------------------------
def test_a_file_is_as_old_as_its_last_change(inbox: Inbox) -> None:
    path = deliver(inbox, "bars.csv")
    assert inbox.since(inbox.waiting(), NOW) == {path: NOW}
    later = NOW + QUIET
    assert inbox.since(inbox.waiting(), later) == {path: NOW}
    with path.open("ab") as stream:
        stream.write(b"3,4\n")
    assert inbox.since(inbox.waiting(), later) == {path: later}


def test_the_memory_of_looks_may_be_lost_and_the_clock_may_go_back(inbox: Inbox) -> None:
    path = deliver(inbox, "bars.csv")
    inbox.since(inbox.waiting(), NOW)
    inbox.memory.write_bytes(b'{"bars.csv": 3')
    assert inbox.since(inbox.waiting(), NOW + QUIET) == {path: NOW + QUIET}
    assert inbox.since(inbox.waiting(), NOW) == {path: NOW}


def test_the_sender_can_say_that_a_delivery_is_complete(inbox: Inbox) -> None:
    for name in ("a.csv", "a.csv.done", "b.csv", "c/bars.csv", "c/.done", "d/bars.csv", "d.done", "e/bars.csv"):
        deliver(inbox, name)
    assert {each.name: each.marked for each in inbox.waiting()} == {
        "a.csv": True,
        "b.csv": False,
        "c": True,
        "d": True,
        "e": False,
    }


@pytest.mark.parametrize(
    ("name", "content", "half"),
    [
        ("a.csv", b"", True),
        ("a.csv", b"x", False),
        ("a.parquet", b"PAR1 and more to come", True),
        ("a.PARQUET", b"PAR1 and more to come", True),
        ("a.parquet", b"PAR1 all PAR1", False),
        ("a/b.parquet", b"PAR1", False),
        ("a/b.parquet", b"P", True),
    ],
)
def test_a_file_shows_that_more_has_to_come(inbox: Inbox, name: str, content: bytes, half: bool) -> None:
    deliver(inbox, name, content)
    (delivery,) = inbox.waiting()
    assert delivery.half_written() is half


@pytest.mark.parametrize(
    "content",
    [
        b"[1]", b'{"bars.csv": 5}', b'{"bars.csv": ["SIGNATURE", "x"]}', b'{"bars.csv": ["SIGNATURE", 5]}',
        b"[" * 100_000,
        b'{"bars.csv": ["SIGNATURE", "2026-01-01T00:00:00"]}', b"\xff",
    ],
)  # fmt: skip
def test_a_damaged_memory_costs_one_more_look(content: bytes, inbox: Inbox) -> None:
    path = deliver(inbox, "bars.csv")
    inbox.since(inbox.waiting(), NOW)
    ((signature, _),) = json.loads(inbox.memory.read_bytes()).values()
    inbox.memory.write_bytes(content.replace(b"SIGNATURE", signature.encode()))
    assert inbox.since(inbox.waiting(), NOW + QUIET) == {path: NOW + QUIET}


def test_a_damaged_report_of_a_move_moves_nothing(inbox: Inbox) -> None:
    path = deliver(inbox, "bars.csv")
    (delivery,) = inbox.waiting()
    report = settled(inbox, delivery)
    pending = report.with_name(f".{report.name}")
    for content in (b"", b"[" * 100_000, report.read_bytes(), sealed({"moves": {}}).replace(b"moves", b"Moves")):
        pending.write_bytes(content)
        with pytest.raises(StoreCorrupt, match="FPM-IN-194"):
            inbox.recover()
    assert not path.exists() and (report.parent / "bars.csv").exists()


def test_an_empty_folder_is_half_written(inbox: Inbox) -> None:
    (inbox.root / "a").mkdir()
    (delivery,) = inbox.waiting()
    assert delivery.half_written()


def test_hidden_names_are_unfinished_and_what_left_is_not_looked_at(inbox: Inbox) -> None:
    for name in (
        ".bars.csv.Xy12",
        ".part/bars.csv",
        "taken/2026-06-01/a.csv",
        "refused/2026-06-01/b.csv",
        "gone.csv.done",
    ):
        deliver(inbox, name)
    assert inbox.waiting() == []


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _folder_with_link(path: Path) -> None:
    path.mkdir()
    (path / "bars.csv").write_bytes(b"x")
    (path / "link.csv").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("make", "words"),
    [(_link, "symbolic link"), (os.mkfifo, "fifo"), (_folder_with_link, "link.csv is a symbolic link")],
)
def test_what_is_no_plain_file_is_named_and_not_read(inbox: Inbox, make: Callable[[Path], None], words: str) -> None:
    make(inbox.root / "a.csv")
    (delivery,) = inbox.waiting()
    assert words in delivery.fault and not delivery.signature


def test_an_inbox_that_cannot_be_used_is_named(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FPM-CFG-020"):
        Inbox(tmp_path / "nowhere", inbox.memory).waiting()
    (inbox.root / "taken").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="is a link"):
        inbox.recover()


# --- moving -------------------------------------------------------------------------------------------------------
def test_a_delivery_leaves_with_its_report_and_its_mark(inbox: Inbox) -> None:
    path = deliver(inbox, "bars.csv")
    deliver(inbox, "bars.csv.done", b"")
    digest = sha256(path.read_bytes()).hexdigest()
    (delivery,) = inbox.waiting()
    report = settled(inbox, delivery)
    assert report == inbox.root / "taken" / "2026-06-01" / f"bars.csv{REPORT}"
    assert json.loads(report.read_bytes()) == {
        "file": "bars.csv",
        "kept_as": "bars.csv",
        "sha256": digest,
        "status": TAKEN,
    }
    assert [*tree(inbox.root)] == ["taken/2026-06-01/bars.csv", f"taken/2026-06-01/bars.csv{REPORT}"]


def test_nothing_that_left_is_ever_replaced(inbox: Inbox) -> None:
    contents = [b"one", b"two", b"one"]
    for content in contents:
        deliver(inbox, "bars.csv", content)
        settled(inbox, inbox.waiting()[0])
    folder = inbox.root / "taken" / "2026-06-01"
    assert [(folder / name).read_bytes() for name in ("bars.csv", "bars.2.csv", "bars.3.csv")] == contents
    assert len(list(folder.glob(f"*{REPORT}"))) == 3


def test_a_delivery_that_changed_since_it_was_read_stays(inbox: Inbox) -> None:
    path = deliver(inbox, "bars.csv")
    (delivery,) = inbox.waiting()
    digest = delivery.digest()
    path.write_bytes(b"another")
    assert inbox.settle(delivery, TAKEN, {"sha256": digest, "status": TAKEN}, NOW) is None
    assert [*tree(inbox.root)] == ["bars.csv"]


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", os.fsdecode(b"\xff\xfe.csv"), "名前 with spaces\n.csv"])
def test_any_name_of_a_file_system_can_leave_twice(inbox: Inbox, name: str) -> None:
    for _ in range(2):
        deliver(inbox, name)
        (delivery,) = inbox.waiting()
        json.dumps(delivery.name).encode("utf-8")
        settled(inbox, delivery)
    assert len(tree(inbox.root)) == 4 and inbox.waiting() == []


def elsewhere(source: Path, target: Path, rename: Callable[[Path, Path], Path] = Path.rename) -> Path:
    """The rename of a machine whose `taken` lies on another file system."""
    if TAKEN in target.parts and TAKEN not in source.parts:
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    return rename(source, target)


def move_in_child(root: Path, memory: Path, fault: str, other_disk: bool) -> None:
    if other_disk:
        Path.rename = elsewhere  # type: ignore[method-assign, assignment]
    os.environ["FPM_FAULT"] = fault
    inbox = Inbox(root, memory)
    inbox.recover()
    for delivery in inbox.waiting():
        settled(inbox, delivery)


@pytest.mark.parametrize("other_disk", [False, True])
@pytest.mark.parametrize("fault", [f"{name}:{count}" for name in FAULTPOINTS for count in (1, 2)])
def test_a_killed_move_is_finished_by_the_next_look(tmp_path: Path, fault: str, other_disk: bool) -> None:
    """Killed at every point, then repeated on the next day: each delivery is there once, with one report."""
    inbox = Inbox(tmp_path / "inbox", tmp_path / "looks.json")
    for name in ("a.csv", "b/one.csv", "b/deep/two.csv", "b.done"):
        deliver(inbox, name, name.encode())
    process = PROCESSES.Process(target=move_in_child, args=(inbox.root, inbox.memory, fault, other_disk))
    process.start()
    process.join(timeout=120)
    reached = other_disk or not fault.startswith("inbox_copied")
    assert process.exitcode == (-signal.SIGKILL if reached else 0)
    inbox.recover()
    for delivery in inbox.waiting():
        settled(inbox, delivery, NOW + timedelta(days=1))
    inbox.recover()
    files = {Path(*Path(path).parts[2:]).as_posix() for path in tree(inbox.root)}
    assert files == {"a.csv", f"a.csv{REPORT}", "b/one.csv", "b/deep/two.csv", f"b{REPORT}"}
    assert len(tree(inbox.root)) == 5
