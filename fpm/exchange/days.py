"""The synthetic exchange from day to day: prices, events, and the impacts that make returns predictable.

Letters in array names: S symbols, L sessions back (0 = the newest), K styles.

Prices are integers, in ticks of 0.01. A return that limits, halts or ticks prevent stays `pending` and happens as soon
as it can, so returns over several sessions still sum to those the simulator drew.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fpm.exchange.styles import StyleMix, draw_styles

if TYPE_CHECKING:
    from fpm.exchange.lottery import Lottery, Tilts

TICKS = 100  # ticks per currency unit: dividing by it makes 12.34 the nearest double to 12.34
# A session's driver moves the returns of sessions t+2 .. t+6, a fifth each. The label close(t+1) -> close(t+6)
# therefore contains all five parts of t's driver, four of t-1's, ... one of t-4's.
FIRST_LAG, LAST_LAG = 2, 6
SPREAD = LAST_LAG - FIRST_LAG + 1
REMAINING_L = np.arange(SPREAD, 0, -1) / SPREAD
LIMIT, LIMIT_ST = 0.10, 0.05
FREE_SESSIONS = 5  # no limit in a listing's first five sessions: Shanghai and Shenzhen trading rules 2023, 3.3
NOTICE = 10  # sessions between the announcement of a delisting and its last session
SEASONED = 1_000  # age in sessions of a symbol that is listed when the exchange opens
CSI_300 = 300  # many vendors write the index as 000300.SZ, so no stock has this code
SPLIT_RATIOS = (1.2, 1.3, 1.5, 2.0)
INDUSTRIES = (
    "banks",
    "materials",
    "energy",
    "electronics",
    "software",
    "pharma",
    "food",
    "autos",
    "utilities",
    "machinery",
)


@dataclass(frozen=True)
class Events:
    """Probabilities per symbol and session; `unlisted` is the share of symbols that list after the start."""

    split: float = 1 / 400
    dividend: float = 0.0
    halt: float = 1 / 400
    jump: float = 1 / 250
    delisting: float = 1 / 4_000
    listing: float = 1 / 50
    unlisted: float = 0.08


@dataclass(frozen=True)
class Impact:
    """How one session drives later returns: the total effect of its drivers, in daily idiosyncratic sd.

    The daily driver is abnormal volume (followed by gains) and the session's own return (followed by reversal).
    """

    intraday: float = 0.57
    daily: float = 0.33
    volume_shock: float = 0.75
    reversal: float = 0.66
    styles: StyleMix | Lottery = field(default_factory=StyleMix)


@dataclass(frozen=True)
class Universe:
    """The constants of every symbol, sorted by symbol; shares are those of the exchange's first day."""

    symbols: tuple[str, ...]
    sector_S: np.ndarray
    sigma_S: np.ndarray
    beta_S: np.ndarray
    turnover_S: np.ndarray
    total_shares_S: np.ndarray
    float_shares_S: np.ndarray
    issue_ticks_S: np.ndarray
    age_days_S: np.ndarray


@dataclass(frozen=True)
class State:
    """What one session passes to the next; `notice_S` counts the sessions left before removal, -1 for no notice.

    `adj_factor_S`: shares that one of the first day became. `payout_S`: growth of the adjustment factor by dividends.
    """

    close_S: np.ndarray
    pending_S: np.ndarray
    log_vol_S: np.ndarray
    market_log_vol: float
    adj_factor_S: np.ndarray
    payout_S: np.ndarray
    age_S: np.ndarray
    listed_S: np.ndarray
    notice_S: np.ndarray
    halt_left_S: np.ndarray
    intraday_LS: np.ndarray
    daily_LS: np.ndarray


@dataclass(frozen=True)
class Day:
    """The daily values that a session's minutes must add up to.

    `limit_*`: ticks, 0 where no limit is in force. `demand_S`: the log return against `pre_close_S` (ticks) that the
    session would have without limits. `volume_S`: shares. `sigma_S`: the session's own volatility. `traded_S`: listed
    and not suspended. `tilts`: what a lottery's styles do, None for the planted styles.
    """

    pre_close_S: np.ndarray
    limit_up_S: np.ndarray
    limit_down_S: np.ndarray
    demand_S: np.ndarray
    sigma_S: np.ndarray
    volume_S: np.ndarray
    style_SK: np.ndarray
    shock_S: np.ndarray
    innovation_S: np.ndarray
    traded_S: np.ndarray
    tilts: Tilts | None = None


def draw_universe(symbols: int, seed: int) -> Universe:
    """Draw the symbols: half Shanghai, half Shenzhen, capitalisations over two orders of magnitude."""
    rng = np.random.default_rng([seed, 0])
    shenzhen = symbols // 2
    codes = [code for code in range(1, shenzhen + 2) if code != CSI_300][:shenzhen]
    names = [f"{code:06d}.SZ" for code in codes] + [f"{600_001 + i}.SH" for i in range(symbols - shenzhen)]
    price_S = np.exp(rng.normal(np.log(22.0), 0.6, symbols)).clip(6.0, 150.0)
    value_S = np.exp(rng.normal(np.log(1.5e10), 1.0, symbols)).clip(2e9, 5e11)
    total_S = np.rint(value_S / price_S / 100.0) * 100.0
    return Universe(
        symbols=tuple(names),
        sector_S=rng.integers(0, len(INDUSTRIES), symbols),
        sigma_S=0.02 * np.exp(rng.normal(0.0, 0.2, symbols)),
        beta_S=rng.normal(1.0, 0.2, symbols),
        turnover_S=0.015 * np.exp(rng.normal(0.0, 0.3, symbols)),
        total_shares_S=total_S,
        float_shares_S=np.rint(total_S * rng.uniform(0.4, 0.95, symbols) / 100.0) * 100.0,
        issue_ticks_S=np.rint(price_S * TICKS).astype(np.int64),
        age_days_S=rng.integers(400, 6_000, symbols),
    )


def opening_state(universe: Universe, events: Events, seed: int) -> State:
    """Return the state before the first session: most symbols long listed, a few not listed yet."""
    symbols = len(universe.symbols)
    rng = np.random.default_rng([seed, 1])
    listed_S = np.ones(symbols, bool)
    listed_S[rng.permutation(symbols)[: round(events.unlisted * symbols)]] = False
    return State(
        close_S=universe.issue_ticks_S,
        pending_S=np.zeros(symbols),
        log_vol_S=np.zeros(symbols),
        market_log_vol=0.0,
        adj_factor_S=np.ones(symbols),
        payout_S=np.ones(symbols),
        age_S=np.where(listed_S, SEASONED, 0),
        listed_S=listed_S,
        notice_S=np.full(symbols, -1),
        halt_left_S=np.zeros(symbols, np.int64),
        intraday_LS=np.zeros((LAST_LAG, symbols)),
        daily_LS=np.zeros((LAST_LAG, symbols)),
    )


def morning(state: State, events: Events, rng: np.random.Generator) -> tuple[State, np.ndarray]:
    """Apply the events before the open: removals, listings, delisting notices, halts, splits.

    Returns the new state, its prices still yesterday's closes, and today's reference prices in ticks.
    """
    chance_ES = rng.random((4, len(state.close_S)))
    halt_length_S = rng.integers(1, 6, len(state.close_S))
    ratio_S = np.array(SPLIT_RATIOS)[rng.integers(0, len(SPLIT_RATIOS), len(state.close_S))]
    removed_S = state.notice_S == 0
    listing_S = (state.age_S == 0) & (chance_ES[0] < events.listing)
    listed_S = (state.listed_S | listing_S) & ~removed_S
    settled_S = listed_S & (state.age_S > FREE_SESSIONS) & (state.notice_S < 0)
    announced_S = settled_S & (state.halt_left_S == 0) & (chance_ES[1] < events.delisting)
    settled_S = settled_S & ~announced_S
    halt_left_S = np.maximum(state.halt_left_S - 1, 0)
    halt_left_S = np.where(settled_S & (halt_left_S == 0) & (chance_ES[2] < events.halt), halt_length_S, halt_left_S)
    split_S = settled_S & (halt_left_S == 0) & (chance_ES[3] < events.split)
    ratio_S = np.where(split_S, ratio_S, 1.0)
    opened = replace(
        state,
        listed_S=listed_S,
        age_S=state.age_S + listed_S,
        notice_S=np.where(announced_S, NOTICE, np.maximum(state.notice_S - 1, -1)),
        halt_left_S=halt_left_S,
        adj_factor_S=state.adj_factor_S * ratio_S,
    )
    return opened, np.floor(state.close_S / ratio_S + 0.5).astype(np.int64)


def ex_dividend(
    opened: State, pre_close_S: np.ndarray, events: Events, rng: np.random.Generator
) -> tuple[State, np.ndarray]:
    """Pay dividends of 1 to 4 percent before the open: the state and its reference prices, in ticks, without them.

    A symbol that is halted, leaves the market or was split this morning pays none.
    """
    chance_S, yield_S = rng.random(len(pre_close_S)), rng.uniform(0.01, 0.04, len(pre_close_S))
    settled_S = opened.listed_S & (opened.notice_S < 0) & (opened.halt_left_S == 0) & (pre_close_S == opened.close_S)
    paid_S = np.where(settled_S & (chance_S < events.dividend), np.rint(yield_S * pre_close_S), 0.0).astype(np.int64)
    reference_S = pre_close_S - paid_S
    return replace(opened, payout_S=opened.payout_S * pre_close_S / reference_S), reference_S


def session_day(universe: Universe, state: State, pre_close_S: np.ndarray, rng: np.random.Generator) -> Day:
    """Draw a session: styles, abnormal volume, and the part of returns that no earlier session explains.

    `with_impact` adds the impacts of earlier sessions, so switching them off changes no other draw.
    """
    symbols = len(universe.symbols)
    style_SK, shock_S = draw_styles(rng, symbols), rng.normal(0.0, 1.0, symbols)
    market = 0.008 * np.exp(state.market_log_vol) * rng.normal()
    sector_S = 0.005 * rng.normal(0.0, 1.0, len(INDUSTRIES))[universe.sector_S]
    innovation_S = np.exp(state.log_vol_S) * rng.normal(0.0, 1.0, symbols)
    turnover_noise_S, market_turnover = rng.normal(0.0, 0.1, symbols), rng.normal(0.0, 0.1)
    log_turnover_S = np.log(universe.turnover_S) + 0.4 * shock_S + 0.5 * state.log_vol_S + turnover_noise_S
    volume_S = np.exp(log_turnover_S + market_turnover) * universe.float_shares_S * state.adj_factor_S
    limit_S = np.where(state.notice_S >= 0, LIMIT_ST, LIMIT)
    bound_S = (state.age_S > FREE_SESSIONS).astype(np.int64)
    return Day(
        pre_close_S=pre_close_S,
        limit_up_S=bound_S * np.floor(pre_close_S * (1.0 + limit_S) + 0.5 + 1e-9).astype(np.int64),
        limit_down_S=bound_S * np.floor(pre_close_S * (1.0 - limit_S) + 0.5 + 1e-9).astype(np.int64),
        demand_S=state.pending_S + universe.beta_S * market + sector_S + universe.sigma_S * innovation_S,
        sigma_S=universe.sigma_S * np.exp(state.log_vol_S),
        volume_S=np.rint(volume_S.clip(24_200.0)).astype(np.int64),
        style_SK=style_SK,
        shock_S=shock_S,
        innovation_S=innovation_S,
        traded_S=state.listed_S & (state.halt_left_S == 0),
    )


def with_news(day: Day, universe: Universe, events: Events, rng: np.random.Generator) -> Day:
    """Add rare jumps of several sd, which can send a price to its limit."""
    size_S = 4.0 * rng.normal(0.0, 1.0, len(day.demand_S)) * (rng.random(len(day.demand_S)) < events.jump)
    return replace(day, demand_S=day.demand_S + universe.sigma_S * size_S, innovation_S=day.innovation_S + size_S)


def with_impact(day: Day, universe: Universe, state: State, impact: Impact) -> Day:
    """Add the effect of the drivers of t-6 .. t-2 on session t."""
    drive_LS = impact.intraday * state.intraday_LS + impact.daily * state.daily_LS
    effect_S = drive_LS[FIRST_LAG - 1 : LAST_LAG].sum(axis=0) / SPREAD  # L = 0 is yesterday here
    return replace(day, demand_S=day.demand_S + universe.sigma_S * effect_S)


def evening(state: State, day: Day, close_S: np.ndarray, impact: Impact, rng: np.random.Generator) -> State:
    """Return the state after a session; `close_S` in ticks is the reference price of a symbol without a trade."""
    drive_S = impact.styles.driver(day.style_SK) * day.traded_S
    reversal_S = day.innovation_S.clip(-3.0, 3.0)
    daily_S = (impact.volume_shock * day.shock_S - impact.reversal * reversal_S) * day.traded_S
    log_vol_noise_S = rng.normal(0.0, 0.12, len(close_S))
    return replace(
        state,
        close_S=close_S,
        pending_S=np.where(state.listed_S, day.demand_S - np.log(close_S / day.pre_close_S), 0.0),
        log_vol_S=0.9 * state.log_vol_S + log_vol_noise_S,
        market_log_vol=0.9 * state.market_log_vol + 0.15 * rng.normal(),
        intraday_LS=np.vstack([drive_S, state.intraday_LS[:-1]]),
        daily_LS=np.vstack([daily_S, state.daily_LS[:-1]]),
    )


def oracle(
    universe: Universe, state: State, impact: Impact, ahead_S: np.ndarray | float = 0.0
) -> dict[str, np.ndarray]:
    """Return the expected label close(t+1) -> close(t+6) in the evening of t, by source, (S,) each.

    It is the remaining part of the impacts of t-4 .. t, and `ahead_S`, what is known of the drivers of t+1 .. t+4.
    Later draws, limits and halts are unknown.
    """
    weight_L1 = REMAINING_L[:, None]
    known_S = (weight_L1 * state.intraday_LS[:SPREAD]).sum(axis=0) + ahead_S
    intraday_S = universe.sigma_S * impact.intraday * known_S
    daily_S = universe.sigma_S * impact.daily * (weight_L1 * state.daily_LS[:SPREAD]).sum(axis=0)
    return {"intraday": intraday_S, "daily": daily_S, "combined": intraday_S + daily_S}
