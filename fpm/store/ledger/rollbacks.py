"""Rollbacks: a former vintage and scorer are in force again from a session on, by a person, for a reason.

A rollback names the models that may not serve any more: those of its kind that are newer than the one that comes back.
A model that is trained afterwards is not among them, so the next promotion takes over as always. Sessions before the
first one keep the models that served them: nothing that was published is touched, and a replay of it is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from fpm.store.ledger.ledger import Ledger
    from fpm.store.ledger.models import Model, Models


@dataclass(frozen=True)
class Rollback:
    """From `first` on, `excluded` models of `kind` serve no session, so that `model` is in force."""

    kind: str
    model: str
    first: date
    excluded: tuple[str, ...]


def plan(model_id: str, first: date, encoders: Sequence[Model], scorers: Sequence[Model]) -> list[Rollback]:
    """The rollbacks of encoder and scorer that bring a model back: each kind oldest first, as `Models.list` has them.

    An encoder brings its newest scorer, a scorer its encoder. Raises UsageError for a model that is not there, was
    refused, is the newest already, or has no counterpart.
    """
    promoted = {
        kind: [model for model in models if model.status == "promoted"]
        for kind, models in (("encoder", encoders), ("scorer", scorers))
    }
    vintage = next((str(model.manifest["vintage"]) for model in promoted["scorer"] if model.id == model_id), model_id)
    own = [model.id for model in promoted["scorer"] if model.manifest["vintage"] == vintage]
    names = {"encoder": vintage, "scorer": model_id if model_id in own else (own[-1] if own else "")}
    rollbacks = []
    for kind, name in names.items():
        order = [model.id for model in promoted[kind]]
        if name not in order:
            raise _refused(f"there is no promoted {kind} for {model_id}", "choose one of `fpm models list`")
        rollbacks.append(Rollback(kind, name, first, tuple(order[order.index(name) + 1 :])))
    if not any(rollback.excluded for rollback in rollbacks):
        raise _refused(f"{model_id} is the newest already", "nothing, or choose an older one of `fpm models list`")
    return rollbacks


def roll_back(model_id: str, first: date, reason: str, by: str, newest: date | None, models: Models) -> list[Rollback]:
    """Record that a former model, and its counterpart, serve from `first` on; both rows or none.

    `newest`: the last published session. Raises UsageError as `plan` does, and where `first` was served already.
    """
    if newest is not None and first <= newest:
        raise _refused(
            f"{first} was published already ({newest} is the newest session)",
            "name a session after it: what was served stands",
        )
    rollbacks = plan(model_id, first, models.list("encoder"), models.list("scorer"))
    with models.ledger.transaction() as connection:
        for rollback in rollbacks:
            connection.execute(
                'INSERT INTO fpm.rollbacks (kind, model, first, excluded, reason, "by") '
                "VALUES (%s, %s, %s, %s, %s, %s)",
                (rollback.kind, rollback.model, first, list(rollback.excluded), reason, by),
            )
    return rollbacks


def excluded(ledger: Ledger) -> dict[str, date]:
    """The models that the newest rollback of each kind keeps from serving, and from which session on."""
    rows = ledger.query("SELECT DISTINCT ON (kind) first, excluded FROM fpm.rollbacks ORDER BY kind, id DESC")
    return {model: first for first, models in rows for model in models}


def _refused(wrong: str, todo: str) -> UsageError:
    return UsageError(code="FPM-ML-350", wrong=wrong, effect="nothing was changed", todo=todo)
