"""Intervals of stored scores: from labels that were known, once for good, none for a score that says nothing."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from consumers import score_intervals
from consumers.questions import judgement
from fpm.errors import TryLater
from fpm.evaluation.conformal import intervals
from fpm.schema import STREAMS
from fpm.sessions import cut_off
from fpm.store.jobs.inputs import inputs_of
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from tests.consumers.small_nights import SESSIONS, known_from

LAST, REACH = SESSIONS - 1, 6


def scores_of(stores: Stores, day: date, constant: str | None = None) -> pl.DataFrame:
    names = stores.read("daily_bars", day)["symbol"].to_list()
    rng = np.random.default_rng(day.toordinal())
    parts = [
        pl.DataFrame({"symbol": names, "stream": stream, "score": rng.normal(size=len(names))}).with_columns(
            score=pl.lit(1.0) if stream == constant else pl.col("score")
        )
        for stream in STREAMS
    ]
    return pl.concat(parts).with_columns(spread=pl.lit(0.1), vintage=pl.lit("v"), model=pl.lit("m"))


@pytest.fixture
def scored(filled: tuple[Stores, list[date]]) -> tuple[Stores, list[date]]:
    stores, days = filled
    for day in days[:SESSIONS]:
        constant = "traditional" if day == days[LAST] else None
        publish_frames("scores", day, {"scores": scores_of(stores, day, constant)}, stores)
    return stores, days


def test_the_intervals_are_those_of_the_panels(scored: tuple[Stores, list[date]]) -> None:
    stores, days = scored
    assert run_job(score_intervals, days[LAST], stores).status == "published"
    rows = stores.read("score_intervals", days[LAST])
    assert set(rows["created_timestamp"]) == {cut_off(stores.market, days[LAST])} and set(rows["level"]) == {0.9}
    dual = rows.filter(pl.col("stream") == "dual").sort("symbol")
    symbols = sorted({name for day in days[:SESSIONS] for name in stores.read("daily_bars", day)["symbol"].to_list()})
    shape = (SESSIONS, len(symbols))
    score_TN, label_TN = np.full(shape, np.nan), np.full(shape, np.nan)
    for t, day in enumerate(days[:SESSIONS]):
        own = stores.read("scores", day).filter(pl.col("stream") == "dual")
        for symbol, score in own.select("symbol", "score").rows():
            score_TN[t, symbols.index(symbol)] = score
        if t <= LAST - REACH:
            for symbol, label in stores.read("labels", day).select("symbol", "label").drop_nulls().rows():
                label_TN[t, symbols.index(symbol)] = label
    lower, upper = intervals(score_TN, label_TN, REACH, score_intervals.CONFIG)
    places = [symbols.index(symbol) for symbol in dual["symbol"]]
    np.testing.assert_allclose(dual["lower"].to_numpy(), lower[places])
    np.testing.assert_allclose(dual["upper"].to_numpy(), upper[places])
    assert rows.filter(pl.col("stream") == "traditional")["lower"].null_count() == dual.height, "a constant score"


def test_labels_that_were_not_complete_are_no_inputs(scored: tuple[Stores, list[date]]) -> None:
    stores, days = scored
    before = inputs_of(score_intervals, days[LAST], stores)
    labels = sorted(path.split("/")[1] for path in before.paths if path.startswith("labels/"))
    assert labels[-1] == f"session={days[LAST - REACH]}"
    run_job(score_intervals, days[LAST], stores)
    known = cut_off(stores.market, days[LAST + 1])
    later = stores.read("labels", days[LAST - REACH + 1]).select("symbol", label=-pl.col("label"))
    publish_frames("labels", days[LAST - REACH + 1], {"labels": known_from(later, known)}, stores)
    assert run_job(score_intervals, days[LAST], stores).status == "unchanged"


def test_without_history_or_scores_nothing_is_promised(scored: tuple[Stores, list[date]]) -> None:
    stores, days = scored
    run_job(score_intervals, days[9], stores)
    rows = stores.read("score_intervals", days[9])
    assert rows.height == stores.read("scores", days[9]).height and rows["upper"].null_count() == rows.height
    with pytest.raises(TryLater):
        score_intervals.run(days[LAST + 1], stores)


def test_the_report_counts_what_held(scored: tuple[Stores, list[date]]) -> None:
    stores, days = scored
    for day in (days[LAST - 1], days[LAST]):
        run_job(score_intervals, day, stores)
        names = stores.read("daily_bars", day)["symbol"]
        label = np.random.default_rng(1).normal(size=len(names))
        publish_frames("labels", day, {"labels": pl.DataFrame({"symbol": names, "label": label})}, stores)
    evidence = judgement.read_evidence(stores)
    assert evidence.intervals.height == 2 * stores.read("scores", days[LAST]).height
    counted = judgement.promises(evidence)
    assert {part.part: part.intervals for part in counted["dual"]}["all"] == evidence.intervals.height // 3
    assert {part.part: part.sessions for part in counted["traditional"]}["all"] == 1  # it was constant on the last one
