"""Job: the scores of a session in every stream, by the scorer in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from consumers.scorer import purge_of
from fpm import walk_forward
from fpm.errors import ModelRefused
from fpm.feature_schema import require_same
from fpm.nn.checkpoint import from_bytes
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import ScorerConfig, scorer_config
from fpm.nn.scorer.panel import Panel, panel
from fpm.sessions import previous_sessions, sessions_between
from fpm.store.jobs.inputs import Window
from fpm.store.log import log
from fpm.store.retrieval.dual_stream import OWN, Representation, dual_stream, representation

if TYPE_CHECKING:
    from datetime import date

    from fpm.nn.scorer.streams import Streams
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores
    from fpm.store.settings import Settings


def _before(settings: Settings) -> int:
    return scorer_config(settings.preset, settings.model_choices.scorer).look_back - 1


NAME = "scores"
MODELS = ("scorer",)
READS = {
    "fingerprints": Window(back=_before),
    "daily_bars": Window(back=_before),
    "daily_factors": Window(back=_before),
}
WRITES = (NAME,)


def run(session: date, stores: Stores) -> None:
    """Write the scores of `session` by the scorer in force; raises the errors of `scores`."""
    stores.write(NAME, session, scores(stores.model("scorer", session), session, stores))


def scores(model: Model, session: date, stores: Stores) -> pl.DataFrame:
    """The table's rows for `session` by one scorer, from what the stores know.

    Symbols with too short a look-back get no score; the log counts them.
    Raises LookAhead where scorer or encoder were trained on the session, ModelRefused for a scorer of another profile
    or look-back, TryLater where fewer than two symbols can be scored.
    """
    source = representation(model.kind)
    trained = trained_streams(model, session, stores, source)
    window = look_back_panel(session, model.manifest["vintage"], trained.config, stores, source)
    scored, short = streams.scores(trained, window, session, stores.settings.workers)
    log.info("scored", scorer=model.id, symbols=scored["symbol"].n_unique(), short_of_look_back=len(short))
    return scored.with_columns(vintage=pl.lit(model.manifest["vintage"]), model=pl.lit(model.id))


def trained_streams(model: Model, session: date, stores: Stores, source: Representation = OWN) -> Streams:
    """The networks of a scorer that may score `session`.

    Raises LookAhead where scorer or encoder were trained on it, ModelRefused for a scorer of another profile or
    look-back.
    """
    _require_unseen(model, session, stores, source)
    _require_fitting(model, stores, source)
    return streams.restore(model.manifest["config"], from_bytes((model.path / "weights.safetensors").read_bytes()))


def look_back_panel(
    session: date, vintage: str, config: ScorerConfig, stores: Stores, source: Representation = OWN
) -> Panel:
    """The panel that a scorer of `vintage` needs to score `session`: its look-back, from what the stores know."""
    sessions = [*previous_sessions(stores.market, session, config.look_back - 1), session]
    return panel(dual_stream(stores.named(session), sessions[0], session, vintage, source), sessions, config.factors)


def _require_unseen(model: Model, session: date, stores: Stores, source: Representation) -> None:
    encoder = stores.models.record(source.encoder, model.manifest["vintage"])
    purge = purge_of(source, stores)
    for trained, gap in ((encoder, purge), (model, 0)):
        between = sessions_between(stores.market, min(trained.through, session), session)
        walk_forward.require_out_of_sample(between, trained.through, session, gap)


def _require_fitting(model: Model, stores: Stores, source: Representation) -> None:
    profile = stores.profile if source == OWN else None
    require_same(model.kind, model.id, model.manifest, profile.name if profile else None, "no score was written")
    config = scorer_config(stores.settings.preset, stores.settings.model_choices.scorer)
    in_force = {"profile": profile.hash if profile else "", "look_back": config.look_back}
    trained = {"profile": model.manifest["profile"], "look_back": model.manifest["config"]["look_back"]}
    if trained != in_force:
        raise ModelRefused(
            code="FPM-ML-337",
            wrong=f"scorer {model.id} was trained for {trained}, in force is {in_force}",
            effect="no score was written",
            todo="train a scorer under the profile, preset and model file in force: fpm train scorer --through SESSION",
        )
