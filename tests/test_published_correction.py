"""A correction of the published session becomes a publication of its own; one of an older session stays offline.

Factors, fingerprints and scores are corrected; the decision that went online, and its weights, stand. One small home
has three nights: its last session is published, then corrected, then the session before is corrected.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from psycopg.types.json import Jsonb

from consumers import derivation, parity, portfolio
from consumers.publish import VIEWS
from fpm.commands.night import nightly
from fpm.errors import StoreCorrupt
from fpm.exchange import simulate
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores
from fpm.store.online.publication import published_session, served
from fpm.store.postgres.server import Server
from tests.small_chain import compute, opened
from tests.test_corrections import first_copies, ingest, late_correction

SESSIONS, FIRST_SCORED = 38, 36
CORRECTED = ("daily_factors", "fingerprints", "scores")
STANDING = tuple(view for view in VIEWS if view not in CORRECTED)
Online = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Nights:
    """The home and its three nights.

    `first`, `second`, `older`: the rows online after each night; `older_note`: the ledger's note on the older session;
    `symbols`: one with corrected trades, one whose trades were withdrawn; `jobs`: the rows of the second night.
    """

    stores: Stores
    sessions: list[date]
    symbols: tuple[str, str]
    first: Online
    second: Online
    older: Online
    older_note: object
    jobs: list[dict[str, object]]

    @property
    def session(self) -> date:
        return self.sessions[-1]


def online(stores: Stores) -> Online:
    return {view: served(view, stores) for view in VIEWS}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Iterator[Nights]:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("deliveries")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=10, seed=5, spoiled_every=0), source)
    sessions = sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))
    before, session = sessions[-2:]
    traded = pl.read_parquet(source / f"minute_bars/{session}.parquet")["symbol"].unique().sort()
    symbols = traded[0], traded[1]
    with opened(tmp_path_factory.mktemp("home"), postgres_server) as stores:
        arrives = cut_off(stores.market, session)
        ingest(stores, first_copies(source, folder / "all", sessions), arrives)
        compute(stores, sessions[0], sessions[FIRST_SCORED], session)
        nightly(session, stores)
        first = online(stores)
        ingest(stores, late_correction(source, folder / "late", session, symbols), later(arrives, 16))
        jobs = nightly(session, stores)
        second = online(stores)
        ingest(stores, late_correction(source, folder / "older", before, symbols), later(arrives, 17))
        nightly(before, stores)
        older, older_note = online(stores), note(stores, before)
        nightly(session, stores)  # its windows hold the session before
        yield Nights(stores, sessions, symbols, first, second, older, older_note, jobs)


def later(moment: datetime, hours: int) -> datetime:
    return moment + timedelta(hours=hours)


def test_a_correction_is_a_publication_that_names_the_one_it_replaces(nights: Nights) -> None:
    rows = nights.stores.ledger.query(
        "SELECT id, session, replaces, published_at, sha256 FROM fpm.publications ORDER BY id"
    )
    assert len(rows) == 3 and {row[1] for row in rows} == {nights.session}
    first, second, third = (row[0] for row in rows)
    assert [row[2] for row in rows] == [None, first, second]
    assert rows == sorted(rows, key=lambda row: row[3]) and len({row[4] for row in rows}) == 3
    assert note(nights.stores, nights.session) == f"publication {third}, in place of {second}"


def test_the_values_online_are_the_corrected_ones(nights: Nights) -> None:
    symbol = pl.col("symbol") == nights.symbols[0]
    for view in CORRECTED:
        assert not nights.first[view].filter(symbol).equals(nights.second[view].filter(symbol)), view
    created = nights.second["daily_factors"].filter(symbol)["created_timestamp"].item()
    assert created == later(cut_off(nights.stores.market, nights.session), 16)


def test_a_decision_that_went_online_stands(nights: Nights) -> None:
    assert "weights" in STANDING and nights.first["weights"].height
    for view in STANDING:
        assert nights.first[view].equals(nights.second[view]), view
    now, then = (nights.stores.as_of(moment) for moment in (None, cut_off(nights.stores.market, nights.session)))
    assert now.read("targets", nights.session).height
    for table in portfolio.WRITES:
        assert now.read(table, nights.session).equals(then.read(table, nights.session)), table
    assert [row["status"] for row in nights.jobs if row["job"] == "portfolio"] == ["unchanged"]


def test_what_the_correction_withdrew_is_no_longer_online(nights: Nights) -> None:
    symbol = nights.symbols[1]
    for view in ("fingerprints", "scores"):
        assert symbol in nights.first[view]["symbol"] and symbol not in nights.second[view]["symbol"], view
    assert nights.stores.ledger.query("SELECT count(*) FROM online.scores WHERE symbol = %s", (symbol,)) == [(0,)]
    assert nights.stores.ledger.query("SELECT count(*) FROM serving.scores WHERE score IS NULL") == [(0,)]


def test_the_corrected_night_is_green(nights: Nights) -> None:
    assert [row["job"] for row in nights.jobs][-5:] == ["publish", "parity", "derivation", "neighbours", "vitals"]
    assert all(view.equal for view in parity.check(nights.session, nights.stores))
    state = {row["job"]: row["status"] for row in nights.stores.ledger.rows(nights.session)}
    assert {state[job] for job in ("publish", "parity", "derivation")} == {"published"}


def test_an_older_sessions_correction_stays_offline_with_a_note(nights: Nights) -> None:
    assert published_session(nights.stores) == nights.session
    assert all(nights.older[view].equals(nights.second[view]) for view in VIEWS)
    assert nights.older_note == f"not put online: {nights.session} is"
    assert nights.stores.ledger.publications(nights.sessions[-2]) == []


def note(stores: Stores, session: date) -> object:
    (row,) = [row for row in stores.ledger.rows(session) if row["job"] == "publish"]
    return row["note"]


def test_the_sample_depends_on_the_session_and_the_seed(nights: Nights) -> None:
    samples = [derivation.sample(session, nights.stores) for session in nights.sessions[-6:]]
    assert samples == [derivation.sample(session, nights.stores) for session in nights.sessions[-6:]]
    assert len({tuple(symbols) for symbols in samples}) > 1 and {len(symbols) for symbols in samples} == {5}


def test_every_symbol_derived_again_is_what_is_stored(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every symbol, with one other and with all: a symbol's values do not depend on those beside it."""
    stores, session = nights.stores, nights.session
    vintage = str(stores.read("scores", session)["vintage"].drop_nulls()[0])
    for known_at in derivation._moments(session, vintage, stores.as_of(None)):
        past = stores.as_of(known_at)
        every = past.read("daily_bars", session)["symbol"].sort().to_list()
        for symbols in (every, *(every[i : i + 2] for i in range(0, len(every), 2))):
            for table, derived in derivation.derivation(session, symbols, vintage, past):
                stored = past.read(table, session, vintage=vintage if table == "fingerprints" else None)
                own = stored.filter(pl.col("symbol").is_in(symbols))
                assert derivation.first_difference(table, derived, own) is None, (table, symbols)


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("daily_factors", {"log_size": -pl.col("log_size")}, "differs in log_size"),
        ("daily_factors", {"symbol": pl.col("symbol").str.replace("0", "9")}, "is not stored"),
        ("minute_features", {"close": pl.lit(None, pl.Float32)}, "differs in close"),
        (
            "fingerprints",
            {"fingerprint": pl.col("fingerprint").arr.to_list().list.reverse().list.to_array(128)},
            "differs in fingerprint",
        ),
    ],
)
def test_any_difference_is_named(nights: Nights, table: str, change: dict[str, pl.Expr], words: str) -> None:
    stores, session = nights.stores, nights.session
    vintage = str(stores.read("scores", session)["vintage"].drop_nulls()[0])
    symbols = derivation.sample(session, stores)
    derived = dict(derivation.derivation(session, symbols, vintage, stores))[table]
    stored = stores.read(table, session, vintage=vintage if table == "fingerprints" else None)
    own = stored.filter(pl.col("symbol").is_in(symbols))
    assert derivation.first_difference(table, derived, own) is None
    difference = derivation.first_difference(table, derived, own.with_columns(**change))
    assert difference is not None and difference.startswith(f"{table} of ") and words in difference


def test_a_tampered_partition_turns_the_night_red(nights: Nights) -> None:
    """File and ledger are changed alike. This test is the last, because it spoils the home."""
    stores, session = nights.stores, nights.session
    symbol = derivation.sample(session, stores)[0]
    replaced = pl.when(pl.col("symbol") == symbol).then(pl.col("volume") * 1.0001).otherwise(pl.col("volume"))
    tamper(stores, "minute_features", session, replaced.alias("volume"))
    with pytest.raises(StoreCorrupt, match=f"FPM-PUB-220.*minute_features of {symbol} differs in volume"):
        nightly(session, stores)
    (row,) = [row for row in stores.ledger.rows(session) if row["job"] == "derivation"]
    assert row["status"] == "failed" and symbol in row["error"]


def tamper(stores: Stores, table: str, session: date, change: pl.Expr) -> None:
    relative = stores.lake.relative(table, session)
    ((_, path),) = stores.lake.files(table, session, session)
    forged = stores.lake.stage(
        table, stores.lake.decode(path).with_columns(change), relative, stores.lake.staging / "x"
    )
    stores.lake.put(stores.lake.staging / "x" / relative, relative)
    stores.ledger.execute("UPDATE fpm.files SET sha256 = %s WHERE path = %s", (forged.sha256, relative))
    last = stores.ledger.latest(table, str(session), "published")
    assert last is not None
    ((documents,),) = stores.ledger.query(
        "SELECT files FROM fpm.ledger WHERE job = %s AND partition = %s AND attempt = %s",
        (table, str(session), last.attempt),
    )
    changed = json.loads(json.dumps(documents).replace(last.files[0].file.sha256, forged.sha256))
    stores.ledger.execute(
        "UPDATE fpm.ledger SET files = %s WHERE job = %s AND partition = %s AND attempt = %s",
        (Jsonb(changed), table, str(session), last.attempt),
    )
