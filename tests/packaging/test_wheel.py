"""The wheel runs without the checkout: from an empty folder, as root and as an ordinary user.

Its environment sees the locked packages of this one, which saves minutes; `make release-check` installs them again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("fpm", "producers", "consumers", "feature_repo", "migrations")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
NOBODY = 65534
# The right to read the checkout's environment, wherever it lies, and no other right of root.
READING = "+dac_read_search"
ORDINARY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
ORDINARY += [f"--inh-caps={READING}", f"--ambient-caps={READING}"]


def run(command: Sequence[str | Path], folder: Path, seconds: int = 120) -> str:
    """What a command says, run in a folder with nothing of the caller's environment but the programs of the system."""
    environment = {"HOME": str(folder), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources: nothing that an earlier build left in the checkout can be in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    run([*pip, "--wheel-dir", out, source], source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """The programs of an environment that holds the wheel; pip finds its requirements among the locked packages."""
    home = Path(tempfile.mkdtemp())  # pytest's folders are closed to other users, and Alembic asks `os.access`
    home.chmod(0o755)
    venv.create(home, symlinks=True)
    programs = home / "bin"
    own = run([programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], home).strip()
    # A bare path: the .pth files in the folder it names, the editable checkout's too, are not read.
    (Path(own) / "locked.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    pip: list[str | Path] = [programs / "python", "-m", "pip", "install", "--quiet", "--no-index"]
    run([*pip, "--no-deps", "--ignore-installed", wheel], home)
    run([*pip, wheel], home)
    yield programs
    shutil.rmtree(home)


@pytest.fixture(params=["caller", "ordinary"])
def user(request: pytest.FixtureRequest) -> list[str]:
    """Words before a command that say who runs it."""
    if request.param == "caller":
        return []
    if os.geteuid() != 0:
        pytest.skip("the caller is an ordinary user")
    if not shutil.which("setpriv") or subprocess.run([*ORDINARY, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no setpriv, or forbids it to leave root")
    return ORDINARY


@pytest.fixture
def folder(tmp_path: Path, user: list[str], installed: Path) -> Iterator[Path]:
    """An empty folder of the user's; the database that a command starts in it is stopped at the end."""
    if user:
        os.chown(tmp_path, NOBODY, NOBODY)
    yield tmp_path
    run([*user, installed / "fpm", "stop"], tmp_path)


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    sources = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == sources
    assert {"fpm/py.typed", "fpm/report/page.css", "feature_repo/feature_store.yaml"} <= packed
    assert {"fpm/report/report.html.j2", "migrations/env.py", "migrations/versions/0001_ledger.py"} <= packed


def test_the_packages_are_the_wheels(installed: Path, tmp_path: Path) -> None:
    names = ", ".join(PACKAGES)
    code = f"import {names}\nfor each in ({names}): print([*each.__path__][0])"
    paths = run([installed / "python", "-c", code], tmp_path).split()
    assert len(paths) == len(PACKAGES) and all(Path(path).is_relative_to(installed.parent) for path in paths)


def test_its_commands_run_in_an_empty_folder(installed: Path, user: list[str], folder: Path) -> None:
    def fpm(*words: str) -> str:
        return run([*user, installed / "fpm", *words], folder)

    assert VERSION in fpm("--version")
    assert "walk-forward" in fpm("--help")
    assert "minute_features" in fpm("jobs")
    fpm("simulate", "raw", "--symbols", "3", "--sessions", "3")
    assert list((folder / "raw" / "minute_bars").glob("*.parquet"))
    fpm("setup", "--market", "cn", "--preset", "tiny")
    assert (folder / ".fpm").stat().st_uid == (NOBODY if user else os.geteuid())
    fpm("ingest", "raw", "--market", "cn")
    assert "bars" in fpm("status")
