"""Nights in a small home: what is due, every job in order, once; and the clock that catches up."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from fpm.commands import jobs, schedule
from fpm.commands.agenda import Night, agenda, begin, declare_absent, due, refusal, run_due
from fpm.commands.jobs import MODULES
from fpm.commands.night import nightly
from fpm.commands.schedule import serve, tick
from fpm.commands.status import screen
from fpm.errors import TryLater, UsageError
from fpm.exchange import simulate
from fpm.schema import PRICES
from fpm.sessions import close, cut_off, next_sessions, previous_sessions
from fpm.store.jobs.inputs import inputs_of
from fpm.store.jobs.runner import publish_frames
from fpm.store.ledger.leader import leadership
from fpm.store.ledger.ledger import Ledger
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server, connect
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from producers import bars, encoder, labels
from tests.databases import fresh_database
from tests.small_chain import quiet
from tests.test_truncation import chain, deliver

SESSIONS, TONIGHT = 44, 42
NIGHTLY = [name for name in MODULES if name != "vector_scores"]  # no vectors from outside here


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5, spoiled_every=0), folder)
    return folder


@pytest.fixture(scope="module")
def days(source: Path) -> list[date]:
    return sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))


@pytest.fixture(scope="module")
def home(
    source: Path, days: list[date], tmp_path_factory: pytest.TempPathFactory, postgres_server: Server
) -> Iterator[Stores]:
    """A home that knows history up to its last but one session, and raw bars of all."""
    root = tmp_path_factory.mktemp("night")
    with fresh_database(postgres_server) as url:
        stores = open_stores(Settings(home=root, preset="tiny", database_url=SecretStr(url)))
        features.apply(stores.settings)
        deliver(source, root / "raw", days[TONIGHT - 1], None)
        chain(stores, root / "raw")
        deliver(source, root / "late", days[-1], None)
        arrival = cut_off(stores.market, days[-1])
        bars.ingest([root / "late"], bars.Arrival(known_at=arrival, now=arrival), stores, quiet)
        yield stores
        stores.ledger.close()


def test_a_home_that_never_published_is_due_for_its_newest_session(home: Stores, days: list[date]) -> None:
    assert due(home, cut_off(home.market, days[TONIGHT])) == [days[TONIGHT]]
    assert due(home, cut_off(home.market, days[TONIGHT]) - timedelta(seconds=1)) == [days[TONIGHT - 1]]


def test_a_whole_night_publishes_once(home: Stores, days: list[date]) -> None:
    session = days[TONIGHT]
    rows = nightly(session, home)
    assert [row["job"] for row in rows] == NIGHTLY
    assert {row["status"] for row in rows} <= {"published", "unchanged"}
    assert _served(home) == [session]
    assert f"Portfolios after {session}" in (home.settings.reports / "morning.html").read_text()
    before = _publications(home)
    assert {row["status"] for row in nightly(session, home) if row["job"] != "publish"} <= {
        "unchanged",
        "published",  # parity looks again, every time
    }
    assert _publications(home) == before
    assert due(home, cut_off(home.market, session)) == []


def test_a_newer_encoder_does_not_disturb_the_scorer_in_force(home: Stores, days: list[date]) -> None:
    """A vintage nobody's scorer was trained on is promoted in the morning; the night still scores with the old one."""
    served = home.models.record_in_force("scorer", days[TONIGHT]).manifest["vintage"]
    newer = encoder.train(days[TONIGHT - 8], home, quiet)
    assert newer != served
    rows = nightly(days[TONIGHT], home)
    assert next(row for row in rows if row["job"] == "fingerprints")["status"] == "unchanged"
    assert home.read("scores", days[TONIGHT])["vintage"].unique().to_list() == [served]


def test_the_clock_catches_up_with_what_is_due_and_then_rests(home: Stores, days: list[date]) -> None:
    now, stop = cut_off(home.market, days[-1]), threading.Event()
    clock = threading.Thread(target=serve, args=(home, lambda: now, 1, stop))
    clock.start()
    deadline = time.monotonic() + 80
    while due(home, now) and time.monotonic() < deadline:
        time.sleep(0.5)
    stop.set()
    clock.join(timeout=30)
    assert not clock.is_alive()
    assert _served(home) == [days[-1]]
    assert due(home, now) == []


# --- after the first nights: what is open, late, corrected, absent ----------------------------------------------------
def _wake(stores: Stores, session: date) -> tuple[list[dict[str, object]], list[Night]]:
    return run_due(stores, cut_off(stores.market, session))


def test_a_clock_that_was_set_wrong_and_right_looks_at_once(home: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look every hour; one that was in force three days ahead binds nobody to wait for these days to pass."""
    looks, stop = list[datetime](), threading.Event()

    def tick_noted(_stores: Stores, now: datetime, _stop: object) -> bool:
        looks.append(now)
        return True

    monkeypatch.setattr(schedule, "tick", tick_noted)
    right = datetime(2026, 1, 5, 20, tzinfo=UTC)
    wrong = right + timedelta(days=3)
    clock = schedule._Looks(home, lambda: right, 60)
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    for now in (right, right + minute, wrong, wrong + minute, right + 2 * minute, right + 3 * minute, right + 2 * hour):
        clock.at(now, stop)
    assert looks == [right, wrong, right + 2 * minute, right + 2 * hour]


def test_a_night_is_due_until_its_last_step_has_ended(home: Stores, days: list[date]) -> None:
    """Stopped after the publication, and a score online is changed: the next look repairs it and finds it equal."""
    later = iter([False] * 11 + [True])  # eleven steps: up to the publication
    now = cut_off(home.market, days[-1])
    _correct(home, days[-1], 1.01)
    _, rest = run_due(home, now, lambda: next(later, True))
    assert [(night.session, night.state) for night in rest] == [(days[-1], "due")]
    assert rest[0].open[0] == "parity"
    hours = timedelta(hours=home.settings.night_hours)
    assert [agenda(home, now + late)[-1].state for late in (hours, hours + timedelta(seconds=1))] == ["due", "red"]
    with connect(home.settings) as connection:
        connection.execute("UPDATE online.scores SET score = 99 WHERE stream = 'dual'")
    _, rest = _wake(home, days[-1])
    assert rest == []
    assert refusal(rest) is None
    with connect(home.settings, role="reader") as connection:
        assert connection.execute("SELECT count(*) FROM serving.scores WHERE score = 99").fetchone() == (0,)


def test_a_step_that_failed_after_it_had_ended_is_open_again_and_red(home: Stores, days: list[date]) -> None:
    session = days[-1]
    ended = home.ledger.latest("derivation", session.isoformat())
    assert ended is not None
    home.ledger.fail(home.ledger.begin("derivation", session.isoformat(), ended.inputs_sha), "failed", "another number")
    newest = agenda(home, cut_off(home.market, session))[-1]
    assert (newest.state, newest.open, newest.why) == ("red", ("derivation",), "derivation: another number")
    _, rest = _wake(home, session)
    assert [night.state for night in rest] == []


def test_a_correction_is_followed_from_features_to_publication_and_no_decision_is_made_again(
    home: Stores, days: list[date]
) -> None:
    session = days[-1]
    before = {table: home.ledger.current([table], session, session) for table in ("scores", "decisions", "weights")}
    earlier = home.read("scores", session)
    _correct(home, session, 1.02)
    assert due(home, cut_off(home.market, session)) == [session]
    rows, rest = _wake(home, session)
    assert rest == []
    outcome = {row["job"]: row["status"] for row in rows}
    assert outcome["minute_features"] == outcome["scores"] == outcome["publish"] == "published"
    assert outcome["portfolio"] == "unchanged"
    after = {table: home.ledger.current([table], session, session) for table in before}
    assert after["scores"] != before["scores"]
    assert {name: after[name] for name in ("decisions", "weights")} == {
        name: before[name] for name in ("decisions", "weights")
    }
    known_at = earlier["created_timestamp"].max()
    as_known = home.read("scores", session, known_at=known_at)  # type: ignore[arg-type]
    assert as_known.equals(earlier)  # new knowledge stands beside what was served


def test_a_session_that_nobody_delivered_is_awaited_then_red_then_absent(home: Stores, days: list[date]) -> None:
    missing = next_sessions(home.market, days[-1], 1)[0]
    end, limit = close(home.market, missing), cut_off(home.market, missing)
    begin(home, end)
    assert [night.state for night in agenda(home, end - timedelta(minutes=1)) if night.session == missing] == []
    assert agenda(home, end)[-1].state == "awaited"
    waiting = refusal(agenda(home, end))
    assert waiting is not None
    assert waiting.exit_code == 75
    assert agenda(home, limit)[-1].state == "red"
    answer, is_red = screen(home, limit)
    assert is_red
    assert answer["nights"][0]["night"] == str(missing)
    assert "no minute bars have come" in answer["nights"][0]["why"]
    declare_absent(missing, "the vendor closed that day", "somebody", home)
    assert agenda(home, limit)[-1].state == "absent"
    assert refusal([night for night in agenda(home, limit) if night.state != "green"]) is None
    with pytest.raises(UsageError, match="has minute bars"):
        declare_absent(days[-1], "by mistake", "somebody", home)


def test_a_label_needs_its_two_prices_and_no_other_session(home: Stores, days: list[date]) -> None:
    """Six sessions are between; the absent one takes the label that ends there, and that one is written without it."""
    missing = next_sessions(home.market, days[-1], 1)[0]
    ends_there = previous_sessions(home.market, missing, home.settings.model_choices.reach)[0]
    inputs = inputs_of(labels, ends_there, home)
    assert inputs.missing == ()
    assert jobs.run("labels", ends_there, home)["rows"] == 0


def test_of_four_schedulers_one_is_at_work(home: Stores, days: list[date]) -> None:
    now = cut_off(home.market, days[-1])
    with leadership(home.ledger) as first:
        assert first
        others = [tick(replace(home, ledger=Ledger(home.ledger._dsn)), now) for _ in range(3)]
        assert others == [False, False, False]
    assert tick(home, now)


def _correct(stores: Stores, session: date, factor: float) -> None:
    """A later delivery of a session in which one symbol traded more."""
    rows = stores.read("minute_bars", session).drop("session", "created_timestamp", "event_timestamp")
    symbol = rows["symbol"][0]
    flows = [name for name in rows.columns if name not in ("symbol", "slot", *PRICES)]
    changed = rows.filter(pl.col("symbol") == symbol).with_columns(pl.col(flows) * factor)
    known_at = stores.read("minute_bars", session)["created_timestamp"].max() + timedelta(minutes=5)  # type: ignore[operator]
    publish_frames("bars", session, _with_new_rows(stores, session, changed, known_at), stores)


def _with_new_rows(stores: Stores, session: date, changed: pl.DataFrame, known_at: object) -> dict[str, pl.DataFrame]:
    path = stores.lake.files("minute_bars", session, session)[0][1]
    stored = stores.lake.decode(path)
    newest = stored.unique(["symbol", "slot"], keep="last", maintain_order=True)
    events = newest.select("symbol", "slot", "event_timestamp")
    rows = changed.join(events, on=["symbol", "slot"]).with_columns(
        pl.lit(known_at).cast(stored["created_timestamp"].dtype).alias("created_timestamp")
    )
    daily = stores.lake.decode(stores.lake.files("daily_bars", session, session)[0][1])
    return {"minute_bars": pl.concat([stored, rows.select(stored.columns)]), "daily_bars": daily}


def test_a_session_without_bars_is_try_later(home: Stores) -> None:
    with pytest.raises(TryLater):
        nightly(date(2025, 1, 6), home)


def test_a_day_without_trading_is_wrong_usage_and_leaves_no_row(home: Stores) -> None:
    saturday = date(2024, 3, 9)
    before = home.ledger.rows()
    with pytest.raises(UsageError, match="no session of cn"):
        nightly(saturday, home)
    assert home.ledger.rows() == before


def _served(stores: Stores) -> list[date]:
    with connect(stores.settings, role="reader") as connection:
        return [row[0] for row in connection.execute("SELECT DISTINCT session FROM serving.scores").fetchall()]


def _publications(stores: Stores) -> int:
    with connect(stores.settings) as connection:
        return int(connection.execute("SELECT count(*) FROM fpm.publications").fetchone()[0])  # type: ignore[index]
