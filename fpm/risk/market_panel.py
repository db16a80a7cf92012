"""Daily bars of a whole market as the arrays that a risk model reads: returns, size, turnover, industry.

Shapes: T sessions, N symbols, W sessions of a window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.panels import Floats, Integers, cells
from fpm.panels import panel as panel_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

Bools = NDArray[np.bool_]

UNCLASSIFIED = "unclassified"  # the industry of every name that was never classified
INPUTS = ("close", "adj_factor", "volume", "amount", "turnover", "float_shares", "total_shares", "suspended")
DOLLAR_WINDOW = 252  # sessions of traded amount whose mean stands for size where shares are unknown


@dataclass(frozen=True)
class MarketPanel:
    """What the risk model reads of a market, session by session.

    `return_TN`: return since the last close, NaN without a trade. `cap_TN`: size in currency, the last known one where
    a session has no bar, NaN before the panel's first bar of the name. `proxy_TN`: whether that size is traded amount,
    because neither float nor total shares are known. `turnover_TN`: share of the size that changed hands, 0 in a
    session without a trade, NaN before the first bar. `industry_TN`: position in `industries`, the last known one;
    names never classified are `UNCLASSIFIED`. `age_TN`: sessions with a return so far.
    """

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    return_TN: Floats
    cap_TN: Floats
    proxy_TN: Bools
    turnover_TN: Floats
    industry_TN: Integers
    industries: tuple[str, ...]
    age_TN: Integers

    def market_T(self) -> Floats:  # noqa: N802  shape in the name
        """Return of the market (T,), weighted by the sizes of the session before; 0 where nothing trades."""
        return self._market_T

    @cached_property
    def _market_T(self) -> Floats:  # noqa: N802  shape in the name
        before_TN = np.nan_to_num(np.concatenate([self.cap_TN[:1], self.cap_TN[:-1]]))
        weight_TN = np.where(np.isfinite(self.return_TN), before_TN, 0.0)
        total_T = weight_TN.sum(axis=1)
        gain_T = (weight_TN * np.nan_to_num(self.return_TN)).sum(axis=1)
        return np.where(total_T > 0, gain_T / np.where(total_T > 0, total_T, 1.0), 0.0)

    @cached_property
    def log_excess_TN(self) -> Floats:  # noqa: N802  shape in the name
        """Log returns less the market's (T, N), NaN without a trade."""
        market_T1 = np.log1p(np.maximum(self.market_T(), -0.99))[:, None]
        return np.asarray(np.log1p(np.maximum(self.return_TN, -0.99)) - market_T1, dtype=np.float64)

    def between(self, first: int, last: int) -> MarketPanel:
        """Sessions number `first` to `last` - 1, with what earlier ones established (size, industry, age)."""
        names = ("return_TN", "cap_TN", "proxy_TN", "turnover_TN", "industry_TN", "age_TN")
        cut = {name: getattr(self, name)[first:last] for name in names}
        return replace(self, sessions=self.sessions[first:last], **cut)


def market_panel(daily: pl.DataFrame, sessions: Sequence[date], symbols: Sequence[str]) -> MarketPanel:
    """`daily_bars` as a panel over the given sessions and symbols (T, N).

    Size is close x float shares; where these are unknown close x total shares; where both are, the mean traded amount
    of `DOLLAR_WINDOW` sessions, scaled by the session's median ratio of size to amount of the names that have both.
    Turnover is the column of that name, else amount over size. Amount is the column, else close x volume.
    """
    shape, cell_R = (len(sessions), len(symbols)), cells(daily, sessions, symbols)
    x = {
        name: panel_of(daily[name], cell_R, shape) if name in daily.columns else np.full(shape, np.nan)
        for name in INPUTS
    }
    adjust_TN = np.where(np.isfinite(x["adj_factor"]), x["adj_factor"], 1.0)
    traded_TN = (x["suspended"] != 1) & (x["close"] > 0) & ~(x["volume"] <= 0)
    close_TN = carried(np.where(traded_TN, x["close"] * adjust_TN, np.nan))
    before_TN = np.concatenate([np.full_like(close_TN[:1], np.nan), close_TN[:-1]])
    return_TN = np.where(traded_TN, close_TN / before_TN - 1, np.nan)
    amount_TN = np.where(np.isfinite(x["amount"]), x["amount"], x["close"] * x["volume"])
    amount_TN = np.where(np.isfinite(close_TN), np.where(traded_TN, np.nan_to_num(amount_TN), 0.0), np.nan)
    cap_TN, proxy_TN = _size(x, amount_TN)
    own_TN = np.divide(amount_TN, cap_TN, out=np.full(shape, np.nan), where=cap_TN > 0)
    turnover_TN = np.where(traded_TN & np.isfinite(x["turnover"]), x["turnover"], own_TN)
    codes_TN, industries = _industries(daily, cell_R, shape)
    age_TN = np.cumsum(np.isfinite(return_TN), axis=0)
    return MarketPanel(
        tuple(sessions), tuple(symbols), return_TN, cap_TN, proxy_TN, turnover_TN, codes_TN, industries, age_TN
    )


def weighted_sums(x_TN: Floats, weight_W: Floats, first: int = 0) -> Floats:
    """Sums over the last W sessions: row t is Σ_j weight_W[j] · x_TN[t - j], for t from `first` on; NaN counts as 0.

    Banded matrix products in blocks, so that a row depends on its own W sessions alone and no error accumulates.
    """
    width, block = len(weight_W), max(32, len(weight_W))
    unread = max(0, first - width + 1)  # rows that no sum reads
    filled_TN = np.where(np.isnan(x_TN[unread:]), 0.0, x_TN[unread:])  # `nan_to_num` takes thrice the time
    sums = np.empty((len(x_TN) - first, x_TN.shape[1]))
    for start in range(first, len(x_TN), block):
        stop, oldest = min(start + block, len(x_TN)), max(0, start - width + 1)
        lag = np.arange(start, stop)[:, None] - np.arange(oldest, stop)[None, :]
        band = np.where((lag >= 0) & (lag < width), weight_W[np.clip(lag, 0, width - 1)], 0.0)
        sums[start - first : stop - first] = band @ filled_TN[oldest - unread : stop - unread]
    return sums


def carried(x_TN: Floats) -> Floats:
    """The last finite value at or before each session; NaN before the first."""
    carried_TN = x_TN.copy()
    for before_N, now_N in pairwise(carried_TN):
        np.copyto(now_N, before_N, where=~np.isfinite(now_N))
    return carried_TN


def _size(x: dict[str, Floats], amount_TN: Floats) -> tuple[Floats, Bools]:
    """Size (T, N), and whether traded amount stands for it."""
    shares_TN = np.where(x["float_shares"] > 0, x["float_shares"], x["total_shares"])
    known_TN = carried(np.where((shares_TN > 0) & (x["close"] > 0), x["close"] * shares_TN, np.nan))
    if not (np.isnan(known_TN) & np.isfinite(amount_TN)).any():  # wherever there is an amount there is a size
        return known_TN, np.zeros(known_TN.shape, dtype=bool)
    ones_W = np.ones(DOLLAR_WINDOW)
    count_TN = weighted_sums(np.isfinite(amount_TN).astype(float), ones_W)
    traded_TN = weighted_sums(amount_TN, ones_W) / np.maximum(count_TN, 1)
    traded_TN = carried(np.where(traded_TN > 0, traded_TN, np.nan))
    ratio_TN = known_TN / traded_TN
    scale_T1 = np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 1.0 for row in ratio_TN])[
        :, None
    ]
    proxy_TN = ~np.isfinite(known_TN) & np.isfinite(traded_TN)
    return np.where(proxy_TN, traded_TN * scale_T1, known_TN), proxy_TN


def _industries(daily: pl.DataFrame, cell_R: Integers, shape: tuple[int, int]) -> tuple[Integers, tuple[str, ...]]:
    """Industry of every session and symbol as a position in the sorted names, and these names."""
    if "industry" not in daily.columns:
        return np.zeros(shape, np.int64), (UNCLASSIFIED,)
    said = daily["industry"].cast(pl.String)
    names = sorted({UNCLASSIFIED, *said.unique().drop_nulls().to_list()} - {""})
    code_TN = carried(panel_of(said.cast(pl.Enum(names), strict=False).to_physical(), cell_R, shape))
    return np.where(np.isfinite(code_TN), np.nan_to_num(code_TN), names.index(UNCLASSIFIED)).astype(np.int64), tuple(
        names
    )
