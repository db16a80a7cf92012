"""Baselines of an encoder: itself before training, and principal components of its inputs.

Shapes: N symbol-sessions, T minutes, F features, D vector size.
"""

from __future__ import annotations

import numpy as np
import torch

from fpm.nn.encoder.network import Encoder, embed
from fpm.nn.encoder.tokens import blocks
from fpm.nn.fit import deterministic


def untrained(encoder: Encoder, seed: int) -> Encoder:
    """The encoder as a training with this seed starts it: initial weights, and the trained encoder's input scales."""
    with deterministic(seed):
        initial = Encoder(encoder.config, encoder.profile)
    scales = dict(encoder.named_buffers())
    with torch.no_grad():
        for name, buffer in initial.named_buffers():
            buffer.copy_(scales[name])
    return initial.eval()


def untrained_fingerprints(encoder: Encoder, seed: int, x_NTF: np.ndarray) -> np.ndarray:
    """Fingerprints z_ND of the encoder before its training."""
    with deterministic(0):
        return embed(untrained(encoder, seed), x_NTF)


def input_components(encoder: Encoder, x_NTF: np.ndarray) -> np.ndarray:
    """The first D principal components of the standardised minutes, (N, D), as many as a fingerprint has dimensions.

    An unavailable minute counts as average. The components are computed from these rows themselves.
    """
    with deterministic(0):
        standard = [torch.nan_to_num(encoder.tokens.standardise(block)).flatten(1) for block in blocks(x_NTF)]
    inputs = torch.cat(standard).numpy()
    inputs -= inputs.mean(axis=0)
    value_N, vector_NN = np.linalg.eigh((inputs @ inputs.T).astype(np.float64))
    size = encoder.config.width
    return np.asarray(vector_NN[:, ::-1][:, :size] * np.sqrt(np.maximum(value_N[::-1][:size], 0.0)))
