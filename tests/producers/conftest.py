"""A deployment with minute features."""

import pytest

from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.stores import Stores
from tests.producers.small_features import SESSIONS, features


@pytest.fixture
def filled(stores: Stores) -> Stores:
    """A deployment with minute features of every session."""
    stores.decide_profile("l2_32")
    for session in SESSIONS:
        publish_frames("minute_features", session, {"minute_features": features(session)}, stores)
    return stores
