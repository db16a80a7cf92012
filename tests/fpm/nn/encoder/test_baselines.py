"""The encoder before its training, and principal components of its inputs, against numpy and a training of no step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fpm.nn.encoder.baselines import input_components, untrained, untrained_fingerprints
from fpm.nn.encoder.batches import split
from fpm.nn.encoder.collapse import collapse_figures
from fpm.nn.encoder.network import PRESETS, Encoder
from fpm.nn.encoder.pretraining import PRESETS as TRAININGS
from fpm.nn.encoder.pretraining import pretrain, samples
from fpm.nn.fit import FitConfig, Watch
from tests.fpm.nn.encoder.small_sessions import SLOTS, history, sessions, surveyed

SHAPE = replace(PRESETS["tiny"], slots=SLOTS, minutes_per_token=8)


def test_the_beginning_of_a_training_is_found_again() -> None:
    """Its collapse figures are those the training itself noted before the first step."""
    rows = history(10, 16, seed=1)
    parts = split(sorted(set(rows.sessions)), 1, 2)
    config = replace(TRAININGS["tiny"], fit=FitConfig(epochs=1, rate=5e-3, warm_up_epochs=0.1, seed=5))
    known = surveyed(rows, samples(parts, config))
    learnt = pretrain(known, parts, ("l2_32", SHAPE, config), Watch())
    judged = known.few(parts.validation, config.judged)
    begun_ND = untrained_fingerprints(learnt.encoder, 5, judged.x_NTF)
    noted = {name: learnt.untrained[name] for name in ("rank", "participation", "uniformity")}
    assert {name: collapse_figures(begun_ND)[name] for name in noted} == pytest.approx(noted, rel=1e-5)
    other_ND = untrained_fingerprints(learnt.encoder, 6, judged.x_NTF)
    assert not np.allclose(begun_ND, other_ND)


def test_components_are_numpy_s() -> None:
    torch.manual_seed(0)
    encoder = Encoder(SHAPE, "l2_32")
    x_NTF = sessions(40, seed=2).x_NTF
    encoder.tokens.calibrate(x_NTF)
    inputs = torch.nan_to_num(encoder.tokens.standardise(torch.from_numpy(x_NTF))).flatten(1).double().numpy()
    left, size, _ = np.linalg.svd(inputs - inputs.mean(axis=0), full_matrices=False)
    found = input_components(encoder, x_NTF)
    assert found.shape == (40, 40)
    assert np.abs(found[:, :20]) == pytest.approx(np.abs(left[:, :20] * size[:20]), rel=1e-3, abs=1e-2)


def test_what_is_trained_stays_as_it_is() -> None:
    encoder = Encoder(SHAPE, "l2_32")
    encoder.tokens.calibrate(sessions(10, seed=3).x_NTF)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    begun = untrained(encoder, 1)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(begun.tokens.scale_F, encoder.tokens.scale_F)
    assert not torch.equal(begun.mask_D, encoder.mask_D)
