"""The encoder's training and the fingerprints job on a real store.

One file for two modules: a fingerprint needs a vintage, and its fingerprints show whether a vintage is sound.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from fpm.errors import ModelRefused, StoreCorrupt, TryLater
from fpm.nn.checkpoint import to_bytes
from fpm.nn.encoder import pretraining
from fpm.nn.encoder.network import embed
from fpm.nn.encoder.vintage import Vintage
from fpm.nn.fit import Watch, deterministic
from fpm.sessions import close, cut_off, sessions_between
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from producers import encoder, fingerprints
from tests.fpm.nn.encoder.small_sessions import random_sessions
from tests.producers.small_features import CN, PROFILE, SERVED, SESSIONS, SYMBOLS, THROUGH, features, silent


def read(stores: Stores, session: date, vintage: str) -> pl.DataFrame:
    return stores.read("fingerprints", session, vintage=vintage)


def test_a_vintage_serves_the_sessions_after_its_purge(filled: Stores) -> None:
    vintage = encoder.train(THROUGH, filled, silent)
    model = filled.models.load("encoder", vintage)
    assert vintage.startswith(f"{filled.profile.hash[:6]}-{THROUGH:%Y%m%d}-")
    assert (model.status, model.born, model.through) == ("promoted", cut_off(CN, THROUGH), THROUGH)
    assert model.manifest["folds"] == {
        "train": [str(SESSIONS[0]), str(SESSIONS[4]), 5],  # 12 sessions less 6 purged and 1 held out
        "validation": [str(THROUGH), str(THROUGH), 1],
    }
    assert {"forward", "backward", "rank"} <= model.manifest["figures"].keys()
    assert len(model.manifest["history"]) == pretraining.PRESETS["tiny"].fit.epochs
    run_job(fingerprints, SERVED, filled)
    stored = read(filled, SERVED, vintage)
    assert stored["symbol"].to_list() == SYMBOLS[:-1]  # no features, no fingerprint
    assert stored["vintage"].unique().to_list() == [vintage]
    assert stored["event_timestamp"].unique().to_list() == [close(CN, SERVED)]
    assert stored["created_timestamp"].unique().to_list() == [cut_off(CN, SERVED)]
    loaded = pretraining.load(model.manifest, (model.path / "weights.safetensors").read_bytes())
    with deterministic(0):  # one thread: with two, a product is summed in another order
        alone = embed(loaded, random_sessions(len(SYMBOLS), SERVED.toordinal(), slots=240).x_NTF[3:4])
    assert stored["fingerprint"].to_numpy()[3].tobytes() == alone[0].tobytes()


def test_older_sessions_under_a_vintage_are_known_from_its_birth(filled: Stores) -> None:
    vintage = encoder.train(THROUGH, filled, silent)
    run_job(fingerprints, SESSIONS[3], filled.for_vintage(vintage))
    assert read(filled, SESSIONS[3], vintage)["created_timestamp"].unique().to_list() == [cut_off(CN, THROUGH)]
    with pytest.raises(TryLater):  # and it serves none of them as out of sample
        run_job(fingerprints, SESSIONS[12], filled)


def test_equal_inputs_train_once_and_later_sessions_change_nothing(filled: Stores) -> None:
    vintage = encoder.train(THROUGH, filled, silent)
    changed = features(SESSIONS[12]).with_columns(pl.col("close") * 2)
    publish_frames("minute_features", SESSIONS[12], {"minute_features": changed}, filled)
    assert encoder.train(THROUGH, filled, silent) == vintage
    assert [model.id for model in filled.models.list("encoder")] == [vintage]
    assert encoder.train(SESSIONS[13], filled, silent) != vintage


class Killed(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_vintage(filled: Stores) -> None:
    def kill(done: int, total: int, item: object) -> None:
        if str(item) == "epoch 2":
            raise Killed

    with pytest.raises(Killed):
        encoder.train(THROUGH, filled, kill)
    checkpoints = list((filled.settings.models / ".training").iterdir())
    torch.manual_seed(8)
    steps: list[str] = []
    vintage = encoder.train(THROUGH, filled, lambda done, total, item: steps.append(str(item)))
    assert len(checkpoints) == 1 and not checkpoints[0].exists()  # removed at the end
    assert "epoch 1" not in steps and "epoch 2" in steps
    resumed = (filled.models.load("encoder", vintage).path / "weights.safetensors").read_bytes()
    inputs = encoder._inputs(THROUGH, filled, silent)
    undisturbed = pretraining.pretrain(inputs.history, inputs.split, inputs.recipe, Watch())
    assert to_bytes(undisturbed.encoder.state_dict()) == resumed


def test_too_short_a_history_says_so(filled: Stores) -> None:
    with pytest.raises(TryLater, match="leave none to train on"):
        encoder.train(SESSIONS[6], filled, silent)
    assert not filled.models.list("encoder")


def test_a_collapsed_encoder_is_saved_as_refused_and_the_one_in_force_stays(filled: Stores) -> None:
    vintage = encoder.train(THROUGH, filled, silent)
    flat = [pl.lit(0.0, dtype=pl.Float32).alias(name) for name in PROFILE.features]
    later = sessions_between(CN, SESSIONS[-1] + timedelta(days=1), SESSIONS[-1] + timedelta(days=90))
    for session in (*SESSIONS, *later[:3]):
        publish_frames("minute_features", session, {"minute_features": features(session).with_columns(flat)}, filled)
    for _ in range(2):  # the second time without training
        with pytest.raises(ModelRefused, match="collapsed"):
            encoder.train(later[2], filled, silent)
    assert [(model.id == vintage, model.status) for model in filled.models.list("encoder")] == [
        (True, "promoted"),
        (False, "refused"),
    ]
    assert filled.models.in_force("encoder", later[20]).id == vintage


def test_another_profile_and_damaged_weights_are_refused(filled: Stores, tmp_path: Path) -> None:
    vintage = encoder.train(THROUGH, filled, silent)
    model = filled.models.load("encoder", vintage)
    other = model.manifest | {"profile_hash": "0" * 12}
    weights = (model.path / "weights.safetensors").read_bytes()
    filled.models.save("encoder", "other", {"weights.safetensors": weights}, other, model.born, THROUGH, "promoted")
    with pytest.raises(ModelRefused, match="trained on profile"):
        run_job(fingerprints, SERVED, filled.for_vintage("other"))
    (model.path / "weights.safetensors").write_bytes(weights[:-1] + b"x")
    with pytest.raises(StoreCorrupt):
        run_job(fingerprints, SERVED, filled.for_vintage(vintage))
    assert not filled.sessions("fingerprints", vintage)


def test_a_symbols_fingerprint_does_not_depend_on_the_other_symbols(filled: Stores) -> None:
    vintage = encoder.train(THROUGH, filled, silent)
    model = filled.models.load("encoder", vintage)
    loaded = pretraining.load(model.manifest, (model.path / "weights.safetensors").read_bytes())
    x_STF = random_sessions(len(SYMBOLS), SERVED.toordinal(), slots=240).x_NTF
    alone = fingerprints.fingerprints(Vintage(loaded), ("A",), x_STF[5:6], vintage)
    among = fingerprints.fingerprints(Vintage(loaded), tuple(SYMBOLS), x_STF, vintage)
    assert alone["fingerprint"].to_numpy().tobytes() == among["fingerprint"].to_numpy()[5].tobytes()
    assert fingerprints.fingerprints(Vintage(loaded), (), np.empty((0, 240, 32), np.float32), vintage).is_empty()
