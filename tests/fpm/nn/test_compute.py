"""Device and precision of a training: refusals by name, and what low precision must leave in single precision."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fpm.errors import UsageError
from fpm.nn import checkpoint
from fpm.nn.compute import Compute, compute_on
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.pretraining import PretrainingResult, Recipe, batch_penalties, pretrain, samples
from fpm.nn.encoder.regularizers import penalties
from fpm.nn.fit import Watch, deterministic
from tests.fpm.nn.encoder.small_sessions import history_of, symbol_sessions
from tests.fpm.nn.short_training import CONFIG, SHAPE

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
ROWS = symbol_sessions(days=14, symbols=13)


def train(compute: Compute, watch: Watch | None = None) -> PretrainingResult:
    parts = split(sorted(set(ROWS.sessions)), CONFIG.validation_sessions, CONFIG.purge)
    history = history_of(ROWS, samples(parts, CONFIG))
    return pretrain(history, parts, Recipe("l2_32", SHAPE, CONFIG), watch or Watch(), compute)


def weight_bytes(result: PretrainingResult) -> bytes:
    return checkpoint.to_bytes(result.encoder.state_dict())


def assert_alike(one: PretrainingResult, other: PretrainingResult, rel: float) -> None:
    for epoch, expected in zip(one.history, other.history, strict=True):
        for name in ("train/forward", "train/backward", "validation/forward", "validation/backward", "validation/loss"):
            assert epoch[name] == pytest.approx(expected[name], rel=rel), name


def test_a_missing_device_is_named() -> None:
    assert compute_on() == Compute("cpu", "float32", False, 0)
    with pytest.raises(UsageError, match="no device 'tpu'"):
        compute_on("tpu")
    with pytest.raises(UsageError, match="precision 'float16'"):
        compute_on("cpu", "float16")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no device cuda:0: 0 GPUs"):
            compute_on("cuda")


def test_low_precision_keeps_weights_and_losses_in_single_and_its_own_bits() -> None:
    low, single = train(compute_on("cpu", "bfloat16")), train(compute_on())
    assert {tensor.dtype for tensor in low.encoder.state_dict().values() if tensor.is_floating_point()} == {
        torch.float32
    }
    assert_alike(low, single, rel=2e-2)
    assert low.history != single.history
    assert weight_bytes(low) == weight_bytes(train(compute_on("cpu", "bfloat16")))


def test_penalties_are_in_single_precision_under_autocast() -> None:
    z_BD = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        penalty = batch_penalties(z_BD, "fixed")
    for name, expected in penalties(z_BD, "fixed").items():
        assert penalty[name].dtype == torch.float32 and torch.equal(penalty[name], expected)


def test_no_tf32_and_all_settings_return() -> None:
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


def kill(done: int, total: int, item: object) -> None:
    if str(item) == "epoch 2":
        raise Killed


@gpu
def test_a_gpu_learns_what_the_cpu_learns_and_repeats_itself() -> None:
    single = compute_on("cuda", "float32")
    assert_alike(train(single), train(compute_on()), rel=1e-3)
    assert weight_bytes(train(single)) == weight_bytes(train(single))
    assert all(np.isfinite(value) for epoch in train(compute_on("cuda")).history for value in epoch.values())
    assert_alike(train(compute_on("cuda")), train(single), rel=2e-2)


@gpu
def test_compiled_blocks_learn_the_same() -> None:
    assert_alike(
        train(replace(compute_on("cuda", "float32"), compiled=True)), train(compute_on("cuda", "float32")), rel=1e-3
    )


@gpu
@pytest.mark.parametrize(("first", "then"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_checkpoint_of_one_device_resumes_on_another(tmp_path: Path, first: str, then: str) -> None:
    with pytest.raises(Killed):
        train(compute_on(first, "float32"), Watch(kill, tmp_path))
    resumed = train(compute_on(then, "float32"), Watch(None, tmp_path))
    assert resumed.history[0] == pytest.approx(train(compute_on(first, "float32")).history[0], rel=1e-6)
    assert_alike(resumed, train(compute_on()), rel=1e-3)
