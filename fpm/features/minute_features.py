"""The 32 features of every minute: profile, raw values, standardised values, and the long table that stores them.

Raw values, in the order of the profile (names in `fpm.schema`):

- prices, as p / p_open - 1, with p_open the open of the session's first traded minute; before that minute both p and
  p_open are the prior session's close, so these features are 0 (nothing is filled backwards);
- one ratio without change: `price_pos` (close between the limits) or `range_pos` (close in the session's range so far);
- flows, in the session's own shares, currency and counts; `fpm.features.session_totals` has their divisors.

NaN marks unavailable values: a missing input column or trailing median, or a minute without observation. A minute
without a trade is an observation: its flows are 0 and its prices those of the last trade.

Letters in array names: S symbols, T minutes of the view, F the 32 features.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fpm.errors import StoreCorrupt
from fpm.features.bar_flows import (
    FilledBars,
    bar_prices,
    bulk_taker_flows,
    filled_bars,
    shape_flows,
    total_flows,
    vendor_taker_flows,
)
from fpm.features.bars import blocks
from fpm.schema import FEATURES, ORDER_FLOWS, PRICE_FEATURES, SIZE_FLOWS, TAKER_FLOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fpm.features.bars import Grid

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]
RATIOS = ("price_pos", "range_pos")
FACTS = ("pre_close", "limit_up", "limit_down")  # of a symbol and session, from the daily table


@dataclass(frozen=True)
class FeatureConstants:
    """Constants of the features; part of the profile's hash.

    A flow's divisor is the mean of its session totals over the last `history` sessions that have one, among the
    `window` sessions before; a symbol with fewer than `minimum` of them has no features. `group_fraction` of the scale
    of the leg's unit (amount, volume, trade count) and `floor` bound the divisor from below. Standardised values are
    clipped at ± `clip`. A slot's median amount needs `median_minimum` of the last `history` sessions; an amount above
    `surge_multiple` times it is a surge. A session counts if at least `coverage` of its minutes have the flow.
    """

    history: int = 20
    window: int = 60
    minimum: int = 20
    median_minimum: int = 10
    coverage: float = 0.5
    group_fraction: float = 0.01
    floor: float = 1.0
    clip: float = 20.0
    sigma_minutes: int = 30
    surge_multiple: float = 3.0


PRESETS = {
    "default": FeatureConstants(),
    "demo": FeatureConstants(history=10, window=30, minimum=10, median_minimum=5),
    "short": FeatureConstants(history=5, window=10, minimum=5, median_minimum=3),
    "tiny": FeatureConstants(history=3, window=6, minimum=3, median_minimum=2),
}


@dataclass(frozen=True)
class Profile:
    """An ordered feature list, a grid view and the constants; features of profiles with different `hash` never mix."""

    name: str
    view: str
    constants: FeatureConstants = field(default_factory=FeatureConstants)

    @property
    def features(self) -> tuple[str, ...]:
        """All 32 features in order."""
        return FEATURES[self.name]

    @property
    def prices(self) -> tuple[str, ...]:
        """The first features: prices and one ratio."""
        return PRICE_FEATURES[self.name]

    @property
    def flows(self) -> tuple[str, ...]:
        """The remaining features."""
        return self.features[len(self.prices) :]

    @property
    def hash(self) -> str:
        """The first 12 hexadecimal digits of the sha256 of the profile's canonical JSON."""
        content = {"name": self.name, "view": self.view, "features": self.features, "constants": asdict(self.constants)}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def raw_features(grid: Grid, daily: pl.DataFrame, slot_median_ST: Array, profile: Profile) -> Array:
    """Return one session's features before standardisation, (S, T, 32) float64, NaN = unavailable.

    `daily`: the session's daily bars (symbol, pre_close, and for `price_pos` limit_up and limit_down).
    `slot_median_ST`: median amount of the same slot over earlier sessions. Values at minute t depend on minutes ≤ t.
    """
    # Features come first in memory, so that each one is contiguous, like the column that stores it.
    raw_FST = np.empty((len(profile.features), *grid.traded_ST.shape))
    parts = raw_blocks(grid, daily, slot_median_ST, profile)
    for rows, features in zip(blocks(len(grid.symbols)), parts, strict=True):
        for whole_ST, x_ST in zip(raw_FST, features, strict=True):
            whole_ST[rows] = x_ST
    return np.moveaxis(raw_FST, 0, -1)


def raw_blocks(grid: Grid, daily: pl.DataFrame, slot_median_ST: Array, profile: Profile) -> Iterator[list[Array]]:
    """Return `raw_features` of some symbols of the grid after others, 32 arrays (S, T): a block stays in the cache."""
    facts = {name: by_symbol(daily, grid.symbols, name) for name in FACTS}
    for rows in blocks(len(grid.symbols)):
        own = {name: value_S[rows] for name, value_S in facts.items()}
        yield _raw_features(grid.block(rows), own, slot_median_ST[rows], profile)


def _raw_features(grid: Grid, facts: Mapping[str, Array], slot_median_ST: Array, profile: Profile) -> list[Array]:
    bars = filled_bars(grid, facts["pre_close"])
    with np.errstate(invalid="ignore", divide="ignore"):
        if profile.name == "l2_32":
            prices, flows = _level2_features(grid, facts, bars)
        else:
            prices, flows = _bar_features(grid, bars, slot_median_ST, profile)
        relative = {name: x if name in RATIOS else x / bars.reference - 1 for name, x in prices.items()}
    columns = relative | flows
    return [columns[name] for name in profile.features]


def _level2_features(
    grid: Grid, facts: Mapping[str, Array], bars: FilledBars
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return prices and flows of `l2_32`, whose flows are all columns of the bars."""
    prices = {
        "high": bars.high,
        "low": bars.low,
        "close": bars.close,
        "price_pos": _limit_position(bars.close, facts),
    }
    legs = {name: grid.columns[name] for name in (*TAKER_FLOWS, *SIZE_FLOWS, *ORDER_FLOWS)}
    return prices, total_flows(grid) | legs


def _bar_features(
    grid: Grid, bars: FilledBars, slot_median_ST: Array, profile: Profile
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return prices and flows of `bar_32`; in `bar_flow_32` the vendor's taker legs replace the classified ones."""
    totals = total_flows(grid)
    takers = bulk_taker_flows(totals, bars, profile.constants.sigma_minutes)
    if profile.name == "bar_flow_32":
        takers |= vendor_taker_flows(grid, totals)
    shapes = shape_flows(totals, bars, profile.constants.surge_multiple * slot_median_ST)
    return bar_prices(grid, bars), totals | takers | shapes


def _limit_position(close_ST: Array, facts: Mapping[str, Array]) -> Array:
    """Return (close - limit_down) / (limit_up - limit_down), (S, T); NaN without a limit in force."""
    up_S, down_S = facts["limit_up"], facts["limit_down"]
    width_S = np.where(up_S > down_S, up_S - down_S, np.nan)
    return (close_ST - down_S[:, None]) / width_S[:, None]


def by_symbol(frame: pl.DataFrame, symbols: Sequence[str], column: str) -> Array:
    """Return a column of a table with one row per symbol, in the order of `symbols`, (S,) float64; NaN if none."""
    if column not in frame.columns:
        return np.full(len(symbols), np.nan)
    values = dict(zip(frame["symbol"].to_list(), frame[column].to_list(), strict=True))
    return np.array([values.get(symbol) for symbol in symbols], dtype=np.float64)


def standardise(raw_STF: Array, scales_SF: Array, profile: Profile) -> Array32:
    """Standardise features: flows over their scale times T, all values clipped, (S, T, 32) float32.

    A flow therefore averages 1 over an ordinary session; prices and ratios are only clipped. `scales_SF` comes from
    `fpm.features.session_totals.scales`; a symbol whose scales are all NaN is NaN throughout.
    """
    return standardised([list(np.moveaxis(raw_STF, -1, 0))], scales_SF, raw_STF.shape[1], profile)


def standardised(raw_blocks: Iterable[Sequence[Array]], scales_SF: Array, length: int, profile: Profile) -> Array32:
    """Return `standardise` of raw features of `length` minutes that come in blocks, in the order of the scales."""
    clip, priced, start = profile.constants.clip, len(profile.prices), 0
    scaled_S = np.asarray(np.isfinite(scales_SF).any(axis=1))
    x_FST = np.empty((len(profile.features), len(scales_SF), length), np.float32)
    for features in raw_blocks:
        rows = slice(start, start + len(features[0]))
        for i, raw_ST in enumerate(features):
            divisor_S = np.where(scaled_S[rows], 1.0, np.nan) if i < priced else scales_SF[rows, i] / length
            value_ST = raw_ST / divisor_S[:, None]
            np.maximum(value_ST, -clip, out=value_ST)
            x_FST[i, rows] = np.minimum(value_ST, clip, out=value_ST)
        start = rows.stop
    return np.moveaxis(x_FST, 0, -1)


def minute_features(grid: Grid, x_STF: Array32, profile: Profile) -> pl.DataFrame:
    """Return the long table: symbol, slot, profile and the 32 float32 columns, null = unavailable, sorted by its keys.

    `slot` is the position in the profile's view. A symbol without a trade in the session or without a scale has no
    rows; every other symbol has all T.
    """
    any_S = grid.traded_ST.any(axis=1) & _any_available(x_STF)
    present = [i for i in sorted(range(len(grid.symbols)), key=grid.symbols.__getitem__) if any_S[i]]
    if present != list(range(len(grid.symbols))):
        x_STF = np.moveaxis(np.moveaxis(x_STF, -1, 0)[:, present], 0, -1)
    return to_frame([grid.symbols[i] for i in present], x_STF, profile)


def _any_available(x_STF: Array32) -> NDArray[np.bool_]:
    """Return whether a symbol has any available value, (S,)."""
    any_S = np.zeros(len(x_STF), bool)
    for i in range(x_STF.shape[2]):
        left_S = np.flatnonzero(~any_S)
        any_S[left_S] = np.isfinite(x_STF[left_S, :, i]).any(axis=1)
    return any_S


def to_frame(symbols: Sequence[str], x_STF: Array32, profile: Profile) -> pl.DataFrame:
    """Return an array as the long table, with symbols in the order of `symbols`."""
    length = x_STF.shape[1]
    keys = {
        "symbol": pl.Series(symbols, dtype=pl.String).gather(np.repeat(np.arange(len(symbols)), length)),
        "slot": pl.Series(np.tile(np.arange(length, dtype=np.int16), len(symbols))),
        "profile": pl.repeat(profile.name, len(symbols) * length, dtype=pl.String, eager=True),
    }
    columns = {
        name: pl.Series(np.ascontiguousarray(x_STF[:, :, i]).reshape(-1), nan_to_null=True)
        for i, name in enumerate(profile.features)
    }
    return pl.DataFrame(keys | columns)


def from_frame(
    frame: pl.DataFrame, profile: Profile, features: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Array32]:
    """Return the long table as sorted symbols and x_STF, (S, T, 32) float32 with NaN where unavailable.

    F: the named `features`, None for all 32. Rows without a profile, which a correction removed, are left out.
    Raises StoreCorrupt if rows belong to another profile or do not fill a grid of symbols x slots.
    """
    ordered = frame.filter(pl.col("profile").is_not_null()).sort("symbol", "slot")
    symbols, length = ordered["symbol"].unique(maintain_order=True).to_list(), ordered["slot"].n_unique()
    if ordered.height != len(symbols) * length or (ordered["profile"] != profile.name).any():
        raise StoreCorrupt(
            code="FPM-MF-001",
            wrong=f"{ordered.height} rows for {len(symbols)} symbols and {length} slots, or rows of another profile",
            effect="nothing was read",
            todo=f"recompute the session's minute_features for profile {profile.name}",
        )
    names = list(features or profile.features)
    flat = ordered.select(pl.col(names).cast(pl.Float32).fill_null(float("nan"))).to_numpy()
    return tuple(symbols), np.ascontiguousarray(flat).reshape(len(symbols), length, len(names))
