"""`fpm evaluate risk --ablation`: which switches of the risk model pay on a home's own daily bars."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.errors import TryLater
from fpm.panels import pivot
from fpm.risk.ablation import nights
from fpm.risk.estimate import PRESETS
from fpm.risk.history import factor_history
from fpm.risk.market_panel import INPUTS, market_panel
from fpm.risk.styles import HISTORY
from fpm.risk.switches import AS_CONFIGURED, Step, steps, verdicts

if TYPE_CHECKING:
    from datetime import date

    from fpm.panels import Floats
    from fpm.progress import Progress
    from fpm.risk.estimate import RiskConfig
    from fpm.risk.history import FactorHistory
    from fpm.risk.market_panel import MarketPanel
    from fpm.store.ledger.stores import Stores

TESTED = 504  # sessions that are forecast at most: two years
FEWEST = 21  # sessions that are forecast at least


def evaluate(stores: Stores, progress: Progress) -> dict[str, Any]:
    """A row a switch: B of optimised and random active portfolios without and with it, its gain, and the verdict.

    The newest `TESTED` sessions are forecast by the model of the session before, which reads bars from `HISTORY`
    sessions before them; the score is that of the stored exposures. Raises TryLater where there are too few sessions.
    """
    config = PRESETS[stores.settings.preset]
    sessions, first = _sessions(config, stores)
    panel, score_TN = _market(sessions, stores.named(sessions[-1]))
    scored, span = score_TN is not None, (first, len(sessions))
    chosen = steps(config, scored)
    configured = Step(AS_CONFIGURED, is_on=True, other=replace(config, score=config.score and scored))
    histories: dict[bool, FactorHistory] = {}
    rows: dict[str, pl.DataFrame] = {}
    for number, step in enumerate((configured, *chosen)):
        done, total = number * (span[1] - first), (1 + len(chosen)) * (span[1] - first)
        progress(done, total, step.name)
        used = step.other.score
        if used not in histories:
            histories[used] = factor_history(panel, score_TN if used else None, config.seasoned)
        frames = []
        for frame in nights(panel, histories[used], score_TN, step.other, span):
            frames.append(frame)
            progress(done + len(frames), total, step.name)
        rows[step.name] = pl.concat(frames)
    table = verdicts(rows[AS_CONFIGURED], rows, chosen)
    return {"first": str(sessions[first]), "last": str(sessions[-1]), "switches": table.to_dicts()}


def _sessions(config: RiskConfig, stores: Stores) -> tuple[list[date], int]:
    """Sessions that are read, and the number of the first that is forecast. Raises TryLater where they are too few."""
    bars = stores.sessions("daily_bars")[-(HISTORY + TESTED) :]
    exposures = set(stores.sessions("exposures"))
    places = [number for number, session in enumerate(bars) if session in exposures]
    first = max(config.minimum + config.seasoned + 1, len(bars) - TESTED, places[0] + 2 if places else 0)
    if places and len(bars) - first >= FEWEST:
        return bars, first
    least = config.minimum + config.seasoned + 1 + FEWEST
    lacking = f"{len(bars)} of {least} sessions of daily_bars, {len(places)} of them with exposures, of {FEWEST + 2}"
    raise TryLater(
        code="FPM-RISK-076",
        wrong=f"the switches cannot be judged: there are {lacking}",
        effect="nothing was judged",
        todo="ingest a longer history, then run fpm backfill factor_returns FIRST LAST over it",
    )


def _market(sessions: list[date], stores: Stores) -> tuple[MarketPanel, Floats | None]:
    """The panel of the sessions, and the standardised scores that the exposures hold; None without any."""
    columns = ["symbol", "industry", *INPUTS]
    daily = stores.read("daily_bars", sessions[0], sessions[-1], columns=columns)
    panel = market_panel(daily, sessions, sorted(daily["symbol"].unique().to_list()))
    scores = stores.read("exposures", sessions[0], sessions[-1], columns=["symbol", "score"]).drop_nulls("score")
    if not (scores["score"] != 0).any():
        return panel, None
    return panel, pivot(scores, "score", panel.sessions, panel.symbols)
