"""A home under a model file: labels, folds, models, night, leaks and report follow what the file chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from consumers.questions import leaks, provenance, report
from consumers.questions.judgement import evaluation_config
from fpm.commands import training
from fpm.commands.night import nightly
from fpm.errors import ModelRefused
from fpm.exchange import simulate
from fpm.sessions import cut_off
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.databases import fresh_database
from tests.small_chain import compute, quiet, silent
from tests.test_corrections import first_copies, ingest

SESSIONS, FIRST_SCORED = 44, 36
FILE = """
[encoder]
layers = 2
mask_ratio = 0.25
epochs = 1
[scorer]
look_back = 2
fusion = "gate"
seeds = [7, 11]
epochs = 2
[label]
horizon = 2
[folds]
purge = 7
refit = 3
"""


@dataclass(frozen=True)
class Home:
    stores: Stores
    sessions: list[date]

    def under(self, text: str, folder: Path) -> Stores:
        """The same home under another model file."""
        (folder / "other.toml").write_text(text)
        settings = Settings(**self.stores.settings.model_dump() | {"model": folder / "other.toml"})
        return replace(self.stores, settings=settings)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Iterator[Home]:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("deliveries")
    simulate.write(replace(simulate.PRESETS["tiny"], sessions=SESSIONS, symbols=12, seed=5, spoiled_every=0), source)
    sessions = sorted(date.fromisoformat(path.stem) for path in (source / "minute_bars").glob("*.parquet"))
    (folder / "model.toml").write_text(FILE)
    with fresh_database(postgres_server) as url:
        settings = Settings(
            home=tmp_path_factory.mktemp("home"),
            preset="tiny",
            database_url=SecretStr(url),
            model=folder / "model.toml",
        )
        stores = open_stores(settings)
        features.apply(settings)
        ingest(stores, first_copies(source, folder / "all", sessions), cut_off(stores.market, sessions[-1]))
        compute(stores, sessions[0], sessions[FIRST_SCORED], sessions[-1])
        nightly(sessions[-1], stores)
        yield Home(stores, sessions)
        stores.ledger.close()


def test_a_label_spans_the_chosen_sessions(home: Home) -> None:
    at = 20
    session, start, end = (home.sessions[i] for i in (at, at + 1, at + 3))
    bars = {day: home.stores.read("daily_bars", day, day) for day in (start, end)}
    price = {
        day: dict(rows.select("symbol", pl.col("close") * pl.col("adj_factor")).rows()) for day, rows in bars.items()
    }
    stored = dict(home.stores.read("labels", session, session).select("symbol", "label").rows())
    assert stored and stored == {name: price[end][name] / price[start][name] - 1 for name in stored}
    newest = home.stores.sessions("labels")[-1]
    assert newest == home.sessions[-1 - 3], "the label of a night ends at its close"


def test_models_are_trained_as_chosen_and_their_manifests_say_so(home: Home) -> None:
    encoder, scorer = (home.stores.models.list(kind)[-1].manifest for kind in ("encoder", "scorer"))
    assert (encoder["encoder"]["layers"], encoder["pretraining"]["mask_ratio"]) == (2, 0.25)
    assert encoder["pretraining"]["fit"]["epochs"] == 1
    config = scorer["config"]
    assert (config["look_back"], config["fusion"], list(config["seeds"])) == (2, "gate", [7, 11])
    assert scorer["label"] == {"horizon": 2} and scorer["rules"]["purge"] == 7 and scorer["rules"]["refit"] == 3


def test_the_purge_lies_between_validation_and_test(home: Home) -> None:
    for fold in training.plan(home.stores, home.sessions[FIRST_SCORED], home.sessions[-1], None):
        assert len(fold.purged) == 7 and len(fold.test) <= 3


def test_no_check_for_leaks_fails(home: Home) -> None:
    answers = leaks.run((None, None), leaks.Width(1, 2), home.stores, quiet)
    assert not [each.to_dict() for each in answers if each.finding is not None]


def test_the_figures_are_those_of_the_label(home: Home) -> None:
    assert evaluation_config(home.stores.settings).horizon == 2
    figures = report.evaluate(home.stores)
    assert figures["rank_ic"]
    assert all(stream["long_short"]["annual_return"] is None for stream in figures["streams"].values())


def test_another_file_is_another_trial(home: Home, tmp_path: Path) -> None:
    before = provenance.tried_settings(home.stores)
    other = home.under(FILE.replace('fusion = "gate"', 'fusion = "score"\nweight = 0.25'), tmp_path)
    training.walk_forward(other, training.plan(other, home.sessions[-1], home.sessions[-1], None), silent)
    after = provenance.tried_settings(other)
    assert len(after) == len(before) + 1
    assert "fusion" in after[-1].differs and "weight" in after[-1].differs


def test_a_scorer_of_another_look_back_is_not_used(home: Home, tmp_path: Path) -> None:
    from consumers import scores

    other = home.under(FILE.replace("look_back = 2", "look_back = 3"), tmp_path)
    with pytest.raises(ModelRefused, match=r"FPM-ML-337.*model file"):
        scores.run(home.sessions[-1], other)
