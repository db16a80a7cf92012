"""Back and forward: what a partition's page names is what the ledger and the job's declarations say."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from consumers.page import lineage, portfolio
from fpm.commands import jobs
from fpm.page.lineage import entry
from fpm.page.lineage import lineage as view
from fpm.page.portfolio import portfolio as portfolio_view
from fpm.page.sheets import html
from fpm.store.jobs.runner import publish_frames
from fpm.store.lake.files import sha256_of
from fpm.store.ledger.stores import Stores
from tests.consumers.page.conftest import LAKE, LAST
from tests.consumers.small_lake import SCORER, VINTAGE

MODULES = {name: jobs.job(name) for name in jobs.MODULES}
SYMBOL = LAKE.names[2]


def test_a_score_leads_to_file_model_and_publication(home: Stores) -> None:
    origin = lineage.gathered("scores", LAST, SYMBOL, MODULES, home)
    assert origin.file is not None and origin.file.job == "scores"
    assert origin.file.sha256 == sha256_of(home.settings.lake / origin.file.path)
    assert [model.id for model in origin.models] == [SCORER, VINTAGE]
    assert {row["stream"] for row in origin.values} == {"fingerprint", "traditional", "dual"}
    assert [each["session"] for each in origin.publications] == [LAST]
    assert {reader.job for reader in origin.readers} >= {"portfolio", "publish"}
    assert all(LAST in reader.sessions for reader in origin.readers if reader.job in ("portfolio", "publish"))
    text = html(view(origin))
    assert origin.file.sha256[:12] in text and SCORER in text and f"/lineage?table=weights&amp;session={LAST}" in text


def test_a_portfolio_names_every_file_that_it_read(home: Stores) -> None:
    origin = lineage.gathered("weights", LAST, SYMBOL, MODULES, home)
    assert origin.made is not None and origin.made.same_inputs is True and origin.made.finished_at is not None
    read = {(file.table, file.session) for file in origin.reads}
    assert ("scores", LAST) in read and ("exposures", LAST) in read
    recorded = home.ledger.current(sorted({file.table for file in origin.reads}))
    assert all(recorded[file.path].sha256 == file.sha256 for file in origin.reads)
    assert origin.made.inputs == home.ledger.latest("portfolio", str(LAST), "published").inputs_sha


def test_inputs_that_changed_since_are_said(home: Stores) -> None:
    day = home.sessions("weights")[0]
    assert lineage.gathered("weights", day, "", MODULES, home).made.same_inputs is True
    rows = home.read("daily_bars", day).drop("session")
    later = pl.col("created_timestamp") + timedelta(hours=30)
    corrected = rows.with_columns(later, close=pl.col("close") * 1.01)
    publish_frames("bars", day, {"daily_bars": pl.concat([rows, corrected])}, home)
    assert lineage.gathered("weights", day, "", MODULES, home).made.same_inputs is False


def test_a_delivered_file_came_from_outside(home: Stores) -> None:
    origin = lineage.gathered("daily_bars", LAST, SYMBOL, MODULES, home)
    assert origin.made is not None and origin.reads == [] and "outside" in html(view(origin))
    assert "nobody" not in html(view(origin))


def test_a_session_that_has_no_file(home: Stores) -> None:
    origin = lineage.gathered("scores", LAST + timedelta(days=30), "", MODULES, home)
    assert origin.file is None and "never published" in html(view(origin))


def test_the_newest_partitions(home: Stores) -> None:
    tables, published = lineage.newest(home)
    assert ("scores", LAST, 90) in tables and published is not None and published["session"] == LAST
    assert f"/lineage?table=scores&amp;session={LAST}" in html(entry(tables, published))


def test_the_portfolio_shows_its_tests_and_its_tables(home: Stores) -> None:
    content = portfolio.gathered(None, "", home)
    assert content.morning is not None and content.tested == LAST
    text = html(portfolio_view(content))
    assert "Tracking error, predicted and realised" in text and "CSI300" in text and "random" in text
    decision = content.morning.standings[0].decision
    assert decision is not None and f"{100 * decision['tracking_error']:.2f} %" in text


@pytest.mark.parametrize("symbol", ["", SYMBOL])
def test_an_empty_home(stores: Stores, symbol: str) -> None:
    assert "nothing decided yet" in html(portfolio_view(portfolio.gathered(None, "", stores))).lower()
    assert "fpm ingest" in html(entry(*lineage.newest(stores)))
    assert lineage.gathered("scores", LAST, symbol, MODULES, stores).file is None
