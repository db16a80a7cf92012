"""Trained models: immutable folders of files, registered in the database with their hashes.

The id of a model follows from its content. `born` is the earliest moment at which it could have existed (the cut-off
of its last training or validation session), so its results are never known before; `through` is its last session.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from fpm import feature_schema
from fpm.errors import ModelRefused, StoreCorrupt, TryLater
from fpm.sessions import cut_off, previous_sessions
from fpm.store.lake.files import has_sha256, sync_folder, write_durably
from fpm.store.log import log
from fpm.store.world import world

if TYPE_CHECKING:
    from datetime import date, datetime
    from pathlib import Path

    from fpm.markets import Market
    from fpm.store.ledger.ledger import Ledger

# Sessions between the last one of a model's training and the first that it may serve: the labels of the encoder's
# pretext task reach that far ahead (walk-forward); the scorer's `through` already lies after its labels. `vectors` are
# vintages from outside, whose `through` is the last session their encoder has seen; `vector_scorer` is trained on them.
PURGE = {"encoder": 6, "scorer": 0, "vectors": 0, "vector_scorer": 0}
STATUSES = ("promoted", "refused")


@dataclass(frozen=True)
class Model:
    """One registered model; `path` holds its files (`weights.safetensors`, `manifest.json`, …)."""

    kind: str
    id: str
    manifest: dict[str, Any]
    path: Path
    born: datetime
    through: date
    status: str

    def files(self) -> dict[str, bytes]:
        """Contents of its tensor files by name."""
        return {path.name: path.read_bytes() for path in sorted(self.path.glob("*.safetensors"))}


@dataclass(frozen=True)
class Models:
    """Models below `root`, registered in the ledger's database; new ones are written under `staging` first."""

    root: Path
    staging: Path
    ledger: Ledger
    market: Market

    def save(
        self,
        kind: str,
        model_id: str,
        files: dict[str, bytes],
        manifest: dict[str, Any],
        born: datetime,
        through: date,
        status: str,
    ) -> Model:
        """Store and register a model, with `manifest.json` beside `files`; saving it again changes only its status.

        Raises ModelRefused where the id belongs to other content, or the status or kind is unknown.
        """
        model = Model(kind, model_id, manifest, self.root / kind / model_id, born, through, status)
        if kind not in PURGE or status not in STATUSES:
            raise ModelRefused(
                code="FPM-ML-301",
                wrong=f"{kind} {model_id} with status {status}",
                effect="nothing was saved",
                todo=f"kinds: {', '.join(PURGE)}; statuses: {', '.join(STATUSES)}",
            )
        contents = files | {"manifest.json": canonical_json(manifest)}
        hashes = {name: sha256(content).hexdigest() for name, content in sorted(contents.items())}
        with self.ledger.lock("models", f"{kind}/{model_id}"):
            if not self._is_stored(model, hashes):
                self._write(model.path, contents)
            self._register(model, hashes)
        return self.load(kind, model_id)

    def _is_stored(self, model: Model, hashes: dict[str, str]) -> bool:
        """Whether this very model is registered and its files are sound. Raises ModelRefused for other content."""
        rows = self.ledger.query("SELECT files FROM fpm.models WHERE kind = %s AND id = %s", (model.kind, model.id))
        if rows and rows[0][0] != hashes:
            raise ModelRefused(
                code="FPM-ML-302",
                wrong=f"{model.kind} {model.id} exists with other content",
                effect="the stored one was kept",
                todo="give the new model its own id",
            )
        return bool(rows) and all(has_sha256(model.path / name, recorded) for name, recorded in hashes.items())

    def _write(self, target: Path, contents: dict[str, bytes]) -> None:
        """Write into the staging folder, then rename once, so that a model is there whole or not at all.

        A folder without a registered row is what a killed save left; it is replaced.
        """
        staging = self.staging / "models" / target.parent.name / target.name
        world().remove_tree(staging)
        for name, content in contents.items():
            write_durably(staging / name, content)
        sync_folder(staging)
        world().remove_tree(target)
        world().make_folder(target.parent)
        world().rename(staging, target)
        for folder in (target.parent, self.root, self.root.parent):
            sync_folder(folder)

    def _register(self, model: Model, hashes: dict[str, str]) -> None:
        self.ledger.execute(
            "INSERT INTO fpm.models (kind, id, born, through, status, manifest, files) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (kind, id) DO UPDATE SET status = excluded.status",
            (model.kind, model.id, model.born, model.through, model.status, Jsonb(model.manifest), Jsonb(hashes)),
        )

    def renew(self, model: Model) -> None:
        """Prefer this model again among those born at the same moment: its training data is current again.

        Needed when a correction is withdrawn; otherwise the lake would depend on the order of past corrections.
        """
        self.ledger.execute(
            "UPDATE fpm.models AS own SET saved_at = clock_timestamp() WHERE kind = %s AND id = %s AND EXISTS "
            "(SELECT FROM fpm.models AS other WHERE other.kind = own.kind AND other.born = own.born "
            "AND (other.saved_at, other.id) > (own.saved_at, own.id))",
            (model.kind, model.id),
        )

    def load(self, kind: str, model_id: str) -> Model:
        """A registered model with verified files.

        Raises TryLater for an unknown id, StoreCorrupt where a file is missing or differs from its hash.
        """
        return self._verified(self._row(kind, model_id))

    def _row(self, kind: str, model_id: str) -> tuple[Any, ...]:
        rows = self.ledger.query(_SELECT + "WHERE kind = %s AND id = %s", (kind, model_id))
        if not rows:
            raise TryLater(
                code="FPM-ML-303",
                wrong=f"there is no {kind} {model_id}",
                effect="nothing was computed",
                todo=f"train it: fpm train {kind} --through SESSION",
            )
        return rows[0]

    def list(self, kind: str) -> list[Model]:
        """All models of a kind, oldest first; their files are not read."""
        rows = self.ledger.query(_SELECT + "WHERE kind = %s ORDER BY born, saved_at, id", (kind,))
        return [self._model(row) for row in rows]

    def hashes(self, kind: str) -> dict[str, dict[str, str]]:
        """The registered sha256 of every file of every model of a kind, by id and name."""
        rows = self.ledger.query("SELECT id, files FROM fpm.models WHERE kind = %s ORDER BY id", (kind,))
        return {model_id: dict(sorted(files.items())) for model_id, files in rows}

    def in_force(self, kind: str, session: date, vintage: str | None = None) -> Model:
        """The newest promoted model that may serve `session`: born by its cut-off, trained before the purge.

        A model that a rollback excludes from that session on (`fpm.store.ledger.rollbacks`) serves it no more. One that
        reads other features than the home has is passed over, so that the model before it goes on. `vintage`: only
        scorers of that one count.
        Raises TryLater where there is none, ModelRefused where none reads the home's features, StoreCorrupt where its
        files are damaged.
        """
        return self._verified(self._in_force_row(kind, session, vintage))

    def record(self, kind: str, model_id: str) -> Model:
        """Like `load`, without reading its files. Raises TryLater for an unknown id."""
        return self._model(self._row(kind, model_id))

    def record_in_force(self, kind: str, session: date, vintage: str | None = None) -> Model:
        """Like `in_force`, without reading its files. Raises TryLater where there is none."""
        return self._model(self._in_force_row(kind, session, vintage))

    def _in_force_row(self, kind: str, session: date, vintage: str | None = None) -> tuple[Any, ...]:
        """The newest row that may serve and reads the home's features; a newer one of another schema is passed over.

        Raises TryLater where no model may serve, ModelRefused where each is of another schema, with the newest's names.
        """
        purged = [*previous_sessions(self.market, session, PURGE[kind]), session][0]
        misfits: list[tuple[str, str]] = []
        while rows := self.ledger.query(
            _SELECT
            + "WHERE kind = %s AND status = 'promoted' AND born <= %s AND through < %s "
            + "AND (%s::text IS NULL OR manifest ->> 'vintage' = %s) "
            + _NOT_EXCLUDED
            + "ORDER BY born DESC, saved_at DESC, id DESC LIMIT 1 OFFSET %s",
            (kind, cut_off(self.market, session), purged, vintage, vintage, session, len(misfits)),
        ):
            model = self._model(rows[0])
            words = self._misfit(model)
            if not words:
                for misfit, difference in misfits:
                    log.error(
                        "passed over", why=str(feature_schema.refusal(kind, misfit, difference, f"{model.id} serves"))
                    )
                return rows[0]
            misfits.append((model.id, words))
        if misfits:
            raise feature_schema.refusal(kind, *misfits[0], "nothing was computed, what was scored stays")
        raise TryLater(
            code="FPM-ML-304",
            wrong=f"no promoted {kind} may serve {session}",
            effect="nothing was computed",
            todo=f"train one: fpm train {kind} --through an earlier session (before {purged})",
        )

    def _misfit(self, model: Model) -> str:
        """How the features of a model, or of a scorer's encoder, differ from the home's; "" where they do not."""
        profile = self.ledger.deployment().get("profile")
        words = feature_schema.difference(model.kind, model.manifest, profile)
        vintage = model.manifest.get("vintage")
        if words or model.kind != "scorer" or vintage is None:
            return words
        rows = self.ledger.query(_SELECT + "WHERE kind = 'encoder' AND id = %s", (vintage,))
        words = feature_schema.difference("encoder", rows[0][5], profile) if rows else ""
        return f"its encoder {vintage}: {words}" if words else ""

    def _verified(self, row: tuple[Any, ...]) -> Model:
        model = self._model(row)
        for name, recorded in row[6].items():
            path = model.path / name
            if not has_sha256(path, recorded):
                raise StoreCorrupt(
                    code="FPM-ML-310",
                    wrong=f"{path} is not the file that was registered",
                    effect="the model was not loaded",
                    todo="restore it from a backup or train it again",
                )
        return model

    def _model(self, row: tuple[Any, ...]) -> Model:
        kind, model_id, born, through, status, manifest, _ = row
        return Model(kind, model_id, manifest, self.root / kind / model_id, born, through, status)


_SELECT = "SELECT kind, id, born, through, status, manifest, files FROM fpm.models "
# a scorer of an excluded vintage is excluded with it, also one that was trained later
_NOT_EXCLUDED = """
AND NOT EXISTS (
    SELECT FROM (
        SELECT DISTINCT ON (kind) excluded FROM fpm.rollbacks WHERE first <= %s ORDER BY kind, id DESC
    ) AS back
    WHERE models.id = ANY(back.excluded) OR models.manifest ->> 'vintage' = ANY(back.excluded)
)
"""


def canonical_json(content: object) -> bytes:
    """The one spelling of a JSON document: sorted keys, no spaces, UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
