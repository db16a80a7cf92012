"""One vector per symbol of the running session so far, by the encoder that the scorer in force reads.

That encoder has learnt from whole sessions: minutes to come are unavailable to it. `benchmarks/bench_intraday.py`
measures what that costs, by time of day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fpm.features.minute_features import from_frame
from fpm.nn.encoder import canaries, vintage
from fpm.schema import INTRADAY_FINGERPRINTS, INTRADAY_MINUTE_FEATURES
from fpm.store.jobs.minutes import as_known, publish_minute
from producers.fingerprints import fingerprints, require_profile

if TYPE_CHECKING:
    from fpm.running_session import Cut
    from fpm.store.jobs.publishing import Outcome
    from fpm.store.ledger.stores import Stores

NAME = INTRADAY_FINGERPRINTS.name


def run(at: Cut, stores: Stores) -> Outcome:
    """Write the vectors of the session cut at a minute, under a vintage that no whole session has.

    Raises TryLater where no scorer is in force or the features are missing, ModelRefused as `producers.fingerprints`.
    """
    knowledge = as_known(at, stores)
    assert knowledge.known_at is not None
    encoder_id = stores.models.record_in_force("scorer", at.session).manifest["vintage"]
    model = stores.models.load("encoder", encoder_id)
    require_profile(model, stores)
    files = model.files()
    encoder = vintage.load(model.manifest, files)
    canaries.check(model.id, encoder, model.manifest, files)
    rows = knowledge.read(INTRADAY_MINUTE_FEATURES.name, at.session)
    symbols, x_STF = from_frame(rows.filter(rows["slot"] <= at.position), stores.profile)
    whole_STF = unavailable_after(x_STF, stores.market.view_size(stores.profile.view))
    frame = fingerprints(encoder, symbols, whole_STF, at.vintage(encoder_id), stores.settings.workers)
    return publish_minute(NAME, frame, at, max(knowledge.known_at, model.born), stores)


def unavailable_after(x_STF: np.ndarray, length: int) -> np.ndarray:
    """Features of the minutes so far as those of a session of `length` minutes: the others are unavailable, NaN."""
    whole_STF = np.full((len(x_STF), length, x_STF.shape[2]), np.nan, np.float32)
    whole_STF[:, : x_STF.shape[1]] = x_STF
    return whole_STF
