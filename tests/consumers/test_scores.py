"""Training and scoring through the real store: what is refused, what is reported, what is known when."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from consumers import scorer, scores
from fpm.errors import LookAhead, ModelRefused, TryLater, UsageError
from fpm.schema import DAILY_FACTORS, STREAMS
from fpm.sessions import cut_off, next_sessions, sessions_between
from fpm.store import features
from fpm.store.job import publish_frames, run_job
from fpm.store.models import Model
from fpm.store.postgres import Server
from fpm.store.settings import Settings
from fpm.store.stores import Stores, open_stores
from tests.fpm.nn.small_panel import Generated, generated

SESSIONS = 30
SYMBOLS = 8
ENCODED = 16  # the encoder has seen sessions up to this one
THROUGH = 25  # the scorer may know what was known at this one's cut-off
HALTED, LATE = "600002.SH", "600003.SH"  # without a fingerprint at the last session; with only that one
VINTAGE = "vintage-a"
PRICES = ["open", "high", "low", "close"]


def silent(done: int, total: int, what: object) -> None:
    """No progress bar."""


def calendar(stores: Stores) -> list[date]:
    return sessions_between(stores.market, date(2024, 1, 2), date(2024, 12, 31))[: SESSIONS + 8]


def save_encoder(stores: Stores, vintage: str, through: date) -> Model:
    return stores.models.save(
        "encoder", vintage, {"weights.safetensors": b"untouched here"}, {"vintage": vintage},
        cut_off(stores.market, through), through, "promoted",
    )  # fmt: skip


def publish(stores: Stores, made: Generated, vintage: str = VINTAGE) -> None:
    """Put a generated panel into the lake, on the market's own sessions, each row known when it could be."""
    days = calendar(stores)
    encoder = save_encoder(stores, vintage, days[ENCODED])
    shift = pl.col("session").replace_strict(dict(zip(made.sessions, days, strict=False)), return_dtype=pl.Date)
    frame, labels = made.frame.with_columns(shift), made.labels.with_columns(shift)
    frame = frame.with_columns(pl.lit(vintage).alias("vintage"), pl.col("fingerprint").cast(pl.List(pl.Float32)))
    for t, session in enumerate(days[:SESSIONS]):
        today = frame.filter(pl.col("session") == session)
        label = labels.filter(pl.col("session") == session)
        daily = {"daily_bars": today.select("symbol", *PRICES, "volume", "turnover", "adj_factor")}
        publish_frames("bars", session, daily, stores)
        factors = today.select("symbol", *(pl.col(name).cast(pl.Float32) for name in DAILY_FACTORS))
        publish_frames("daily_factors", session, {"daily_factors": factors}, stores)
        born = max(encoder.born, cut_off(stores.market, session))
        encoded = known(today.select("symbol", "vintage", "fingerprint"), born).filter(
            (pl.col("symbol") != HALTED) | (t < SESSIONS - 1), (pl.col("symbol") != LATE) | (t == SESSIONS - 1)
        )
        publish_frames("fingerprints", session, {"fingerprints": encoded}, stores.for_vintage(vintage))
        complete = cut_off(stores.market, next_sessions(stores.market, session, 6)[-1])
        publish_frames("labels", session, {"labels": known(label.select("symbol", "label"), complete)}, stores)


def known(frame: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    return frame.with_columns(pl.lit(moment).dt.cast_time_unit("us").alias("created_timestamp"))


@pytest.fixture(scope="module")
def prepared(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, str]]:
    """A filled home and its database, to be copied: filling them takes seconds."""
    name = f"prepared_{uuid4().hex}"
    with psycopg.connect(postgres_server.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE fpm")
        settings = Settings(
            home=tmp_path_factory.mktemp("prepared"), preset="tiny",
            database_url=SecretStr(make_conninfo(postgres_server.dsn, dbname=name)),
        )  # fmt: skip
        stores = open_stores(settings)
        features.apply(settings)
        stores.decide_profile("bar_32")
        publish(stores, generated(sessions=SESSIONS, symbols=SYMBOLS))
        stores.ledger.close()
        yield settings, name
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def filled(
    prepared: tuple[Settings, str], postgres_server: Server, tmp_path: Path
) -> Iterator[tuple[Stores, list[date]]]:
    """Stores over a copy of the prepared home and database, and the sessions of the calendar."""
    settings, template = prepared
    name = f"test_{uuid4().hex}"
    shutil.copytree(settings.home, tmp_path / "home")
    with psycopg.connect(postgres_server.dsn, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = SecretStr(make_conninfo(postgres_server.dsn, dbname=name))
        stores = open_stores(Settings(home=tmp_path / "home", preset="tiny", database_url=url))
        yield stores, calendar(stores)
        stores.ledger.close()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def read_scores(stores: Stores, session: date) -> pl.DataFrame:
    return stores.read("scores", session)


def test_a_session_is_scored_in_every_stream(filled: tuple[Stores, list[date]]) -> None:
    """From training to published scores: who is scored, what a row says, when it is known; nothing runs twice."""
    stores, days = filled
    last = days[SESSIONS - 1]
    with pytest.raises(TryLater):
        run_job(scores, last, stores)
    model = scorer.train(days[THROUGH], VINTAGE, stores, silent)
    assert run_job(scores, last, stores).status == "published"
    found = read_scores(stores, last)

    assert found["symbol"].n_unique() == SYMBOLS - 2, "the halted and the late symbol get no score"
    assert not {HALTED, LATE} & set(found["symbol"])
    assert set(found["stream"]) == set(STREAMS) and found.height == 3 * (SYMBOLS - 2)
    assert set(found["model"]) == {model} and set(found["vintage"]) == {VINTAGE}
    assert set(found["created_timestamp"]) == {cut_off(stores.market, last)}
    for (_,), rows in found.group_by("stream"):
        assert rows["score"].is_finite().all() and (rows["spread"] >= 0).all() and (rows["spread"] > 0).any()
        assert rows["score"].mean() == pytest.approx(0, abs=1e-9), "a mean of z-scores"

    assert run_job(scores, last, stores).status == "unchanged"
    assert scorer.train(days[THROUGH], VINTAGE, stores, silent) == model
    assert len(stores.models.list("scorer")) == 1
    assert not list((stores.settings.models / ".training").iterdir()), "a finished training leaves none"

    saved = stores.models.load("scorer", model)
    assert saved.born == cut_off(stores.market, days[THROUGH]) and saved.through == days[THROUGH]
    train, validation = saved.manifest["folds"]["train"], saved.manifest["folds"]["validation"]
    # tiny folds: labels known up to 25 - 6 = 19, two of them validate, purge 6 and embargo 1 before these
    assert train == [str(days[0]), str(days[10]), 11] and validation == [str(days[18]), str(days[19]), 2]
    assert len(saved.manifest["features"]["fingerprint"]) == 134
    assert set(saved.manifest["streams"]["dual"]["validation_loss"]) == {"42", "2024", "777"}


def test_what_may_not_be_seen_is_refused(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    with pytest.raises(LookAhead, match="FPM-WF-003"):
        scorer.train(days[ENCODED + 5], VINTAGE, stores, silent)
    model = scorer.train(days[THROUGH], VINTAGE, stores, silent)
    with pytest.raises(TryLater):  # the scorer knows labels that end at this session
        run_job(scores, days[THROUGH], stores)
    with pytest.raises(LookAhead, match="FPM-WF-003"):
        scores._require_unseen(stores.models.load("scorer", model), days[THROUGH], stores)
    save_encoder(stores, "vintage-late", days[SESSIONS - 5])
    late = stores.models.load("scorer", model)
    late.manifest["vintage"] = "vintage-late"
    with pytest.raises(LookAhead, match="FPM-WF-003"):
        scores._require_unseen(late, days[SESSIONS - 1], stores)


def test_later_labels_and_corrections_change_no_training(filled: tuple[Stores, list[date]]) -> None:
    """What becomes known after the cut-off does not exist for the training: the same model, bit for bit."""
    stores, days = filled
    model = scorer.train(days[THROUGH], VINTAGE, stores, silent)
    arrival = cut_off(stores.market, days[THROUGH + 1])
    for session, table in ((days[5], "labels"), (days[15], "daily_factors")):
        before = stores.read(table, session)
        revised = before.with_columns(
            pl.selectors.float() * -3, created_timestamp=pl.lit(arrival).dt.cast_time_unit("us")
        )
        publish_frames(table, session, {table: pl.concat([before, revised]).drop("session")}, stores)
    assert scorer.train(days[THROUGH], VINTAGE, stores, silent) == model
    assert scorer.train(days[THROUGH + 1], VINTAGE, stores, silent) != model


def test_a_correction_adds_a_version_and_the_replay_gives_the_old_night(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    last, arrival = days[SESSIONS - 1], cut_off(stores.market, days[SESSIONS])
    scorer.train(days[THROUGH], VINTAGE, stores, silent)
    run_job(scores, last, stores)
    that_night = read_scores(stores, last)
    before = stores.read("daily_factors", days[SESSIONS - 2])
    revised = before.with_columns(
        return_1=-pl.col("return_1"), created_timestamp=pl.lit(arrival).dt.cast_time_unit("us")
    )
    publish_frames(
        "daily_factors", days[SESSIONS - 2], {"daily_factors": pl.concat([before, revised]).drop("session")}, stores
    )
    assert run_job(scores, last, stores).status == "published"
    assert stores.as_of(cut_off(stores.market, last)).read("scores", last).equals(that_night)
    now = read_scores(stores, last)
    moved = now.filter(pl.col("created_timestamp") == arrival)
    assert set(moved["stream"]) == {"traditional", "dual"}, (
        "fingerprint scores did not change, so they have one version"
    )


def test_one_symbol_is_not_ranked(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    scorer.train(days[THROUGH], VINTAGE, stores, silent)
    last = days[SESSIONS - 1]
    only = stores.read("fingerprints", last, vintage=VINTAGE).filter(pl.col("symbol") == "600000.SH").drop("session")
    publish_frames("fingerprints", last, {"fingerprints": only}, stores.for_vintage(VINTAGE))
    with pytest.raises(TryLater, match=r"FPM-ML-335.*1 symbols can be scored"):
        run_job(scores, last, stores)


def test_a_scorer_of_another_profile_is_refused(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    model = stores.models.load("scorer", scorer.train(days[THROUGH], VINTAGE, stores, silent))
    model.manifest["profile"] = "another"
    with pytest.raises(ModelRefused, match="FPM-ML-337"):
        scores._require_fitting(model, stores)


def test_without_labels_the_scorer_in_force_stays(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    model = scorer.train(days[THROUGH], VINTAGE, stores, silent)
    poison(stores, days[:THROUGH])
    with pytest.raises(ModelRefused, match="FPM-ML-332"):
        scorer.train(days[THROUGH], VINTAGE, stores, silent)
    with pytest.raises(UsageError, match="FPM-WF-002"):
        short = stores.for_vintage(VINTAGE)
        save_encoder(short, "vintage-empty", days[0])
        scorer.train(days[THROUGH], "vintage-empty", stores, silent)
    assert stores.models.in_force("scorer", days[SESSIONS - 1]).id == model


def poison(stores: Stores, sessions: Sequence[date]) -> None:
    for session in sessions:
        labels = stores.read("labels", session).with_columns(label=pl.lit(float("nan")))
        publish_frames("labels", session, {"labels": labels.drop("session")}, stores)
