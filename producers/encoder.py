"""Training of the encoder: one vintage, on what was known at the cut-off of the last session it may see."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.environment import environment_fingerprint
from fpm.errors import ModelRefused, TryLater
from fpm.features.minute_features import Profile, from_frame
from fpm.model_file import chosen
from fpm.nn import distributed
from fpm.nn.checkpoint import to_bytes
from fpm.nn.compute import Compute, compute_on
from fpm.nn.encoder import alignment, canaries, network, pretraining, vintage
from fpm.nn.encoder.batches import Split, split
from fpm.nn.encoder.history import History, Read, Rows, SymbolSessions, survey
from fpm.nn.encoder.pretraining import Recipe
from fpm.nn.fit import Watch, deterministic
from fpm.nn.machine import machine, versions
from fpm.sessions import cut_off
from fpm.store.jobs.code_identity import code_digest
from fpm.store.ledger.models import Model, canonical_json
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from pathlib import Path

    from fpm.nn.encoder.alignment import Rotation
    from fpm.nn.encoder.network import EncoderConfig
    from fpm.nn.encoder.pretraining import PretrainingConfig, PretrainingResult
    from fpm.nn.encoder.vintage import Vintage
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

NAME = "encoder"
GIGABYTE = 10**9
# The rotation onto the former vintage is fitted on `FITTED_ROWS` of the last `FITTED_SESSIONS` training sessions; its
# residual is measured on `TEST_ROWS` of the held-out sessions.
FITTED_SESSIONS, FITTED_ROWS, TEST_ROWS = 250, 4096, 2048


@dataclass(frozen=True)
class EncoderInputs:
    """Everything that a vintage depends on; `onto` is the vintage whose space its fingerprints are rotated into."""

    history: History
    split: Split
    profile: Profile
    shape: EncoderConfig
    config: PretrainingConfig
    onto: str | None = None

    @property
    def digest(self) -> str:
        """Name of the training: equal inputs resume the same checkpoint and train no second vintage, on any machine."""
        settings = (self.profile.hash, asdict(self.shape), asdict(self.config), self.split)
        onto = (self.onto,) if self.onto else ()
        return sha256(repr((settings, self.history.digest, *onto)).encode()).hexdigest()

    @property
    def recipe(self) -> Recipe:
        """What `pretrain` needs besides the sessions."""
        return Recipe(self.profile.name, self.shape, self.config)

    @property
    def held_out(self) -> tuple[date, ...]:
        """The validation sessions; the training sessions where those have no rows."""
        return self.split.validation if self.history.rows(self.split.validation) else self.split.train


def train(through: date, stores: Stores, progress: Progress) -> str:
    """Train, evaluate and save the vintage of the sessions up to `through`; returns its id.

    A killed training resumes after its last epoch, and equal inputs are not trained on twice. Started by `torchrun`,
    several processes share the work and the first one writes.
    Raises TryLater where there are too few sessions of features, or another process has ended; ModelRefused where the
    encoder collapsed: it is saved as refused, and the vintage in force stays.
    """
    settings = stores.settings
    compute = compute_on(settings.device, settings.precision, settings.compile)
    with distributed.process_group(compute.torch_device):
        return _accepted(*_vintage(through, stores, compute, progress if distributed.rank() == 0 else _silent))


def prepare(through: date, stores: Stores, progress: Progress) -> None:
    """Train to the last epoch and leave its checkpoint, from which `train` goes on: for processes beside it."""
    _, inputs = _former_and_inputs(through, stores, progress)
    if not _trained(inputs.digest, stores):
        settings = stores.settings
        compute = compute_on(settings.device, settings.precision, settings.compile)
        _pretrained(inputs, stores, compute, progress)


def _vintage(through: date, stores: Stores, compute: Compute, progress: Progress) -> tuple[str, str | None]:
    """Id of the vintage, and the reason for a refusal."""
    former, inputs = _former_and_inputs(through, stores, progress)
    digest = inputs.digest
    existing = distributed.from_first(lambda: _existing(digest, stores))
    if existing is not None:
        return existing
    result = _pretrained(inputs, stores, compute, progress)
    manifest = _manifest(inputs, digest, result)
    manifest |= {"compute": {"device": compute.device, "precision": compute.precision}}
    vintage_and_refusal = distributed.from_first(
        lambda: _save(through, stores, _content(inputs, result, former, manifest), manifest)
    )
    if distributed.rank() == 0:
        shutil.rmtree(_checkpoint(inputs, stores), ignore_errors=True)
    return vintage_and_refusal


def _former_and_inputs(through: date, stores: Stores, progress: Progress) -> tuple[FormerVintage | None, EncoderInputs]:
    """The vintage before, asked first (a failed alignment should not cost a training), and what the new one needs."""
    former = _former_vintage(through, stores)
    inputs = _inputs(through, stores, progress)
    return former, replace(inputs, onto=former.id if former and stores.settings.align else None)


def _pretrained(inputs: EncoderInputs, stores: Stores, compute: Compute, progress: Progress) -> PretrainingResult:
    watch = Watch(progress, _checkpoint(inputs, stores))
    return pretraining.pretrain(inputs.history, inputs.split, inputs.recipe, watch, compute)


def _checkpoint(inputs: EncoderInputs, stores: Stores) -> Path:
    """The folder of the training's checkpoint; no weight depends on the vintage before."""
    return stores.settings.models / ".training" / replace(inputs, onto=None).digest[:16]


@dataclass(frozen=True)
class FormerVintage:
    """The vintage before the one to be trained."""

    id: str
    vintage: Vintage


def _former_vintage(through: date, stores: Stores) -> FormerVintage | None:
    """The newest vintage of the profile that was born before the one to be trained.

    A vintage that this version's code cannot read does not count; where fingerprints must be rotated into its space,
    it raises ModelRefused. Raises StoreCorrupt where its files are damaged.
    """
    born, profile = cut_off(stores.market, through), stores.profile.hash
    older = [
        model
        for model in stores.models.list(NAME)
        if model.status == "promoted" and model.born < born and model.manifest.get("profile_hash") == profile
    ]
    if not older:
        return None
    model = stores.models.load(NAME, older[-1].id)
    try:
        return FormerVintage(model.id, vintage.load(model.manifest, model.files()))
    except ModelRefused as error:
        if stores.settings.align:
            raise
        log.warning("not aligned with the former vintage", former=model.id, why=str(error))
        return None


def _existing(digest: str, stores: Stores) -> tuple[str, str | None] | None:
    """The vintage that was trained on the same inputs, put in force again; None where there is none."""
    models = _trained(digest, stores)
    if not models:
        return None
    stores.models.renew(models[0])
    return models[0].id, models[0].manifest["refused_because"]


def _trained(digest: str, stores: Stores) -> list[Model]:
    """The vintages that were trained on these inputs."""
    return [model for model in stores.models.list(NAME) if model.manifest.get("inputs") == digest]


@dataclass(frozen=True)
class VintageContent:
    """What is stored of a training: files by name, their part of the manifest, the digest that names the vintage."""

    files: dict[str, bytes]
    manifest: dict[str, Any]
    digest: str


def _content(
    inputs: EncoderInputs, result: PretrainingResult, former: FormerVintage | None, manifest: Mapping[str, Any]
) -> VintageContent:
    """Weights, training data, the rotation onto the former vintage, and canaries."""
    weights = to_bytes(result.encoder.state_dict())
    files = {vintage.WEIGHTS: weights, "data.json": _data(inputs.history)}
    own = vintage.load(manifest, files)  # the weights as they will be read, never a compiled encoder
    rotation, figures = _alignment(own, former, inputs) if former and result.refused_because is None else (None, None)
    if rotation is not None:
        files[vintage.ROTATION] = vintage.rotation_bytes(rotation)
    applied = bool(figures and figures["applied"])
    served = replace(own, rotation=rotation if applied else None)
    stored, identities = canaries.take(inputs.history.sample(inputs.held_out, canaries.COUNT), served)
    files[canaries.FILE] = stored.to_bytes()
    digest = vintage.content_digest(weights, files[vintage.ROTATION] if applied else None)
    return VintageContent(files, {"alignment": figures, "canaries": identities}, digest)


def _data(history: History) -> bytes:
    """Every session of the training: number of symbols, and digest of their features as known then."""
    rows = {
        str(session): {"rows": summary.rows, "sha256": summary.digest} for session, summary in history.summaries.items()
    }
    return canonical_json(rows)


def _alignment(own: Vintage, former: FormerVintage, inputs: EncoderInputs) -> tuple[Rotation, dict[str, Any]]:
    """The rotation of the vintage's space onto the former one's, and its residuals in and out of sample."""
    sessions, old = inputs.split.train[-FITTED_SESSIONS:], former.vintage
    new_ND, old_ND = _embed_under_both(own, old, inputs.history.sample(sessions, FITTED_ROWS))
    test_ND, target_ND = _embed_under_both(own, old, inputs.history.sample(inputs.held_out, TEST_ROWS))
    rotation = alignment.rotation(new_ND, old_ND)
    return rotation, {
        "onto": former.id,
        "applied": inputs.onto is not None,
        "sessions": [str(sessions[0]), str(sessions[-1]), len(sessions)],
        "rows": len(new_ND),
        "judged": len(test_ND),
        "residual": alignment.residual(rotation(test_ND), target_ND),
        "residual_fitted": alignment.residual(rotation(new_ND), old_ND),
        "residual_unturned": alignment.residual(test_ND, target_ND),
    }


def _embed_under_both(new: Vintage, old: Vintage, rows: SymbolSessions) -> tuple[np.ndarray, np.ndarray]:
    """The rows' vectors under both vintages, without those that have no feature and so no vector."""
    with deterministic(0):
        new_ND, old_ND = new.embed(rows.features), old.embed(rows.features)
    embedded_N = np.isfinite(new_ND).all(axis=1)
    return new_ND[embedded_N], old_ND[embedded_N]


def _save(through: date, stores: Stores, content: VintageContent, manifest: dict[str, Any]) -> tuple[str, str | None]:
    refused_because = manifest["refused_because"]
    model_id = f"{manifest['profile_hash'][:6]}-{through:%Y%m%d}-{content.digest[:8]}"
    stores.models.save(
        NAME,
        model_id,
        content.files,
        {**manifest, **content.manifest},
        cut_off(stores.market, through),
        through,
        "refused" if refused_because else "promoted",
    )
    log.info(
        "encoder trained",
        vintage=model_id,
        refused_because=refused_because,
        alignment=content.manifest["alignment"],
        **manifest["figures"],
    )
    return model_id, refused_because


def _inputs(through: date, stores: Stores, progress: Progress) -> EncoderInputs:
    settings, profile = stores.settings, stores.profile
    choices = settings.model_choices
    config = chosen(pretraining.PRESETS[settings.preset], choices.encoder)
    config = replace(config, purge=max(config.purge, choices.reach))
    config = replace(config, fit=replace(config.fit, seed=config.fit.seed + settings.seed))
    at_cut_off = stores.as_of(cut_off(stores.market, through))
    sessions = [session for session in at_cut_off.sessions("minute_features") if session <= through]
    parts = split(sessions[-config.sessions :], config.validation_sessions, config.purge)
    slots = stores.market.view_size(profile.view)
    shape = chosen(network.PRESETS[settings.preset], choices.encoder)
    shape = network.config_for_grid(shape, slots, stores.market.bar_minutes)
    budget = int(settings.training_memory * GIGABYTE) // distributed.processes()
    history = survey(_reader(at_cut_off), pretraining.samples(parts, config), budget, progress)
    if not history.rows(parts.train):
        raise TryLater(
            code="FPM-ML-076",
            wrong=f"no symbol has features from {parts.train[0]} to {parts.train[-1]}",
            effect="no encoder was trained",
            todo="ingest a longer history",
        )
    return EncoderInputs(history, parts, profile, shape, config)


def _reader(at_cut_off: Stores) -> Read:
    """A reader of sessions in half precision, always as known at the cut-off: later corrections change nothing."""
    profile = at_cut_off.profile  # queries the database, so not in the thread that reads ahead

    def read(session: date) -> Rows:
        symbols, x_STF = from_frame(at_cut_off.read("minute_features", session), profile)
        return symbols, x_STF.astype(np.float16)

    return read


def _silent(done: int, total: int, item: object) -> None:
    """No progress: of several processes only the first shows it."""


def _manifest(inputs: EncoderInputs, digest: str, result: PretrainingResult) -> dict[str, Any]:
    return {
        "inputs": digest,
        "profile": inputs.profile.name,
        "profile_hash": inputs.profile.hash,
        "features": list(inputs.profile.features),
        "seed": inputs.config.fit.seed,
        "versions": versions() | {"code": code_digest(__file__)},
        "machine": machine(),
        "environment": environment_fingerprint(),
        "data": inputs.history.digest,
        "encoder": asdict(inputs.shape),
        "pretraining": asdict(inputs.config),
        "rows": inputs.history.rows([*inputs.split.train, *inputs.split.validation]),
        "folds": {
            name: [str(sessions[0]), str(sessions[-1]), len(sessions)]
            for name, sessions in (("train", inputs.split.train), ("validation", inputs.split.validation))
            if sessions
        },
        "history": list(result.history),
        "figures": result.figures,
        "untrained": result.untrained,
        "refused_because": result.refused_because,
    }


def _accepted(vintage: str, refused_because: str | None) -> str:
    if refused_because is None:
        return vintage
    raise ModelRefused(
        code="FPM-ML-306",
        wrong=f"encoder {vintage} collapsed: {refused_because}",
        effect="it was saved as refused; the vintage in force stays",
        todo="look at its loss curves in the report and train on more sessions",
    )
