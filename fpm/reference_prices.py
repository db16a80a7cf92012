"""The reference price of a session, where the vendor delivers none: the last close on the session's own basis.

The exchange publishes it after splits and dividends; without it the growth of the adjustment factor says the same, as
in the returns and corporate actions of portfolios. It is no fact of the vendor's, so it is not stored: a correction of
a close would leave it behind.
"""

from __future__ import annotations

import polars as pl

COLUMNS = {"pre_close": pl.Float64, "adj_factor": pl.Float64}


def with_reference_prices(bars: pl.DataFrame, before: pl.DataFrame | None = None) -> pl.DataFrame:
    """Rows of `daily_bars` in their order, with `pre_close` where it is null and the symbol has an earlier close.

    `before`: rows of earlier sessions (session, symbol, close, adj_factor). A null factor means no change.

    >>> from datetime import date
    >>> days = [date(2024, 1, 2), date(2024, 1, 3)]
    >>> rows = {"session": days, "symbol": ["A", "A"], "close": [10.0, 5.1], "adj_factor": [1.0, 2.0]}
    >>> with_reference_prices(pl.DataFrame(rows))["pre_close"].to_list()
    [None, 5.0]
    """
    lacking = [pl.lit(None, kind).alias(name) for name, kind in COLUMNS.items() if name not in bars.columns]
    rows = bars.with_columns(lacking)
    if not rows["pre_close"].null_count():
        return rows
    keys = ["session", "symbol", "close", "adj_factor"]
    closes = (
        rows.select(keys)
        if before is None or before.is_empty()
        else pl.concat([before.select(keys), rows.select(keys)])
    )
    closes = closes.filter(pl.col("close") > 0).sort("symbol", "session")
    last = closes.select("symbol", "session", close_then="close", factor_then="adj_factor")
    joined = (
        rows.with_row_index("place")
        .sort("symbol", "session")
        .join_asof(
            last,
            on="session",
            by="symbol",
            strategy="backward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .sort("place")
    )
    growth = (pl.col("adj_factor") / pl.col("factor_then")).fill_null(1.0)
    reference = pl.coalesce("pre_close", pl.col("close_then") / growth)
    return joined.with_columns(pre_close=reference).select(rows.columns)
