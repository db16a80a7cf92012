"""Styles of the synthetic exchange: independent of one another and of yesterday, and without a trace in daily totals.

"Daily columns" are everything that a daily table and the session totals of all minute columns show: each value and its
square, its logarithm relative to a reference, and the products of all pairs of these logarithms.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from fpm.exchange import minutes
from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.exchange.styles import STYLES
from fpm.schema import OPTIONAL_FLOWS, PRICES

MOST_EXPLAINED = 0.01
CONFIG = ExchangeConfig(symbols=110, sessions=130, spoiled_every=0, seed=11)
POSITIVE = (*PRICES, "pre_close", "volume", "amount", "adj_factor", "total_shares", "float_shares", *OPTIONAL_FLOWS)
YES_OR_NO = ("st", "suspended")


def sessions_of(config: ExchangeConfig) -> pl.DataFrame:
    """One row per traded symbol-session: daily columns, totals of all minute columns, styles."""
    parts = []
    for tables in simulate(config):
        totals = tables.minute_bars.group_by("symbol").agg(pl.col(OPTIONAL_FLOWS).sum())
        daily = tables.daily_bars.filter(~pl.col("suspended"))
        parts.append(daily.join(totals, on="symbol").join(tables.styles.drop("session"), on="symbol"))
    return pl.concat(parts)


@pytest.fixture(scope="module")
def sessions() -> pl.DataFrame:
    return sessions_of(CONFIG)


def log_columns(rows: pl.DataFrame) -> np.ndarray:
    """Standardised logarithms relative to a reference: prices and average prices, traded shares, counts."""
    log = {name: np.log(np.maximum(rows[name].to_numpy().astype(float), 0.5)) for name in POSITIVE}
    reference, average = log["pre_close"], log["amount"] - log["volume"]
    columns = [log[name] - reference for name in PRICES]
    columns += [average - reference, log["volume"] - log["float_shares"], log["trades"] - log["volume"]]
    columns += [log[name] for name in ("pre_close", "volume", "adj_factor", "total_shares", "float_shares")]
    for name in OPTIONAL_FLOWS[1:]:
        kind, unit = name.rsplit("_", 1)
        usual = {"amount": log.get(f"{kind}_volume", 0.0) + average, "volume": log["volume"], "count": log["trades"]}
        columns.append(log[name] - usual[unit])
    return standard(np.column_stack(columns))


def standard(columns: np.ndarray) -> np.ndarray:
    return ((columns - columns.mean(axis=0)) / (columns.std(axis=0) + 1e-12)).clip(-6.0, 6.0)


def daily_columns(rows: pl.DataFrame) -> np.ndarray:
    """Everything that a day's totals show, (symbol-sessions, columns)."""
    plain, logs = standard(rows.select(POSITIVE).to_numpy().astype(float)), log_columns(rows)
    first, second = np.triu_indices(logs.shape[1])
    limits = rows.select(pl.col("limit_up", "limit_down").is_null().cast(pl.Float64)).to_numpy()
    groups = rows.select(pl.col(YES_OR_NO).cast(pl.Float64), "industry").to_dummies("industry").to_numpy()
    return np.column_stack([plain, plain**2, logs, logs[:, first] * logs[:, second], limits, groups])


def explained(columns: np.ndarray, styles: np.ndarray) -> np.ndarray:
    """Adjusted R2 of a least-squares fit of each style, (K,)."""
    design = np.column_stack([np.ones(len(columns)), columns])
    left, triangle = np.linalg.qr(design)
    size = np.abs(np.diag(triangle))
    left = left[:, size > 1e-8 * size.max()]  # a linear combination of other columns adds nothing
    residual = styles - left @ (left.T @ styles)
    return np.asarray(1.0 - (residual**2).sum(axis=0) / (len(styles) - left.shape[1]) / styles.var(axis=0))


def test_all_daily_columns_and_their_products_explain_less_than_a_hundredth_of_a_style(sessions: pl.DataFrame) -> None:
    columns, styles = daily_columns(sessions), sessions.select(list(STYLES)).to_numpy()
    # Of pure noise the adjusted R2 has a standard deviation of sqrt(2 p) / n: a third of the bound, or less.
    assert np.sqrt(2 * columns.shape[1]) / len(columns) < MOST_EXPLAINED / 3
    shares = dict(zip(STYLES, explained(columns, styles), strict=True))
    assert max(shares.values()) < MOST_EXPLAINED, shares


def test_a_faint_trace_of_a_style_in_one_total_is_detected(sessions: pl.DataFrame) -> None:
    """A planted leak: bursts of cancels are more expensive, by a seventh of the sd of cancel prices."""
    dearness = (pl.col("cancel_amount") / pl.col("cancel_volume") / pl.col("amount") * pl.col("volume")).log()
    spread = sessions.select(dearness.std()).item()
    planted = sessions.with_columns(pl.col("cancel_amount") * (pl.col("cancel_bursts") * spread / 7.0).exp())
    assert explained(daily_columns(planted), sessions.select("cancel_bursts").to_numpy())[0] > MOST_EXPLAINED


def test_without_a_fixed_mean_price_the_styles_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted leak in the exchange itself: a tilt of volume also changes the mean price."""

    def tilted(plain: np.ndarray, tilt: np.ndarray, *_rest: object) -> np.ndarray:
        weight = plain * np.exp(tilt)
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))

    monkeypatch.setattr(minutes, "keep_mean", tilted)
    rows = sessions_of(ExchangeConfig(symbols=100, sessions=60, spoiled_every=0, seed=11))
    assert explained(daily_columns(rows), rows.select(list(STYLES)).to_numpy())[0] > 5 * MOST_EXPLAINED


def test_styles_are_uniform_and_independent(sessions: pl.DataFrame) -> None:
    styles = sessions.select(list(STYLES)).to_numpy()
    assert np.abs(styles).max() <= np.sqrt(3.0) and np.allclose(styles.std(axis=0), 1.0, atol=0.02)
    noise = 4.0 / np.sqrt(len(styles))
    for power in (1, 2):
        between = np.corrcoef((styles**power).T) - np.eye(len(STYLES))
        assert np.abs(between).max() < noise


def test_yesterdays_style_does_not_predict_todays(sessions: pl.DataFrame) -> None:
    styles = sessions.sort("symbol", "session")
    for today in STYLES:
        for yesterday in STYLES:
            before = pl.col(yesterday).shift(1).over("symbol").alias("before")
            pairs = styles.select(pl.col(today).alias("today"), before).drop_nulls()
            assert abs(np.corrcoef(pairs.to_numpy().T)[0, 1]) < 4.0 / np.sqrt(len(pairs)), (today, yesterday)
