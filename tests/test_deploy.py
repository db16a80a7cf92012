"""docs/deploy, each file by the tool that will read it; where a tool is not installed, its test is skipped by name."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fpm.store.ledger.stores import Stores
from fpm.store.online.metrics import HELP
from fpm.store.postgres.server import connect
from fpm.store.settings import load_settings
from tests.shell import environment

DEPLOY = Path(__file__).parent.parent / "docs/deploy"
FPM = "/opt/fpm/.venv/bin/fpm"
FAKE = """#!/bin/sh
echo "$@" >> {out}
echo '[]'
echo 'FPM-NGT-075  waits' >&2
exit {code}
"""


def program(folder: Path, code: int = 0) -> tuple[Path, Path]:
    """A program in place of `fpm` that notes its words, and the file it notes them in."""
    folder.mkdir(exist_ok=True)
    path, out = folder / "fpm", folder / "words"
    path.write_text(FAKE.format(out=out, code=code))
    path.chmod(0o755)
    return path, out


# --- systemd, cron ------------------------------------------------------------------------------------------------
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", sorted(path.name for path in DEPLOY.glob("fpm-*.*")))
def test_systemd_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    fpm, _ = program(tmp_path / "bin")
    for path in DEPLOY.glob("fpm-*.*"):
        (tmp_path / path.name).write_text(path.read_text().replace(FPM, str(fpm)))
    answer = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    ours = [line for line in answer.stderr.splitlines() if "fpm" in line]
    assert (answer.returncode, ours) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_when() -> None:
    (when,) = re.findall(r"^OnCalendar=(.*)$", (DEPLOY / "fpm-nightly.timer").read_text(), re.MULTILINE)
    answer = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True, check=True)
    assert "*-*-* *:00/10:00" in answer.stdout


def commands() -> dict[str, str]:
    """The words after `fpm` in every file that starts it."""
    texts = {path.name: path.read_text() for path in DEPLOY.iterdir()}
    found = {name: re.search(rf"{re.escape(FPM)} ([a-z]+)", text) for name, text in texts.items()}
    return {name: each[1] for name, each in found.items() if each}


def test_every_program_that_is_started_is_a_command() -> None:
    assert commands() == {
        "fpm-nightly.service": "nightly",
        "fpm-schedule.service": "schedule",
        "fpm-serve.service": "serve",
        "fpm.cron": "nightly",
    }


def test_the_cron_line_runs_with_the_variables_of_the_file(tmp_path: Path) -> None:
    (line,) = [text for text in (DEPLOY / "fpm.cron").read_text().splitlines() if text.startswith("*")]
    *fields, user, command = line.split(None, 6)
    assert (fields, user) == (["*/10", "*", "*", "*", "*"], "fpm")
    fpm, out = program(tmp_path / "bin", 75)
    for path, own in {
        FPM: fpm,
        "/etc/fpm.env": DEPLOY / "fpm.env",
        "/var/lib/fpm/cron.lock": tmp_path / "lock",
        "/var/log/fpm/nightly.log": tmp_path / "log",
    }.items():
        command = command.replace(path, str(own))
    answer = subprocess.run(["/bin/bash", "-c", command], check=False)
    assert answer.returncode == 75
    assert out.read_text() == "nightly\n" and "FPM-NGT-075" in (tmp_path / "log").read_text()


def test_every_variable_of_the_file_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.removeprefix("#") for line in (DEPLOY / "fpm.env").read_text().splitlines() if "FPM_" in line]
    for line in lines:
        name, _, value = line.partition("=")
        if not value.startswith("file:"):
            monkeypatch.setenv(name, value.strip('"'))
    settings = load_settings({})
    assert settings.log_format == "json" and settings.lineage is not None and settings.alert_command is not None


# --- orchestrators ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["airflow_night.py", "dagster_night.py"])
def test_an_orchestrators_file_is_short_and_knows_the_exit_codes(name: str) -> None:
    text = (DEPLOY / name).read_text()
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 45
    numbers = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is int}
    assert 75 in numbers and '["fpm", "nightly", "--json"]' in text


@pytest.mark.skipif(importlib.util.find_spec("dagster") is None, reason="dagster is not installed")
@pytest.mark.parametrize(("code", "success"), [(0, True), (75, True), (1, False)])
def test_dagster_runs_its_job(code: int, success: bool, tmp_path: Path) -> None:
    program(tmp_path / "bin", code)
    run = "import dagster_night as night; print(night.fpm_night.execute_in_process(raise_on_error=False).success)"
    assert str(success) in orchestrated(run, tmp_path).splitlines()


@pytest.mark.skipif(importlib.util.find_spec("airflow") is None, reason="airflow is not installed")
@pytest.mark.parametrize(("code", "state"), [(0, "success"), (75, "skipped"), (1, "failed")])
def test_airflow_runs_its_dag(code: int, state: str, tmp_path: Path) -> None:
    program(tmp_path / "bin", code)
    (tmp_path / "dags").mkdir()
    shutil.copy(DEPLOY / "airflow_night.py", tmp_path / "dags")
    airflow = f"{sys.executable} -m airflow"
    words = f"{airflow} db migrate && {airflow} dags reserialize && {airflow} dags test fpm_night"
    assert f"new_state={state}" in orchestrated(f"import subprocess; subprocess.run({words!r}, shell=True)", tmp_path)


def orchestrated(statement: str, folder: Path) -> str:
    """Standard output of Python in a process of its own, the program of `folder` first on its path."""
    variables = environment(folder, DAGSTER_HOME="", AIRFLOW_HOME=str(folder / "airflow"))
    variables |= {"AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    variables["PATH"] = f"{folder / 'bin'}:{variables['PATH']}"
    variables["PYTHONPATH"] = str(DEPLOY)
    answer = subprocess.run(
        [sys.executable, "-c", statement],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-2000:]
    return answer.stdout


# --- Prometheus, Grafana ------------------------------------------------------------------------------------------
BOARD = json.loads((DEPLOY / "grafana.json").read_text())


def test_the_scrape_is_that_of_the_server() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:6566"]}]  # the port of fpm-serve.service
    assert "--port 6566" in (DEPLOY / "fpm-serve.service").read_text()
    assert set(re.findall(r"fpm_\w+", (DEPLOY / "prometheus.yml").read_text())) <= set(HELP)


def test_the_dashboard_has_panels_with_places_and_sources_of_their_own() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    cells = [
        (place["x"] + dx, place["y"] + dy)
        for place in (panel["gridPos"] for panel in panels)
        for dx in range(place["w"])
        for dy in range(place["h"])
    ]
    assert len(cells) == len(set(cells)) and all(x < 24 for x, _ in cells)
    variables = {each["name"]: each["query"] for each in BOARD["templating"]["list"]}
    for panel in panels:
        for target in panel["targets"]:
            source = target["datasource"]
            assert variables[source["uid"].strip("${}")] == source["type"] == panel["datasource"]["type"]


def test_every_metric_of_the_dashboard_exists_and_almost_every_metric_is_shown() -> None:
    expressions = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"] if "expr" in target]
    used = {name for text in expressions for name in re.findall(r"\bfpm_\w+", text)}
    assert used <= set(HELP)
    assert len(set(HELP) - used) <= 20
    for text in expressions:
        assert all(text.count(left) == text.count(right) for left, right in ("()", "{}"))


def test_every_query_of_the_dashboard_runs_as_the_reader(stores: Stores) -> None:
    queries = [target["rawSql"] for panel in BOARD["panels"] for target in panel["targets"] if "rawSql" in target]
    assert len(queries) == 5
    with connect(stores.settings, role="reader") as connection:
        for query in queries:
            assert connection.execute(query).fetchall() == []
