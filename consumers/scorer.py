"""Training of the scorer: all streams and seeds, on one encoder vintage, with what was known at one session's cut-off.

The same inputs give the same model: a training that was done is not done again, one that was killed goes on from its
checkpoint.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from fpm import walk_forward
from fpm.environment import environment_fingerprint
from fpm.features.factor_columns import factor_columns
from fpm.nn.compute import compute_on
from fpm.nn.fit import Watch
from fpm.nn.scorer import streams
from fpm.nn.scorer.network import PRESETS, ScorerConfig
from fpm.nn.scorer.panel import Panel, panel
from fpm.schema import FINGERPRINT_SIZE, SCORER_DAILY
from fpm.sessions import cut_off, next_sessions, sessions_between
from fpm.store.jobs.code_identity import code_digest
from fpm.store.ledger.models import canonical_json
from fpm.store.log import log
from fpm.store.retrieval.dual_stream import dual_stream

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores
    from fpm.walk_forward import FoldConfig, Split


@dataclass(frozen=True)
class Lesson:
    """All a training depends on; `digest` names it."""

    panel: Panel
    labels: pl.DataFrame
    split: Split
    rules: FoldConfig
    config: ScorerConfig
    profile: str

    @property
    def digest(self) -> str:
        settings = {"config": asdict(self.config), "profile": self.profile, "code": code_digest(__file__)}
        digest, of = sha256(canonical_json(settings)), self.panel
        digest.update(repr((self.split, of.sessions, of.symbols, of.vintage)).encode())
        for array in (of.fingerprint_TSD.numpy(), of.factor_TSF.numpy(), of.daily_TSC, of.known_TS):
            digest.update(array.data)
        digest.update(self.labels.sort("session", "symbol").write_csv().encode())
        return digest.hexdigest()


def train(through: date, vintage: str, stores: Stores, progress: Progress) -> str:
    """Train, save and promote the scorer of `vintage` that knows what was known at the cut-off of `through`; its id.

    Raises LookAhead where `vintage` has seen the sessions to be scored, UsageError for too short a history,
    ModelRefused where nothing can be learnt; then the scorer in force stays.
    """
    _require_unseen(vintage, through, stores)
    learnt = lesson(through, vintage, stores)
    digest = learnt.digest
    for model in stores.models.list("scorer"):
        if model.manifest.get("inputs") == digest and model.status == "promoted":
            stores.models.renew(model)
            return model.id
    checkpoint = stores.settings.models / ".training" / digest[:16]
    watch = Watch(progress, checkpoint)
    on = compute_on(stores.settings.device, stores.settings.precision)
    trained, results = streams.train(learnt.panel, learnt.labels, learnt.split, learnt.config, watch, on)
    weights = trained.to_bytes()
    content = sha256(weights + digest.encode()).hexdigest()  # same weights from other code are another model
    model_id = f"{vintage}-{through:%Y%m%d}-{content[:8]}"
    figures = streams.manifest(trained, results) | {"compute": {"device": on.device, "precision": on.precision}}
    stores.models.save(
        "scorer",
        model_id,
        {"weights.safetensors": weights},
        {**figures, **told(learnt), "inputs": digest, "environment": environment_fingerprint()},
        cut_off(stores.market, through),
        through,
        "promoted",
    )
    shutil.rmtree(checkpoint, ignore_errors=True)
    log.info("scorer trained", model=model_id, streams=figures["streams"])
    return model_id


def _require_unseen(vintage: str, through: date, stores: Stores) -> None:
    """The first session that the scorer may serve must be out of sample for the encoder."""
    encoder = stores.models.load("encoder", vintage)
    first = next_sessions(stores.market, through, 1)[0]
    purge = stores.settings.folds.purge
    between = sessions_between(stores.market, min(encoder.through, first), first)
    walk_forward.require_out_of_sample(between, encoder.through, first, purge)


def lesson(through: date, vintage: str, stores: Stores) -> Lesson:
    """What a scorer of `vintage` learns from at the cut-off of `through`. Raises UsageError for too short a history."""
    known = stores.as_of(cut_off(stores.market, through))
    config = PRESETS[stores.settings.preset]
    config = replace(
        config,
        seeds=tuple(seed + stores.settings.seed for seed in config.seeds),
        factors=factor_columns(stores.settings.factors) or config.factors,
    )
    encoded = known.sessions("fingerprints", vintage)
    rules = stores.settings.folds
    split = walk_forward.split(encoded, through, rules)
    first = encoded[max(0, encoded.index(split.train[0]) - config.look_back + 1)]
    last = split.validation[-1]
    frame = dual_stream(known, first, last, vintage)
    labels = known.read("labels", split.train[0], last, columns=["symbol", "label"])
    of = panel(frame, sessions_between(stores.market, first, last), config.factors)
    return Lesson(of, labels, split, rules, config, stores.profile.hash)


def told(of: Lesson) -> dict[str, Any]:
    """What a manifest says of a lesson; the normalisation is in the weights, as `statistics/mean` and
    `statistics/scale`.
    """
    return {
        "vintage": of.panel.vintage,
        "profile": of.profile,
        "features": {
            "fingerprint": [*(f"fingerprint_{d}" for d in range(FINGERPRINT_SIZE)), *SCORER_DAILY],
            "traditional": list(of.config.factors),
        },
        "rules": asdict(of.rules),
        "folds": {
            name: [str(sessions[0]), str(sessions[-1]), len(sessions)]
            for name, sessions in (("train", of.split.train), ("validation", of.split.validation))
        },
    }
