"""A vintage on a real store: its manifest, its space, and the canaries that guard it."""

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
from fpm.nn.encoder import canaries, pretraining, vintage
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


def vectors(stores: Stores, vintage_id: str) -> np.ndarray:
    run_job(fingerprints, SERVED, stores.for_vintage(vintage_id))
    return stores.read("fingerprints", SERVED, vintage=vintage_id)["fingerprint"].to_numpy()


def weights_only(model: Model) -> np.ndarray:
    """The served session's vectors by the weights alone, without a rotation."""
    _, x_STF = from_frame(features(SERVED), PROFILE)
    with deterministic(0):
        return embed(pretraining.load(model.manifest, model.files()["weights.safetensors"]), x_STF)


def replace_file(stores: Stores, model: Model, name: str, content: bytes) -> None:
    """Replace a model's file and its hash in the registry, so that no checksum shows the change."""
    (model.path / name).write_bytes(content)
    ((files,),) = stores.ledger.query("SELECT files FROM fpm.models WHERE id = %s", (model.id,))
    files = files | {name: sha256(content).hexdigest()}
    stores.ledger.execute("UPDATE fpm.models SET files = %s WHERE id = %s", (Jsonb(files), model.id))


# --- the manifest -------------------------------------------------------------------------------------------------


def test_the_manifest_records_the_origin_of_the_weights(filled: Stores) -> None:
    model = trained(with_settings(filled, seed=3))
    manifest = json.loads((model.path / "manifest.json").read_text())
    assert manifest == model.manifest
    assert (manifest["profile"], manifest["profile_hash"]) == (PROFILE.name, filled.profile.hash)
    assert manifest["seed"] == pretraining.PRESETS["tiny"].fit.seed + 3 == manifest["pretraining"]["fit"]["seed"]
    assert manifest["versions"]["torch"] == torch.__version__ and manifest["versions"]["polars"] == pl.__version__
    assert set(manifest["versions"]) == {"python", "torch", "numpy", "polars", "safetensors", "fpm", "code"}
    assert set(manifest["machine"]) == {"architecture", "processor", "instructions", "arithmetic"}
    assert manifest["environment"] == environment_fingerprint()
    assert manifest["compute"] == {"device": "cpu", "precision": "float32"}
    assert {"forward", "backward", "rank"} <= manifest["figures"].keys()
    assert manifest["alignment"] is None  # it is the first vintage
    assert manifest["encoder"]["slots"] == 240 and asdict(pretraining.PRESETS["tiny"])["batch"] == 16


def test_the_data_file_lists_every_session_of_the_training(filled: Stores) -> None:
    model = trained(filled)
    data = json.loads((model.path / "data.json").read_text())
    assert list(data) == [str(session) for session in [*SESSIONS[:5], THROUGH]]
    assert {entry["rows"] for entry in data.values()} == {16}
    late = pl.lit(cut_off(CN, THROUGH) - timedelta(minutes=1)).alias("created_timestamp")
    changed = features(SESSIONS[2]).with_columns(pl.col("close") * 2, late)
    publish_frames("minute_features", SESSIONS[2], {"minute_features": changed}, filled)
    again = trained(filled)
    assert again.manifest["data"] != model.manifest["data"]
    data_again = json.loads((again.path / "data.json").read_text())
    assert [day for day in data if data_again[day]["sha256"] != data[day]["sha256"]] == [str(SESSIONS[2])]


# --- the space ----------------------------------------------------------------------------------------------------


def test_a_later_vintage_stores_its_rotation_onto_the_former(filled: Stores) -> None:
    former, later = trained(filled), trained(filled, LATER)
    figures = later.manifest["alignment"]
    assert (figures["onto"], figures["applied"], figures["rows"], figures["judged"]) == (former.id, False, 10 * 16, 16)
    assert figures["sessions"] == [str(SESSIONS[0]), str(SESSIONS[9]), 10]
    rotation_DD = from_bytes(later.files()["rotation.safetensors"])["rotation"].numpy()
    assert np.allclose(rotation_DD @ rotation_DD.T, np.eye(128), atol=1e-10)
    rows = np.concatenate([from_frame(features(day), PROFILE)[1] for day in SESSIONS[:10]]).astype(np.float16)
    with deterministic(0):
        new, old = (
            embed(pretraining.load(each.manifest, each.files()["weights.safetensors"]), rows).astype(np.float64)
            for each in (later, former)
        )
    expected, _ = orthogonal_procrustes(new, old)
    assert np.linalg.norm(new @ rotation_DD - old) <= np.linalg.norm(new @ expected - old) * (1 + 1e-9)
    rotated = new @ rotation_DD
    scale = (rotated * old).sum() / np.square(rotated).sum()
    by_hand = np.linalg.norm(scale * rotated - old) / np.linalg.norm(old)
    assert figures["residual_fitted"] == pytest.approx(by_hand, 1e-4)
    assert figures["residual_fitted"] < figures["residual"] < figures["residual_unturned"] <= 1
    assert vectors(filled, later.id).tobytes() == weights_only(later).tobytes()  # stored as they are


def test_on_request_a_vintage_lies_in_the_formers_space(filled: Stores) -> None:
    former, plain = trained(filled), trained(filled, LATER)
    rotated = trained(with_settings(filled, align=True), LATER)
    assert rotated.manifest["alignment"]["applied"] and rotated.id != plain.id
    assert rotated.files()["weights.safetensors"] == plain.files()["weights.safetensors"]
    rotation_DD = from_bytes(rotated.files()["rotation.safetensors"])["rotation"].numpy()
    stored, own = vectors(filled, rotated.id), vectors(filled, plain.id)
    assert np.allclose(stored, own @ rotation_DD, atol=1e-4) and not np.allclose(stored, own, atol=1e-2)
    assert np.allclose(stored @ stored.T, own @ own.T, rtol=1e-4, atol=1e-3)  # distances and angles do not change
    target = vectors(filled, former.id)
    assert np.linalg.norm(stored - target) < np.linalg.norm(own - target)
    assert encoder.train(LATER, with_settings(filled, align=True), silent) == rotated.id  # no second training
    assert encoder.train(LATER, filled, silent) == plain.id


def test_another_rotation_is_another_vintage() -> None:
    weights, rotations = b"weights", [to_bytes({"rotation": torch.eye(2) * sign}) for sign in (1, -1)]
    assert len({vintage.content_digest(weights, rotation) for rotation in (None, *rotations)}) == 3
    assert (
        vintage.content_digest(weights, None) == sha256(weights).hexdigest()
    )  # the name of vintages from before rotations


def test_a_rotated_vintage_without_its_rotation_is_not_loaded(filled: Stores) -> None:
    trained(filled)
    rotated = trained(with_settings(filled, align=True), LATER)
    with pytest.raises(ModelRefused, match="rotation is missing"):
        vintage.load(rotated.manifest, {"weights.safetensors": rotated.files()["weights.safetensors"]})


def test_a_former_vintage_that_the_code_cannot_read_costs_no_training(filled: Stores) -> None:
    former = trained(filled)
    smaller = from_bytes(former.files()["weights.safetensors"])
    smaller.pop("mask_D")
    replace_file(filled, former, "weights.safetensors", to_bytes(smaller))
    steps: list[object] = []
    with pytest.raises(ModelRefused, match="do not fit the model at mask_D"):
        encoder.train(LATER, with_settings(filled, align=True), lambda done, total, item: steps.append(item))
    assert not steps  # not even a session was read
    assert trained(filled, LATER).manifest["alignment"] is None


# --- canaries -----------------------------------------------------------------------------------------------------


def test_canaries_are_symbol_sessions_that_were_held_out(filled: Stores) -> None:
    model = trained(filled)
    identities, stored = model.manifest["canaries"], from_bytes(model.files()["canaries.safetensors"])
    assert len(identities) == canaries.COUNT == 16
    symbols, x_STF = from_frame(features(THROUGH), PROFILE)
    halves = dict(zip(symbols, x_STF.astype(np.float16), strict=True))
    for i, canary in enumerate(identities):
        assert canary["session"] == str(THROUGH)
        assert stored["features"][i].numpy().tobytes() == halves[canary["symbol"]].tobytes()
        assert canary["features"] == sha256(halves[canary["symbol"]].tobytes()).hexdigest()
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
    replace_file(filled, model, "weights.safetensors", to_bytes(weights))
    with pytest.raises(ModelRefused, match=r"canaries differently.*no bit may differ") as refusal:
        vectors(filled, model.id)
    assert "no library changed version" in str(refusal.value)
    assert not filled.sessions("fingerprints", model.id)  # nothing was written


def in_double(attend: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The same attention by another path through torch, which changes the last bits."""

    def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, is_causal: bool) -> torch.Tensor:
        return attend(q.double(), k.double(), v.double(), is_causal=is_causal).float()

    return attended


@pytest.mark.parametrize("entry", ["instructions", "arithmetic"])
def test_another_path_through_torch_is_refused_here_and_allowed_on_another_class_of_machine(
    entry: str, filled: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(filled)
    usual = weights_only(model)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", in_double(functional.scaled_dot_product_attention))
    with pytest.raises(ModelRefused, match="no bit may differ"):
        vectors(filled, model.id)
    elsewhere = model.manifest | {"machine": model.manifest["machine"] | {entry: "other"}}
    filled.ledger.execute("UPDATE fpm.models SET manifest = %s WHERE id = %s", (Jsonb(elsewhere), model.id))
    stored = vectors(filled, model.id)
    assert stored.tobytes() != usual.tobytes() and np.allclose(stored, usual, atol=1e-4)
    monkeypatch.setattr(canaries, "TOLERANCE", 1e-12)
    with pytest.raises(ModelRefused, match="allowed on another class of machine"):
        canaries.check(model.id, vintage.load(elsewhere, model.files()), elsewhere, model.files())


def test_a_library_that_changed_is_named(filled: Stores) -> None:
    model = trained(filled)
    files, older = model.files(), model.manifest["versions"] | {"torch": "1.0"}
    canary = from_bytes(files["canaries.safetensors"])
    canary["fingerprints"][3] += 1e-3
    wrong = files | {"canaries.safetensors": to_bytes(canary)}
    identity = model.manifest["canaries"][3]
    with pytest.raises(ModelRefused, match=f"1 of 16.*{identity['symbol']}.*torch 1.0, now {torch.__version__[:3]}"):
        canaries.check("v", vintage.load(model.manifest, files), model.manifest | {"versions": older}, wrong)
    with pytest.raises(ModelRefused, match="lost its canaries"):
        canaries.check("v", vintage.load(model.manifest, files), model.manifest, {})


def test_a_vintage_from_before_there_were_canaries_still_serves(filled: Stores) -> None:
    model = trained(filled)
    plain = {name: value for name, value in model.manifest.items() if name not in ("canaries", "machine", "alignment")}
    filled.ledger.execute("UPDATE fpm.models SET manifest = %s WHERE id = %s", (Jsonb(plain), model.id))
    (model.path / "canaries.safetensors").unlink()
    filled.ledger.execute("UPDATE fpm.models SET files = files - 'canaries.safetensors' WHERE id = %s", (model.id,))
    assert len(vectors(filled, model.id)) == 15
