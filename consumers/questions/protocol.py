"""`fpm evaluate protocol`: the dual stream beside every peer of docs/protocol.md, on the same folds and labels.

Each peer learns from the training sessions of a scorer as known at its cut-off, has its setting chosen by its
validation sessions, and scores the sessions that the scorer served as known on each night. The best peer is the one
with the highest RankIC over the validation sessions of all folds: the sessions of the figures choose nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from consumers import scores
from consumers.questions import judgement, peers, provenance
from consumers.questions.peer_inputs import PeerPanels, peer_panels
from consumers.questions.report import line
from fpm.cross_section import rank_correlation, uniform_rank
from fpm.evaluation import comparison, group_books
from fpm.evaluation import evaluate as evaluation
from fpm.evaluation.peers import TrainingSessions, boosted_trees, library, target
from fpm.nn.checkpoint import from_bytes
from fpm.nn.fit import Watch
from fpm.nn.scorer import minute_gru, streams
from fpm.nn.scorer.panel import LabelledSession, SessionBatches, labelled_sessions, scorable, window
from fpm.report.data import plain
from fpm.schema import STREAMS
from fpm.sessions import cut_off

if TYPE_CHECKING:
    from datetime import date

    from fpm.cross_section import Array
    from fpm.evaluation.costs import Costs
    from fpm.evaluation.figures import Comparison
    from fpm.nn.scorer.panel import Indices
    from fpm.progress import Progress
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

Score = Callable[[PeerPanels, "date", "Indices"], "Array"]  # session, columns of its symbols -> score_B
PRIMARY = "dual"
LINEAR, TREES, WIDE, BARS, REVERSAL, BLEND = PEERS = (
    "ridge",
    "LightGBM",
    "LightGBM, Alpha158 and statistics",
    "GRU on the bars",
    "reversal of five sessions",
    "equal blend",
)
CAPACITY = 0.05  # of a name's amount of the day


@dataclass(frozen=True)
class Fold:
    """One scorer, the sessions it served, its peers by name, their settings, and every model's validation RankIC.

    `validation`: RankIC by session of validation, for each peer and each of the scorer's own streams.
    """

    base: peers.Fold
    scores: dict[str, Score]
    settings: dict[str, float]
    validation: dict[str, list[float]]


def evaluate(stores: Stores, progress: Progress) -> dict[str, Any]:
    """RankIC of every stream and peer, paired differences of the dual stream, books after costs, settings and folds.

    Raises UsageError without LightGBM, TryLater where nothing was scored, ModelRefused where the store now gives other
    training data than a scorer's.
    """
    library()
    evidence, config = judgement.read_evidence(stores), judgement.evaluation_config(stores.settings)
    folds, scored = peer_scores(evidence.scores.filter(pl.col("stream").is_in(STREAMS)), stores, progress)
    models = {name: evidence.stream(name) for name in STREAMS}
    models |= {name: scored.filter(pl.col("model") == name) for name in PEERS}
    validation = {name: _mean([value for fold in folds for value in fold.validation[name]]) for name in models}
    best = max(PEERS, key=lambda name: validation[name])
    figures = {name: evaluation.evaluate(own, evidence.labels, config) for name, own in models.items()}
    rank_ic = [
        {"model": name, **_named(line(name, own)), "sessions": own.labelled_sessions, "validation": validation[name]}
        for name, own in figures.items()
    ]
    others = [name for name in models if name != PRIMARY]
    paired = {name: comparison.compare(models[PRIMARY], models[name], evidence.labels, config) for name in others}
    books = [
        _book(name, book, config.horizon)
        for name, own in models.items()
        for book in group_books.books(own, evidence.labels, evidence.daily, config)
    ]
    return {
        "horizon": config.horizon,
        "best_peer": best,
        "rank_ic": rank_ic,
        "paired": [_difference(name, value) for name, value in paired.items()],
        "books": books,
        "settings": [{"scorer": fold.base.model.id, **fold.settings} for fold in folds],
        "folds": [peers.row(fold.base) for fold in folds],
        "tried": [plain(asdict(trial)) for trial in provenance.tried_settings(stores)],
    }


def peer_scores(stored: pl.DataFrame, stores: Stores, progress: Progress) -> tuple[list[Fold], pl.DataFrame]:
    """Train the peers of every scorer in `stored` (session, model, ...) and score the sessions it served.

    Returns the folds, and rows of session, symbol, model, score.
    """
    return peers.learnt_and_scored(stored, learn, score, stores, progress)


def learn(model: Model, served: tuple[date, ...], stores: Stores) -> Fold:
    """Train the peers of one scorer. Raises ModelRefused where the store now gives other training data than its own."""
    base = peers.learn(model, served, stores, (PRIMARY,))
    lesson, view = base.lesson, base.view
    knowledge = stores.as_of(cut_off(stores.market, model.through)).named_apart(model.through)
    panels = peer_panels(lesson.panel, knowledge)
    train, validation = (
        labelled_sessions(lesson.panel, lesson.labels, sessions, view)
        for sessions in (lesson.split.train, lesson.split.validation)
    )

    def wide_inputs(panels: PeerPanels, session: date, columns_B: Indices) -> Array:
        return peers.model_inputs(panels.wide, session, columns_B, view, "traditional")

    def own_inputs(panels: PeerPanels, session: date, columns_B: Indices) -> Array:
        return peers.model_inputs(panels.own, session, columns_B, view, PRIMARY)

    def lessons(part: tuple[LabelledSession, ...]) -> list[tuple[Array, Array]]:
        return [(wide_inputs(panels, each.session, each.columns_B)[each.rows], _target(each)) for each in part]

    trees = boosted_trees(TrainingSessions(lessons(train), lessons(validation)))
    network, result = minute_gru.train(
        SessionBatches(panels.bars, view, train, validation, lesson.config.batch),
        len(stores.profile.features),
        minute_gru.PRESETS[stores.settings.preset],
        Watch(),
    )
    linear, own_trees = base.peers[PRIMARY, "linear"], base.peers[PRIMARY, "LightGBM"]
    single: dict[str, Score] = {
        LINEAR: lambda panels, session, columns_B: linear.score(own_inputs(panels, session, columns_B)),
        TREES: lambda panels, session, columns_B: own_trees.score(own_inputs(panels, session, columns_B)),
        WIDE: lambda panels, session, columns_B: trees.score(wide_inputs(panels, session, columns_B)),
        BARS: lambda panels, session, columns_B: minute_gru.score(
            network, window(panels.bars, session, columns_B, view)
        ),
        REVERSAL: lambda panels, session, columns_B: panels.reversal_TS[panels.own.position[session], columns_B],
    }
    every = single | {BLEND: lambda *place: blend([each(*place) for each in single.values()])}
    settings = {LINEAR: linear.setting, TREES: own_trees.setting, WIDE: trees.setting, BARS: float(result.best_epoch)}
    own = {name: _rank_ics(each, panels, validation) for name, each in every.items()}
    own |= _stream_rank_ics(stores.models.load("scorer", model.id), panels, validation)
    return Fold(base, every, settings, own)


def score(fold: Fold, session: date, stores: Stores) -> pl.DataFrame:
    """The scores of every peer of a fold as known to the stores: session, symbol, model, score."""
    base = fold.base
    panel = scores.look_back_panel(session, base.lesson.panel.vintage, base.lesson.config, stores)
    panels = peer_panels(panel, stores.named(session))
    columns_B = scorable(panel, session, base.view)
    symbols = [panel.symbols[s] for s in columns_B]
    return pl.concat(
        pl.DataFrame({"symbol": symbols, "score": each(panels, session, columns_B)}).select(
            pl.lit(session).alias("session"), "symbol", model=pl.lit(name), score="score"
        )
        for name, each in fold.scores.items()
    )


def blend(scores: list[Array]) -> Array:
    """Mean of the ranks of several scores of the same symbols (B,); a score that is missing does not count.

    >>> blend([np.array([3.0, 1.0, 2.0]), np.array([30.0, 20.0, np.nan])]).round(3).tolist()
    [0.792, 0.208, 0.5]
    """
    rank_MB = np.array([uniform_rank(score_B) for score_B in scores])
    finite_MB = np.isfinite(rank_MB)
    count_B = finite_MB.sum(axis=0)
    total_B = np.where(finite_MB, rank_MB, 0.0).sum(axis=0)
    return np.where(count_B > 0, total_B / np.maximum(count_B, 1), np.nan)


# --- validation -----------------------------------------------------------------------------------------------------


def _rank_ics(own: Score, panels: PeerPanels, validation: tuple[LabelledSession, ...]) -> list[float]:
    return [
        rank_correlation(own(panels, each.session, each.columns_B)[each.rows], _target(each)) for each in validation
    ]


def _stream_rank_ics(
    model: Model, panels: PeerPanels, validation: tuple[LabelledSession, ...]
) -> dict[str, list[float]]:
    """RankIC of the scorer's own streams on its validation sessions."""
    trained = streams.restore(model.manifest["config"], from_bytes(model.files()["weights.safetensors"]))
    rank_ics: dict[str, list[float]] = {name: [] for name in STREAMS}
    for each in validation:
        scored, _ = streams.scores(trained, panels.own, each.session)
        symbols = [panels.own.symbols[s] for s in each.columns_B]
        for name in STREAMS:
            own = dict(scored.filter(pl.col("stream") == name).select("symbol", "score").iter_rows())
            score_B = np.array([own[symbol] for symbol in symbols])
            rank_ics[name].append(rank_correlation(score_B[each.rows], _target(each)))
    return rank_ics


def _target(labelled: LabelledSession) -> Array:
    return target(labelled.label_B.numpy().astype(np.float64)[labelled.rows])


def _mean(rank_ics: list[float]) -> float:
    """Mean of RankIC by session; one without a ranking counts as 0, so that a constant never wins."""
    return float(np.mean(np.nan_to_num(rank_ics))) if rank_ics else 0.0


# --- rows of the answer -----------------------------------------------------------------------------------------------


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "stream"}


def _difference(name: str, value: Comparison) -> dict[str, Any]:
    """Dual stream less a model: mean, interval, error and periods, of which the pooled difference is made."""
    interval = value.newey_west
    return {
        "less": name,
        "difference": value.difference,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "error": interval and interval.error,
        "periods": value.independent_periods,
        "sessions": value.sessions,
    }


def _book(name: str, book: group_books.Book, horizon: int) -> dict[str, Any]:
    """A book after costs: means over its rebalances, and the money it holds at a share of a day's amount."""
    own: Costs | None = book.costs
    row = {"model": name, "book": book.name, "rebalances": book.rebalances, "sessions_held": horizon}
    if own is None:
        return row
    nets = {f"net_{net.basis_points}": net.weekly for net in own.net}
    capacity = next((each.median for each in own.capacity if each.participation == CAPACITY), None)
    return row | {"traded": own.traded, "gross": own.weekly, **nets, "break_even": own.break_even, "capacity": capacity}
