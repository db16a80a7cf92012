"""Two processes train what one process trains, up to rounding; one that dies ends the others."""

import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from fpm.nn import distributed
from fpm.nn.checkpoint import from_bytes
from fpm.nn.encoder.pretraining import PretrainingResult
from tests.fpm.nn.short_training import train

ROOT = Path(__file__).parents[3]
PROGRAM = ("-m", "tests.fpm.nn.short_training")


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def run_processes(out: Path, *arguments: str, processes: int = 2) -> list[tuple[int, str]]:
    """Exit code and error output of each process; they run without torchrun, in the environment that it would set."""
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "WORLD_SIZE": str(processes),
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    running = [
        subprocess.Popen(
            [sys.executable, *PROGRAM, str(out), *arguments],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    return [(process.returncode, error) for process, error in zip(running, errors, strict=True)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the results of two processes."""
    out = tmp_path_factory.mktemp("two")
    assert run_processes(out) == [(0, ""), (0, "")]
    return out


@cache
def alone() -> PretrainingResult:
    return train(None)


def test_a_single_process_sums_gathers_and_draws_as_usual() -> None:
    own = torch.randn(4, 3, requires_grad=True)
    assert distributed.batch_vectors(own) is own and distributed.batch_sum(own) is own
    assert (distributed.rank(), distributed.processes(), distributed.batch_rows(7)) == (0, 1, 7)
    torch.manual_seed(3)
    numbers = distributed.uniform(4, 5)
    torch.manual_seed(3)
    assert torch.equal(numbers, torch.rand(4, 5))
    assert distributed.from_all([1, 2]) == [1, 2] and distributed.from_first(lambda: "x") == "x"


def test_two_processes_learn_what_one_learns(undisturbed: Path) -> None:
    stored = [(undisturbed / f"{rank}.safetensors").read_bytes() for rank in range(2)]
    assert stored[0] == stored[1]
    history = json.loads((undisturbed / "0.json").read_text())
    assert history == json.loads((undisturbed / "1.json").read_text())
    for epoch, expected in zip(history, alone().history, strict=True):
        assert epoch == pytest.approx(expected, rel=1e-4, abs=1e-5)
        for name in ("train/loss", "validation/loss", "train/forward_baseline", "validation/backward_baseline"):
            assert epoch[name] == pytest.approx(expected[name], rel=1e-5)
    weights, expected = from_bytes(stored[0]), alone().encoder.state_dict()
    difference = np.concatenate([(weights[name] - expected[name]).abs().flatten() for name in weights])
    assert difference.max() < 1e-4  # each of ten steps moves a weight by up to 1e-3
    assert len(list((undisturbed / "checkpoint").iterdir())) == 1


def test_a_process_that_dies_ends_the_others_by_name_and_all_resume(tmp_path: Path, undisturbed: Path) -> None:
    (survivor, error), (dead, _) = run_processes(tmp_path, "--dies", "4")  # in the second epoch
    assert (survivor, dead) == (1, 9)
    assert "FPM-ML-081" in error and "another process of this training has ended" in error
    assert (tmp_path / "checkpoint").is_dir() and not list(tmp_path.glob("*.json"))
    assert run_processes(tmp_path) == [(0, ""), (0, "")]
    assert (tmp_path / "0.safetensors").read_bytes() == (undisturbed / "0.safetensors").read_bytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_process_on_a_gpu_learns_over_nccl_what_it_learns_alone(tmp_path: Path) -> None:
    assert run_processes(tmp_path, "--device", "cuda", processes=1) == [(0, "")]
    history = json.loads((tmp_path / "0.json").read_text())
    for epoch, expected in zip(history, alone().history, strict=True):
        assert epoch["validation/loss"] == pytest.approx(expected["validation/loss"], rel=1e-3)


def test_torchrun_starts_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    refused = subprocess.run(
        [*command, *PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert refused.returncode != 0
    assert "cannot be shared evenly by 3 processes" in refused.stderr
