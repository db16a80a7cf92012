"""Scorers over vectors from outside: only after their birth, as streams of their own, never in the place of ours."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from consumers import scorer, scores, vector_scores
from consumers.questions import judgement, leak_vectors
from consumers.streams import outside_vintages, served_beside, streams_there, table_of_stream
from fpm.commands import training
from fpm.commands.night import night_steps
from fpm.commands.night import outside_vintages as to_be_scored
from fpm.errors import LookAhead, UsageError
from fpm.leaks.checks import PERTURBATION, TRUNCATION
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from fpm.store.retrieval import features
from fpm.store.retrieval.dual_stream import OUTSIDE
from tests.consumers.small_nights import SESSIONS, SYMBOLS, THROUGH, VINTAGE, calendar, correct, known_from, silent
from tests.prepared_home import PreparedHome
from tests.small_chain import silent as titled

NAME, LENGTH = "cnn-3", 5
LAST = SESSIONS - 1


def bring(stores: Stores, days: list[date], born: date, name: str = NAME) -> None:
    """The first numbers of our own fingerprints as another encoder's vectors."""
    manifest = {"origin": "outside", "length": LENGTH}
    model = stores.models.save(OUTSIDE.encoder, name, {}, manifest, cut_off(stores.market, born), born, "promoted")
    for day in days[:SESSIONS]:
        own = stores.read("fingerprints", day, vintage=VINTAGE)
        rows = own.select("symbol", vintage=pl.lit(name), vector=pl.col("fingerprint").arr.to_list().list.head(LENGTH))
        rows = known_from(rows, max(model.born, cut_off(stores.market, day)))
        publish_frames("vectors", day, {"vectors": rows}, stores.for_vintage(name))


def bring_all(stores: Stores) -> None:
    """Our own scores of the last session, and vectors whose encoder saw nothing."""
    days = calendar(stores)
    scorer.train(days[THROUGH], VINTAGE, stores, silent)
    run_job(scores, days[LAST], stores)
    before = date(2023, 12, 29)
    bring(stores, days, before)


@pytest.fixture(scope="module")
def brought_home(filled_home: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    with filled_home.extended(tmp_path_factory.mktemp("brought") / "home", bring_all) as home:
        yield home


@pytest.fixture
def brought(brought_home: PreparedHome, tmp_path: Path) -> Iterator[tuple[Stores, list[date]]]:
    with brought_home.copied(tmp_path / "home") as stores:
        yield stores, calendar(stores)


def scored(stores: Stores, session: date) -> pl.DataFrame:
    return stores.for_vintage(NAME).read("vector_scores", session)


def test_a_vintage_from_outside_is_scored_beside_ours(brought: tuple[Stores, list[date]]) -> None:
    stores, days = brought
    own = stores.read("scores", days[LAST])
    model = scorer.train(days[THROUGH], NAME, stores, silent, OUTSIDE)
    beside = stores.for_vintage(NAME)
    assert run_job(vector_scores, days[LAST], beside).status == "published"
    rows = scored(stores, days[LAST])
    assert sorted(set(rows["stream"])) == [NAME, f"{NAME}.dual"] and rows.height == 2 * (SYMBOLS - 2)
    assert set(rows["vintage"]) == {NAME} and set(rows["model"]) == {model}
    assert set(rows["created_timestamp"]) == {cut_off(stores.market, days[LAST])}
    manifest = stores.models.record("vector_scorer", model).manifest
    assert len(manifest["features"]["fingerprint"]) == LENGTH + 6
    # ours stay as they were, and in force
    assert run_job(scores, days[LAST], stores).status == "unchanged"
    assert stores.read("scores", days[LAST]).equals(own)
    assert stores.models.in_force("scorer", days[LAST]).manifest["vintage"] == VINTAGE
    assert run_job(vector_scores, days[LAST], beside).status == "unchanged"
    assert scorer.train(days[THROUGH], NAME, stores, silent, OUTSIDE) == model


def test_only_sessions_after_the_birth_train_and_test(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    bring(stores, days, days[1])
    model = scorer.train(days[THROUGH + 2], NAME, stores, silent, OUTSIDE)
    folds = stores.models.record("vector_scorer", model).manifest["folds"]
    assert folds["train"][0] == str(days[2])
    with pytest.raises(LookAhead, match="FPM-ML-361"):
        training.require_vintage(NAME, days[1], stores)
    assert training.require_vintage(NAME, days[2], stores)[0] == days[2]
    with pytest.raises(UsageError, match="FPM-ML-360"):
        training.require_vintage("unknown", days[2], stores)
    bring(stores, days, days[LAST], "late")
    with pytest.raises((LookAhead, UsageError)):
        scorer.train(days[THROUGH], "late", stores, silent, OUTSIDE)


def test_late_vectors_are_late_scores(brought: tuple[Stores, list[date]]) -> None:
    stores, days = brought
    scorer.train(days[THROUGH], NAME, stores, silent, OUTSIDE)
    beside, arrival = stores.for_vintage(NAME), cut_off(stores.market, days[LAST + 2])
    rows = beside.read("vectors", days[LAST]).drop("session")
    publish_frames("vectors", days[LAST], {"vectors": known_from(rows, arrival)}, beside)
    run_job(vector_scores, days[LAST], beside)
    assert beside.read("vector_scores", days[LAST], known_at=cut_off(stores.market, days[LAST])).is_empty()
    assert set(beside.read("vector_scores", days[LAST])["created_timestamp"]) == {arrival}


def test_a_correction_of_a_factor_reaches_the_streams(brought: tuple[Stores, list[date]]) -> None:
    stores, days = brought
    scorer.train(days[THROUGH], NAME, stores, silent, OUTSIDE)
    beside = stores.for_vintage(NAME)
    run_job(vector_scores, days[LAST], beside)
    before = scored(stores, days[LAST])
    correct(stores, days[LAST], cut_off(stores.market, days[LAST + 1]))
    assert run_job(vector_scores, days[LAST], beside).status == "published"
    after = scored(stores, days[LAST])
    alone, both = (pl.col("stream") == name for name in (NAME, f"{NAME}.dual"))
    assert after.filter(alone).equals(before.filter(alone)), "vectors alone do not read factors"
    assert not after.filter(both)["score"].equals(before.filter(both)["score"])


def test_a_night_scores_the_vintages_that_have_come(brought: tuple[Stores, list[date]]) -> None:
    stores, days = brought
    assert to_be_scored(days[LAST], stores) == []  # no scorer yet
    scorer.train(days[THROUGH], NAME, stores, silent, OUTSIDE)
    steps = [(step.job, step.vintage) for step in night_steps(days[LAST], stores)]
    assert steps.index(("vector_scores", NAME)) == steps.index(("scores", None)) + 1
    assert to_be_scored(days[LAST + 1], stores) == []  # no vectors of that session


def test_readers_find_the_streams(brought: tuple[Stores, list[date]]) -> None:
    stores, days = brought
    folds = training.plan(stores, days[LAST], days[LAST], None, training.require_vintage(NAME, days[LAST], stores))
    training.walk_forward_beside(NAME, stores, folds, titled)
    assert outside_vintages(stores) == {NAME: date(2023, 12, 29)}
    assert streams_there(stores)[3:] == [NAME, f"{NAME}.dual"]
    assert table_of_stream(f"{NAME}.dual", stores) == "vector_scores"
    assert table_of_stream("mine", stores) == "stream_scores" and table_of_stream("dual", stores) == "scores"
    assert served_beside(days[0], days[LAST], ["symbol", "stream"], stores).height == 2 * (SYMBOLS - 2)
    evidence = judgement.read_evidence(stores)
    assert evidence.streams == ["fingerprint", "traditional", "dual", NAME, f"{NAME}.dual"]
    pairs = list(judgement.comparisons(evidence, judgement.evaluation_config(stores.settings)))
    assert [pair.split()[0] for pair in pairs] == ["dual", "dual", "fingerprint", NAME, f"{NAME}.dual"]
    rows = pl.DataFrame({"symbol": ["600000.SH"], "session": [days[LAST]], "vintage": [NAME]})
    frame = features.frame(stores.settings, "vectors", rows, None)
    assert len(frame["vector"][0]) == LENGTH


def test_the_leak_suite_recomputes_the_streams(brought: tuple[Stores, list[date]]) -> None:
    stores, days = brought
    scorer.train(days[THROUGH], NAME, stores, silent, OUTSIDE)
    beside = stores.for_vintage(NAME)
    run_job(vector_scores, days[LAST - 1], beside)
    for check in (TRUNCATION, PERTURBATION):
        assert list(leak_vectors.values(check, days[LAST - 1], stores)) == [None]
    # a score that knows more than its past is found
    rows = scored(stores, days[LAST - 1]).drop("session")
    leaking = rows.with_columns(score=pl.col("score") + 0.001)
    publish_frames("vector_scores", days[LAST - 1], {"vector_scores": leaking}, beside)
    [finding] = leak_vectors.values(TRUNCATION, days[LAST - 1], stores)
    assert finding is not None and finding.column == "vector_scores.score"
