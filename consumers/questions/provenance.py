"""What the figures of a report rest on: sessions in the lake, rows kept out of it, models, settings tried."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import polars as pl

from fpm.report.data import Coverage, Encoder, Fold, Quarantined, SessionRange, Trial
from fpm.schema import TABLES
from fpm.store.jobs.inputs import digest

if TYPE_CHECKING:
    from pathlib import Path

    from fpm.store.ledger.stores import Stores


def folds(scores: pl.DataFrame, manifests: Mapping[str, Mapping[str, Any]]) -> list[Fold]:
    """The stretches of sessions that one vintage and one scorer served, and what the scorer's manifest says of its
    own sessions.
    """
    served = scores.group_by("vintage", "model").agg(
        first=pl.col("session").min(), last=pl.col("session").max(), sessions=pl.col("session").n_unique()
    )
    return [Fold(**row, **_lesson(manifests.get(row["model"], {}))) for row in served.sort("first", "model").to_dicts()]


def _lesson(manifest: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        name: SessionRange(date.fromisoformat(first), date.fromisoformat(last), count)
        for name, (first, last, count) in manifest.get("folds", {}).items()
    }
    return {"train": told.get("train"), "validation": told.get("validation"), "seeds": tuple(manifest.get("seeds", ()))}


def symbols(daily: pl.DataFrame, scores: pl.DataFrame, labels: pl.DataFrame) -> dict[str, list[tuple[date, int]]]:
    """How many symbols had daily bars, a score, and a label, by session of the scores; frames with session, symbol."""
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
    """Every table of the lake that holds anything."""
    current = stores.ledger.current(list(TABLES))
    rows = []
    for table in TABLES:
        sessions = stores.sessions(table)
        count = sum(file.rows for path, file in current.items() if path.split("/")[0] == table)
        if sessions:
            rows.append(Coverage(table, len(sessions), count, sessions[0], sessions[-1]))
    return rows


def quarantined(folder: Path) -> list[Quarantined]:
    """Rows by table and code, with one reason as an example; whole files by code."""
    rows = []
    for table in sorted(path.name for path in folder.glob("*") if path.is_dir() and path.name != "files"):
        kept = [
            pl.read_parquet(path, columns=["reason_code", "reason"]) for path in (folder / table).rglob("*.parquet")
        ]
        if kept:
            counted = pl.concat(kept).group_by("reason_code").agg(pl.len(), pl.col("reason").min()).sort("reason_code")
            rows += [Quarantined(table, code, reason, count) for code, count, reason in counted.rows()]
    for note in sorted((folder / "files").glob("*.json")):
        refused = json.loads(note.read_bytes())
        rows.append(Quarantined(f"file {refused['file']}", refused["code"], refused["wrong"], 1))
    return rows


def tried_settings(stores: Stores) -> list[Trial]:
    """The settings of encoder and scorer together that were trained here: each was a chance to be lucky."""
    encoders = {model.id: model.manifest for model in stores.models.list("encoder")}
    trained = []
    for scorer in stores.models.list("scorer"):
        of = encoders.get(scorer.manifest.get("vintage", ""), {})
        settings = {
            "encoder": of.get("encoder"),
            "pretraining": of.get("pretraining"),
            "scorer": scorer.manifest.get("config"),
            "folds": scorer.manifest.get("rules"),
        }
        trained.append((settings, scorer.through))
    return tried(trained)


def tried(trained: Sequence[tuple[Mapping[str, Any], date]]) -> list[Trial]:
    """Each setting once, in the order first met, of all scorers as (settings, through)."""
    met: dict[str, list[date]] = {}
    flat: dict[str, dict[str, str]] = {}
    for settings, through in trained:
        key = digest([json.dumps(settings, sort_keys=True)])[:8]
        flat.setdefault(key, flattened(settings))
        met.setdefault(key, []).append(through)
    first = next(iter(flat.values()), {})
    return [
        Trial(key, _differences(first, flat[key]), len(through), min(through), max(through))
        for key, through in met.items()
    ]


def _differences(first: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Which settings are others, and what they are now."""
    return ", ".join(
        f"{name} {other.get(name)}" for name in sorted({*first, *other}) if first.get(name) != other.get(name)
    )


def flattened(settings: Any, name: str = "") -> dict[str, str]:
    """Nested settings as `part.name` -> JSON of the value."""
    if not isinstance(settings, Mapping):
        return {name: json.dumps(settings)}
    return {
        key: value
        for inner, of in settings.items()
        for key, value in flattened(of, f"{name}.{inner}" if name else str(inner)).items()
    }


def encoders(stores: Stores) -> list[Encoder]:
    """Every vintage, oldest first, whatever became of it."""
    return [encoder(model.id, model.through, model.status, model.manifest) for model in stores.models.list("encoder")]


def encoder(vintage: str, through: date, status: str, manifest: Mapping[str, Any]) -> Encoder:
    """What a manifest says of a training: collapse figures, the untrained encoder's rank, losses by epoch in units of
    their baselines (1: the last price stays, the mean flow).
    """
    epochs = [losses for epoch in manifest.get("history", ()) if (losses := baseline_losses(epoch))]
    figures = {name: float(value) for name, value in manifest.get("figures", {}).items() if _is_number(value)}
    if "rank" in manifest.get("untrained", {}):
        figures["rank_untrained"] = float(manifest["untrained"]["rank"])
    if told := manifest.get("alignment"):
        figures["residual_to_former"] = float(told["residual"])
    return Encoder(vintage, through, status, figures, epochs)


def baseline_losses(epoch: Mapping[str, float]) -> dict[str, float]:
    """Both pretext losses of an epoch's history entry over their baselines; validation where anything was held out."""
    part = "validation" if "validation/forward" in epoch else "train"
    found = {}
    for name in ("forward", "backward"):
        loss, baseline = epoch.get(f"{part}/{name}"), epoch.get(f"{part}/{name}_baseline", 1.0)
        if loss is not None and baseline > 0:
            found[name] = loss / baseline
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
