"""Factor returns and residuals of many sessions: computed from a panel, or read back from stored rows.

A night computes one cross-section, stores its rows and reads the window; a backtest computes all of them in one walk.
Both give the same numbers.
Shapes: T sessions, N symbols, K factors, S styles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.panels import Floats, pivots
from fpm.risk.factor_returns import cross_section, exposures, factor_names
from fpm.risk.styles import HISTORY, styles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from fpm.risk.market_panel import MarketPanel

BLOCK = 252  # sessions whose styles are computed at once: bounds the memory of a long history


@dataclass(frozen=True)
class FactorHistory:
    """What the regressions of consecutive sessions said, oldest first (see `factor_returns.CrossSection`)."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    factors: tuple[str, ...]
    return_TK: Floats
    noise_TK: Floats
    residual_TN: Floats
    leverage_TN: Floats

    def until(self, stop: int, window: int) -> FactorHistory:
        """The `window` sessions before number `stop`, fewer at the beginning."""
        rows = slice(max(0, stop - window), max(0, stop))
        names = ("return_TK", "noise_TK", "residual_TN", "leverage_TN")
        return replace(self, sessions=self.sessions[rows], **{name: getattr(self, name)[rows] for name in names})


def style_walk(panel: MarketPanel, first: int, last: int) -> Iterator[tuple[int, Floats]]:
    """(Number of the session, its styles (N, S)) for sessions `first` to `last` - 1, computed in blocks."""
    for start in range(first, last, BLOCK):
        oldest, stop = max(0, start - HISTORY + 1), min(start + BLOCK, last)
        style_TNS = styles(panel.between(oldest, stop), start - oldest)
        yield from ((start + row, style_NS) for row, style_NS in enumerate(style_TNS))


def session_exposures(
    panel: MarketPanel, number: int, style_NS: Floats, score_TN: Floats | None, factors: Sequence[str]
) -> Floats:
    """Exposures (N, K) of session `number`; names without any bar so far are 0 in every factor."""
    score_N = None if score_TN is None else score_TN[number]
    exposure_NK = exposures(style_NS, panel.industry_TN[number], panel.industries, score_N)
    assert exposure_NK.shape[1] == len(factors)
    return exposure_NK


def factor_history(
    panel: MarketPanel, score_TN: Floats | None = None, seasoned: int = 21, first: int = 1
) -> FactorHistory:
    """Regressions of the sessions from number `first` on, each on the exposures, sizes and scores of the one before.

    `score_TN`: scores known at each session's close; None leaves the factor out. `seasoned`: returns that a name needs
    before its return enters a regression (first days of trading are no part of the market's pattern).
    """
    first = max(1, first)
    factors = factor_names(panel.industries, score_TN is not None)
    shape = (max(0, len(panel.sessions) - first), len(panel.symbols))
    return_TK, noise_TK = (np.full((shape[0], len(factors)), np.nan) for _ in range(2))
    residual_TN, leverage_TN = np.full(shape, np.nan), np.zeros(shape)
    for number, style_NS in style_walk(panel, first - 1, len(panel.sessions) - 1):
        exposure_NK = session_exposures(panel, number, style_NS, score_TN, factors)
        cap_N, seasoned_N = panel.cap_TN[number], panel.age_TN[number] >= min(seasoned, number)
        result = cross_section(panel.return_TN[number + 1], exposure_NK, cap_N, factors, seasoned_N)
        row = number + 1 - first
        return_TK[row], noise_TK[row] = result.return_K, result.noise_K
        residual_TN[row], leverage_TN[row] = result.residual_N, result.leverage_N
    return FactorHistory(panel.sessions[first:], panel.symbols, factors, return_TK, noise_TK, residual_TN, leverage_TN)


def factor_rows(history: FactorHistory) -> pl.DataFrame:
    """Rows (session, factor, return, noise), where a return is known."""
    names = ("return", "noise")
    return _rows(
        history.sessions,
        history.factors,
        "factor",
        dict(zip(names, (history.return_TK, history.noise_TK), strict=True)),
    )


def residual_rows(history: FactorHistory) -> pl.DataFrame:
    """Rows (session, symbol, residual, leverage), where a residual is known."""
    columns = {"residual": history.residual_TN, "leverage": history.leverage_TN}
    return _rows(history.sessions, history.symbols, "symbol", columns)


def stored_history(
    factor_frame: pl.DataFrame,
    residual_frame: pl.DataFrame,
    sessions: Sequence[date],
    symbols: Sequence[str],
    factors: Sequence[str] = (),
) -> FactorHistory:
    """The history that `factor_rows` and `residual_rows` were made of, over the given sessions and symbols.

    Factors are those given, or those of the frame in its first order of appearance.
    """
    factors = factors or factor_frame["factor"].unique(maintain_order=True).to_list()
    by_factor = pivots(
        factor_frame.select("session", "return", "noise", symbol="factor"), ["return", "noise"], sessions, factors
    )
    by_symbol = pivots(residual_frame, ["residual", "leverage"], sessions, symbols)
    return FactorHistory(
        tuple(sessions),
        tuple(symbols),
        tuple(factors),
        by_factor["return"],
        by_factor["noise"],
        by_symbol["residual"],
        np.nan_to_num(by_symbol["leverage"]),
    )


def _rows(sessions: Sequence[date], names: Sequence[str], key: str, columns: dict[str, Floats]) -> pl.DataFrame:
    keys = pl.DataFrame(
        {
            "session": pl.Series(np.repeat(np.array(sessions, dtype="datetime64[D]"), len(names)), dtype=pl.Date),
            key: pl.Series(list(names) * len(sessions), dtype=pl.String),
        }
    )
    frame = keys.with_columns(pl.Series(name, x.ravel(), dtype=pl.Float64) for name, x in columns.items())
    return frame.filter(pl.col(next(iter(columns))).is_not_nan())
