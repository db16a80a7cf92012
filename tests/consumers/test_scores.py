"""Training and scoring on a real store: refusals, reports, and when each row is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl
import pytest

from consumers import scorer, scores
from fpm.errors import LookAhead, ModelRefused, TryLater, UsageError
from fpm.nn.scorer.network import PRESETS
from fpm.schema import STREAMS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import publish_frames, run_job
from fpm.store.ledger.stores import Stores
from fpm.store.retrieval.dual_stream import OWN
from tests.consumers.small_nights import (
    ENCODED,
    HALTED,
    LATE,
    SESSIONS,
    SYMBOLS,
    THROUGH,
    VINTAGE,
    correct,
    save_encoder,
    silent,
)


def read_scores(stores: Stores, session: date) -> pl.DataFrame:
    return stores.read("scores", session)


def test_a_session_is_scored_in_every_stream(filled: tuple[Stores, list[date]]) -> None:
    """From training to published scores: symbols, rows and their known-at moment; nothing runs twice."""
    stores, days = filled
    last = days[SESSIONS - 1]
    with pytest.raises(TryLater):
        run_job(scores, last, stores)
    model = scorer.train(days[THROUGH], VINTAGE, stores, silent)
    assert run_job(scores, last, stores).status == "published"
    rows = read_scores(stores, last)

    assert rows["symbol"].n_unique() == SYMBOLS - 2, "the halted and the late symbol get no score"
    assert not {HALTED, LATE} & set(rows["symbol"])
    assert set(rows["stream"]) == set(STREAMS) and rows.height == 3 * (SYMBOLS - 2)
    assert set(rows["model"]) == {model} and set(rows["vintage"]) == {VINTAGE}
    assert set(rows["created_timestamp"]) == {cut_off(stores.market, last)}
    for (_,), stream in rows.group_by("stream"):
        assert stream["score"].is_finite().all() and (stream["spread"] >= 0).all() and (stream["spread"] > 0).any()
        assert stream["score"].mean() == pytest.approx(0, abs=1e-9), "a mean of z-scores"

    assert run_job(scores, last, stores).status == "unchanged"
    assert scorer.train(days[THROUGH], VINTAGE, stores, silent) == model
    assert len(stores.models.list("scorer")) == 1
    assert not list((stores.settings.models / ".training").iterdir()), "a finished training leaves no checkpoint"

    saved = stores.models.load("scorer", model)
    assert saved.born == cut_off(stores.market, days[THROUGH]) and saved.through == days[THROUGH]
    train, validation = saved.manifest["folds"]["train"], saved.manifest["folds"]["validation"]
    # tiny folds: labels known up to 25 - 6 = 19, two of them validate, purge 6 and embargo 1 before these
    assert train == [str(days[0]), str(days[10]), 11] and validation == [str(days[18]), str(days[19]), 2]
    assert len(saved.manifest["features"]["fingerprint"]) == 134
    assert set(saved.manifest["streams"]["dual"]["validation_loss"]) == {"42", "2024", "777"}


def test_sessions_in_sample_are_refused(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    with pytest.raises(LookAhead, match="FPM-WF-003"):
        scorer.train(days[ENCODED + 5], VINTAGE, stores, silent)
    model = scorer.train(days[THROUGH], VINTAGE, stores, silent)
    with pytest.raises(TryLater):  # the scorer was trained on labels that end at this session
        run_job(scores, days[THROUGH], stores)
    with pytest.raises(LookAhead, match="FPM-WF-003"):
        scores._require_unseen(stores.models.load("scorer", model), days[THROUGH], stores, OWN)
    save_encoder(stores, "vintage-late", days[SESSIONS - 5])
    late = stores.models.load("scorer", model)
    late.manifest["vintage"] = "vintage-late"
    with pytest.raises(LookAhead, match="FPM-WF-003"):
        scores._require_unseen(late, days[SESSIONS - 1], stores, OWN)


def test_later_labels_and_corrections_change_no_training(filled: tuple[Stores, list[date]]) -> None:
    """Knowledge from after the cut-off changes no bit of the model."""
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


def test_a_correction_taken_back_puts_the_first_model_in_force_again(filled: tuple[Stores, list[date]]) -> None:
    """Otherwise the scores would depend on the order of the trainings, and a rebuild would change them."""
    stores, days = filled
    serving = days[SESSIONS - 1]
    trained = [scorer.train(days[THROUGH], VINTAGE, stores, silent)]
    for later in (1, 2):
        correct(stores, days[10], cut_off(stores.market, days[10 + later]))
        trained.append(scorer.train(days[THROUGH], VINTAGE, stores, silent))
        assert stores.models.in_force("scorer", serving).id == trained[-1]
    assert trained[0] == trained[2] != trained[1]


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
        scores._require_fitting(model, stores, OWN)


def test_a_newer_scorer_of_other_features_leaves_the_old_one_scoring(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    old = stores.models.load("scorer", scorer.train(days[THROUGH], VINTAGE, stores, silent))
    other = {**old.manifest, "features": {**old.manifest["features"], "traditional": ["beauty"]}}
    files = {"weights.safetensors": old.files()["weights.safetensors"]}
    through = days[THROUGH + 1]
    newer = stores.models.save("scorer", "newer", files, other, cut_off(stores.market, through), through, "promoted")
    assert run_job(scores, days[SESSIONS - 1], stores).status == "published"
    assert set(read_scores(stores, days[SESSIONS - 1])["model"]) == {old.id}
    with pytest.raises(ModelRefused, match=r"FPM-ML-340 .*scorer newer .*missing here beauty"):
        scores._require_fitting(newer, stores, OWN)


def test_without_labels_the_scorer_in_force_stays(filled: tuple[Stores, list[date]]) -> None:
    stores, days = filled
    model = scorer.train(days[THROUGH], VINTAGE, stores, silent)
    blank_labels(stores, days[:THROUGH])
    with pytest.raises(ModelRefused, match="FPM-ML-332"):
        scorer.train(days[THROUGH], VINTAGE, stores, silent)
    save_encoder(stores.for_vintage(VINTAGE), "vintage-empty", days[0])
    with pytest.raises(UsageError, match="FPM-WF-002"):
        scorer.train(days[THROUGH], "vintage-empty", stores, silent)
    assert stores.models.in_force("scorer", days[SESSIONS - 1]).id == model


def blank_labels(stores: Stores, sessions: Sequence[date]) -> None:
    for session in sessions:
        labels = stores.read("labels", session).with_columns(label=pl.lit(float("nan")))
        publish_frames("labels", session, {"labels": labels.drop("session")}, stores)


def test_a_renamed_company_is_scored_by_its_history_under_its_former_name(filled: tuple[Stores, list[date]]) -> None:
    """The table says that HALTED became LATE at the last session; what was learnt before it stays as it was."""
    stores, days = filled
    last, config = days[SESSIONS - 1], PRESETS["tiny"]
    learnt = scorer.training_inputs(days[THROUGH], VINTAGE, stores).digest
    rows = [(HALTED, days[0], days[SESSIONS - 2], "x"), (LATE, last, None, "x")]
    table = pl.DataFrame(rows, schema=["symbol", "first", "last", "identity"], orient="row")
    publish_frames("symbols", days[0], {"symbols": table}, stores)
    window = scores.look_back_panel(last, VINTAGE, config, stores)
    column = window.symbols.index(LATE)
    assert HALTED not in window.symbols and window.known_TS[:, column].all()
    for t, session in enumerate(window.sessions):
        stored = stores.read("fingerprints", session, columns=["symbol", "fingerprint"], vintage=VINTAGE)
        own = stored.filter(pl.col("symbol") == (LATE if session == last else HALTED))["fingerprint"][0]
        assert window.fingerprint_TSD[t, column].tolist() == own.to_list()
    assert scorer.training_inputs(days[THROUGH], VINTAGE, stores).digest == learnt
    scorer.train(days[THROUGH], VINTAGE, stores, silent)
    run_job(scores, last, stores)
    assert LATE in read_scores(stores, last)["symbol"].to_list()
