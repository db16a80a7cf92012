"""The same bytes whatever the environment: hash seed, time zone, locale, workers, engine, order of the rows."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import fpm
from fpm.store.postgres.server import connect, stop_server
from fpm.store.settings import Settings
from tests.shell import FPM, environment
from tests.small_home import TUESDAY, published_home
from tests.text_files import sources, unnamed_encodings

ROOT = Path(fpm.__file__).parent.parent
PLAIN = {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "0"}
OTHER = {"TZ": "Asia/Shanghai", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"}
ENVIRONMENTS = (
    OTHER,
    {"TZ": "America/New_York", "LC_ALL": "POSIX", "PYTHONHASHSEED": "2"},
    {"TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4294967295"},
)


def answers(home: Path, session: object, variables: dict[str, str]) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, "-m", "tests.home_answers", str(session)],
        env=environment(home, FPM_FSYNC="false", **variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    answer: dict[str, Any] = json.loads(process.stdout)
    return answer


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    settings = published_home(tmp_path_factory.mktemp("published"))
    yield settings.home
    stop_server(settings)


def test_no_answer_depends_on_the_process_environment(published: Path) -> None:
    expected = answers(published, TUESDAY, PLAIN)
    # the order is the declared one, not merely the same by chance
    columns = json.loads(expected["http"]["scores"])["metadata"]["feature_names"]
    assert columns == ["symbol", "stream", "score", "spread", "model"]
    for variables in ENVIRONMENTS:
        assert answers(published, TUESDAY, variables) == expected, variables


@pytest.mark.parametrize("path", list(sources(ROOT)), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_is_read_in_the_encoding_of_a_locale(path: Path) -> None:
    assert not list(unnamed_encodings(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("path.read_text()", [1]),
        ("path.read_text(encoding='utf-8')", []),
        ("path.open('w')", [1]),
        ("path.open('rb')", []),
        ("open(path)", [1]),
        ("os.open(path, os.O_RDONLY)", []),
        ("x = 1\npath.write_text(text)", [2]),
    ],
)
def test_a_text_without_an_encoding_is_seen(source: str, lines: list[int]) -> None:
    assert list(unnamed_encodings(source)) == lines


# --- the whole chain --------------------------------------------------------------------------------------------------
SESSIONS, TESTED = 40, 11


def shuffled(raw: Path, to: Path) -> Path:
    """The delivery with the rows of every file in another order."""
    shutil.copytree(raw, to)
    for file in to.rglob("*.parquet"):
        pl.read_parquet(file, glob=False).sample(fraction=1.0, shuffle=True, seed=5).write_parquet(file)
    return to


def content(home: Path) -> dict[str, str]:
    """Digests of lake and models, and of the published rows."""
    settings = Settings(home=home, fsync=False)
    files = [path for root in (settings.lake, settings.models) for path in sorted(root.rglob("*")) if path.is_file()]
    digests = {str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    with connect(settings) as connection:
        views = connection.execute("SELECT viewname FROM pg_views WHERE schemaname = 'online' ORDER BY 1").fetchall()
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'online' ORDER BY 1").fetchall()
        for (name,) in (*views, *tables):
            rows = connection.execute(f"SELECT to_jsonb(held)::text FROM online.{name} AS held ORDER BY 1").fetchall()
            digests[name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return digests


def chain(home: Path, raw: Path, variables: dict[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """What a home holds and answers after a delivery, all features, a walk-forward and a night."""

    def run(*words: str) -> None:
        process = subprocess.run(
            [*FPM, *words],
            env=environment(home, FPM_FSYNC="false", FPM_PRESET="tiny", **variables),
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert process.returncode == 0, (words, process.stdout[-1500:], process.stderr[-3000:])

    days = sorted(path.stem for path in (raw / "minute_bars").glob("*.parquet"))
    try:
        run("ingest", str(raw), "--market", "cn")
        run("walk-forward", days[-TESTED], days[-1])
        run("backfill", "factor_returns", days[0], days[-1])
        run("nightly", "--session", days[-1])
        return content(home), answers(home, days[-1], variables)
    finally:
        stop_server(Settings(home=home))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory, fpm_command: Callable[..., Any]) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "delivery"
    made = fpm_command("simulate", str(folder), "--symbols", "10", "--sessions", str(SESSIONS), timeout=900)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def plain(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, Any]]:
    return chain(tmp_path_factory.mktemp("plain"), raw, PLAIN)


@pytest.mark.slow
def test_a_chain_leaves_the_same_bytes_in_another_environment(
    raw: Path, plain: tuple[dict[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    """Two workers, rows shuffled, another hash seed, time zone and locale."""
    other = chain(tmp_path / "home", shuffled(raw, tmp_path / "shuffled"), OTHER | {"FPM_WORKERS": "2"})
    assert len([name for name in plain[0] if name.startswith("lake/")]) > SESSIONS
    assert other == plain


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
def test_a_chain_leaves_the_same_bytes_on_ray(
    raw: Path, plain: tuple[dict[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    assert chain(tmp_path / "home", raw, ENVIRONMENTS[1] | {"FPM_WORKERS": "2", "FPM_ENGINE": "ray"}) == plain
