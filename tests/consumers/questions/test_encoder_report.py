"""`fpm evaluate encoder` on a real store: figures of the stored vectors, session by session, and every refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from consumers.questions import encoder_report
from fpm.errors import ModelRefused, TryLater, UsageError
from fpm.nn.encoder.collapse import collapse_figures
from fpm.schema import DAILY_FACTORS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from fpm.store.postgres.server import Server
from producers import encoder, fingerprints
from tests.consumers.questions.conftest import Command
from tests.prepared_home import PreparedHome, prepared
from tests.producers.small_features import CN, SERVED, SESSIONS, SYMBOLS, THROUGH, features, silent


def fill(stores: Stores) -> None:
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


@pytest.fixture(scope="module")
def prepared_home(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreparedHome]:
    folder = tmp_path_factory.mktemp("prepared")
    with prepared(postgres_server, folder / "home", fill) as home:
        yield home


@pytest.fixture
def trained(prepared_home: PreparedHome, tmp_path: Path) -> Iterator[Stores]:
    with prepared_home.copied(tmp_path / "home") as stores:
        yield stores


def test_a_session_s_figures_are_those_of_its_stored_vectors(trained: Stores) -> None:
    report = encoder_report.evaluate(None, trained)
    (model,) = trained.models.list("encoder")
    stored = trained.read("fingerprints", SERVED, vintage=model.id)
    industry = dict(zip(SYMBOLS, ["bank", "steel"] * 8, strict=True))
    expected = collapse_figures(
        np.array(stored["fingerprint"].to_list()), industries=[industry[symbol] for symbol in stored["symbol"]]
    )
    last = report["by_session"][-1]
    assert last["session"] == str(SERVED) and last["count"] == 15
    assert {name: last[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert len(report["by_session"]) == len(SESSIONS) and report["rows"] == 15 * len(SESSIONS)  # those of the last one
    assert report["seen_in_training"] == 12 and report["vintage"] == model.id
    assert [epoch["rank"] for epoch in report["by_epoch"]] == [epoch["rank"] for epoch in model.manifest["history"]]


def test_it_stands_beside_its_untrained_self_the_inputs_and_chance(trained: Stores) -> None:
    report = encoder_report.evaluate(None, trained)
    rank = report["diagnostics"][0]
    assert set(rank) == {"figure", "trained", "untrained", "PCA of the inputs"} and rank["untrained"] > 1
    same = {row["same"]: row for row in report["nearest_neighbour_is_of_the_same"]}
    assert set(same) == {"symbol", "industry", "session"}
    count = report["rows"]
    assert same["session"]["by chance"] == pytest.approx(19 * 15 * 14 / (count * (count - 1)))
    assert same["industry"]["by chance"] == pytest.approx(0.5, abs=0.01)


def test_the_page_and_the_command(trained: Stores, command: Command) -> None:
    answer = command(trained, "evaluate", "encoder", "--json")
    assert answer.code == 0
    report = json.loads(answer.output)
    page = Path(report["page"]).read_text()
    headings = [
        "Spectrum",
        "By industry",
        "By size (log)",
        "By volatility, 20 sessions",
        "By session, oldest to newest",
    ]
    assert all(f"<h3>{heading}</h3>" in page for heading in headings)
    assert page.index("collapsed: ") < page.index("Trained through") and len(page) < 3_000_000
    assert next(iter(report)) == "collapsed" and f"collapsed: {report['collapsed']}" in page
    assert (report["collapsed"] == "no") == (report["gate_now"] == "would be promoted")
    assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=", page)
    answer = command(trained, "evaluate", "encoder")
    assert answer.code == 0 and "participation" in answer.output
    assert Path(report["page"]).read_text() == page
    answer = command(trained, "evaluate", "encoder", "--vintage", "none-such")
    assert answer.code == 2 and "FPM-EXP-004" in answer.errors
    assert command(trained, "evaluate", "enkoder").code == 2
    answer = command(trained, "evaluate", "--vintage", report["vintage"])
    assert answer.code == 2 and "FPM-CFG-069" in answer.errors
    answer = command(trained, "evaluate")  # the scores, of which there are none yet
    assert answer.code == 75 and "FPM-EXP" not in answer.errors


def test_without_industries_or_factors_the_other_figures_stand(trained: Stores) -> None:
    for session in SESSIONS:
        bare = pl.DataFrame({"symbol": SYMBOLS}).with_columns(close=pl.lit(10.0))
        publish_frames("bars", session, {"daily_bars": bare}, trained)
    report = encoder_report.evaluate(None, trained)
    assert {row["same"] for row in report["nearest_neighbour_is_of_the_same"]} == {"symbol", "session"}
    assert "By industry" not in Path(report["page"]).read_text()


def test_refusals(trained: Stores) -> None:
    trained.models.save(
        "encoder",
        "other",
        {"weights.safetensors": b"not reached"},
        {"profile_hash": "another"},
        cut_off(CN, THROUGH) + timedelta(1),
        THROUGH,
        "refused",
    )
    with pytest.raises(ModelRefused, match="FPM-ML-067"):
        encoder_report.evaluate("other", trained)
    with pytest.raises(UsageError, match="FPM-EXP-004"):
        encoder_report.evaluate("none-such", trained)


def test_nothing_there(stores: Stores) -> None:
    with pytest.raises(TryLater, match="FPM-EXP-076"):
        encoder_report.evaluate(None, stores)
