"""The encoder's training on a real store does not depend on memory, later corrections, or number of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
import torch

from fpm.errors import StoreCorrupt, UsageError
from fpm.nn.checkpoint import to_bytes
from fpm.nn.encoder import pretraining
from fpm.nn.encoder.pretraining import PRESETS
from fpm.nn.fit import Watch
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores
from producers import encoder
from tests.producers.small_features import CN, SESSIONS, THROUGH, features, silent

ROOT = Path(__file__).parents[2]


def with_settings(stores: Stores, **changed: object) -> Stores:
    return replace(stores, settings=stores.settings.model_copy(update=changed))


def manifest(stores: Stores, vintage: str) -> dict[str, object]:
    return stores.models.load("encoder", vintage).manifest


@pytest.fixture
def small_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches of two sessions: the five training sessions are read in three stretches."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], mixed_rows=32))


@pytest.mark.usefixtures("small_stretches")
def test_inputs_and_weights_do_not_depend_on_the_memory(filled: Stores) -> None:
    budgets = [encoder._inputs(THROUGH, with_settings(filled, training_memory=m), silent) for m in (0.0, 1e-3, 2.0)]
    assert [len(inputs.history.cache) for inputs in budgets] == [0, 4, 6]  # 245,760 bytes a session
    assert len({inputs.digest for inputs in budgets}) == 1
    results = [pretraining.pretrain(inputs.history, inputs.split, inputs.recipe, Watch()) for inputs in budgets]
    assert len({to_bytes(result.encoder.state_dict()) for result in results}) == 1
    assert results[0].history == results[1].history == results[2].history


@pytest.mark.usefixtures("small_stretches")
def test_a_correction_during_the_training_changes_nothing(filled: Stores) -> None:
    streaming = with_settings(filled, training_memory=0.0)
    undisturbed = encoder._inputs(THROUGH, streaming, silent)
    read = [undisturbed.history.read(session).tobytes() for session in undisturbed.split.train]
    late = pl.lit(cut_off(CN, THROUGH) + timedelta(days=3)).alias("created_timestamp")
    for session in undisturbed.split.train:
        stored = filled.lake.decode(filled.lake.root / filled.lake.relative("minute_features", session))
        both = pl.concat([stored, stored.with_columns(pl.col("close") * 2, late)])
        publish_frames("minute_features", session, {"minute_features": both}, filled)
        assert streaming.read("minute_features", session)["close"].sum() != features(session)["close"].sum()
    assert [undisturbed.history.read(session).tobytes() for session in undisturbed.split.train] == read
    assert encoder._inputs(THROUGH, streaming, silent).digest == undisturbed.digest


@pytest.mark.usefixtures("small_stretches")
def test_history_rewritten_during_the_training_stops_it(filled: Stores) -> None:
    streaming = with_settings(filled, training_memory=0.0)

    def rewrite(done: int, total: int, item: object) -> None:
        for session in SESSIONS[:5] if done == 6 and str(item) == "epoch 2" else ():
            file = filled.lake.root / filled.lake.relative("minute_features", session)
            stored = filled.lake.decode(file).with_columns(pl.col("close") * 2)
            publish_frames("minute_features", session, {"minute_features": stored}, filled)

    with pytest.raises(StoreCorrupt, match=r"features of 2024-01-0. have changed"):
        encoder.train(THROUGH, streaming, rewrite)
    assert not filled.models.list("encoder")


def test_a_missing_device_trains_nothing(filled: Stores) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageError, match="no device cuda:0"):
        encoder.train(THROUGH, with_settings(filled, device="cuda"), silent)


def test_the_manifest_records_device_and_precision(filled: Stores) -> None:
    vintage = encoder.train(THROUGH, with_settings(filled, precision="bfloat16"), silent)
    assert manifest(filled, vintage)["compute"] == {"device": "cpu", "precision": "bfloat16"}
    assert manifest(filled, vintage)["rows"] == 6 * 16
    assert encoder.train(THROUGH, filled, silent) == vintage  # equal inputs, whatever the precision


def test_two_processes_save_one_vintage(filled: Stores) -> None:
    """`torchrun` runs the command line itself; the environment passes the settings of the test's deployment."""
    settings = filled.settings
    assert settings.database_url is not None
    environment = os.environ | {
        "FPM_HOME": str(settings.home),
        "FPM_PRESET": settings.preset,
        "FPM_FSYNC": "0",
        "OMP_NUM_THREADS": "1",
        "FPM_DATABASE_URL": settings.database_url.get_secret_value(),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = [
        "--local-ranks-filter",
        "0",
        "-m",
        "fpm.commands.cli",
        "train",
        "encoder",
        "--through",
        str(THROUGH),
        "--json",
    ]
    done = subprocess.run(
        [*command, *program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    (model,) = filled.models.list("encoder")
    assert done.stdout.count(model.id) == 1
    inputs = encoder._inputs(THROUGH, filled, silent)
    assert model.manifest["inputs"] == inputs.digest
    assert encoder.train(THROUGH, filled, silent) == model.id
