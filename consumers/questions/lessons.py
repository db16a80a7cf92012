"""Whether any model was trained on what it is judged by, from the records alone: two checks of `fpm leaks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from consumers.streams import outside_vintages
from fpm.leaks import records
from fpm.sessions import sessions_between

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    outside = outside_vintages(stores)
    through = {model.id: model.through for model in stores.models.list("encoder")} | outside
    first = min([*(fold.train[0] for fold in bounds), *through.values()])
    market = sessions_between(stores.market, first, max(fold.last for fold in folds))
    served = scores.drop_nulls("vintage")
    from_outside = pl.col("vintage").is_in(list(outside))
    purge = stores.settings.folds.purge
    answers = {
        records.OVERLAP: records.label_overlap(bounds, market, stores.settings.model_choices.reach),
        records.VINTAGES: records.out_of_sample(served.filter(~from_outside), through, market, purge)
        or records.out_of_sample(served.filter(from_outside), through, market, 0),
    }
    return {check: _text(finding) if finding else None for check, finding in answers.items()}


def _text(finding: Finding) -> str:
    return f"{finding.column}, {finding.session}: {finding.explanation}"
