"""Formulas of the `bar_32` and `bar_flow_32` features: prices and flows from one-minute bars.

Letters in array names: S symbols, T minutes of the view. A minute's flows are products with its amount, volume or
count, so an unavailable input (NaN) stays unavailable and never becomes 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fpm.features.bars import Grid

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FilledBars:
    """One session's prices, also defined in minutes without a trade, (S, T) float64 each.

    `open`, `high`, `low`, `close`: the traded prices. Without a trade all four are the session's last close, before the
    first trade the prior session's close; NaN in a minute without observation. `before`: the previous close; in the
    first traded minute its own open, because a return within the session has no earlier price. `reference`: open of the
    first traded minute; before it, the prior session's close. `started`: True from the first traded minute on.
    """

    open: Array
    high: Array
    low: Array
    close: Array
    before: Array
    reference: Array
    traded: Mask
    started: Mask
    observed: Mask


def filled_bars(grid: Grid, pre_close_S: Array) -> FilledBars:
    """Fill the grid's prices, forwards only.

    `pre_close_S`: the prior session's close on this session's basis, NaN if there is none.
    """
    traded_ST = grid.traded_ST
    slots_T = np.arange(traded_ST.shape[1])
    last_ST = np.maximum.accumulate(np.where(traded_ST, slots_T, -1), axis=1)
    started_ST = last_ST >= 0
    carried_ST = np.take_along_axis(grid.columns["close"], np.maximum(last_ST, 0), axis=1)
    close_ST = np.where(started_ST, carried_ST, pre_close_S[:, None])
    first_S = np.argmax(traded_ST, axis=1)
    open_S = np.take_along_axis(grid.columns["open"], first_S[:, None], axis=1)
    reference_ST = np.where(started_ST, open_S, pre_close_S[:, None])
    previous_ST = np.concatenate([close_ST[:, :1], close_ST[:, :-1]], axis=1)
    first_ST = traded_ST & (slots_T == first_S[:, None])
    observed_ST = ~np.isnan(grid.columns["volume"])
    prices = {
        name: np.where(traded_ST, grid.columns[name], np.where(observed_ST, close_ST, np.nan))
        for name in ("open", "high", "low", "close")
    }
    return FilledBars(
        **prices,
        before=np.where(first_ST, reference_ST, previous_ST),
        reference=reference_ST,
        traded=traded_ST,
        started=started_ST,
        observed=observed_ST,
    )


def bar_prices(grid: Grid, bars: FilledBars) -> dict[str, Array]:
    """Return the seven prices of `bar_32`, in currency, and `range_pos`, (S, T) each.

    In a minute without volume the vwap is the close; while the session has no range, `range_pos` is the middle, 0.5.
    """
    amount_ST, volume_ST = grid.columns["amount"], grid.columns["volume"]
    vwap_ST = np.where(bars.traded, amount_ST / np.where(bars.traded, volume_ST, 1.0), bars.close)
    high_ST, low_ST = _session_range(bars)
    width_ST = high_ST - low_ST
    ranged_ST = width_ST > 0
    position_ST = (bars.close - low_ST) / np.where(ranged_ST, width_ST, 1.0)
    return {
        "open": bars.open,
        "high": bars.high,
        "low": bars.low,
        "close": bars.close,
        "vwap": vwap_ST,
        "session_vwap": _session_vwap(amount_ST, volume_ST, bars),
        "typical_price": (bars.high + bars.low + bars.close) / 3,
        "range_pos": np.where(ranged_ST, position_ST, np.where(np.isnan(bars.close), np.nan, 0.5)),
    }


def total_flows(grid: Grid) -> dict[str, Array]:
    """Return `amount`, `volume`, `trade_count` and `avg_trade_amount` (0 without a trade), (S, T) each."""
    amount_ST, count_ST = grid.columns["amount"], grid.columns["trades"]
    average_ST = np.where(count_ST == 0, 0.0 * amount_ST, amount_ST / np.where(count_ST == 0, 1.0, count_ST))
    return {
        "amount": amount_ST,
        "volume": grid.columns["volume"],
        "trade_count": count_ST,
        "avg_trade_amount": average_ST,
    }


def bulk_taker_flows(totals: dict[str, Array], bars: FilledBars, sigma_minutes: int) -> dict[str, Array]:
    """Classify amount, volume and count as buyer- or seller-initiated by bulk volume classification, (S, T) each.

    The buyers' share is the normal distribution function of the close change over the root mean square of the close
    changes in the `sigma_minutes` minutes before: Easley, Lopez de Prado and O'Hara 2012, "Flow toxicity and
    liquidity".
    """
    share_ST = _buyer_share(bars, sigma_minutes)
    flows = {}
    for unit, name in (("amount", "amount"), ("volume", "volume"), ("count", "trade_count")):
        flows[f"buy_{unit}"] = totals[name] * share_ST
        flows[f"sell_{unit}"] = totals[name] - flows[f"buy_{unit}"]
    return flows


def vendor_taker_flows(grid: Grid, totals: dict[str, Array]) -> dict[str, Array]:
    """Return the vendor's own taker legs; a missing sell leg is the total less the buy leg, and vice versa."""
    flows = {}
    for unit, name in (("amount", "amount"), ("volume", "volume"), ("count", "trade_count")):
        for side, other in (("buy", "sell"), ("sell", "buy")):
            if f"{side}_{unit}" in grid.available:
                flows[f"{side}_{unit}"] = grid.columns[f"{side}_{unit}"]
            elif f"{other}_{unit}" in grid.available:
                flows[f"{side}_{unit}"] = np.maximum(totals[name] - grid.columns[f"{other}_{unit}"], 0.0)
    return flows


def shape_flows(totals: dict[str, Array], bars: FilledBars, surge_ST: Array) -> dict[str, Array]:
    """Return amounts and volumes of minutes with a certain shape, (S, T) each.

    up / down / flat compare the minute's close with its own open. Returns compare it with the previous close, which
    also divides the range (high - low). A new high (low) is strictly beyond all earlier traded minutes of the session,
    so the first one sets none. `surge_ST`: amount above which a minute is a surge.
    """
    amount_ST, volume_ST = totals["amount"], totals["volume"]
    change_ST = bars.close / bars.before - 1
    kinds = {"up": bars.close > bars.open, "down": bars.close < bars.open, "flat": bars.close == bars.open}
    by_kind = {}
    for kind, is_kind in kinds.items():
        by_kind[f"{kind}_amount"], by_kind[f"{kind}_volume"] = amount_ST * is_kind, volume_ST * is_kind
    earlier_high_ST, earlier_low_ST = (_one_minute_later(extreme) for extreme in _session_range(bars))
    # The flow of a missing minute is NaN already; its return must not make other minutes' flows NaN.
    move_ST = np.where(bars.traded, change_ST, 0.0)
    width_ST = np.where(bars.traded, (bars.high - bars.low) / bars.before, 0.0)
    return by_kind | {
        "range_amount": amount_ST * width_ST,
        "abs_return_amount": amount_ST * np.abs(move_ST),
        "up_return_amount": amount_ST * np.where(move_ST > 0, move_ST, 0.0),
        "down_return_amount": amount_ST * np.where(move_ST < 0, -move_ST, 0.0),
        "new_high_amount": amount_ST * (bars.high > earlier_high_ST),
        "new_low_amount": amount_ST * (bars.low < earlier_low_ST),
        "surge_amount": np.where(np.isnan(surge_ST), np.nan, amount_ST * (amount_ST > surge_ST)),
        "zero_return_amount": amount_ST * (move_ST == 0),
    }


def _buyer_share(bars: FilledBars, sigma_minutes: int) -> Array:
    """Return the buyers' share in each minute, (S, T) in [0, 1]; without a sigma, by the sign of the change alone."""
    from scipy.special import ndtr

    change_ST = np.where(bars.traded, bars.close - bars.before, 0.0)
    sigma_ST = _trailing_rms(change_ST, bars.started & bars.observed, sigma_minutes)
    by_sign_ST = 0.5 + 0.5 * np.sign(change_ST)
    scaled_ST = sigma_ST > 0
    share: Array = np.where(scaled_ST, ndtr(change_ST / np.where(scaled_ST, sigma_ST, 1.0)), by_sign_ST)
    return share


def _trailing_rms(x_ST: Array, counted_ST: Mask, width: int) -> Array:
    """Return the root mean square over the `counted_ST` minutes among the `width` before each; 0 if there are none.

    Squares are added one by one: a running sum with a subtraction would leave rounding errors where all changes are 0.
    """
    squares_ST, length = np.square(x_ST), x_ST.shape[1]
    total_ST = np.zeros_like(x_ST)
    for lag in range(1, min(width, length - 1) + 1):
        total_ST[:, lag:] += squares_ST[:, :-lag]
    before_ST = np.cumsum(counted_ST, axis=1, dtype=np.int32) - counted_ST
    count_ST = before_ST.copy()
    count_ST[:, width:] -= before_ST[:, :-width]
    rms: Array = np.sqrt(total_ST / np.maximum(count_ST, 1))
    return rms


def _session_range(bars: FilledBars) -> tuple[Array, Array]:
    """Return the highest high and lowest low of the traded minutes so far, (S, T) each; NaN before the first."""
    high_ST = np.fmax.accumulate(np.where(bars.traded, bars.high, np.nan), axis=1)
    low_ST = np.fmin.accumulate(np.where(bars.traded, bars.low, np.nan), axis=1)
    return high_ST, low_ST


def _session_vwap(amount_ST: Array, volume_ST: Array, bars: FilledBars) -> Array:
    """Return amount over volume of the session so far, where both exist; before a trade the filled close, (S, T)."""
    both_ST = bars.traded & np.isfinite(amount_ST)
    amounts_ST = np.cumsum(np.where(both_ST, amount_ST, 0.0), axis=1)
    volumes_ST = np.cumsum(np.where(both_ST, volume_ST, 0.0), axis=1)
    priced_ST = volumes_ST > 0
    average_ST = amounts_ST / np.where(priced_ST, volumes_ST, 1.0)
    so_far_ST = np.where(priced_ST, average_ST, np.where(bars.started, np.nan, bars.close))
    return np.where(bars.observed, so_far_ST, np.nan)


def _one_minute_later(x_ST: Array) -> Array:
    """Move each value to the next minute; the first is NaN."""
    return np.concatenate([np.full((len(x_ST), 1), np.nan), x_ST[:, :-1]], axis=1)
