"""What an enhanced index finds on the synthetic exchange: excess with its interval, and whether its risk was foretold.

Run `python benchmarks/bench_enhance.py [--symbols 300] [--sessions 420] [--shuffles 3] [--index CSI500]`. The book is
walked in memory by the functions of the nightly job: decisions at the close of each week's last session, fills at the
next vwap, lots, costs. Scores are the oracle's, and the same ones dealt anew among the names of every session, where
nothing can be found. The interval of the yearly excess is that of the mean of daily active returns, with a variance of
Newey and West over five lags. `realised / predicted`: deviation of active returns over the root mean square of the
forecast in force. The last 160 sessions are walked; the risk model's window lies before them.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from datetime import date

import measure
import numpy as np
import polars as pl

from consumers.benchmark import PriceHistory, benchmark
from fpm.exchange.simulate import YEARS, ExchangeConfig, simulate
from fpm.panels import pivot
from fpm.portfolio.book import Book, cents
from fpm.portfolio.decide import Dates, decide
from fpm.portfolio.fills import quotes
from fpm.portfolio.mandate import Mandate, mandate_of
from fpm.portfolio.session import DayPrices, Decision, Evening, step
from fpm.risk.estimate import RiskConfig, models_of
from fpm.risk.factor_returns import standard_score
from fpm.risk.history import factor_history, style_walk
from fpm.risk.market_panel import MarketPanel, market_panel
from fpm.schema import STYLES

LIQUIDITY = 20  # sessions whose mean traded value bounds a trade, as in the job `portfolio`
WALKED = 160
LAGS = 5  # sessions between two decisions


@dataclass(frozen=True)
class Exchange:
    """Daily bars, index members and the oracle's scores (T, N) of a synthetic exchange."""

    history: PriceHistory
    members: pl.DataFrame
    panel: MarketPanel
    score_TN: np.ndarray


def exchange(symbols: int, sessions: int, seed: int) -> Exchange:
    years = {"first": date(2022, 1, 4), "spoiled_every": 0, "daily": True, "events": YEARS}
    config = ExchangeConfig(symbols=symbols, sessions=sessions, seed=seed, **years)
    parts: dict[str, list[pl.DataFrame]] = {"daily": [], "members": [], "oracle": []}
    for tables in simulate(config):
        rows = {"daily": tables.daily_bars, "members": tables.index_members, "oracle": tables.oracle}
        for name, frame in rows.items():
            if frame is not None and frame.height:
                parts[name].append(frame.with_columns(session=pl.lit(tables.session)))
    bars, members, oracle = (pl.concat(frames, how="diagonal_relaxed") for frames in parts.values())
    days, names = bars["session"].unique().sort().to_list(), bars["symbol"].unique().sort().to_list()
    panel = market_panel(bars, days, names)
    return Exchange(PriceHistory(bars), members, panel, pivot(oracle, "combined", panel.sessions, panel.symbols))


def dealt(score_TN: np.ndarray, seed: int) -> np.ndarray:
    """The scores of every session among its names in another order."""
    rng, out_TN = np.random.default_rng(seed), score_TN.copy()
    for row in out_TN:
        known = np.flatnonzero(np.isfinite(row))
        row[known] = rng.permutation(row[known])
    return out_TN


# --- one walk -----------------------------------------------------------------------------------------------------
def walk(market: Exchange, score_TN: np.ndarray, mandate: Mandate, walked: int = WALKED) -> pl.DataFrame:
    """session, active return, and the yearly tracking error of the decision in force, of every session with a book."""
    panel, history = market.panel, market.history
    first = len(panel.sessions) - walked
    weekly = [n for n in range(first, len(panel.sessions) - 1) if n == first or _ends_week(panel.sessions, n)]
    config = RiskConfig()
    models = dict(models_of(factor_history(panel, score_TN, config.seasoned), panel, weekly, score_TN, config))
    styles = {
        number: style_NS for number, style_NS in style_walk(panel, first, len(panel.sessions)) if number in models
    }
    evening = Evening(Book({}, cents(mandate.capital)), history.last(panel.sessions[first - 1]))
    decision, errors, rows, worth = None, [np.nan], [], None
    for number in range(first, len(panel.sessions)):
        session, before = panel.sessions[number], panel.sessions[number - 1]
        today = history.bars.filter(pl.col("session") == session)
        done = step(
            mandate,
            session,
            evening.book,
            DayPrices(today, evening.last),
            benchmark(mandate.index, before, history, market.members),
            decision,
        )
        nav, gain = done.nav.select("nav", "benchmark_return").row(0)
        if worth is not None and evening.book.shares:
            rows.append((session, nav / worth - 1 - gain, errors[0]))
        worth, evening, decision, errors = nav, done.evening, None, errors[-1:]
        if number in models:
            names = _names(market, number, styles[number], score_TN[number], mandate.index)
            dates = Dates(session, panel.sessions[number + 1])
            made = decide(mandate, dates, evening, names, models[number])
            decision = Decision(session, made.targets)
            errors.append(made.decision["tracking_error"].item())  # in force from the close after its fills
    return pl.DataFrame(rows, schema=["session", "active", "tracking_error"], orient="row")


def _ends_week(sessions: tuple[date, ...], number: int) -> bool:
    return sessions[number + 1].isocalendar()[:2] != sessions[number].isocalendar()[:2]


def _names(market: Exchange, number: int, style_NS: np.ndarray, score_N: np.ndarray, index: str) -> pl.DataFrame:
    """Candidates as `decide` reads them, in the order of the panel."""
    panel, history = market.panel, market.history
    session, days = panel.sessions[number], panel.sessions[max(0, number - LIQUIDITY + 1) : number + 1]
    today = history.bars.filter(pl.col("session") == session)
    quoted = {name: each for name, each in quotes(today, panel.symbols).items() if each.fill is not None}
    adjusted = pl.col("close") * pl.col("adj_factor")
    recent = history.bars.filter(pl.col("session").is_in(days)).sort("session").group_by("symbol")
    liquid = recent.agg(value=pl.col("amount").sum() / len(days), deviation=adjusted.pct_change().std().fill_null(0.02))
    gone = set(today.filter(pl.col("delist_date") <= session)["symbol"].to_list())
    can_buy = [name in quoted and not quoted[name].at_upper and name not in gone for name in panel.symbols]
    can_sell = [name in quoted and not quoted[name].at_lower for name in panel.symbols]
    rows = pl.DataFrame(
        {
            "symbol": panel.symbols,
            "industry": np.array(panel.industries)[panel.industry_TN[number]],
            **{name: np.nan_to_num(style_NS[:, column]) for column, name in enumerate(STYLES)},
            "score": standard_score(score_N),
            "buyable": can_buy,
            "sellable": can_sell,
        }
    )
    weights = benchmark(index, session, history, market.members).rename({"weight": "benchmark_weight"})
    rows = rows.join(weights, on="symbol", how="left", maintain_order="left")
    return rows.join(liquid, on="symbol", how="left", maintain_order="left")


# --- figures ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Figures:
    """`excess` a year with the ends of its 95 % interval; `ratio`: realised over predicted tracking error."""

    excess: float
    low: float
    high: float
    realised: float
    predicted: float

    @property
    def ratio(self) -> float:
        return self.realised / self.predicted


def figures(rows: pl.DataFrame, year: int = 252) -> Figures:
    active_T, error_T = rows["active"].to_numpy(), rows["tracking_error"].to_numpy()
    centred_T, count = active_T - active_T.mean(), len(active_T)
    variance = centred_T @ centred_T / count
    for lag in range(1, LAGS + 1):
        variance += 2 * (1 - lag / (LAGS + 1)) * (centred_T[lag:] @ centred_T[:-lag]) / count
    half = 1.96 * np.sqrt(max(variance, 0.0) / count) * year
    mean = active_T.mean() * year
    known = np.isfinite(error_T)
    predicted = float(np.sqrt(np.square(error_T[known]).mean()))
    realised = float(active_T[known].std(ddof=1) * np.sqrt(year))
    return Figures(float(mean), float(mean - half), float(mean + half), realised, predicted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("symbols", 300), ("sessions", 420), ("shuffles", 3), ("seed", 7), ("walked", WALKED)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--index", default="CSI500")
    arguments = parser.parse_args()
    market = exchange(arguments.symbols, arguments.sessions, arguments.seed)
    mandate = replace(mandate_of(arguments.index), capital=1e8)
    streams = {"oracle": market.score_TN}
    streams |= {f"shuffled {seed}": dealt(market.score_TN, seed) for seed in range(arguments.shuffles)}
    rows = []
    for name, score_TN in streams.items():
        start = time.process_time()
        own = figures(walk(market, score_TN, mandate, arguments.walked))
        cells = [f"{own.excess:.4f}", f"[{own.low:.4f}, {own.high:.4f}]", own.realised, own.predicted, own.ratio]
        rows.append([name, *cells, time.process_time() - start])
        print(rows[-1], flush=True)
    heads = ("scores", "excess a year", "95 %", "realised", "predicted", "realised / predicted", "CPU s")
    measure.show(f"{arguments.index}, {arguments.symbols} names, {arguments.walked} sessions", heads, rows)


if __name__ == "__main__":
    main()
