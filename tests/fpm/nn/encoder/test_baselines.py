"""The untrained encoder against the start of its training, and principal components of its inputs against numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fpm.nn.encoder import network, pretraining
from fpm.nn.encoder.baselines import input_components, untrained, untrained_fingerprints
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.collapse import collapse_figures
from fpm.nn.encoder.network import Encoder
from fpm.nn.encoder.pretraining import Recipe, pretrain, samples
from fpm.nn.fit import FitConfig, Watch
from tests.fpm.nn.encoder.small_sessions import SLOTS, history_of, random_sessions, symbol_sessions

SHAPE = replace(network.PRESETS["tiny"], slots=SLOTS, minutes_per_token=8)


def test_the_untrained_encoder_is_the_start_of_its_training() -> None:
    """Its collapse figures are those that the training recorded before the first step."""
    rows = symbol_sessions(10, 16, seed=1)
    parts = split(sorted(set(rows.sessions)), 1, 2)
    config = replace(pretraining.PRESETS["tiny"], fit=FitConfig(epochs=1, rate=5e-3, warm_up_epochs=0.1, seed=5))
    history = history_of(rows, samples(parts, config))
    result = pretrain(history, parts, Recipe("l2_32", SHAPE, config), Watch())
    sample = history.sample(parts.validation, config.judged)
    initial_ND = untrained_fingerprints(result.encoder, 5, sample.features)
    recorded = {name: result.untrained[name] for name in ("rank", "participation", "uniformity")}
    assert {name: collapse_figures(initial_ND)[name] for name in recorded} == pytest.approx(recorded, rel=1e-5)
    other_ND = untrained_fingerprints(result.encoder, 6, sample.features)
    assert not np.allclose(initial_ND, other_ND)


def test_components_are_numpy_s() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SHAPE, "l2_32")
    x_NTF = random_sessions(40, seed=2).x_NTF
    encoder.tokens.calibrate(x_NTF)
    inputs = torch.nan_to_num(encoder.tokens.standardise(torch.from_numpy(x_NTF))).flatten(1).double().numpy()
    left, size, _ = np.linalg.svd(inputs - inputs.mean(axis=0), full_matrices=False)
    components = input_components(encoder, x_NTF)
    assert components.shape == (40, 40)
    assert np.abs(components[:, :20]) == pytest.approx(np.abs(left[:, :20] * size[:20]), rel=1e-3, abs=1e-2)


def test_the_trained_encoder_stays_unchanged() -> None:
    encoder = Encoder(SHAPE, "l2_32")
    encoder.tokens.calibrate(random_sessions(10, seed=3).x_NTF)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    initial = untrained(encoder, 1)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(initial.tokens.scale_F, encoder.tokens.scale_F)
    assert not torch.equal(initial.mask_D, encoder.mask_D)
