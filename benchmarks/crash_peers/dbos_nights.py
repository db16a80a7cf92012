"""The night as a DBOS workflow, killed and started again; prints one JSON document. Runs in DBOS's own environment.

    python dbos_nights.py FOLDER DSN SYSTEM_DSN TICKS    (see benchmarks/crash_table.py)

The workflow's id is the session's, so it is computed once whoever starts it (DBOS's documentation, "Workflow IDs and
Idempotency"); a new process recovers what is pending when it launches.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import steps
from dbos import DBOS, SetWorkflowID

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["dbos_nights", "psycopg"])
PLACE: list[str] = []
LIMIT = 60.0  # seconds within which a started process has to finish a night


@DBOS.step()
def one(step: str, session: int) -> None:
    """A step of a night."""
    steps.run(step, session, Path(PLACE[0]), PLACE[1], careful=True)


@DBOS.workflow()
def night(session: int) -> None:
    """The five steps."""
    for step in steps.STEPS:
        one(step, session)


def _process(place: list[str], system: str, session: int, crash: str, executor: str = "local") -> None:
    """Launch, which recovers what is pending; then start the session's night, or wait for the one that runs."""
    PLACE[:] = place
    os.environ["CRASH"] = crash
    DBOS(config={"name": "nights", "system_database_url": system, "application_version": "1", "executor_id": executor})
    DBOS.launch()
    with SetWorkflowID(f"night-{session}"):
        handle = DBOS.start_workflow(night, session)
    handle.get_result()
    os._exit(0)


def run(place: list[str], system: str, session: int, crash: str = "") -> int | None:
    """The exit code of a process; None where it did not end in time and was killed."""
    child = PROCESSES.Process(target=_process, args=(place, system, session, crash))
    child.start()
    child.join(LIMIT)
    if child.exitcode is None:
        child.kill()
        child.join()
        return None
    return child.exitcode


def crashes(place: list[str], system: str) -> list[dict[str, object]]:
    rows = []
    schedule = [(step, moment) for step in steps.STEPS for moment in steps.MOMENTS]
    for session, (step, moment) in enumerate(schedule, 2):
        folder, killed = Path(place[0]), run(place, system, session, f"{step}:{moment}")
        torn, mixed = steps.torn(folder), steps.mixed(place[1])
        begun = time.monotonic()
        code = run(place, system, session)
        times = steps.written(folder, session)
        rows.append(
            {
                "at": f"{step} {moment}",
                "killed": killed == -9,
                "torn": torn,
                "mixed": mixed,
                "whole": code == 0 and set(times) == set(steps.STEPS),
                "twice": len(times) - len(set(times)),
                "seconds": time.monotonic() - begun,
            }
        )
    return rows


def at_once(place: list[str], system: str, first: int, ticks: int, schedulers: int) -> dict[str, int]:
    """So many processes that start the same night at the same time: nights, and those with a step done twice."""
    doubled = 0
    for session in range(first, first + ticks):
        names = [f"scheduler {number}" for number in range(schedulers)]  # as several hosts have each its own
        children = [PROCESSES.Process(target=_process, args=(place, system, session, "", name)) for name in names]
        for child in children:
            child.start()
        for child in children:
            child.join(LIMIT)
            child.kill()
        times = steps.written(Path(place[0]), session)
        doubled += len(times) > len(set(times))
    return {"ticks": ticks, "doubled": doubled}


def main() -> None:
    place, system, ticks = sys.argv[1:3], sys.argv[3], int(sys.argv[4])
    run(place, system, 1)
    rows = crashes(place, system)
    print(json.dumps({"crashes": rows, "at_once": at_once(place, system, len(rows) + 2, ticks, 4)}))


if __name__ == "__main__":
    main()
