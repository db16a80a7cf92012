"""Job: one vector of 128 floats per symbol-session, under the vintage that the stores name or have in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.errors import ModelRefused
from fpm.feature_schema import require_same
from fpm.features.minute_features import from_frame
from fpm.nn.encoder import canaries, vintage
from fpm.nn.fit import deterministic
from fpm.schema import FINGERPRINT_SIZE
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.nn.encoder.vintage import Vintage
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

NAME = "fingerprints"
MODELS = ("encoder",)
READS: Mapping[str, Window] = {"minute_features": Window()}
WRITES: tuple[str, ...] = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the fingerprints of `session`; a symbol without features has none.

    Raises ModelRefused where the vintage has another profile (vectors of two profiles never mix), or embeds its
    canaries differently than after its training.
    """
    model = stores.model("encoder", session)
    require_profile(model, stores)
    files = model.files()
    encoder = vintage.load(model.manifest, files)
    canaries.check(model.id, encoder, model.manifest, files)
    symbols, x_STF = from_frame(stores.read("minute_features", session), stores.profile)
    rows = fingerprints(encoder, symbols, x_STF, model.id, stores.settings.workers)
    stores.write(NAME, session, rows, vintage=model.id)


def fingerprints(
    encoder: Vintage, symbols: tuple[str, ...], x_STF: np.ndarray, vintage_id: str, threads: int = 1
) -> pl.DataFrame:
    """The table's rows for one session's features x_STF: symbol, vintage, fingerprint (128 float32)."""
    with deterministic(0):
        z_SD = encoder.embed(x_STF, threads) if symbols else np.empty((0, FINGERPRINT_SIZE), np.float32)
    embedded_S = np.isfinite(z_SD).all(axis=1)
    return pl.DataFrame(
        {
            "symbol": pl.Series([symbols[i] for i in np.flatnonzero(embedded_S)], dtype=pl.String),
            "vintage": pl.repeat(vintage_id, int(embedded_S.sum()), dtype=pl.String, eager=True),
            "fingerprint": pl.Series(z_SD[embedded_S], dtype=pl.Array(pl.Float32, FINGERPRINT_SIZE)),
        }
    )


def require_profile(model: Model, stores: Stores) -> None:
    """Raises ModelRefused for an encoder of another profile than the one in force."""
    require_same(model.kind, model.id, model.manifest, stores.profile.name, "no fingerprint was written")
    trained_on = model.manifest["profile_hash"]
    if trained_on != stores.profile.hash:
        raise ModelRefused(
            code="FPM-ML-067",
            wrong=f"vintage {model.id} was trained on profile {trained_on}; in force is {stores.profile.hash}",
            effect="no fingerprint was written",
            todo="train an encoder on the profile in force: fpm train encoder",
        )
