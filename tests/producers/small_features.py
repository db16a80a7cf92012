"""Minute features of a small market in January 2024, whose volume timing follows a latent number."""

from __future__ import annotations

from datetime import date
from functools import cache

import polars as pl

from fpm.features.minute_features import PRESETS, Profile, to_frame
from fpm.sessions import market, sessions_between
from tests.fpm.nn.encoder.small_sessions import random_sessions

CN = market("cn")
SESSIONS = sessions_between(CN, date(2024, 1, 2), date(2024, 1, 26))  # 19
THROUGH, SERVED = SESSIONS[11], SESSIONS[18]
SYMBOLS = [f"60{i:04d}.SH" for i in range(16)]
PROFILE = Profile("l2_32", "240", PRESETS["tiny"])


@cache
def features(session: date) -> pl.DataFrame:
    """A session's minute features; on the served session the last symbol has none."""
    x_STF = random_sessions(len(SYMBOLS), session.toordinal(), slots=240).x_NTF
    present = len(SYMBOLS) - (session == SERVED)
    return to_frame(SYMBOLS[:present], x_STF[:present], PROFILE)


def silent(done: int, total: int, what: object) -> None:
    """Progress that only checks its numbers."""
    assert 0 < done <= total
