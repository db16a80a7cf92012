"""Proof of value, and of honesty: on an exchange whose answer is known the chain finds most of it, and finds nothing
where there is nothing. The whole chain runs, from raw files to evaluated out-of-sample scores."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings

SIZE = ("--symbols", "100", "--sessions", "130", "--preset", "demo")
LEAST_SHARE = 0.6


def rank_ic(home: Path, *options: str) -> dict[str, dict[str, Any]]:
    """The demonstration's RankIC lines by stream."""
    environment = {**os.environ, "FPM_HOME": str(home), "OMP_NUM_THREADS": "1", "FPM_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "fpm.commands.cli", "demo", *SIZE, *options, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    stop_server(Settings(home=home))
    assert done.returncode == 0, done.stderr[-3000:]
    return {line["stream"]: line for line in json.loads(done.stdout)["rank_ic"]}


def test_most_of_the_known_answer_is_found_out_of_sample(tmp_path: Path) -> None:
    found = rank_ic(tmp_path)
    assert found["fingerprint"]["share"] >= LEAST_SHARE, found["fingerprint"]
    assert found["dual"]["share"] >= LEAST_SHARE, found["dual"]
    assert found["dual"]["rank_ic"] > found["traditional"]["rank_ic"]


@pytest.mark.parametrize("stream", ["fingerprint", "traditional", "dual"])
def test_nothing_is_found_where_there_is_nothing(stream: str, without_signal: dict[str, dict[str, Any]]) -> None:
    line = without_signal[stream]
    assert abs(line["rank_ic"]) <= line["null_band"], line


@pytest.fixture(scope="module")
def without_signal(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return rank_ic(tmp_path_factory.mktemp("silent"), "--no-signal")
