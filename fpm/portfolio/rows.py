"""Rows and columns of a rebalance's cone program.

Columns: w weights of the free names, y active factor exposures, e active exposures to industries and styles, d trades
of the names that may go both ways, t and v impact and its root, slack of soft bounds. Names whose range is a point are
constants. Shapes: N candidates, F free names, K factors, G exposures, B names that may go both ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.portfolio.problem import Problem


@dataclass(frozen=True)
class Entries:
    """A sparse matrix (count, width) as rows, columns and values of its entries (E,), at most one a cell.

    scipy's own matrices cost a tenth of a millisecond each, and a program has hundreds of small ones.
    """

    row_E: NDArray[np.intp]
    column_E: NDArray[np.intp]
    value_E: Floats

    @classmethod
    def of(cls, part: Any) -> Entries:
        """The entries of a dense or a sparse matrix that are not 0."""
        if isinstance(part, Entries):
            return part
        if isinstance(part, np.ndarray):
            row_E, column_E = part.nonzero()
            return cls(row_E, column_E, part[row_E, column_E])
        cells = part.tocoo()
        return cls(cells.row, cells.col, cells.data)

    @classmethod
    def single(cls, column_R: NDArray[np.intp], value: Floats | float) -> Entries:
        """One entry in every row, at the column given; none where the value is 0."""
        row_R, value_R = np.arange(len(column_R)), np.broadcast_to(np.float64(value), len(column_R))
        kept_R = value_R != 0
        return cls(row_R[kept_R], column_R[kept_R], value_R[kept_R])

    def times(self, factor: float) -> Entries:
        """Every value times a number."""
        return Entries(self.row_E, self.column_E, factor * self.value_E)

    def moved(self, rows: NDArray[np.intp], columns: int = 0) -> Entries:
        """Row r at row rows[r], every column so many further right."""
        return Entries(rows[self.row_E], self.column_E + columns, self.value_E)

    def pulled(self, x_R: Floats, width: int) -> Floats:
        """The transpose times x."""
        pulled = np.bincount(self.column_E, weights=self.value_E * x_R[self.row_E], minlength=width)
        return np.asarray(pulled, dtype=np.float64)


def together(parts: Sequence[Entries]) -> Entries:
    """The entries of all parts."""
    return Entries(
        np.concatenate([part.row_E for part in parts]),
        np.concatenate([part.column_E for part in parts]),
        np.concatenate([part.value_E for part in parts]),
    )


def stacked(parts: Sequence[tuple[Entries, Floats]], width: int) -> sp.csc_matrix:
    """The parts of rows (A, b), one below the other, as one matrix."""
    import scipy.sparse as sp  # 0.3 s, which no session without a decision needs

    ends = np.cumsum([len(value) for _, value in parts])
    whole = together(
        [part.moved(np.arange(end - len(value), end)) for (part, value), end in zip(parts, ends, strict=True)]
    )
    return sp.csc_matrix((whole.value_E, (whole.row_E, whole.column_E)), shape=(int(ends[-1]), width))


@dataclass
class Rows:
    """Rows of A and b by cone, gathered block by block."""

    columns: dict[str, slice]
    width: int
    zero: list[tuple[Entries, Floats]] = field(default_factory=list)
    nonnegative: list[tuple[Entries, Floats]] = field(default_factory=list)
    bounds: list[str] = field(default_factory=list)  # the bound of every nonnegative block, "" for none

    def block(self, parts: Mapping[str, Any], count: int) -> Entries:
        """(count, width) matrix with `parts` at their columns."""
        rows = np.arange(count)
        pieces = [Entries.of(part).moved(rows, self.columns[name].start) for name, part in parts.items()]
        return together([Entries(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0)), *pieces])

    def equal(self, parts: Mapping[str, Any], value: Floats) -> None:
        """Rows parts · x = value."""
        self.zero.append((self.block(parts, len(value)), value))

    def at_most(self, parts: Mapping[str, Any], value: Floats, bound: str = "") -> None:
        """Rows parts · x <= value, less the slack of `bound` where it is soft."""
        if len(value):
            soft = {bound: -np.ones((len(value), 1))} if bound in self.columns else {}
            self.nonnegative.append((self.block({**parts, **soft}, len(value)), value))
            self.bounds.append(bound)


@dataclass(frozen=True)
class Parts:
    """The free names of a problem and what follows from their ranges."""

    problem: Problem
    free_F: NDArray[np.intp]
    fixed_N: Floats
    least_F: Floats
    most_F: Floats

    def __post_init__(self) -> None:
        problem, free_F = self.problem, self.free_F
        held_F = problem.weight_N[free_F]
        # |Δw| of a name that can only rise or only fall is linear in w: it needs no variable.
        sign_F = np.where(self.least_F >= held_F, 1.0, np.where(self.most_F <= held_F, -1.0, 0.0))
        both_B = np.flatnonzero(sign_F == 0)
        buy_F, sell_F = problem.buy_cost_N[free_F], problem.sell_cost_N[free_F]
        slope_F = np.where(sign_F > 0, buy_F, np.where(sign_F < 0, -sell_F, (buy_F - sell_F) / 2))
        moved_N = self.fixed_N - problem.weight_N
        moved_N[free_F] = 0.0
        paid = np.maximum(moved_N, 0) @ problem.buy_cost_N + np.maximum(-moved_N, 0) @ problem.sell_cost_N
        paid += problem.impact_N @ np.abs(moved_N) ** 1.5
        rest_N = self.fixed_N - problem.benchmark_N
        rest_N[free_F] = 0.0
        impact_F = problem.impact_N[free_F]
        names, matrix_GN = problem.exposure_rows
        kept = {
            "held_F": held_F,
            "sign_F": sign_F,
            "both_B": both_B,
            "slope_F": slope_F,
            "trade_cost_B": (buy_F + sell_F)[both_B] / 2,
            "paid": float(paid - slope_F @ held_F),
            "moved": float(np.abs(moved_N).sum()),
            "benchmark_F": problem.benchmark_N[free_F],
            "rest_N": rest_N,
            "impact_T": np.flatnonzero(impact_F > 0),
            "exposure_names": names,
            "exposure_GN": matrix_GN,
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    held_F: Floats = field(init=False)
    sign_F: Floats = field(init=False)
    both_B: NDArray[np.intp] = field(init=False)
    slope_F: Floats = field(init=False)
    trade_cost_B: Floats = field(init=False)
    paid: float = field(init=False)
    moved: float = field(init=False)
    benchmark_F: Floats = field(init=False)
    rest_N: Floats = field(init=False)
    impact_T: NDArray[np.intp] = field(init=False)
    exposure_names: tuple[str, ...] = field(init=False)
    exposure_GN: Any = field(init=False)

    @property
    def impact_scale(self) -> float:
        """Trade that counts as one in the power cones: their numbers would be tiny otherwise."""
        return 1.0 / max(10, len(self.free_F))


def columns_of(parts: Parts, soft: Mapping[str, float]) -> tuple[dict[str, slice], int]:
    """Columns of every kind of variable, and their number."""
    sizes = {
        "w": len(parts.free_F),
        "y": parts.problem.risk.exposure_NK.shape[1],
        "e": len(parts.exposure_names),
        "d": len(parts.both_B),
        "t": len(parts.impact_T),
        "v": len(parts.impact_T),
        **dict.fromkeys(soft, 1),
    }
    columns, start = {}, 0
    for name, size in sizes.items():
        columns[name] = slice(start, start + size)
        start += size
    return columns, start
