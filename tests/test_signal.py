"""Proof of value and of honesty: the chain finds most of a known signal, and nothing where there is none.

The whole chain runs, from raw files to evaluated out-of-sample scores.
"""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings

SIZE = ("--symbols", "100", "--sessions", "130", "--preset", "demo")
LEAST_SHARE = 0.6


Lines = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def rank_ic(
    fpm_command: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Lines]:
    """`rank_ic(*options)`: the demonstration's RankIC lines by stream."""

    def demonstrate(*options: str) -> Lines:
        home = tmp_path_factory.mktemp("demonstration")
        variables = {"FPM_HOME": str(home), "FPM_LOG_LEVEL": "warning"}
        process = fpm_command("demo", *SIZE, *options, "--json", timeout=1500, **variables)
        stop_server(Settings(home=home))
        assert process.returncode == 0, process.stderr[-3000:]
        return {line["stream"]: line for line in json.loads(process.stdout)["rank_ic"]}

    return demonstrate


def test_the_chain_finds_most_of_the_known_signal_out_of_sample(rank_ic: Callable[..., Lines]) -> None:
    lines = rank_ic()
    assert lines["fingerprint"]["share"] >= LEAST_SHARE, lines["fingerprint"]
    assert lines["dual"]["share"] >= LEAST_SHARE, lines["dual"]
    assert lines["dual"]["rank_ic"] > lines["traditional"]["rank_ic"]


@pytest.fixture(scope="module")
def without_signal(rank_ic: Callable[..., Lines]) -> Lines:
    return rank_ic("--no-signal")


@pytest.mark.parametrize("stream", ["fingerprint", "traditional", "dual"])
def test_the_chain_finds_nothing_without_a_signal(stream: str, without_signal: Lines) -> None:
    line = without_signal[stream]
    assert abs(line["rank_ic"]) <= line["null_band"], line
