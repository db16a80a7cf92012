"""What peers read besides the scorer's own inputs, on the grid of its panel.

Alpha158 with the intraday statistics, and the bars themselves, stand in place of the panel's factors and are processed
like them: MAD-winsorised and z-scored within each session, missing ones 0. So the sessions, the symbols and their
look-back stay those of the scorer.

Shapes: T sessions, S symbols of the panel or of one session, F inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch

from fpm import cross_section
from fpm.features.intraday_statistics import intraday_statistics
from fpm.features.minute_features import from_frame
from fpm.nn.scorer.minute_gru import bins
from fpm.panels import pivot
from fpm.schema import ALPHA158

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from numpy.typing import NDArray

    from fpm.cross_section import Array
    from fpm.nn.scorer.panel import Panel
    from fpm.store.ledger.stores import Stores

REVERSAL = "return_5"  # the column of daily_factors whose opposite is the reversal of five sessions


@dataclass(frozen=True)
class PeerPanels:
    """One span of sessions as every peer reads it: the scorer's own panel, and the others on its grid.

    `reversal_TS`: the opposite of the last five sessions' return; NaN where there is none.
    """

    own: Panel
    wide: Panel
    bars: Panel
    reversal_TS: Array


def peer_panels(panel: Panel, stores: Stores) -> PeerPanels:
    """The panels beside a scorer's own, from what the stores know under their names."""
    first, last = panel.sessions[0], panel.sessions[-1]
    columns = ["symbol", *dict.fromkeys((REVERSAL, *ALPHA158))]
    factors = stores.read("daily_factors", first, last, columns=columns)
    wide, bars = [], []
    for session in panel.sessions:
        today = factors.filter(factors["session"] == session).select("symbol", *ALPHA158)
        symbols, x_STF = _features(session, stores)
        statistics = intraday_statistics(x_STF, stores.profile.features)
        daily_SF = today.drop("symbol").cast(pl.Float64).to_numpy() if len(today) else np.empty((0, len(ALPHA158)))
        parts = [
            _placed(today["symbol"].to_list(), daily_SF, panel.symbols),
            _placed(symbols, np.column_stack(list(statistics.values())), panel.symbols),
        ]
        wide.append(_processed(np.concatenate(parts, axis=1)))
        bars.append(_processed(_placed(symbols, bins(x_STF), panel.symbols)))
    return PeerPanels(
        panel,
        replace(panel, factor_TSF=torch.from_numpy(np.stack(wide))),
        replace(panel, factor_TSF=torch.from_numpy(np.stack(bars))),
        -pivot(factors, REVERSAL, panel.sessions, panel.symbols),
    )


def _features(session: date, stores: Stores) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The symbols of a session and their minute features; none where the session has none."""
    rows = stores.read("minute_features", session, session)
    slots = stores.market.view_size(stores.profile.view)
    if rows.is_empty():
        return (), np.empty((0, slots, len(stores.profile.features)), np.float32)
    return from_frame(rows, stores.profile)


def _placed(symbols: Sequence[str], x_SF: Array, axis: Sequence[str]) -> Array:
    """The rows of some symbols on the panel's axis of symbols; NaN for those that have none."""
    row = {symbol: number for number, symbol in enumerate(axis)}
    inside = [(number, row[symbol]) for number, symbol in enumerate(symbols) if symbol in row]
    placed_SF = np.full((len(axis), x_SF.shape[1]), np.nan)
    if inside:
        own, target = (list(numbers) for numbers in zip(*inside, strict=True))
        placed_SF[target] = x_SF[own]
    return placed_SF


def _processed(x_SF: Array) -> NDArray[np.float32]:
    return np.nan_to_num(cross_section.z_score(cross_section.mad_winsorise(x_SF)), nan=0.0).astype(np.float32)
