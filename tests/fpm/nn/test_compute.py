"""Where and how precisely a training computes: named refusals, low precision that keeps what must be exact."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fpm.errors import UsageError
from fpm.nn import checkpoint
from fpm.nn.compute import Compute, compute
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.pretraining import Pretrained, kept_apart, pretrain, samples
from fpm.nn.encoder.regularizers import penalties
from fpm.nn.fit import Watch, deterministic
from tests.fpm.nn.encoder.small_sessions import history, surveyed
from tests.fpm.nn.one_of_several import CONFIG, SHAPE

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
ROWS = history(days=14, symbols=13)


def trained(on: Compute, watch: Watch | None = None) -> Pretrained:
    chosen = split(sorted(set(ROWS.sessions)), CONFIG.validation_sessions, CONFIG.purge)
    return pretrain(surveyed(ROWS, samples(chosen, CONFIG)), chosen, ("l2_32", SHAPE, CONFIG), watch or Watch(), on)


def bits(of: Pretrained) -> bytes:
    return checkpoint.to_bytes(of.encoder.state_dict())


def alike(one: Pretrained, other: Pretrained, rel: float) -> None:
    for epoch, expected in zip(one.history, other.history, strict=True):
        for name in ("train/forward", "train/backward", "validation/forward", "validation/backward", "validation/loss"):
            assert epoch[name] == pytest.approx(expected[name], rel=rel), name


def test_a_device_that_is_not_there_is_named() -> None:
    assert compute() == Compute("cpu", "float32", False, 0)
    with pytest.raises(UsageError, match="no device 'tpu'"):
        compute("tpu")
    with pytest.raises(UsageError, match="precision 'float16'"):
        compute("cpu", "float16")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="cuda:0 is not there: 0 GPUs"):
            compute("cuda")


def test_low_precision_keeps_weights_and_losses_in_single_and_its_own_bits() -> None:
    low, single = trained(compute("cpu", "bfloat16")), trained(compute())
    assert {tensor.dtype for tensor in low.encoder.state_dict().values() if tensor.is_floating_point()} == {
        torch.float32
    }
    alike(low, single, rel=2e-2)
    assert low.history != single.history
    assert bits(low) == bits(trained(compute("cpu", "bfloat16")))


def test_penalties_are_in_single_precision_whatever_the_rest_is_in() -> None:
    z_BD = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        found = kept_apart(z_BD, "fixed")
    for name, expected in penalties(z_BD, "fixed").items():
        assert found[name].dtype == torch.float32 and torch.equal(found[name], expected)


def test_no_tf32_and_everything_is_put_back() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with deterministic(0):
            assert torch.get_float32_matmul_precision() == "highest"
            assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "high"
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_float32_matmul_precision("highest")


class Killed(Exception):
    pass


def kill(done: int, total: int, what: object) -> None:
    if str(what) == "epoch 2":
        raise Killed


@gpu
def test_a_gpu_learns_what_the_cpu_learns_and_repeats_itself() -> None:
    on = compute("cuda", "float32")
    alike(trained(on), trained(compute()), rel=1e-3)
    assert bits(trained(on)) == bits(trained(on))
    assert all(np.isfinite(value) for epoch in trained(compute("cuda")).history for value in epoch.values())
    alike(trained(compute("cuda")), trained(on), rel=2e-2)


@gpu
def test_compiled_blocks_learn_the_same() -> None:
    alike(trained(replace(compute("cuda", "float32"), compiled=True)), trained(compute("cuda", "float32")), rel=1e-3)


@gpu
@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_checkpoint_of_one_device_resumes_on_another(tmp_path: Path, first: str, then: str) -> None:
    with pytest.raises(Killed):
        trained(compute(first, "float32"), Watch(kill, tmp_path))
    resumed = trained(compute(then, "float32"), Watch(None, tmp_path))
    assert resumed.history[0] == pytest.approx(trained(compute(first, "float32")).history[0], rel=1e-6)
    alike(resumed, trained(compute()), rel=1e-3)
