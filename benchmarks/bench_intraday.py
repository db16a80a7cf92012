"""The running session on the synthetic exchange: each stream's share of its oracle's RankIC by time of day.

Run `python benchmarks/bench_intraday.py [--symbols 60] [--sessions 120] [--epochs 10]`. Encoder and scorer learn from
whole sessions only, as those in force do; at a minute they read the test session's features up to it, its day so far,
and whole sessions before. The ceiling is the oracle, which knows the whole session; the floor in the same run is
the night before: its scores, held through the day. `agreement`: mean rank correlation with the whole session's scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

import measure
import numpy as np
import polars as pl
from exchange_rows import PROFILE, VIEW, ExchangeRows, exchange_rows, in_slots
from fingerprint_ways import ALL_IN_MEMORY, training_split
from oracle_share import Answer, answer, shares

from fpm import walk_forward
from fpm.evaluation.evaluate import PRESETS
from fpm.exchange.simulate import ExchangeConfig, simulate
from fpm.features.daily_factors import daily_factors
from fpm.features.running_daily import running_daily
from fpm.nn.compute import compute_on
from fpm.nn.encoder import network as encoders
from fpm.nn.encoder import pretraining
from fpm.nn.encoder.history import survey
from fpm.nn.encoder.network import Encoder, embed
from fpm.nn.encoder.pretraining import Recipe, pretrain, samples
from fpm.nn.fit import Watch, deterministic
from fpm.nn.scorer import network as scorers
from fpm.nn.scorer import streams
from fpm.nn.scorer.panel import panel
from fpm.nn.scorer.streams import Streams
from fpm.running_session import Cut, cut
from fpm.schema import STREAMS
from fpm.sessions import market

MINUTES = ("10:30", "11:30", "14:00", "14:30")
MARKET = market("cn")


@dataclass(frozen=True)
class Models:
    """What learnt from whole sessions, and the frame that the scorer reads of them."""

    encoder: Encoder
    scorer: Streams
    whole: pl.DataFrame


def encoder_of(exchange: ExchangeRows, options: argparse.Namespace) -> Encoder:
    plain = pretraining.PRESETS[options.preset]
    plain = replace(plain, fit=replace(plain.fit, epochs=options.epochs))
    shape = replace(encoders.PRESETS[options.preset], slots=MARKET.view_size(VIEW))
    parts = training_split(exchange, plain)
    history = survey(exchange.rows.rows_of, samples(parts, plain), ALL_IN_MEMORY, lambda *_: None)
    return pretrain(history, parts, Recipe(PROFILE, shape, plain), Watch(), compute_on("cpu")).encoder


def vectors(encoder: Encoder, x_NTF: np.ndarray) -> pl.Series:
    with deterministic(0):
        z_ND = embed(encoder, x_NTF.astype(np.float32))
    return pl.Series("fingerprint", z_ND, dtype=pl.Array(pl.Float32, z_ND.shape[1]))


def models(exchange: ExchangeRows, answers: Answer, options: argparse.Namespace) -> Models:
    encoder = encoder_of(exchange, options)
    rows = pl.DataFrame({"symbol": exchange.rows.symbols, "session": exchange.rows.sessions})
    rows = rows.with_columns(vectors(encoder, exchange.rows.features), vintage=pl.lit("benchmark"))
    whole = rows.join(answers.daily, on=["session", "symbol"], how="inner")
    scorer, _ = streams.train(
        panel(whole, exchange.days), answers.labels, answers.split, scorers.PRESETS[options.preset], Watch()
    )
    return Models(encoder, scorer, whole)


def running_days(config: ExchangeConfig, exchange: ExchangeRows, answers: Answer) -> Iterator[tuple[Cut, pl.DataFrame]]:
    """Daily rows and factors so far of every test session at every minute."""
    for tables in simulate(config):
        day = tables.session
        if day not in answers.test:
            continue
        bars, past = in_slots(tables.minute_bars, MARKET), exchange.daily.filter(pl.col("session") < day)
        before = past.filter(pl.col("session") == past["session"].max()).drop("session")
        for text in MINUTES:
            at = cut(day, text, MARKET, VIEW)
            daily = running_daily(bars.filter(pl.col("slot") <= at.slot), MARKET, before)
            history = pl.concat([_with_turnover(past), daily.with_columns(session=pl.lit(day))], how="diagonal_relaxed")
            yield at, daily.join(daily_factors(history, day), on="symbol", how="inner")


def _with_turnover(daily: pl.DataFrame) -> pl.DataFrame:
    return daily.with_columns(turnover=pl.col("volume") / pl.col("float_shares"))


def scored_at(at: Cut, day: pl.DataFrame, exchange: ExchangeRows, own: Models) -> pl.DataFrame:
    """Scores of a session cut at a minute."""
    here = np.flatnonzero([session == at.session for session in exchange.rows.sessions])
    x_STF = np.array(exchange.rows.features[here], dtype=np.float32)
    x_STF[:, at.position + 1 :] = np.nan
    names = pl.DataFrame({"symbol": [exchange.rows.symbols[row] for row in here]})
    today = names.with_columns(vectors(own.encoder, x_STF), vintage=pl.lit("benchmark"), session=pl.lit(at.session))
    days = [each for each in exchange.days if each <= at.session][-own.scorer.config.look_back :]
    past = own.whole.filter(pl.col("session").is_in(days[:-1]))
    frame = pl.concat([past, today.join(day, on="symbol", how="inner")], how="diagonal_relaxed")
    scored, _ = streams.scores(own.scorer, panel(frame, days, own.scorer.config.factors), at.session)
    return scored.with_columns(session=pl.lit(at.session))


def at_close(exchange: ExchangeRows, answers: Answer, own: Models) -> pl.DataFrame:
    whole = panel(own.whole, exchange.days)
    return pl.concat(
        streams.scores(own.scorer, whole, day)[0].with_columns(session=pl.lit(day)) for day in answers.test
    )


def held(closing: pl.DataFrame, days: list[date]) -> pl.DataFrame:
    """The scores of the night before, as those of the day after it."""
    following = dict(pairwise(days))
    return closing.with_columns(pl.col("session").replace_strict(following, default=None)).drop_nulls("session")


def agreement(scored: pl.DataFrame, closing: pl.DataFrame, stream: str) -> float:
    """Mean over sessions of the rank correlation with the whole sessions' scores."""
    own = (frame.filter(pl.col("stream") == stream) for frame in (scored, closing))
    both = next(own).join(next(own), on=["session", "symbol"], suffix="_close")
    each = both.group_by("session").agg(pl.corr("score", "score_close", method="spearman"))
    return float(each["score"].mean())  # type: ignore[arg-type]  # polars types means loosely


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=60)
    parser.add_argument("--sessions", type=int, default=120)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--epochs", type=int, default=10, help="of the encoder")
    parser.add_argument("--seed", type=int, default=20241122, help="of the exchange")
    options = parser.parse_args()
    config = ExchangeConfig(symbols=options.symbols, sessions=options.sessions, seed=options.seed, spoiled_every=0)
    exchange = exchange_rows(config, options.preset)
    answers = answer(exchange, walk_forward.PRESETS[options.preset])
    own = models(exchange, answers, options)
    closing = at_close(exchange, answers, own)
    parts: dict[str, list[pl.DataFrame]] = {text: [] for text in MINUTES}
    for at, day in running_days(config, exchange, answers):
        parts[at.text].append(scored_at(at, day, exchange, own))
    scored = {"night before": held(closing, exchange.days)}
    scored |= {text: pl.concat(frames) for text, frames in parts.items()} | {"close": closing}
    rows: list[list[object]] = []
    for text, frame in scored.items():
        share_by_stream = shares(frame, exchange, answers, PRESETS["demo"])
        for name in STREAMS:
            own_share = share_by_stream[name]
            row = [text, name, own_share.rank_ic, own_share.share, own_share.low, own_share.high]
            rows.append([*row, agreement(frame, closing, name)])
    measure.show(
        f"{options.symbols} symbols, {len(exchange.days)} sessions, {len(answers.test)} of them out of sample",
        ["minute", "stream", "RankIC", "share", "low", "high", "agreement"],
        rows,
    )


if __name__ == "__main__":
    main()
