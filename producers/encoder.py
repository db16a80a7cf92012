"""Training of the encoder: one vintage, with what was known at the cut-off of the last session it may see."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from hashlib import sha256
from typing import Any

import numpy as np

from fpm.errors import ModelRefused, TryLater
from fpm.minute_features import Profile, from_frame
from fpm.nn import encoder, pretraining
from fpm.nn.batches import Split, SymbolSessions, split
from fpm.nn.checkpoint import to_bytes
from fpm.nn.encoder import EncoderConfig
from fpm.nn.fit import Watch
from fpm.nn.pretraining import Pretrained, PretrainingConfig
from fpm.progress import Progress
from fpm.sessions import cut_off
from fpm.store.log import log
from fpm.store.stores import Stores

NAME = "encoder"


@dataclass(frozen=True)
class Lesson:
    """Everything the weights depend on."""

    rows: SymbolSessions
    split: Split
    profile: Profile
    shape: EncoderConfig
    config: PretrainingConfig

    @property
    def digest(self) -> str:
        """Names the training: the same lesson resumes the same checkpoint and is never learnt twice."""
        settled = (self.profile.hash, asdict(self.shape), asdict(self.config), self.split)
        digest = sha256(repr(settled).encode())
        digest.update(repr((self.rows.symbols, self.rows.sessions)).encode())
        digest.update(np.ascontiguousarray(self.rows.x_NTF).data)
        return digest.hexdigest()


def train(through: date, stores: Stores, progress: Progress) -> str:
    """Train, judge and save the vintage that has seen the sessions up to `through`; its id.

    A killed training resumes where its last epoch ended; a lesson learnt before is not learnt again.
    Raises TryLater where there are too few sessions of features, ModelRefused where the encoder collapsed: it is
    saved as refused, and the vintage in force stays.
    """
    lesson = _lesson(through, stores, progress)
    digest = lesson.digest
    for model in stores.models.list("encoder"):
        if model.manifest.get("inputs") == digest:
            stores.models.renew(model)
            return _accepted(model.id, model.manifest["refused_because"])
    checkpoint = stores.settings.models / ".training" / digest[:16]
    pretrained = pretraining.pretrain(
        lesson.rows, lesson.split, (lesson.profile.name, lesson.shape, lesson.config), Watch(progress, checkpoint)
    )
    weights = to_bytes(pretrained.encoder.state_dict())
    vintage = f"{lesson.profile.hash[:6]}-{through:%Y%m%d}-{sha256(weights).hexdigest()[:8]}"
    stores.models.save(
        NAME, vintage, {"weights.safetensors": weights}, _manifest(lesson, digest, pretrained),
        cut_off(stores.market, through), through, "refused" if pretrained.refused_because else "promoted",
    )  # fmt: skip
    shutil.rmtree(checkpoint, ignore_errors=True)
    log.info("encoder trained", vintage=vintage, refused_because=pretrained.refused_because, **pretrained.figures)
    return _accepted(vintage, pretrained.refused_because)


def _lesson(through: date, stores: Stores, progress: Progress) -> Lesson:
    preset, profile = stores.settings.preset, stores.profile
    config = pretraining.PRESETS[preset]
    config = replace(config, fit=replace(config.fit, seed=config.fit.seed + stores.settings.seed))
    known = stores.as_of(cut_off(stores.market, through))
    sessions = [session for session in known.sessions("minute_features") if session <= through]
    chosen = split(sessions[-config.sessions :], config.validation_sessions, config.purge)
    shape = replace(encoder.PRESETS[preset], slots=stores.market.view_size(profile.view))
    rows = _rows((*chosen.train, *chosen.validation), known, progress)
    return Lesson(rows, chosen, profile, shape, config)


def _rows(sessions: Sequence[date], known: Stores, progress: Progress) -> SymbolSessions:
    """All symbol-sessions of these sessions, in half precision."""
    blocks: list[np.ndarray] = []
    names: list[tuple[str, date]] = []
    for done, session in enumerate(sessions, 1):
        symbols, x_STF = from_frame(known.read("minute_features", session), known.profile)
        blocks.append(x_STF.astype(np.float16))
        names += [(symbol, session) for symbol in symbols]
        progress(done, len(sessions), f"reading {session}")
    if not names:
        raise TryLater(
            "FPM-ML-076", f"no symbol has features from {sessions[0]} to {sessions[-1]}",
            "no encoder was trained", "ingest a longer history",
        )  # fmt: skip
    filled = [block for block in blocks if len(block)]
    return SymbolSessions(np.concatenate(filled), tuple(name for name, _ in names), tuple(day for _, day in names))


def _manifest(lesson: Lesson, digest: str, pretrained: Pretrained) -> dict[str, Any]:
    return {
        "inputs": digest,
        "profile": lesson.profile.name,
        "profile_hash": lesson.profile.hash,
        "encoder": asdict(lesson.shape),
        "pretraining": asdict(lesson.config),
        "rows": len(lesson.rows),
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
