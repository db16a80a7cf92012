"""One crash schedule on three systems: this one, DBOS, and naive scripts in a loop. Prints a Markdown table.

    python benchmarks/crash_table.py --dbos PYTHON [--ticks N]    (PYTHON: an environment with `dbos` and `psycopg`)

The schedule: a night of five steps (bars, totals, scores, publish, parity); in each the process is killed by SIGKILL as
it begins, half way through its result, and once the result is written. Before anything is started again a reader
looks; then the system gets what it asks for: `fpm nightly`, a new process of DBOS, the next turn of the loop. Then so
many ticks at which four schedulers start the same night at once. The two others run `crash_peers/steps.py`, under DBOS
with files by rename and one transaction, as its manual asks of steps; ours runs the simulation's jobs by the real
store. All use one Postgres, without fsync.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "crash_peers")]

import steps  # noqa: E402  the path above comes first

from tests.crashes.clock import SCHEDULERS, schedulers  # noqa: E402  the path above comes first
from tests.crashes.home import Home, Hurt  # noqa: E402  the path above comes first
from tests.simulation.place import opened  # noqa: E402  the path above comes first
from tests.simulation.turns import Violation  # noqa: E402  the path above comes first
from tests.simulation.week import Place  # noqa: E402  the path above comes first

SCHEDULE = [(step, moment) for step in steps.STEPS for moment in steps.MOMENTS]
LAST = {"bars": "renamed:2", "totals": "renamed:3", "scores": "renamed:4", "publish": "published:4"}
COUNT = "SELECT partition, count(*) - count(DISTINCT job) FROM fpm.ledger WHERE status = 'published' GROUP BY 1"


# --- this system --------------------------------------------------------------------------------------------------
def ours(place: Place) -> list[dict[str, Any]]:
    """Points that fit: an attempt has begun; it is prepared (of two files one is renamed); its result is there."""
    home, rows = Home(place), []
    home.learn(len(SCHEDULE))
    for number, (step, moment) in enumerate(SCHEDULE):
        own = 1 + number // 3
        half = "renamed:1" if step == "bars" else f"prepared:{own}"
        point = {"begun": f"begun:{own}", "half": half, "written": LAST.get(step, "published:5")}[moment]
        session, expected = home.next()
        row: dict[str, Any] = {"at": f"{step} {moment}", "killed": home.run(session, Hurt(point=point)) == -9}
        row |= {"torn": 0, "mixed": False}
        try:
            home.invariants.check()
        except Violation as violation:
            row |= {"torn": 1, "mixed": True, "why": str(violation)}
        begun = time.monotonic()
        try:
            home.run_whole(session)
            home.judge(expected)
            row["whole"] = True
        except Violation as violation:
            row |= {"whole": False, "why": str(violation)}
        row["seconds"] = time.monotonic() - begun
        row["twice"] = dict(place.server.watch.execute(COUNT).fetchall()).get(str(session), 0)
        rows.append(row)
    return rows


def ours_at_once(ticks: int) -> dict[str, int]:
    done, doubled = schedulers(ticks, float("inf"))
    return {"ticks": done, "doubled": doubled}


# --- naive scripts ------------------------------------------------------------------------------------------------
def turn(folder: Path, dsn: str, session: int, crash: str = "") -> subprocess.Popen[bytes]:
    """One turn of the loop: the five scripts of a session, until one fails."""
    script = 'for step in bars totals scores publish parity; do "$0" "$1" $step "$2" "$3" "$4" || exit; done'
    words = ["bash", "-c", script, sys.executable, str(HERE / "crash_peers/steps.py"), str(session), str(folder), dsn]
    return subprocess.Popen(words, env={**os.environ, "CRASH": crash}, stderr=subprocess.DEVNULL)


def naive(folder: Path, dsn: str) -> list[dict[str, Any]]:
    """The next turn of such a loop is the next session's night; nobody comes back to this one."""
    rows: list[dict[str, Any]] = []
    for step, moment in SCHEDULE:
        shutil.rmtree(folder)
        folder.mkdir()
        turn(folder, dsn, 1).wait()
        killed = turn(folder, dsn, 2, f"{step}:{moment}").wait() == 137
        row = {"at": f"{step} {moment}", "killed": killed, "torn": steps.torn(folder), "mixed": steps.mixed(dsn)}
        begun = time.monotonic()
        turn(folder, dsn, 3).wait()
        row |= {"seconds": time.monotonic() - begun, "next": set(steps.written(folder, 3)) == set(steps.STEPS)}
        times = steps.written(folder, 2)
        rows.append(row | {"whole": set(times) == set(steps.STEPS), "twice": len(times) - len(set(times))})
    return rows


def naive_at_once(folder: Path, dsn: str, ticks: int) -> dict[str, int]:
    shutil.rmtree(folder)
    folder.mkdir()
    doubled = 0
    for session in range(1, ticks + 1):
        for running in [turn(folder, dsn, session) for _ in range(SCHEDULERS)]:
            running.wait()
        times = steps.written(folder, session)
        doubled += len(times) > len(set(times))
    return {"ticks": ticks, "doubled": doubled}


# --- DBOS ---------------------------------------------------------------------------------------------------------
def dbos(python: str, folder: Path, dsn: str, system: str, ticks: int) -> dict[str, Any]:
    words = [python, "dbos_nights.py", str(folder), dsn, system, str(ticks)]
    done = subprocess.run(words, cwd=HERE / "crash_peers", capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def database(dsn: str, name: str) -> str:
    with psycopg.connect(dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return make_conninfo(dsn, dbname=name)


def url(dsn: str) -> str:
    parts = conninfo_to_dict(dsn)
    user, password, host = (quote(str(parts[name]), safe="") for name in ("user", "password", "host"))
    return f"postgresql+psycopg://{user}:{password}@/{parts['dbname']}?host={host}&port={parts['port']}"


def table(columns: dict[str, tuple[list[dict[str, Any]], dict[str, int]]]) -> str:
    """Rows of figures, a column a system."""
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]

    def line(name: str, figure: Any) -> None:
        lines.append(f"| {name} | {' | '.join(str(figure(*column)) for column in columns.values())} |")

    line("kills that landed", lambda rows, _: f"{sum(row['killed'] for row in rows)} of {len(rows)}")
    line("a reader meets a torn or unknown file", lambda rows, _: sum(row["torn"] > 0 for row in rows))
    line("a reader meets half a session online", lambda rows, _: sum(row["mixed"] for row in rows))
    line("nights whole after the next start", lambda rows, _: sum(row["whole"] for row in rows))
    line("nights with a step done twice", lambda rows, _: sum(row["twice"] > 0 for row in rows))
    line("seconds from the start, median", lambda rows, _: f"{median(row['seconds'] for row in rows):.1f}")
    line("nights that four schedulers began at once", lambda _, once: once["ticks"])
    line("of them with a step done twice", lambda _, once: once["doubled"])
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dbos", required=True, help="Python of an environment with dbos and psycopg")
    parser.add_argument("--ticks", type=int, default=10)
    options = parser.parse_args()
    with opened() as place:
        columns: dict[str, tuple[list[dict[str, Any]], dict[str, int]]] = {
            "fpm": (ours(place), ours_at_once(options.ticks))
        }
        folders = [place.folder.parent / name for name in ("dbos", "naive")]
        stores = [database(place.dsn, f"peers_{name}") for name in ("dbos", "naive")]
        for folder, store in zip(folders, stores, strict=True):
            folder.mkdir()
            with psycopg.connect(store) as connection:
                connection.execute(steps.TABLE)
        answer = dbos(options.dbos, folders[0], stores[0], url(database(place.dsn, "peers_system")), options.ticks)
        columns["DBOS"] = answer["crashes"], answer["at_once"]
        columns["scripts in a loop"] = (
            naive(folders[1], stores[1]),
            naive_at_once(folders[1], stores[1], options.ticks),
        )
        for name, (rows, _) in columns.items():
            for row in rows:
                print(name, json.dumps(row))
        print(table(columns))
        for folder in folders:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
