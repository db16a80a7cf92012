"""`fpm evaluate encoder` on a real store: figures of the stored vectors, every session, by name where it cannot be."""

from __future__ import annotations

import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumers.questions import encoder_report
from fpm.commands import cli, report_commands
from fpm.errors import ModelRefused, TryLater, UsageError
from fpm.nn.encoder.collapse import collapse_figures
from fpm.schema import DAILY_FACTORS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from producers import encoder, fingerprints
from tests.producers.small_features import CN, SERVED, SESSIONS, SYMBOLS, THROUGH, features, silent


@pytest.fixture
def judged(stores: Stores) -> Stores:
    """Features, a vintage, industries, sizes and volatilities; one served session of fingerprints."""
    stores.decide_profile("l2_32")
    bars = pl.DataFrame({"symbol": SYMBOLS, "industry": ["bank", "steel"] * 8})
    values = {name: np.arange(16, dtype=np.float32) for name in DAILY_FACTORS}
    for session in SESSIONS:
        publish_frames("minute_features", session, {"minute_features": features(session)}, stores)
        publish_frames("bars", session, {"daily_bars": bars.with_columns(close=pl.lit(10.0))}, stores)
        publish_frames("daily_factors", session, {"daily_factors": pl.DataFrame({"symbol": SYMBOLS, **values})}, stores)
    encoder.train(THROUGH, stores, silent)
    run_job(fingerprints, SERVED, stores)
    return stores


def test_a_session_s_figures_are_those_of_its_stored_vectors(judged: Stores) -> None:
    told = encoder_report.evaluate(None, judged)
    (model,) = judged.models.list("encoder")
    stored = judged.read("fingerprints", SERVED, vintage=model.id)
    industry = dict(zip(SYMBOLS, ["bank", "steel"] * 8, strict=True))
    expected = collapse_figures(
        np.array(stored["fingerprint"].to_list()), industries=[industry[symbol] for symbol in stored["symbol"]]
    )
    last = told["by_session"][-1]
    assert last["session"] == str(SERVED) and last["count"] == 15
    assert {name: last[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert len(told["by_session"]) == len(SESSIONS) and told["rows"] == 15 * len(SESSIONS)  # those of the last one
    assert told["seen_in_training"] == 12 and told["vintage"] == model.id
    assert [epoch["rank"] for epoch in told["by_epoch"]] == [epoch["rank"] for epoch in model.manifest["history"]]


def test_it_is_held_against_its_beginning_the_inputs_and_chance(judged: Stores) -> None:
    told = encoder_report.evaluate(None, judged)
    rank = told["diagnostics"][0]
    assert set(rank) == {"figure", "trained", "untrained", "PCA of the inputs"} and rank["untrained"] > 1
    same = {row["same"]: row for row in told["nearest_neighbour_is_of_the_same"]}
    assert set(same) == {"symbol", "industry", "session"}
    count = told["rows"]
    assert same["session"]["by chance"] == pytest.approx(19 * 15 * 14 / (count * (count - 1)))
    assert same["industry"]["by chance"] == pytest.approx(0.5, abs=0.01)


def test_the_page_and_the_command(
    judged: Stores, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report_commands, "stores", lambda: judged)

    def run(*words: str) -> int | str | None:
        monkeypatch.setattr(sys, "argv", ["fpm", "evaluate", *words])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
        return leaving.value.code

    assert run("encoder", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    page = Path(told["page"]).read_text()
    headings = [
        "Spectrum",
        "By industry",
        "By size (log)",
        "By volatility, 20 sessions",
        "By session, oldest to newest",
    ]
    assert all(f"<h3>{heading}</h3>" in page for heading in headings)
    assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=", page)
    assert run("encoder") == 0 and "participation" in capsys.readouterr().out
    assert Path(told["page"]).read_text() == page
    assert run("encoder", "--vintage", "none-such") == 2 and "FPM-EXP-004" in capsys.readouterr().err
    assert run("enkoder") == 2
    assert run("--vintage", told["vintage"]) == 2 and "FPM-CFG-069" in capsys.readouterr().err
    capsys.readouterr()
    assert run() == 75  # the scores, of which there are none yet
    assert "FPM-EXP" not in capsys.readouterr().err


def test_without_industries_or_factors_the_rest_is_told(judged: Stores) -> None:
    for session in SESSIONS:
        bare = pl.DataFrame({"symbol": SYMBOLS}).with_columns(close=pl.lit(10.0))
        publish_frames("bars", session, {"daily_bars": bare}, judged)
    told = encoder_report.evaluate(None, judged)
    assert {row["same"] for row in told["nearest_neighbour_is_of_the_same"]} == {"symbol", "session"}
    assert "By industry" not in Path(told["page"]).read_text()


def test_refusals(judged: Stores) -> None:
    judged.models.save(
        "encoder",
        "other",
        {"weights.safetensors": b"not reached"},
        {"profile_hash": "another"},
        cut_off(CN, THROUGH) + timedelta(1),
        THROUGH,
        "refused",
    )
    with pytest.raises(ModelRefused, match="FPM-ML-067"):
        encoder_report.evaluate("other", judged)
    with pytest.raises(UsageError, match="FPM-EXP-004"):
        encoder_report.evaluate("none-such", judged)


def test_nothing_there(stores: Stores) -> None:
    with pytest.raises(TryLater, match="FPM-EXP-076"):
        encoder_report.evaluate(None, stores)
