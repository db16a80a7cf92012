"""Portfolios in the lake: decided weekly, filled the session after, held in between."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumers import benchmark, factor_returns, portfolio
from consumers.questions.enhance import exposures
from fpm.errors import TryLater
from fpm.risk.estimate import risk_model
from fpm.store.jobs.runner import backfill, run_job
from fpm.store.ledger.stores import Stores, open_stores
from tests.consumers.small_lake import SmallLake, put
from tests.small_chain import quiet

MONDAY, TUESDAY, FRIDAY = date(2024, 12, 2), date(2024, 12, 3), date(2024, 12, 6)


def weights(stores: Stores, session: date, index: str = "CSI300") -> pl.DataFrame:
    rows = stores.read("weights", session, columns=["symbol", "index", "weight", "benchmark_weight"])
    return rows.filter(pl.col("index") == index).sort("symbol")


def compute(stores: Stores, first: date, last: date) -> None:
    for job in (factor_returns, portfolio):
        assert {outcome.status for outcome in backfill(job, first, last, stores, quiet)} <= {"published", "unchanged"}


def test_a_week_of_a_book(stores: Stores) -> None:
    lake = SmallLake()
    sessions = lake.fill(stores, MONDAY, date(2024, 12, 9))
    compute(stores, sessions[0], sessions[-1])
    decisions = stores.read("decisions", sessions[0], sessions[-1])
    assert decisions["session"].to_list() == [MONDAY, FRIDAY]
    assert decisions["fill_session"].to_list() == [TUESDAY, date(2024, 12, 9)]
    # Monday decides, nothing is held before Tuesday; then the shares stand still until Friday's decision is filled
    assert stores.read("nav", sessions[0], sessions[-1])["session"].to_list() == sessions[1:]
    books = stores.read("holdings", sessions[0], sessions[-1]).partition_by("session", as_dict=True)
    counts = [part.select("symbol", "shares") for part in books.values()]
    assert all(count.equals(counts[0]) for count in counts[:4]) and not counts[4].equals(counts[3])
    assert all((count["shares"] % 100 == 0).all() for count in counts)
    targets = stores.read("targets", MONDAY)
    assert targets["weight"].sum() == pytest.approx(1, abs=0.01) and targets["weight"].sum() <= 1
    wanted = targets.filter(pl.col("shares") > 0)["symbol"].to_list()
    assert counts[0]["symbol"].to_list() == sorted(wanted)
    # the weights served are the decision's, then those held
    assert weights(stores, MONDAY)["weight"].sum() == pytest.approx(targets["weight"].sum())
    nav = stores.read("nav", TUESDAY)["nav"].item()
    value = books[(TUESDAY,)]["value"].sum()
    assert weights(stores, TUESDAY)["weight"].sum() == pytest.approx(value / nav, abs=1e-12)
    friday = stores.read("targets", FRIDAY)
    assert (friday["weight"] - friday["weight_held"]).abs().sum() <= 0.30 + 1e-6


def test_every_name_has_a_row_and_the_benchmark_is_whole(stores: Stores) -> None:
    lake = SmallLake()
    lake.fill(stores, MONDAY, TUESDAY)
    compute(stores, MONDAY, TUESDAY)
    for session in (MONDAY, TUESDAY):
        rows = weights(stores, session)
        assert rows.height == lake.symbols and rows["benchmark_weight"].sum() == pytest.approx(1, abs=1e-12)


def test_without_an_index_the_benchmark_is_equal_weight_over_what_trades(stores: Stores) -> None:
    lake = SmallLake(symbols=4, index=None)
    lake.fill(stores, MONDAY, MONDAY)
    halted = lake.daily_bars(MONDAY).with_columns(
        pl.when(pl.col("symbol") == lake.names[0]).then(0.0).otherwise(pl.col("volume")).alias("volume")
    )
    put("bars", MONDAY, {"daily_bars": halted}, stores)
    compute(stores, MONDAY, MONDAY)
    rows = weights(stores, MONDAY, benchmark.EVERY_NAME)
    assert rows["benchmark_weight"].to_list() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert rows["weight"][0] == 0


def test_running_again_changes_nothing(stores: Stores) -> None:
    SmallLake().fill(stores, MONDAY, MONDAY)
    run_job(factor_returns, MONDAY, stores)
    first = run_job(portfolio, MONDAY, stores)
    again = run_job(portfolio, MONDAY, stores)
    assert (first.status, again.status, again.sha256) == ("published", "unchanged", first.sha256)


def test_portfolios_do_not_depend_on_what_comes_later(stores: Stores) -> None:
    lake, tables = SmallLake(), portfolio.WRITES
    lake.fill(stores, MONDAY, FRIDAY)
    compute(stores, MONDAY, FRIDAY)
    before = [path.read_bytes() for table in tables for _, path in stores.lake.files(table, MONDAY, FRIDAY)]
    lake.fill(stores, date(2024, 12, 9), date(2024, 12, 13))
    compute(stores, MONDAY, date(2024, 12, 13))
    assert [path.read_bytes() for table in tables for _, path in stores.lake.files(table, MONDAY, FRIDAY)] == before


def test_a_delisted_name_leaves_at_its_last_price(stores: Stores) -> None:
    lake, last = SmallLake(index=None), date(2024, 12, 5)
    sessions = lake.fill(stores, MONDAY, last)
    gone = lake.names[0]
    for session in sessions[:3]:
        marked = lake.daily_bars(session).with_columns(
            pl.when(pl.col("symbol") == gone).then(pl.lit(last)).otherwise(None).alias("delist_date")
        )
        put("bars", session, {"daily_bars": marked}, stores)
    put("bars", last, {"daily_bars": lake.daily_bars(last).filter(pl.col("symbol") != gone)}, stores)
    compute(stores, MONDAY, last)
    before = stores.read("holdings", sessions[2]).filter(pl.col("symbol") == gone)
    action = stores.read("actions", last).row(0, named=True)
    assert (action["symbol"], action["kind"], action["shares_after"]) == (gone, "delisted", 0)
    assert action["cash"] == pytest.approx(before["value"].item(), abs=0.005) and action["cash"] > 0
    assert gone not in stores.read("holdings", last)["symbol"].to_list()


def test_missing_scores_make_it_wait(stores: Stores) -> None:
    lake = SmallLake()
    put("bars", MONDAY, {"daily_bars": lake.daily_bars(MONDAY)}, stores)
    with pytest.raises(TryLater, match="scores"):
        run_job(portfolio, MONDAY, stores)


def test_scores_that_tell_nothing_apart_keep_the_book(stores: Stores) -> None:
    lake = SmallLake()
    lake.fill(stores, MONDAY, FRIDAY)
    compute(stores, MONDAY, date(2024, 12, 5))
    equal = lake.scores(FRIDAY).with_columns(score=pl.lit(0.5))
    put("scores", FRIDAY, {"scores": equal}, stores)
    compute(stores, FRIDAY, FRIDAY)
    assert stores.read("decisions", FRIDAY)["status"].to_list() == ["kept"]
    targets = stores.read("targets", FRIDAY)
    assert targets["shares"].to_list() == targets["shares_held"].to_list() and targets["shares"].sum() > 0


@pytest.mark.parametrize(("share", "kept"), [(0.15, False), (0.25, True)])
def test_members_without_a_bar_are_named_and_too_many_keep_the_book(
    stores: Stores, share: float, kept: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fifth of the index may be without any bar: it stays in it; with more, what has prices is another index."""
    lake = SmallLake()
    lake.fill(stores, MONDAY, FRIDAY)
    names = [*lake.names[:10], "699999.SH"]
    members = pl.DataFrame({"index": "CSI300", "symbol": names, "weight": [*[(1 - share) / 10] * 10, share]})
    put("members", FRIDAY, {"index_members": members}, stores)
    compute(stores, MONDAY, FRIDAY)
    assert (stores.read("decisions", FRIDAY)["status"].item() == "kept") == kept
    targets, said = stores.read("targets", FRIDAY), capsys.readouterr().err
    assert (targets["shares"].to_list() == targets["shares_held"].to_list()) == kept and targets["shares"].sum() > 0
    assert "699999.SH" in said and ("FPM-PF-080" in said) == kept


def test_a_member_without_a_bar_is_in_the_index_and_in_no_portfolio(stores: Stores) -> None:
    """Its given weight is the benchmark's, its risk is in the tables, and the bound that it breaks is named."""
    lake, never = SmallLake(), "699999.SH"
    lake.fill(stores, MONDAY, date(2024, 12, 9))
    names = [*lake.names[:10], never]
    members = pl.DataFrame({"index": "CSI300", "symbol": names, "weight": [*[0.085] * 10, 0.15]})
    put("members", FRIDAY, {"index_members": members}, stores)
    compute(stores, MONDAY, date(2024, 12, 9))
    targets = stores.read("targets", FRIDAY).sort("symbol")
    given = targets.filter(pl.col("benchmark_weight") > 0).select("symbol", "benchmark_weight")
    assert dict(given.iter_rows()) == pytest.approx(dict(members.select("symbol", "weight").iter_rows()), abs=1e-12)
    row = targets.filter(pl.col("symbol") == never).row(0, named=True)
    assert (row["shares"], row["weight"], row["tradable"], row["close"]) == (0, 0.0, False, None)
    decision = stores.read("decisions", FRIDAY).row(0, named=True)
    assert json.loads(decision["relaxed"])["industry"] == pytest.approx(0.15 - decision["industry_cap"], abs=1e-9)
    exposed = exposures("CSI300", FRIDAY, stores)
    rows = targets.select("symbol", "weight", "benchmark_weight").join(exposed, on="symbol", how="left")
    active = (rows["weight"] - rows["benchmark_weight"]).to_numpy()
    factors = [name for name in exposed.columns if name not in ("session", "symbol", "specific_variance")]
    covariance = stores.read("covariance", FRIDAY)
    cov = np.array([[value_of(covariance, one, other) for other in factors] for one in factors])
    pull = active @ rows.select(factors).to_numpy()
    variance = pull @ cov @ pull + active**2 @ rows["specific_variance"].to_numpy()
    assert decision["tracking_error"] == pytest.approx(np.sqrt(variance * stores.market.sessions_per_year))
    # what is served and what the index earns are of the members that have prices
    served = weights(stores, FRIDAY)
    assert never not in served["symbol"].to_list() and served["benchmark_weight"].sum() == pytest.approx(1)
    monday, friday = (lake.daily_bars(day)["close"].round(2) for day in (date(2024, 12, 9), FRIDAY))
    gain = (monday / friday - 1)[:10].mean()
    assert stores.read("nav", date(2024, 12, 9))["benchmark_return"].item() == pytest.approx(gain)


def value_of(covariance: pl.DataFrame, factor: str, other: str) -> float:
    return float(covariance.filter(pl.col("factor") == factor, pl.col("other") == other)["value"].item())


def test_the_mandate_of_the_operator_counts(stores: Stores, tmp_path: Path) -> None:
    lake, file = SmallLake(), tmp_path / "mandate.toml"
    lake.fill(stores, MONDAY, TUESDAY)
    compute(stores, MONDAY, TUESDAY)
    assert stores.read("nav", TUESDAY)["nav"].item() == pytest.approx(1e8, rel=0.1)
    file.write_text("[CSI300]\ncapital = 1e9\n")
    own = open_stores(stores.settings.model_copy(update={"mandate": file}))
    compute(own, MONDAY, TUESDAY)
    assert own.read("nav", TUESDAY)["nav"].item() == pytest.approx(1e9, rel=0.1)
    own.ledger.close()


def test_an_index_has_the_half_lives_of_its_mandate(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three indices of the same members: one with other half-lives, one that spells out those of the home."""
    lake, file = SmallLake(), tmp_path / "mandate.toml"
    lake.fill(stores, MONDAY, FRIDAY)
    three = [lake.index_members().with_columns(index=pl.lit(name)) for name in ("OWN", "PLAIN", "SAID")]
    put("members", MONDAY, {"index_members": pl.concat(three)}, stores)
    file.write_text(
        "[OWN]\nhalf_lives = {volatility = 5, specific = 5}\n"
        "[SAID]\nhalf_lives = {volatility = 84, correlation = 252, specific = 168}\n"
    )
    own = open_stores(stores.settings.model_copy(update={"mandate": file}))
    estimated = []

    def counted(*arguments):
        estimated.append(arguments)
        return risk_model(*arguments)

    monkeypatch.setattr("consumers.portfolio.risk_model", counted)
    compute(own, MONDAY, FRIDAY)
    assert len(estimated) == 4  # two models a decision, on Monday and Friday
    covariance, specific = (own.read(table, FRIDAY) for table in ("covariance", "specific_variances"))
    values = {index: covariance.filter(pl.col("index") == index)["value"] for index in ("OWN", "PLAIN", "SAID")}
    variances = {index: specific.filter(pl.col("index") == index)["specific_variance"] for index in values}
    for columns in (values, variances):
        assert columns["PLAIN"].equals(columns["SAID"])
        assert not columns["PLAIN"].equals(columns["OWN"])
    own.ledger.close()


def test_a_holding_and_its_benchmark_weight_go_on_under_the_new_name(stores: Stores) -> None:
    """The reference is the same portfolio without the rename."""
    lake, wednesday, new = SmallLake(), date(2024, 12, 4), "600099.SH"
    lake.fill(stores, MONDAY, wednesday)
    compute(stores, MONDAY, wednesday)
    expected = weights(stores, wednesday).with_columns(pl.col("symbol").replace(lake.names[0], new)).sort("symbol")
    for table, job in (("daily_bars", "bars"), ("daily_factors", "daily_factors"), ("scores", "scores")):
        rows = getattr(lake, table)(wednesday).with_columns(pl.col("symbol").replace(lake.names[0], new))
        put(job, wednesday, {table: rows}, stores)
    companies = [(lake.names[0], date(2010, 1, 4), TUESDAY, "x"), (new, wednesday, None, "x")]
    schema = ["symbol", "first", "last", "identity"]
    put("symbols", date(2010, 1, 4), {"symbols": pl.DataFrame(companies, schema=schema, orient="row")}, stores)
    compute(stores, wednesday, wednesday)
    renamed = weights(stores, wednesday).drop_nulls("weight")
    assert renamed["symbol"].to_list() == expected["symbol"].to_list()
    for column in ("weight", "benchmark_weight"):
        assert renamed[column].to_numpy() == pytest.approx(expected[column].to_numpy(), abs=1e-9)
    assert renamed.filter(pl.col("symbol") == new)["benchmark_weight"].item() > 0
