"""A training on nearly identical sessions without penalties collapses and is refused.

With the penalties on, the same data under the same seed give an encoder that passes, so the collapse is the reason.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from fpm.errors import ModelRefused
from fpm.features.minute_features import to_frame
from fpm.nn.encoder.pretraining import PRESETS
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores
from producers import encoder
from tests.fpm.nn.encoder.small_sessions import random_sessions
from tests.producers.small_features import PROFILE, SESSIONS, SYMBOLS, silent

FIRST, SECOND, SERVED = SESSIONS[11], SESSIONS[12], SESSIONS[-1]
ALIKE = 0.1  # every value is that of one session, times e^(0.1 noise)


def nearly_alike(seed: int) -> pl.DataFrame:
    one_1TF = random_sessions(1, 3, slots=240).x_NTF
    noise = np.random.default_rng(seed).standard_normal((len(SYMBOLS), *one_1TF.shape[1:]))
    return to_frame(SYMBOLS, (one_1TF * np.exp(ALIKE * noise)).astype(np.float32), PROFILE)


@pytest.fixture
def alike(stores: Stores) -> Stores:
    stores.decide_profile("l2_32")
    for session in SESSIONS:
        publish_frames("minute_features", session, {"minute_features": nearly_alike(session.toordinal())}, stores)
    return stores


def train_with(weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = replace(PRESETS["tiny"].fit, epochs=12, rate=5e-3, patience=12)
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], penalty_weight=weight, fit=fit))


def test_a_collapsed_encoder_is_refused_and_the_former_one_stays(
    alike: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with(0.3, monkeypatch)
    former = encoder.train(FIRST, alike, silent)
    train_with(0.0, monkeypatch)
    with pytest.raises(ModelRefused, match=r"collapsed: rank .* < 8; uniformity") as refusal:
        encoder.train(SECOND, alike, silent)
    assert refusal.value.code == "FPM-ML-306" and refusal.value.exit_code == 1
    promoted, refused = alike.models.list("encoder")
    assert (promoted.id, promoted.status, refused.status) == (former, "promoted", "refused")
    assert alike.models.in_force("encoder", SERVED).id == former
    figures, untrained = refused.manifest["figures"], refused.manifest["untrained"]
    assert figures["rank"] < untrained["rank"] < promoted.manifest["figures"]["rank"]  # the training itself lowered it
    assert figures["uniformity"] > untrained["uniformity"] > promoted.manifest["figures"]["uniformity"]
    assert refused.manifest["refused_because"] in str(refusal.value)
    with pytest.raises(ModelRefused, match=refused.id):
        encoder.train(SECOND, alike, silent)  # refused again without a second training
    assert len(alike.models.list("encoder")) == 2
