"""`fpm connection --feast`: Feast's own entry and command, in a process that knows nothing else of fpm's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings
from tests.shell import FPM, bash, environment
from tests.small_home import published_home

READ = """
from feast import FeatureStore
import feature_repo
store = FeatureStore(repo_path=list(feature_repo.__path__)[0])
row = {"symbol": "600000.SH", "stream": "dual"}
print(store.get_online_features(features=["scores:score"], entity_rows=[row]).to_dict()["score"])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = published_home(tmp_path_factory.mktemp("a folder with a rather long name " + 120 * "x"))
    yield settings
    stop_server(settings)


@pytest.mark.slow  # four processes import Feast, 5 s each
@pytest.mark.parametrize("role", ["reader", "producer"])
def test_feast_itself_reads_with_the_variables_and_no_password_is_in_them(home: Settings, role: str) -> None:
    script = f'variables=$(fpm connection --feast --role {role})\neval "$variables"\necho "$variables"\n'
    printed = bash(f"{script}unset FPM_HOME\npython -c '{READ}'\nfeast feature-views list", home.home, home.home)
    secrets = [file.read_text().strip().rpartition(":")[2] for file in home.pg.glob("*pass*")]
    assert not [secret for secret in secrets if secret in printed]
    assert "\n[0." in printed or "\n[-" in printed
    assert "fingerprints" in printed.split("ENTITIES")[1], "the `feast` command lists the views"


def test_no_line_with_an_address_is_wrapped(home: Settings) -> None:
    answer = subprocess.run(
        [*FPM, "connection"], env=environment(home.home, COLUMNS="40"), capture_output=True, text=True, check=True
    )
    lines = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines())
    assert lines["url"].startswith("postgresql://fpm_reader@/fpm?") and "port=5432" in lines["url"]
    assert Path(lines["password_file"]) == home.pg / "reader.pgpass"
    assert lines["connections"] == "at most 30 at once"


def test_the_owner_is_refused(home: Settings) -> None:
    command = [sys.executable, "-m", "fpm", "connection", "--feast", "--role", "owner"]
    answer = subprocess.run(command, env=environment(home.home), capture_output=True, text=True, check=False)
    assert answer.returncode == 2 and "FPM-CFG-087" in answer.stderr
