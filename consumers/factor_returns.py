"""The risk model's evidence of a session: every name's exposures, the factors' returns, the names' residuals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from consumers.streams import COLUMNS, risk_reads_scores, risk_reads_stream_scores, stream_of, table_of_stream
from fpm.panels import pivot
from fpm.risk.estimate import PRESETS
from fpm.risk.factor_returns import standard_score
from fpm.risk.history import factor_history, factor_rows, residual_rows, style_walk
from fpm.risk.market_panel import INPUTS, MarketPanel, market_panel
from fpm.risk.styles import HISTORY
from fpm.schema import STYLES
from fpm.sessions import previous_sessions
from fpm.store.jobs.inputs import Window

if TYPE_CHECKING:
    from datetime import date

    from fpm.panels import Floats
    from fpm.store.ledger.stores import Stores

NAME = "factor_returns"
READS = {
    "daily_bars": Window(back=HISTORY),
    "scores": Window(back=1, required=False, applies=risk_reads_scores),
    "stream_scores": Window(back=1, required=False, applies=risk_reads_stream_scores),
    "vector_scores": Window(back=1, required=False, applies=risk_reads_stream_scores),
}
SETTINGS = ("stream",)
WRITES = ("factor_returns", "residuals", "exposures")


def run(session: date, stores: Stores) -> None:
    """Write the session's regression on the exposures of the evening before, and its own exposures."""
    sessions = [*previous_sessions(stores.market, session, HISTORY), session]
    daily = stores.read("daily_bars", sessions[0], session, columns=["symbol", "industry", *INPUTS])
    dates = daily["session"].unique().sort().to_list()
    panel = market_panel(daily, dates, sorted(daily["symbol"].unique().to_list()))
    score_TN = _scores(panel, stores)
    history = factor_history(panel, score_TN, PRESETS[stores.settings.preset].seasoned, len(dates) - 1)
    stores.write("factor_returns", session, factor_rows(history).drop("session"))
    stores.write("residuals", session, residual_rows(history).drop("session"))
    stores.write("exposures", session, _exposures(panel, score_TN))


def _scores(panel: MarketPanel, stores: Stores) -> Floats:
    """Scores of the panel's last two sessions (T, N); NaN before and where there are none."""
    recent = panel.sessions[-2:]
    stream = stream_of(stores.settings)
    scores = stores.read(table_of_stream(stream, stores), recent[0], recent[-1], columns=COLUMNS)
    return pivot(scores.filter(pl.col("stream") == stream), "score", panel.sessions, panel.symbols)


def _exposures(panel: MarketPanel, score_TN: Floats) -> pl.DataFrame:
    """Rows of the table `exposures` of the panel's last session, names that had a bar so far."""
    last = len(panel.sessions) - 1
    ((_, style_NS),) = style_walk(panel, last, last + 1)
    industries = np.array(panel.industries, dtype=np.str_)
    rows = pl.DataFrame(
        {
            "symbol": panel.symbols,
            "industry": industries[panel.industry_TN[last]],
            **{name: style_NS[:, column] for column, name in enumerate(STYLES)},
            "score": standard_score(score_TN[last]),
            "capitalisation": panel.cap_TN[last],
        }
    )
    return rows.filter(pl.col("capitalisation").is_not_nan())
