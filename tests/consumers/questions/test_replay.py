"""A night rebuilt from the store: equal where nothing was touched, and every difference is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from consumers import scorer, scores
from consumers.questions.replay import replay
from fpm.errors import StoreCorrupt, TryLater, UsageError
from fpm.schema import STREAMS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from tests.consumers.questions.conftest import Command
from tests.consumers.small_nights import SESSIONS, SYMBOLS, THROUGH, VINTAGE, calendar, correct, silent
from tests.prepared_home import PreparedHome

Night = tuple[Stores, date, datetime]


def score_twice(stores: Stores) -> None:
    """Score a session at its cut-off, and when a correction of the session before arrived."""
    days = calendar(stores)
    last, arrival = days[SESSIONS - 1], cut_off(stores.market, days[SESSIONS])
    scorer.train(days[THROUGH], VINTAGE, stores, silent)
    run_job(scores, last, stores)
    correct(stores, days[SESSIONS - 2], arrival)
    run_job(scores, last, stores)


@pytest.fixture(scope="module")
def scored_twice(filled_home: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    with filled_home.extended(tmp_path_factory.mktemp("night") / "home", score_twice) as home:
        yield home


@pytest.fixture
def night(scored_twice: PreparedHome, tmp_path: Path) -> Iterator[Night]:
    """Stores, the session that was scored twice, and the arrival of the correction."""
    with scored_twice.copied(tmp_path / "home") as stores:
        days = calendar(stores)
        yield stores, days[SESSIONS - 1], cut_off(stores.market, days[SESSIONS])


def test_a_night_is_rebuilt_bit_for_bit_as_known_at_any_moment(night: Night) -> None:
    stores, last, arrival = night
    before = lake(stores)
    for known_at in (None, arrival - timedelta(microseconds=1), arrival, arrival + timedelta(days=30)):
        answer = replay(last, known_at, stores)
        assert answer.equal and answer.known_at == (known_at or cut_off(stores.market, last))
        assert {stream: parity.rows for stream, parity in answer.streams.items()} == dict.fromkeys(STREAMS, SYMBOLS - 2)
    assert [row["answer"] for row in answer.to_dict()["streams"]] == ["equal"] * 3
    assert lake(stores) == before, "a replay writes nothing"


def test_the_scorer_is_the_one_that_was_in_force_then(night: Night) -> None:
    """A scorer that was trained since, and that would serve the session now, does not replay it."""
    stores, last, arrival = night
    then = replay(last, None, stores).model
    path = stores.models.load("scorer", then).path / "weights.safetensors"
    model = stores.models.load("scorer", then)
    stores.models.save(
        "scorer",
        "another",
        {"weights.safetensors": path.read_bytes()},
        model.manifest,
        model.born + timedelta(hours=1),
        model.through,
        "promoted",
    )
    assert stores.models.in_force("scorer", last).id == "another"
    assert replay(last, None, stores).model == then and replay(last, arrival, stores).equal


def test_the_last_bit_of_one_score_is_a_difference(night: Night) -> None:
    stores, last, _ = night
    stored = stores.read("scores", last, known_at=cut_off(stores.market, last)).drop("session")
    first = (pl.col("symbol") == stored["symbol"][0]) & (pl.col("stream") == "dual")
    nudged = stored.with_columns(score=pl.when(first).then(pl.col("score") * (1 + 2**-52)).otherwise("score"))
    publish_frames("scores", last, {"scores": nudged}, stores)
    answer = replay(last, None, stores)
    assert not answer.equal
    assert {stream: parity.different for stream, parity in answer.streams.items()} == {
        stream: int(stream == "dual") for stream in STREAMS
    }
    publish_frames("scores", last, {"scores": stored.filter(~first)}, stores)
    assert replay(last, None, stores).streams["dual"].extra == 1
    assert replay(last, None, stores).streams["traditional"].equal


def test_what_cannot_be_replayed_is_named(night: Night) -> None:
    stores, last, _ = night
    with pytest.raises(UsageError, match=r"FPM-RPL-001.*2024-01-06 is no session"):
        replay(date(2024, 1, 6), None, stores)
    with pytest.raises(TryLater, match="scores/session=2024-01-03"):
        replay(date(2024, 1, 3), None, stores)
    cut = cut_off(stores.market, last)
    with pytest.raises(UsageError, match=f"FPM-RPL-002.*give a moment from {cut:%Y-%m-%d}"):
        replay(last, cut - timedelta(microseconds=1), stores)
    path = stores.lake.root / stores.lake.relative("scores", last)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreCorrupt, match="FPM-LAKE-111"):
        replay(last, None, stores)


def test_the_command_lines_answer_and_exit_code(night: Night, command: Command) -> None:
    stores, last, arrival = night
    answer = command(stores, "replay", str(last), "--json")
    document = json.loads(answer.output)
    assert answer.code == 0 and document["equal"] and len(document["streams"]) == 3
    answer = command(stores, "replay", str(last), "--known-at", arrival.isoformat())
    assert answer.code == 0 and answer.output.count("equal") == 4, "three streams, and the whole"
    moments = cut_off(stores.market, last).isoformat(), arrival.isoformat()
    answer = command(stores, "diff", *moments, str(last), "--json")
    moved = json.loads(answer.output)["scores"]
    assert answer.code == 0 and len(moved) == 2 * (SYMBOLS - 2)
    assert [row["moved"] for row in moved] == [pytest.approx(row["after"] - row["before"]) for row in moved]

    stored = stores.read("scores", last).drop("session")
    publish_frames("scores", last, {"scores": stored.with_columns(score=-pl.col("score"))}, stores)
    assert command(stores, "replay", str(last), "--known-at", arrival.isoformat()).code == 1
    for words, code, message in (
        (("replay", "2024-01-06"), 2, "FPM-RPL-001"),
        (("replay", "yesterday"), 2, "FPM-CFG-064"),
        (("replay", "2024-01-03"), 75, "2024-01-03"),
        (("replay", str(last), "--known-at", "2999-01-01T00:00Z"), 2, "FPM-CFG-068"),
        (("diff", arrival.isoformat(), arrival.isoformat()), 2, "FPM-DIF-001"),
        (("diff", "2024-01-03", arrival.isoformat()), 2, "FPM-CFG-010"),
        (("diff", "2024-01-03T20:00Z", arrival.isoformat(), "2025-01-06"), 75, "FPM-DIF-075"),
    ):
        answer = command(stores, *words)
        assert answer.code == code and message in answer.errors, (words, answer)


def lake(stores: Stores) -> dict[str, str]:
    """Hash of every file of the lake and of what lies in staging."""
    roots = (stores.lake.root, stores.lake.staging)
    paths = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
