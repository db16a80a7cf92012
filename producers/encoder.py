"""Training of the encoder: one vintage, with what was known at the cut-off of the last session it may see."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any

import numpy as np

from fpm.errors import ModelRefused, TryLater
from fpm.minute_features import Profile, from_frame
from fpm.nn import distributed, encoder, pretraining
from fpm.nn.batches import Split, split
from fpm.nn.checkpoint import to_bytes
from fpm.nn.compute import Compute, compute
from fpm.nn.encoder import EncoderConfig
from fpm.nn.fit import Watch
from fpm.nn.history import History, Read, Rows, survey
from fpm.nn.pretraining import Pretrained, PretrainingConfig
from fpm.progress import Progress
from fpm.sessions import cut_off
from fpm.store.log import log
from fpm.store.models import Model
from fpm.store.stores import Stores

NAME = "encoder"
GIGABYTE = 10**9


@dataclass(frozen=True)
class Lesson:
    """Everything the weights depend on."""

    history: History
    split: Split
    profile: Profile
    shape: EncoderConfig
    config: PretrainingConfig

    @property
    def digest(self) -> str:
        """Names the training: the same lesson resumes the same checkpoint and is never learnt twice, wherever."""
        settled = (self.profile.hash, asdict(self.shape), asdict(self.config), self.split)
        return sha256(repr((settled, self.history.digest)).encode()).hexdigest()


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
    lesson = _lesson(through, stores, progress)
    digest = lesson.digest
    learnt = distributed.from_first(lambda: _learnt(digest, stores))
    if learnt is not None:
        return learnt
    checkpoint = stores.settings.models / ".training" / digest[:16]
    of = (lesson.profile.name, lesson.shape, lesson.config)
    pretrained = pretraining.pretrain(lesson.history, lesson.split, of, Watch(progress, checkpoint), on)
    manifest = _manifest(lesson, digest, pretrained) | {"compute": {"device": on.device, "precision": on.precision}}
    saved = distributed.from_first(lambda: _saved(through, stores, pretrained, manifest))
    if distributed.rank() == 0:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return saved


def _learnt(digest: str, stores: Stores) -> tuple[str, str | None] | None:
    """The vintage of a lesson learnt before, put first again."""
    found: list[Model] = [each for each in stores.models.list(NAME) if each.manifest.get("inputs") == digest]
    if not found:
        return None
    stores.models.renew(found[0])
    return found[0].id, found[0].manifest["refused_because"]


def _saved(through: date, stores: Stores, pretrained: Pretrained, manifest: dict[str, Any]) -> tuple[str, str | None]:
    weights, refused_because = to_bytes(pretrained.encoder.state_dict()), pretrained.refused_because
    vintage = f"{manifest['profile_hash'][:6]}-{through:%Y%m%d}-{sha256(weights).hexdigest()[:8]}"
    stores.models.save(
        NAME, vintage, {"weights.safetensors": weights}, manifest, cut_off(stores.market, through), through,
        "refused" if refused_because else "promoted",
    )  # fmt: skip
    log.info("encoder trained", vintage=vintage, refused_because=refused_because, **pretrained.figures)
    return vintage, refused_because


def _lesson(through: date, stores: Stores, progress: Progress) -> Lesson:
    settings, profile = stores.settings, stores.profile
    config = pretraining.PRESETS[settings.preset]
    config = replace(config, fit=replace(config.fit, seed=config.fit.seed + settings.seed))
    known = stores.as_of(cut_off(stores.market, through))
    sessions = [session for session in known.sessions("minute_features") if session <= through]
    chosen = split(sessions[-config.sessions :], config.validation_sessions, config.purge)
    shape = replace(encoder.PRESETS[settings.preset], slots=stores.market.view_size(profile.view))
    budget = int(settings.training_memory * GIGABYTE) // distributed.processes()
    history = survey(_reader(known), pretraining.samples(chosen, config), budget, progress)
    if not history.rows(chosen.train):
        raise TryLater(
            "FPM-ML-076", f"no symbol has features from {chosen.train[0]} to {chosen.train[-1]}",
            "no encoder was trained", "ingest a longer history",
        )  # fmt: skip
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
        "FPM-ML-306", f"encoder {vintage} collapsed: {refused_because}",
        "it was saved as refused, the vintage in force stays", "look at its loss curves in the report, train on more",
    )  # fmt: skip
