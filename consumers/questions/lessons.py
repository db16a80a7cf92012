"""Whether any model was trained on what it is judged by, from the records alone: two checks of `fpm leaks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.leaks import records
from fpm.sessions import sessions_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from fpm.leaks.checks import Finding
    from fpm.report.data import Fold
    from fpm.store.ledger.stores import Stores


def findings(folds: Sequence[Fold], scores: pl.DataFrame, stores: Stores) -> dict[str, str | None]:
    """Check -> what it says against the scores, or None where it passes; empty where a model's record is missing.

    Label overlap: labels of train end before validation, those of validation before the first session served. Vintages:
    sessions of `scores` lie behind their encoder's training by the purge.
    """
    bounds = [
        records.FoldBounds(
            fold.model, (fold.train.first, fold.train.last), (fold.validation.first, fold.validation.last), fold.first
        )
        for fold in folds
        if fold.train and fold.validation
    ]
    if not bounds or len(bounds) < len(folds):
        return {}
    through = {model.id: model.through for model in stores.models.list("encoder")}
    first = min([*(fold.train[0] for fold in bounds), *through.values()])
    market = sessions_between(stores.market, first, max(fold.last for fold in folds))
    served = scores.drop_nulls("vintage")
    answers = {
        records.OVERLAP: records.label_overlap(bounds, market, stores.settings.model_choices.reach),
        records.VINTAGES: records.out_of_sample(served, through, market, stores.settings.folds.purge),
    }
    return {check: _text(finding) if finding else None for check, finding in answers.items()}


def _text(finding: Finding) -> str:
    return f"{finding.column}, {finding.session}: {finding.explanation}"
