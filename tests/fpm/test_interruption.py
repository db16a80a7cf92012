"""Ctrl-C while native code has called Python: SQLite makes another error of it, and the work ends all the same."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from fpm.commands import cli
from fpm.ingest.table_files import unreadable
from fpm.interruption import attend, is_interrupted
from fpm.progress import bar


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    attend()
    yield
    attend()  # the mark is taken back
    signal.signal(signal.SIGINT, before)


def interrupt_inside_a_library() -> None:
    """SIGINT comes while SQLite runs a function of Python. Raises sqlite3.OperationalError."""
    connection = sqlite3.connect(":memory:")
    connection.create_function("interrupt", 0, lambda: signal.raise_signal(signal.SIGINT))
    connection.execute("SELECT interrupt()")


def test_the_signal_is_remembered_and_raised() -> None:
    assert not is_interrupted()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert is_interrupted()


def test_a_swallowed_interruption_is_raised_at_the_next_step() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), bar("work") as progress:  # noqa: PT012  the loop is what is interrupted
        for step in range(5):
            if step == 2:
                with suppress(sqlite3.OperationalError):  # as native code does that clears what Python raised
                    interrupt_inside_a_library()
            progress(step, 5, "")
            steps.append(step)
    assert steps == [0, 1]


def test_what_a_library_makes_of_an_interruption_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: interrupt_inside_a_library())
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 130
    assert capsys.readouterr().err.splitlines() == [cli.RESUMABLE]


def test_a_panic_of_native_code_is_a_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def panic(**_: object) -> None:
        raise pl.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr(cli, "app", panic)
    with pytest.raises(SystemExit) as ending:
        cli.main()
    lines = capsys.readouterr().err.splitlines()
    assert ending.value.code == 1 and len(lines) == 1 and "FPM-IO-002" in lines[0] and "PanicException" in lines[0]


def test_another_handler_stays() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    attend()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_file_is_not_to_blame_for_an_interruption(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    assert "bars.parquet" in str(unreadable(path, "data", ValueError("a panic")))
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        unreadable(path, "data", ValueError("a panic"))
