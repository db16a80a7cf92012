"""Training of the encoder: one vintage, with what was known at the cut-off of the last session it may see."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.errors import ModelRefused, TryLater
from fpm.features.minute_features import Profile, from_frame
from fpm.nn import distributed
from fpm.nn.checkpoint import to_bytes
from fpm.nn.compute import Compute, compute
from fpm.nn.encoder import alignment, canaries, pretraining, vintage
from fpm.nn.encoder import network as encoder
from fpm.nn.encoder.batches import Split, split
from fpm.nn.encoder.history import History, Read, Rows, SymbolSessions, survey
from fpm.nn.fit import Watch, deterministic
from fpm.nn.machine import machine, versions
from fpm.sessions import cut_off
from fpm.store.jobs.inputs import code_digest
from fpm.store.ledger.models import Model, canonical_json
from fpm.store.log import log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fpm.nn.encoder.alignment import Rotation
    from fpm.nn.encoder.network import EncoderConfig
    from fpm.nn.encoder.pretraining import Pretrained, PretrainingConfig
    from fpm.nn.encoder.vintage import Vintage
    from fpm.progress import Progress
    from fpm.store.ledger.stores import Stores

NAME = "encoder"
GIGABYTE = 10**9
# What a rotation onto the former vintage is fitted on, spread over the last sessions that were trained on, and what its
# residual is told of, spread over those held out.
ALIGNED_SESSIONS, ALIGNED_ROWS, JUDGED_ROWS = 250, 4096, 2048


@dataclass(frozen=True)
class Lesson:
    """Everything the weights depend on."""

    history: History
    split: Split
    profile: Profile
    shape: EncoderConfig
    config: PretrainingConfig
    onto: str | None = None  # the vintage whose space the fingerprints are turned into

    @property
    def digest(self) -> str:
        """Names the training: the same lesson resumes the same checkpoint and is never learnt twice, wherever."""
        settled = (self.profile.hash, asdict(self.shape), asdict(self.config), self.split)
        turned = (self.onto,) if self.onto else ()
        return sha256(repr((settled, self.history.digest, *turned)).encode()).hexdigest()

    @property
    def held_out(self) -> tuple[date, ...]:
        """What the vintage has not learnt from; where there is none of it, what it has."""
        return self.split.validation if self.history.rows(self.split.validation) else self.split.train


def train(through: date, stores: Stores, progress: Progress) -> str:
    """Train, judge and save the vintage that has seen the sessions up to `through`; its id.

    A killed training resumes where its last epoch ended; a lesson learnt before is not learnt again. Started by
    `torchrun`, the processes share the work; the first one alone writes.
    Raises TryLater where there are too few sessions of features or another process has gone, ModelRefused where the
    encoder collapsed: it is saved as refused, and the vintage in force stays.
    """
    settings = stores.settings
    on = compute(settings.device, settings.precision, settings.compile)
    with distributed.joined(on.place):
        return _accepted(*_vintage(through, stores, on, progress if distributed.rank() == 0 else _silent))


def _vintage(through: date, stores: Stores, on: Compute, progress: Progress) -> tuple[str, str | None]:
    """Id of the vintage and why it is refused, if it is."""
    former = _former(through, stores)  # first: what cannot be aligned with should not cost a training
    lesson = _lesson(through, stores, progress)
    lesson = replace(lesson, onto=former.id if former and stores.settings.align else None)
    digest = lesson.digest
    learnt = distributed.from_first(lambda: _learnt(digest, stores))
    if learnt is not None:
        return learnt
    checkpoint = stores.settings.models / ".training" / digest[:16]
    of = (lesson.profile.name, lesson.shape, lesson.config)
    pretrained = pretraining.pretrain(lesson.history, lesson.split, of, Watch(progress, checkpoint), on)
    manifest = _manifest(lesson, digest, pretrained) | {"compute": {"device": on.device, "precision": on.precision}}
    saved = distributed.from_first(
        lambda: _saved(through, stores, _kept(lesson, pretrained, former, manifest), manifest)
    )
    if distributed.rank() == 0:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return saved


@dataclass(frozen=True)
class Former:
    """The vintage before the one to be trained."""

    id: str
    vintage: Vintage


def _former(through: date, stores: Stores) -> Former | None:
    """The newest vintage of the profile that was born before the one to be trained.

    One that this version's code cannot read is none. Raises ModelRefused for it where fingerprints are to be turned
    into its space, StoreCorrupt where its files are damaged.
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
        return Former(model.id, vintage.load(model.manifest, model.files()))
    except ModelRefused as refused:
        if stores.settings.align:
            raise
        log.warning("not aligned with the former vintage", former=model.id, why=str(refused))
        return None


def _learnt(digest: str, stores: Stores) -> tuple[str, str | None] | None:
    """The vintage of a lesson learnt before, put first again."""
    found: list[Model] = [each for each in stores.models.list(NAME) if each.manifest.get("inputs") == digest]
    if not found:
        return None
    stores.models.renew(found[0])
    return found[0].id, found[0].manifest["refused_because"]


@dataclass(frozen=True)
class Kept:
    """What is kept of a training: files by name, what the manifest says of them, the digest that names the vintage."""

    files: dict[str, bytes]
    manifest: dict[str, Any]
    content: str


def _kept(lesson: Lesson, pretrained: Pretrained, former: Former | None, manifest: Mapping[str, Any]) -> Kept:
    """Weights, the sessions learnt from, the rotation onto the former vintage, canaries."""
    weights = to_bytes(pretrained.encoder.state_dict())
    files = {vintage.WEIGHTS: weights, "data.json": _data(lesson.history)}
    own = vintage.load(manifest, files)  # the weights as they will be read, never a compiled encoder
    turned, told = _aligned(own, former, lesson) if former and pretrained.refused_because is None else (None, None)
    if turned is not None:
        files[vintage.ROTATION] = vintage.rotation_bytes(turned)
    applied = bool(told and told["applied"])
    served = replace(own, rotation=turned if applied else None)
    taken, named = canaries.take(lesson.history.few(lesson.held_out, canaries.COUNT), served)
    files[canaries.FILE] = taken.to_bytes()
    content = vintage.content(weights, files[vintage.ROTATION] if applied else None)
    return Kept(files, {"alignment": told, "canaries": named}, content)


def _data(history: History) -> bytes:
    """Every session that was learnt from: how many symbols, and the digest of their features as known then."""
    rows = {str(day): {"rows": each.rows, "sha256": each.digest} for day, each in history.surveyed.items()}
    return canonical_json(rows)


def _aligned(own: Vintage, former: Former, lesson: Lesson) -> tuple[Rotation, dict[str, Any]]:
    """The rotation of the vintage's space onto the former one's, and how well it does where it was not fitted."""
    sessions, old = lesson.split.train[-ALIGNED_SESSIONS:], former.vintage
    new_ND, old_ND = _both(own, old, lesson.history.few(sessions, ALIGNED_ROWS))
    judged_ND, target_ND = _both(own, old, lesson.history.few(lesson.held_out, JUDGED_ROWS))
    turned = alignment.rotation(new_ND, old_ND)
    return turned, {
        "onto": former.id,
        "applied": lesson.onto is not None,
        "sessions": [str(sessions[0]), str(sessions[-1]), len(sessions)],
        "rows": len(new_ND),
        "judged": len(judged_ND),
        "residual": alignment.residual(turned(judged_ND), target_ND),
        "residual_fitted": alignment.residual(turned(new_ND), old_ND),
        "residual_unturned": alignment.residual(judged_ND, target_ND),
    }


def _both(own: Vintage, old: Vintage, rows: SymbolSessions) -> tuple[np.ndarray, np.ndarray]:
    """The symbol-sessions under both vintages; one without any feature has no vector."""
    with deterministic(0):
        new_ND, old_ND = own.embed(rows.x_NTF), old.embed(rows.x_NTF)
    known_N = np.isfinite(new_ND).all(axis=1)
    return new_ND[known_N], old_ND[known_N]


def _saved(through: date, stores: Stores, kept: Kept, manifest: dict[str, Any]) -> tuple[str, str | None]:
    refused_because = manifest["refused_because"]
    model_id = f"{manifest['profile_hash'][:6]}-{through:%Y%m%d}-{kept.content[:8]}"
    stores.models.save(
        NAME,
        model_id,
        kept.files,
        {**manifest, **kept.manifest},
        cut_off(stores.market, through),
        through,
        "refused" if refused_because else "promoted",
    )
    log.info(
        "encoder trained",
        vintage=model_id,
        refused_because=refused_because,
        alignment=kept.manifest["alignment"],
        **manifest["figures"],
    )
    return model_id, refused_because


def _lesson(through: date, stores: Stores, progress: Progress) -> Lesson:
    settings, profile = stores.settings, stores.profile
    config = pretraining.PRESETS[settings.preset]
    config = replace(config, fit=replace(config.fit, seed=config.fit.seed + settings.seed))
    known = stores.as_of(cut_off(stores.market, through))
    sessions = [session for session in known.sessions("minute_features") if session <= through]
    chosen = split(sessions[-config.sessions :], config.validation_sessions, config.purge)
    slots = stores.market.view_size(profile.view)
    shape = encoder.fitted(encoder.PRESETS[settings.preset], slots, stores.market.bar_minutes)
    budget = int(settings.training_memory * GIGABYTE) // distributed.processes()
    history = survey(_reader(known), pretraining.samples(chosen, config), budget, progress)
    if not history.rows(chosen.train):
        raise TryLater(
            code="FPM-ML-076",
            wrong=f"no symbol has features from {chosen.train[0]} to {chosen.train[-1]}",
            effect="no encoder was trained",
            todo="ingest a longer history",
        )
    return Lesson(history, chosen, profile, shape, config)


def _reader(known: Stores) -> Read:
    """Reads a session in half precision, always as known at the cut-off, whatever corrections come meanwhile."""
    profile = known.profile  # asks the database: not from the thread that reads ahead

    def read(session: date) -> Rows:
        symbols, x_STF = from_frame(known.read("minute_features", session), profile)
        return symbols, x_STF.astype(np.float16)

    return read


def _silent(done: int, total: int, what: object) -> None:
    """Of several processes one shows the progress."""


def _manifest(lesson: Lesson, digest: str, pretrained: Pretrained) -> dict[str, Any]:
    return {
        "inputs": digest,
        "profile": lesson.profile.name,
        "profile_hash": lesson.profile.hash,
        "seed": lesson.config.fit.seed,
        "versions": versions() | {"code": code_digest(__file__)},
        "machine": machine(),
        "data": lesson.history.digest,
        "encoder": asdict(lesson.shape),
        "pretraining": asdict(lesson.config),
        "rows": lesson.history.rows([*lesson.split.train, *lesson.split.validation]),
        "folds": {
            name: [str(sessions[0]), str(sessions[-1]), len(sessions)]
            for name, sessions in (("train", lesson.split.train), ("validation", lesson.split.validation))
            if sessions
        },
        "history": list(pretrained.history),
        "figures": pretrained.figures,
        "untrained": pretrained.untrained,
        "refused_because": pretrained.refused_because,
    }


def _accepted(vintage: str, refused_because: str | None) -> str:
    if refused_because is None:
        return vintage
    raise ModelRefused(
        code="FPM-ML-306",
        wrong=f"encoder {vintage} collapsed: {refused_because}",
        effect="it was saved as refused, the vintage in force stays",
        todo="look at its loss curves in the report, train on more",
    )
