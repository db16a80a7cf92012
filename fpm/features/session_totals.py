"""A symbol's ordinary flow in earlier sessions: session totals, scales made from them, slot medians.

Every statistic of a session uses sessions strictly before it. Volumes jump at splits, so the ratio of adjustment
factors converts them to the later session's shares; amounts and counts need no conversion.

Letters in array names: S symbols, T minutes of the view, F the 32 features, H earlier sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.features.bars import blocks
from fpm.features.minute_features import FeatureConstants, Profile, by_symbol

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from fpm.features.bars import Grid
    from fpm.markets import Market

Array = NDArray[np.float64]
MEDIAN_INPUTS = ("symbol", "slot", "volume", "amount")


def unit(flow: str) -> str:
    """Return the flow whose total bounds this one's scale from below: amount, volume, trade_count or avg_trade_amount.

    An average per trade is not a part of the session's amount, so its own total bounds it.

    >>> unit("xl_buy_volume"), unit("cancel_count")
    ('volume', 'trade_count')
    """
    if flow == "avg_trade_amount":
        return flow
    return {"amount": "amount", "volume": "volume", "count": "trade_count"}[flow.rsplit("_", 1)[-1]]


def session_totals(raw_STF: Array, grid: Grid, daily: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Return symbol, profile, adj_factor and the session's total of every flow, in that session's own shares.

    Every symbol with a trade and a positive adjustment factor has one row, sorted by symbol. A total is null if fewer
    than `coverage` of the minutes have the flow; otherwise missing minutes are left out of it.
    """
    return totals_of_blocks([list(np.moveaxis(raw_STF, -1, 0))], grid, daily, profile)


def totals_of_blocks(
    raw_blocks: Iterable[Sequence[Array]], grid: Grid, daily: pl.DataFrame, profile: Profile
) -> pl.DataFrame:
    """Return `session_totals` of raw features that come in blocks of symbols, in the order of the grid."""
    adjust_S = by_symbol(daily, grid.symbols, "adj_factor")
    present = grid.traded_ST.any(axis=1) & np.isfinite(adjust_S) & (adjust_S > 0)
    order = [i for i in sorted(range(len(grid.symbols)), key=grid.symbols.__getitem__) if present[i]]
    names = pl.Series([grid.symbols[i] for i in order], dtype=pl.String)
    keys = {"symbol": names, "profile": pl.repeat(profile.name, len(order), dtype=pl.String, eager=True)}
    places = [profile.features.index(flow) for flow in profile.flows]
    parts = [
        np.stack([_total(features[place], profile.constants.coverage) for place in places]) for features in raw_blocks
    ]
    total_FS = np.concatenate(parts, axis=1) if parts else np.empty((len(places), 0))
    columns = {flow: total_S[order] for flow, total_S in zip(profile.flows, total_FS, strict=True)}
    frame = pl.DataFrame(keys | {"adj_factor": adjust_S[order]} | columns)
    return frame.with_columns(pl.col(profile.flows).fill_nan(None))


def _total(flow_ST: Array, coverage: float) -> Array:
    """Return each symbol's sum over the available minutes, NaN if they are too few, (S,)."""
    finite_ST = np.isfinite(flow_ST)
    # A cumulative sum adds left to right whatever the memory layout, so the total has one value everywhere.
    total_S = np.cumsum(np.where(finite_ST, flow_ST, 0.0), axis=1)[:, -1]
    return np.where(finite_ST.mean(axis=1) >= coverage, total_S, np.nan)


def scales(totals: pl.DataFrame, symbols: Sequence[str], adj_factor_S: Array, profile: Profile) -> Array:
    """Return the divisors of a session's flows, (S, 32) float64, NaN for prices and for flows without a scale.

    `totals`: rows of `session_totals` with their `session`, of the `window` sessions before; rows of other profiles or
    symbols have no effect. `adj_factor_S`: today's adjustment factors. A flow's scale is the mean of its last `history`
    available totals, NaN with fewer than `minimum`, and at least `group_fraction` of its unit's scale and `floor`. A
    symbol that traded in fewer than `minimum` sessions, or whose adjustment factor is not positive, is NaN throughout
    and therefore has no features in the session.
    """
    constants, scales_SF = profile.constants, np.full((len(symbols), len(profile.features)), np.nan)
    if totals.is_empty():
        return scales_SF
    days = totals["session"].unique().sort().to_list()[-constants.window :]
    ours = pl.col("symbol").is_in(list(symbols)) & pl.col("session").is_in(days) & (pl.col("profile") == profile.name)
    rows = totals.filter(ours)
    index = _positions(rows["session"], days), _positions(rows["symbol"], symbols)
    usable_S = np.isfinite(adj_factor_S) & (adj_factor_S > 0)
    then_HS = np.full((len(days), len(symbols)), np.nan)
    then_HS[index] = rows["adj_factor"].to_numpy()
    usable_S = usable_S & (np.isfinite(then_HS).sum(axis=0) >= constants.minimum)
    ratio_HS = adj_factor_S / then_HS
    means = {
        flow: _trailing_mean(_dense(rows[flow], index, then_HS.shape), ratio_HS, unit(flow), constants)
        for flow in profile.flows
    }
    for i, flow in enumerate(profile.features):
        if flow in means:
            group_S = constants.group_fraction * means.get(unit(flow), np.nan)
            bounded_S = np.maximum(means[flow], np.fmax(group_S, constants.floor))
            scales_SF[:, i] = np.where(usable_S, bounded_S, np.nan)
    return scales_SF


def _positions(values: pl.Series, order: Sequence[Hashable]) -> NDArray[np.int64]:
    """Return each value's position in `order`."""
    positions = {value: i for i, value in enumerate(order)}
    return np.array([positions[value] for value in values.to_list()], dtype=np.int64)


def _dense(column: pl.Series, index: tuple[NDArray[np.int64], NDArray[np.int64]], shape: tuple[int, ...]) -> Array:
    """Return a column of the totals as (H, S), NaN without a row."""
    dense = np.full(shape, np.nan)
    dense[index] = column.cast(pl.Float64).to_numpy()
    return dense


def _trailing_mean(total_HS: Array, ratio_HS: Array, leg: str, constants: FeatureConstants) -> Array:
    """Return the mean of the last `history` available totals in today's shares, NaN with fewer than `minimum`, (S,)."""
    todays_HS = total_HS * ratio_HS if leg == "volume" else total_HS
    finite_HS = np.isfinite(todays_HS)
    later_HS = np.cumsum(finite_HS[::-1], axis=0)[::-1]
    used_HS = finite_HS & (later_HS <= constants.history)
    count_S = used_HS.sum(axis=0)
    total_S = np.add.reduce(np.where(used_HS, todays_HS, 0.0), axis=0)
    return np.where(count_S >= constants.minimum, total_S / np.maximum(count_S, 1), np.nan)


def slot_median(earlier: Iterable[pl.DataFrame], symbols: Sequence[str], market: Market, profile: Profile) -> Array:
    """Return each slot's median amount over the earlier sessions in which the symbol traded, (S, T).

    `earlier`: symbol, slot, volume and amount of each of the `history` sessions before. A minute without a row has no
    trade and counts as 0; a session with an unavailable amount does not count. NaN for a symbol with fewer than
    `median_minimum` such sessions, and throughout if the profile has no surge feature.
    """
    shape = len(symbols), market.view_size(profile.view)
    if "surge_amount" not in profile.features:
        return np.full(shape, np.nan)
    amounts = [_slot_amounts(bars, symbols, market, profile.view) for bars in earlier if bars.height]
    median_ST = np.full(shape, np.nan)
    for rows in blocks(len(symbols)) if amounts else ():
        block_HST = np.stack([amount_ST[rows] for amount_ST in amounts])
        median_ST[rows] = _median(block_HST, profile.constants.median_minimum)
    return median_ST


def _slot_amounts(bars: pl.DataFrame, symbols: Sequence[str], market: Market, view: str) -> Array:
    """Return one session's amounts in a view, (S, T); NaN for a symbol without trades or with an unavailable amount."""
    place_R = bars["symbol"].cast(pl.Enum(list(symbols)), strict=False).to_physical()
    if place_R.null_count():
        bars, place_R = bars.filter(place_R.is_not_null()), place_R.drop_nulls()
    row_R = place_R.cast(pl.Int64).to_numpy()
    amounts_SN = np.zeros((len(symbols), len(market.slots)))
    traded_R = bars["volume"].cast(pl.Float64).to_numpy() > 0
    amount_R = bars["amount"].cast(pl.Float64).to_numpy()
    cell_R = row_R * len(market.slots) + bars["slot"].to_numpy()
    amounts_SN.ravel()[cell_R] = np.where(traded_R, amount_R, 0.0)
    halted_S = np.bincount(row_R[traded_R], minlength=len(symbols)) == 0
    amounts_SN[halted_S | np.isnan(amounts_SN).any(axis=1)] = np.nan
    positions = np.array(market.views[view])
    slots = np.flatnonzero(positions >= 0)
    starts = np.flatnonzero(np.diff(positions[slots], prepend=-1))
    merged: Array = np.add.reduceat(amounts_SN[:, slots], starts, axis=1)
    return merged


def _median(x_HST: Array, minimum: int) -> Array:
    """Return the median along the first axis, NaN with fewer than `minimum` values."""
    if not x_HST.size:
        return np.full(x_HST.shape[1:], np.nan)
    ordered_STH = np.sort(np.moveaxis(x_HST, 0, -1), axis=-1)  # NaN sorts last
    count_ST = np.isfinite(ordered_STH).sum(axis=-1)
    low_ST, high_ST = (
        np.take_along_axis(ordered_STH, middle_ST[..., None], axis=-1)[..., 0]
        for middle_ST in (np.maximum((count_ST - 1) // 2, 0), np.minimum(count_ST // 2, len(x_HST) - 1))
    )
    return np.where(count_ST >= minimum, (low_ST + high_ST) / 2, np.nan)
