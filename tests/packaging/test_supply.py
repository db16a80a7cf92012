"""`make sbom` and `make audit` where no package index answers: red, with a line that says what was not done.

Folders of tests with packages of their own are outside `make test`, whose environment has only the locks' packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY_LISTENS = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}


@pytest.mark.parametrize(
    ("what", "consequence"), [("sbom", "no bill of materials was written"), ("audit", "nothing was audited")]
)
def test_without_an_index_it_is_red_and_says_so(what: str, consequence: str, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        [ROOT / ".ci" / "supply", what, *([tmp_path / "bill"] if what == "sbom" else [])],
        env=variables | NOBODY_LISTENS | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(consequence)
    assert not (tmp_path / "bill").exists()


def test_make_test_leaves_out_the_folders_that_bring_packages_of_their_own() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    folders = {requirements.parent.name for requirements in (ROOT / "tests").glob("*/requirements.txt")}
    assert folders
    assert folders <= set(settings["norecursedirs"])
