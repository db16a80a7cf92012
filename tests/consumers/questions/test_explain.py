"""`fpm explain` on a real store: as known at the cut-off, the stored vector's own map, every bad question by name."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumers.questions import explain as seen
from fpm.commands import cli
from fpm.errors import FpmError, ModelRefused, TryLater, UsageError
from fpm.nn.encoder.dictionary import z_scores
from fpm.nn.encoder.occlusion import typical_distance
from fpm.sessions import cut_off, market, next_sessions, sessions_between
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from producers import encoder, fingerprints
from tests.producers.small_features import features, silent

CN = market("cn")
SESSIONS = sessions_between(CN, date(2024, 1, 2), date(2024, 2, 2))
THROUGH, SYMBOL = SESSIONS[11], "600003.SH"
FIRST, ASKED = SESSIONS[18], SESSIONS[22]  # the purge lies between; four served sessions before the one asked for


@pytest.fixture
def explained(stores: Stores) -> Stores:
    """Features of every session, a vintage, its fingerprints up to the session asked for."""
    stores.decide_profile("l2_32")
    for session in SESSIONS:
        publish_frames("minute_features", session, {"minute_features": features(session)}, stores)
        bars = pl.DataFrame({"symbol": [*features(session)["symbol"].unique().sort().to_list(), "600777.SH"]})
        publish_frames("bars", session, {"daily_bars": bars.with_columns(close=pl.lit(10.0))}, stores)
    encoder.train(THROUGH, stores, silent)
    for session in SESSIONS[18:23]:
        run_job(fingerprints, session, stores)
    return stores


def test_the_map_and_the_words_of_a_session(explained: Stores) -> None:
    found = seen.explain("600003", ASKED, None, explained)
    (model,) = explained.models.list("encoder")
    assert (found.symbol, found.vintage, found.known_at) == (SYMBOL, model.id, cut_off(CN, ASKED))
    assert found.seen.cell_PU.shape == (8, 12) and np.isfinite(found.seen.cell_PU).all()
    assert found.parts == ("10:00", "10:30", "11:00", "11:30", "13:30", "14:00", "14:30", "15:00")
    assert found.minutes[0] == "09:31" and found.minutes[-1] == "15:00" and len(found.minutes) == 240
    assert found.off == 0.0 and found.earlier == 4
    vectors = np.concatenate(
        [
            np.array(explained.read("fingerprints", day, vintage=model.id)["fingerprint"].to_list())
            for day in SESSIONS[18:23]
        ]
    )
    assert found.unit == typical_distance(vectors)


def test_words_are_measured_on_the_session_s_own_market(explained: Stores) -> None:
    found = seen.explain(SYMBOL, ASKED, None, explained)
    minutes = features(ASKED).filter(pl.col("slot") >= 180).group_by("symbol", maintain_order=True)
    late = minutes.agg(pl.col("volume").sum())
    whole = features(ASKED).group_by("symbol", maintain_order=True).agg(pl.col("volume").sum())
    share = (late["volume"].cast(pl.Float64) / whole["volume"].cast(pl.Float64)).to_numpy()
    expected = float(z_scores(share)[late["symbol"].to_list().index(SYMBOL)])
    (word,) = [word for word in found.words if word.statistic == "closing_share"]
    assert word.measured == pytest.approx(expected, rel=1e-4)
    surest = {word.statistic: word.correlation or 0.0 for word in found.words}
    assert surest["front_loading"] > 0.5  # the walks' volume leans early or late
    assert max(abs(axis.correlation) for axis in found.axes) > 0.3
    assert len(found.dimensions) == 128 and sum(axis.share for axis in found.dimensions) == pytest.approx(1)
    assert seen.explain(SYMBOL, ASKED, found.vintage, explained).to_dict() == found.to_dict()


def test_later_knowledge_changes_nothing(explained: Stores) -> None:
    before = seen.explain(SYMBOL, ASKED, None, explained).to_dict()
    later = cut_off(CN, next_sessions(CN, ASKED, 1)[0])
    for session in (SESSIONS[20], ASKED):
        rows = explained.read("minute_features", session).drop("session")
        clock = pl.lit(later).dt.cast_time_unit("us").alias("created_timestamp")
        changed = rows.with_columns(pl.col("volume").reverse(), clock)
        publish_frames("minute_features", session, {"minute_features": pl.concat([rows, changed])}, explained)
    assert seen.explain(SYMBOL, ASKED, None, explained).to_dict() == before


def test_the_first_session_of_a_vintage_has_a_map_and_no_words(explained: Stores) -> None:
    found = seen.explain(SYMBOL, FIRST, None, explained)
    assert found.words == () and np.isfinite(found.seen.cell_PU).all()
    assert "no words" in seen.page(found).notes[0]


def test_a_stored_vector_of_other_features_is_told(explained: Stores) -> None:
    found = replace(seen.explain(SYMBOL, ASKED, None, explained), off=0.5)
    assert "0.50 typical distances" in seen.page(found).notes[0]


def test_each_bad_question_is_refused_by_name(explained: Stores) -> None:
    bad: list[tuple[str, date, str | None, type[FpmError], str]] = [
        (SYMBOL, date(2024, 1, 6), None, UsageError, "FPM-EXP-002"),
        ("../../x", ASKED, None, UsageError, "FPM-EXP-003"),
        ("600999", ASKED, None, UsageError, "FPM-EXP-003"),
        (SYMBOL, ASKED, "no-such-vintage", UsageError, "FPM-EXP-004"),
        (SYMBOL, SESSIONS[12], None, TryLater, "FPM-ML-304"),
        (SYMBOL, SESSIONS[23], None, TryLater, "FPM-EXP-075"),
        ("600777", ASKED, None, TryLater, "FPM-EXP-078"),
    ]
    for symbol, session, vintage, kind, code in bad:
        with pytest.raises(kind) as wrong:
            seen.explain(symbol, session, vintage, explained)
        assert wrong.value.code == code


def test_a_vintage_of_another_profile_is_refused(explained: Stores) -> None:
    weights = b"not reached"
    explained.models.save(
        "encoder",
        "other",
        {"weights.safetensors": weights},
        {"profile_hash": "another"},
        cut_off(CN, THROUGH) + timedelta(1),
        THROUGH,
        "promoted",
    )
    with pytest.raises(ModelRefused, match="FPM-ML-067"):
        seen.explain(SYMBOL, ASKED, "other", explained)


def test_the_command_writes_a_page_that_needs_nothing_else(
    explained: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_stores", lambda *given: explained)

    def run(*words: str) -> int | str | None:
        monkeypatch.setattr(sys, "argv", ["fpm", "explain", *words])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        return leaving.value.code

    out = tmp_path / "one.html"
    assert run(SYMBOL, str(ASKED), "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == str(out) and len(told["occlusion"]) == 8 and told["occlusion"][0]["cancel"] > 0
    page = out.read_text()
    assert SYMBOL in page and all(f'id="plot-{place}"' in page for place in ("1-1", "2-1", "3-1"))
    assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=", page)
    assert run(SYMBOL, str(ASKED), "--out", str(tmp_path / "again.html")) == 0
    assert "front_loading" in capsys.readouterr().out and (tmp_path / "again.html").read_bytes() == out.read_bytes()
    assert run(SYMBOL, str(ASKED), "--out", str(tmp_path / "one.png")) == 2
    assert "FPM-EXP-005" in capsys.readouterr().err


def test_labels_of_other_views() -> None:
    us = market("us")
    assert seen.part_labels(seen.minute_labels(us, "390"))[0] == "10:00"
    assert len(seen.part_labels(seen.minute_labels(us, "390"))) == 13
    assert seen.minute_labels(CN, "237")[-1] == "14:57"
