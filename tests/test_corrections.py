"""A correction changes nothing that was known before it, and from then on everything that depends on it.

One home ingests deliveries as they arrive: first copies and the exchange's corrections night by night, at the end a
correction of a past session. Another home ingests the same deliveries in the same order and computes once.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from consumers.questions.diff import diff
from consumers.questions.replay import replay
from fpm.exchange import simulate
from fpm.features.minute_features import PRESETS
from fpm.schema import PRICES, TABLES
from fpm.sessions import cut_off, market
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from producers import bars
from tests.small_chain import compute, opened, quiet

SESSIONS, FIRST_SCORED, CORRECTED = 44, 36, 38
DERIVED = ("session_totals", "minute_features", "daily_factors", "labels", "fingerprints", "scores")
TABLES_OF_HOME = ("minute_bars", "daily_bars", *DERIVED)
INSTANT = timedelta(microseconds=1)
CN = market("cn")
Rows = dict[tuple[str, date, str | None], str]  # table, session, vintage -> bits of the rows


@dataclass(frozen=True)
class Delivery:
    """A folder that arrives at a moment: the moment at which a correction becomes known."""

    path: Path
    arrives: datetime


@dataclass(frozen=True)
class History:
    """The home that computed night by night, and its states on the way.

    `once`: rows known before the exchange's last correction arrived at `arrives`; `before_late`, `files`: rows known
    and derived files before the late correction arrived at `late`; `rebuilt`: files of the home that computed once.
    """

    stores: Stores
    sessions: list[date]
    symbols: tuple[str, str]  # one with corrected trades, one whose trades were withdrawn
    arrives: datetime
    late: datetime
    once: Rows
    before_late: Rows
    files: dict[str, str]
    rebuilt: dict[str, str]

    @property
    def corrected(self) -> date:
        return self.sessions[CORRECTED]


# --- deliveries ---------------------------------------------------------------------------------------------------
def first_copies(source: Path, target: Path, sessions: list[date]) -> Path:
    """The rows of the exchange's first delivery for these sessions."""
    (target / "minute_bars").mkdir(parents=True)
    for session in sessions:
        pl.read_parquet(source / f"minute_bars/{session}.parquet").write_parquet(
            target / f"minute_bars/{session}.parquet"
        )
    for name in ("daily_bars", "index_members"):
        rows = pl.read_parquet(source / f"{name}.parquet").filter(pl.col("session").is_in(sessions))
        rows.write_parquet(target / f"{name}.parquet")
    return target


def exchange_corrections(source: Path) -> list[Delivery]:
    """The exchange's own corrections, in the order of their arrival."""
    known_at = json.loads((source / "corrections/known_at.json").read_text())
    folder = source / "corrections"
    deliveries = [Delivery(folder / name, datetime.fromisoformat(text)) for name, text in known_at.items()]
    return sorted(deliveries, key=lambda delivery: delivery.arrives)


def late_correction(source: Path, target: Path, session: date, symbols: tuple[str, str]) -> Path:
    """A new delivery of two symbols of a past session.

    One closed higher and traded three times as much; the other's trades are all withdrawn.
    """
    (target / "minute_bars").mkdir(parents=True)
    factor = pl.col("symbol").replace_strict(symbols, (3, 0))
    minutes = pl.read_parquet(source / f"minute_bars/{session}.parquet").filter(pl.col("symbol").is_in(symbols))
    flows = [name for name in minutes.columns if name not in ("symbol", "minute", *PRICES)]
    daily = pl.read_parquet(source / "daily_bars.parquet").filter(
        pl.col("session") == session, pl.col("symbol").is_in(symbols)
    )
    top = daily.filter(pl.col("symbol") == symbols[0])["high"][0]
    own = (pl.col("symbol") == symbols[0]) & (pl.col("volume") > 0)
    last = own & (pl.col("minute") == pl.col("minute").filter(own).max())
    lifted = [pl.when(last).then(pl.lit(top)).otherwise(pl.col(name)).alias(name) for name in ("close", "high")]
    minutes = minutes.with_columns(lifted)
    minutes.with_columns(pl.col(flows) * factor).write_parquet(target / f"minute_bars/{session}.parquet")
    higher = pl.when(pl.col("symbol") == symbols[0]).then("high").otherwise("close")
    daily.with_columns(pl.col("volume", "amount") * factor, close=higher).write_parquet(target / "daily_bars.parquet")
    return target


def ingest(stores: Stores, path: Path, arrives: datetime) -> None:
    report = bars.ingest([path], bars.Arrival(known_at=arrives, now=arrives), stores, quiet)
    assert report.sessions, f"nothing of {path} was ingested"


# --- the state of a home ------------------------------------------------------------------------------------------
def rows_known(stores: Stores, known_at: datetime) -> Rows:
    """Digest of every partition's rows as known at a moment; partitions without rows are left out."""
    answer = {}
    for table in TABLES_OF_HOME:
        for vintage in stores.lake.vintages(table) if TABLES[table].by_vintage else [None]:
            for session in stores.sessions(table, vintage):
                rows = stores.read(table, session, vintage=vintage, known_at=known_at)
                if rows.height:
                    answer[table, session, vintage] = bits(rows)
    return answer


def bits(rows: pl.DataFrame) -> str:
    buffer = io.BytesIO()
    rows.rechunk().write_parquet(buffer, compression="uncompressed")
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def files(stores: Stores) -> dict[str, str]:
    """Hash of every file of every derived table."""
    root = stores.lake.root
    paths = [path for table in DERIVED for path in (root / table).rglob("*.parquet")]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def partition(path: str) -> tuple[str, date]:
    table, *_, folder, _ = path.split("/")
    return table, date.fromisoformat(folder.removeprefix("session="))


# --- one history, two ways ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Iterator[History]:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("deliveries")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5), source)
    sessions = sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))
    *early, last = exchange_corrections(source)
    before, after = sessions[: FIRST_SCORED + 1], sessions[FIRST_SCORED + 1 :]
    assert early[-1].arrives < cut_off(CN, before[-1]) < last.arrives < cut_off(CN, after[0])
    traded = pl.read_parquet(source / f"minute_bars/{sessions[CORRECTED]}.parquet")["symbol"].unique().sort()
    late = cut_off(CN, sessions[-1]) + timedelta(hours=16)
    nights = [Delivery(first_copies(source, folder / "before", before), cut_off(CN, before[-1])), *early]
    rest = [Delivery(first_copies(source, folder / "after", after), cut_off(CN, after[-1])), last]
    again = Delivery(late_correction(source, folder / "late", sessions[CORRECTED], (traded[0], traded[1])), late)

    with opened(tmp_path_factory.mktemp("rebuilt"), postgres_server) as stores:
        for delivery in (*nights, *rest, again):
            ingest(stores, delivery.path, delivery.arrives)
        compute(stores, sessions[0], sessions[FIRST_SCORED], sessions[-1])
        rebuilt = files(stores)
    with opened(tmp_path_factory.mktemp("lived"), postgres_server) as stores:
        for delivery in nights:
            ingest(stores, delivery.path, delivery.arrives)
        compute(stores, sessions[0], sessions[FIRST_SCORED], before[-1])
        once = rows_known(stores, last.arrives - INSTANT)
        for delivery in rest:  # the exchange's last correction arrives when later nights have scores
            ingest(stores, delivery.path, delivery.arrives)
            compute(stores, sessions[0], sessions[FIRST_SCORED], sessions[-1])
        before_late, derived = rows_known(stores, late - INSTANT), files(stores)
        ingest(stores, again.path, again.arrives)
        compute(stores, sessions[0], sessions[FIRST_SCORED], sessions[-1])
        yield History(stores, sessions, (traded[0], traded[1]), last.arrives, late, once, before_late, derived, rebuilt)


@pytest.mark.parametrize("table", TABLES_OF_HOME)
def test_what_was_known_before_a_correction_keeps_its_bits(table: str, history: History) -> None:
    for before, moment in ((history.once, history.arrives), (history.before_late, history.late)):
        now = rows_known(history.stores, moment - INSTANT)
        of_table = [key for key in before if key[0] == table]
        assert of_table
        assert not [key for key in of_table if now.get(key) != before[key]]
    assert now == history.before_late, "the past of the correction has no more rows than it had"


@pytest.mark.parametrize("table", DERIVED)
def test_a_rebuild_gives_the_same_bytes(table: str, history: History) -> None:
    lived = {path: sha for path, sha in files(history.stores).items() if path.startswith(f"{table}/")}
    assert lived == {path: sha for path, sha in history.rebuilt.items() if path.startswith(f"{table}/")}


def test_exactly_what_depends_on_the_corrected_session_has_a_new_version(history: History) -> None:
    """Sessions by table follow from the windows of the jobs around the corrected one."""
    at, now = CORRECTED, files(history.stores)
    assert set(now) == set(history.files)
    changed = {partition(path) for path, sha in now.items() if history.files[path] != sha}
    places = {table: {history.sessions.index(day) for name, day in changed if name == table} for table in DERIVED}
    later = set(range(at, SESSIONS))
    assert places["labels"] == {at - 6, at - 1}, "the two whose return starts or ends there"
    assert places["daily_factors"] == later
    assert places["minute_features"] == set(range(at, at + 1 + PRESETS["tiny"].history)), "as long as it is a scale"
    assert places["fingerprints"] == places["minute_features"]
    assert at in places["session_totals"] and places["session_totals"] <= places["minute_features"]
    assert places["scores"] == later


@pytest.mark.parametrize("table", ["session_totals", "minute_features", "daily_factors"])
def test_new_versions_are_of_the_corrected_symbol_and_known_from_the_correction(table: str, history: History) -> None:
    rows = history.stores.read(table, history.corrected, history.sessions[-1])
    fresh = rows.filter(pl.col("created_timestamp") == history.late)
    assert set(fresh["symbol"]) == set(history.symbols)
    assert rows["created_timestamp"].max() == history.late
    assert history.corrected in fresh["session"]


def test_the_exchange_corrects_its_own_errors(history: History) -> None:
    """The corrected session has two versions of minutes, the second known when the correction arrived."""
    session = history.sessions[35]
    first = history.stores.read("minute_bars", session, known_at=history.arrives - INSTANT)
    second = history.stores.read("minute_bars", session, known_at=history.arrives)
    revised = second.filter(pl.col("created_timestamp") == history.arrives)
    assert revised["symbol"].n_unique() == simulate.SPOILED_SYMBOLS
    both = revised.join(first, on=["symbol", "slot"], suffix=" wrong")
    assert (both["volume wrong"] == 2 * both["volume"]).all(), "half an hour was counted twice"
    features_then = history.stores.read("minute_features", session, known_at=history.arrives - INSTANT)
    features_now = history.stores.read("minute_features", session)
    assert bits(features_then) != bits(features_now)


@pytest.mark.parametrize("view", ["minute_features", "daily_factors", "scores"])
def test_a_frame_answers_as_known_before_and_after(view: str, history: History) -> None:
    """Through Feast: old values before the correction, new ones from it on."""
    stored = history.stores.read(view, history.corrected, known_at=history.late)
    keys = [name for name in TABLES[view].keys if name != "slot"]  # to Feast a minute is a moment, not a key
    entities = stored.select(*keys, "event_timestamp").filter(pl.col("symbol") == history.symbols[0])
    entities = entities.unique(keys, keep="last", maintain_order=True)
    moments = {"old": history.late - INSTANT, "new": history.late}
    served = {name: features.frame(history.stores.settings, view, entities, k) for name, k in moments.items()}
    for name, known_at in moments.items():
        expected = history.stores.read(view, history.corrected, known_at=known_at)
        values = [column for column in served[name].columns if column in expected.columns and column not in keys]
        joined = served[name].select(keys + values).join(expected, on=[*keys, "event_timestamp"], suffix=" stored")
        assert joined.height == entities.height
        for column in set(values) & {
            name.removesuffix(" stored") for name in joined.columns if name.endswith(" stored")
        }:
            assert joined[column].equals(joined[f"{column} stored"].alias(column)), column
    assert not served["old"].drop("known_at").equals(served["new"].drop("known_at"))


def test_every_night_is_replayed_bit_for_bit_on_either_side_of_the_corrections(history: History) -> None:
    for session in (history.sessions[FIRST_SCORED], history.corrected, history.sessions[-1]):
        for known_at in (None, history.late - INSTANT, history.late):
            assert replay(session, known_at, history.stores).equal, (session, known_at)


def test_the_difference_names_what_the_correction_changed(history: History) -> None:
    """The sessions of the files that changed, and only scores that moved."""
    difference = diff(history.late - INSTANT, history.late, None, history.stores)
    now = files(history.stores)
    changed = {partition(path) for path, sha in now.items() if history.files[path] != sha}
    raw = {(table, history.corrected) for table in ("minute_bars", "daily_bars")}
    assert {(change.table, change.session) for change in difference.changes} == changed | raw
    assert all(change.new == 0 and change.changed > 0 for change in difference.changes)
    assert set(difference.scores["session"]) == {session for table, session in changed if table == "scores"}


def test_what_a_correction_withdrew_is_no_longer_served(history: History) -> None:
    """A symbol whose trades were all withdrawn has no features, fingerprint or score of that session."""
    session, symbol = history.corrected, history.symbols[1]
    for table, value in (("minute_features", "profile"), ("fingerprints", "fingerprint"), ("scores", "score")):
        vintage = history.stores.read("scores", session)["vintage"].drop_nulls()[0] if table == "fingerprints" else None
        for known_at, served in ((history.late - INSTANT, True), (history.late, False)):
            rows = history.stores.read(table, session, vintage=vintage, known_at=known_at)
            own = rows.filter(pl.col("symbol") == symbol)
            assert own.height and (own[value].null_count() == 0) is served, (table, known_at)
