"""From three daily tables to a walked index and its report: no minute bar anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from consumers import factor_returns, portfolio
from consumers.questions import report
from consumers.questions.enhance import enhance
from fpm.commands import history
from fpm.errors import FpmError, TryLater, UsageError
from fpm.store.jobs.inputs import inputs_of
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.settings import Settings
from tests.daily_home import DAYS, ENTRY, daily_bars, delivery, intervals, scores, take
from tests.prepared_home import PreparedHome, prepared
from tests.small_chain import quiet

FIRST, LAST = DAYS[20], DAYS[-1]


def bar(_: str) -> Any:
    return nullcontext(quiet)


@pytest.fixture(scope="module")
def prepared_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    folder = tmp_path_factory.mktemp("prepared")

    def fill(stores: Stores) -> None:
        take(stores, delivery(folder / "raw"))

    with prepared(postgres_server, folder / "home", fill, market="us", stream="scores") as home:
        yield home


@pytest.fixture
def home(prepared_home: PreparedHome, tmp_path: Path) -> Iterator[Stores]:
    with prepared_home.copied(tmp_path / "home") as stores:
        yield stores


def with_stream(stores: Stores, stream: str | None) -> Stores:
    return replace(stores, settings=stores.settings.model_copy(update={"stream": stream}))


def test_intervals_without_weights_have_those_of_capitalisation(settings: Settings, tmp_path: Path) -> None:
    """Share counts of every name but the last, bars a day before the members: stored weights follow closes x counts."""
    stores = open_stores(settings.model_copy(update={"market": "us"}))
    folder = delivery(tmp_path / "raw")
    names = daily_bars()["ticker"].unique().sort().to_list()
    counts = {name: 1e6 * (place + 1) for place, name in enumerate(names[:9])}
    count = pl.col("ticker").replace_strict(counts, default=None)
    bars = daily_bars().with_columns(total_shares=count)
    bars.write_parquet(folder / "daily_bars.parquet")
    members = (folder / "index_members.parquet").rename(tmp_path / "index_members.parquet")
    take(stores, folder)
    report = take(stores, members)
    (assumed,) = (text for text in report.exceptions if "capitalisation" in text)
    assert assumed.endswith("without a capitalisation, and as with equal weights: NJ.US, NL.US")
    day = date(2024, 11, 1)
    own = stores.read("index_members", day).sort("symbol")
    close = dict(bars.filter(pl.col("date") == day).select(pl.col("ticker") + ".US", "close").iter_rows())
    worth = {f"{name}.US": close[f"{name}.US"] * counts[name] for name in names[:9]}
    expected = [0.9 * worth[name] / sum(worth.values()) if name in worth else 0.1 for name in own["symbol"]]
    assert own.height == 10 and own["weight"].to_list() == pytest.approx(expected)
    stores.ledger.close()


def test_from_ingest_to_report(home: Stores) -> None:
    assert home.sessions("minute_bars") == []
    figures = enhance("SMALL", FIRST, LAST, home, quiet)
    assert figures["stream"] == "scores" and figures["sessions"] == len(DAYS) - 22  # returns after the purchase
    decided = home.read("decisions", FIRST, LAST)
    assert set(decided["status"].to_list()) <= {"optimal", "relaxed"}
    targets = home.read("targets", decided["session"][-1])
    own = scores().filter(pl.col("date") == decided["session"][-1]).with_columns(symbol=pl.col("ticker") + ".US")
    both = targets.drop_nulls("score").join(own, on="symbol", suffix="_given").select("score", "score_given")
    # ten members, and names outside the index that are held or bought
    assert both.height == targets.height and 10 <= targets.height <= 12
    assert both.select(pl.corr("score", "score_given", method="spearman")).item() > 0.999
    members = home.read("weights", ENTRY).filter(pl.col("benchmark_weight") > 0)["symbol"].to_list()
    assert "NL.US" in members and "NA.US" not in members and len(members) == 10
    page = report.write(home)
    assert "SMALL" in page.read_text()
    assert json.loads((page.parent / report.TWIN).read_text())["portfolios"]["SMALL"]["sessions"] == figures["sessions"]


def test_the_risk_models_score_is_the_streams(home: Stores) -> None:
    history.backfill(["factor_returns"], (DAYS[-3], LAST), home, bar)
    stored = home.read("exposures", LAST).drop_nulls("score").sort("symbol")
    given = scores().filter(pl.col("date") == LAST).sort("ticker")
    assert stored.height == 12
    assert stored["score"].rank().to_list() == given["score"].rank().to_list()


def test_backfill_computes_what_daily_bars_allow(home: Stores) -> None:
    rows = {row["job"]: row for row in history.backfill(history.stages(), (DAYS[-3], LAST), home, bar)}
    assert rows["daily_factors"]["published"] == 3
    assert rows["minute_features"]["planned"] == 0
    rows = {row["job"]: row for row in history.backfill(["factor_returns", "portfolio"], (DAYS[-3], LAST), home, bar)}
    assert [rows[job]["published"] for job in ("factor_returns", "portfolio")] == [3, 3]


def test_the_stream_is_an_input_of_the_jobs_that_read_it(home: Stores) -> None:
    for job in (factor_returns, portfolio):
        streams = [with_stream(home, stream) for stream in ("scores", "other", None)]
        assert len({inputs_of(job, LAST, stores).digest for stores in streams}) == 3


def test_without_the_setting_a_digest_ignores_other_streams(home: Stores, tmp_path: Path) -> None:
    plain = with_stream(home, None)
    before = inputs_of(factor_returns, LAST, plain).digest
    scores().with_columns(pl.col("score") * -1).write_parquet(tmp_path / "another.parquet")
    take(home, tmp_path / "another.parquet")
    assert inputs_of(factor_returns, LAST, plain).digest == before


def test_a_week_without_scores_walks_the_book_and_keeps_it(settings: Settings, tmp_path: Path) -> None:
    folder = delivery(tmp_path / "raw")
    weekly = scores().filter(pl.col("date").dt.weekday() == 5).filter(pl.col("date") != date(2024, 11, 8))
    weekly.write_parquet(folder / "scores.parquet")
    stores = open_stores(settings.model_copy(update={"market": "us", "stream": "scores"}))
    take(stores, folder)
    friday = date(2024, 11, 1)
    figures = enhance("SMALL", friday, LAST, stores, quiet)
    status = dict(stores.read("decisions", friday, LAST).select("session", "status").rows())
    assert status.pop(date(2024, 11, 8)) == "kept" and "kept" not in status.values()
    assert figures["sessions_without_scores"] == sum(day >= friday for day in DAYS) - 3
    assert stores.read("nav", friday, LAST).height == sum(day > friday for day in DAYS)
    stores.ledger.close()


MISSING = [
    ("nobody", "SMALL", (FIRST, LAST), r"FPM-PF-042 .*'nobody'.*use one of scores"),
    ("scores", "LARGE", (FIRST, LAST), r"FPM-PF-002 .*LARGE.*use one of SMALL"),
    ("scores", "SMALL", (date(2023, 1, 3), date(2023, 2, 1)), r"FPM-PF-076 .*from 2024-10-01 to 2024-11-22"),
    (None, "SMALL", (FIRST, LAST), r"FPM-PF-075 .*no scores of dual.*--stream with scores"),
]


@pytest.mark.parametrize(("stream", "index", "span", "words"), MISSING)
def test_what_is_missing_is_named_before_the_walk(
    stream: str | None, index: str, span: tuple[date, date], words: str, home: Stores
) -> None:
    stores = with_stream(home, stream)
    with pytest.raises((UsageError, TryLater), match=words):
        enhance(index, *span, stores, quiet)
    assert stores.sessions("factor_returns") == []


def test_a_mandates_own_stream_is_not_enough(home: Stores, tmp_path: Path) -> None:
    """Without a stream for all, other indices have the default one, whose scores the job waits for in every session."""
    (tmp_path / "mandate.toml").write_text('[SMALL]\nstream = "scores"\n')
    own = home.settings.model_copy(update={"stream": None, "mandate": tmp_path / "mandate.toml"})
    with pytest.raises(TryLater, match=r"FPM-PF-075 .*no scores of dual.*--stream with scores"):
        enhance("SMALL", FIRST, LAST, replace(home, settings=own), quiet)
    assert home.sessions("factor_returns") == []


def test_an_index_that_begins_later_is_named(settings: Settings, tmp_path: Path) -> None:
    folder = delivery(tmp_path / "raw")
    intervals().with_columns(pl.col("from").clip(lower_bound=ENTRY)).drop("to").with_columns(
        to=pl.lit(None, pl.Date)
    ).write_parquet(folder / "index_members.parquet")
    stores = open_stores(settings.model_copy(update={"market": "us", "stream": "scores"}))
    take(stores, folder)
    with pytest.raises(FpmError, match=r"FPM-PF-077 .*SMALL.*2024-10-29.*first one is of 2024-11-04"):
        enhance("SMALL", date(2024, 10, 29), LAST, stores, quiet)
    stores.ledger.close()


def test_a_backfill_refuses_a_stream_that_is_not_there(home: Stores) -> None:
    with pytest.raises(UsageError, match=r"FPM-PF-042 .*use one of scores"):
        history.backfill(["portfolio"], (FIRST, LAST), with_stream(home, "nobody"), bar)
