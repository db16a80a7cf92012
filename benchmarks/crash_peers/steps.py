"""A night of five steps as somebody writes it in an afternoon: files of lines, and a table of scores in Postgres.

Only the standard library and psycopg, because DBOS lives in an environment of its own. `CRASH=step:moment` in the
environment kills the process where a step begins, has half written, or has written (`begun`, `half`, `written`).

    python steps.py STEP SESSION FOLDER DSN    one step, as a cron line runs it
"""

from __future__ import annotations

import os
import signal
import sys
from hashlib import sha256
from pathlib import Path

STEPS, MOMENTS = ("bars", "totals", "scores", "publish", "parity"), ("begun", "half", "written")
SYMBOLS, LAST = ("A", "B", "C"), "# end"
TABLE = "CREATE TABLE IF NOT EXISTS peer_scores (session int, symbol text, score float8)"


def run(step: str, session: int, folder: Path, dsn: str, *, careful: bool) -> None:
    """One step. `careful`: files by rename, the table in one transaction, as a manual of workflows asks for."""
    _note(folder, f"{step} {session} begun")
    _here(step, "begun")
    if step == "publish":
        _publish(session, folder, dsn, careful=careful)
    elif step == "parity":
        _here(step, "half")
        if online(dsn) != [(session, symbol, score) for symbol, score in _scores(session, folder)]:
            raise SystemExit(f"online differs at {session}")
    else:
        _write(folder / step / str(session), _lines(step, session, folder), step, careful=careful)
    _note(folder, f"{step} {session} written")
    _here(step, "written")


def _here(step: str, moment: str) -> None:
    if os.environ.get("CRASH") == f"{step}:{moment}":
        os.kill(os.getpid(), signal.SIGKILL)


def _note(folder: Path, line: str) -> None:
    with (folder / "journal").open("a") as stream:
        stream.write(line + "\n")


def _lines(step: str, session: int, folder: Path) -> list[str]:
    """A number a symbol, of the session's and the two former sessions' lines of the step before."""
    if step == "bars":
        before = dict.fromkeys(SYMBOLS, "")
    else:
        source = folder / STEPS[STEPS.index(step) - 1]
        texts = [(source / str(day)).read_text() for day in range(max(0, session - 2), session + 1) if day]
        before = dict.fromkeys(SYMBOLS, "".join(texts))
    return [f"{symbol} {int(sha256(f'{step}{session}{symbol}{text}'.encode()).hexdigest()[:8], 16) / 2**32}"
            for symbol, text in before.items()]  # fmt: skip


def _write(path: Path, lines: list[str], step: str, *, careful: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    target = path.with_suffix(".new") if careful else path
    with target.open("w") as stream:
        stream.write("\n".join(lines[:1]) + "\n")
        stream.flush()
        _here(step, "half")
        stream.write("\n".join([*lines[1:], LAST]) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    if careful:
        target.rename(path)


def _scores(session: int, folder: Path) -> list[tuple[str, float]]:
    lines = (folder / "scores" / str(session)).read_text().splitlines()
    return [(line.split()[0], float(line.split()[1])) for line in lines if line != LAST]


def _publish(session: int, folder: Path, dsn: str, *, careful: bool) -> None:
    import psycopg

    with psycopg.connect(dsn, autocommit=not careful) as connection:
        connection.execute("DELETE FROM peer_scores")
        for number, (symbol, score) in enumerate(_scores(session, folder)):
            connection.execute("INSERT INTO peer_scores VALUES (%s, %s, %s)", (session, symbol, score))
            if number == 0:
                _here("publish", "half")


# --- what a reader sees -------------------------------------------------------------------------------------------
def online(dsn: str) -> list[tuple[int, str, float]]:
    import psycopg

    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT session, symbol, score FROM peer_scores ORDER BY symbol").fetchall()


def torn(folder: Path) -> int:
    """Files under their own names that do not end as they should."""
    paths = [path for step in STEPS[:3] for path in (folder / step).glob("*") if path.suffix != ".new"]
    return sum(not path.read_text().endswith(LAST + "\n") for path in paths)


def mixed(dsn: str) -> bool:
    """Whether the scores online are not one whole session."""
    rows = online(dsn)
    return len(rows) != len(SYMBOLS) or len({session for session, _, _ in rows}) != 1


def written(folder: Path, session: int) -> list[str]:
    """Steps of a session that have written, one entry a time."""
    lines = (folder / "journal").read_text().splitlines()
    return [line.split()[0] for line in lines if line.split()[1:] == [str(session), "written"]]


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], careful=False)
