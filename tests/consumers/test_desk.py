"""The desk's hand on the portfolios: real books, restrictions, approvals and holds, each from when it is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from consumers import factor_returns, portfolio, publish, risk_tests, score_intervals
from consumers.questions.decisions import decisions
from consumers.questions.instructions import approve, hold
from fpm.errors import UsageError
from fpm.sessions import cut_off, opening
from fpm.store.jobs.runner import backfill, run_job
from fpm.store.ledger.instructions import record, recorded
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.online.publication import served
from producers.bars import Arrival, ingest
from tests.consumers.small_lake import SmallLake, put
from tests.small_chain import quiet

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (date(2024, 12, day) for day in range(2, 7))
NEXT_MONDAY, NEXT_TUESDAY = date(2024, 12, 9), date(2024, 12, 10)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
INDEX, LAKE = "CSI300", SmallLake()


def compute(stores: Stores, first: date, last: date) -> set[str]:
    """The statuses of the portfolio's sessions."""
    backfill(factor_returns, first, last, stores, quiet)
    statuses: set[str] = {outcome.status for outcome in backfill(portfolio, first, last, stores, quiet)}
    assert statuses <= {"published", "unchanged"}
    return statuses


def take(name: str, text: str, folder: Path, stores: Stores, known_at: datetime | None = None) -> None:
    """Ingest a file; without `known_at` it is history in bulk."""
    file = folder / f"{name}.csv"
    file.write_text(text)
    arrival = Arrival(known_at or NOW, NOW, known_at_stated=known_at is not None)
    ingest([file], arrival, stores, quiet).require_content()


def shares(stores: Stores, session: date) -> dict[str, int]:
    rows = stores.read("holdings", session).drop_nulls("shares").select("symbol", "shares")
    return dict(rows.iter_rows())


def cash(stores: Stores, session: date) -> float:
    return float(stores.read("nav", session)["cash"].item())


def close(session: date) -> dict[str, float]:
    return dict(LAKE.daily_bars(session).select("symbol", pl.col("close").round(2)).iter_rows())


def held_text(book: dict[str, int], money: float, session: date) -> str:
    rows = [f"{INDEX},{session},{symbol},{count}" for symbol, count in book.items()]
    return "\n".join(["index,session,symbol,shares", *rows, f"{INDEX},{session},CASH,{money}"]) + "\n"


def files(stores: Stores, first: date, last: date) -> list[bytes]:
    return [path.read_bytes() for table in portfolio.WRITES for _, path in stores.lake.files(table, first, last)]


def desk_home(stores: Stores, folder: Path, text: str) -> Stores:
    """The same home under a mandate."""
    file = folder / "mandate.toml"
    file.write_text(f"[{INDEX}]\n{text}")
    return open_stores(stores.settings.model_copy(update={"mandate": file}))


# --- a real book --------------------------------------------------------------------------------------------------
def test_a_session_starts_from_the_custodians_book_and_says_the_difference(stores: Stores, tmp_path: Path) -> None:
    LAKE.fill(stores, MONDAY, WEDNESDAY)
    compute(stores, MONDAY, TUESDAY)
    simulated, money = shares(stores, TUESDAY), cash(stores, TUESDAY)
    more, gone = sorted(simulated)[:2]
    real = {**simulated, more: simulated[more] + 150}
    del real[gone]
    take("holdings", held_text(real, round(money + 1000.25, 2), TUESDAY), tmp_path, stores)
    compute(stores, MONDAY, WEDNESDAY)
    assert shares(stores, WEDNESDAY) == real and cash(stores, WEDNESDAY) == pytest.approx(money + 1000.25, abs=1e-9)
    worth = sum(count * close(WEDNESDAY)[symbol] for symbol, count in real.items()) + money + 1000.25
    assert stores.read("nav", WEDNESDAY)["nav"].item() == pytest.approx(worth, abs=0.005)
    rows = stores.read("actions", WEDNESDAY).select("symbol", "kind", "shares_before", "shares_after", "cash").rows()
    handed = [-150 * close(TUESDAY)[more], simulated[gone] * close(TUESDAY)[gone]]
    assert [row[:4] for row in rows] == [
        (more, "book", simulated[more], simulated[more] + 150),
        (gone, "book", simulated[gone], 0),
        ("CASH", "book", 0, 0),
    ]
    assert [row[4] for row in rows] == pytest.approx([*handed, 1000.25 - sum(handed)], abs=1e-6)


def test_the_ledger_walks_on_from_a_real_book(stores: Stores, tmp_path: Path) -> None:
    """An outsider's walk from capital, trades and actions alone: shares and cash of every session."""
    sessions = LAKE.fill(stores, MONDAY, NEXT_MONDAY)
    compute(stores, MONDAY, WEDNESDAY)
    book = {**shares(stores, WEDNESDAY), LAKE.names[3]: 700}
    take("holdings", held_text(book, 12345.67, WEDNESDAY), tmp_path, stores)
    compute(stores, MONDAY, NEXT_MONDAY)
    held, money = dict[str, int](), 1e8
    for session in sessions[1:]:
        for row in stores.read("actions", session).iter_rows(named=True):
            assert row["shares_before"] == held.get(row["symbol"], 0)
            held[row["symbol"]] = row["shares_after"]
            money += row["cash"]
        for row in stores.read("trades", session).iter_rows(named=True):
            sign = 1 if row["side"] == "buy" else -1
            held[row["symbol"]] = held.get(row["symbol"], 0) + sign * row["shares"]
            money -= sign * row["amount"] + row["cost"]
        assert {symbol: count for symbol, count in held.items() if count} == shares(stores, session)
        assert money == pytest.approx(cash(stores, session), abs=0.005)
    assert stores.read("actions", THURSDAY).height > 1


def test_a_book_before_the_first_session_is_where_it_begins(stores: Stores, tmp_path: Path) -> None:
    LAKE.fill(stores, MONDAY, TUESDAY)
    book = {LAKE.names[0]: 1234, LAKE.names[1]: 500}
    take("custodian 2024-12-02", held_text(book, 1e6, MONDAY), tmp_path, stores)  # known by its columns
    compute(stores, TUESDAY, TUESDAY)
    assert shares(stores, TUESDAY) == book and cash(stores, TUESDAY) == 1e6


def test_a_book_of_names_without_a_price_leaves_the_simulated_one(stores: Stores) -> None:
    LAKE.fill(stores, MONDAY, WEDNESDAY)
    compute(stores, MONDAY, TUESDAY)
    simulated = shares(stores, TUESDAY)
    rows = {"index": INDEX, "symbol": ["600999.SH", "CASH"], "shares": [100, 0], "cash": [None, 1.0]}
    put("custody", TUESDAY, {"custody": pl.DataFrame(rows)}, stores)
    compute(stores, WEDNESDAY, WEDNESDAY)
    assert shares(stores, WEDNESDAY) == simulated and stores.read("actions", WEDNESDAY).is_empty()


# --- restrictions -------------------------------------------------------------------------------------------------
LIST = "symbol,from,to,reason,kind\n"


def traded(stores: Stores, first: date, last: date, symbol: str) -> list[tuple[date, str]]:
    rows = stores.read("trades", first, last).filter(pl.col("symbol") == symbol)
    return rows.select("session", "side").rows()


def test_a_frozen_name_never_trades_and_one_not_to_be_bought_never_rises(stores: Stores, tmp_path: Path) -> None:
    own = desk_home(stores, tmp_path, 'rebalance = "daily"\n')
    sessions = LAKE.fill(own, MONDAY, FRIDAY)
    compute(own, MONDAY, TUESDAY)
    frozen, closed = sorted(shares(own, TUESDAY))[:2]
    text = f"{frozen},2024-12-04,,merger,frozen\n{closed},2024-12-04,2024-12-06,sector cap,no_buy\n"
    take("compliance list", LIST + text, tmp_path, own)  # known by its columns: no intervals of members
    compute(own, MONDAY, FRIDAY)
    assert traded(own, WEDNESDAY, FRIDAY, frozen) == []
    assert {side for _, side in traded(own, WEDNESDAY, FRIDAY, closed)} <= {"sell"}
    books = [shares(own, session) for session in sessions[1:]]
    assert len({book[frozen] for book in books}) == 1
    counts = [book.get(closed, 0) for book in books]
    assert counts == sorted(counts, reverse=True)
    targets = own.read("targets", WEDNESDAY)
    words = dict(targets.drop_nulls("restriction").select("symbol", "restriction").iter_rows())
    assert words == {frozen: "frozen: merger", closed: "no_buy: sector cap"}
    assert targets.filter(pl.col("symbol") == frozen)["tradable"].to_list() == [False]
    assert len({symbol for _, symbol in own.read("trades", THURSDAY, FRIDAY).select("session", "symbol").rows()}) > 2
    own.ledger.close()


def test_an_excluded_name_is_sold_as_soon_as_it_can_be(stores: Stores, tmp_path: Path) -> None:
    LAKE.fill(stores, MONDAY, NEXT_MONDAY)
    compute(stores, MONDAY, TUESDAY)
    book = shares(stores, TUESDAY)
    name = max(book, key=lambda symbol: book[symbol])
    for session in (WEDNESDAY, THURSDAY):  # it does not trade: nothing can be sold, nothing is tried
        halted = LAKE.daily_bars(session).with_columns(
            volume=pl.when(pl.col("symbol") == name).then(0.0).otherwise("volume"),
            suspended=pl.col("symbol") == name,
        )
        put("bars", session, {"daily_bars": halted}, stores)
    take("restrictions", f"{LIST}{name},2024-12-05,,sanctions,\n", tmp_path, stores)
    compute(stores, MONDAY, NEXT_MONDAY)
    counts = [shares(stores, session).get(name, 0) for session in (WEDNESDAY, THURSDAY, FRIDAY, NEXT_MONDAY)]
    assert counts == [book[name], book[name], book[name], 0]
    friday = stores.read("targets", FRIDAY).filter(pl.col("symbol") == name)
    assert friday["restriction"].to_list() == ["exclude: sanctions"] and friday["shares"].to_list() == [0]
    assert {side for _, side in traded(stores, WEDNESDAY, NEXT_MONDAY, name)} == {"sell"}


def test_an_exclusion_does_not_wait_for_the_weeks_end_nor_for_the_turnover_bound(
    stores: Stores, tmp_path: Path
) -> None:
    own = desk_home(stores, tmp_path, "turnover = 0.02\n")
    LAKE.fill(own, MONDAY, THURSDAY)
    compute(own, MONDAY, TUESDAY)
    book = shares(own, TUESDAY)
    name = max(book, key=lambda symbol: book[symbol] * close(TUESDAY)[symbol])
    take("restrictions", f"{LIST}{name},2024-12-05,,sanctions,\n", tmp_path, own)
    compute(own, MONDAY, THURSDAY)
    assert name in shares(own, WEDNESDAY) and name not in shares(own, THURSDAY)
    row = next(each for each in decisions(WEDNESDAY, own) if each["index"] == INDEX)
    weight = book[name] * close(WEDNESDAY)[name] / own.read("nav", WEDNESDAY)["nav"].item()
    assert row["status"] == "relaxed" and row["turnover"] > weight > 0.02
    assert row["relaxed"]["turnover"] == pytest.approx(row["turnover"] - 0.02, abs=1e-9)
    own.ledger.close()


def test_a_restriction_known_before_the_open_stops_orders_that_were_decided(stores: Stores, tmp_path: Path) -> None:
    LAKE.fill(stores, MONDAY, NEXT_MONDAY)
    compute(stores, MONDAY, NEXT_MONDAY)
    wish = stores.read("targets", FRIDAY).filter(pl.col("shares") > pl.col("shares_held")).row(0, named=True)
    symbol, count = wish["symbol"], wish["shares"] - wish["shares_held"]
    early = opening(stores.market, NEXT_MONDAY) - timedelta(minutes=1)
    take("restrictions", f"{LIST}{symbol},2024-12-09,,court order,frozen\n", tmp_path, stores, early)
    compute(stores, MONDAY, NEXT_MONDAY)
    rows = stores.read("blocked", NEXT_MONDAY).filter(pl.col("symbol") == symbol)
    assert rows.select("side", "ordered", "filled", "reason").rows() == [("buy", count, 0, "frozen: court order")]
    assert symbol not in stores.read("trades", NEXT_MONDAY).drop_nulls("shares")["symbol"].to_list()


def test_a_restriction_known_after_the_open_changes_nothing_of_the_session(stores: Stores, tmp_path: Path) -> None:
    LAKE.fill(stores, MONDAY, TUESDAY)
    compute(stores, MONDAY, TUESDAY)
    before = files(stores, MONDAY, TUESDAY)
    late = cut_off(stores.market, TUESDAY) + timedelta(minutes=1)
    take("restrictions", f"{LIST}{LAKE.names[0]},2024-12-03,,late,frozen\n", tmp_path, stores, late)
    assert compute(stores, MONDAY, TUESDAY) == {"unchanged"}
    assert files(stores, MONDAY, TUESDAY) == before


# --- approval and hold --------------------------------------------------------------------------------------------
@pytest.fixture
def waiting(stores: Stores, tmp_path: Path) -> Iterator[Stores]:
    """A home of seven sessions whose decisions need approval."""
    own = desk_home(stores, tmp_path, "approval = true\n")
    LAKE.fill(own, MONDAY, NEXT_TUESDAY)
    yield own
    own.ledger.close()


def test_a_decision_waits_until_it_is_approved(waiting: Stores) -> None:
    compute(waiting, MONDAY, WEDNESDAY)
    assert waiting.read("decisions", MONDAY, WEDNESDAY)["status"].to_list() == ["awaiting approval"]
    assert waiting.read("trades", MONDAY, WEDNESDAY).is_empty()
    assert waiting.read("weights", MONDAY)["weight"].sum() == 0  # yesterday's book, and there was none
    (row,) = decisions(None, waiting)
    assert (row["session"], row["status"], row["said"]) == (str(MONDAY), "awaiting approval", None)
    assert approve(MONDAY, None, "anna", NOW, waiting) == [
        {
            "index": INDEX,
            "session": str(MONDAY),
            "by": "anna",
            "counts_from": cut_off(waiting.market, MONDAY).isoformat(),
            "fills": str(TUESDAY),
        }
    ]
    compute(waiting, MONDAY, WEDNESDAY)
    targets = waiting.read("targets", MONDAY).filter(pl.col("shares") > 0)
    assert shares(waiting, TUESDAY) == dict(targets.select("symbol", "shares").iter_rows())
    assert waiting.read("decisions", MONDAY)["status"].to_list() == ["awaiting approval"]  # as it was written
    assert decisions(None, waiting)[0]["said"] == f"approved by anna, fills {TUESDAY}"
    held = waiting.read("holdings", TUESDAY)["value"].sum() / waiting.read("nav", TUESDAY)["nav"].item()
    assert waiting.read("weights", TUESDAY)["weight"].sum() == pytest.approx(held)


def test_readers_see_what_is_held_until_the_decision_is_approved(waiting: Stores) -> None:
    """Nights of a mandate that demands approval: online weights and fills follow the book, decisions say what waits."""

    def night(session: date) -> tuple[float, list[str], int]:
        """Sum of the weights, statuses of the decisions and number of fills online."""
        compute(waiting, MONDAY, session)
        run_job(score_intervals, session, waiting)
        assert run_job(publish, session, waiting).status == "published"
        weights, decided, fills = (served(view, waiting) for view in ("weights", "decisions", "trades"))
        return float(weights["weight"].sum()), decided["status"].to_list(), fills.height

    assert night(MONDAY) == (0.0, ["awaiting approval"], 0)
    assert night(TUESDAY) == (0.0, [], 0)
    evening = cut_off(waiting.market, TUESDAY) + timedelta(hours=1)
    (answer,) = approve(MONDAY, INDEX, "anna", evening, waiting)
    assert answer["fills"] == str(WEDNESDAY)
    invested, decided, fills = night(WEDNESDAY)
    bought = waiting.read("trades", WEDNESDAY)
    assert (decided, fills) == ([], bought.height)
    assert fills > 0
    exposure = waiting.read("holdings", WEDNESDAY)["value"].sum() / waiting.read("nav", WEDNESDAY)["nav"].item()
    assert invested == pytest.approx(exposure)
    assert invested > 0.9


def test_a_decision_that_waits_is_no_forecast_of_the_book(waiting: Stores) -> None:
    """Monday's decision is approved, Friday's is not: until the end the book is Monday's, and so is its forecast."""
    compute(waiting, MONDAY, MONDAY)
    approve(MONDAY, None, "anna", NOW, waiting)
    compute(waiting, MONDAY, NEXT_TUESDAY)
    backfill(risk_tests, MONDAY, NEXT_TUESDAY, waiting, quiet)
    made = waiting.read("decisions", MONDAY, NEXT_TUESDAY)
    assert made["session"].to_list() == [MONDAY, date(2024, 12, 6)]
    own = waiting.read("risk_forecasts", MONDAY, NEXT_TUESDAY).filter(pl.col("kind") == "own").sort("session")
    assert own["session"][-1] == NEXT_TUESDAY and own["decided"].unique().to_list() == [MONDAY]
    approve(date(2024, 12, 6), None, "anna", NOW, waiting)
    compute(waiting, MONDAY, NEXT_TUESDAY)
    backfill(risk_tests, MONDAY, NEXT_TUESDAY, waiting, quiet)
    own = waiting.read("risk_forecasts", MONDAY, NEXT_TUESDAY).filter(pl.col("kind") == "own").sort("session")
    assert own.select("session", "decided").rows()[-2:] == [
        (date(2024, 12, 9), MONDAY),
        (NEXT_TUESDAY, date(2024, 12, 6)),
    ]


def test_an_approval_that_comes_late_changes_the_next_session_only(waiting: Stores) -> None:
    publication = waiting.ledger.begin("publish", "2024-11-29", "x")
    waiting.ledger.publish(publication, [])
    compute(waiting, MONDAY, THURSDAY)
    before = files(waiting, MONDAY, WEDNESDAY)
    noon = opening(waiting.market, WEDNESDAY) + timedelta(hours=1)
    (answer,) = approve(MONDAY, INDEX, "anna", noon, waiting)
    assert (answer["counts_from"], answer["fills"]) == (noon.isoformat(), str(THURSDAY))
    compute(waiting, MONDAY, WEDNESDAY)
    assert files(waiting, MONDAY, WEDNESDAY) == before
    compute(waiting, THURSDAY, THURSDAY)
    wanted = dict(waiting.read("targets", MONDAY).filter(pl.col("shares") > 0).select("symbol", "shares").iter_rows())
    blocked = waiting.read("blocked", THURSDAY)  # three sessions later the cash no longer buys all of it
    missed = {
        symbol: ordered - filled for symbol, ordered, filled in blocked.select("symbol", "ordered", "filled").rows()
    }
    assert set(blocked["reason"].to_list()) <= {"cash"}
    assert {name: count + missed.get(name, 0) for name, count in shares(waiting, THURSDAY).items()} == wanted
    assert waiting.read("trades", THURSDAY)["decided"].unique().to_list() == [MONDAY]
    again = files(waiting, MONDAY, THURSDAY)
    assert approve(MONDAY, INDEX, "ben", NOW, waiting)[0]["by"] == "anna" and len(recorded(waiting.ledger)) == 1
    assert compute(waiting, MONDAY, THURSDAY) == {"unchanged"} and files(waiting, MONDAY, THURSDAY) == again


def test_only_the_shares_that_were_approved_are_filled(waiting: Stores) -> None:
    """The scores of the decision are corrected after the approval: it is another decision, and it waits."""
    compute(waiting, MONDAY, MONDAY)
    approve(MONDAY, INDEX, "anna", NOW, waiting)
    put("scores", MONDAY, {"scores": LAKE.scores(FRIDAY)}, waiting)
    compute(waiting, MONDAY, TUESDAY)
    assert waiting.read("trades", TUESDAY).is_empty()


def test_a_decision_that_was_replaced_cannot_be_approved(waiting: Stores) -> None:
    compute(waiting, MONDAY, FRIDAY)
    with pytest.raises(UsageError, match=r"FPM-PF-051.*2024-12-06"):
        approve(MONDAY, INDEX, "anna", NOW, waiting)
    with pytest.raises(UsageError, match="FPM-PF-050"):
        approve(TUESDAY, INDEX, "anna", NOW, waiting)
    assert recorded(waiting.ledger) == ()


def test_a_held_index_keeps_its_book_and_says_so(stores: Stores, tmp_path: Path) -> None:
    own = desk_home(stores, tmp_path, 'rebalance = "daily"\n')
    LAKE.fill(own, MONDAY, FRIDAY)
    compute(own, MONDAY, TUESDAY)
    hold(INDEX, (WEDNESDAY, THURSDAY), "client asks", "ben", NOW, own)
    compute(own, MONDAY, FRIDAY)
    statuses = own.read("decisions", MONDAY, FRIDAY)["status"].to_list()
    assert statuses[1:3] == ["held", "held"] and not {"held", "kept"} & {statuses[0], *statuses[3:]}
    assert shares(own, TUESDAY) == shares(own, WEDNESDAY) == shares(own, THURSDAY) != shares(own, FRIDAY)
    held = own.read("holdings", TUESDAY)["value"].sum() / own.read("nav", TUESDAY)["nav"].item()
    assert own.read("weights", TUESDAY)["weight"].sum() == pytest.approx(held)
    assert decisions(WEDNESDAY, own)[0]["said"] == f"held by ben from {WEDNESDAY} until {THURSDAY}: client asks"
    own.ledger.close()


def test_a_hold_after_the_decision_withholds_its_orders(stores: Stores) -> None:
    LAKE.fill(stores, MONDAY, NEXT_TUESDAY)
    publication = stores.ledger.begin("publish", "2024-11-29", "x")
    stores.ledger.publish(publication, [])
    compute(stores, MONDAY, FRIDAY)
    early = opening(stores.market, NEXT_MONDAY) - timedelta(minutes=1)
    answer = hold(INDEX, (None, None), "", "ben", early, stores)
    assert (answer["session"], answer["until"]) == (str(NEXT_MONDAY), None)
    compute(stores, MONDAY, NEXT_TUESDAY)
    assert shares(stores, NEXT_MONDAY) == shares(stores, FRIDAY)
    rows = stores.read("blocked", NEXT_MONDAY)
    assert rows.height > 0 and set(rows["reason"].to_list()) == {"held by ben"} and rows["filled"].sum() == 0
    # the same hold ends with what is said without a first session
    later = opening(stores.market, NEXT_TUESDAY) - timedelta(minutes=1)
    changed = hold(INDEX, (None, NEXT_TUESDAY), "", "ben", later, stores)
    assert (changed["session"], changed["until"]) == (str(NEXT_MONDAY), str(NEXT_TUESDAY))


def test_an_unknown_index_and_a_reversed_span_are_refused(stores: Stores) -> None:
    LAKE.fill(stores, MONDAY, MONDAY)
    with pytest.raises(UsageError, match=r"FPM-PF-052.*CSI999"):
        hold("CSI999", (None, None), "", "ben", NOW, stores)
    with pytest.raises(UsageError, match="FPM-PF-053"):
        hold(INDEX, (TUESDAY, MONDAY), "", "ben", NOW, stores)


def test_rows_of_instructions_are_never_changed(stores: Stores) -> None:
    LAKE.fill(stores, MONDAY, MONDAY)
    hold(INDEX, (MONDAY, None), "", "ben", NOW, stores)
    with pytest.raises(Exception, match="never changed"):
        stores.ledger.execute("UPDATE fpm.instructions SET reason = 'x'")
    record(recorded(stores.ledger), stores.ledger)
    assert len(recorded(stores.ledger)) == 2
