"""What one-minute bars tell about prices and flows: formulas of the `bar_32` and `bar_flow_32` features.

Letters in array names: S symbols, T minutes of the view. Flows of a minute are products with the minute's amount,
volume or count, so that an unavailable input (NaN) stays unavailable and never becomes a 0.
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
    """One session's prices with the awkward minutes settled, each (S, T) float64.

    `open`, `high`, `low`, `close`: as traded; without a trade all four are the session's last close, before the
    first trade the prior session's close; NaN where the minute was not observed. `before`: the previous close, for
    the first traded minute its own open (a return within the session has nothing earlier). `reference`: open of the
    first traded minute, before it the prior session's close. `started`: from the first traded minute on.
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
    """The grid's prices, filled forwards only. `pre_close_S`: prior session's close on this session's basis, or NaN."""
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
    """The seven prices of `bar_32`, in currency, and `range_pos`, each (S, T).

    A minute without volume has its close as vwap; a session without a range so far has the middle, 0.5, as `range_pos`.
    """
    amount_ST, volume_ST = grid.columns["amount"], grid.columns["volume"]
    vwap_ST = np.where(bars.traded, amount_ST / np.where(bars.traded, volume_ST, 1.0), bars.close)
    high_ST, low_ST = _session_range(bars)
    width_ST = high_ST - low_ST
    ranged_ST = width_ST > 0
    place_ST = (bars.close - low_ST) / np.where(ranged_ST, width_ST, 1.0)
    return {
        "open": bars.open,
        "high": bars.high,
        "low": bars.low,
        "close": bars.close,
        "vwap": vwap_ST,
        "session_vwap": _session_vwap(amount_ST, volume_ST, bars),
        "typical_price": (bars.high + bars.low + bars.close) / 3,
        "range_pos": np.where(ranged_ST, place_ST, np.where(np.isnan(bars.close), np.nan, 0.5)),
    }


def total_flows(grid: Grid) -> dict[str, Array]:
    """`amount`, `volume`, `trade_count` and `avg_trade_amount` (amount per trade, 0 without one), each (S, T)."""
    amount_ST, count_ST = grid.columns["amount"], grid.columns["trades"]
    average_ST = np.where(count_ST == 0, 0.0 * amount_ST, amount_ST / np.where(count_ST == 0, 1.0, count_ST))
    return {
        "amount": amount_ST,
        "volume": grid.columns["volume"],
        "trade_count": count_ST,
        "avg_trade_amount": average_ST,
    }


def bulk_taker_flows(totals: dict[str, Array], bars: FilledBars, sigma_minutes: int) -> dict[str, Array]:
    """Buyer- and seller-initiated amount, volume and count by bulk volume classification, each (S, T).

    The share of buyers is the normal distribution function of close change / root mean square of the close changes
    of the `sigma_minutes` minutes before: Easley, Lopez de Prado and O'Hara 2012, "Flow toxicity and liquidity".
    """
    share_ST = _buyer_share(bars, sigma_minutes)
    flows = {}
    for unit, name in (("amount", "amount"), ("volume", "volume"), ("count", "trade_count")):
        flows[f"buy_{unit}"] = totals[name] * share_ST
        flows[f"sell_{unit}"] = totals[name] - flows[f"buy_{unit}"]
    return flows


def vendor_taker_flows(grid: Grid, totals: dict[str, Array]) -> dict[str, Array]:
    """The taker legs the vendor really has. A missing sell leg is the total less the buy leg, and the reverse."""
    flows = {}
    for unit, name in (("amount", "amount"), ("volume", "volume"), ("count", "trade_count")):
        for side, other in (("buy", "sell"), ("sell", "buy")):
            own_ST, other_ST = grid.columns[f"{side}_{unit}"], grid.columns[f"{other}_{unit}"]
            if np.isfinite(own_ST).any():
                flows[f"{side}_{unit}"] = own_ST
            elif np.isfinite(other_ST).any():
                flows[f"{side}_{unit}"] = np.maximum(totals[name] - other_ST, 0.0)
    return flows


def shape_flows(totals: dict[str, Array], bars: FilledBars, surge_ST: Array) -> dict[str, Array]:
    """Amounts and volumes of minutes of a kind, each (S, T).

    up / down / flat compare the minute's close with its own open; returns compare it with the previous close, and
    the range (high - low) is over the previous close too. A new high (low) is strictly beyond all earlier traded
    minutes of the session, so the first one sets none. `surge_ST`: amount above which a minute is a surge.
    """
    amount_ST, volume_ST = totals["amount"], totals["volume"]
    change_ST = bars.close / bars.before - 1
    kinds = {"up": bars.close > bars.open, "down": bars.close < bars.open, "flat": bars.close == bars.open}
    by_kind = {}
    for kind, is_kind in kinds.items():
        by_kind[f"{kind}_amount"], by_kind[f"{kind}_volume"] = amount_ST * is_kind, volume_ST * is_kind
    earlier_high_ST, earlier_low_ST = (_one_minute_later(extreme) for extreme in _session_range(bars))
    # A missing minute's flow is NaN already; its return must not make the flow of other minutes NaN.
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
    """Share of buyers in each minute, (S, T) in [0, 1]; the sign of the change alone while no sigma is defined."""
    from scipy.special import ndtr

    change_ST = np.where(bars.traded, bars.close - bars.before, 0.0)
    sigma_ST = _trailing_rms(change_ST, bars.started & bars.observed, sigma_minutes)
    by_sign_ST = 0.5 + 0.5 * np.sign(change_ST)
    known_ST = sigma_ST > 0
    share: Array = np.where(known_ST, ndtr(change_ST / np.where(known_ST, sigma_ST, 1.0)), by_sign_ST)
    return share


def _trailing_rms(x_ST: Array, counted_ST: Mask, width: int) -> Array:
    """Root mean square over the `width` minutes before each one that are `counted_ST`; 0 where there is none.

    Squares are added one by one: a running sum with a subtraction would leave dust where all changes are 0.
    """
    squares_ST = np.square(x_ST)
    total_ST, count_ST = np.zeros_like(x_ST), np.zeros(x_ST.shape, np.int32)
    for lag in range(1, min(width, x_ST.shape[1] - 1) + 1):
        total_ST[:, lag:] += squares_ST[:, :-lag]
        count_ST[:, lag:] += counted_ST[:, :-lag]
    rms: Array = np.sqrt(total_ST / np.maximum(count_ST, 1))
    return rms


def _session_range(bars: FilledBars) -> tuple[Array, Array]:
    """Highest high and lowest low of the traded minutes up to and including each, (S, T); NaN before the first."""
    high_ST = np.fmax.accumulate(np.where(bars.traded, bars.high, np.nan), axis=1)
    low_ST = np.fmin.accumulate(np.where(bars.traded, bars.low, np.nan), axis=1)
    return high_ST, low_ST


def _session_vwap(amount_ST: Array, volume_ST: Array, bars: FilledBars) -> Array:
    """Amount over volume of the session so far, over the minutes that have both; the filled close before a trade."""
    both_ST = bars.traded & np.isfinite(amount_ST)
    amounts_ST = np.cumsum(np.where(both_ST, amount_ST, 0.0), axis=1)
    volumes_ST = np.cumsum(np.where(both_ST, volume_ST, 0.0), axis=1)
    priced_ST = volumes_ST > 0
    average_ST = amounts_ST / np.where(priced_ST, volumes_ST, 1.0)
    so_far_ST = np.where(priced_ST, average_ST, np.where(bars.started, np.nan, bars.close))
    return np.where(bars.observed, so_far_ST, np.nan)


def _one_minute_later(x_ST: Array) -> Array:
    """Each value moved to the next minute, NaN in the first."""
    return np.concatenate([np.full((len(x_ST), 1), np.nan), x_ST[:, :-1]], axis=1)
