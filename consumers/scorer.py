"""Training of the scorer: all streams and seeds, on one encoder vintage and what was known at one session's cut-off.

Equal inputs give the same model: a finished training is not repeated, and a killed one resumes from its checkpoint.
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
from fpm.nn.scorer.network import ScorerConfig, scorer_config
from fpm.nn.scorer.panel import Panel, panel
from fpm.schema import SCORER_DAILY
from fpm.sessions import cut_off, next_sessions, sessions_between
from fpm.store.jobs.code_identity import code_digest
from fpm.store.ledger.models import canonical_json
from fpm.store.log import log
from fpm.store.retrieval.dual_stream import OWN, Representation, dual_stream

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import polars as pl

    from fpm.progress import Progress
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores
    from fpm.walk_forward import FoldConfig, Split


@dataclass(frozen=True)
class ScorerInputs:
    """Everything that a scorer depends on."""

    panel: Panel
    labels: pl.DataFrame
    split: Split
    rules: FoldConfig
    config: ScorerConfig
    profile: str
    horizon: int

    @property
    def digest(self) -> str:
        """Name of the training: equal inputs and equal code give the same digest."""
        settings = {"config": asdict(self.config), "profile": self.profile, "code": code_digest(__file__)}
        digest, panel = sha256(canonical_json(settings)), self.panel
        digest.update(repr((self.split, panel.sessions, panel.symbols, panel.vintage)).encode())
        for array in (panel.fingerprint_TSD.numpy(), panel.factor_TSF.numpy(), panel.daily_TSC, panel.known_TS):
            digest.update(array.data)
        digest.update(self.labels.sort("session", "symbol").write_csv().encode())
        return digest.hexdigest()


def train(through: date, vintage: str, stores: Stores, progress: Progress, source: Representation = OWN) -> str:
    """Train, save and promote the scorer of `vintage` as of the cut-off of `through`; returns its id.

    Raises LookAhead where `vintage` was trained on sessions to be scored, UsageError for too short a history, and
    ModelRefused where nothing can be trained; the scorer in force then stays.
    """
    _require_unseen(vintage, through, stores, source)
    inputs = training_inputs(through, vintage, stores, source)
    digest = inputs.digest
    if (model := _trained(digest, stores, source)) is not None:
        stores.models.renew(model)
        return model.id
    checkpoint = _checkpoint(digest, stores)
    watch = Watch(progress, checkpoint)
    compute = compute_on(stores.settings.device, stores.settings.precision)
    trained, results = streams.train(inputs.panel, inputs.labels, inputs.split, inputs.config, watch, compute)
    weights = trained.to_bytes()
    content = sha256(weights + digest.encode()).hexdigest()  # equal weights from other code make another model
    model_id = f"{vintage}-{through:%Y%m%d}-{content[:8]}"
    figures = streams.manifest(trained, results)
    figures |= {"compute": {"device": compute.device, "precision": compute.precision}}
    stores.models.save(
        source.scorer,
        model_id,
        {"weights.safetensors": weights},
        {**figures, **inputs_manifest(inputs), "inputs": digest, "environment": environment_fingerprint()},
        cut_off(stores.market, through),
        through,
        "promoted",
    )
    shutil.rmtree(checkpoint, ignore_errors=True)
    log.info("scorer trained", model=model_id, streams=figures["streams"])
    return model_id


def prepare(through: date, vintage: str, stream: str, stores: Stores, progress: Progress) -> None:
    """Train one stream of a scorer of our fingerprints to its last epoch; from its checkpoint `train` goes on.

    For processes beside it: the streams of a scorer depend on the same inputs, and none on another.
    """
    inputs = training_inputs(through, vintage, stores)
    digest = inputs.digest
    if _trained(digest, stores, OWN) is None:
        watch = Watch(progress, _checkpoint(digest, stores))
        compute = compute_on(stores.settings.device, stores.settings.precision)
        streams.train_alone(stream, inputs.panel, inputs.labels, inputs.split, inputs.config, watch, compute)


def _trained(digest: str, stores: Stores, source: Representation) -> Model | None:
    """The scorer that was trained on these inputs."""
    models = stores.models.list(source.scorer)
    own = (model for model in models if model.manifest.get("inputs") == digest and model.status == "promoted")
    return next(own, None)


def _checkpoint(digest: str, stores: Stores) -> Path:
    return stores.settings.models / ".training" / digest[:16]


def _require_unseen(vintage: str, through: date, stores: Stores, source: Representation) -> None:
    """Raise LookAhead unless the first session that the scorer may serve is out of sample for the encoder."""
    encoder = stores.models.load(source.encoder, vintage)
    first = next_sessions(stores.market, through, 1)[0]
    purge = purge_of(source, stores)
    between = sessions_between(stores.market, min(encoder.through, first), first)
    walk_forward.require_out_of_sample(between, encoder.through, first, purge)


def purge_of(source: Representation, stores: Stores) -> int:
    """Sessions between the last that an encoder has seen and the first that its vectors may be scored in.

    Whoever brings vectors says the last session of which their encoder has seen anything, labels included.
    """
    return stores.settings.folds.purge if source == OWN else 0


def training_inputs(through: date, vintage: str, stores: Stores, source: Representation = OWN) -> ScorerInputs:
    """The inputs of a scorer of `vintage` as known at the cut-off of `through`.

    Of a vintage from outside only sessions after its birth count: how far an encoder knows those that it has seen by
    heart, nobody here can tell. Raises UsageError for too short a history.
    """
    at_cut_off = stores.as_of(cut_off(stores.market, through)).named_apart(through)
    config = scorer_config(stores.settings.preset, stores.settings.model_choices.scorer)
    config = replace(
        config,
        seeds=tuple(seed + stores.settings.seed for seed in config.seeds),
        factors=factor_columns(stores.settings.factors) or config.factors,
    )
    encoded = at_cut_off.sessions(source.table, vintage)
    if source != OWN:
        born = stores.models.record(source.encoder, vintage).through
        encoded = [session for session in encoded if session > born]
    rules = stores.settings.folds
    split = walk_forward.split(encoded, through, rules)
    first = encoded[max(0, encoded.index(split.train[0]) - config.look_back + 1)]
    last = split.validation[-1]
    frame = dual_stream(at_cut_off, first, last, vintage, source)
    labels = at_cut_off.read("labels", split.train[0], last, columns=["symbol", "label"])
    scorer_panel = panel(frame, sessions_between(stores.market, first, last), config.factors)
    horizon = stores.settings.model_choices.horizon
    return ScorerInputs(
        scorer_panel, labels, split, rules, config, stores.profile.hash if source == OWN else "", horizon
    )


def inputs_manifest(inputs: ScorerInputs) -> dict[str, Any]:
    """The inputs' part of a manifest.

    The normalisation stands with the weights, as `statistics/mean` and `statistics/scale`.
    """
    length = inputs.panel.fingerprint_TSD.shape[-1]
    return {
        "vintage": inputs.panel.vintage,
        "profile": inputs.profile,
        "features": {
            "fingerprint": [*(f"fingerprint_{d}" for d in range(length)), *SCORER_DAILY],
            "traditional": list(inputs.config.factors),
        },
        "rules": asdict(inputs.rules),
        "label": {"horizon": inputs.horizon},
        "folds": {
            name: [str(sessions[0]), str(sessions[-1]), len(sessions)]
            for name, sessions in (("train", inputs.split.train), ("validation", inputs.split.validation))
        },
    }
