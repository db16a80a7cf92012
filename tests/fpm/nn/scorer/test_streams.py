"""The three streams together: what they find of a known answer, what they refuse, that they come back as saved."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

from fpm.errors import LookAhead, ModelRefused, TryLater
from fpm.nn.checkpoint import from_bytes
from fpm.nn.compute import compute_on
from fpm.nn.fit import FitConfig, FitResult, Watch
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import ScorerConfig
from fpm.nn.scorer.panel import Panel, panel, scorable, window
from fpm.nn.scorer.streams import Streams, scores, train
from fpm.schema import STREAMS
from fpm.walk_forward import FoldConfig, Split, split
from tests.fpm.nn.scorer.small_panel import Generated, generated

FOLDS = FoldConfig(least=10, validation=8, embargo=0)
CONFIG = ScorerConfig(
    look_back=4,
    hidden=8,
    layers=1,
    projection=8,
    dropout=0.1,
    seeds=(42, 2024),
    fit=FitConfig(epochs=12, rate=1e-2, patience=5, warm_up_epochs=1),
)


@cache
def made() -> Generated:
    """Strong: the driver of the label is half of a day's return."""
    return generated(sessions=80, symbols=40, strength=0.5, seed=2)


@cache
def whole() -> Panel:
    return panel(made().frame, made().sessions)


def parts() -> Split:
    return split(made().sessions, made().sessions[55], FOLDS)


@cache
def trained() -> tuple[Streams, dict[str, FitResult]]:
    return train(whole(), made().labels, parts(), CONFIG, Watch())


def rank_ic(found: Streams, stream: str, labels: pl.DataFrame) -> float:
    """Mean Spearman correlation, by scipy, over the sessions after those the scorer may know."""
    values = []
    for session in made().sessions[56:74]:
        scored = scores(found, whole(), session)[0].filter(pl.col("stream") == stream)
        both = scored.join(labels.filter(pl.col("session") == session), on="symbol", how="inner")
        values.append(stats.spearmanr(both["score"], both["label"])[0])
    return float(np.mean(values))


def oracle_rank_ic(stream: str) -> float:
    """What the drivers themselves reach on the same sessions."""
    values = []
    for t in range(56, 74):
        labels = made().labels.filter(pl.col("session") == made().sessions[t]).sort("symbol")
        values.append(stats.spearmanr(made().oracles[stream][t], labels["label"])[0])
    return float(np.mean(values))


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_finds_most_of_a_known_answer(stream: str) -> None:
    assert oracle_rank_ic(stream) > 0.25
    assert rank_ic(trained()[0], stream, made().labels) > 0.6 * oracle_rank_ic(stream)


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "bfloat16"),
        *(
            pytest.param("cuda", each, marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))
            for each in ("float32", "bfloat16")
        ),
    ],
)
def test_elsewhere_or_with_half_the_digits_a_stream_finds_as_much(device: str, precision: str) -> None:
    found, _ = train(whole(), made().labels, parts(), CONFIG, Watch(), compute_on(device, precision))
    assert {parameter.device.type for scorer in found.scorers.values() for parameter in scorer.parameters()} == {"cpu"}
    for stream in STREAMS:
        single = rank_ic(trained()[0], stream, made().labels)
        assert rank_ic(found, stream, made().labels) == pytest.approx(single, abs=0.04), stream


def test_shuffled_labels_teach_nothing() -> None:
    """Labels dealt out anew within each session: out of sample the mean RankIC lies in its null band.

    40 symbols, 18 sessions of slow scores (about 2 independent ones): 3 x 1 / sqrt(39 x 2) = 0.34 would be the band of
    one pair; labels shuffled out of sample as well are independent between sessions: 3 / sqrt(39 x 18) = 0.113.
    """
    rng = np.random.default_rng(1)
    shuffled = pl.concat(
        one.with_columns(pl.Series("label", rng.permutation(one["label"].to_numpy())))
        for one in made().labels.partition_by("session")
    )
    found, _ = train(whole(), shuffled, parts(), CONFIG, Watch())
    for stream in STREAMS:
        assert abs(rank_ic(found, stream, shuffled)) < 0.113


def test_scores_are_means_over_seeds_and_spread_is_their_deviation() -> None:
    found, _ = trained()
    session = made().sessions[60]
    scored, short = scores(found, whole(), session)
    assert short == [] and scored.height == 3 * 40
    columns_B = scorable(whole(), session, found.view)
    batch = window(whole(), session, columns_B, found.view)
    raw_KB = streams.outputs(found.scorers["dual"], batch).double().numpy()
    z_KB = stats.zscore(raw_KB, axis=1)
    dual = scored.filter(pl.col("stream") == "dual")
    np.testing.assert_allclose(dual["score"], (z_KB[0] + z_KB[1]) / 2, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dual["spread"], np.abs(z_KB[0] - z_KB[1]) / 2, rtol=1e-9, atol=1e-12)


def test_parts_of_the_batch_size_give_the_same_scores() -> None:
    found, _ = trained()
    session = made().sessions[60]
    small = Streams(replace(CONFIG, batch=7), found.statistics, found.scorers)
    batch = window(whole(), session, scorable(whole(), session, found.view), found.view)
    one = streams.outputs(found.scorers["dual"], batch)
    small.scorers["dual"].config = small.config
    other = streams.outputs(small.scorers["dual"], batch)
    small.scorers["dual"].config = CONFIG
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_score_does_not_see_the_future() -> None:
    """Everything after a session, gone or distorted, changes no bit of its scores."""
    found, _ = trained()
    session = made().sessions[60]
    expected, _ = scores(found, whole(), session)
    cut = made().frame.filter(pl.col("session") <= session)
    later = made().frame.filter(pl.col("session") > session).with_columns(pl.selectors.float() * 3)
    for changed in (cut, pl.concat([cut, later])):
        assert scores(found, panel(changed, made().sessions), session)[0].equals(expected)


def test_a_planted_future_is_found_by_the_same_check() -> None:
    """Factors that hold tomorrow's return: then what comes after the session does change its scores."""
    found, _ = trained()
    session = made().sessions[60]

    def planted(frame: pl.DataFrame) -> Panel:
        tomorrow = (pl.col("close").shift(-1).over("symbol", order_by="session") / pl.col("close")).fill_null(1.0)
        return panel(frame.with_columns(tomorrow.alias("return_1")), made().sessions)

    cut = made().frame.filter(pl.col("session") <= session)
    assert not scores(found, planted(cut), session)[0].equals(scores(found, planted(made().frame), session)[0])


def test_rotating_a_vintage_changes_its_scores() -> None:
    """Vectors of two trainings live in two spaces: the same numbers turned mean something else to the scorer."""
    found, _ = trained()
    session = made().sessions[60]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(128, 128)))[0]
    vectors = np.stack(made().frame["fingerprint"].to_list()) @ rotation
    turned = made().frame.with_columns(pl.Series("fingerprint", list(vectors.astype(np.float32))))
    before, after = (scores(found, of, session)[0] for of in (whole(), panel(turned, made().sessions)))
    stream = pl.col("stream") == "fingerprint"
    assert abs(stats.spearmanr(before.filter(stream)["score"], after.filter(stream)["score"])[0]) < 0.8


def test_a_saved_scorer_gives_the_same_scores() -> None:
    found, results = trained()
    config = json.loads(json.dumps(streams.manifest(found, results)["config"]))
    stored = found.to_bytes()
    again = streams.restore(config, from_bytes(stored))
    assert again.config == CONFIG and again.to_bytes() == stored
    for session in made().sessions[58:60]:
        assert scores(again, whole(), session)[0].equals(scores(found, whole(), session)[0])


def test_the_manifest_names_every_seed() -> None:
    found, results = trained()
    said = streams.manifest(found, results)
    assert said["config"] == asdict(CONFIG) and said["seeds"] == [42, 2024]
    for stream in STREAMS:
        assert set(said["streams"][stream]["validation_loss"]) == {"42", "2024"}
        assert said["streams"][stream]["epochs"] == len(results[stream].history)


def test_short_symbols_are_reported_not_scored() -> None:
    found, _ = trained()
    session, name = made().sessions[60], made().symbols[5]
    late = made().frame.filter((pl.col("symbol") != name) | (pl.col("session") == session))
    scored, short = scores(found, panel(late, made().sessions), session)
    assert short == [name] and name not in set(scored["symbol"])


def test_one_symbol_cannot_be_ranked() -> None:
    found, _ = trained()
    only = made().frame.filter(pl.col("symbol") == made().symbols[0])
    with pytest.raises(TryLater, match="FPM-ML-335"):
        scores(found, panel(only, made().sessions), made().sessions[60])


def test_two_symbols_can() -> None:
    found, _ = trained()
    two = made().frame.filter(pl.col("symbol").is_in(made().symbols[:2]))
    scored, _ = scores(found, panel(two, made().sessions), made().sessions[60])
    assert set(scored.filter(pl.col("stream") == "dual")["score"].abs().round(9)) <= {0.0, 1.0}


def test_nothing_to_learn_from_is_refused() -> None:
    known = parts()
    without_train = made().labels.filter(pl.col("session") > known.train[-1])
    without_validation = made().labels.filter(pl.col("session") <= known.train[-1])
    for labels, code in ((without_train, "FPM-ML-332"), (without_validation, "FPM-ML-333")):
        with pytest.raises(ModelRefused, match=code):
            train(whole(), labels, known, CONFIG, Watch())
    with pytest.raises(ModelRefused, match="FPM-ML-333"):
        train(whole(), made().labels, Split(known.train, ()), CONFIG, Watch())


def test_a_loss_that_explodes_is_refused() -> None:
    """A factor that is not finite: the training stops and says so."""
    broken = panel(made().frame, made().sessions)
    broken.factor_TSF[30, 3, 5] = float("inf")
    with pytest.raises(ModelRefused, match="FPM-ML-3"):
        train(broken, made().labels, parts(), CONFIG, Watch())


def test_two_vintages_in_a_window_are_refused() -> None:
    mixed = made().frame.with_columns(
        pl.when(pl.col("session") < made().sessions[58]).then(pl.lit("v0")).otherwise("vintage").alias("vintage")
    )
    with pytest.raises(LookAhead, match="FPM-ML-331"):
        panel(mixed, made().sessions)
