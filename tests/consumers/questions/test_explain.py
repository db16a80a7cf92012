"""`fpm explain` on a real store: as known at the cut-off, of the stored vector, and every bad question by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumers.questions import explain as explain_module
from consumers.questions.explain import explain, minute_labels, part_labels
from consumers.questions.explain_page import page
from fpm.errors import FpmError, ModelRefused, TryLater, UsageError
from fpm.nn.encoder.dictionary import z_scores
from fpm.nn.encoder.occlusion import typical_distance
from fpm.sessions import cut_off, market, next_sessions, sessions_between
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from producers import encoder, fingerprints
from tests.consumers.questions.conftest import Answer, Command
from tests.prepared_home import PreparedHome, prepared
from tests.producers.small_features import features, silent

CN = market("cn")
SESSIONS = sessions_between(CN, date(2024, 1, 2), date(2024, 2, 2))
THROUGH, SYMBOL = SESSIONS[11], "600003.SH"
FIRST, SESSION = SESSIONS[18], SESSIONS[22]  # the purge lies before the first; four served sessions before the second


def fill(stores: Stores) -> None:
    """Features of every session, a vintage, its fingerprints up to `SESSION`."""
    stores.decide_profile("l2_32")
    for session in SESSIONS:
        publish_frames("minute_features", session, {"minute_features": features(session)}, stores)
        bars = pl.DataFrame({"symbol": [*features(session)["symbol"].unique().sort().to_list(), "600777.SH"]})
        publish_frames("bars", session, {"daily_bars": bars.with_columns(close=pl.lit(10.0))}, stores)
    encoder.train(THROUGH, stores, silent)
    for session in SESSIONS[18:23]:
        run_job(fingerprints, session, stores)


@pytest.fixture(scope="module")
def prepared_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    folder = tmp_path_factory.mktemp("prepared")
    with prepared(postgres_server, folder / "home", fill) as home:
        yield home


@pytest.fixture
def home(prepared_home: PreparedHome, tmp_path: Path) -> Iterator[Stores]:
    with prepared_home.copied(tmp_path / "home") as stores:
        yield stores


def test_the_map_and_the_words_of_a_session(home: Stores) -> None:
    answer = explain("600003", SESSION, None, home)
    (model,) = home.models.list("encoder")
    assert (answer.symbol, answer.vintage, answer.known_at) == (SYMBOL, model.id, cut_off(CN, SESSION))
    assert answer.occlusion.cell_PU.shape == (8, 12) and np.isfinite(answer.occlusion.cell_PU).all()
    assert answer.parts == ("10:00", "10:30", "11:00", "11:30", "13:30", "14:00", "14:30", "15:00")
    assert answer.minutes[0] == "09:31" and answer.minutes[-1] == "15:00" and len(answer.minutes) == 240
    assert answer.offset == 0.0 and answer.earlier_sessions == 4
    vectors = np.concatenate(
        [np.array(home.read("fingerprints", day, vintage=model.id)["fingerprint"].to_list()) for day in SESSIONS[18:23]]
    )
    assert answer.unit == typical_distance(vectors)


def test_words_are_measured_on_the_session_s_own_market(home: Stores) -> None:
    answer = explain(SYMBOL, SESSION, None, home)
    minutes = features(SESSION).filter(pl.col("slot") >= 180).group_by("symbol", maintain_order=True)
    late = minutes.agg(pl.col("volume").sum())
    whole = features(SESSION).group_by("symbol", maintain_order=True).agg(pl.col("volume").sum())
    share = (late["volume"].cast(pl.Float64) / whole["volume"].cast(pl.Float64)).to_numpy()
    expected = float(z_scores(share)[late["symbol"].to_list().index(SYMBOL)])
    (word,) = [word for word in answer.words if word.statistic == "closing_share"]
    assert word.measured == pytest.approx(expected, rel=1e-4)
    surest = {word.statistic: word.correlation or 0.0 for word in answer.words}
    assert surest["front_loading"] > 0.5  # the walks' volume leans early or late
    assert max(abs(axis.correlation) for axis in answer.axes) > 0.3
    assert len(answer.dimensions) == 128 and sum(axis.share for axis in answer.dimensions) == pytest.approx(1)
    assert explain(SYMBOL, SESSION, answer.vintage, home).to_dict() == answer.to_dict()


def test_of_a_larger_market_every_kth_symbol_gives_the_words(home: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is the distance over the sampled earlier vectors and all of the session's; its own words stay whole."""
    (model,) = home.models.list("encoder")
    whole = explain(SYMBOL, SESSION, None, home)
    monkeypatch.setattr(explain_module, "SAMPLE", 10)
    answer = explain(SYMBOL, SESSION, None, home)
    days = [home.read("fingerprints", day, vintage=model.id).sort("symbol") for day in SESSIONS[18:23]]
    assert min(day.height for day in days) > 10 and max(day.height for day in days) <= 20, "every second one"
    vectors = [np.array(day["fingerprint"].to_list()) for day in days]
    assert answer.unit == typical_distance(np.concatenate([*(z_SD[::2] for z_SD in vectors[:-1]), vectors[-1]]))
    assert answer.earlier_sessions == whole.earlier_sessions
    measured = {(word.statistic, word.measured) for word in whole.words}
    assert answer.words and measured.issuperset((word.statistic, word.measured) for word in answer.words)


def test_later_knowledge_changes_nothing(home: Stores) -> None:
    before = explain(SYMBOL, SESSION, None, home).to_dict()
    later = cut_off(CN, next_sessions(CN, SESSION, 1)[0])
    for session in (SESSIONS[20], SESSION):
        rows = home.read("minute_features", session).drop("session")
        clock = pl.lit(later).dt.cast_time_unit("us").alias("created_timestamp")
        changed = rows.with_columns(pl.col("volume").reverse(), clock)
        publish_frames("minute_features", session, {"minute_features": pl.concat([rows, changed])}, home)
    assert explain(SYMBOL, SESSION, None, home).to_dict() == before


def test_the_first_session_of_a_vintage_has_a_map_and_no_words(home: Stores) -> None:
    answer = explain(SYMBOL, FIRST, None, home)
    assert answer.words == () and np.isfinite(answer.occlusion.cell_PU).all()
    assert "no words" in page(answer).notes[0]


def test_a_stored_vector_of_other_features_is_noted_on_the_page(home: Stores) -> None:
    answer = replace(explain(SYMBOL, SESSION, None, home), offset=0.5)
    assert "0.50 typical distances" in page(answer).notes[0]


def test_every_bad_question_is_refused_by_name(home: Stores) -> None:
    bad: list[tuple[str, date, str | None, type[FpmError], str]] = [
        (SYMBOL, date(2024, 1, 6), None, UsageError, "FPM-EXP-002"),
        ("../../x", SESSION, None, UsageError, "FPM-EXP-003"),
        ("600999", SESSION, None, UsageError, "FPM-EXP-003"),
        (SYMBOL, SESSION, "no-such-vintage", UsageError, "FPM-EXP-004"),
        (SYMBOL, SESSIONS[12], None, TryLater, "FPM-ML-304"),
        (SYMBOL, SESSIONS[23], None, TryLater, "FPM-EXP-075"),
        ("600777", SESSION, None, TryLater, "FPM-EXP-078"),
    ]
    for symbol, session, vintage, kind, code in bad:
        with pytest.raises(kind) as wrong:
            explain(symbol, session, vintage, home)
        assert wrong.value.code == code


def test_a_vintage_of_another_profile_is_refused(home: Stores) -> None:
    weights = b"not reached"
    home.models.save(
        "encoder",
        "other",
        {"weights.safetensors": weights},
        {"profile_hash": "another"},
        cut_off(CN, THROUGH) + timedelta(1),
        THROUGH,
        "promoted",
    )
    with pytest.raises(ModelRefused, match="FPM-ML-067"):
        explain(SYMBOL, SESSION, "other", home)


def test_the_command_writes_a_page_that_needs_nothing_else(home: Stores, tmp_path: Path, command: Command) -> None:
    def explain_to(name: str, *words: str) -> Answer:
        return command(home, "explain", SYMBOL, str(SESSION), "--out", str(tmp_path / name), *words)

    first = explain_to("one.html", "--json")
    assert first.code == 0
    document = json.loads(first.output)
    assert document["page"] == str(tmp_path / "one.html")
    assert len(document["occlusion"]) == 8 and document["occlusion"][0]["cancel"] > 0
    text = (tmp_path / "one.html").read_text()
    assert SYMBOL in text and all(f'id="plot-{plot}"' in text for plot in ("1-1", "2-1", "3-1"))
    assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=", text)
    again = explain_to("again.html")
    assert again.code == 0 and "front_loading" in again.output
    assert (tmp_path / "again.html").read_text() == text
    refusal = explain_to("one.png")
    assert refusal.code == 2 and "FPM-EXP-005" in refusal.errors


def test_labels_of_other_views() -> None:
    us = market("us")
    assert part_labels(minute_labels(us, "390"))[0] == "10:00"
    assert len(part_labels(minute_labels(us, "390"))) == 13
    assert minute_labels(CN, "237")[-1] == "14:57"
