"""Stacking: shares by hand, noise against simulated noise, and a dual stream that a stream of noise does not cost."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from scipy import stats

from fpm.nn.checkpoint import from_bytes
from fpm.nn.fit import FitConfig, Watch
from fpm.nn.scorer import streams
from fpm.nn.scorer.fusion import DOUBT, mix
from fpm.nn.scorer.network import ScorerConfig
from fpm.nn.scorer.panel import Panel, panel
from fpm.nn.scorer.streams import Streams, scores, train
from fpm.walk_forward import FoldConfig, Split, split
from tests.fpm.nn.scorer.small_panel import SmallPanel, small_panel

CONFIG = ScorerConfig(
    look_back=4,
    hidden=8,
    layers=1,
    projection=8,
    dropout=0.1,
    seeds=(42, 2024),
    fusion="stack",
    fit=FitConfig(epochs=12, rate=1e-2, patience=5, warm_up_epochs=1),
)
NOISE, SIGNAL = 0.0, 0.4
CASES = {"fingerprint": (SIGNAL, NOISE), "traditional": (NOISE, SIGNAL), "both": (SIGNAL, SIGNAL)}


@cache
def case(name: str) -> tuple[SmallPanel, Panel, Split]:
    fingerprint, factor = CASES[name]
    small = small_panel(sessions=100, symbols=60, strength=fingerprint, factor_strength=factor, seed=5)
    parts = split(small.sessions, small.sessions[65], FoldConfig(least=10, validation=15, embargo=0))
    return small, panel(small.frame, small.sessions), parts


@cache
def trained(name: str) -> Streams:
    small, whole, parts = case(name)
    return train(whole, small.labels, parts, CONFIG, Watch())[0]


@cache
def rank_ics(name: str) -> dict[str, float]:
    """Mean Spearman correlation by scipy over the sessions after those that the scorer knows."""
    small, whole, _ = case(name)
    values: dict[str, list[float]] = {}
    for session in small.sessions[66:94]:
        labels = small.labels.filter(pl.col("session") == session)
        both = scores(trained(name), whole, session)[0].join(labels, on="symbol")
        for (stream,), rows in both.partition_by("stream", as_dict=True).items():
            values.setdefault(str(stream), []).append(stats.spearmanr(rows["score"], rows["label"])[0])
    return {stream: float(np.mean(each)) for stream, each in values.items()}


@pytest.mark.parametrize("signal", ["fingerprint", "traditional"])
def test_a_stream_of_noise_costs_the_dual_stream_less_than_a_hundredth(signal: str) -> None:
    measured = rank_ics(signal)
    assert measured[signal] > 0.2
    assert measured["dual"] > measured[signal] - 0.01


def test_two_streams_that_know_something_are_better_together() -> None:
    measured = rank_ics("both")
    assert min(measured["fingerprint"], measured["traditional"]) > 0.15
    assert measured["dual"] > max(measured["fingerprint"], measured["traditional"]) + 0.02


def test_the_same_training_gives_the_same_shares_and_bytes() -> None:
    small, whole, parts = case("both")
    again, results = train(whole, small.labels, parts, CONFIG, Watch())
    assert again.mix == trained("both").mix and again.to_bytes() == trained("both").to_bytes()
    assert set(results) == {"fingerprint", "traditional"}, "the dual stream has no training of its own"


def test_the_shares_follow_from_the_validation_sessions_alone() -> None:
    """Other labels after the validation change neither a share nor a weight."""
    small, whole, parts = case("both")
    later = pl.when(pl.col("session") > parts.validation[-1]).then(-pl.col("label")).otherwise(pl.col("label"))
    other, _ = train(whole, small.labels.with_columns(later.alias("label")), parts, CONFIG, Watch())
    assert other.to_bytes() == trained("both").to_bytes()


def test_a_stored_stack_gives_the_same_scores_and_its_manifest_names_the_shares() -> None:
    small, whole, parts = case("both")
    scorer, results = train(whole, small.labels, parts, CONFIG, Watch())
    manifest = json.loads(json.dumps(streams.manifest(scorer, results)))
    assert manifest["mix"]["streams"] == ["fingerprint", "traditional"]
    assert sum(manifest["mix"]["share"]) == pytest.approx(1.0)
    again = streams.restore(manifest["config"], from_bytes(scorer.to_bytes()))
    session = small.sessions[70]
    assert scores(again, whole, session)[0].equals(scores(scorer, whole, session)[0])


def test_a_dual_score_is_the_mix_of_its_streams_at_one_scale() -> None:
    """With one seed, scores of unit variance and the mean scales of the validation, the mix is nearly linear."""
    small, whole, parts = case("both")
    scorer, _ = train(whole, small.labels, parts, replace(CONFIG, seeds=(42,)), Watch())
    assert scorer.mix is not None
    scored = scores(scorer, whole, small.sessions[70])[0].pivot(on="stream", index="symbol", values="score")
    mixed = scored["fingerprint"] * scorer.mix.share[0] + scored["traditional"] * scorer.mix.share[1]
    assert np.corrcoef(mixed, scored["dual"])[0, 1] > 0.99


def correlated(rng: np.random.Generator, label_TS: np.ndarray, correlation: float) -> np.ndarray:
    return correlation * label_TS + np.sqrt(1 - correlation**2) * rng.normal(size=label_TS.shape)


def test_shares_of_two_independent_scores_are_those_of_their_correlations() -> None:
    """40,000 symbol-sessions leave no doubt: 0.4 and 0.2 without anything in common are worth 2 to 1."""
    rng = np.random.default_rng(1)
    parts_NTS = rng.normal(size=(2, 40, 1_000))
    label_TS = 0.4 * parts_NTS[0] + 0.2 * parts_NTS[1] + np.sqrt(0.8) * rng.normal(size=(40, 1_000))
    own = mix(list(parts_NTS), label_TS)
    assert own.share == pytest.approx((2 / 3, 1 / 3), abs=0.02)
    expected = [stats.spearmanr(score_TS[0], label_TS[0])[0] for score_TS in parts_NTS]
    assert own.rank_ic == pytest.approx(expected, abs=0.08)
    assert own.noise == pytest.approx([1 / np.sqrt(39_960)] * 2, rel=0.2)


def test_a_score_that_repeats_the_other_gets_nothing_for_it() -> None:
    rng = np.random.default_rng(2)
    label_TS = rng.normal(size=(40, 500))
    good_TS = correlated(rng, label_TS, 0.5)
    copy_TS = good_TS + rng.normal(size=good_TS.shape)
    assert mix([good_TS, copy_TS], label_TS).share[0] > 0.97


def test_of_two_scores_of_noise_the_better_is_taken_alone() -> None:
    rng = np.random.default_rng(3)
    own = mix(list(rng.normal(size=(2, 10, 40))), rng.normal(size=(10, 40)))
    assert max(own.rank_ic) < DOUBT * max(own.noise)
    assert own.share == ((1.0, 0.0) if own.rank_ic[0] > own.rank_ic[1] else (0.0, 1.0))


def test_the_noise_is_that_of_slow_scores_without_knowledge_of_overlapping_labels() -> None:
    """Slow scores against five-session sums: the deviation of their mean RankIC in 300 draws."""
    rng = np.random.default_rng(4)
    measured, stated = [], []
    for _ in range(300):
        score_TS, returns_TS = rng.normal(size=(20, 60)), rng.normal(size=(24, 60))
        for t in range(1, 20):
            score_TS[t] = 0.8 * score_TS[t - 1] + 0.6 * score_TS[t]
        label_TS = sum(returns_TS[lag : lag + 20] for lag in range(5))
        own = mix([score_TS, score_TS], np.asarray(label_TS))
        measured.append(own.rank_ic[0])
        stated.append(own.noise[0])
    assert np.median(stated) == pytest.approx(np.std(measured), rel=0.15)


def test_a_session_without_some_symbols_counts_with_the_others() -> None:
    rng = np.random.default_rng(5)
    label_TS = rng.normal(size=(30, 80))
    score_TS = correlated(rng, label_TS, 0.5)
    label_TS[::3, :40] = np.nan
    own = mix([score_TS, rng.normal(size=label_TS.shape)], label_TS)
    assert own.share == (1.0, 0.0) and own.rank_ic[0] == pytest.approx(0.48, abs=0.05)
