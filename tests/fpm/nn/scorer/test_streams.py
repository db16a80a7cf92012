"""The three streams together: the share of a known answer that they find, their refusals, storage without loss."""

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
from tests.fpm.nn.scorer.small_panel import SmallPanel, small_panel

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
def small() -> SmallPanel:
    """A strong panel: the driver of the label is half of a day's return."""
    return small_panel(sessions=80, symbols=40, strength=0.5, seed=2)


@cache
def whole() -> Panel:
    return panel(small().frame, small().sessions)


def parts() -> Split:
    return split(small().sessions, small().sessions[55], FOLDS)


@cache
def trained() -> tuple[Streams, dict[str, FitResult]]:
    return train(whole(), small().labels, parts(), CONFIG, Watch())


def rank_ic(scorer: Streams, stream: str, labels: pl.DataFrame) -> float:
    """Mean Spearman correlation by scipy over the sessions after those that the scorer may know."""
    values = []
    for session in small().sessions[56:74]:
        scored = scores(scorer, whole(), session)[0].filter(pl.col("stream") == stream)
        both = scored.join(labels.filter(pl.col("session") == session), on="symbol", how="inner")
        values.append(stats.spearmanr(both["score"], both["label"])[0])
    return float(np.mean(values))


def likeness(scorer: Streams, other: Streams, stream: str) -> float:
    """Mean rank correlation of two scorers' scores over the same sessions."""
    values = []
    for session in small().sessions[56:74]:
        own, others = (
            scores(each, whole(), session)[0].filter(pl.col("stream") == stream).sort("symbol")["score"]
            for each in (scorer, other)
        )
        values.append(stats.spearmanr(own, others)[0])
    return float(np.mean(values))


def oracle_rank_ic(stream: str) -> float:
    """The RankIC of the drivers themselves on the same sessions."""
    values = []
    for t in range(56, 74):
        labels = small().labels.filter(pl.col("session") == small().sessions[t]).sort("symbol")
        values.append(stats.spearmanr(small().oracles[stream][t], labels["label"])[0])
    return float(np.mean(values))


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_finds_most_of_a_known_answer(stream: str) -> None:
    assert oracle_rank_ic(stream) > 0.25
    assert rank_ic(trained()[0], stream, small().labels) > 0.6 * oracle_rank_ic(stream)


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "bfloat16"),
        *(
            pytest.param("cuda", kind, marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))
            for kind in ("float32", "bfloat16")
        ),
    ],
)
def test_on_a_gpu_or_in_bfloat16_a_stream_finds_as_much(device: str, precision: str) -> None:
    """Of eight seeds: the last bits are each processor's own, and two seeds then differ by more than precision does."""
    config = replace(CONFIG, seeds=tuple(range(42, 50)))
    single, _ = train(whole(), small().labels, parts(), config, Watch())
    scorer, _ = train(whole(), small().labels, parts(), config, Watch(), compute_on(device, precision))
    assert {parameter.device.type for network in scorer.scorers.values() for parameter in network.parameters()} == {
        "cpu"
    }
    for stream in STREAMS:
        expected = rank_ic(single, stream, small().labels)
        assert rank_ic(scorer, stream, small().labels) == pytest.approx(expected, abs=0.04), stream
        assert likeness(scorer, single, stream) > 0.95, stream


def test_no_score_predicts_shuffled_labels() -> None:
    """With labels shuffled within each session, the mean RankIC out of sample lies in its null band.

    40 symbols and 18 sessions: labels shuffled out of sample too are independent between sessions, so three standard
    errors are 3 / sqrt(39 x 18) = 0.113. Slow labels would count as about 2 sessions: 3 / sqrt(39 x 2) = 0.34.
    """
    rng = np.random.default_rng(1)
    shuffled = pl.concat(
        one.with_columns(pl.Series("label", rng.permutation(one["label"].to_numpy())))
        for one in small().labels.partition_by("session")
    )
    scorer, _ = train(whole(), shuffled, parts(), CONFIG, Watch())
    for stream in STREAMS:
        assert abs(rank_ic(scorer, stream, shuffled)) < 0.113


def test_scores_are_means_over_seeds_and_spread_is_their_deviation() -> None:
    scorer, _ = trained()
    session = small().sessions[60]
    scored, short = scores(scorer, whole(), session)
    assert short == [] and scored.height == 3 * 40
    columns_B = scorable(whole(), session, scorer.view)
    batch = window(whole(), session, columns_B, scorer.view)
    raw_KB = streams.outputs(scorer.scorers["dual"], batch).double().numpy()
    z_KB = stats.zscore(raw_KB, axis=1)
    dual = scored.filter(pl.col("stream") == "dual")
    np.testing.assert_allclose(dual["score"], (z_KB[0] + z_KB[1]) / 2, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dual["spread"], np.abs(z_KB[0] - z_KB[1]) / 2, rtol=1e-9, atol=1e-12)


def test_parts_of_the_batch_size_give_the_same_scores() -> None:
    scorer, _ = trained()
    session = small().sessions[60]
    in_parts = Streams(replace(CONFIG, batch=7), scorer.statistics, scorer.scorers)
    batch = window(whole(), session, scorable(whole(), session, scorer.view), scorer.view)
    one = streams.outputs(scorer.scorers["dual"], batch)
    in_parts.scorers["dual"].config = in_parts.config
    other = streams.outputs(in_parts.scorers["dual"], batch)
    in_parts.scorers["dual"].config = CONFIG
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_threads_change_no_bit() -> None:
    scorer, _ = trained()
    in_parts = Streams(replace(CONFIG, batch=7), scorer.statistics, scorer.scorers)
    for own in in_parts.scorers.values():
        own.config = in_parts.config
    one, two = (scores(in_parts, whole(), small().sessions[60], threads)[0] for threads in (1, 2))
    for own in in_parts.scorers.values():
        own.config = CONFIG
    assert one.equals(two)


def test_a_score_does_not_see_the_future() -> None:
    """Removing or distorting everything after a session changes no bit of its scores."""
    scorer, _ = trained()
    session = small().sessions[60]
    expected, _ = scores(scorer, whole(), session)
    cut = small().frame.filter(pl.col("session") <= session)
    later = small().frame.filter(pl.col("session") > session).with_columns(pl.selectors.float() * 3)
    for changed in (cut, pl.concat([cut, later])):
        assert scores(scorer, panel(changed, small().sessions), session)[0].equals(expected)


def test_the_same_check_finds_a_planted_future() -> None:
    """With tomorrow's return among the factors, the sessions after it do change a session's scores."""
    scorer, _ = trained()
    session = small().sessions[60]

    def planted(frame: pl.DataFrame) -> Panel:
        tomorrow = (pl.col("close").shift(-1).over("symbol", order_by="session") / pl.col("close")).fill_null(1.0)
        return panel(frame.with_columns(tomorrow.alias("return_1")), small().sessions)

    cut = small().frame.filter(pl.col("session") <= session)
    assert not scores(scorer, planted(cut), session)[0].equals(scores(scorer, planted(small().frame), session)[0])


def test_rotating_a_vintage_changes_its_scores() -> None:
    """Vectors of two trainings live in two spaces: rotated vectors mean something else to the scorer."""
    scorer, _ = trained()
    session = small().sessions[60]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(128, 128)))[0]
    vectors = np.stack(small().frame["fingerprint"].to_list()) @ rotation
    rotated = small().frame.with_columns(pl.Series("fingerprint", list(vectors.astype(np.float32))))
    before, after = (scores(scorer, each, session)[0] for each in (whole(), panel(rotated, small().sessions)))
    stream = pl.col("stream") == "fingerprint"
    assert abs(stats.spearmanr(before.filter(stream)["score"], after.filter(stream)["score"])[0]) < 0.8


def test_a_saved_scorer_gives_the_same_scores() -> None:
    scorer, results = trained()
    config = json.loads(json.dumps(streams.manifest(scorer, results)["config"]))
    stored = scorer.to_bytes()
    again = streams.restore(config, from_bytes(stored))
    assert again.config == CONFIG and again.to_bytes() == stored
    for session in small().sessions[58:60]:
        assert scores(again, whole(), session)[0].equals(scores(scorer, whole(), session)[0])


def test_the_manifest_names_every_seed() -> None:
    scorer, results = trained()
    manifest = streams.manifest(scorer, results)
    assert manifest["config"] == asdict(CONFIG) and manifest["seeds"] == [42, 2024]
    for stream in STREAMS:
        assert set(manifest["streams"][stream]["validation_loss"]) == {"42", "2024"}
        assert manifest["streams"][stream]["epochs"] == len(results[stream].history)


def test_short_symbols_are_reported_not_scored() -> None:
    scorer, _ = trained()
    session, name = small().sessions[60], small().symbols[5]
    late = small().frame.filter((pl.col("symbol") != name) | (pl.col("session") == session))
    scored, short = scores(scorer, panel(late, small().sessions), session)
    assert short == [name] and name not in set(scored["symbol"])


def test_one_symbol_cannot_be_ranked() -> None:
    scorer, _ = trained()
    only = small().frame.filter(pl.col("symbol") == small().symbols[0])
    with pytest.raises(TryLater, match="FPM-ML-335"):
        scores(scorer, panel(only, small().sessions), small().sessions[60])


def test_two_symbols_can() -> None:
    scorer, _ = trained()
    two = small().frame.filter(pl.col("symbol").is_in(small().symbols[:2]))
    scored, _ = scores(scorer, panel(two, small().sessions), small().sessions[60])
    assert set(scored.filter(pl.col("stream") == "dual")["score"].abs().round(9)) <= {0.0, 1.0}


def test_a_training_without_labels_is_refused() -> None:
    folds = parts()
    without_train = small().labels.filter(pl.col("session") > folds.train[-1])
    without_validation = small().labels.filter(pl.col("session") <= folds.train[-1])
    for labels, code in ((without_train, "FPM-ML-332"), (without_validation, "FPM-ML-333")):
        with pytest.raises(ModelRefused, match=code):
            train(whole(), labels, folds, CONFIG, Watch())
    with pytest.raises(ModelRefused, match="FPM-ML-333"):
        train(whole(), small().labels, Split(folds.train, ()), CONFIG, Watch())


def test_a_loss_that_explodes_is_refused() -> None:
    """A factor that is not finite stops the training with an error."""
    broken = panel(small().frame, small().sessions)
    broken.factor_TSF[30, 3, 5] = float("inf")
    with pytest.raises(ModelRefused, match="FPM-ML-3"):
        train(broken, small().labels, parts(), CONFIG, Watch())


def test_two_vintages_in_a_window_are_refused() -> None:
    mixed = small().frame.with_columns(
        pl.when(pl.col("session") < small().sessions[58]).then(pl.lit("v0")).otherwise("vintage").alias("vintage")
    )
    with pytest.raises(LookAhead, match="FPM-ML-331"):
        panel(mixed, small().sessions)
