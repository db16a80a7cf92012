"""A vintage on a real store: what its manifest says, the space it lies in, and the canaries that guard it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from psycopg.types.json import Jsonb
from scipy.linalg import orthogonal_procrustes
from torch.nn import functional

from fpm.environment import environment_fingerprint
from fpm.errors import ModelRefused, StoreCorrupt
from fpm.features.minute_features import from_frame
from fpm.nn.checkpoint import from_bytes, to_bytes
from fpm.nn.encoder import canaries, pretraining
from fpm.nn.encoder import vintage as vintages
from fpm.nn.encoder.network import embed
from fpm.nn.fit import deterministic
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.models import Model
from fpm.store.ledger.stores import Stores
from producers import encoder, fingerprints
from tests.producers.small_features import CN, PROFILE, SERVED, SESSIONS, THROUGH, features, silent
from tests.producers.test_encoder import with_settings

LATER = SESSIONS[16]


def trained(stores: Stores, through: Any = THROUGH) -> Model:
    return stores.models.load("encoder", encoder.train(through, stores, silent))


def vectors(stores: Stores, vintage: str) -> np.ndarray:
    run_job(fingerprints, SERVED, stores.for_vintage(vintage))
    return stores.read("fingerprints", SERVED, vintage=vintage)["fingerprint"].to_numpy()


def raw(model: Model) -> np.ndarray:
    """The served session by the weights alone."""
    _, x_STF = from_frame(features(SERVED), PROFILE)
    with deterministic(0):
        return embed(pretraining.load(model.manifest, model.files()["weights.safetensors"]), x_STF)


def replaced(stores: Stores, model: Model, name: str, content: bytes) -> None:
    """Another file in a model's place, and its hash in the registry: the change no checksum shows."""
    (model.path / name).write_bytes(content)
    ((files,),) = stores.ledger.query("SELECT files FROM fpm.models WHERE id = %s", (model.id,))
    files = files | {name: sha256(content).hexdigest()}
    stores.ledger.execute("UPDATE fpm.models SET files = %s WHERE id = %s", (Jsonb(files), model.id))


# --- the manifest -------------------------------------------------------------------------------------------------


def test_the_manifest_says_all_that_the_weights_come_from(filled: Stores) -> None:
    model = trained(with_settings(filled, seed=3))
    said = json.loads((model.path / "manifest.json").read_text())
    assert said == model.manifest
    assert (said["profile"], said["profile_hash"]) == (PROFILE.name, filled.profile.hash)
    assert said["seed"] == pretraining.PRESETS["tiny"].fit.seed + 3 == said["pretraining"]["fit"]["seed"]
    assert said["versions"]["torch"] == torch.__version__ and said["versions"]["polars"] == pl.__version__
    assert set(said["versions"]) == {"python", "torch", "numpy", "polars", "safetensors", "fpm", "code"}
    assert set(said["machine"]) == {"architecture", "processor", "instructions"}
    assert said["environment"] == environment_fingerprint()
    assert said["compute"] == {"device": "cpu", "precision": "float32"}
    assert {"forward", "backward", "rank"} <= said["figures"].keys()
    assert said["alignment"] is None  # nothing came before it
    assert said["encoder"]["slots"] == 240 and asdict(pretraining.PRESETS["tiny"])["batch"] == 16


def test_the_manifest_knows_every_session_it_learnt_from(filled: Stores) -> None:
    model = trained(filled)
    told = json.loads((model.path / "data.json").read_text())
    assert list(told) == [str(each) for each in [*SESSIONS[:5], THROUGH]]
    assert {each["rows"] for each in told.values()} == {16}
    late = pl.lit(cut_off(CN, THROUGH) - timedelta(minutes=1)).alias("created_timestamp")
    changed = features(SESSIONS[2]).with_columns(pl.col("close") * 2, late)
    publish_frames("minute_features", SESSIONS[2], {"minute_features": changed}, filled)
    again = trained(filled)
    assert again.manifest["data"] != model.manifest["data"]
    digests = {day: each["sha256"] for day, each in json.loads((again.path / "data.json").read_text()).items()}
    assert [day for day in told if digests[day] != told[day]["sha256"]] == [str(SESSIONS[2])]


# --- the space ----------------------------------------------------------------------------------------------------


def test_a_later_vintage_keeps_its_rotation_onto_the_former(filled: Stores) -> None:
    former, later = trained(filled), trained(filled, LATER)
    said = later.manifest["alignment"]
    assert (said["onto"], said["applied"], said["rows"], said["judged"]) == (former.id, False, 10 * 16, 16)
    assert said["sessions"] == [str(SESSIONS[0]), str(SESSIONS[9]), 10]
    turn_DD = from_bytes(later.files()["rotation.safetensors"])["rotation"].numpy()
    assert np.allclose(turn_DD @ turn_DD.T, np.eye(128), atol=1e-10)
    rows = np.concatenate([from_frame(features(day), PROFILE)[1] for day in SESSIONS[:10]]).astype(np.float16)
    with deterministic(0):
        new, old = (
            embed(pretraining.load(each.manifest, each.files()["weights.safetensors"]), rows).astype(np.float64)
            for each in (later, former)
        )
    expected, _ = orthogonal_procrustes(new, old)
    assert np.linalg.norm(new @ turn_DD - old) <= np.linalg.norm(new @ expected - old) * (1 + 1e-9)
    turned = new @ turn_DD
    scale = (turned * old).sum() / np.square(turned).sum()
    assert said["residual_fitted"] == pytest.approx(np.linalg.norm(scale * turned - old) / np.linalg.norm(old), 1e-4)
    assert said["residual_fitted"] < said["residual"] < said["residual_unturned"] <= 1
    assert vectors(filled, later.id).tobytes() == raw(later).tobytes()  # stored as they are


def test_where_it_is_asked_for_a_vintage_lies_in_the_formers_space(filled: Stores) -> None:
    former, plain = trained(filled), trained(filled, LATER)
    turned = trained(with_settings(filled, align=True), LATER)
    assert turned.manifest["alignment"]["applied"] and turned.id != plain.id
    assert turned.files()["weights.safetensors"] == plain.files()["weights.safetensors"]
    turn_DD = from_bytes(turned.files()["rotation.safetensors"])["rotation"].numpy()
    stored, own = vectors(filled, turned.id), vectors(filled, plain.id)
    assert np.allclose(stored, own @ turn_DD, atol=1e-4) and not np.allclose(stored, own, atol=1e-2)
    assert np.allclose(stored @ stored.T, own @ own.T, rtol=1e-4, atol=1e-3)  # its own geometry
    target = vectors(filled, former.id)
    assert np.linalg.norm(stored - target) < np.linalg.norm(own - target)
    assert encoder.train(LATER, with_settings(filled, align=True), silent) == turned.id  # learnt once
    assert encoder.train(LATER, filled, silent) == plain.id


def test_another_rotation_is_another_vintage() -> None:
    weights, turns = b"weights", [to_bytes({"rotation": torch.eye(2) * sign}) for sign in (1, -1)]
    assert len({vintages.content(weights, turn) for turn in (None, *turns)}) == 3
    assert vintages.content(weights, None) == sha256(weights).hexdigest()  # as every vintage was named before


def test_a_rotated_vintage_without_its_rotation_is_not_loaded(filled: Stores) -> None:
    trained(filled)
    turned = trained(with_settings(filled, align=True), LATER)
    with pytest.raises(ModelRefused, match="rotation is not there"):
        vintages.load(turned.manifest, {"weights.safetensors": turned.files()["weights.safetensors"]})


def test_a_former_vintage_that_the_code_cannot_read_costs_no_training(filled: Stores) -> None:
    former = trained(filled)
    smaller = from_bytes(former.files()["weights.safetensors"])
    smaller.pop("mask_D")
    replaced(filled, former, "weights.safetensors", to_bytes(smaller))
    steps: list[object] = []
    with pytest.raises(ModelRefused, match="do not fit the model at mask_D"):
        encoder.train(LATER, with_settings(filled, align=True), lambda done, total, what: steps.append(what))
    assert not steps  # nothing was even read
    assert trained(filled, LATER).manifest["alignment"] is None


# --- canaries -----------------------------------------------------------------------------------------------------


def test_canaries_are_symbol_sessions_that_were_held_out(filled: Stores) -> None:
    model = trained(filled)
    named, stored = model.manifest["canaries"], from_bytes(model.files()["canaries.safetensors"])
    assert len(named) == canaries.COUNT == 16
    symbols, x_STF = from_frame(features(THROUGH), PROFILE)
    halves = dict(zip(symbols, x_STF.astype(np.float16), strict=True))
    for i, each in enumerate(named):
        assert each["session"] == str(THROUGH)
        assert stored["features"][i].numpy().tobytes() == halves[each["symbol"]].tobytes()
        assert each["features"] == sha256(halves[each["symbol"]].tobytes()).hexdigest()
    loaded = pretraining.load(model.manifest, model.files()["weights.safetensors"])
    with deterministic(0):
        assert embed(loaded, stored["features"].numpy()).tobytes() == stored["fingerprints"].numpy().tobytes()


def test_a_corrected_canary_session_raises_no_alarm(filled: Stores) -> None:
    model = trained(filled)
    changed = features(THROUGH).with_columns(pl.col("close") * 2)
    publish_frames("minute_features", THROUGH, {"minute_features": changed}, filled)
    assert len(vectors(filled, model.id)) == 15


def test_tampered_weights_are_refused_whether_or_not_the_registry_knows(filled: Stores) -> None:
    model = trained(filled)
    weights = from_bytes(model.files()["weights.safetensors"])
    name = next(name for name in weights if name.endswith("hidden.0.weight"))
    weights[name][0, 0] += 0.01
    (model.path / "weights.safetensors").write_bytes(to_bytes(weights))
    with pytest.raises(StoreCorrupt, match=r"FPM-ML-310|not the file that was registered"):
        vectors(filled, model.id)
    replaced(filled, model, "weights.safetensors", to_bytes(weights))
    with pytest.raises(ModelRefused, match=r"canaries otherwise.*no bit may differ") as refused:
        vectors(filled, model.id)
    assert "no library changed version" in str(refused.value)
    assert not filled.sessions("fingerprints", model.id)  # nothing was written


def in_double(attend: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The same attention another way through torch: its last bits are others."""

    def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, is_causal: bool) -> torch.Tensor:
        return attend(q.double(), k.double(), v.double(), is_causal=is_causal).float()

    return attended


def test_another_way_through_torch_is_refused_here_and_allowed_on_another_processor(
    filled: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(filled)
    straight = raw(model)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", in_double(functional.scaled_dot_product_attention))
    with pytest.raises(ModelRefused, match="no bit may differ"):
        vectors(filled, model.id)
    elsewhere = model.manifest | {"machine": model.manifest["machine"] | {"instructions": "SVE"}}
    filled.ledger.execute("UPDATE fpm.models SET manifest = %s WHERE id = %s", (Jsonb(elsewhere), model.id))
    stored = vectors(filled, model.id)
    assert stored.tobytes() != straight.tobytes() and np.allclose(stored, straight, atol=1e-4)
    monkeypatch.setattr(canaries, "TOLERANCE", 1e-12)
    with pytest.raises(ModelRefused, match="allowed on another processor"):
        canaries.check(model.id, vintages.load(elsewhere, model.files()), elsewhere, model.files())


def test_a_library_that_changed_is_named(filled: Stores) -> None:
    model = trained(filled)
    files, older = model.files(), model.manifest["versions"] | {"torch": "1.0"}
    canary = from_bytes(files["canaries.safetensors"])
    canary["fingerprints"][3] += 1e-3
    wrong = files | {"canaries.safetensors": to_bytes(canary)}
    named = model.manifest["canaries"][3]
    with pytest.raises(ModelRefused, match=f"1 of 16.*{named['symbol']}.*torch 1.0, now {torch.__version__[:3]}"):
        canaries.check("v", vintages.load(model.manifest, files), model.manifest | {"versions": older}, wrong)
    with pytest.raises(ModelRefused, match="lost its canaries"):
        canaries.check("v", vintages.load(model.manifest, files), model.manifest, {})


def test_a_vintage_from_before_there_were_canaries_still_serves(filled: Stores) -> None:
    model = trained(filled)
    plain = {name: said for name, said in model.manifest.items() if name not in ("canaries", "machine", "alignment")}
    filled.ledger.execute("UPDATE fpm.models SET manifest = %s WHERE id = %s", (Jsonb(plain), model.id))
    (model.path / "canaries.safetensors").unlink()
    filled.ledger.execute("UPDATE fpm.models SET files = files - 'canaries.safetensors' WHERE id = %s", (model.id,))
    assert len(vectors(filled, model.id)) == 15
