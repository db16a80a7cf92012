"""Job: what a session's scores promise: intervals of their forward places that cover (`fpm.evaluation.conformal`).

Only labels that were complete at the session's cut-off are read. What was promised stands: a correction reaches later
sessions alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from fpm.evaluation.conformal import ConformalConfig, intervals
from fpm.panels import axes, pivot
from fpm.schema import SCORE_INTERVALS, SCORES
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings

CONFIG = ConformalConfig()


def _before(settings: Settings) -> int:
    return CONFIG.history(settings.model_choices.reach) - 1


def _incomplete(settings: Settings) -> int:
    """Sessions before one whose labels are not complete at it."""
    return settings.model_choices.reach - 1


NAME = SCORE_INTERVALS.name
READS = {
    "scores": Window(back=_before, required=False),
    "labels": Window(back=_before, include=False, required=False, gap=_incomplete),
}
WRITES = (NAME,)
FINAL = True


def run(session: date, stores: Stores) -> None:
    """Write the intervals of `session`'s scores. Raises TryLater where it has no scores."""
    reach = stores.settings.model_choices.reach
    days = [*previous_sessions(stores.market, session, _before(stores.settings)), session]
    now = stores.read(SCORES.name, session, columns=["symbol", "stream", "score"])
    before = stores.read(SCORES.name, days[0], days[-2], columns=["symbol", "stream", "score"])
    labels = stores.read("labels", days[0], days[-1 - reach], columns=["symbol", "label"])
    stores.write(NAME, session, rows(pl.concat([before, now]), labels, days, reach))


def rows(scores: pl.DataFrame, labels: pl.DataFrame, sessions: Sequence[date], reach: int) -> pl.DataFrame:
    """Intervals of the last session's scores: symbol, stream, lower, upper (null where there is none), level.

    `scores`: session, symbol, stream, score; `labels`: session, symbol, label; both of `sessions`, in order.
    """
    nothing = dict.fromkeys(("symbol", "stream"), pl.String) | dict.fromkeys(("lower", "upper", "level"), pl.Float64)
    parts = [pl.DataFrame(schema=nothing)]
    for own in scores.sort("stream").partition_by("stream", maintain_order=True):
        _, symbols = axes(own)
        score_TN, label_TN = pivot(own, "score", sessions, symbols), pivot(labels, "label", sessions, symbols)
        lower_N, upper_N = intervals(score_TN, label_TN, reach, CONFIG)
        panel = pl.DataFrame({"symbol": symbols, "lower": lower_N, "upper": upper_N}).fill_nan(None)
        today = own.filter(pl.col("session") == sessions[-1]).select("symbol", "stream")
        parts.append(today.join(panel, on="symbol", how="left").with_columns(level=pl.lit(CONFIG.level)))
    return pl.concat(parts)
