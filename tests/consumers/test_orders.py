"""Orders and decisions: online with the session they belong to, empty without one; reasons of the sessions before."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import polars as pl
import pytest

from consumers import factor_returns, parity, portfolio, publish
from consumers.questions.replay_portfolio import replay_portfolio
from fpm.errors import UsageError
from fpm.sessions import cut_off
from fpm.store.jobs.runner import backfill, run_job
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import served
from fpm.store.retrieval import features
from fpm.two_clocks import EVENT
from tests.consumers.small_lake import SmallLake, put
from tests.small_chain import quiet

MONDAY, TUESDAY, FRIDAY = date(2024, 12, 2), date(2024, 12, 3), date(2024, 12, 6)
REASONS = {"score", "risk", "bound", "cash", "exit", "blocked"}


def compute(stores: Stores, first: date, last: date) -> None:
    for job in (factor_returns, portfolio):
        backfill(job, first, last, stores, quiet)


def test_a_session_without_a_decision_publishes_none_and_parity_holds(stores: Stores) -> None:
    SmallLake().fill(stores, MONDAY, TUESDAY)
    compute(stores, MONDAY, TUESDAY)
    run_job(publish, MONDAY, stores)
    orders, decision = served("orders", stores), served("decisions", stores).row(0, named=True)
    assert set(orders["reason"].to_list()) <= REASONS
    assert orders["fill_session"].unique().to_list() == [TUESDAY] == [decision["fill_session"]]
    assert decision["tracking_error"] > 0 and decision["tracking_error_realised"] is None  # nothing was held yet
    assert json.loads(decision["shadow"]).keys() >= {"tracking_error", "industry"}
    run_job(publish, TUESDAY, stores)
    assert (served("orders", stores).height, served("decisions", stores).height) == (0, 0)
    views = {view.view: view for view in parity.check(TUESDAY, stores)}
    assert all(view.equal for view in views.values()) and views["orders"].rows == views["decisions"].rows == 0
    assert views["weights"].rows == 12
    assert stores.ledger.query("SELECT count(*) FROM online.orders") == [(0,)], "an old order is no order"


def test_fills_are_served_with_both_clocks(stores: Stores) -> None:
    """Tuesday's fills are those of Monday's decision, in SQL, as a Feast view and in history as known that evening."""
    SmallLake().fill(stores, MONDAY, TUESDAY)
    compute(stores, MONDAY, TUESDAY)
    features.apply(stores.settings)
    run_job(publish, TUESDAY, stores)
    fills, ordered = served("trades", stores).sort("symbol"), stores.read("orders", MONDAY).sort("symbol")
    assert fills["symbol"].to_list() == ordered["symbol"].to_list() and fills["side"].unique().to_list() == ["buy"]
    assert (fills["shares"] <= ordered["shares"]).all() and fills["decided"].unique().to_list() == [MONDAY]
    assert (fills["amount"] - fills["shares"] * fills["price"]).abs().max() < 0.005
    assert set(fills["event_timestamp"].dt.date().to_list()) == {TUESDAY}
    assert all(view.equal for view in parity.check(TUESDAY, stores))
    entity = pl.DataFrame({"symbol": [fills["symbol"][0], "999999.SH"], "index": ["CSI300"] * 2})
    assert features.online(stores.settings, "trades", entity)["shares"].to_list() == [fills["shares"][0], None]
    asked = entity.with_columns(session=pl.lit(TUESDAY))
    then = features.frame(stores.settings, "trades", asked)
    assert then["cost"].to_list() == [fills["cost"][0], None]


def test_orders_are_the_way_from_the_book_to_the_targets(stores: Stores) -> None:
    SmallLake().fill(stores, MONDAY, FRIDAY)
    compute(stores, MONDAY, FRIDAY)
    targets = stores.read("targets", FRIDAY)
    change = targets.filter(pl.col("shares") != pl.col("shares_held")).sort("symbol")
    orders = stores.read("orders", FRIDAY).sort("symbol")
    assert orders["symbol"].to_list() == change["symbol"].to_list() and orders.height
    signed = orders["shares"] * pl.Series([1 if side == "buy" else -1 for side in orders["side"]])
    assert signed.to_list() == (change["shares"] - change["shares_held"]).to_list()
    assert (orders["amount"] - orders["shares"] * change["close"].round(2)).abs().max() < 0.005
    assert (orders["expected_cost"] > orders["expected_impact"]).all() and (orders["expected_impact"] > 0).all()


def test_feast_reads_orders_and_decisions(stores: Stores) -> None:
    SmallLake().fill(stores, MONDAY, TUESDAY)
    compute(stores, MONDAY, TUESDAY)
    features.apply(stores.settings)
    run_job(publish, MONDAY, stores)
    (first, *_) = served("orders", stores).to_dicts()
    keys = pl.DataFrame({"symbol": [first["symbol"], "999999.SH"], "index": ["CSI300"] * 2})
    answer = features.online(stores.settings, "orders", keys)
    assert answer["shares"].to_list() == [first["shares"], None]
    assert answer["fill_session"].to_list()[0] == datetime(2024, 12, 3, tzinfo=UTC)
    reader = features.serving_store(stores.settings)
    entity = {name: first[name] for name in ("symbol", "index")}
    told = reader.get_online_features(features=["orders:fill_session", "orders:side"], entity_rows=[entity]).to_dict()
    assert told["side"] == [first["side"]] and told["fill_session"][0] == datetime(2024, 12, 3, tzinfo=UTC)
    asked = pl.DataFrame({"index": ["CSI300"], "session": [MONDAY]})
    then = features.frame(stores.settings, "decisions", asked)
    assert then["status"].to_list() == [served("decisions", stores)["status"][0]]


def test_a_corrected_score_changes_a_decision_that_nobody_was_served(stores: Stores) -> None:
    """Two clocks: as known at the cut-off the orders are those of that night."""
    before = decided(stores)
    later = correct_scores(stores, before[0])
    night = cut_off(stores.market, MONDAY)
    assert stores.read("orders", MONDAY, known_at=night).equals(before[0])
    assert stores.read("decisions", MONDAY, known_at=night).equals(before[1])
    now = stores.read("decisions", MONDAY)
    assert now["objective"].item() != before[1]["objective"].item()
    assert set(now["created_timestamp"].to_list()) == {later}
    run_job(publish, MONDAY, stores)
    assert served("decisions", stores)["objective"].item() == now["objective"].item()
    assert all(view.equal for view in parity.check(MONDAY, stores))


def test_a_decision_that_was_served_stands(stores: Stores) -> None:
    before = decided(stores)
    run_job(publish, MONDAY, stores)
    correct_scores(stores, before[0])
    assert stores.read("orders", MONDAY).equals(before[0])
    assert stores.read("decisions", MONDAY).equals(before[1])
    run_job(publish, MONDAY, stores)
    assert served("decisions", stores)["objective"].item() == before[1]["objective"].item()
    assert all(view.equal for view in parity.check(MONDAY, stores))


def decided(stores: Stores) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Orders and decision of a Monday."""
    SmallLake().fill(stores, MONDAY, MONDAY)
    compute(stores, MONDAY, MONDAY)
    return stores.read("orders", MONDAY), stores.read("decisions", MONDAY)


def correct_scores(stores: Stores, orders: pl.DataFrame) -> datetime:
    """Deliver the opposite scores two days later and compute again; the moment of that knowledge."""
    later = datetime(2024, 12, 4, 12, tzinfo=UTC)
    scores = SmallLake().scores(MONDAY).with_columns(event_timestamp=pl.lit(orders["event_timestamp"][0]))
    old = scores.with_columns(created_timestamp=pl.lit(cut_off(stores.market, MONDAY)))
    new = scores.with_columns(score=-pl.col("score"), created_timestamp=pl.lit(later))
    put("scores", MONDAY, {"scores": pl.concat([old, new])}, stores)
    compute(stores, MONDAY, MONDAY)
    return later


@pytest.fixture
def changed(stores: Stores) -> SmallLake:
    """On Tuesday the second name does not trade; on Thursday the index loses its first name and takes the tenth."""
    lake, thursday = SmallLake(), date(2024, 12, 5)
    lake.fill(stores, MONDAY, FRIDAY)
    halted = pl.col("symbol") == lake.names[1]
    quiet_day = lake.daily_bars(TUESDAY).with_columns(volume=pl.when(halted).then(0.0).otherwise("volume"))
    put("bars", TUESDAY, {"daily_bars": quiet_day}, stores)
    members = lake.names[1:10]
    after = pl.DataFrame({"index": "CSI300", "symbol": members, "weight": 1 / 9})
    put("members", thursday, {"index_members": after}, stores)
    compute(stores, MONDAY, FRIDAY)
    return lake


def test_what_left_the_index_is_an_exit_and_what_was_not_filled_is_ordered_again(
    changed: SmallLake, stores: Stores
) -> None:
    """A member of a ninth may be sold to half of it at most; out of the index it may be no more than half of it."""
    rows = {row["symbol"]: row for row in stores.read("orders", FRIDAY).to_dicts()}
    exit_row, blocked_row = rows[changed.names[0]], rows[changed.names[1]]
    assert (exit_row["side"], exit_row["reason"], exit_row["bound"]) == ("sell", "exit", None)
    assert (blocked_row["side"], blocked_row["reason"]) == ("buy", "blocked")
    assert "exit" not in {row["reason"] for name, row in rows.items() if name != changed.names[0]}


def test_the_tracking_error_realised_is_the_books_own(stores: Stores) -> None:
    """Twenty differences are there on the 31st, the last of a year that ends within a week."""
    lake = SmallLake()
    sessions = lake.fill(stores)
    file = stores.settings.home / "mandate.toml"
    file.write_text('[CSI300]\nrebalance = "daily"\n')
    own = Stores(
        stores.settings.model_copy(update={"mandate": file}), stores.market, stores.lake, stores.ledger, stores.models
    )
    compute(own, sessions[0], sessions[-1])
    realised = own.read("decisions", sessions[0], sessions[-1]).sort("session")["tracking_error_realised"]
    assert realised.null_count() == len(sessions) - 1
    nav = own.read("nav", sessions[0], sessions[-1]).sort("session")
    gap = nav.select(pl.col("nav").pct_change() - pl.col("benchmark_return")).to_series().drop_nulls()
    assert realised[-1] == pytest.approx(gap.std() * 252**0.5, rel=1e-12)


def test_a_portfolios_night_is_rebuilt_as_known_at_any_moment(stores: Stores) -> None:
    """Book, decision and orders of a session whose scores were corrected later: at either moment they are its own."""
    lake = SmallLake()
    lake.fill(stores, MONDAY, FRIDAY)
    compute(stores, MONDAY, FRIDAY)
    night, later = cut_off(stores.market, FRIDAY), datetime(2024, 12, 9, 12, tzinfo=UTC)
    scores = lake.scores(FRIDAY).with_columns(event_timestamp=pl.lit(stores.read("scores", FRIDAY)[EVENT][0]))
    old = scores.with_columns(created_timestamp=pl.lit(night))
    new = scores.with_columns(score=-pl.col("score"), created_timestamp=pl.lit(later))
    put("scores", FRIDAY, {"scores": pl.concat([old, new])}, stores)
    compute(stores, FRIDAY, FRIDAY)
    before, after = (replay_portfolio(FRIDAY, moment, stores) for moment in (None, later))
    assert before.equal and after.equal
    assert before.tables["orders"].rows == stores.read("orders", FRIDAY, known_at=night).height > 0
    assert before.tables["decisions"].rows == after.tables["decisions"].rows == 1
    file = stores.settings.home / "mandate.toml"
    file.write_text("[CSI300]\nturnover = 0.01\n")
    stricter = Stores(
        stores.settings.model_copy(update={"mandate": file}), stores.market, stores.lake, stores.ledger, stores.models
    )
    different = replay_portfolio(FRIDAY, None, stricter)
    assert not different.tables["decisions"].equal and different.tables["nav"].equal
    assert {row["table"] for row in different.to_dict()["rows"] if row["answer"] == "different"} >= {"orders"}
    with pytest.raises(UsageError, match="FPM-RPL-003"):
        replay_portfolio(FRIDAY, datetime(2024, 12, 5, tzinfo=UTC), stores)
