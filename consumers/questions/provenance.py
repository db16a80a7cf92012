"""What the figures of a report rest on: sessions in the lake, quarantined rows, models, settings tried."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.errors import StoreCorrupt
from fpm.looks import read_looks
from fpm.report.data import Coverage, Encoder, Fold, Quarantined, SessionRange, Trial
from fpm.schema import HORIZON, TABLES
from fpm.store.jobs.inputs import digest
from fpm.store.lake.quarantine import kept_refusal, kept_rows

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.store.ledger.stores import Stores


def folds(scores: pl.DataFrame, manifests: Mapping[str, Mapping[str, Any]]) -> list[Fold]:
    """The sessions that each vintage and scorer served together, with those the scorer was trained on."""
    served = scores.group_by("vintage", "model").agg(
        first=pl.col("session").min(), last=pl.col("session").max(), sessions=pl.col("session").n_unique()
    )
    return [Fold(**row, **_lesson(manifests.get(row["model"], {}))) for row in served.sort("first", "model").to_dicts()]


def _lesson(manifest: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        name: SessionRange(date.fromisoformat(first), date.fromisoformat(last), count)
        for name, (first, last, count) in manifest.get("folds", {}).items()
    }
    return {
        "train": parts.get("train"),
        "validation": parts.get("validation"),
        "seeds": tuple(manifest.get("seeds", ())),
    }


def scorers(stores: Stores) -> dict[str, Mapping[str, Any]]:
    """The manifests of all scorers, of our own vintages and of those from outside, by id."""
    return {model.id: model.manifest for kind in ("scorer", "vector_scorer") for model in stores.models.list(kind)}


def symbols(daily: pl.DataFrame, scores: pl.DataFrame, labels: pl.DataFrame) -> dict[str, list[tuple[date, int]]]:
    """Symbols with daily bars, with a score and with a label, by session of the scores; frames with session, symbol."""
    sessions = scores["session"].unique().to_list()
    frames = {
        "daily bars": daily,
        "scored": scores.filter(pl.col("score").is_finite()),
        "labelled": labels.filter(pl.col("label").is_finite()),
    }
    return {
        name: frame.filter(pl.col("session").is_in(sessions))
        .group_by("session")
        .agg(pl.col("symbol").n_unique())
        .sort("session")
        .rows()
        for name, frame in frames.items()
    }


def coverage(stores: Stores) -> list[Coverage]:
    """Sessions and rows of every table of the lake that is not empty."""
    current = stores.ledger.current(list(TABLES))
    rows = []
    for table in TABLES:
        sessions = stores.sessions(table)
        count = sum(file.rows for path, file in current.items() if path.split("/")[0] == table)
        if sessions:
            rows.append(Coverage(table, len(sessions), count, sessions[0], sessions[-1]))
    return rows


def quarantined(folder: Path) -> list[Quarantined]:
    """Quarantined rows by table and code, with one reason as an example; whole files by code.

    A damaged file of the quarantine is a line of its own: no figure rests on it.
    """
    rows = []
    for table in sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name != "files"):
        parts = []
        for path in sorted((folder / table).rglob("*.parquet")):
            try:
                parts.append(kept_rows(path))
            except StoreCorrupt as error:
                rows.append(Quarantined(table, error.code, error.wrong, 1))
        if parts:
            counts = pl.concat(parts).group_by("reason_code").agg(pl.len(), pl.col("reason").min()).sort("reason_code")
            rows += [Quarantined(table, code, reason, count) for code, count, reason in counts.rows()]
    for note in sorted((folder / "files").glob("*.json")):
        try:
            name, code, wrong = kept_refusal(note)
        except StoreCorrupt as error:
            name, code, wrong = note.name, error.code, error.wrong
        rows.append(Quarantined(f"file {name}", code, wrong, 1))
    return rows


def tried_settings(stores: Stores) -> list[Trial]:
    """The settings of encoder and scorer that were trained here together: each was a chance to be lucky."""
    encoders = {model.id: model.manifest for model in stores.models.list("encoder")}
    trained = []
    for scorer in stores.models.list("scorer"):
        encoder = encoders.get(scorer.manifest.get("vintage", ""), {})
        settings = {
            "encoder": encoder.get("encoder"),
            "pretraining": encoder.get("pretraining"),
            "scorer": scorer.manifest.get("config"),
            "label": scorer.manifest.get("label", {"horizon": HORIZON}),
            "folds": scorer.manifest.get("rules"),
        }
        trained.append((settings, scorer.through))
    for scorer in stores.models.list("vector_scorer"):
        names = {"encoder": {"vectors": scorer.manifest["vintage"]}, "pretraining": None}
        own = {"scorer": "config", "label": "label", "folds": "rules"}
        trained.append((names | {part: scorer.manifest[key] for part, key in own.items()}, scorer.through))
    return [*trials(trained), *looks(stores, {trial.setting for trial in trials(trained)})]


def looks(stores: Stores, trained: Collection[str]) -> list[Trial]:
    """The settings of `FPM_LOOKS` that were looked at in other homes of this market, in order of appearance."""
    path = stores.settings.looks
    rows = [look for look in read_looks(path) if look.market == stores.market.name] if path else []
    others = {look.setting: look for look in rows[::-1] if look.setting not in trained}
    return [
        Trial(look.setting, f"a look elsewhere: {look.what}", 0, look.day, look.day)
        for look in [*others.values()][::-1]
    ]


def trials(scorers: Sequence[tuple[Mapping[str, Any], date]]) -> list[Trial]:
    """Each setting once, in order of appearance; `scorers` as (settings, through)."""
    sessions: dict[str, list[date]] = {}
    flat: dict[str, dict[str, str]] = {}
    for settings, through in scorers:
        key = digest([json.dumps(settings, sort_keys=True)])[:8]
        flat.setdefault(key, flattened(settings))
        sessions.setdefault(key, []).append(through)
    first = next(iter(flat.values()), {})
    return [
        Trial(key, _differences(first, flat[key]), len(through), min(through), max(through))
        for key, through in sessions.items()
    ]


def _differences(first: Mapping[str, str], other: Mapping[str, str]) -> str:
    """The settings in which `other` differs from `first`, with its values."""
    return ", ".join(
        f"{name} {other.get(name)}" for name in sorted({*first, *other}) if first.get(name) != other.get(name)
    )


def flattened(settings: Any, name: str = "") -> dict[str, str]:
    """Nested settings as `part.name` -> JSON of the value."""
    if not isinstance(settings, Mapping):
        return {name: json.dumps(settings)}
    return {
        key: value
        for inner, part in settings.items()
        for key, value in flattened(part, f"{name}.{inner}" if name else str(inner)).items()
    }


def encoders(stores: Stores) -> list[Encoder]:
    """Every vintage, oldest first, promoted or refused; then those from outside with the last session they saw."""
    own = [encoder(model.id, model.through, model.status, model.manifest) for model in stores.models.list("encoder")]
    return [*own, *(Encoder(model.id, model.through, "outside", {}) for model in stores.models.list("vectors"))]


def encoder(vintage: str, through: date, status: str, manifest: Mapping[str, Any]) -> Encoder:
    """The training that a manifest records: collapse figures, the untrained encoder's rank, losses by epoch.

    Losses are in units of their baselines (1: the last price stays, the flow is at its mean).
    """
    epochs = [losses for epoch in manifest.get("history", ()) if (losses := baseline_losses(epoch))]
    figures = {name: float(value) for name, value in manifest.get("figures", {}).items() if _is_number(value)}
    if "rank" in manifest.get("untrained", {}):
        figures["rank_untrained"] = float(manifest["untrained"]["rank"])
    if alignment := manifest.get("alignment"):
        figures["residual_to_former"] = float(alignment["residual"])
    return Encoder(vintage, through, status, figures, epochs)


def baseline_losses(epoch: Mapping[str, float]) -> dict[str, float]:
    """Both pretext losses of an epoch over their baselines: of validation where there is any, else of training."""
    part = "validation" if "validation/forward" in epoch else "train"
    losses = {}
    for name in ("forward", "backward"):
        loss, baseline = epoch.get(f"{part}/{name}"), epoch.get(f"{part}/{name}_baseline", 1.0)
        if loss is not None and baseline > 0:
            losses[name] = loss / baseline
    return losses


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
