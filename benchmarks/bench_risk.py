"""Whether the risk model's forecasts come true on real daily bars or a synthetic exchange's, and what it costs.

Run `python benchmarks/bench_risk.py [DATA] [--exchange SYMBOLS SESSIONS] [--settings NAME …] [--symbols 500 1800]`;
without DATA and --exchange the cost alone is measured. The exchange's score is its oracle's, its tables are daily ones
(`fpm simulate --daily`), and there is one table of all its sessions: nothing was chosen on them. DATA holds
`daily.parquet` (symbol, date, close, volume, suspect) and `sectors.parquet` (symbol, gics_sector). Dollar volume stands
for size. The score is the reversal of 20 sessions. Defaults were chosen on the first half of the sessions; the second
half is the report, and both together stand below. A value is followed by `*` where it lies outside the 95 % band that a
perfect model shows with the same sessions, tails and portfolios. The floor of the cost: the same market's plain N x N
covariance of 252 sessions.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import measure
import numpy as np
import polars as pl

from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.panels import pivot
from fpm.risk.ablation import ablation
from fpm.risk.estimate import RiskConfig, models_of, risk_model, switched
from fpm.risk.factor_returns import factor_names
from fpm.risk.history import factor_history, session_exposures
from fpm.risk.market_panel import MarketPanel, market_panel
from fpm.risk.styles import HISTORY, styles

START = 190  # sessions before the first forecast
LAG = 20  # sessions of the reversal score
FAMILIES = ("optimised", "random", "factor", "eigen", "score")
ALL_OFF = {"leverage": False, "noise": False, "score": False, "regime": 0.0, "shrinkage": 0.0, "specific": 84.0}
CANDIDATES = {
    "84/252/84, all off": RiskConfig(**ALL_OFF),
    "42/126/42, all off": RiskConfig(**{**ALL_OFF, "specific": 42.0}, volatility=42.0, correlation=126.0),
    "84/252/84, leverage": RiskConfig(**{**ALL_OFF, "leverage": True}),
    "84/252/84, leverage, noise": RiskConfig(**{**ALL_OFF, "leverage": True, "noise": True}),
    "84/252/84, leverage, noise, score": RiskConfig(**{**ALL_OFF, "leverage": True, "noise": True, "score": True}),
}


def real_panel(folder: Path) -> MarketPanel:
    sectors = pl.read_parquet(folder / "sectors.parquet").select("symbol", industry="gics_sector")
    bars = pl.read_parquet(folder / "daily.parquet").filter(~pl.col("suspect")).join(sectors, on="symbol", how="left")
    bars = bars.with_columns(
        session=pl.col("date").cast(pl.Date), amount=pl.col("close").cast(pl.Float64) * pl.col("volume")
    )
    return market_panel(bars, bars["session"].unique().sort().to_list(), bars["symbol"].unique().sort().to_list())


def reversal(panel: MarketPanel) -> np.ndarray:
    total_TN = np.cumsum(np.log1p(np.nan_to_num(panel.return_TN)), axis=0)
    score_TN = np.full(total_TN.shape, np.nan)
    score_TN[LAG:] = total_TN[:-LAG] - total_TN[LAG:]
    return np.where(np.isfinite(panel.cap_TN), score_TN, np.nan)


def exchange_panel(symbols: int, sessions: int) -> tuple[MarketPanel, np.ndarray]:
    """A synthetic exchange's market, and the scores that know what drives its returns."""
    daily, oracles = [], []
    for tables in simulate(ExchangeConfig(symbols=symbols, sessions=sessions, daily=True)):
        daily.append(tables.daily_bars.with_columns(session=pl.lit(tables.session)))
        oracles.append(tables.oracle.with_columns(session=pl.lit(tables.session)))
    bars, oracle = pl.concat(daily), pl.concat(oracles)
    panel = market_panel(bars, bars["session"].unique().sort().to_list(), bars["symbol"].unique().sort().to_list())
    return panel, pivot(oracle, "combined", panel.sessions, panel.symbols)


def halves(panel: MarketPanel) -> dict[str, tuple[int, int]]:
    middle = (START + len(panel.sessions)) // 2
    last = len(panel.sessions)
    return {"first half": (START, middle), "second half": (middle, last), "both halves": (START, last)}


def forecasts(panel: MarketPanel, score_TN: np.ndarray, spans: dict[str, tuple[int, int]], names: list[str]) -> None:
    settings = CANDIDATES | switched(RiskConfig())
    settings = {name: config for name, config in settings.items() if not names or name in names}
    for title, span in spans.items():
        table = ablation(panel, score_TN, settings, span, horizons=(1, 5))
        show("daily bias", table, title, 1, "bias")
        show("weekly bias", table, title, 5, "bias")
        show("share of 12-month windows, weekly", table, title, 5, "share_in_band")
        for figure in ("mrad", "q", "mahalanobis", "share_in_band"):
            show(figure, table, title, 1, figure)


def show(name: str, table: pl.DataFrame, title: str, horizon: int, figure: str) -> None:
    own = table.filter(horizon=horizon, figure=figure)
    rows = []
    for setting in own["setting"].unique(maintain_order=True):
        cells = {row["family"]: row for row in own.filter(setting=setting).rows(named=True)}
        rows.append([setting, *(_cell(cells[family]) for family in FAMILIES)])
    last = own.filter(setting="as configured").rows(named=True)
    bands = {row["family"]: f"{row['low']:.3f}-{row['high']:.3f}" for row in last if row["low"] is not None}
    if bands:
        rows.append(["band, as configured", *(bands[family] for family in FAMILIES)])
    measure.show(f"{name}, {title}", ("setting", *FAMILIES), rows)


def _cell(row: dict) -> str:
    return "-" if row["value"] is None else f"{row['value']:.3f}" + ("*" if row["inside"] is False else "")


def wide_panel(symbols: int, sessions: int) -> MarketPanel:
    random, shape = np.random.default_rng(12), (sessions, symbols)
    close = 10 * np.exp(
        np.cumsum(0.02 * random.standard_normal(shape) + 0.01 * random.standard_normal((sessions, 1)), 0)
    )
    volume = np.exp(13 + random.standard_normal(symbols) + 0.5 * random.standard_normal(shape))
    days = [date(2015, 1, 1) + timedelta(days=t) for t in range(sessions)]
    names = [f"{600000 + n}.SH" for n in range(symbols)]
    frame = pl.DataFrame(
        {
            "session": np.repeat(np.array(days, dtype="datetime64[D]"), symbols),
            "symbol": names * sessions,
            "close": close.ravel(),
            "volume": volume.ravel(),
            "amount": (close * volume).ravel(),
            "float_shares": np.full(close.size, 1e9),
            "industry": [f"industry {n % 30:02d}" for n in range(symbols)] * sessions,
        }
    )
    return market_panel(frame, days, names)


def cost(symbols: int) -> list[object]:
    """CPU seconds a session: history in a long walk, one night's cross-section, one model, and the floor."""
    walk = HISTORY + 100
    panel = wide_panel(symbols, walk)
    score_TN = reversal(panel)

    def spent(call) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    history_s = spent(lambda: factor_history(panel, score_TN, first=walk - 100)) / 100
    night_s = spent(
        lambda: factor_history(panel.between(walk - HISTORY - 1, walk), score_TN[-HISTORY - 1 :], first=HISTORY)
    )
    history = factor_history(panel, score_TN, first=walk - 378)
    config = RiskConfig()
    numbers = range(walk - 20, walk)
    walked = replace(history, sessions=panel.sessions[1:], **_padded(history, walk - 1))
    models_s = spent(lambda: list(models_of(walked, panel, numbers, score_TN, config))) / len(numbers)
    exposure_NK = session_exposures(
        panel, walk - 1, styles(panel, walk - 1)[0], score_TN, factor_names(panel.industries, score=True)
    )
    model_s = min(spent(lambda: risk_model(history, exposure_NK, panel.cap_TN[-1], config)) for _ in range(3))
    floor_s = min(spent(lambda: np.cov(panel.return_TN[-252:].T)) for _ in range(2))
    return [symbols, history_s, model_s, history_s + models_s, night_s + model_s, (night_s + model_s) / floor_s]


def _padded(history, rows: int) -> dict[str, np.ndarray]:
    names = ("return_TK", "noise_TK", "residual_TN", "leverage_TN")
    missing = rows - len(history.sessions)
    return {name: np.pad(getattr(history, name), ((missing, 0), (0, 0)), constant_values=np.nan) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--exchange", type=int, nargs=2, metavar=("SYMBOLS", "SESSIONS"))
    parser.add_argument("--settings", nargs="*", default=[])
    parser.add_argument("--symbols", nargs="*", type=int, default=[500, 1800, 5300])
    arguments = parser.parse_args()
    if arguments.data:
        panel = real_panel(arguments.data)
        forecasts(panel, reversal(panel), halves(panel), arguments.settings)
    if arguments.exchange:
        panel, score_TN = exchange_panel(*arguments.exchange)
        forecasts(panel, score_TN, {"exchange": (START, len(panel.sessions))}, arguments.settings)
    heads = ("symbols", "history", "model", "backtest: both, styles", "night: both, styles", "night / N x N covariance")
    measure.show("CPU seconds a session", heads, [cost(symbols) for symbols in arguments.symbols])


if __name__ == "__main__":
    main()
