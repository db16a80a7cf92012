"""The command line as other programs drive it: exit codes, one line of error, JSON."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from fpm.commands.console import program
from tests.shell import FPM, environment

Fpm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("backfill", "minute_features", "2026-01-06", "2026-01-05"), "FPM-CFG-065"),
        (("backfill", "minute_features", "2026-13-01", "2026-13-02"), "FPM-CFG-064"),
        (("backfill", "minute_features", "../2026", "2026-01-05"), "FPM-CFG-064"),
        (("backfill", "minute_features", "2026-1-5", "2026-01-06"), "FPM-CFG-064"),
        (("backfill", "minute_features", "", "2026-01-06"), "FPM-CFG-064"),
        (("backfill", "minute_features", "dt=..%2f", "2026-01-06"), "FPM-CFG-064"),
        (("backfill", "minute_features", "2026-01-05", "2999-01-05"), "FPM-CFG-066"),
        (("backfill", "minute_feature", "2026-01-05", "2026-01-06"), "minute_features"),
        (("enhance", "CSI300", "2026-01-05"), "FPM-CFG-086"),
        (("enhance", "--approve", "2026-01-05", "--hold", "CSI300"), "FPM-CFG-085"),
        (("enhance", "CSI300", "--hold", "CSI300"), "FPM-CFG-085"),
        (("enhance", "--by", "anna"), "FPM-CFG-085"),
        (("frame", "dual_stream"), "--entities"),
        (("no-such-command",), "No such command"),
        (("ingest", "nowhere", "--market", "mars"), "mars"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_do(
    tmp_path: Path, words: tuple[str, ...], message: str, fpm_command: Fpm
) -> None:
    answer = fpm_command(*words, FPM_HOME=str(tmp_path / "home"))
    assert answer.returncode == 2, answer.stderr
    assert message in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "home").exists()


def test_an_unknown_setting_is_named_with_its_near_match(fpm_command: Fpm) -> None:
    answer = fpm_command("jobs", FPM_PRESTE="demo")
    assert answer.returncode == 2
    assert "FPM_PRESTE" in answer.stderr and "FPM_PRESET" in answer.stderr


def test_all_wrong_settings_are_named_at_once(fpm_command: Fpm) -> None:
    answer = fpm_command("setup", FPM_WORKERS="0", FPM_THREADS="many")
    assert answer.returncode == 2
    assert "FPM_WORKERS" in answer.stderr and "FPM_THREADS" in answer.stderr


def test_the_version_is_that_of_the_package(fpm_command: Fpm) -> None:
    answer = fpm_command("--version")
    assert (answer.returncode, answer.stdout) == (0, f"fpm {version('fpm')}\n"), answer.stderr


@pytest.mark.parametrize("words", [(), ("backfill",), ("train",), ("train", "encoder")])
def test_h_is_short_for_help(words: tuple[str, ...], fpm_command: Fpm) -> None:
    short, long = fpm_command(*words, "-h"), fpm_command(*words, "--help")
    assert short.returncode == long.returncode == 0
    assert "Usage: python -m fpm" in short.stdout and short.stdout == long.stdout


def test_help_is_instant_and_loads_nothing_heavy() -> None:
    script = "import sys, fpm.commands.cli; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", f"import json; {script}"], text=True))
    assert not {"torch", "feast", "polars", "pandas", "numpy", "sqlalchemy", "plotly"} & set(loaded)


def test_the_table_of_jobs_loads_no_job(tmp_path: Path) -> None:
    script = "import sys; from fpm.commands.home_commands import jobs_command; jobs_command(); print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True, env=environment(tmp_path)).split()
    assert not {"torch", "feast", "polars", "pandas", "scipy"} & set(loaded)


@pytest.mark.parametrize(
    ("called", "shown"),
    [("{bin}/fpm", "fpm"), ("elsewhere/bin/fpm", "elsewhere/bin/fpm"), ("{bin}/fpm/__main__.py", "{python} -m fpm")],
)
def test_the_program_is_named_as_it_was_called(
    called: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fpm").touch(mode=0o755)
    names = {"bin": str(tmp_path), "python": Path(sys.executable).name}
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [called.format(**names)])
    assert program() == shown.format(**names)


def test_jobs_lists_every_job_with_what_it_reads_and_writes(fpm_command: Fpm) -> None:
    answer = fpm_command("jobs", "--json")
    assert answer.returncode == 0, answer.stderr
    rows = json.loads(answer.stdout)
    assert [row["job"] for row in rows][:2] == ["session_totals", "minute_features"]
    assert all(row["what"] and isinstance(row["writes"], list) for row in rows)


def test_a_missing_input_is_try_later(database_url: str, fpm_command: Fpm) -> None:
    answer = fpm_command("run", "session_totals", "2024-01-03", FPM_DATABASE_URL=database_url)
    assert answer.returncode == 75, answer.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("backfill", "minute_features", "2026-01-06", "2026-01-05"), 2),
        (("ingest", "nowhere", "--market", "cn"), 2),
        (("run", "session_totals", "2024-01-03"), 75),
    ],
)
def test_a_refusal_is_json_too(words: tuple[str, ...], code: int, database_url: str, fpm_command: Fpm) -> None:
    answer = fpm_command(*words, "--json", FPM_DATABASE_URL=database_url)
    assert answer.returncode == code, answer.stderr
    refusal = json.loads(answer.stdout)["error"]
    assert list(refusal) == ["code", "wrong", "effect", "todo"]
    assert answer.stderr.rstrip().endswith(f"{refusal['wrong']} - {refusal['effect']} - {refusal['todo']}")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("statsu",), "No such command 'statsu'. Did you mean 'status'?"),
        (("explain", "600000.SH"), "Missing argument 'session'"),
        (("models", "listt"), "No such command 'listt'. Did you mean 'list'?"),
        (("status", "--sesion"), "No such option: --sesion"),
        (("--verison",), "No such option: --verison"),
        (("--nosuch", "status"), "No such option: --nosuch"),
        (("reader", "--nosuch"), "No such option: --nosuch"),
    ],
)
def test_a_fault_in_the_words_is_json_too(words: tuple[str, ...], wrong: str, fpm_command: Fpm) -> None:
    answer = fpm_command(*words, "--json")
    assert answer.returncode == 2 and "Error" in answer.stderr
    assert json.loads(answer.stdout)["error"]["wrong"].startswith(wrong)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    import signal

    running = subprocess.Popen(
        [*FPM, "simulate", str(tmp_path / "raw"), "--sessions", "400"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "raw").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "run the same command again" in errors


def test_an_empty_backfill_says_so_and_a_long_one_asks(tmp_path: Path, database_url: str, fpm_command: Fpm) -> None:
    """Without raw bars nothing is done, and that is no success; more than 500 sessions need --yes."""
    where = {
        "FPM_HOME": str(tmp_path),
        "FPM_DATABASE_URL": database_url,
        "FPM_MARKET": "crypto",
        "FPM_PRESET": "tiny",
    }
    for job in ("labels", "all"):
        empty = fpm_command("backfill", job, "2023-01-01", "2023-01-05", "--json", **where)
        assert empty.returncode == 75 and "no daily_bars" in empty.stderr, empty.stderr
    for number in range(502):
        folder = tmp_path / "lake" / "daily_bars" / f"session={date(2021, 1, 1) + timedelta(days=number)}"
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").touch()
    with psycopg.connect(database_url) as connection:  # a database that knew of no attempt would be another home's
        connection.execute(
            "INSERT INTO fpm.ledger (job, partition, attempt, status, inputs_sha) VALUES ('bars', %s, 1, 'failed', '')",
            ("2021-01-01",),
        )
    long = fpm_command("backfill", "labels", "2021-01-01", "2023-01-01", **where)
    assert long.returncode == 2 and "502 sessions" in long.stderr and "--yes" in long.stderr
