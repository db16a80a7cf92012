"""Settings: from the environment, absolute, immutable; secrets do not print; the log is on standard error."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from fpm.errors import UsageError
from fpm.exchange_facts import read_exchanges
from fpm.model_file import read_model_file
from fpm.portfolio.mandate import read_mandates
from fpm.store.log import configure, context, log
from fpm.store.settings import Settings, load_settings
from fpm.walk_forward import PRESETS, split


def test_settings_come_from_the_environment_and_the_caller_overrides_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FPM_HOME", "state")
    monkeypatch.setenv("FPM_PRESET", "demo")
    settings = load_settings({"preset": "short"})
    assert (settings.home, settings.preset, settings.market) == (tmp_path / "state", "short", "cn")
    assert {settings.lake.parent, settings.staging.parent, settings.models.parent, settings.pg.parent} == {
        settings.home
    }
    with pytest.raises(ValidationError):
        settings.preset = "demo"


def test_a_cluster_wants_a_server_that_its_hosts_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPM_ENGINE", "ray")
    with pytest.raises(UsageError, match="no other host reaches the embedded server"):
        load_settings({})
    monkeypatch.setenv("FPM_DATABASE_URL", "postgresql://u@db.example/fpm?sslmode=verify-full")
    assert load_settings({}).engine == "ray"


def test_a_secret_does_not_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPM_DATABASE_URL", "postgresql://someone:hush@nowhere/fpm?sslmode=verify-full")
    assert "hush" not in f"{Settings()!r} {Settings()} {Settings().model_dump()}"


def test_folds_are_the_presets_with_the_window_that_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FPM_TRAIN_WINDOW", "sliding")
    settings = load_settings({"preset": "demo"})
    assert settings.folds == replace(PRESETS["demo"], window="sliding")
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(300)]
    assert len(split(days, days[-1], settings.folds).train) == settings.folds.train == 120


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"workers": "many"},
        {"log_format": "xml"},
        {"shard": 1},
        {"factors": "roc6"},
        {"train_window": "tumbling"},
    ],
)
def test_a_value_that_does_not_fit_is_a_usage_error(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"FPM-CFG-001  FPM_{next(iter(wrong)).upper()}"):
        load_settings(wrong)


def test_the_log_is_lines_of_json_on_standard_error_with_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings(log_format="json", log_level="info"))
    with context(job="labels", session="2026-01-05", attempt=2):
        log.info("published", rows=3)
        log.debug("not shown")
    configure(Settings())
    output = capsys.readouterr()
    line = json.loads(output.err)
    assert output.out == ""
    assert {key: line[key] for key in ("event", "level", "job", "session", "attempt", "rows")} == {
        "event": "published",
        "level": "info",
        "job": "labels",
        "session": "2026-01-05",
        "attempt": 2,
        "rows": 3,
    }


def test_a_librarys_line_has_the_form_of_ours_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    configure(load_settings({"log_format": "json", "alert_url": "https://hooks.example/hush-T0ken"}))
    with context(job="labels"):
        logging.getLogger("some.library").warning("%s for https://hooks.example/hush-T0ken", "refused")
        logging.getLogger("some.library").info("not shown")
    configure(Settings())
    logging.getLogger("some.library").warning("as it likes")
    (text,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("{"))
    line = json.loads(text)
    assert (line["event"], line["level"], line["library"], line["job"]) == (
        "refused for ***",
        "warning",
        "some.library",
        "labels",
    )


@pytest.mark.parametrize(
    "wrong", ["hush", "postgresql://u:hush@[::1/db", "postgresql://u:hu%sh@h/db", "file:/no/where"]
)
@pytest.mark.parametrize("name", ["FPM_DATABASE_URL", "FPM_READER_URL"])
def test_case_58_a_connection_that_is_none_is_refused_without_its_secret(
    name: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, wrong)
    with pytest.raises(UsageError, match=f"FPM-CFG-001 .*{name}: ") as refusal:
        load_settings({})
    assert "hush" not in str(refusal.value) and "hu%sh" not in str(refusal.value)


def test_case_58_a_secret_may_stand_in_a_file_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:hush@nowhere/fpm?sslmode=verify-full\n")
    monkeypatch.setenv("FPM_DATABASE_URL", f"file:{tmp_path / 'url'}")
    url = load_settings({}).database_url
    assert url is not None and url.get_secret_value() == "postgresql://u:hush@nowhere/fpm?sslmode=verify-full"


@pytest.mark.parametrize("kind", ["markets", "mandate", "model"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[zz]\npassword = 'hush'\n", "unknown key password"),
        ("[zz]\nsuffix = 'postgresql://u:hush@h'\nstream = 'postgresql://u:hush@h'\n", "looks like a secret"),
        ("[zz]\nlot = 1\nlot = 2\n", "Cannot overwrite"),
        ("!!python/object:os.system hush\n", "Invalid statement"),
        ("a = " + "[" * 50_000, "recursion"),
        ("#" * (2 << 20), "more than 1 MB"),
    ],
)
def test_cases_57_and_58_a_file_of_settings_is_plain_small_and_no_place_for_secrets(
    kind: str, text: str, words: str, tmp_path: Path
) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        "markets": read_exchanges,
        "mandate": read_mandates,
        "model": read_model_file,
    }
    path = tmp_path / f"{kind}.toml"
    path.write_text(text.replace("zz", "scorer").replace("suffix", "loss") if kind == "model" else text)
    with pytest.raises(UsageError, match=words) as refusal:
        readers[kind](path)
    assert "hush" not in str(refusal.value)


def test_case_57_a_device_is_no_file_of_settings() -> None:
    with pytest.raises(UsageError, match="it is no plain file"):
        read_exchanges(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["HOME", "CALENDAR", "MARKETS", "MANDATE", "MODEL", "INBOX", "DATABASE_URL"])
def test_a_home_of_nobody_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FPM_{name}", "file:~nosuchuser/x" if name == "DATABASE_URL" else "~nosuchuser/x")
    with pytest.raises(UsageError, match=f"FPM-CFG-001 .*FPM_{name}: "):
        load_settings({})


@pytest.mark.parametrize(
    ("name", "value"), [("SEED", "-1"), ("SEED", "9" * 400), ("TRAINING_MEMORY", "inf"), ("MARKET", "cn" + "9" * 5000)]
)
def test_a_number_beyond_reason_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FPM_{name}", value)
    with pytest.raises(UsageError, match=f"FPM-CFG-001 .*FPM_{name}: "):
        load_settings({})


def test_a_users_zone_and_spelling_of_moments_never_reach_the_database(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "German")
    with psycopg.connect(database_url) as connection:  # what libpq makes of them
        assert connection.execute("SHOW timezone").fetchone() == ("Asia/Tokyo",)
    load_settings({})
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT current_setting('timezone'), current_setting('datestyle')").fetchone()
        assert row == ("UTC", "ISO, MDY")
