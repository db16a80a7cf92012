"""Two processes train what one trains, up to rounding; and a process that dies takes the others along."""

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
from fpm.nn.encoder.pretraining import Pretrained
from tests.fpm.nn.one_of_several import trained

ROOT = Path(__file__).parents[3]
PROGRAM = ("-m", "tests.fpm.nn.one_of_several")


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def together(out: Path, *arguments: str, processes: int = 2) -> list[tuple[int, str]]:
    """Exit code and error output of each process; what torchrun would set is set by hand, nobody watches over them."""
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
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    return [(code, said) for said, code in ends]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes wrote what they learnt."""
    out = tmp_path_factory.mktemp("two")
    assert together(out) == [(0, ""), (0, "")]
    return out


@cache
def alone() -> Pretrained:
    return trained(None)


def test_alone_nothing_is_summed_gathered_or_drawn_otherwise() -> None:
    own = torch.randn(4, 3, requires_grad=True)
    assert distributed.gathered(own) is own and distributed.summed(own) is own
    assert (distributed.rank(), distributed.processes(), distributed.whole(7)) == (0, 1, 7)
    torch.manual_seed(3)
    drawn = distributed.drawn(4, 5)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4, 5))
    assert distributed.from_all([1, 2]) == [1, 2] and distributed.from_first(lambda: "x") == "x"


def test_two_processes_learn_what_one_learns(undisturbed: Path) -> None:
    written = [(undisturbed / f"{rank}.safetensors").read_bytes() for rank in range(2)]
    assert written[0] == written[1]
    history = json.loads((undisturbed / "0.json").read_text())
    assert history == json.loads((undisturbed / "1.json").read_text())
    for epoch, expected in zip(history, alone().history, strict=True):
        assert epoch == pytest.approx(expected, rel=1e-4, abs=1e-5)
        for name in ("train/loss", "validation/loss", "train/forward_baseline", "validation/backward_baseline"):
            assert epoch[name] == pytest.approx(expected[name], rel=1e-5)
    weights, expected = from_bytes(written[0]), alone().encoder.state_dict()
    apart = np.concatenate([(weights[name] - expected[name]).abs().flatten() for name in weights])
    assert apart.max() < 1e-4  # a step moves a weight by up to 1e-3, ten of them were made
    assert len(list((undisturbed / "checkpoint").iterdir())) == 1


def test_a_process_that_dies_ends_the_others_by_name_and_all_resume(tmp_path: Path, undisturbed: Path) -> None:
    (survivor, said), (dead, _) = together(tmp_path, "--dies", "4")  # in the second epoch
    assert (survivor, dead) == (1, 9)
    assert "FPM-ML-081" in said and "another process of this training has ended" in said
    assert (tmp_path / "checkpoint").is_dir() and not list(tmp_path.glob("*.json"))
    assert together(tmp_path) == [(0, ""), (0, "")]
    assert (tmp_path / "0.safetensors").read_bytes() == (undisturbed / "0.safetensors").read_bytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_process_on_a_gpu_learns_over_nccl_what_it_learns_alone(tmp_path: Path) -> None:
    assert together(tmp_path, "--device", "cuda", processes=1) == [(0, "")]
    found = json.loads((tmp_path / "0.json").read_text())
    for epoch, expected in zip(found, alone().history, strict=True):
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
    )
    assert refused.returncode != 0
    assert "cannot be shared evenly by 3 processes" in refused.stderr
