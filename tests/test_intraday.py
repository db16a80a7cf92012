"""The running session from its bars to readers, and the night after it: two homes, one of which read the day before.

The exchange is the synthetic one; both homes get the same sessions, and one of them also bars of the last session up to
two minutes before its whole delivery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from consumers.questions import leak_running
from fpm.commands import jobs
from fpm.commands.intraday import intraday
from fpm.errors import UsageError
from fpm.exchange import simulate
from fpm.running_session import cut
from fpm.schema import CLOCKS
from fpm.sessions import cut_off
from fpm.store.jobs.minutes import publish_minute
from fpm.store.ledger.retirements import retire
from fpm.store.ledger.stores import Stores
from fpm.store.online.running import newest
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from producers import bars
from tests.prepared_home import prepared
from tests.small_chain import compute, quiet

SESSIONS, FIRST_SCORED = 40, 36
NOW = datetime(2026, 1, 5, tzinfo=UTC)
DERIVED = ("session_totals", "minute_features", "daily_factors", "fingerprints", "scores")
MINUTES = ("10:30", "14:30")


@dataclass(frozen=True)
class Homes:
    """`plain` knows whole sessions alone; `read` was read at `MINUTES` of its last one, with these `answers`."""

    plain: Path
    read: Stores
    session: date
    raw: Path
    answers: dict[str, dict[str, object]]
    online: dict[str, pl.DataFrame]


def deliver(source: Path, target: Path, wanted: list[date]) -> Path:
    """The files of some sessions, as a delivery."""
    (target / "minute_bars").mkdir(parents=True)
    for session in wanted:
        name = f"{session}.parquet"
        (target / "minute_bars" / name).write_bytes((source / "minute_bars" / name).read_bytes())
    for name in ("daily_bars", "index_members"):
        rows = pl.read_parquet(source / f"{name}.parquet").filter(pl.col("session").is_in(wanted))
        rows.write_parquet(target / f"{name}.parquet")
    return target


def so_far(source: Path, session: date, until: str, target: Path) -> Path:
    """The bars of a session whose minute ends by then."""
    rows = pl.read_parquet(source / "minute_bars" / f"{session}.parquet")
    path = target / f"{session}-{until.replace(':', '')}.parquet"
    rows.filter(pl.col("minute").dt.strftime("%H:%M") <= until).write_parquet(path)
    return path


def ingest(stores: Stores, raw: Path, session: date) -> None:
    arrival = cut_off(stores.market, session)
    bars.ingest([raw], bars.Arrival(known_at=arrival, now=arrival), stores, quiet)


def chain(stores: Stores, raw: Path, days: list[date]) -> None:
    ingest(stores, raw, days[-1])
    compute(stores, days[0], days[FIRST_SCORED], days[-1])


def last_night(stores: Stores, raw: Path, session: date) -> None:
    """The whole last session: delivered, and every job up to the scores."""
    ingest(stores, raw, session)
    vintage = stores.models.record_in_force("scorer", session).manifest["vintage"]
    for name in DERIVED:
        jobs.run(name, session, stores.for_vintage(vintage) if name == "fingerprints" else stores)


def whole_chain(home: Path) -> dict[str, bytes]:
    """Every file of the tables that whole sessions write, by its place in the lake."""
    tables = ("minute_bars", "daily_bars", "index_members", *DERIVED)
    files = [path for table in tables for path in (home / "lake" / table).rglob("part-0.parquet")]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Iterator[Homes]:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("homes")
    plain, read = folder / "plain", folder / "read"
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5), source)
    days = sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))
    history, last = deliver(source, folder / "history", days[:-1]), deliver(source, folder / "last", days[-1:])

    def fill(stores: Stores) -> None:
        features.apply(stores.settings)
        chain(stores, history, days[:-1])

    with prepared(postgres_server, folder / "before", fill) as before:
        with before.copied(plain) as stores:
            last_night(stores, last, days[-1])
        with before.copied(read) as stores:
            answers, online = {}, {}
            for text in MINUTES:
                answers[text] = intraday(days[-1], text, [so_far(source, days[-1], "14:35", folder)], NOW, stores)
                online[text] = served(stores)
            yield Homes(plain, stores, days[-1], source, answers, online)


def served(stores: Stores, view: str = "intraday_scores") -> pl.DataFrame:
    names = ["symbol", "stream", "score", "minute", "session", "event_timestamp", "created_timestamp", "vintage"]
    rows = stores.ledger.query(f"SELECT {', '.join(names)} FROM serving.{view}")  # type: ignore[arg-type]
    return pl.DataFrame(rows, schema=names, orient="row").sort("minute", "symbol", "stream")


def test_a_minute_is_published_and_a_later_one_takes_its_place(homes: Homes) -> None:
    for text in MINUTES:
        rows = homes.online[text]
        assert set(rows["minute"]) == {text} and set(rows["session"]) == {homes.session} and rows.height >= 24
        assert rows["vintage"].str.ends_with(f"@{text}").all()
    assert set(served(homes.read, "intraday_score_history")["minute"]) == set(MINUTES)
    state = newest(homes.read)
    assert state is not None and (state["session"], state["minute"]) == (str(homes.session), "14:30")


def test_both_clocks_are_the_minute_and_its_latency(homes: Homes) -> None:
    for table in ("intraday_fingerprints", "intraday_scores"):
        rows = homes.read.read(table, homes.session)
        clocks = set(rows.select("event_timestamp", "created_timestamp").rows())
        local = {(event.astimezone(homes.read.market.zone).strftime("%H:%M"), known - event) for event, known in clocks}
        assert local == {(text, timedelta(seconds=60)) for text in MINUTES}
    rows = homes.read.read("intraday_minute_features", homes.session)
    assert (rows["created_timestamp"] >= rows["event_timestamp"] + timedelta(seconds=60)).all()


def test_later_bars_are_passed_over_by_name(homes: Homes) -> None:
    passed = homes.answers["14:30"]["bars"]
    assert isinstance(passed, dict) and 0 < passed["later"] <= 50 and passed["other"] == 0


def test_nothing_after_the_minute_changes_it(homes: Homes, tmp_path: Path, postgres_server: Server) -> None:
    """The scores of 10:30 from bars that end there are those of 10:30 from bars to 14:35, bit for bit."""
    stores, at = homes.read, cut(homes.session, "10:30", homes.read.market, homes.read.profile.view)
    before = [stores.read(table, homes.session) for table in ("intraday_fingerprints", "intraday_scores")]
    again = intraday(homes.session, at.text, [so_far(homes.raw, homes.session, "10:30", tmp_path)], NOW, stores)
    after = [stores.read(table, homes.session) for table in ("intraday_fingerprints", "intraday_scores")]
    assert again["online"] == "unchanged" and all(map(pl.DataFrame.equals, before, after))
    assert served(stores).equals(homes.online["14:30"])


def test_the_features_so_far_are_those_of_the_night(homes: Homes) -> None:
    """The night derives the same minutes from the whole session; what its daily table knew first may move prices."""
    last_night(homes.read, homes.plain.parent / "last", homes.session)
    night = homes.read.read("minute_features", homes.session)
    own = homes.read.read("intraday_minute_features", homes.session)
    both = own.join(night, on=["symbol", "slot"], suffix="_night")
    daily = homes.read.read("daily_bars", homes.session)
    closes = homes.read.read("daily_bars", homes.read.sessions("daily_bars")[-2]).select(
        "symbol", "close", "adj_factor"
    )
    same = daily.join(closes, on="symbol", suffix="_before").filter(
        (pl.col("pre_close") == pl.col("close_before")) & (pl.col("adj_factor") == pl.col("adj_factor_before"))
    )
    both = both.filter(pl.col("symbol").is_in(same["symbol"].implode()))
    assert both["symbol"].n_unique() >= 5
    for name in homes.read.profile.features:
        if name != "price_pos":  # the exchange rounds its limits
            assert both[name].equals(both[f"{name}_night"].alias(name)), name


def test_the_night_is_unchanged_bit_for_bit(homes: Homes) -> None:
    last_night(homes.read, homes.plain.parent / "last", homes.session)
    plain, read = whole_chain(homes.plain), whole_chain(homes.read.settings.home)
    assert len(plain) > 100 and plain == read


def test_a_session_that_is_delivered_whole_is_its_nights(homes: Homes, tmp_path: Path) -> None:
    files = [so_far(homes.raw, homes.session, "14:30", tmp_path)]
    before = homes.read.sessions("minute_bars")[0]
    with pytest.raises(UsageError, match="FPM-DAY-008"):
        intraday(before, "14:30", files, NOW, homes.read)


def test_feast_answers_as_of_a_minute(homes: Homes) -> None:
    """A question between two minutes gets the earlier one, and before its latency nothing."""
    noon = cut(homes.session, "11:30", homes.read.market, homes.read.profile.view).moment
    asked = pl.DataFrame({"symbol": homes.online["10:30"]["symbol"].unique().sort(), "stream": "dual"})
    frame = features.frame(homes.read.settings, "intraday_scores", asked.with_columns(event_timestamp=pl.lit(noon)))
    expected = homes.online["10:30"].filter(pl.col("stream") == "dual").sort("symbol")["score"]
    assert frame.sort("symbol")["score"].to_list() == expected.to_list()
    early = asked.with_columns(event_timestamp=pl.lit(noon - timedelta(hours=1) + timedelta(seconds=59)))
    assert features.frame(homes.read.settings, "intraday_scores", early)["score"].null_count() == len(asked)


def test_the_leak_suite_recomputes_what_was_scored(homes: Homes) -> None:
    """With the whole session in the home, the scores of a minute come out as they did; a planted one is found."""
    span = homes.session, homes.session
    last_night(homes.read, homes.plain.parent / "last", homes.session)
    assert list(filter(None, leak_running.findings(span, 2, homes.read))) == []
    rows = homes.read.read("intraday_scores", homes.session).filter(pl.col("vintage").str.ends_with("@10:30"))
    known = rows["created_timestamp"][0] + timedelta(hours=1)
    planted = rows.drop("session", *CLOCKS).with_columns(pl.col("score") * 1.01)
    at = cut(homes.session, "10:30", homes.read.market, homes.read.profile.view)
    publish_minute("intraday_scores", planted, at, known, homes.read)
    (finding, *_) = filter(None, leak_running.findings(span, 2, homes.read))
    assert (finding.check, finding.column, finding.session) == ("running session", "intraday_scores.score", span[0])


def test_the_leak_suite_passes_over_sessions_whose_bars_are_gone(homes: Homes) -> None:
    """Retention removes the bars of running sessions; what was scored of them cannot be computed again then."""
    span = homes.session, homes.session
    assert len(list(leak_running.findings(span, 2, homes.read))) > 4
    retire("intraday_bars", homes.session + timedelta(days=1), "room", "olga", homes.read.ledger)
    for _, path in homes.read.lake.files("intraday_bars", *span):
        path.unlink()
    assert len(list(leak_running.findings(span, 2, homes.read))) == 3  # the clocks of the other tables
