"""What may not be bought, traded or held: rows of the table `restrictions` in force on a day, and what they forbid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

EXCLUDE, NO_BUY, FROZEN = "exclude", "no_buy", "frozen"


@dataclass(frozen=True)
class Restriction:
    """One name's restriction: `exclude` (sell what is held, buy nothing), `no_buy`, `frozen` (trade nothing)."""

    kind: str
    reason: str

    def forbids(self, side: str) -> bool:
        """Whether an order of this side may not be given."""
        return side == "buy" or self.kind == FROZEN

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


def in_force(rows: pl.DataFrame, index: str, day: date) -> dict[str, Restriction]:
    """Restrictions by symbol of an index's portfolio on a day; `rows` with index "" are those of every index.

    >>> from datetime import date
    >>> spans = [("X", "", date(2024, 1, 2), None, "frozen", "halt of the fund")]
    >>> rows = pl.DataFrame(spans, schema=["symbol", "index", "first", "last", "kind", "reason"], orient="row")
    >>> print(in_force(rows, "CSI300", date(2024, 1, 2))["X"], in_force(rows, "CSI300", date(2024, 1, 1)))
    frozen: halt of the fund {}
    """
    own = rows.filter(
        pl.col("index").is_in(["", index]), pl.col("first") <= day, (pl.col("last") >= day).fill_null(True)
    )
    cells = own.sort("symbol").select("symbol", "kind", "reason").iter_rows()
    return {symbol: Restriction(kind, reason) for symbol, kind, reason in cells}


def marked(names: pl.DataFrame, restrictions: Mapping[str, Restriction]) -> pl.DataFrame:
    """`names` (symbol, buyable, sellable, ...) with restriction (text, null without), restricted and excluded.

    A frozen name can be neither bought nor sold.
    """
    text = {symbol: str(each) for symbol, each in restrictions.items()}
    kinds = {symbol: each.kind for symbol, each in restrictions.items()}
    kind = pl.col("symbol").replace_strict(kinds, default=None, return_dtype=pl.String)
    free = kind.ne_missing(pl.lit(FROZEN))
    return names.with_columns(
        pl.col("symbol").replace_strict(text, default=None, return_dtype=pl.String).alias("restriction"),
        kind.eq_missing(pl.lit(NO_BUY)).alias("restricted"),
        kind.eq_missing(pl.lit(EXCLUDE)).alias("excluded"),
        pl.col("buyable") & free,
        pl.col("sellable") & free,
    )
