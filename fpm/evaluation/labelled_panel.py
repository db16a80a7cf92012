"""One factor's scores and labels on common axes, with what else its figures need.

Shapes: T sessions, N symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fpm.cross_section import mad_winsorise
from fpm.evaluation.execution import ExecutionPrices, execution_prices
from fpm.evaluation.intervals import Estimate, estimate
from fpm.evaluation.rank_ic import SortedPanel, rank_correlations, sort
from fpm.panels import Floats, pivot, pivots

if TYPE_CHECKING:
    from datetime import date

    from numpy.typing import NDArray

    from fpm.evaluation.evaluate import EvaluationConfig
    from fpm.evaluation.figures import Surroundings


@dataclass(frozen=True)
class LabelledPanel:
    """One factor's scores and labels on common axes, with what else its figures need."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    score_TN: Floats
    label_TN: Floats
    config: EvaluationConfig
    surroundings: Surroundings

    @cached_property
    def score(self) -> SortedPanel:
        """Scores, sorted once."""
        return sort(self.score_TN)

    @cached_property
    def label(self) -> SortedPanel:
        """Labels, sorted once."""
        return sort(self.label_TN)

    @cached_property
    def execution(self) -> ExecutionPrices | None:
        """Prices of the execution bases; None without daily bars or scores."""
        daily = self.surroundings.daily
        return None if daily is None or not self.sessions else execution_prices(daily, self.symbols)

    @cached_property
    def styles(self) -> dict[str, Floats]:
        """Styles by name (T, N), winsorised within each session; those without any value are left out."""
        frame = self.surroundings.styles
        if frame is None:
            return {}
        names = [name for name in frame.columns if name not in ("session", "symbol")]
        panels = pivots(frame, names, self.sessions, self.symbols)
        return {name: mad_winsorise(x_TN.T).T for name, x_TN in panels.items() if np.isfinite(x_TN).any()}

    @cached_property
    def industry_names(self) -> list[str]:
        """Names of the industries, in the order of their numbers; empty where none is known."""
        daily = self.surroundings.daily
        if daily is None or "industry" not in daily.columns:
            return []
        return daily["industry"].drop_nulls().unique().sort().to_list()

    @cached_property
    def industries(self) -> NDArray[np.int64] | None:
        """Industry of every symbol as a number (T, N), -1 = unknown; None where no industry is known."""
        daily, names = self.surroundings.daily, self.industry_names
        if daily is None or not names:
            return None
        number = pl.col("industry").cast(pl.Enum(names)).to_physical()
        number_TN = pivot(daily.with_columns(number=number), "number", self.sessions, self.symbols)
        return np.where(np.isfinite(number_TN), number_TN, -1).astype(np.int64)

    @cached_property
    def calendar(self) -> list[date]:
        """The sessions of the closes and of the scores: scores may skip sessions (between folds), lags may not."""
        closes = self.surroundings.closes
        return sorted({*(closes["session"].unique().to_list() if closes is not None else ()), *self.sessions})

    @cached_property
    def calendar_scores(self) -> Floats:
        """Scores on the calendar; NaN on the sessions without any."""
        score_TN = np.full((len(self.calendar), len(self.symbols)), np.nan)
        position = {session: t for t, session in enumerate(self.calendar)}
        score_TN[[position[session] for session in self.sessions]] = self.score_TN
        return score_TN

    def estimate(self, score: SortedPanel, label: SortedPanel) -> Estimate:
        """Mean RankIC of other scores or returns on the same axes."""
        series_T = rank_correlations(score, label, self.config.minimum_symbols)
        return estimate(series_T, self.config.horizon, self.config.level)
