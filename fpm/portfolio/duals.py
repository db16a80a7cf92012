"""Prices of the bounds at an optimum, name by name, from the duals of the cone program.

Clarabel's optimum has Px + q + Aᵀz = 0: what one more unit of a name's weight adds to the objective is what it uses of
every bound, at the bound's price. Shapes: N candidates, F free names, R rows of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fpm.portfolio.duality import BUDGET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fpm.panels import Floats
    from fpm.portfolio.rows import Entries

CASH = (BUDGET, "cash left")
Block = tuple[str, "Entries", "Floats"]  # bound, its rows of A (R, columns), their duals (R,)


@dataclass(frozen=True)
class Prices:
    """At an optimum, in the objective's unit.

    `cash`: what one more unit of value to invest would add. `bounds`: bound -> what one more unit of each name's weight
    loses through it (N,), negative where the bound asks for more of the name.
    """

    cash: float
    bounds: dict[str, Floats]


def blocks_of(names: Sequence[str], rows: Sequence[tuple[Entries, Floats]], dual: Floats) -> list[Block]:
    """The blocks of rows (A, b) with their bounds' names and duals; `dual` begins at the first block's."""
    ends = np.cumsum([len(value) for _, value in rows])
    parts = np.split(dual, ends)[: len(rows)]
    return [(name, block, own) for name, (block, _), own in zip(names, rows, parts, strict=True)]


def prices(
    blocks: Sequence[Block], columns: Mapping[str, slice], exposure: Mapping[str, Any], free_F: NDArray[np.intp]
) -> Prices:
    """Prices of the blocks that have a bound's name.

    `columns`: place of every kind of variable in A. `exposure`: kind of variable -> matrix (rows, N) by which it
    follows from the active weights.
    """
    cash = sum(float(dual.sum()) * (1 if name == BUDGET else -1) for name, _, dual in blocks if name in CASH)
    bounds: dict[str, Floats] = {}
    width = max(place.stop for place in columns.values())
    for name, rows, dual in blocks:
        if name and name not in CASH:
            bounds[name] = bounds.get(name, 0.0) + _uses(rows.pulled(dual, width), columns, exposure, free_F)
    return Prices(cash, bounds)


def _uses(
    pulled: Floats, columns: Mapping[str, slice], exposure: Mapping[str, Any], free_F: NDArray[np.intp]
) -> Floats:
    """What a unit of every name's weight (N,) uses, from what a unit of every variable uses."""
    use_N = sum(np.asarray(matrix.T @ pulled[columns[kind]]).ravel() for kind, matrix in exposure.items())
    use_N = np.array(use_N, dtype=np.float64)
    use_N[free_F] += pulled[columns["w"]]
    return use_N
