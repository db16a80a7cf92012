"""`fpm evaluate peers` on a home: training data, what the peers find, and that none knows the future."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date

import numpy as np
import polars as pl
import pytest
from pydantic import SecretStr
from scipy import stats

from consumers import scorer, scores
from consumers.questions import peers
from fpm.errors import ModelRefused, TryLater
from fpm.evaluation.peers import PEERS
from fpm.schema import STREAMS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import backfill, publish_frames
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.consumers.questions.conftest import Command
from tests.consumers.small_nights import SESSIONS, THROUGH, VINTAGE, calendar, publish, silent
from tests.databases import fresh_database
from tests.fpm.nn.scorer.small_panel import small_panel

LONG, SYMBOLS, THROUGHS = 58, 24, (30, 42)  # sessions; two scorers, through these


@pytest.fixture(scope="module")
def scored_home(
    postgres_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stores, list[date]]]:
    """Two folds with a strong signal in both streams, all scored; nothing may be written to it."""
    with fresh_database(postgres_server) as url:
        settings = Settings(home=tmp_path_factory.mktemp("judged"), preset="tiny", database_url=SecretStr(url))
        stores = open_stores(settings)
        features.apply(settings)
        stores.decide_profile("bar_32")
        publish(stores, small_panel(sessions=LONG, symbols=SYMBOLS, strength=0.5))
        days = calendar(stores, LONG)
        for through, end in zip(THROUGHS, (THROUGHS[1], LONG - 1), strict=True):
            scorer.train(days[through], VINTAGE, stores, silent)
            backfill(scores, days[through + 1], days[end], stores, silent)
        yield stores, days
        stores.ledger.close()


def served(stores: Stores, days: list[date]) -> pl.DataFrame:
    return stores.read_served("scores", days[0], days[LONG - 1])


def test_peers_learn_in_the_folds_of_the_scorers_and_score_what_they_scored(
    scored_home: tuple[Stores, list[date]],
) -> None:
    stores, days = scored_home
    stored = served(stores, days)
    folds, scored = peers.peer_scores(stored, stores, silent)
    assert [fold.model.through for fold in folds] == [days[through] for through in THROUGHS]
    for fold in folds:
        for name, part in (("train", fold.lesson.split.train), ("validation", fold.lesson.split.validation)):
            assert fold.model.manifest["folds"][name] == [str(part[0]), str(part[-1]), len(part)]
        assert set(fold.served) == set(stored.filter(pl.col("model") == fold.model.id)["session"])
    keys = ["session", "symbol", "stream"]
    assert scored["score"].is_finite().all() and set(scored["model"]) == set(PEERS)
    for name in PEERS:
        own = scored.filter(pl.col("model") == name).select(keys).sort(keys)
        assert own.equals(stored.select(keys).sort(keys))


def test_every_model_finds_a_planted_signal_with_intervals(scored_home: tuple[Stores, list[date]]) -> None:
    stores, days = scored_home
    answer = peers.evaluate(stores, silent)
    lines = {(line["stream"], line["model"]): line for line in answer["rank_ic"]}
    assert list(lines) == [(stream, name) for stream in STREAMS for name in ("GRU", *PEERS)]
    for stream in STREAMS:
        linear = lines[stream, "linear"]
        assert linear["low"] < linear["rank_ic"] < linear["high"]
        assert linear["rank_ic"] > 0.25 and lines[stream, "LightGBM"]["rank_ic"] > 0.1
        assert linear["sessions"] == LONG - 6 - THROUGHS[0] - 1, "scored, and six sessions later there is a label"
    assert len(answer["paired"]) == 6 and len(answer["folds"]) == 2
    assert [row["stream"] for row in answer["chosen"]] == [*STREAMS] * 2
    assert answer["paired"][0]["pair"] == "fingerprint: GRU \u2212 linear"

    _, scored = peers.peer_scores(served(stores, days), stores, silent)
    labels = stores.read("labels", days[THROUGHS[0] + 1], days[LONG - 1], columns=["symbol", "label"])
    series = {}
    for name, rows in (("linear", scored.filter(pl.col("model") == "linear")), ("GRU", served(stores, days))):
        joined = rows.filter(pl.col("stream") == "dual").join(labels, on=["session", "symbol"])
        series[name] = np.array(
            [
                stats.spearmanr(part["score"], part["label"])[0]
                for part in joined.sort("session").partition_by("session")
            ]
        )
    assert lines["dual", "linear"]["rank_ic"] == pytest.approx(series["linear"].mean())
    pairs = {row["pair"]: row["difference"] for row in answer["paired"]}
    assert pairs["dual: GRU \u2212 linear"] == pytest.approx((series["GRU"] - series["linear"]).mean())


def test_the_command(scored_home: tuple[Stores, list[date]], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    stores, _ = scored_home
    answer = command(stores, "evaluate", "peers", "--json")
    assert answer.code == 0
    document = json.loads(answer.output)
    assert set(document) == {"rank_ic", "paired", "folds", "chosen"} and len(document["rank_ic"]) == 9
    answer = command(stores, "evaluate", "peers")
    assert answer.code == 0 and "LightGBM" in answer.output
    answer = command(stores, "evaluate", "peers", "--vintage", VINTAGE)
    assert answer.code == 2 and "FPM-CFG-069" in answer.errors
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    answer = command(stores, "evaluate", "peers")
    assert answer.code == 2 and "FPM-CFG-070" in answer.errors


def test_what_became_known_after_a_cut_off_changes_nothing(filled: tuple[Stores, list[date]]) -> None:
    """Labels after the training's, factors after the training's and the scored night's: the same bits."""
    stores, days = filled
    scorer.train(days[THROUGH], VINTAGE, stores, silent)
    last = days[SESSIONS - 2]
    backfill(scores, days[THROUGH + 1], last, stores, silent)
    stored = stores.read_served("scores", days[THROUGH + 1], last)
    folds, before = peers.peer_scores(stored, stores, silent)
    for session, table, arrival in (
        (days[5], "labels", days[THROUGH + 1]),
        (days[15], "daily_factors", days[THROUGH + 1]),
        (last, "daily_factors", days[SESSIONS - 1]),
    ):
        first = stores.read(table, session)
        moment = pl.lit(cut_off(stores.market, arrival)).dt.cast_time_unit("us")
        revised = first.with_columns(pl.selectors.float() * -3, created_timestamp=moment)
        publish_frames(table, session, {table: pl.concat([first, revised]).drop("session")}, stores)
    _, after = peers.peer_scores(stored, stores, silent)
    assert after.equals(before)
    later = stores.as_of(cut_off(stores.market, days[SESSIONS - 1]))
    night = before.filter(pl.col("session") == last)
    assert not peers.score(folds[0], last, later).equals(night), "the corrections do matter"


def test_another_lesson_than_the_scorer_s_is_refused(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    model = stores.models.load("scorer", scorer.train(days[THROUGH], VINTAGE, stores, silent))
    model.manifest["features"]["traditional"] = ["log_size"]
    with pytest.raises(ModelRefused, match=r"FPM-ML-339.*features"):
        peers.learn(model, (days[SESSIONS - 1],), stores)


def test_before_anything_was_scored(stores: Stores) -> None:
    with pytest.raises(TryLater, match="FPM-REP-075"):
        peers.evaluate(stores, silent)
