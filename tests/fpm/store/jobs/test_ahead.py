"""Trainings ahead of their turn: where they run, when they end, and that nothing of them can harm the caller."""

import os
import signal
import time
from pathlib import Path

import pytest

from fpm.errors import UsageError
from fpm.progress import Progress
from fpm.store.jobs.ahead import ahead
from fpm.store.ledger.stores import Stores


def note(path: Path, stores: Stores, progress: Progress) -> None:
    progress(0, 1, "written")
    path.write_text(f"{os.getpid()} {stores.settings.home}", encoding="utf-8")


def refuse(stores: Stores, progress: Progress) -> None:
    raise UsageError(code="FPM-CFG-066", wrong="no", effect="none", todo="nothing")


def die(stores: Stores, progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def go_on(path: Path, stores: Stores, progress: Progress) -> None:
    for batch in range(10_000):
        path.write_text(str(batch), encoding="utf-8")
        progress(batch, 10_000, "batch")
        time.sleep(0.01)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_runs_in_another_process_on_the_same_home(stores: Stores, tmp_path: Path, steps: int) -> None:
    settings = stores.settings.model_copy(update={"workers": 2})
    notes = [tmp_path / f"{number}.txt" for number in range(steps)]
    with ahead(settings) as start:
        for wait in [start(note, path) for path in notes]:
            wait()
    written = [path.read_text(encoding="utf-8").split() for path in notes]
    assert {home for _, home in written} == {str(settings.home)}
    assert str(os.getpid()) not in {process for process, _ in written}


@pytest.mark.parametrize("changes", [{"workers": 1}, {"workers": 2, "device": "cuda"}])
def test_one_worker_or_a_gpu_leaves_everything_to_the_caller(
    stores: Stores, tmp_path: Path, changes: dict[str, object]
) -> None:
    with ahead(stores.settings.model_copy(update=changes)) as start:
        start(note, tmp_path / "none.txt")()
    assert not (tmp_path / "none.txt").exists()


@pytest.mark.parametrize("step", [refuse, die])
def test_a_step_that_fails_or_is_killed_is_only_said(
    stores: Stores, step: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with ahead(stores.settings.model_copy(update={"workers": 2})) as start:
        start(step)()
    assert "it is made now" in "".join(capsys.readouterr())


def test_no_step_outlives_its_caller_s_wish(stores: Stores, tmp_path: Path) -> None:
    path = tmp_path / "batch.txt"

    def interrupted() -> None:
        with ahead(stores.settings.model_copy(update={"workers": 2})) as start:
            start(go_on, path)
            while not path.exists():
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    last = path.read_text(encoding="utf-8")
    time.sleep(0.2)
    assert path.read_text(encoding="utf-8") == last
    assert int(last) < 9_999
